"""Latent space: places of it as pictures, its principal directions, walks between places."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from genzoo.core.capabilities import Decodes
from genzoo.data import kinds
from genzoo.data.drawing.files import save_film
from genzoo.studio.play.places import beside, numbered, reading
from genzoo.studio.play.results import Result, TheStore, of_samples, saying, shown_of
from genzoo.use.common.directions import principal
from genzoo.use.common.source import require
from genzoo.use.decode import decode, places_of
from genzoo.use.walk import frames, joined, per_second, walk
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.jobs import Job, answered

router = APIRouter(prefix="/api/play", tags=["play"])
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Places(BaseModel):
    """Places of latent space, as `genzoo decode` reads them."""

    at: Text


class Walk(BaseModel):
    """A walk through places."""

    at: Text
    steps: Annotated[int, Field(ge=2, le=120)] = 12
    path: Literal["spherical", "linear"] | None = None


@router.post("/of/{name}/decode")
async def decoded(
    request: Request, name: str, asked: Places, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Decode places: what a slider's move shows."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        at, latents = numbered(asked.at, place, store)
        drawn = decode(system, at, latents=latents)
        command = ["genzoo", "decode", place, f"at={at}", *reading(latents)]
        result = beside(of_samples(system, drawn, command, name="decode"), latents)
        return saying(store.keep(result), shown_of(system, drawn))

    found: dict[str, Any] = await answered(request, jobs, jobs.submit(place, work, f"decode with {name}"))
    return found


@router.post("/of/{name}/directions")
def directions(name: str, jobs: TheJobs, models: TheModels, shelf: TheShelf) -> dict[str, Any]:
    """Find the principal directions; a job the first time."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        found = principal(models.get(place).system)
        return {"shares": [float(s) for s in found.shares], "draws": found.draws}

    return jobs.shown(jobs.submit(place, work, f"directions of {name}", watched=True))


@router.post("/of/{name}/walk")
def walked(
    name: str, asked: Walk, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Walk through places, each to the next; a job."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        require(system, Decodes, verb="walk")
        kind = kinds.of(system)
        at, latents = numbered(asked.at, place, store)
        count = len(places_of(at))
        job.tell(0, max(1, count - 1) * asked.steps)
        rows = walk(system, at=at, latents=latents, steps=asked.steps, path=asked.path)
        path = joined(rows)
        how = [f"path={asked.path}"] if asked.path else []
        command = ["genzoo", "walk", place, f"at={at}", *reading(latents), f"steps={asked.steps}", *how]
        result = of_samples(system, rows.flatten(0, 1), command, name="walk", columns=asked.steps, values=rows)
        shown = frames(path, kind)
        result.room += sum(f.nbytes for f in shown)
        for ending in _films():
            result.files[f"walk{ending}"] = lambda file: save_film(file, shown, per_second=per_second(kind), rest=8)
        ordered = {n: result.files[n] for n in sorted(result.files, key=lambda n: "gif png mp4 npy".find(n[-3:]))}
        result.files = ordered
        return saying(beside_kept(result, latents, store), shown_of(system, path[0]), film=True)

    return jobs.shown(jobs.submit(place, work, f"walk with {name}", watched=True))


def beside_kept(result: Result, latents: Any, store: Any) -> Result:
    """Keep a result with the latents that its command reads."""
    kept: Result = store.keep(beside(result, latents))
    return kept


def _films() -> list[str]:
    """List the films that can be written here."""
    import importlib.util

    return [".gif", *([".mp4"] if importlib.util.find_spec("av") else [])]
