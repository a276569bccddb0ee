"""What a source offers before anything is decoded: pictures by field and split, labels, captions, and what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol

import numpy as np

from genzoo.data.decode import images as decode
from genzoo.data.decode import ranges, stills
from genzoo.data.decode.forms import Header, ImageFormat, Rejected, Shape
from genzoo.data.short import in_pool


class Pictures(Protocol):
    """A sequence of images that can be asked for their shape and decoded."""

    @property
    def names(self) -> Sequence[str]:
        """A name for every image."""

    def probe(self, pool: Executor) -> list[Shape | Rejected]:
        """Read the shape of every image, from headers alone."""

    def block(self, indices: Sequence[int], form: ImageFormat, pool: Executor) -> Iterable[np.ndarray | Rejected]:
        """Decode some of them to uint8 [C, H, W]."""

    def kinds(self) -> set[str]:
        """Name the types of number that the images are stored as (see `genzoo.data.decode.ranges`); known after `probe`."""

    def extents(self, kind: str, pool: Executor) -> Iterator[ranges.Ends]:
        """Yield the least and the largest value of each image that is stored as `kind`, one after the other."""


_FEW = 8
"""Images whose values are looked at together."""


class Opens(Protocol):
    """Something with named files."""

    def open(self, name: str) -> BinaryIO:
        """Open one."""


class FilePictures:
    """Image files of a folder or archive.

    Args:
        tree: Where they are.
        names: Their names in it.
        half: left or right: of two pictures side by side in each file, this one.
    """

    def __init__(self, tree: Opens, names: Sequence[str], half: str = "") -> None:
        self.tree, self.names, self.half = tree, names, half
        self.headers: dict[str, Header] = {}
        """Of those that were probed and are usable."""
        self.holes: dict[str, int] = {}
        """Of those that were decoded, the ones with pixels that were no finite number and were filled, and how many."""

    def probe(self, pool: Executor) -> list[Shape | Rejected]:
        """Read every header."""
        return list(in_pool(pool, self._probe, self.names))

    def _probe(self, name: str) -> Shape | Rejected:
        try:
            with self.tree.open(name) as file:
                found = stills.look(file, name)
        except Rejected as reason:
            return reason
        self.headers[name] = found
        height, width, channels = found.shape
        return height, width // 2 if self.half else width, channels

    def kinds(self) -> set[str]:
        """Name the types of number that the headers tell."""
        return {h.kind for h in self.headers.values()}

    def extents(self, kind: str, pool: Executor) -> Iterator[ranges.Ends]:
        """Decode a few at a time, as many as are asked for."""

        def one(name: str) -> ranges.Ends | None:
            try:
                with self.tree.open(name) as file:
                    return stills.extent(file, self.half)
            except Rejected:  # the reason is found again where it is decoded for good
                return None

        names = [n for n in self.names if n in self.headers and self.headers[n].kind == kind]
        for start in range(0, len(names), _FEW):
            yield from (e for e in pool.map(one, names[start : start + _FEW]) if e is not None)

    def block(self, indices: Sequence[int], form: ImageFormat, pool: Executor) -> list[np.ndarray | Rejected]:
        """Decode in threads: the decoder works outside Python's lock."""
        return list(in_pool(pool, lambda i: self.picture(i, form), indices))

    def picture(self, i: int, form: ImageFormat) -> np.ndarray | Rejected:
        """Decode one."""
        holes: list[int] = []
        try:
            with self.tree.open(self.names[i]) as file:
                found = stills.pixels(file, form, self.half, holes)
        except Rejected as reason:
            return reason
        if holes:
            self.holes[self.names[i]] = sum(holes)
        return found


class ArrayPictures:
    """Images that are already an array, [N, C, H, W] of any type of numbers.

    Args:
        array: The images.
        title: What names are made of: "images.npy" gives "images.npy[7]".
    """

    def __init__(self, array: np.ndarray, title: str) -> None:
        assert array.ndim == 4
        self.array, self.title = array, title
        self.holes: dict[str, int] = {}
        """See `FilePictures`."""

    @property
    def names(self) -> Sequence[str]:
        """A name for every image."""
        return [f"{self.title}[{i}]" for i in range(len(self.array))]

    def probe(self, pool: Executor) -> list[Shape | Rejected]:
        """Return one shape for all images, which an array has."""
        _, c, h, w = self.array.shape
        return [(h, w, 1 if c < 3 else 3)] * len(self.array)

    def kinds(self) -> set[str]:
        """Name the one type that all images are stored as."""
        return {ranges.kind_of(self.array.dtype)}

    def extents(self, kind: str, pool: Executor) -> Iterator[ranges.Ends]:
        """Yield the least and the largest value of one image after the other."""
        return ranges.Values(self.array).extents(kind, pool)

    def block(self, indices: Sequence[int], form: ImageFormat, pool: Executor) -> list[np.ndarray | Rejected]:
        """Copy, or bring to the form in threads."""
        if (self.array.dtype, form.ends, form.bits, form.window) == (
            np.dtype(np.uint8),
            (("uint8", ranges.BITS_8),),
            8,
            None,
        ):
            chosen = self.array[np.asarray(indices)]
            if form.kind == "colours" and chosen.shape[1:] == (form.channels, form.height, form.width):
                return list(chosen)

        def one(i: int) -> np.ndarray | Rejected:
            holes: list[int] = []
            try:
                found = decode.array_to_form(self.array[i], form, holes)
            except Rejected as reason:
                return reason
            if holes:
                self.holes[f"{self.title}[{i}]"] = sum(holes)
            return found

        return list(pool.map(one, indices))


@dataclass
class Contents:
    """All that a source has.

    Args:
        pictures: By field ("image", "a", "b", "instance") and split ("train", "test", or "" where there is one part).
        labels: Class of every image by split, where there are classes.
        captions: Text of every image by split, where there are texts; several captions of one image stand on lines of their own.
        class_names: Names of the classes.
        left: Names of what was refused so far, with reasons.
        notes: What was chosen.
        paired: True where the i-th of "a" belongs to the i-th of "b".
    """

    pictures: dict[tuple[str, str], Pictures]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    captions: dict[str, list[str]] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paired: bool = False

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Fields that have a common length."""
        fields = tuple(dict.fromkeys(f for f, _ in self.pictures))
        return [fields] if self.paired else [(f,) for f in fields]

    def splits(self, name: str) -> list[str]:
        """Name the splits of a field, training first."""
        return sorted((s for f, s in self.pictures if f == name), key=("train", "test", "").index)


class Source(Protocol):
    """Something that `data=` names."""

    name: str

    def identity(self) -> list[object]:
        """Return something cheap to compute that changes when the content does."""

    def contents(self, structure: str) -> Contents:
        """Look at it. `structure` is image, captioned, paired or unpaired.

        Raises:
            UserError: It has not that structure; the message says how to lay it out.
        """

    def close(self) -> None:
        """Release what `contents` holds."""
