"""Precision, recall, density and coverage: fidelity and variety apart, from nearest neighbours of features.

Kynkäänniemi et al. (arXiv:1904.06991) and Naeem et al. (arXiv:2002.09797). A point is inside a neighbourhood when its distance is at most
the radius (≤, so that copies of points with a duplicate count), which is the papers' own definition; distances that differ by no more
than float32's round-off are ties. Distances come in blocks of a matrix that is never whole, each symmetric one computed once.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.errors import local_errors, mean_error
from genzoo.metrics.maths.inputs import centred_pair, checked_pair, round_off, squared_distances
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record, share_interval

MEASURE = Measure(
    name="prdc",
    line="precision and recall (Kynkäänniemi), density and coverage (Naeem), of k nearest neighbours",
    question="variety",
    gives=(
        Value("precision", better="higher"),
        Value("recall", better="higher", warns=("collapse",)),
        Value("density", better="higher"),
        Value("coverage", better="higher", warns=("collapse",)),
    ),
    also=("improved-precision-recall",),
    known=(
        Known(
            "pr50k3",
            n=50_000,
            n_real=50_000,
            split="train",
            extractor="vgg16",
            k=3,
            note="50,000 samples and at most 50,000 training images, k = 3, as NVIDIA's code has it, but there by another layer of VGG-16 (fc2): "
            "values compare with no published ones",
        ),
        Known(
            "pr50k3-full",
            n=50_000,
            n_real=200_000,
            split="train",
            extractor="vgg16",
            k=3,
            note="50,000 samples and at most 200,000 training images, k = 3, as NVIDIA's code has it, but there by another layer of VGG-16 (fc2): "
            "values compare with no published ones",
        ),
        Known("precision-recall", note="of Kynkäänniemi et al. (prdc); prd is that of Sajjadi et al."),
    ),
    protocol=(("k", "k"),),
)
MEANING = {
    "precision": "share of samples inside a neighbourhood of real images",
    "recall": "share of real images inside a neighbourhood of samples",
    "density": "neighbourhoods of real images that a sample is in, over k",
    "coverage": "share of neighbourhoods of real images with a sample inside",
}


@torch.no_grad()
def prdc(
    fake: Tensor, real: Tensor, *, k: int = 5, chunk: int = 1000, errors: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Return precision, recall, density and coverage of features.

    * precision: share of fakes inside any real neighbourhood; recall: share of reals inside any fake neighbourhood;
    * density: real neighbourhoods that a fake is inside of, over k (can be more than 1);
    * coverage: share of real neighbourhoods with a fake inside. Equal distributions reach 1 − (1/2)ᵏ and not 1 at equal numbers.

    Args:
        fake: Features of generated images [N, D].
        real: Features of real images [M, D].
        k: Neighbours that make a radius (3 in Kynkäänniemi et al., 5 in Naeem et al.).
        chunk: Side of a block of the distance matrix; memory is chunk².
        errors: Whether standard errors are wanted; they cost a few times the values.
        seed: Seed of the parts that errors come from.

    Returns:
        `precision`, `recall`, `density`, `coverage`; `k`, `n_fake`, `n_real`; with `errors` also `se`: the standard error of each over draws of
        the fakes, with the reals given (None with fewer than 8k examples on a side for recall and coverage).

    Raises:
        UserError: Shapes that do not fit, no more than k examples on a side, NaN or infinite values.
    """
    fake, real = checked_pair(fake, real)
    if k < 1 or min(len(fake), len(real)) <= k:
        raise UserError(
            f"k={k} neighbours need k ≥ 1 and more than k examples on each side, there are {len(fake)} and {len(real)}"
        )
    fake, real = centred_pair(fake, real)
    real_reach = radii(real, k, chunk) + round_off(real)
    fake_reach = radii(fake, k, chunk) + round_off(fake)
    inside_real = torch.zeros(
        len(fake), dtype=torch.long, device=fake.device
    )  # real neighbourhoods that each fake is in
    recalled = torch.zeros(len(real), dtype=torch.bool, device=fake.device)
    covered = torch.zeros_like(recalled)
    for i in range(0, len(real), chunk):
        for j in range(0, len(fake), chunk):
            rows, columns = slice(i, i + chunk), slice(j, j + chunk)
            d = squared_distances(real[rows], fake[columns])
            inside = d <= real_reach[rows, None]
            inside_real[columns] += inside.sum(0)
            covered[rows] |= inside.any(1)
            recalled[rows] |= (d <= fake_reach[None, columns]).any(1)
    found: dict[str, Any] = {
        "precision": float((inside_real > 0).double().mean()),
        "recall": float(recalled.double().mean()),
        "density": float(inside_real.double().mean()) / k,
        "coverage": float(covered.double().mean()),
        "k": k,
        "n_fake": len(fake),
        "n_real": len(real),
    }
    if errors:
        found["se"] = {"precision": mean_error(inside_real > 0), "density": mean_error(inside_real / k)}
        hang = ("recall", "coverage")
        if min(len(fake), len(real)) < 8 * k:
            found["se"] |= dict.fromkeys(hang)
        else:
            found["se"] |= local_errors(lambda a, b: prdc(a, b, k=k, chunk=chunk), fake, real, hang, seed=seed)
    return found


@torch.no_grad()
def radii(x: Tensor, k: int, chunk: int = 1000) -> Tensor:
    """Return the squared distance of every row to its k-th nearest other row, [N], in the dtype of `x`."""
    best = torch.full((len(x), k), torch.inf, dtype=x.dtype, device=x.device)

    def take(rows: slice, d: Tensor) -> None:
        near = d.topk(min(k, d.shape[1]), dim=1, largest=False).values
        best[rows] = torch.cat([best[rows], near], 1).topk(k, dim=1, largest=False).values

    for i in range(0, len(x), chunk):
        rows = slice(i, i + chunk)
        d = squared_distances(x[rows], x[rows])
        d.fill_diagonal_(torch.inf)  # no row is its own neighbour, whatever round-off says of its distance to itself
        take(rows, d)
        for j in range(i + chunk, len(x), chunk):
            columns = slice(j, j + chunk)
            d = squared_distances(x[rows], x[columns])
            take(rows, d)
            take(columns, d.T.contiguous())
    return best.max(1).values


def take(c: Comparison) -> list[Record]:
    """Return precision, recall, density and coverage."""
    start, net = time.time(), c.network
    got = prdc(c.fake_features, c.real_features, k=c.k, errors=True, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: prdc(x, c.real_features, k=c.k)) or {}
    found = []
    for name, text in MEANING.items():
        words, se = f"{text}, k = {c.k} nearest neighbours by {net.name} features", got["se"][name]
        found.append(
            c.record(
                MEASURE.says(name), got[name], words, start, k=c.k, floor=floor.get(name), n_floor=count(c.floor_features),
                se=se, interval=None if se is None or name == "density" else share_interval(got[name], se, c.n_fake),
            )
        )  # fmt: skip
    return found
