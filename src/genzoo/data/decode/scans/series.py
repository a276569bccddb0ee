"""DICOM files into volumes: slices of one series by their places, whatever their files are called; what is missing or doubled is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genzoo.data.decode.scans import dicom
from genzoo.data.decode.scans.dicom import Frame, Header
from genzoo.data.decode.scans.volume import Slice, Volume

if TYPE_CHECKING:
    from genzoo.data.sources.contents import Opens

NEAR = 0.01
"""Millimetres within which two slices are at one place."""
UNEVEN = 0.05
"""Share of a step by which steps may differ."""


@dataclass
class Series(Volume):
    """Slices of one series.

    Args:
        tree: Where the files are.
        parts: By time and slice: the header of the file, and the number of the frame in it.
        sources: By time and slice: the place of the file among the names that were looked at.
    """

    tree: Any = field(default=None, repr=False)
    parts: Sequence[Sequence[tuple[Header, int]]] = ()
    sources: Sequence[Sequence[int]] = ()

    def plane(self, index: int, time: int) -> Slice:
        """Read a slice: its columns are the first axis."""
        header, number = self.parts[time][index]
        with self.tree.open(header.name) as file:
            found = dicom.frame(file, header, number)
        return replace(found, stored=found.stored.swapaxes(0, 1))

    def file_of(self, index: int, time: int) -> str:
        """Name the file, with the number of the frame where it has several."""
        header, number = self.parts[time][index]
        return f"{header.name}[{number}]" if len(header.frames) > 1 else header.name


def volumes(
    tree: Opens, headers: Sequence[tuple[int, Header]], left: list[tuple[str, str]], notes: list[str]
) -> list[Series]:
    """Put the frames of DICOM files together.

    Args:
        tree: Where the files are.
        headers: Each with the place of its file among the names that were looked at.
        left: Is added what is not used: copies, second slices of one place, slices without a rescale where others of the series have one.
        notes: Is added where slices are missing.
    """
    groups: dict[Any, list[tuple[int, Header, int]]] = {}
    seen: dict[str, str] = {}
    stated = {h.series for _, h in headers if h.series and any(f.stated for f in h.frames)}
    for source, header in headers:
        if header.uid and header.uid in seen:
            left.append((header.name, f"the same slice as {seen[header.uid]} (a copy)"))
            continue
        seen[header.uid] = header.name
        if header.series in stated and not all(f.stated for f in header.frames):
            left.append(
                (
                    header.name,
                    "it states no RescaleIntercept, as other slices of its series do: its values are not known",
                )
            )
            continue
        for number, what in enumerate(header.frames):
            way = None if what.orientation is None else tuple(np.round(what.orientation, 3))
            alone = header.name if way is None and not header.series else ""
            key = (
                header.series,
                alone,
                header.shape,
                way,
                header.colour,
                header.inverted,
                what.spacing and tuple(np.round(what.spacing, 4)),
            )
            groups.setdefault(key, []).append((source, header, number))
    found = [_series(tree, group, left, notes) for group in groups.values()]
    count = sum(n > 1 for n in Counter(key[0] for key in groups if key[0]).values())
    if count:
        notes.append(
            f"{count} series {'has' if count == 1 else 'have'} slices of several sizes, spacings or tilts: each is a volume of its own"
        )
    return found


def _series(tree: Opens, group: list[tuple[int, Header, int]], left: list[tuple[str, str]], notes: list[str]) -> Series:
    whats = [h.frames[n] for _, h, n in group]
    places = _places(whats)
    order = sorted(
        range(len(group)),
        key=lambda i: (
            *(places[i : i + 1] if places is not None else ()),
            *whats[i].order,
            group[i][1].name,
            group[i][2],
        ),
    )
    affine, uneven = None, ""
    rows: list[list[int]] = [[i] for i in order]
    if places is not None:
        rows = _stacked(order, places)
        rows = _once(rows, group, places, left)
        at = np.array([places[row[0]] for row in rows])
        affine, uneven = _affine(whats, rows, at, group, notes)
    times = len(rows[0]) if rows else 1
    first = group[rows[0][0]][1]
    rows_count, columns = first.shape
    return Series(
        first.name, (columns, rows_count, len(rows)), affine, times=times, patient=first.patient, modality=first.modality,
        windows=[w for what in whats if (w := what.window)], colour=first.colour, inverted=first.inverted,
        told=Counter({
            "no place": int(places is None and len(group) > 1),
            "no rescale": int(first.modality == "CT" and first.tables is None and not any(w.stated for w in whats)),
            "no spacing": int(affine is not None and any(w.spacing is None for w in whats)),
        }),
        tree=tree, parts=[[group[row[t]][1:] for row in rows] for t in range(times)],
        sources=[[group[row[t]][0] for row in rows] for t in range(times)], uneven=uneven,
    )  # fmt: skip


def _places(whats: Sequence[Frame]) -> np.ndarray | None:
    """Return where slices lie along what they are passed along, in millimetres; None where one does not say."""
    at = [w.position for w in whats if w.position is not None and w.orientation is not None]
    if len(at) < len(whats):
        return None
    way = np.asarray(whats[0].orientation)
    found: np.ndarray = np.asarray(at) @ np.cross(way[:3], way[3:])
    return found


def _stacked(order: Sequence[int], places: np.ndarray) -> list[list[int]]:
    """Join the slices of one place."""
    rows: list[list[int]] = []
    for i in order:
        if rows and abs(places[i] - places[rows[-1][0]]) < NEAR:
            rows[-1].append(i)
        else:
            rows.append([i])
    return rows


def _once(
    rows: list[list[int]], group: Sequence[tuple[int, Header, int]], places: np.ndarray, left: list[tuple[str, str]]
) -> list[list[int]]:
    """Keep one slice of a place, unless every place has as many: these are times."""
    if len({len(row) for row in rows}) == 1:
        return rows
    left += [
        (group[i][1].name, f"a second slice at {places[i]:g} mm of its series, after {group[row[0]][1].name}")
        for row in rows
        for i in row[1:]
    ]
    return [row[:1] for row in rows]


def _affine(
    whats: Sequence[Frame],
    rows: list[list[int]],
    at: np.ndarray,
    group: Sequence[tuple[int, Header, int]],
    notes: list[str],
) -> tuple[np.ndarray, str]:
    """Return the matrix to millimetres, and why the steps are uneven; say where slices are missing."""
    first, last = whats[rows[0][0]], whats[rows[-1][0]]
    way = np.asarray(first.orientation)
    down, across = first.spacing or (1.0, 1.0)
    affine, uneven = np.eye(4), ""
    affine[:3, 0], affine[:3, 1], affine[:3, 3] = way[:3] * across, way[3:] * down, first.position
    affine[:3, 2] = np.cross(way[:3], way[3:])
    if len(rows) > 1:
        steps = np.diff(at)
        step = float(np.median(steps))
        affine[:3, 2] = (np.asarray(last.position) - np.asarray(first.position)) / (len(rows) - 1)
        gaps = [int(i) for i in np.flatnonzero(steps > 1.5 * step)]
        names = [group[row[0]][1].name for row in rows]
        for i in gaps[:3]:
            missing = max(1, round(float(steps[i]) / step) - 1)
            are = "slices are" if missing > 1 else "slice is"
            between = f"{at[i]:g} and {at[i + 1]:g} mm ({names[i]} and {names[i + 1]})"
            notes.append(f"{missing} {are} missing between {between}, where steps are {step:g} mm")
        if gaps:
            uneven = f"slices are missing, as between {at[gaps[0]]:g} and {at[gaps[0] + 1]:g} mm: its own slices are read without plane="
        elif np.abs(steps - step).max() > UNEVEN * step:
            uneven = (
                f"its slices are {steps.min():g} to {steps.max():g} mm apart: its own slices are read without plane="
            )
    return affine, uneven


def header_of(tree: Opens, name: str) -> Header:
    """Read the header of one file.

    Raises:
        Rejected: See `dicom.read`.
    """
    with tree.open(name) as file:
        return dicom.read(file, name)
