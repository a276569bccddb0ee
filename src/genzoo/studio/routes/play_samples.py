"""Samples of a run, of every kind of data."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from genzoo.core.system import System
from genzoo.studio.bodies import Body, Options, Seed, plain
from genzoo.studio.commands import words_of
from genzoo.studio.play.results import TheStore, of_samples, saying, shown_of
from genzoo.studio.working import TheModel
from genzoo.use.sample import class_of, sample

router = APIRouter(prefix="/api/play", tags=["play"])


class Draw(Body):
    """How many samples, of which seed, with which options of the system's own."""

    n: Annotated[int, Field(ge=1, le=1000)] = 16
    seed: Seed = 0
    options: Options = {}


@router.post("/of/{name}/sample")
def samples(asked: Draw, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Draw samples; a job."""

    def work(system: System) -> dict[str, Any]:
        given = plain(asked.options)
        words = words_of(given)
        if "label" in given:
            given["label"] = class_of(system, given["label"])
        drawn = sample(system, n=asked.n, seed=asked.seed, **given)
        command = ["sample", model.word, f"n={asked.n}", f"seed={asked.seed}", *words]
        result = store.keep(of_samples(system, drawn, command, name="sample"))
        return saying(result, shown_of(system, drawn), more=max(0, len(drawn) - 64) if drawn.ndim > 2 else 0)

    return model.watched("sample", work)
