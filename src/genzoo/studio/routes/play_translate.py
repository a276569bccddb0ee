"""Photographs translated, enlarged and colored at their own size; clips that begin with a picture; and examples of a run's data to try it on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from genzoo.core.capabilities import Animates, Restores, Translates
from genzoo.core.errors import UserError
from genzoo.studio.play.own_pictures import EXAMPLES, as_file, as_system_takes, beside_made, example_of
from genzoo.studio.play.results import Result, TheStore, image_address, of_samples, saying, shown_of, words_of
from genzoo.studio.routes.play_samples import Options, plain
from genzoo.use.animate import animate
from genzoo.use.common.source import require
from genzoo.use.translate import scale_of, translate_files
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.jobs import Job, answered
from genzoo.web.pictures import MEGAPIXELS, read_image

router = APIRouter(prefix="/api/play", tags=["play"])
MOST = 4096
"""Pixels of a side of a result, at most."""


class Photo(BaseModel):
    """A photograph that was sent before, and one of the system's maps."""

    picture: Annotated[str, Field(max_length=40)]
    direction: Annotated[str, Field(max_length=40)]
    options: Options = {}


class Still(BaseModel):
    """A picture that was sent before."""

    picture: Annotated[str, Field(max_length=40)]


class Which(BaseModel):
    """An example of the run's own data."""

    index: Annotated[int, Field(ge=0, lt=EXAMPLES)] = 0
    side: Annotated[str, Field(max_length=8)] = ""


@router.post("/of/{name}/translate")
def translated(
    name: str, asked: Photo, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Translate a photograph, as `genzoo translate`, `upscale` and `colorize` do; a job."""
    place, picture = shelf.place(name), store.picture(asked.picture)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        require(system, Translates, verb="translate")
        given = plain(asked.options)
        restores = isinstance(system, Restores)
        before = read_image(picture.data, 3, name=picture.name)
        if max(before.shape[1:]) * scale_of(system) > MOST:
            raise UserError(
                f"'{picture.name}' is {before.shape[2]}x{before.shape[1]}; here results have at most {MOST} pixels a side: "
                f"give a smaller one, or use the command line"
            )
        verb = (
            [asked.direction, place, picture.name]
            if restores
            else ["translate", place, picture.name, f"direction={asked.direction}"]
        )
        command = ["genzoo", *verb, *words_of(given)]
        with as_file(picture) as path, tempfile.TemporaryDirectory(prefix="genzoo-") as folder:
            (out,) = translate_files(
                system, [path], asked.direction, out=Path(folder) / "out.png", megapixels=MEGAPIXELS, **given
            )
            data = out.read_bytes()
        stem = asked.direction if restores else "translate"
        result = Result(command, {f"{stem}.png": lambda file: file.write_bytes(data)}, len(data))
        after = read_image(data, 3, name="the result")
        return saying(
            store.keep(beside_made(result, picture)),
            [{"image": image_address(after, 1024), "smooth": True}],
            given=image_address(before, 1024),
            said=f"{before.shape[2]}x{before.shape[1]} to {after.shape[2]}x{after.shape[1]} pixels",
            width=after.shape[2],
            height=after.shape[1],
        )

    return jobs.shown(jobs.submit(place, work, f"translate with {name}", watched=True))


@router.post("/of/{name}/animate")
def animated(
    name: str, asked: Still, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Go on from a picture: a clip that begins with it; a job."""
    place, picture = shelf.place(name), store.picture(asked.picture)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        require(system, Animates, verb="animate")
        x = as_system_takes(system, picture)
        clips = animate(system, x)
        result = of_samples(system, clips, ["genzoo", "animate", place, picture.name], name="animate")
        return saying(store.keep(beside_made(result, picture)), shown_of(system, clips), given=image_address(x[0]))

    return jobs.shown(jobs.submit(place, work, f"animate with {name}", watched=True))


@router.post("/of/{name}/example")
async def example(
    request: Request, name: str, asked: Which, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Take an example of the run's own test data in place of a picture of one's own."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        picture = store.take(example_of(models.get(place).system, asked.index, asked.side))
        return {"id": picture.id, "name": picture.name}

    found: dict[str, Any] = await answered(request, jobs, jobs.submit(place, work, f"example of {name}"))
    return found


@router.post("/pictures/{picture}/shown")
async def shown(picture: str, store: TheStore) -> dict[str, Any]:
    """Show a picture that was sent, upright, at most 1024 pixels a side."""
    found = store.picture(picture)
    image = await run_in_threadpool(read_image, found.data, 3, name=found.name)
    return {
        "image": image_address(image, 1024),
        "width": image.shape[2],
        "height": image.shape[1],
        "smooth": bool(np.prod(image.shape[1:]) > 128**2) and bool(torch.isfinite(image).all()),
    }
