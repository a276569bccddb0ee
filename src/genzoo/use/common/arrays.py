"""What people hand over from Python as images: tensors and arrays, floats and bytes, in one form."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System

FARTHEST = 2.0
"""Values beyond this are no rounding error of [-1, 1] but another range."""


def as_tensor(images: Any, verb: str) -> Tensor:
    """Turn images, sounds or points into a float tensor: arrays are taken as well, and bytes 0..255 are brought to [-1, 1].

    Raises:
        UserError: It is neither a tensor nor an array of numbers, or its values are of another range.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "fiub":
        images = torch.from_numpy(np.ascontiguousarray(images))
    if not isinstance(images, Tensor):
        raise UserError(
            f"{verb}: images are a tensor or an array [N, C, H, W] in [-1, 1], not a {type(images).__name__}"
        )
    if images.dtype == torch.uint8:
        return images.float().div(127.5).sub(1)
    if not images.is_floating_point():
        raise UserError(f"{verb}: images of {images.dtype} have no known range; give floats in [-1, 1] or uint8")
    x = images.detach().float()
    if x.ndim > 2 and x.numel() and not x.abs().max() <= FARTHEST:  # points have any range; NaN fails as well
        low, high = x.min().item(), x.max().item()
        raise UserError(f"{verb}: values go from {low:g} to {high:g}; give floats in [-1, 1] or uint8")
    return x


@contextmanager
def shape_is_said(x: Tensor, system: System, verb: str) -> Iterator[None]:
    """Put into words what networks cannot do with examples [N, ...] of another shape than theirs; some can, and are let.

    Raises:
        UserError: They could not.
    """
    shape = tuple(system.hparams.get("shape", ()))
    wrong = UserError(
        f"{verb}: shape {list(x.shape)} is not possible; this system takes [N, {', '.join(map(str, shape))}]"
    )
    if shape and x.ndim != len(shape) + 1:  # a dense network would take the channels for examples
        raise wrong
    try:
        yield
    except (RuntimeError, IndexError, ValueError):
        if not shape or tuple(x.shape[1:]) == shape:
            raise
        raise wrong from None


def layered(z: Tensor, layers: int) -> Tensor:
    """Give latents [n, latent] to every layer, [n, layers, latent]; what has one for each layer stays as it is."""
    return z if z.ndim == 3 else z[:, None].expand(-1, layers, -1)


def read_latents(file: str, key: str) -> Tensor:
    """Read latents [N, ...]: `latents` of an .npz that `genzoo project` wrote, or an .npy array.

    Args:
        file: The file.
        key: The option that names it, for messages.

    Raises:
        UserError: There is no such file, or it holds no latents.
    """
    path = Path(file.strip()).expanduser()
    if not path.is_file():
        raise UserError(f"{key}={file}: there is no such file; 'genzoo project RUN PICTURE out=mine.npz' writes one")
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            values = found
        else:
            with found:
                values = found["latents"]
    except (ValueError, OSError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{key}={file} holds no latents; give an .npz of 'genzoo project RUN PICTURE out=mine.npz', or an .npy array"
        ) from error
    if values.ndim < 2 or values.dtype.kind not in "fiu":
        raise UserError(
            f"{key}={file} holds {values.dtype} of shape {list(values.shape)}; latents are numbers [N, ...]"
        )
    return torch.from_numpy(values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.int64))
