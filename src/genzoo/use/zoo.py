"""The trained models of the package genzoo-zoo: what is known of each, and a page that each of them draws a part of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genzoo.core.capabilities import Samples, Translates, capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data.drawing.images import grid, save_picture
from genzoo.metrics.drawing import EACH
from genzoo.saved import zoo
from genzoo.use.common.outputs import free, writable
from genzoo.use.common.source import open_system
from genzoo.use.complete import box_mask, complete
from genzoo.use.pages.page import address, write_page
from genzoo.use.reconstruct import reconstruct
from genzoo.use.sample import columns_of, sample, sheet
from genzoo.use.translate import translate

EXAMPLES = "examples"
ROWS = 4
"""Rows of a picture of samples."""


@dataclass(frozen=True)
class Shipped:
    """A model of the package.

    Args:
        name: Its name, without "zoo:".
        folder: Where it lies: model.safetensors, config.json, README.md, record.json, metrics.json, and examples of what it takes.
        record: What record.json says: line, system, data, terms, licence, bytes, measure ...
    """

    name: str
    folder: Path
    record: dict[str, Any]

    @property
    def place(self) -> str:
        """What stands wherever a run is taken."""
        return f"{zoo.PREFIX}{self.name}"

    @property
    def examples(self) -> list[Path]:
        """Images of the kind that it takes; none where it takes none."""
        return sorted((self.folder / EXAMPLES).glob("*.png"))


def shipped() -> dict[str, Shipped]:
    """Read what is known of the models of the package by name, in the order of the records; none where it is not installed."""
    found = [
        Shipped(name, folder, json.loads((folder / zoo.RECORD).read_text(encoding="utf-8")))
        for name, folder in zoo.folders().items()
    ]
    return {one.name: one for one in sorted(found, key=lambda one: one.record["place"])}


def picture(model: Shipped, seed: int = 0) -> np.ndarray:
    """Let a model show what it does: samples, or rows of its examples and what it makes of them.

    Args:
        model: Which.
        seed: Of what is drawn.

    Returns:
        Pixels, uint8 [H, W] or [H, W, 3].
    """
    system = open_system(model.place)
    able = capabilities(system)
    if "samples" in able:
        return _samples(system, model.record.get("show", {}), seed)
    x = read_examples(model)
    if "translates" in able:
        assert isinstance(system, Translates)
        return grid(torch.cat([x, translate(system, x)]), columns=len(x))
    if "completes" in able:
        known = box_mask(_centre(x), (x.shape[2], x.shape[3]))
        return grid(
            torch.cat([x, torch.where(known, x, torch.zeros_like(x)), complete(system, x, known, seed)]), columns=len(x)
        )
    return grid(torch.cat([x, reconstruct(system, x)]), columns=len(x))


def _samples(system: System, show: dict[str, Any], seed: int) -> np.ndarray:
    assert isinstance(system, Samples)
    n = show.get("n")
    given = {k: v for k, v in show.items() if k != "n"}
    drawn = sample(system, n=n, seed=seed, **given)
    titled = sheet(system, drawn, given.get("prompt"))
    return (
        grid(drawn, columns=columns_of(system, n, given) or max(EACH, len(drawn) // ROWS)) if titled is None else titled
    )


def _centre(x: Tensor) -> tuple[int, int, int, int]:
    height, width = x.shape[2:]
    return width // 4, height // 4, width // 2, height // 2


def read_examples(model: Shipped) -> Tensor:
    """Read a model's examples, float32 [N, C, H, W] in [-1, 1].

    Raises:
        UserError: It has none.
    """
    if not model.examples:
        raise UserError(f"{model.place} comes with no examples")
    arrays = [np.asarray(Image.open(file)) for file in model.examples]
    x = torch.from_numpy(np.stack([a[..., None] if a.ndim == 2 else a for a in arrays])).permute(0, 3, 1, 2)
    return x.float() / 127.5 - 1


def write_zoo(to: str | Path, seed: int = 0, *, overwrite: bool = False) -> Path:
    """Write a page on which every model of the package shows what it does, with what it is, its terms and its measure.

    Args:
        to: The page; its pictures go to a folder beside it, of its name without the ending.
        seed: Of what is drawn.
        overwrite: Replace a page that is there; else the new one is numbered.

    Raises:
        UserError: The package is not installed.
    """
    path = free(to, overwrite=overwrite)
    if path.suffix.lower() != ".html":
        raise UserError(f"out={path} cannot be written; give a name that ends in .html")
    models = shipped()
    if not models:
        raise UserError(
            f"the models are in a package of their own, {zoo.PACKAGE}, which is not installed: {zoo.INSTALL}"
        )
    writable(path)
    drawn = [
        (model, address(save_picture(path.with_suffix("") / f"{name}.png", picture(model, seed)), path.parent))
        for name, model in models.items()
    ]
    return write_page(
        path,
        Path(__file__).with_name("pages") / "zoo.html.j2",
        title="Trained models that come with genzoo",
        models=drawn,
    )
