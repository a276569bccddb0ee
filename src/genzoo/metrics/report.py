"""A distance between samples and real images, as a record that carries its whole protocol.

A Fréchet distance without the numbers of images, the split, the resizer, the quantization and the network is meaningless; and so is
one without its floor, what real training images score against the same real test images at the same number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.data import Dataset
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.drawing import finite
from genzoo.metrics.features.extractors import Extractor, cached_features
from genzoo.metrics.records import QUANTISATION

__all__ = ["QUANTISATION", "as_levels", "image_report", "real_features", "real_images", "rows_of"]


def rows_of(dataset: Dataset, n: int | None, seed: int) -> np.ndarray:
    """Choose `n` examples of a data set at random by seed, in the set's order; all of them where `n` is None or not smaller."""
    total = len(dataset.fields["image"])
    if n is None or n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).permutation(total)[:n])


def _plain_images(dataset: Dataset) -> np.ndarray:
    """All images of a data set in the size that its batches have: the middle stands for random crops."""
    if "image" not in dataset.fields:
        raise UserError(
            f"{dataset.name} has no plain images to compare samples with; its fields are {', '.join(dataset.fields)}"
        )
    if dataset.settings.binarize == "dynamic":
        raise UserError(
            "features of dynamically binarised data are not defined: the images differ in every pass; give binarize=static"
        )
    images = dataset.fields["image"]
    _, height, width = dataset.facts()["shape"]
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


def real_images(dataset: Dataset, *, n: int | None = None, seed: int = 0) -> Tensor:
    """Return `n` images of a data set (all by default), uint8 [n, C, H, W]: those that `real_features` describes."""
    return torch.from_numpy(np.ascontiguousarray(_plain_images(dataset)[rows_of(dataset, n, seed)]))


def real_features(dataset: Dataset, net: Extractor, *, n: int | None = None, seed: int = 0) -> Tensor:
    """Return the features of `n` images of a data set (all by default), kept in the cache.

    Raises:
        UserError: The data are not plain images.
    """
    images = _plain_images(dataset)
    height, width = images.shape[2:]
    return cached_features(images, rows_of(dataset, n, seed), f"{dataset.digest} {dataset.split} {height}x{width}", net)


def as_levels(samples: Tensor) -> Tensor:
    """Return samples as uint8 [N, C, H, W]; floats in [-1, 1] are brought to grey levels.

    Raises:
        UserError: They hold NaN or infinite values.
    """
    return samples if samples.dtype == torch.uint8 else to_uint8(finite(samples))


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
        A record (see `genzoo.metrics.records.Record`): measure (FLD or FID), value, se, floor (None without `train`), n_fake, n_real,
        n_floor, split, data, data_digest, extractor, digest, resize, quantization, seed, library, seconds, protocol in words.
    """
    from genzoo.metrics.measures import Comparison, frechet

    compared = Comparison(test=test, train=train, net=net, given=as_levels(samples), n_real=n_real, seed=seed)
    return frechet(compared)[0].to_json()
