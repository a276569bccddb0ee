"""The density of points in the plane, of the newest checkpoint of a run."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from fastapi import APIRouter
from pydantic import BaseModel, Field

from genzoo.core.capabilities import Density
from genzoo.data import kinds
from genzoo.data.drawing.images import save_picture
from genzoo.studio.play.results import Result, TheStore, picture_address, saying
from genzoo.use.common.heat import density_picture
from genzoo.use.common.source import require
from genzoo.use.density import density
from genzoo.use.sample import sample
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.jobs import Job

router = APIRouter(prefix="/api/play", tags=["play"])
Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class Map(BaseModel):
    """Which part of the plane, and how fine."""

    size: Annotated[int, Field(ge=16, le=400)] = 160
    box: tuple[Number, Number, Number, Number] | None = None
    points: Annotated[int, Field(ge=0, le=5000)] = 400
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0


@router.post("/of/{name}/density")
def mapped(name: str, asked: Map, jobs: TheJobs, models: TheModels, shelf: TheShelf, store: TheStore) -> dict[str, Any]:
    """Draw the density of the run as it is now, read again where it has trained on; a job."""
    place = shelf.place(name)

    def work(job: Job) -> dict[str, Any]:
        system = models.get(place).system
        require(system, Density, verb="density")
        found, box = density(system, asked.size, asked.box, asked.seed)
        said = ",".join(f"{v:g}" for v in box)
        command = ["genzoo", "density", place, f"size={asked.size}", f"box={said}", f"seed={asked.seed}"]
        kind, facts = kinds.of(system), dict(system.hparams)
        files = {
            "density.png": lambda path: save_picture(path, density_picture(found)),
            "density.npy": lambda path: kind.write(path, found, facts),
        }
        drawn = (
            sample(system, n=asked.points, seed=asked.seed)
            if asked.points and "samples" in models.get(place).able
            else None
        )
        cell = (box[2] - box[0]) * (box[3] - box[1]) / asked.size**2
        inside = float(torch.logsumexp(found.double().flatten(), 0).exp() * cell)
        return saying(
            store.keep(Result(command, files, 4 * found.numel())),
            [{"image": picture_address(density_picture(found)), "smooth": True}],
            box=[*box],
            points=[]
            if drawn is None
            else [[round(float(a), 5), round(float(b), 5)] for a, b in drawn if torch.isfinite(a + b)],
            step=getattr(system, "trained", {}).get("step"),
            said=f"{inside:.1%} of the model's mass lies in this map",
        )

    return jobs.shown(jobs.submit(place, work, f"density of {name}", watched=True))
