"""Moving digits, drawn from their definition: two digits that fly over a black square and bounce off its sides.

Clip number i of a part is a function of (name, part, i) alone, whatever the seed, the limit or the machine:

* numpy's `default_rng([ORDER_SEED, crc32("NAME PART"), i])` draws, for the first and then for the second digit, which image of that
  part's digits it is, where it starts, (y, x) uniform in [0, 1]², and its direction, uniform in [0, 2 pi);
* digits are scaled (bicubic) to 7/16 of the square's side, rounded: 28 of 64 pixels, as in arXiv:1502.04681;
* at frame t its place is fold(start + 0.1 t (sin, cos)(direction)), 0 at one side and 1 at the other, and its upper left pixel
  that times the side less the digit's, rounded; fold(x) = 1 - |1 - (x mod 2)| lets it bounce without loss;
* where two digits overlap the brighter pixel is seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data.decode.forms import ImageFormat, Shape
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.sources.contents import ArrayPictures, Contents, Source

SIZES = {"train": 4000, "test": 1000}
"""Clips of each part where no `limit` is set."""
SIDE = 64
"""Side of the square where no size is set."""
SPEED = 0.1
"""Of the way from one side to the other, in a frame."""


class Moving:
    """moving-digits or moving-mnist.

    Args:
        name: Which.
        digits: Where the digits are from.
    """

    def __init__(self, name: str, digits: Source) -> None:
        self.name, self.digits = name, digits

    def identity(self) -> list[object]:
        """Return the set's name and what identifies its digits."""
        return [self.name, self.digits.identity()]

    def contents(self, structure: str) -> Contents:
        """Refuse: the set has no images, only clips."""
        raise UserError(f"{self.name} is a set of clips; systems for video take it, such as video-gan")

    def clips(self, side: int, frames: int, limit: int | None) -> dict[str, list[MovingClip]]:
        """Return the clips of both parts, `limit` of each at most; `frames` counts every frame, also those that a stride leaves out."""
        contents, found = self.digits.contents("image"), {}
        for part, size in SIZES.items():
            pictures = contents.pictures["image", part]
            assert isinstance(pictures, ArrayPictures)
            small = round(side * 7 / 16)
            digits = np.stack(
                [
                    np.asarray(Image.fromarray(d).resize((small, small), Image.Resampling.BICUBIC))
                    for d in pictures.array[:, 0]
                ]
            )
            found[part] = [
                MovingClip(self.name, part, i, digits, side, frames) for i in range(min(size, limit or size))
            ]
        return found

    def close(self) -> None:
        """Do nothing: no file is held open."""
        self.digits.close()


class MovingClip:
    """One clip.

    Args:
        name: Name of the set.
        part: train or test.
        number: Which.
        digits: uint8 [N, S, S], already small.
        side: Side of the square.
        count: Frames.
    """

    def __init__(self, name: str, part: str, number: int, digits: np.ndarray, side: int, count: int) -> None:
        self.name, self.digits, self.side, self.count = f"{name} {part}[{number}]", digits, side, count
        self.seed = [ORDER_SEED, zlib.crc32(f"{name} {part}".encode()), number]

    def probe(self) -> Shape:
        """Return the shape of a frame, which is gray."""
        return self.side, self.side, 1

    def frames(self, form: ImageFormat) -> Iterator[np.ndarray]:
        """Draw it; the form's size is the square's already, its channels repeat the gray."""
        rng = np.random.default_rng(self.seed)
        room, out = self.side - self.digits.shape[1], np.zeros((self.count, self.side, self.side), np.uint8)
        for _ in range(2):
            digit = self.digits[rng.integers(len(self.digits))]
            start, angle = rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi)
            at = start + SPEED * np.arange(self.count)[:, None] * np.array([np.sin(angle), np.cos(angle)])
            corner = np.rint((1 - np.abs(1 - at % 2)) * room).astype(int)
            for frame, (y, x) in zip(out, corner, strict=True):
                seen = frame[y : y + len(digit), x : x + len(digit)]
                np.maximum(seen, digit, out=seen)
        return iter(np.repeat(out[:, None], form.channels, 1))
