"""Apply a map of images to an image of any size: padded to what its networks take, or tile by tile without seams.

Tiles start at multiples of the networks' own step and share `overlap` pixels with their neighbours. Of these the outer quarters are
thrown away, because there a network sees the tile's border, and over the middle half one tile fades into the next. So a convolutional
network whose outputs see no farther than a quarter of the overlap gives, tile by tile, what it gives for the whole image.

Instance norm sees the whole image, and its tiles would differ in colour and contrast. While tiles are mapped, every instance norm works
with one mean and variance instead: those of nine places of the image together, taken by the networks themselves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.saved.devices import keep_memory

Change = Callable[[Tensor], Tensor]
"""From [B, C, h, w] in [-1, 1] to [B, C', scale · h, scale · w] in [-1, 1]."""
Tile = Annotated[int, Field(ge=16, le=65536)]
Overlap = Annotated[int, Field(ge=0, le=4096)]
Megapixels = Annotated[float, Field(gt=0, le=100_000)]

TILE, OVERLAP = 512, 64
"""Sides in pixels of what goes through the networks at once, and of what neighbours share."""
HALF = {np.dtype(np.uint8): 127.5, np.dtype(np.uint16): 32767.5}
"""Half the range of the integer pixels."""
PLACES = 3
"""Instance norms are measured at PLACES x PLACES places."""


@dataclass(frozen=True)
class Cuts:
    """How one side of an image is cut.

    Args:
        side: Pixels of the image.
        before: Pixels that are added before the first.
        tile: Length of a tile.
        overlap: Pixels that two neighbours share.
        count: Number of tiles.
    """

    side: int
    before: int
    tile: int
    overlap: int
    count: int

    @property
    def starts(self) -> list[int]:
        """Where tiles begin, in pixels of the enlarged image."""
        return [i * (self.tile - self.overlap) for i in range(self.count)]

    @property
    def whole(self) -> int:
        """Length of the enlarged image."""
        return self.starts[-1] + self.tile

    def source(self, start: int, length: int) -> np.ndarray:
        """Find which pixels of the image stand at start … start + length of the enlarged one: it is mirrored at its borders."""
        at = np.arange(start, start + length) - self.before
        # Reflection continues the texture, but reaches only as far as the image does.
        if max(self.before, self.whole - self.before - self.side) >= self.side:
            return at.clip(0, self.side - 1)
        at = np.abs(at)
        return np.where(at >= self.side, 2 * (self.side - 1) - at, at)

    def ramp(self, i: int, scale: int) -> np.ndarray:
        """Weight of every pixel of the i-th tile, float32: neighbours' weights add to 1."""
        weight = np.ones(self.tile * scale, np.float32)
        shared = self.overlap * scale
        if shared:
            fade = np.clip((np.arange(shared, dtype=np.float32) + 0.5) / shared * 2 - 0.5, 0, 1)
            if i > 0:
                weight[:shared] = fade
            if i < self.count - 1:
                weight[-shared:] = 1 - fade
        return weight


def cuts(side: int, *, least: int = 1, multiple: int = 1, tile: int = TILE, overlap: int = OVERLAP) -> Cuts:
    """Cut a side of an image: not at all where a tile holds it, else into equal tiles.

    Args:
        side: Pixels.
        least: Fewest pixels that the networks take.
        multiple: Of which their sides have to be multiples.
        tile: Longest tile; what the networks need goes before.
        overlap: Pixels that neighbours share at least, rounded up to the multiple.
    """

    def up(n: int) -> int:
        return -(-n // multiple) * multiple

    padded = up(max(side, least))
    longest = max(tile // multiple * multiple, up(least), multiple)
    if padded <= longest:
        return Cuts(side, (padded - side) // 2, padded, 0, 1)
    shared = up(overlap)
    longest = max(longest, 2 * shared + multiple)  # a pixel is in no more than two tiles
    if padded <= longest:
        return Cuts(side, (padded - side) // 2, padded, 0, 1)
    count = math.ceil((side - shared) / (longest - shared))
    length = max(up(math.ceil((side + (count - 1) * shared) / count)), up(least), 2 * shared)
    # What is added before is what the whole would get: a strided net then meets every pixel at the same phase.
    while count * length - (count - 1) * shared < (padded - side) // 2 + side:
        length += multiple
    return Cuts(side, (padded - side) // 2, length, shared, count)


@torch.no_grad()
def tiled(
    change: Change,
    image: np.ndarray,
    *,
    scale: int = 1,
    least: int = 1,
    multiple: int = 1,
    tile: int = TILE,
    overlap: int = OVERLAP,
    net: nn.Module | None = None,
    device: torch.device | str = "cpu",
    window: tuple[float, float] | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return the changed image, [scale · H, scale · W, C'], in the dtype of `image`.

    Beside the image and the result (their own pixels, no floats) memory holds a few tiles and a band of `overlap` rows, whatever the
    size of the image.

    Args:
        change: What is done, on float tensors.
        image: uint8, uint16 (both their full range), or float32 in [-1, 1], [H, W, C].
        scale: How many times larger `change` makes an image.
        least: Fewest pixels that `change` takes.
        multiple: Of which the sides that it takes are multiples.
        tile: Side of the largest piece that goes through at once; an image that is no larger is one piece.
        overlap: Pixels that neighbours share.
        net: Where instance norms are looked for, which then see the whole image (see above).
        device: Where `change` works.
        window: Values of `image` (of any type then) that are -1 and 1 to `change`; gray comes back in the values of the image, colours as uint8.
        advance: Called with the number of tiles done and of all.

    Raises:
        UserError: `change` does not give back the size that it should.
    """
    rows, columns = (cuts(n, least=least, multiple=multiple, tile=tile, overlap=overlap) for n in image.shape[:2])
    one = rows.count * columns.count == 1
    keep_memory()

    def piece(y: int, x: int, height: int, width: int) -> Tensor:
        values = image[rows.source(y, height)[:, None], columns.source(x, width)]
        return _floats(values if window is None else into_window(values, window)).to(device)

    def pieces() -> Tensor:
        """Choose places for the statistics of instance norms, half a tile in side, spread over the image."""
        height, width = (
            max(c.tile // 2 // multiple * multiple, -(-least // multiple) * multiple) for c in (rows, columns)
        )
        spots = [
            [round(k / (PLACES - 1) * (c.whole - n) / multiple) * multiple for k in range(PLACES)]
            for c, n in ((rows, height), (columns, width))
        ]
        return torch.cat([piece(y, x, height, width) for y in spots[0] for x in spots[1]])

    with shared_statistics(net, lambda: change(pieces())) if net is not None and not one else _nothing():
        return _assemble(change, piece, image, rows, columns, scale, window, advance or (lambda done, of: None))


def _assemble(
    change: Change,
    piece: Callable[[int, int, int, int], Tensor],
    image: np.ndarray,
    rows: Cuts,
    columns: Cuts,
    scale: int,
    window: tuple[float, float] | None,
    advance: Callable[[int, int], None],
) -> np.ndarray:
    """Map tile after tile; what two tiles share is carried, weighed, to the next one to the right and below."""
    result: np.ndarray = np.empty(0)
    below: np.ndarray = np.empty(0)
    tall, wide, share_y, share_x = (scale * n for n in (rows.tile, columns.tile, rows.overlap, columns.overlap))
    for i, y in enumerate(rows.starts):
        above, right = below, np.empty(0)
        for j, x in enumerate(columns.starts):
            out = change(piece(y, x, rows.tile, columns.tile))[0].float().permute(1, 2, 0).cpu().numpy()
            if out.shape[:2] != (tall, wide):
                raise UserError(
                    f"{columns.tile}x{rows.tile} pixels came back as {out.shape[1]}x{out.shape[0]}, not {wide}x{tall}"
                )
            if not result.size:
                kept = np.dtype(np.uint8) if window and out.shape[2] != image.shape[2] else image.dtype
                window = window if kept == image.dtype and out.shape[2] == image.shape[2] else None
                result = np.empty((image.shape[0] * scale, image.shape[1] * scale, out.shape[2]), kept)
            if j == 0:
                below = np.zeros((share_y, scale * columns.whole, out.shape[2]), np.float32)
            if rows.count * columns.count > 1:
                out = out * rows.ramp(i, scale)[:, None, None] * columns.ramp(j, scale)[:, None]
                if j:
                    out[:, :share_x] += right
                last_x, last_y = j == columns.count - 1, i == rows.count - 1
                right = out[:, wide - share_x :].copy()
                out = out if last_x else out[:, : wide - share_x]
                here = slice(scale * x, scale * x + out.shape[1])
                if i:
                    out[:share_y] += above[:, here]
                if not last_y:
                    below[:, here] = out[tall - share_y :]
                    out = out[: tall - share_y]
            _put(result, out, scale * (y - rows.before), scale * (x - columns.before), window)
            advance(i * columns.count + j + 1, rows.count * columns.count)
    return result


def _put(result: np.ndarray, block: np.ndarray, top: int, left: int, window: tuple[float, float] | None) -> None:
    """Write what of `block` lies inside the image."""
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + block.shape[0], result.shape[0]), min(left + block.shape[1], result.shape[1])
    if y1 > y0 and x1 > x0:
        inside = block[y0 - top : y1 - top, x0 - left : x1 - left]
        result[y0:y1, x0:x1] = (
            pixels(inside, result.dtype) if window is None else out_of_window(inside, window, result.dtype)
        )


def into_window(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Bring gray values of any type to float32 in [-1, 1], the ends of the window; what lies outside is cut off."""
    low, high = window
    return ((values.astype(np.float32) - low) / (high - low)).clip(0, 1) * 2 - 1


def out_of_window(values: np.ndarray, window: tuple[float, float], dtype: np.dtype | type) -> np.ndarray:
    """Bring values in [-1, 1] to gray values of a type, -1 and 1 at the ends of the window."""
    low, high = window
    found = low + (values.astype(np.float64) + 1) / 2 * (high - low)
    if np.dtype(dtype) == np.float32:
        return found.astype(np.float32)
    span = np.iinfo(dtype)
    return np.rint(found).clip(span.min, span.max).astype(dtype)


def _floats(values: np.ndarray) -> Tensor:
    """Bring pixels [H, W, C] of any of the three dtypes to float32 [1, C, H, W] in [-1, 1], channels last."""
    half = HALF.get(values.dtype)
    floats = values if half is None else values.astype(np.float32) / np.float32(half) - 1
    return torch.from_numpy(np.ascontiguousarray(floats, dtype=np.float32))[None].permute(0, 3, 1, 2)


def pixels(values: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Bring values in [-1, 1] to pixels of a dtype: clamped and rounded to the integers of its range; float32 as it is."""
    half = HALF.get(np.dtype(dtype))
    if half is None:
        return values
    return np.rint((values.astype(np.float64) + 1) * half).clip(0, 2 * half).astype(dtype)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def shared_statistics(net: nn.Module, measure: Callable[[], Any]) -> Iterator[None]:
    """Hold the mean and variance of every instance norm, within the block, at what they were over all examples of `measure()` together.

    Args:
        net: Where instance norms are looked for. Those with running statistics are left alone.
        measure: Sends examples through the networks.
    """
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d) and not m.track_running_stats]
    seen: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {m: [] for m in norms}

    def normalized(m: nn.InstanceNorm2d, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return F.batch_norm(x, mean.to(x.dtype), variance.to(x.dtype), m.weight, m.bias, False, 0.0, m.eps)

    def measuring(m: nn.InstanceNorm2d) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            variance, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
            seen[m].append((mean, variance))
            return normalized(m, x, mean, variance)

        return forward

    def using(m: nn.InstanceNorm2d) -> Callable[[Tensor], Tensor]:
        turns = itertools.cycle(seen[m])  # a norm that is used at two places has two statistics
        return lambda x: normalized(m, x, *next(turns))

    try:
        for m in norms:
            m.__dict__["forward"] = measuring(m)
        measure()
        for m in norms:
            if seen[m]:
                m.__dict__["forward"] = using(m)
            else:
                del m.__dict__["forward"]
        yield
    finally:
        for m in norms:
            m.__dict__.pop("forward", None)
