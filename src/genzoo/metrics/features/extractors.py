"""Feature extractors: uint8 images in, float32 features out, each with its name, its digest and its own resizing.

An extractor is part of a number: features of another network, or of the same network behind another resizer, give distances that
cannot be compared. So the resizing is done here and never by the caller, and every record carries what `Extractor.card` says.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from genzoo.core.errors import UserError, disk_full_is_said, nearest
from genzoo.core.files import cache_folder, cache_folders, replacing
from genzoo.metrics.features.resizers import RESIZERS
from genzoo.metrics.held import held, let_go, parts
from genzoo.ranks.spread import spread


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into feature vectors.

    Args:
        name: Its name with version.
        digest: SHA-256 of the file of weights (of the state, for a module).
        dims: Number of features.
        measure: What a Fréchet distance on these features is called: FLD, FID, FD-NAME.
        resize: How images of other sizes and channels are brought to the network's input, in words.
        features: uint8 [N, C, H, W] on the CPU to float32 [N, D].
        batch: Images at a time.
        logits: uint8 [N, C, H, W] to float32 [N, classes], where the network is a classifier whose classes are the data's.
        photographs: True for networks of photographs, which take a good part of a second for an image on a CPU.
        sanity: True where the features are random: a check that code runs, not a measure of quality.
        asked: By which name or file it was asked for, and can be again; "" for one that was made in memory.
    """

    name: str
    digest: str
    dims: int
    measure: str
    resize: str
    features: Callable[[Tensor], Tensor]
    batch: int = 500
    logits: Callable[[Tensor], Tensor] | None = None
    photographs: bool = False
    sanity: bool = False
    asked: str = ""

    def __call__(self, images: Images, *, progress: bool = False) -> Tensor:
        """Return the features, float32 [N, D], of uint8 images [N, C, H, W].

        Args:
            images: Grey levels 0..255; a tensor, an array, a memory map, or what reads them part by part.
            progress: Print a line for every tenth of the work.

        Raises:
            UserError: A feature is not a finite number.
        """
        _levels(images, self.name)
        return held(self._described(images, progress), len(images)) if len(images) else torch.empty(0, self.dims)

    def _described(self, images: Images, progress: bool) -> Iterator[Tensor]:
        starts = range(0, len(images), self.batch)
        shown = ((part.cpu(),) for part in parts(images, self.batch))
        for start, got in zip(starts, spread(_features, self, "network", self.asked, shown), strict=True):
            here = min(self.batch, len(images) - start)
            if got.ndim != 2 or got.shape != (here, self.dims):
                raise UserError(
                    f"{self.name} gives features {tuple(got.shape)} for {here} images; it has to be [N, {self.dims}]"
                )
            if not torch.isfinite(got).all():
                first = start + int((~torch.isfinite(got)).any(1).nonzero()[0])
                raise UserError(f"{self.name}: the features of image {first} are not finite numbers")
            done = start + here
            yield got.float().cpu()
            if progress and done * 10 // len(images) > start * 10 // len(images):
                print(f"{self.name}: {done:,} of {len(images):,} images", file=sys.stderr, flush=True)

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Return class logits, float32 [N, classes], of uint8 images [N, C, H, W]; only where `logits` is given."""
        _levels(images, self.name)
        assert self.logits is not None
        return torch.cat([self.logits(part.cpu()) for part in parts(images, self.batch)])

    @property
    def slow(self) -> bool:
        """True where the features of a whole training set are out of the question."""
        return self.photographs

    @property
    def card(self) -> dict[str, str]:
        """What identifies it in a record."""
        return {"name": self.name, "digest": self.digest, "resize": self.resize}


@torch.inference_mode()
def _features(net: Extractor, images: Tensor) -> Tensor:
    return net.features(images)


def _levels(images: Images, name: str) -> None:
    if images.ndim != 4 or images.dtype not in (torch.uint8, np.uint8):
        raise ValueError(f"{name} takes uint8 images [N, C, H, W], not {images.dtype} {tuple(images.shape)}")


def module_extractor(
    module: nn.Module, *, name: str, resize: str = "bilinear", side: int | None = None, batch: int = 100
) -> Extractor:
    """Make an extractor of any network of your own.

    Args:
        module: Takes float32 [N, C, side, side] in [-1, 1], returns [N, D] features. It is used in eval mode, without gradients.
        name: What records call it.
        resize: Name of a resizer: tf1-bilinear, torch-bilinear, bilinear, bicubic, pillow-bicubic.
        side: Side that images are brought to; None leaves their size as it is.
        batch: Images at a time.

    Returns:
        An extractor whose digest is that of the module's state: other weights are another extractor.

    Raises:
        UserError: There is no resizer of that name.
    """
    if resize not in RESIZERS:
        raise UserError(f"there is no resizer '{resize}'{nearest(resize, RESIZERS)} There are: {', '.join(RESIZERS)}.")
    function, words = RESIZERS[resize]
    module = module.eval()

    def features(images: Tensor) -> Tensor:
        x = images.float() if side is None else function(images, side)
        with torch.no_grad():
            found: Tensor = module(x / 127.5 - 1)
        return found.float().cpu()

    words = "no resizing" if side is None else f"{words} to {side}x{side}"
    probe = features(torch.zeros(2, _channels_of(module), side or 32, side or 32, dtype=torch.uint8))
    if probe.ndim != 2:
        raise UserError(f"{name} gives {tuple(probe.shape)}; a feature extractor gives [N, D]")
    return Extractor(
        name=name,
        digest=state_digest(module),
        dims=probe.shape[1],
        measure=f"FD-{name}",
        resize=f"{words}; level / 127.5 − 1; no rounding",
        features=features,
        batch=batch,
    )


def state_digest(module: nn.Module) -> str:
    """Compute SHA-256 over names, types, shapes and bytes of a module's state."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _channels_of(module: nn.Module) -> int:
    first = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    return first.in_channels if first is not None else 1


# ---- features that are needed again and again -----------------------------------------------------------------------------------


class Images(Protocol):
    """Grey levels [N, C, H, W] that are taken part by part: an array, a tensor, or what reads them only then."""

    @property
    def ndim(self) -> int:
        """Return 4."""

    @property
    def dtype(self) -> Any:
        """Return uint8."""

    @property
    def shape(self) -> Any:
        """Return (N, C, H, W)."""

    def __len__(self) -> int:
        """Return N."""

    def __getitem__(self, part: slice, /) -> Any:
        """Return a part of them, as an array or a tensor."""


class Rows:
    """Some rows of an array, copied only as far as they are looked at: `array[rows]` without its memory.

    Args:
        array: Usually a memory map.
        rows: Indices into it.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.dtype, self.shape, self.ndim = array.dtype, (len(rows), *array.shape[1:]), array.ndim

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        """Return a part of them, or those of some numbers."""
        found = np.ascontiguousarray(self.array[self.rows[part]])
        let_go(self.array)
        return found


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
    for place in cache_folders("features"):
        try:
            found = np.load(place / f"{key[:32]}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            continue  # none, or half a file from another machine: compute it again
        if isinstance(found, np.ndarray) and found.shape == (len(rows), net.dims) and found.dtype == np.float32:
            return held(parts(found), len(rows))
    features = net(Rows(images, np.asarray(rows)), progress=net.slow)
    with contextlib.suppress(UserError):  # no room, or no place of one's own: they are computed again next time
        place = cache_folder("features", quiet=True) / f"{key[:32]}.npy"
        with disk_full_is_said(place, features.nbytes), replacing(place) as part:
            np.save(part, features.numpy())
    let_go(features)
    return features
