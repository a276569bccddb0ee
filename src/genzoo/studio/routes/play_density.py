"""The density of points in the plane, of the newest checkpoint of a run."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from fastapi import APIRouter
from pydantic import Field

from genzoo.core.capabilities import capabilities
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.images import save_picture
from genzoo.studio.bodies import Body, Seed
from genzoo.studio.play.results import Result, TheStore, picture_address, saying
from genzoo.studio.working import TheModel
from genzoo.use.common.heat import density_picture
from genzoo.use.density import density
from genzoo.use.sample import sample

router = APIRouter(prefix="/api/play", tags=["play"])
Number = Annotated[float, Field(ge=-1e9, le=1e9)]


class Map(Body):
    """Which part of the plane, and how fine."""

    size: Annotated[int, Field(ge=16, le=400)] = 160
    box: tuple[Number, Number, Number, Number] | None = None
    points: Annotated[int, Field(ge=0, le=5000)] = 400
    seed: Seed = 0


@router.post("/of/{name}/density")
def mapped(asked: Map, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Draw the density of the run as it is now, read again where it has trained on; a job."""

    def work(system: System) -> dict[str, Any]:
        found, box = density(system, asked.size, asked.box, asked.seed)
        said = ",".join(f"{v:g}" for v in box)
        command = ["density", model.word, f"size={asked.size}", f"box={said}", f"seed={asked.seed}"]
        kind, facts = kinds.of(system), dict(system.hparams)
        files = {
            "density.png": lambda path: save_picture(path, density_picture(found)),
            "density.npy": lambda path: kind.write(path, found, facts),
        }
        drawn = (
            sample(system, n=asked.points, seed=asked.seed)
            if asked.points and "samples" in capabilities(system)
            else ()
        )
        cell = (box[2] - box[0]) * (box[3] - box[1]) / asked.size**2
        inside = float(torch.logsumexp(found.double().flatten(), 0).exp() * cell)
        return saying(
            store.keep(Result(command, files, 4 * found.numel())),
            [{"image": picture_address(density_picture(found)), "smooth": True}],
            box=[*box],
            points=[[round(float(a), 5), round(float(b), 5)] for a, b in drawn if torch.isfinite(a + b)],
            step=getattr(system, "trained", {}).get("step"),
            said=f"{inside:.1%} of the model's mass lies in this map",
        )

    return model.watched("density of", work)
