"""What a run can do on the play page, and the files of its results."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, UploadFile
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from genzoo.studio.play.offers import offers
from genzoo.studio.play.results import Picture, TheStore, media, written
from genzoo.studio.working import TheModel, found_by
from genzoo.web.app import TheJobs, TheShelf
from genzoo.web.errors import NotFound
from genzoo.web.pictures import uploaded

router = APIRouter(prefix="/api/play", tags=["play"])


@router.get("/of/{name}")
async def about(request: Request, model: TheModel) -> dict[str, Any]:
    """Say what a page can do with a run: its panels, and the options of each."""
    return await model.answered(request, "open", lambda system: {"name": model.name, **offers(system)})


@router.get("/runs")
def runs(shelf: TheShelf) -> list[str]:
    """List the runs of the folder."""
    return [*shelf.runs()]


@router.get("/jobs/{job}")
def outcome(job: str, jobs: TheJobs) -> dict[str, Any]:
    """Give what a job has found."""
    return found_by(jobs, job, dict)


@router.get("/results/{result}/{name}")
async def file(result: str, name: str, store: TheStore) -> Response:
    """Give a file of a result: the very bytes that its command writes."""
    files = store.result(result).files
    if name not in files:
        raise NotFound(f"there is no such file; there are {', '.join(files)}")
    data = await run_in_threadpool(written, files[name], name)
    return Response(
        data, media_type=media(name), headers={"content-disposition": f"attachment; filename*=UTF-8''{quote(name)}"}
    )


@router.post("/pictures")
async def send(files: list[UploadFile], store: TheStore) -> list[dict[str, str]]:
    """Take pictures (or sounds) of a person's own, to be used by name afterwards."""
    taken = [store.take(Picture(name, data)) for name, data in await uploaded(files)]
    return [{"id": p.id, "name": p.name} for p in taken]
