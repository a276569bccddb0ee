"""Start a training: the systems, their signature as a form, a look into the data, the command line."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from genzoo.studio.bodies import Body
from genzoo.studio.runs import data, forms, processes
from genzoo.studio.working import found_by
from genzoo.web.app import TheJobs, TheShelf
from genzoo.web.jobs import Job
from genzoo.web.pictures import png

router = APIRouter(prefix="/api/train", tags=["train"])
Word = Annotated[str, Field(max_length=200)]
Value = Annotated[str, Field(max_length=4000)]


class Filled(Body):
    """What was filled in: a system or preset, and settings by name as the command line takes them."""

    system: Word
    values: Annotated[dict[Word, Value], Field(max_length=300)] = {}


@router.get("/systems")
def systems() -> dict[str, Any]:
    """List the systems by family, what they can be used for, and the sets that are known by name."""
    return forms.systems()


@router.get("/systems/{name}")
def form(name: Annotated[str, Path(max_length=200)]) -> dict[str, Any]:
    """Describe the form of a system or preset: every setting with type, bounds, default and what it does."""
    return forms.form(name)


@router.post("/check")
def check(filled: Filled, shelf: TheShelf) -> dict[str, Any]:
    """Write the command line of what was filled in, and what the command line says of each value that is not allowed."""
    return forms.command(shelf.folder, str(shelf.folder), filled.system, filled.values)


@router.post("")
def start(filled: Filled, shelf: TheShelf) -> Any:
    """Start a training in a process of its own: what the command line does."""
    told = forms.command(shelf.folder, str(shelf.folder), filled.system, filled.values)
    if told["errors"]:
        return JSONResponse({"error": next(iter(told["errors"].values())), "errors": told["errors"]}, 422)
    processes.start(shelf.folder, told["name"], told["words"])
    return told


@router.post("/look")
def look(filled: Filled, jobs: TheJobs) -> dict[str, Any]:
    """Look into the data that were filled in: a job, since a folder of many images is decoded first."""

    def work(job: Job) -> tuple[dict[str, Any], bytes]:
        told, sheet = data.look(filled.system, filled.values)
        return told, png(sheet)

    return jobs.shown(jobs.submit("data", work, f"reading {filled.values.get('data', '')[:60]}", watched=True))


@router.get("/look/{job}")
def looked(job: str, jobs: TheJobs) -> dict[str, Any]:
    """Tell what is in the data: how many of what shape, classes, what was left out and why."""
    told: dict[str, Any] = found_by(jobs, job, tuple)[0]
    return told


@router.get("/look/{job}/sheet.png")
def sheet(job: str, jobs: TheJobs) -> Response:
    """Send a sheet of the first examples."""
    return Response(found_by(jobs, job, tuple)[1], media_type="image/png")
