"""What every scan is read as: a volume of cells with its place in the patient, of which a thread holds one slice."""

from __future__ import annotations

import io
import math
import shutil
import sys
import tempfile
import threading
import zlib
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from genzoo.core.files import cache_folder
from genzoo.data.decode import ranges
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.ranges import Ends
from genzoo.data.decode.scans.planes import View, view

MOST_STRETCH = 64
"""How many times longer than wide a pixel may be."""
MOST_CELLS = 2**33
"""Cells of a volume; more are refused before memory is taken."""


@dataclass(frozen=True)
class Slice:
    """The values of one slice.

    Args:
        stored: Numbers as they are stored, [first axis, second axis]; or colours uint8 or uint16 [.., .., 3].
        slope: Physical value of one step.
        intercept: Physical value of a stored 0.
        inverted: The least value is shown white (DICOM's MONOCHROME1); the values are as they are.
    """

    stored: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False

    @property
    def values(self) -> np.ndarray:
        """Physical values (of CT Hounsfield units), float32; colours as they are."""
        if self.stored.ndim > 2 or (self.stored.dtype == np.float32 and self.slope == 1 and not self.intercept):
            return self.stored
        wide: np.ndarray = self.stored.astype(np.float64) * self.slope + self.intercept
        return wide.astype(np.float32)

    def laid(self, view: View) -> Slice:
        """Return it as it is looked at: rows and columns."""
        return replace(self, stored=view.lay(self.stored))

    def shares(self, ends: Ends, top: int | None = None, *, out: np.ndarray | None = None) -> np.ndarray:
        """Bring the values between two to 0 (black) to 1 (white), float32; with `top` to whole numbers up to it, uint8 or uint16.

        Integers of up to 16 bits are exact in 32-bit floats, and are brought there in one step, without `top` into `out` where it is given.
        """
        if self.stored.dtype.itemsize > 2 or self.stored.dtype.kind not in "ui":
            shares = ranges.shares(self.values, ends)
            shares = 1 - shares if self.inverted else shares
            return shares if top is None else rounded(shares, top)
        scale, shift = self.slope / (ends[1] - ends[0]), (self.intercept - ends[0]) / (ends[1] - ends[0])
        scale, shift = (-scale, 1 - shift) if self.inverted else (scale, shift)
        if top is not None:
            return _levels(self.stored, scale * top, shift * top, top)
        found: np.ndarray = np.multiply(self.stored, np.float32(scale), out=out, dtype=np.float32)
        found += np.float32(shift)
        np.clip(found, 0, 1, out=found)
        return found


def _levels(stored: np.ndarray, scale: float, shift: float, top: int) -> np.ndarray:
    """Bring whole numbers of up to 16 bits to levels from 0 to `top`; halves go up.

    A strip at a time, which stays in the processor's cache; and where a step is less than a level, they are cut off before they become floats:
    together that takes two thirds of the time.
    """
    shift, span = shift + 0.5, np.iinfo(stored.dtype)
    low, high = span.min, span.max
    whole = 0 < abs(scale) < 0.95
    if whole:
        ends = sorted((-shift / scale, (top + 0.98 - shift) / scale))
        low, high = max(math.ceil(ends[0]), low), min(math.floor(ends[1]), high)
        whole = low <= high
    found = np.empty(stored.shape, np.uint8 if top < 256 else np.uint16)
    # Of numbers without a type NumPy makes a minimum and a maximum, at a fifth of the speed.
    limits = np.array([low, high] if whole else 0, stored.dtype)
    rows = min(_STRIP, len(stored))
    kept, floats = np.empty((rows, *stored.shape[1:]), stored.dtype), np.empty((rows, *stored.shape[1:]), np.float32)
    for row in range(0, len(stored), _STRIP):
        strip = stored[row : row + _STRIP]
        cut, values = kept[: len(strip)], floats[: len(strip)]
        if whole:
            strip = np.clip(strip, *limits, out=cut)
        np.multiply(strip, np.float32(scale), out=values)
        values += np.float32(shift)
        if not whole:
            np.clip(values, 0, top + 0.25, out=values)
        found[row : row + _STRIP] = values
    return found


_STRIP = 64
"""Rows."""


def rounded(shares: np.ndarray, top: int) -> np.ndarray:
    """Bring shares from 0 to 1 to whole numbers up to `top`, uint8 or uint16."""
    spread: np.ndarray = np.rint(shares * np.float64(top)).astype(np.uint8 if top < 256 else np.uint16)
    return spread


class Opened(NamedTuple):
    """What is open of a volume.

    Args:
        values: Gives parts of its values.
        file: Where they are read from.
    """

    values: Any
    file: BinaryIO


class Shelf:
    """Keeps open what was read last: a set has thousands of volumes, and neither disk nor system has room for all of them open at once.

    Args:
        most: Volumes that stay open; those in use do in any case.
    """

    def __init__(self, most: int) -> None:
        self.most, self._guard = most, threading.Lock()
        self._open: OrderedDict[int, tuple[Any, Opened]] = OrderedDict()
        self._used, self._making = Counter[int](), dict[int, threading.Lock]()
        self._failed: dict[int, tuple[Any, Rejected]] = {}

    @contextmanager
    def taken(self, volume: Any, make: Callable[[], Opened]) -> Iterator[Opened]:
        """Lend what is open of a volume, opened by `make` where it is not; two threads open it once, and what cannot be opened is tried once.

        Raises:
            Rejected: `make` did: of a damaged volume all slices would be asked for, and each would unpack it again.
        """
        key = id(volume)
        with self._guard:
            self._used[key] += 1
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                if key in self._failed:
                    raise Rejected(str(self._failed[key][1]))
                if key not in self._open:
                    try:
                        made = make()
                    except Rejected as reason:
                        self._failed[key] = volume, reason
                        raise
                    with self._guard:
                        self._open[key] = volume, made
            yield self._open[key][1]
        finally:
            with self._guard:
                self._used[key] -= 1
                if key in self._open:
                    self._open.move_to_end(key)
                self._drop(self.most)

    def _drop(self, most: int) -> None:
        for key in [k for k in self._open if not self._used[k]][: max(0, len(self._open) - most)]:
            self._open.pop(key)[1].file.close()
            self._used.pop(key, None)
            self._making.pop(key, None)

    def clear(self) -> None:
        """Close what nobody uses, and forget what could not be opened."""
        with self._guard:
            self._drop(0)
            self._failed.clear()


SHELF = Shelf(4)


def scratch(size: int) -> BinaryIO:
    """Open an unnamed file in the cache.

    Raises:
        Rejected: There is no room for `size` bytes.
    """
    folder = cache_folder("data", quiet=True)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise Rejected(
            f"unpacked it needs {size / 1e9:.1f} GB on the disk of the cache, and {free / 1e9:.1f} GB are free"
        )
    return tempfile.TemporaryFile(dir=folder)


def unpacked(packed: io.BufferedIOBase, need: int) -> BinaryIO:
    """Unpack what is read through `gzip` or `bz2` to an unnamed file, as many bytes as are needed, a piece at a time.

    Raises:
        Rejected: It is damaged, ends early, or there is no room for it.
    """
    out = scratch(need)
    try:
        while (there := out.tell()) < need:
            try:
                block = packed.read(min(2**20, need - there))
            except EOFError:
                block = b""
            except (OSError, zlib.error):
                raise Rejected("damaged: it cannot be unpacked") from None
            if not block:
                raise Rejected(f"truncated: unpacked {there:,} of {need:,} bytes are there")
            out.write(block)
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return out


@dataclass
class Volume(ABC):
    """A volume of cells [I, J, K], at one or several times.

    Args:
        name: What reports call it: the name of its file, or of the first file of its series.
        shape: Cells along each axis.
        affine: From cells to millimetres in LPS, [4, 4]; None where the file says nothing of it.
        times: How many volumes there are of it.
        patient: Whose it is: equal for all scans of one patient.
        modality: CT, MR ... where the file says it.
        windows: Values that are black and white as the file states, of each slice that states any.
        colour: It has three channels.
        told: What is to be said of it, see `genzoo.data.sources.scans.TOLD`.
        inverted: The least value is shown white (DICOM's MONOCHROME1).
        uneven: Why it cannot be cut another way than the file's own; empty where it can.
    """

    name: str
    shape: tuple[int, int, int]
    affine: np.ndarray | None
    times: int = 1
    patient: str = ""
    modality: str = ""
    windows: list[Ends] = field(default_factory=list)
    colour: bool = False
    told: Counter[str] = field(default_factory=Counter)
    inverted: bool = False
    uneven: str = ""

    @abstractmethod
    def plane(self, index: int, time: int) -> Slice:
        """Read the slice of a number along the last axis, [I, J]. Threads call it at once.

        Raises:
            Rejected: It cannot be read.
        """

    def file_of(self, index: int, time: int) -> str:
        """Name what a slice along the last axis is for reports: its file, with its number where the file has several."""
        place = f"{time},{index}" if self.times > 1 else str(index)
        return f"{self.name}[{place}]"

    def across(self, axis: int, index: int, time: int) -> Slice:
        """Read a slice along any axis; along another than the last, the volume is first written to a file, slice by slice.

        Raises:
            Rejected: It cannot be read.
        """
        if axis == 2:
            return self.plane(index, time)
        with SHELF.taken(self, self._spooled) as spool:
            cells = spool.values[time, :, index] if axis == 0 else spool.values[time, :, :, index]
            return Slice(np.array(cells.T), inverted=self.inverted)

    def _spooled(self) -> Opened:
        """Write all slices into an unnamed file: float32 [time, K, I, J]."""
        if self.colour:
            raise Rejected("slices in colour are taken as they are; plane= is for gray volumes")
        i, j, k = self.shape
        file = scratch(4 * i * j * k * self.times)
        for time in range(self.times):
            for index in range(k):
                file.write(np.ascontiguousarray(self.plane(index, time).values, np.float32).data)
        file.flush()
        return Opened(np.memmap(file, np.float32, "r", shape=(self.times, k, i, j)), file)


@dataclass(frozen=True)
class Cut:
    """One slice of a volume as a picture.

    Args:
        volume: The volume.
        view: How it is cut and laid.
        index: Number of the slice in the view's order.
        time: Which of the volume's times.
        source: Place of the file that it comes from among the names that were looked at; of a series that is cut anew the first.
    """

    volume: Volume
    view: View
    index: int
    time: int
    source: int

    @property
    def cell(self) -> int:
        """Where it is along the view's axis."""
        return self.view.cell(self.index, self.volume.shape[self.view.axis])

    @property
    def name(self) -> str:
        """What reports call it."""
        if self.view.axis == 2:
            return self.volume.file_of(self.cell, self.time)
        place = f"{self.view.plane} {self.index}" + (f" at {self.time}" if self.volume.times > 1 else "")
        return f"{self.volume.name}[{place}]"

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns as they are stored."""
        sides = [n for axis, n in enumerate(self.volume.shape) if axis != self.view.axis]
        return (sides[1], sides[0]) if self.view.turned else (sides[0], sides[1])

    @property
    def square(self) -> tuple[int, int]:
        """Rows and columns once pixels are square: the finer spacing counts."""
        (rows, columns), (down, across) = self.size, self.view.spacing
        if abs(down / across - 1) < 0.005:
            return rows, columns
        fine = min(down, across)
        return max(1, round(rows * down / fine)), max(1, round(columns * across / fine))

    def read(self) -> Slice:
        """Read it, laid as it is looked at: rows and columns.

        Raises:
            Rejected: It cannot be read.
        """
        return self.volume.across(self.view.axis, self.cell, self.time).laid(self.view)


def cuts(
    volume: Volume,
    source: int,
    plane: str | None,
    wanted: tuple[float, float] | None = None,
    *,
    time: int | None = None,
) -> list[Cut]:
    """Cut a volume into slices.

    Args:
        volume: The volume.
        source: See `Cut`.
        plane: axial, coronal, sagittal, or None for the file's own slices.
        wanted: The first and the last slice by number, or shares of the volume where both are at most 1; all when not given.
        time: One of the volume's times; all when not given.

    Raises:
        Rejected: The plane has no name, for the file does not say how the patient lies; or the volume cannot be cut that way.
    """
    if volume.affine is None and plane is not None:
        raise Rejected(
            f"it does not say how the patient lies, so that plane={plane} is not known; without plane= its own slices are read"
        )
    laid = view(volume.affine, plane)
    thick, thin = max(laid.spacing), min(laid.spacing)
    if not thick <= MOST_STRETCH * thin:
        raise Rejected(f"damaged: its header says that pixels are {laid.spacing[0]:g} by {laid.spacing[1]:g} mm")
    if laid.axis != 2 and volume.uneven:
        raise Rejected(volume.uneven)
    count = volume.shape[laid.axis]
    first, last = chosen(count, wanted)
    times = range(volume.times) if time is None else (time,)
    return [Cut(volume, laid, i, t, source) for t in times for i in range(first, last + 1)]


def chosen(count: int, wanted: tuple[float, float] | None) -> tuple[int, int]:
    """Return the first and the last of `count` slices that are wanted; none are where the last is smaller.

    >>> chosen(100, (0.25, 0.75)), chosen(100, (20, 500)), chosen(100, None)
    ((25, 74), (20, 99), (0, 99))
    """
    if wanted is None:
        return 0, count - 1
    low, high = wanted
    if high <= 1 and low <= 1:
        return round(low * (count - 1)), round(high * (count - 1))
    return max(0, round(low)), min(count - 1, round(high))


def library(name: str) -> Any:
    """Import a library of the extra.

    Raises:
        Rejected: It is not installed.
    """
    import importlib

    from genzoo.data.decode.scans import EXTRA

    if (found := _IMPORTED.get(name)) is not None and sys.modules.get(name) is found:  # asked for several times a file
        return found
    try:
        found = _IMPORTED[name] = importlib.import_module(name)
    except ImportError:
        raise Rejected(EXTRA) from None
    return found


_IMPORTED: dict[str, Any] = {}
