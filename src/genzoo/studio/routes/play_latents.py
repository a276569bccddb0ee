"""Latent space: places of it as pictures, its principal directions, walks between places."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.files import save_film
from genzoo.studio.bodies import Body
from genzoo.studio.play.places import beside, numbered, reading
from genzoo.studio.play.results import TheStore, of_samples, saying, shown_of
from genzoo.studio.working import TheModel
from genzoo.use.common.directions import principal
from genzoo.use.decode import decode
from genzoo.use.walk import frames, joined, per_second, walk

router = APIRouter(prefix="/api/play", tags=["play"])
Text = Annotated[str, Field(min_length=1, max_length=20_000)]


class Places(Body):
    """Places of latent space, as `genzoo decode` reads them."""

    at: Text


class Walk(Body):
    """A walk through places."""

    at: Text
    steps: Annotated[int, Field(ge=2, le=120)] = 12
    path: Literal["spherical", "linear"] | None = None


@router.post("/of/{name}/decode")
async def decoded(request: Request, asked: Places, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Decode places: what a slider's move shows."""

    def work(system: System) -> dict[str, Any]:
        at, latents = numbered(asked.at, model.place, store)
        drawn = decode(system, at, latents=latents)
        command = ["decode", model.word, f"at={at}", *reading(latents)]
        result = beside(of_samples(system, drawn, command, name="decode"), latents)
        return saying(store.keep(result), shown_of(system, drawn))

    return await model.answered(request, "decode with", work)


@router.post("/of/{name}/directions")
def directions(model: TheModel) -> dict[str, Any]:
    """Find the principal directions; a job the first time."""

    def work(system: System) -> dict[str, Any]:
        found = principal(system)
        return {"shares": [float(s) for s in found.shares], "draws": found.draws}

    return model.watched("directions of", work)


@router.post("/of/{name}/walk")
def walked(asked: Walk, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Walk through places, each to the next; a job."""

    def work(system: System) -> dict[str, Any]:
        kind = kinds.of(system)
        at, latents = numbered(asked.at, model.place, store)
        rows = walk(system, at=at, latents=latents, steps=asked.steps, path=asked.path)
        path = joined(rows)
        how = [f"path={asked.path}"] if asked.path else []
        command = ["walk", model.word, f"at={at}", *reading(latents), f"steps={asked.steps}", *how]
        result = of_samples(system, rows.flatten(0, 1), command, name="walk", columns=asked.steps, values=rows)
        shown = frames(path, kind)
        result.room += sum(f.nbytes for f in shown)
        for ending in _films():
            result.files[f"walk{ending}"] = lambda file: save_film(file, shown, per_second=per_second(kind), rest=8)
        result.files = {n: result.files[n] for n in sorted(result.files, key=lambda n: "gif png mp4 npy".find(n[-3:]))}
        return saying(store.keep(beside(result, latents)), shown_of(system, path[0]))

    return model.watched("walk with", work)


def _films() -> list[str]:
    """List the films that can be written here."""
    import importlib.util

    return [".gif", *([".mp4"] if importlib.util.find_spec("av") else [])]
