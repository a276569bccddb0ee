"""Scans among the files of a command, as volumes; and every slice of a volume changed, on disk and not in memory.

A slice goes to the networks as the data that they were trained on: cut along the plane of the training, with square pixels, its values in the
window that is black and white to them. What comes back is in the units of the file, cut off at the ends of that window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data.decode import images as decode
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.scans import format_of, may_be, series
from genzoo.data.decode.scans.dicom import Header
from genzoo.data.decode.scans.readers import READERS
from genzoo.data.decode.scans.volume import Cut, Volume, cuts, scratch
from genzoo.data.kinds import get
from genzoo.data.sources.scans import noticed

Change = Callable[[np.ndarray], np.ndarray]
"""From values [H, W, 1], float32 in the units of the file, to values of the same shape."""


class Here:
    """Files by the names that they have below where they were looked for.

    Args:
        files: Each with its path below that place.
    """

    def __init__(self, files: Sequence[tuple[Path, Path]]) -> None:
        self.paths = {name.as_posix(): file for file, name in files}

    def open(self, name: str) -> BinaryIO:
        """Open one.

        Raises:
            Rejected: It cannot be read.
        """
        try:
            return open(self.paths[name], "rb")
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class Scan:
    """One volume among the files of a command.

    Args:
        format: dicom, nifti or nrrd.
        volume: What it holds.
        files: The names of its files; of a series of DICOM several.
        headers: Of each DICOM file what its header says.
    """

    format: str
    volume: Volume
    files: tuple[str, ...]
    headers: tuple[Header, ...] = ()


def separated(files: Sequence[tuple[Path, Path]]) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """Divide files into scans and others."""
    endings = get("image").endings
    scans: list[tuple[Path, Path]] = []
    others: list[tuple[Path, Path]] = []
    for file, name in files:
        there = False
        if may_be(name.as_posix(), endings):
            with suppress(OSError), open(file, "rb") as opened:  # why, is said when it is read
                there = bool(format_of(opened, name.name))
        (scans if there else others).append((file, name))
    return scans, others


def studies(files: Sequence[tuple[Path, Path]], say: Callable[[str], None]) -> tuple[Here, list[Scan]]:
    """Read the headers of scans, and join DICOM files to volumes; what cannot be used is said.

    Args:
        files: Scans, each with its path below where it was looked for.
        say: Is told what is left out, and notes.
    """
    here = Here(files)
    headers: list[tuple[int, Header]] = []
    found: list[Scan] = []
    left: list[tuple[str, str]] = []
    notes: list[str] = []
    names = list(here.paths)
    with decode.quiet_decoding():
        for i, name in enumerate(names):
            try:
                with here.open(name) as opened:
                    form = format_of(opened, name)
                told = READERS[form](here, name)
                if isinstance(told, Header):
                    headers.append((i, told))
                else:
                    found.append(Scan(form, told, (name,)))
            except Rejected as reason:
                left.append((name, str(reason)))
        joined = series.volumes(here, headers, left, notes)
    for one in joined:
        own = {h.name: h for row in one.parts for h, _ in row}
        found.append(Scan("dicom", one, tuple(own), tuple(own.values())))
    for name, why in left:
        say(f"left out: '{name}': {why}")
    for note in [*notes, *noticed([scan.volume for scan in found])]:
        say(note)
    return here, found


def changed(
    scan: Scan, change: Change, window: tuple[float, float], plane: str | None, advance: Callable[[int], None]
) -> np.ndarray:
    """Change every slice of a volume: float32 [times, K, I, J] in a file, values as the scan states them.

    Args:
        scan: The volume.
        change: What is done.
        window: Values that are black and white to the networks.
        plane: The plane that they were trained on; None for the slices that the file has.
        advance: Called after every slice.

    Raises:
        UserError: A slice cannot be read, is in colour, or the volume cannot be cut along that plane.
    """
    volume = scan.volume
    i, j, k = volume.shape
    try:
        if volume.colour:
            raise Rejected("it is in colour, and its values have no unit")
        size = 4 * i * j * k * volume.times
        with scratch(size) as file:  # what is mapped stays until the array goes
            file.truncate(size)
            result = np.memmap(file, np.float32, "r+", shape=(volume.times, k, i, j))
        for cut in cuts(volume, 0, plane if volume.affine is not None else None):
            cells = cut.view.unlay(_one(cut, change, window))
            if cut.view.axis == 2:
                result[cut.time, cut.cell] = cells
            elif cut.view.axis == 0:
                result[cut.time, :, cut.cell] = cells.T
            else:
                result[cut.time, :, :, cut.cell] = cells.T
            advance(1)
    except Rejected as reason:
        raise UserError(f"'{scan.files[0]}' cannot be changed: {reason}") from None
    return result


def _one(cut: Cut, change: Change, window: tuple[float, float]) -> np.ndarray:
    """Change one slice; MONOCHROME1 is seen turned round, as in training."""
    found = cut.read()
    values = found.values
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, window[0]).astype(np.float32)
    values = window[0] + window[1] - values if found.inverted else values
    values = values.clip(*window)
    (rows, columns), (tall, wide) = cut.size, cut.square
    seen = values if (rows, columns) == (tall, wide) else resized(values, tall, wide)
    made = change(np.ascontiguousarray(seen, np.float32)[..., None])
    if made.shape != (tall, wide, 1):
        shape = "x".join(map(str, made.shape))
        raise UserError(f"the run gives {shape} of a slice of {tall}x{wide}: scans need one gray value for each")
    made = brought_back(values, seen, made[..., 0]).clip(*window)
    return (window[0] + window[1] - made if found.inverted else made).astype(np.float32)


def brought_back(values: np.ndarray, seen: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Bring what became of a slice at another size back to its own: of what is resampled only the difference is, so that nothing else is blurred.

    Args:
        values: The slice [H, W].
        seen: The same as it was given to the networks [h, w].
        made: What they made of it [h, w].
    """
    return made if values.shape == seen.shape else values + resized(made - seen, *values.shape)


def resized(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Bring a slice to another size, bicubic and without aliases."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Steps:
    """How values are kept in whole numbers.

    Args:
        slope: Value of one step.
        intercept: Value of a stored 0.
        dtype: Type of the stored numbers.
    """

    slope: float
    intercept: float
    dtype: Any

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Round values to whole steps; what returns is at most half a step off."""
        span = np.iinfo(self.dtype)
        found: np.ndarray = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        return found.clip(span.min, span.max).astype(self.dtype)


def steps(window: tuple[float, float], slope: float, intercept: float, low: int, high: int, dtype: Any) -> Steps:
    """Choose how values within a window are kept: as the file keeps them where that reaches, else in 65,534 steps of 16 bits.

    Args:
        window: The least and the largest value.
        slope: Value of one step of the file.
        intercept: Value of its stored 0.
        low: The least number that it has room for.
        high: The largest.
        dtype: Type of its numbers.
    """
    ends = sorted((w - intercept) / slope for w in window) if slope else [np.inf, np.inf]
    fine = abs(slope) <= (window[1] - window[0]) / 200
    if slope and fine and ends[0] >= low - 0.5 and ends[1] <= high + 0.5:
        return Steps(slope, intercept, np.dtype(dtype))
    # Sixteen digits are what DICOM has room for.
    slope = float(f"{(window[1] - window[0]) / 65534:.10g}")
    return Steps(slope, float(f"{window[0]:.10g}"), np.dtype(np.uint16))
