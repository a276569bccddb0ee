"""Statistics that stand for real images: mean and covariance of features in an .npz file, as pytorch-fid, TTUR and clean-fid keep them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genzoo.core.errors import UserError
from genzoo.metrics.maths.moments import Moments
from genzoo.metrics.records import content_digest

KEYS = {"mu", "sigma"}


@dataclass(frozen=True)
class Reference:
    """Mean and covariance of the features of real images.

    Args:
        moments: With these, as if of two images: how many there were is not kept.
        name: Name of the file.
        digest: SHA-256 over both.
    """

    moments: Moments
    name: str
    digest: str

    @property
    def dims(self) -> int:
        """Number of features."""
        return len(self.moments.mean)


def is_reference(path: str | Path) -> bool:
    """Tell whether a path is an .npz file that holds `mu` and `sigma`."""
    file = Path(path).expanduser()
    if file.suffix.lower() != ".npz" or not file.is_file() or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return {f"{key}.npy" for key in KEYS} <= set(archive.namelist())


def read_reference(path: str | Path) -> Reference:
    """Read FID statistics.

    Args:
        path: An .npz file with `mu` [D] and `sigma` [D, D].

    Raises:
        UserError: Shapes that do not fit, values that are no finite numbers, or a covariance that is not symmetric or has a negative variance.
    """
    file = Path(path).expanduser()
    try:
        with np.load(file, allow_pickle=False) as kept:
            mu, sigma = (np.asarray(kept[key], np.float64) for key in ("mu", "sigma"))
    except (ValueError, OSError, zipfile.BadZipFile, EOFError):
        raise UserError(
            f"'{path}' holds mu and sigma that are no arrays of numbers; write FID statistics anew"
        ) from None
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or len(mu) == 0:
        raise UserError(
            f"'{path}': FID statistics are mu [D] and sigma [D, D], not {list(mu.shape)} and {list(sigma.shape)}"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(f"'{path}': mu and sigma hold NaN or infinite values; write FID statistics anew")
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * np.abs(sigma).max()) or (np.diag(sigma) < 0).any():
        raise UserError(f"'{path}': sigma is no covariance: it is not symmetric, or has a negative variance")
    moments = Moments(len(mu))
    moments.n, moments.mean, moments.scatter = 2, torch.from_numpy(mu), torch.from_numpy((sigma + sigma.T) / 2)
    return Reference(moments, file.name, content_digest(mu, sigma))
