"""A distance between samples and real images, as a record that carries its whole protocol.

A Fréchet distance without the numbers of images, the split, the resizer, the quantisation and the network is meaningless; and so is
one without its floor, what real training images score against the same real test images at the same number.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo import __version__
from genzoo.core.errors import UserError
from genzoo.core.pictures import to_uint8
from genzoo.data import Dataset
from genzoo.metrics.extractors import Extractor, cached_features
from genzoo.metrics.frechet import frechet_distance

QUANTISATION = "samples to grey levels by round((x + 1) · 127.5), clamped"


def rows_of(dataset: Dataset, n: int | None, seed: int) -> np.ndarray:
    """Choose `n` examples of a data set at random by seed, in the set's order; all of them where `n` is None or not smaller."""
    total = len(dataset.fields["image"])
    if n is None or n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).permutation(total)[:n])


def real_features(dataset: Dataset, net: Extractor, *, n: int | None = None, seed: int = 0) -> Tensor:
    """Return the features of `n` images of a data set (all by default), kept in the cache.

    Raises:
        UserError: The data are not plain images.
    """
    if "image" not in dataset.fields:
        raise UserError(
            f"{dataset.name} has no plain images to compare samples with; its fields are {', '.join(dataset.fields)}"
        )
    if dataset.settings.binarize == "dynamic":
        raise UserError(
            "features of dynamically binarised data are not defined: the images differ in every pass; give binarize=static"
        )
    images = dataset.fields["image"]
    _, height, width = dataset.facts()[
        "shape"
    ]  # less than the stored size where batches are crops: the middle stands for them
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    images = images[:, :, top : top + height, left : left + width]
    return cached_features(images, rows_of(dataset, n, seed), f"{dataset.digest} {dataset.split} {height}x{width}", net)


def image_report(
    samples: Tensor,
    test: Dataset,
    net: Extractor,
    *,
    train: Dataset | None = None,
    n_real: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score samples against the images of a data set by the Fréchet distance on an extractor's features.

    Args:
        samples: uint8 [N, C, H, W], or floats in [-1, 1] that are brought to grey levels.
        test: The real images, as a rule the test split.
        net: The extractor.
        train: The training split, for the floor: as many of its images as there are samples, against the same real images.
        n_real: Real images, chosen by seed; all of them by default.
        seed: Seed of that choice (and of the floor's).

    Returns:
        A record: measure (FLD or FID), value, floor (None without `train`), n_fake, n_real, n_floor, split, data, extractor, digest,
        resize, quantisation, seed, library, seconds, and the same in words under protocol.
    """
    start = time.time()
    if samples.dtype != torch.uint8:
        samples = to_uint8(samples)
    real = real_features(test, net, n=n_real, seed=seed)
    value = frechet_distance(net(samples, progress=net.dims > 1000), real)
    floor = n_floor = None
    if train is not None:
        floor_features = real_features(train, net, n=len(samples), seed=seed)
        floor, n_floor = frechet_distance(floor_features, real), len(floor_features)
    record: dict[str, Any] = {
        "measure": net.measure,
        "value": value,
        "floor": floor,
        "n_fake": len(samples),
        "n_real": len(real),
        "n_floor": n_floor,
        "data": test.name,
        "split": test.split,
        "extractor": net.name,
        "digest": net.digest,
        "resize": net.resize,
        "quantisation": QUANTISATION,
        "seed": seed,
        "library": f"genzoo {__version__}, torch {torch.__version__}",
        "seconds": round(time.time() - start, 1),
    }
    record["protocol"] = (
        f"squared Fréchet distance of {net.name} features (weights {net.digest[:12]}); {record['n_fake']:,} samples against "
        f"{record['n_real']:,} images of {test.name} {test.split}"
        + (f", floor: {n_floor:,} training images against the same" if train is not None else "")
        + f"; {QUANTISATION}; {net.resize}; float64, unbiased covariances; seed {seed}"
    )
    return record
