"""NRRD in one file (.nrrd), raw or packed by gzip or bzip2, through `pynrrd`: three axes, one more of times or of colours.

`space` and `space directions` say how the patient lies; an axis without a direction (none) is that of times, or of three colours.
"""

from __future__ import annotations

import bz2
import gzip
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.decode.scans.nifti import whose
from genzoo.data.decode.scans.volume import MOST_CELLS, SHELF, Opened, Slice, Volume, library, unpacked

if TYPE_CHECKING:
    from genzoo.data.sources.contents import Opens

_WAYS = {
    "left": (0, 1),
    "right": (0, -1),
    "posterior": (1, 1),
    "anterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
_SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
_HEAD = 2**20
"""Bytes that a header has at most."""
_LEAST = {"gzip": 1040, "gz": 1040, "bzip2": 2_000_000, "bz2": 2_000_000}
"""By encoding: how many times fewer bytes equal values become at most (measured: 1,032 and 1,386,000 times)."""


@dataclass
class Nrrd(Volume):
    """An NRRD file; the values are read from the file as they are wanted.

    Args:
        tree: Where the file is.
        header: Its header, as the library reads it.
        order: The axes of the file as [times or colours, I, J, K]; -1 for one that is not there.
        kind: The type of its values.
    """

    tree: Any = field(default=None, repr=False)
    header: Any = field(default=None, repr=False)
    order: tuple[int, ...] = ()
    kind: Any = None

    def plane(self, index: int, time: int) -> Slice:
        """Read a slice along the third axis of space."""
        return self.across(2, index, time)

    def across(self, axis: int, index: int, time: int) -> Slice:
        """Read a slice along any axis, straight from the file."""
        where: list[Any] = [slice(None)] * 3
        where[axis] = index
        with SHELF.taken(self, self._opened) as opened:
            values = np.array(opened.values[(slice(None) if self.colour else time, *where)])
        return Slice(np.moveaxis(values, 0, -1) if self.colour else values.astype(np.float32))

    def _opened(self) -> Opened:
        sizes = [int(n) for n in self.header["sizes"]]
        file = self.tree.open(self.name)
        try:
            _lines(file)
            stored, file = _values(file, self.header, self.kind, int(np.prod(sizes, dtype=object)))
        except BaseException:
            file.close()
            raise
        array = stored.reshape(sizes[::-1]).transpose()  # the first axis is the fastest
        array = array.reshape(*sizes, *([1] * (3 - len(sizes))))
        lead = self.order[0] >= 0
        array = array.transpose(self.order if lead else self.order[1:])
        return Opened(array if lead else array[None], file)


def read(tree: Opens, name: str) -> Nrrd:
    """Read the header of an NRRD file.

    Raises:
        Rejected: It is damaged, or of a kind that is not read.
    """
    nrrd = library("nrrd")
    with tree.open(name) as file:
        lines = _lines(file)
        try:
            header = nrrd.read_header(lines)
            dtype = np.dtype(nrrd.reader._determine_datatype(header))
            sizes = [int(n) for n in header["sizes"]]
        except Exception as error:  # the library's parser throws whatever it meets in a damaged header
            raise Rejected(in_words(error)) from None
        if "data file" in header or "datafile" in header:
            raise Rejected("an NRRD header whose values stand in another file: save both as one .nrrd")
        directions = header.get("space directions")
        rows = [None] * len(sizes) if directions is None else [_direction(d) for d in directions]
        found = _of_header(header, dtype, sizes, rows, name)
        found.tree = tree
        size, cells = file.seek(0, 2), int(np.prod(sizes, dtype=object))
        need, encoding = cells * dtype.itemsize, str(header.get("encoding", "")).lower()
        if encoding == "raw" and size < need:
            raise Rejected(f"truncated: {size:,} bytes are there, where its header says {need:,} bytes of values")
        if size * _LEAST.get(encoding, 1) < need:
            raise Rejected("truncated, or its header is damaged")
    return found


def _of_header(header: Any, dtype: np.dtype, sizes: list[int], rows: list[Any], name: str) -> Nrrd:
    kinds = header.get("kinds") or ["domain"] * len(sizes)
    if not len(sizes) == len(rows) == len(kinds):
        raise Rejected(
            f"damaged: its header has {len(sizes)} sizes, {len(rows)} space directions and {len(kinds)} kinds of axes"
        )
    space = [i for i, d in enumerate(rows) if d is not None]
    if not space:
        space = [i for i, kind in enumerate(kinds) if kind in ("domain", "space", "???")]
    other = [i for i in range(len(sizes)) if i not in space]
    if len(space) == 2 and not other:
        sizes, rows, space = [*sizes, 1], [*rows, None], [0, 1, 2]
    said = "x".join(map(str, sizes))
    if len(space) != 3 or len(other) > 1 or min(sizes) < 1 or dtype.kind not in "uif":
        raise Rejected(
            f"{said} values of type {dtype.name} with {len(space)} axes in space; three are, and one more of times or colours"
        )
    if int(np.prod(sizes, dtype=object)) > MOST_CELLS:
        raise Rejected(f"its header says {said} values: too many, or damaged")
    words = str(kinds[other[0]]).lower() if other else ""
    colour = (
        bool(other) and sizes[other[0]] == 3 and dtype == np.uint8 and ("color" in words or words in ("vector", "list"))
    )
    lead = other[0] if other else -1
    found = Nrrd(
        name, (sizes[space[0]], sizes[space[1]], sizes[space[2]]), _affine(header, [rows[i] for i in space]),
        times=1 if colour or not other else sizes[lead], patient=f"file {whose(name)}", colour=colour,
        header=header, order=(lead, *space), kind=dtype,
    )  # fmt: skip
    found.told["no matrix"] += found.affine is None
    return found


def _direction(row: Any) -> np.ndarray | None:
    """Return the way that an axis goes in space; None for one that has no place there."""
    found = np.full(1, np.nan) if row is None else np.asarray(row, float)
    return found if np.isfinite(found).all() else None


def _lines(file: BinaryIO) -> list[bytes]:
    """Read the header, and leave the file where its values begin."""
    lines: list[bytes] = []
    while line := file.readline(_HEAD):
        if not line.strip():
            return lines
        lines.append(line.rstrip(b"\r\n"))
        if file.tell() > _HEAD:
            break
    if any(re.match(rb"(?i)data ?file:", line) for line in lines):
        return lines
    raise Rejected("truncated: its header does not end")


def _values(file: BinaryIO, header: Any, dtype: np.dtype, cells: int) -> tuple[np.ndarray, BinaryIO]:
    """Map the values, unpacked to a file first where they are packed; return them with the file that they are in."""
    encoding, skip = (
        str(header.get("encoding", "")).lower(),
        int(header.get("byte skip", header.get("byteskip", 0)) or 0),
    )
    for _ in range(int(header.get("line skip", header.get("lineskip", 0)) or 0)):
        file.readline()
    if skip < -1:
        raise Rejected(f"damaged: byte skip is {skip}")
    need, start = cells * dtype.itemsize, file.tell()
    if encoding in ("gzip", "gz", "bzip2", "bz2"):
        with file, gzip.GzipFile(fileobj=file) if encoding[0] == "g" else bz2.BZ2File(file) as plain:
            file = unpacked(plain, need + max(skip, 0))
        start = 0
    elif encoding != "raw":
        raise Rejected(f"values written as {encoding or 'nothing known'}, which are not read: save it raw or by gzip")
    size = file.seek(0, 2) - start
    if size - max(skip, 0) < need:
        raise Rejected(f"truncated: {max(size - max(skip, 0), 0):,} of {need:,} bytes of values are there")
    start += size - need if skip == -1 else skip
    try:
        return np.memmap(file, dtype, "r", start, (cells,)), file
    except (AttributeError, OSError, ValueError):  # in memory: a member of an archive
        file.seek(start)
        return np.frombuffer(file.read(need), dtype), file


def _affine(header: Any, rows: list[Any]) -> np.ndarray | None:
    """Return the matrix to LPS; None where the header does not say how the patient lies."""
    space = str(header.get("space", "")).lower().removesuffix("-time")
    ways = [_WAYS.get(word) for word in _SHORT.get(space, space).split("-")]
    origin = np.asarray(header.get("space origin", np.zeros(3)), float)
    if len(ways) != 3 or None in ways or any(r is None or len(r) != 3 for r in rows):
        return None
    if origin.shape != (3,) or not np.isfinite(origin).all():
        return None
    turn = np.zeros((3, 3))
    for i, (axis, sign) in enumerate(w for w in ways if w):
        turn[axis, i] = sign
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.stack(rows, 1)
    affine[:3, 3] = turn @ origin
    return affine if abs(np.linalg.det(affine[:3, :3])) > 1e-9 else None
