"""C_T: is a model making examples or copying its training set? Distances to the training set, against those of held-out data.

Held-out examples tell how near new examples of the same distribution lie to the training set; fakes that lie nearer are copies. C_T (Meehan,
Chaudhuri and Dasgupta, arXiv:2004.05675) is the Mann-Whitney z of "a fake is farther from the training set than a held-out example", in
cells of the training set, averaged by their share of held-out examples. Far below 0: copying; about 0: as it should be; far
above 0: too far away (underfitting). Under H0 it is standard normal in one cell; over several cells it is a mean of independent
standard normal values, whose deviation is less than 1.
"""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.kmeans import kmeans
from genzoo.metrics.maths.neighbours import nearest_rows
from genzoo.metrics.maths.outliers import auroc
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="copying",
    line="C_T: are samples nearer to the training images than held-out images are? Far below 0 is copying",
    question="copies",
    gives=(Value("C_T"),),
    features=False,
    train=True,
    protocol=(("n_train", "number of training images"), ("points", "space of distances")),
)


def mann_whitney_z(first: Tensor, second: Tensor) -> float:
    """Return z of the Mann-Whitney test: positive where values of `first` are larger than those of `second`; ties count half.

    U is compared with its mean nm/2 and its standard deviation √(nm(n + m + 1) / 12) under H0, which is a little too large where there
    are many ties. Where all values are tied z is 0.

    Args:
        first: Values [n].
        second: Values [m].

    Raises:
        UserError: A set is empty or has NaN.
    """
    n, m = first.numel(), second.numel()
    if not n or not m or bool(first.isnan().any()) or bool(second.isnan().any()):
        raise UserError("the Mann-Whitney test takes two sets of values, not empty and without NaN")
    u = auroc(second, first) * n * m
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


def data_copying(
    fake: Tensor, train: Tensor, test: Tensor, *, cells: int = 3, least: int = 20, seed: int = 0, chunk: int = 2000
) -> dict[str, Any]:
    """Return C_T, and the z of every cell.

    Args:
        fake: Features of samples [N, D].
        train: Features of what the model was trained on [T, D].
        test: Features of held-out data [M, D].
        cells: Cells, by k-means of the training set; 1 is the plain test.
        least: A cell with fewer fakes, or fewer held-out examples, is left out.
        seed: Seed of k-means.
        chunk: Side of a block of a distance matrix.

    Returns:
        `value` = C_T; `se`, its standard error over draws of the fakes, with the other sets given; `null_sd`, its deviation where fakes and held-out
        examples are of one distribution and both drawn anew; `z` = value / null_sd; `cells`, for each the `z`, and the numbers of `fake` and
        `test` examples (z None where left out); `share`, the probability that a fake is farther from the training set than a held-out
        example (½ is ideal); the median distances `fake` and `test`; `copies`, the share of fakes at distance 0.

    Raises:
        UserError: No cell has enough examples, shapes that do not fit, NaN or infinite values.
    """
    fake, train = checked_pair(fake, train, ("fake features", "training features"), at_least=1)
    test, _ = checked_pair(test, train, ("test features", "training features"), at_least=1)
    distance_fake, _ = nearest_rows(fake, train, chunk=chunk)
    distance_test, _ = nearest_rows(test, train, chunk=chunk)
    clusters = kmeans(train, cells, seed=seed)
    cell_fake, cell_test = clusters.assign(fake), clusters.assign(test)
    rows: list[dict[str, Any]] = []
    weighted = weight = squares = 0.0
    influence = torch.zeros(len(fake), dtype=torch.float64)
    for cell in range(cells):
        f, t = distance_fake[cell_fake == cell], distance_test[cell_test == cell]
        enough = min(len(f), len(t)) >= max(least, 1)
        z = mann_whitney_z(f, t) if enough else None
        rows.append({"z": z, "fake": len(f), "test": len(t)})
        if z is not None:
            weighted, weight, squares = weighted + len(t) * z, weight + len(t), squares + len(t) ** 2
            influence[cell_fake.cpu() == cell] = len(t) * _influence(f, t)
    if not weight:
        raise UserError(
            f"none of {cells} cells has {least} fake and {least} test examples; fakes by cell {[r['fake'] for r in rows]}, test "
            f"{[r['test'] for r in rows]}: use fewer cells or more examples"
        )
    null_sd = math.sqrt(squares) / weight
    return {
        "value": weighted / weight,
        "se": float(influence.std()) * math.sqrt(len(fake)) / weight if len(fake) > 1 else math.nan,
        "null_sd": null_sd,
        "z": weighted / weight / null_sd,
        "cells": rows,
        "share": auroc(distance_test, distance_fake),
        "fake": float(distance_fake.median()),
        "test": float(distance_test.median()),
        "copies": float((distance_fake == 0).double().mean()),
        "n_fake": len(fake),
        "n_train": len(train),
        "n_test": len(test),
        "seed": seed,
    }


def _influence(first: Tensor, second: Tensor) -> Tensor:
    """Return what each value of `first` adds to `mann_whitney_z`, by its own place among `second` and by being one more, float64 [n]."""
    n, m = len(first), len(second)
    a, b = first.double().cpu(), second.double().cpu().sort().values
    above = (torch.searchsorted(b, a) + torch.searchsorted(b, a, right=True)).double() / (2 * m)
    scale = math.sqrt(12 * n * m / (n + m + 1))
    return scale * (above - above.mean()) / n + (above.mean() - 0.5) * scale / 2 * (1 / n - 1 / (n + m + 1))


def take(c: Comparison) -> list[Record]:
    """Return whether samples are nearer to the training images than held-out images are: C_T."""
    start = time.time()
    fake, train, test, points = c.train_points
    got = data_copying(fake, train, test, seed=c.seed)
    words = (
        f"Mann-Whitney z of distances to {len(train):,} training images by {points}, samples against real images, mean over cells: far below 0 "
        f"is copying, far above 0 is too far away; where they are of one distribution its deviation is {got['null_sd']:.2f}, so z = {got['z']:.3g}"
    )
    return [
        c.record(
            MEASURE.says("C_T"), got["value"], words, start, features=not points.startswith("pixels"), se=got["se"], copies=got["copies"],
            share=got["share"], z=got["z"], null_sd=got["null_sd"], n_train=len(train), points=points,
        )
    ]  # fmt: skip
