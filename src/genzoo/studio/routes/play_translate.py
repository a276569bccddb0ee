"""Photographs translated, enlarged and colored at their own size; clips that begin with a picture; and examples of a run's data to try it on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from genzoo.core.capabilities import Restores, Translates
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.studio.bodies import Body, Options, Own, plain
from genzoo.studio.commands import words_of
from genzoo.studio.play.own_pictures import EXAMPLES, as_file, as_system_takes, beside_made, example_of
from genzoo.studio.play.results import Result, TheStore, image_address, of_samples, saying, shown_of
from genzoo.studio.working import TheModel
from genzoo.use.animate import animate
from genzoo.use.common.source import require
from genzoo.use.translate import scale_of, translate_files
from genzoo.web.pictures import MEGAPIXELS, read_image

router = APIRouter(prefix="/api/play", tags=["play"])
MOST = 4096
"""Pixels of a side of a result, at most."""


class Photo(Own):
    """A photograph that was sent before, and one of the system's maps."""

    direction: Annotated[str, Field(max_length=40)]
    options: Options = {}


class Which(Body):
    """An example of the run's own data."""

    index: Annotated[int, Field(ge=0, lt=EXAMPLES)] = 0
    side: Annotated[str, Field(max_length=8)] = ""


@router.post("/of/{name}/translate")
def translated(asked: Photo, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Translate a photograph, as `genzoo translate`, `upscale` and `colorize` do; a job."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
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
            [asked.direction, model.word, picture.name]
            if restores
            else ["translate", model.word, picture.name, f"direction={asked.direction}"]
        )
        command = [*verb, *words_of(given)]
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

    return model.watched("translate with", work)


@router.post("/of/{name}/animate")
def animated(asked: Own, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Go on from a picture: a clip that begins with it; a job."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        x = as_system_takes(system, picture)
        clips = animate(system, x)
        result = of_samples(system, clips, ["animate", model.word, picture.name], name="animate")
        return saying(store.keep(beside_made(result, picture)), shown_of(system, clips), given=image_address(x[0]))

    return model.watched("animate with", work)


@router.post("/of/{name}/example")
async def example(request: Request, asked: Which, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Take an example of the run's own test data in place of a picture of one's own."""

    def work(system: System) -> dict[str, Any]:
        picture = store.take(example_of(system, asked.index, asked.side))
        return {"id": picture.id, "name": picture.name}

    return await model.answered(request, "example of", work)


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
