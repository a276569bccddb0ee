"""Precision, recall, density and coverage: fidelity and variety apart, from nearest neighbours of features.

Kynkäänniemi et al. (arXiv:1904.06991) and Naeem et al. (arXiv:2002.09797). A point is inside a neighbourhood when its distance is at most
the radius (≤, so that copies of points with a duplicate count), which is the papers' own definition.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def prdc(fake: Tensor, real: Tensor, *, k: int = 5, chunk: int = 1000) -> dict[str, float]:
    """Return precision, recall, density and coverage of features.

    Args:
        fake: Features of generated images [N, D].
        real: Features of real images [M, D].
        k: Neighbours that make a radius (3 in Kynkäänniemi et al., 5 in Naeem et al.).
        chunk: Rows of a distance matrix at a time.
    """
    if min(len(fake), len(real)) <= k:
        raise ValueError(
            f"k={k} neighbours need more than {k} examples on each side, there are {len(fake)} and {len(real)}"
        )
    fake, real = fake.float(), real.float()
    real_radius, fake_radius = radii(real, k, chunk), radii(fake, k, chunk)
    inside_real = torch.zeros(len(fake))  # how many real neighbourhoods each fake is in
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(real), chunk):
        rows = slice(start, start + chunk)
        d = _squared(real[rows], fake)
        inside = d <= real_radius[rows, None]
        inside_real += inside.sum(0)
        covered[rows] = inside.any(1)
        recalled[rows] = (d <= fake_radius[None]).any(1)
    return {
        "precision": float((inside_real > 0).float().mean()),
        "recall": float(recalled.float().mean()),
        "density": float(inside_real.mean()) / k,
        "coverage": float(covered.float().mean()),
        "k": k,
    }


def radii(x: Tensor, k: int, chunk: int = 1000) -> Tensor:
    """Return the squared distance of every row to its k-th nearest other row, float32 [N]."""
    out = torch.empty(len(x))
    for start in range(0, len(x), chunk):
        d = _squared(x[start : start + chunk], x)
        rows = torch.arange(len(d))
        d[rows, start + rows] = 0  # exactly, or round-off would let a point be its own neighbour
        out[start : start + len(d)] = d.kthvalue(k + 1, dim=1).values
    return out


def _squared(a: Tensor, b: Tensor) -> Tensor:
    return torch.addmm(a.square().sum(1, keepdim=True) + b.square().sum(1), a, b.T, alpha=-2).clamp_(min=0)
