"""Directions in a latent space: what is measured of images, where it points, and what moving along it does.

A direction is the difference between the mean codes of the images that have most of an attribute and of those that have least
(arXiv:1807.03039, section 5). Attributes here are computed from pixels, so that what a move does can be measured again on what comes out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.system import System
from genzoo.data.drawing.images import grid
from proofs.proof import Proof

STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def ink(x: Tensor) -> Tensor:
    """Mean of each image in [0, 1]: how thick a digit's strokes are, [B]."""
    return (x.flatten(1).mean(1) + 1) / 2


def slant(x: Tensor) -> Tensor:
    """Columns that a digit's ink shifts to the left per row down, by least squares on its ink: [B], more leans further to the right."""
    mass = (x[:, 0] + 1) / 2
    mass = mass / mass.sum((1, 2), keepdim=True).clamp_min(1e-6)
    rows = torch.arange(x.shape[2], dtype=x.dtype)[:, None]
    columns = torch.arange(x.shape[3], dtype=x.dtype)[None]
    row, column = ((mass * axis).sum((1, 2))[:, None, None] for axis in (rows, columns))
    covariance = (mass * (rows - row) * (columns - column)).sum((1, 2))
    return -covariance / (mass * (rows - row).square()).sum((1, 2)).clamp_min(1e-6)


@torch.no_grad()
def encode(system: System, x: Tensor) -> Tensor:
    """Codes in parts, so that memory does not grow with the images."""
    return torch.cat([system.encode(part) for part in x.split(200)])


@torch.no_grad()
def directions(p: Proof, system: System, train: Tensor, test: Tensor) -> None:
    """Find the directions of ink and slant on training images; move test images along them, picture and measure it."""
    codes, ends = encode(system, train), encode(system, test)
    for name, attribute in (("ink", ink), ("slant", slant)):
        values = attribute(train)
        tenth = len(train) // 10
        order = values.argsort()
        direction = codes[order[-tenth:]].mean(0) - codes[order[:tenth]].mean(0)
        moved = torch.stack([system.decode(ends + t * direction) for t in STEPS], 1)
        after = torch.stack([attribute(moved[:, i]) for i in range(len(STEPS))], 1)
        rising = float((after.diff(dim=1) > 0).all(1).float().mean())
        p.measure(
            f"images whose {name} rises at every step", rising, unit="of all", n=len(test), split="test", better="higher", goal=0.5,
            protocol=f"{len(STEPS)} codes from -1 to 1 times (mean code of the tenth of {len(train):,} training images with most - with least); the "
            "attribute measured on the decoded images",
            baseline={"random order": 1 / 120},
        )  # fmt: skip
        span = float(values[order[-tenth:]].mean() - values[order[:tenth]].mean())
        p.measure(
            f"change of {name} along its direction", float((after[:, -1] - after[:, 0]).mean()) / (2 * span), n=len(test), split="test",
            better="higher", protocol="mean change from end to end, over twice the difference between the two tenths: 1 is all that they differ by",
        )  # fmt: skip
        rows = grid(moved[:8].flatten(0, 1), columns=len(STEPS))
        p.picture(
            name,
            rows,
            f"Eight test images, a row each, moved along the direction of {name}; they themselves in the middle",
        )
