"""The density of a model of points in the plane, on a grid: what it has learned, as a map."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Density, Samples
from genzoo.core.errors import UserError
from genzoo.use.common.source import Source, draw, generator_for, name_of, open_system, require
from genzoo.use.sample import Seed

Side = Annotated[int, Field(ge=2, le=2048)]
DRAWS = 1000
"""Samples that say where the map lies where nobody does."""
MARGIN = 0.25
"""Of the range of the inner 96 % of the samples that is added at each side."""
CHUNK = 16384
"""Places whose density is computed at once."""


@torch.no_grad()
def density(
    source: Source, size: Side = 200, box: tuple[float, float, float, float] | None = None, seed: Seed = 0
) -> tuple[Tensor, tuple[float, float, float, float]]:
    """Return the log-density in nats on a grid of the plane, [size, size], top row first, and the box that it covers: left, bottom, right, top.

    Args:
        source: A run, its path, or a system of points in the plane.
        size: Places in a row and in a column; each is the middle of a square.
        box: Left, bottom, right, top, in the data's own units; around 1,000 samples of the system when not given.
        seed: Of these samples, and of an estimate of the density.

    Raises:
        UserError: The system has no density, is of other data, or the box has no inside.
    """
    system = open_system(source)
    scorer = require(system, Density, verb="density")
    shape = tuple(system.hparams.get("shape", ()))
    if shape != (2,):
        raise UserError(
            f"density: {name_of(system)} was trained on shape {list(shape)}; a map is of points in the plane"
        )
    if box is None:
        require(system, Samples, verb="density")
        box = around(draw(system, DRAWS, seed))
    left, bottom, right, top = box
    if not all(map(math.isfinite, box)) or left >= right or bottom >= top:
        raise UserError(f"box={','.join(f'{v:g}' for v in box)} has no inside; give left,bottom,right,top")
    middle = (torch.arange(size) + 0.5) / size
    xs, ys = left + (right - left) * middle, top - (top - bottom) * middle
    places = torch.stack([xs.repeat(size), ys.repeat_interleave(size)], 1)
    generator = generator_for(system, seed)
    found = [scorer.log_prob(part.to(system.device), generator=generator).float().cpu() for part in places.split(CHUNK)]
    return torch.cat(found).view(size, size), box


def around(points: Tensor) -> tuple[float, float, float, float]:
    """Return a square around most of the points [N, 2]: left, bottom, right, top, rounded to what is easily said."""
    kept = points[torch.isfinite(points).all(1)]
    if not len(kept):
        return (-1.0, -1.0, 1.0, 1.0)
    low, high = (torch.quantile(kept[:10_000], q, 0) for q in (0.02, 0.98))
    middle = (low + high) / 2
    half = float((high - low).max()) * (0.5 + MARGIN)
    step = 10 ** math.floor(math.log10(max(half, 1e-6)) - 1)
    half = math.ceil(half / step) * step
    x, y = (round(float(m) / step) * step for m in middle)
    left, bottom, right, top = (float(f"{v:.6g}") for v in (x - half, y - half, x + half, y + half))
    return left, bottom, right, top
