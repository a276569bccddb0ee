"""A picture of one's own: its code and reconstruction, its projection, the bits of its pixels, its compressed file."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from fastapi import APIRouter
from pydantic import Field

from genzoo.core.capabilities import Decodes, Encodes
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.drawing.files import save_film
from genzoo.metrics.maths.similarity import psnr
from genzoo.studio.bodies import Own, Seed
from genzoo.studio.play.own_pictures import as_system_takes, beside_made
from genzoo.studio.play.results import Result, TheStore, image_address, of_samples, saying, shown_of
from genzoo.studio.working import TheModel
from genzoo.use.bits import bits
from genzoo.use.common.heat import heat
from genzoo.use.common.source import require
from genzoo.use.compress import compress
from genzoo.use.decode import decode
from genzoo.use.project import project
from genzoo.use.reconstruct import side_by_side

router = APIRouter(prefix="/api/play", tags=["play"])


class Search(Own):
    """How a picture is projected."""

    steps: Annotated[int, Field(ge=1, le=5000)] = 300
    loss: Literal["pixels", "alexnet", "vgg16"] = "pixels"
    seed: Seed = 0


@router.post("/of/{name}/reconstruct")
def reconstructed(asked: Own, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Encode a picture and decode it again; a job. Its code is a place to go on from."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        encoder, _ = require(system, Encodes, Decodes, verb="reconstruct")
        x = as_system_takes(system, picture)
        back = decode(system, "i1", images=x)
        with torch.no_grad():
            number = store.number(model.place, encoder.encode(x.to(system.device)))
        command = ["decode", model.word, "at=i1", f"images={picture.name}"]
        result = store.keep(beside_made(of_samples(system, back, command, name="reconstruct"), picture))
        told = f"PSNR {float(psnr(x, back, data_range=2).mean()):.1f} dB" if x.ndim == 4 else ""
        return saying(result, shown_of(system, back), given=image_address(x[0]), at=f"z{number}", said=told)

    return model.watched("reconstruct with", work)


@router.post("/of/{name}/project")
def projected(asked: Search, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Search for the latent whose image is nearest to a picture; a job with progress."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        x = as_system_takes(system, picture)
        found = project(system, x, steps=asked.steps, loss=asked.loss, seed=asked.seed)
        kind = kinds.of(system)
        words = [f"steps={asked.steps}", f"loss={asked.loss}", f"seed={asked.seed}"]
        result = of_samples(
            system,
            side_by_side(x, found.images),
            ["project", model.word, picture.name, *words],
            name="project",
            columns=8,
        )
        del result.files["project.npy"]  # the command writes latents with the images, as .npz
        shown = [kind.picture(side_by_side(x, found.way[:, t])) for t in range(found.way.shape[1])]
        result.room += sum(f.nbytes for f in shown)
        result.files["project.gif"] = lambda path: save_film(path, [*shown, *shown[-1:] * 10])
        result.files["project.npz"] = lambda path: np.savez_compressed(
            path,
            allow_pickle=False,
            latents=found.latents.numpy(),
            images=found.images.numpy(),
            given=x.numpy(),
            loss=found.loss.numpy(),
        )
        number = store.number(model.place, found.latents)
        error = float((x - found.images).square().mean())
        told = f"mean squared error {error:.4f}, PSNR {float(psnr(x, found.images, data_range=2).mean()):.1f} dB"
        return saying(
            store.keep(beside_made(result, picture)),
            shown_of(system, found.images),
            given=image_address(x[0]),
            way=[image_address(y) for y in found.way[0]],
            at=f"z{number}",
            said=told,
        )

    return model.watched("project with", work)


@router.post("/of/{name}/bits")
def surprising(asked: Own, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Show how many bits each pixel of a picture takes; a job."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        x = as_system_takes(system, picture)
        found = bits(system, x)
        colored = heat(found)
        pairs = torch.stack([x.expand(-1, 3, -1, -1), colored], 1).flatten(0, 1)
        command = ["bits", model.word, picture.name]
        result = store.keep(
            beside_made(of_samples(system, pairs, command, name="bits", columns=2, values=found), picture)
        )
        total, dims = float(found.sum()), x[0].numel()
        return saying(
            result,
            [{"image": image_address(colored[0])}],
            given=image_address(x[0]),
            values=[[round(float(v), 3) for v in row] for row in found[0]] if found[0].numel() <= 1 << 14 else None,
            most=float(found.max()),
            said=f"{total:,.0f} bits in all, {total / dims:.3f} a dimension ({math.ceil(total / 8):,} bytes)",
        )

    return model.watched("bits with", work)


@router.post("/of/{name}/compress")
def compressed(asked: Own, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Compress a picture into a file that `genzoo decompress` reads; a job."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        # What is between two gray levels of the model is brought to one.
        levels = int(system.hparams.get("levels", 256)) - 1
        x = ((as_system_takes(system, picture) + 1) / 2 * levels).round() / levels * 2 - 1
        with tempfile.TemporaryDirectory(prefix="genzoo-") as folder:
            done = compress(system, x, Path(folder) / "images.gzoo")
            data = done.path.read_bytes()
        kind, facts = kinds.of(system), dict(system.hparams)
        result = Result(
            ["compress", model.word, "picture.png"],
            {"images.gzoo": lambda path: path.write_bytes(data)},
            4 * x.numel() + len(data),
        ).reads("picture.png", lambda path: kind.write_one(path, x[0], facts))
        told = f"{len(data):,} bytes, {done.bits_per_dim:.3f} bits a dimension, header and all"
        return saying(store.keep(result), [], said=told)

    return model.watched("compress with", work)
