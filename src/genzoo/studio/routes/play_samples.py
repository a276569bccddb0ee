"""Samples of a run, of every kind of data."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from genzoo.core.capabilities import Samples
from genzoo.studio.play.results import TheStore, of_samples, saying, shown_of, words_of
from genzoo.use.common.source import require
from genzoo.use.sample import class_of, sample
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.jobs import Job

router = APIRouter(prefix="/api/play", tags=["play"])
Options = Annotated[dict[str, Any], Field(max_length=20)]


class Draw(BaseModel):
    """How many samples, of which seed, with which options of the system's own."""

    n: Annotated[int, Field(ge=1, le=1000)] = 16
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    options: Options = {}


@router.post("/of/{name}/sample")
def samples(
    name: str, asked: Draw, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore
) -> dict[str, Any]:
    """Draw samples; a job."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        require(system, Samples, verb="sample")
        given = plain(asked.options)
        words = words_of(given)
        if "label" in given:
            given["label"] = class_of(system, given["label"])
        drawn = sample(system, n=asked.n, seed=asked.seed, **given)
        command = ["genzoo", "sample", place, f"n={asked.n}", f"seed={asked.seed}", *words]
        result = store.keep(of_samples(system, drawn, command, name="sample"))
        return saying(result, shown_of(system, drawn), more=max(0, len(drawn) - 64) if drawn.ndim > 2 else 0)

    return jobs.shown(jobs.submit(place, work, f"sample {name}", watched=True))


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not set, and whatever is no word, number or switch.

    Raises:
        UserError: An option is a list or a table.
    """
    from genzoo.core.errors import UserError

    for key, value in options.items():
        if isinstance(value, (list, dict)):
            raise UserError(f"{key[:40]} takes a word or a number")
    return {k: v for k, v in options.items() if v is not None and v != ""}
