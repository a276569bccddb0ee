"""Judge runs: measures ranked, samples of the same seeds side by side, real or made, and the training images nearest to samples."""

from __future__ import annotations

import threading
import weakref
from typing import Annotated, Any, Literal
from urllib.parse import quote

import numpy as np
import torch
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field, StrictBool

from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.images import grid
from genzoo.studio.bodies import Body, Seed
from genzoo.studio.commands import typed, word
from genzoo.studio.runs import blind, copies
from genzoo.studio.working import TheRun, found_by, named
from genzoo.use import compare
from genzoo.use.sample import sample
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.errors import NotFound
from genzoo.web.pictures import encoded, pixels, png

router = APIRouter(prefix="/api/judge", tags=["judge"])
RunName = Annotated[str, Field(max_length=255)]
Count = Annotated[int, Field(ge=1, le=64)]
Length = Annotated[int, Field(ge=2, le=blind.MOST)]
_TESTS: dict[tuple[Any, ...], blind.Blind] = {}
"""The newest tests, so that the images of one are drawn once."""
TESTS = 4
_GUARD = threading.Lock()


@router.get("/compare")
def compared(
    shelf: TheShelf,
    run: Annotated[list[RunName], Query(max_length=64)],
    split: Literal["", "train", "test", "all"] = "",
) -> dict[str, Any]:
    """Rank what is kept of runs, measure by measure, each only beside what was measured alike."""
    folders, table, warnings = compare.ranked(*(shelf.find(name) for name in dict.fromkeys(run)), split=split or None)
    found = compare.told(folders, table, warnings)
    for row, told in zip(table, found["rows"], strict=True):
        told["protocol"] = next((r.get("protocol", "") for r in row.records.values()), "")
        told["better"] = next((r.get("better", "") for r in row.records.values()), "")
    there = [word(path) for path in folders.values()]
    more = [f"split={split}"] if split else []
    return {**found, "level": compare.LEVEL, "line": typed(["compare", *there, *more])}


@router.get("/samples.png")
async def samples(
    request: Request,
    model: TheRun,
    seed: Annotated[Seed, Query()] = 0,
    n: Annotated[Count, Query()] = 16,
) -> Response:
    """Draw the samples of a seed: the same seed stands for the same noise in every run of one system."""

    def work(system: System) -> bytes:
        drawn = sample(system, n, seed)
        return encoded(drawn, kinds.of(system), system.hparams, ".png", columns=max(1, round(n**0.5)))

    data = await model.answered(request, "samples of", work)
    line = typed(["sample", model.word, f"n={n}", f"seed={seed}"])
    return Response(data, media_type="image/png", headers={"x-command": quote(line)})


@router.get("/blind.png")
async def shown(
    request: Request,
    model: TheRun,
    seed: Annotated[Seed, Query()],
    n: Annotated[Length, Query()],
    i: Annotated[int, Query(ge=0, lt=blind.MOST)],
) -> Response:
    """Send image number `i` of a blind test: a sample or a held-out image, in the same form."""
    if i >= n:
        raise NotFound(f"a test of {n} images has no image {i}")

    def work(system: System) -> bytes:
        key = weakref.ref(system), seed, n  # of this loading: a run that has trained on is another model
        test = _TESTS.get(key) or blind.test(system, seed, n)
        with _GUARD:  # jobs of two runs are in two threads
            _TESTS.pop(key, None)
            _TESTS[key] = test
            while len(_TESTS) > TESTS:
                _TESTS.pop(next(iter(_TESTS)))
        return png(pixels(test.images[i].float() / 127.5 - 1))

    data = await model.answered(request, "real or made:", work)
    return Response(data, media_type="image/png")


class Answers(Body):
    """Answers to a blind test: of each image in its order whether it was taken to be made; null where nothing was said."""

    seed: Seed
    n: Length
    answers: Annotated[list[StrictBool | None], Field(max_length=blind.MOST)]


@router.post("/blind")
def scored(given: Answers) -> dict[str, Any]:
    """Score the answers to a blind test, with Wilson's interval."""
    return blind.verdict(given.seed, given.n, given.answers)


class Asked(Body):
    """Of which samples the nearest training images are looked for."""

    run: RunName
    seed: Seed = 0
    n: Annotated[int, Field(ge=1, le=copies.MOST)] = 12


@router.post("/nearest")
def nearest(asked: Asked, shelf: TheShelf, jobs: TheJobs, models: TheModels) -> dict[str, Any]:
    """Look for the training images nearest to samples: a job, since every training image is compared."""

    def work(system: System) -> tuple[list[dict[str, Any]], list[bytes], int]:
        rows, fake, found, total = copies.nearest_training(system, asked.seed, asked.n)
        return rows, [_strip(f, t) for f, t in zip(fake, found, strict=True)], total

    return named(asked.run, jobs, models, shelf).watched("nearest training images of", work)


@router.get("/nearest/{job}")
def near(job: str, jobs: TheJobs) -> dict[str, Any]:
    """Tell the distances of samples to the training images nearest to them, nearest first."""
    rows, _, total = found_by(jobs, job, tuple)
    return {"rows": rows, "training": total, "suspicious": sum(r["suspicious"] for r in rows)}


@router.get("/nearest/{job}/{row}.png")
def strip(job: str, row: int, jobs: TheJobs) -> Response:
    """Send a sample with its nearest training images, nearest first."""
    strips = found_by(jobs, job, tuple)[1]
    if not 0 <= row < len(strips):
        raise NotFound(f"there is no row {row}")
    return Response(strips[row], media_type="image/png")


def _strip(sample_: torch.Tensor, training: torch.Tensor) -> bytes:
    """Lay out a sample and, apart from it, training images in a row."""
    scale = max(1, 64 // sample_.shape[-1])
    left, right = (
        grid(x.float() / 127.5 - 1, columns=len(x), gap=scale, scale=scale) for x in (sample_[None], training)
    )
    apart = np.full((left.shape[0], 6 * scale, left.shape[2]), 255, np.uint8)
    return png(np.concatenate([left, apart, right], 1))
