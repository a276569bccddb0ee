"""Real images as measures take them: chosen by seed, in the size of the batches, with their features kept in the cache."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.data import Dataset
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.drawing import finite
from genzoo.metrics.features.extractors import Extractor, Rows, cached_features
from genzoo.metrics.held import held, parts


def rows_of(dataset: Dataset, n: int | None, seed: int) -> np.ndarray:
    """Choose `n` examples of a data set at random by seed, in the set's order; all of them where `n` is None or not smaller."""
    total = len(dataset.fields["image"])
    if n is None or n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).permutation(total)[:n])


def _plain_images(dataset: Dataset) -> np.ndarray:
    """Take all images of a data set in the size that its batches have: the middle stands for random crops."""
    if "image" not in dataset.fields:
        raise UserError(
            f"{dataset.name} has no plain images to compare samples with; its fields are {', '.join(dataset.fields)}"
        )
    if dataset.settings.binarize == "dynamic":
        raise UserError(
            "features of dynamically binarised data are not defined: the images differ in every pass; give binarize=static"
        )
    images: np.ndarray = dataset.fields["image"]
    _, height, width = dataset.facts()["shape"]
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    middle: np.ndarray = images[:, :, top : top + height, left : left + width]
    return middle


def real_rows(dataset: Dataset, *, n: int | None = None, seed: int = 0) -> Rows:
    """Return the images that `real_images` does, as they are looked at."""
    return Rows(_plain_images(dataset), rows_of(dataset, n, seed))


def digest_of_rows(images: Rows) -> str:
    """Compute the `content_digest` of images part by part."""
    digest = hashlib.sha256(f"{images.dtype} {images.shape};".encode())
    for part in parts(images):
        digest.update(part.contiguous().numpy().data)
    return digest.hexdigest()


def real_images(dataset: Dataset, *, n: int | None = None, seed: int = 0) -> Tensor:
    """Return `n` images of a data set (all by default), uint8 [n, C, H, W]: those that `real_features` describes."""
    rows = real_rows(dataset, n=n, seed=seed)
    return held(parts(rows), len(rows))


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
