"""Whole scans into the cache: every volume is one cube of grey values, uint8 [N, 1, D, H, W], H towards the head.

With `inside=` labels of segmentations are shapes: a cell is occupied, 255, where half of it or more holds one of them, else empty, 0.

D goes to the patient's right and W to his back, as `up=z` turns arrays in RAS. Proportions in millimetres are kept: the longest side fills
the cube, and what is left over is black.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import NAMES, Dataset
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.decode.images import quiet_decoding
from genzoo.data.decode.scans import by_ending, format_of
from genzoo.data.decode.scans.volume import SHELF, Cut, rounded
from genzoo.data.decode.solids import MESH_SIDE, chosen_cells
from genzoo.data.entries.shapes import check_settings, how_full
from genzoo.data.kinds import Kind
from genzoo.data.order import give, give_labels, opened, split_patients, split_rows
from genzoo.data.progress import bar
from genzoo.data.settings import DataSettings
from genzoo.data.sources.contents import Contents, Source
from genzoo.data.sources.layout import no_images, printable
from genzoo.data.sources.scans import ScanPictures, ends_of_scans, merged, patients_of, shared, sliced
from genzoo.data.windows import resolved

CODE = 2
"""Raised when the same source would be read as something else."""


def holds_scans(source: Any, kind: Kind) -> bool:
    """Tell whether a source is a folder, an archive or a file with scans in it; files with an ending of the kind's own are not looked into."""
    tree = source.open_tree() if hasattr(source, "open_tree") else None
    place, names = (
        (tree, tree.names) if tree is not None else (source, [source.name] if hasattr(source, "open") else [])
    )
    own = tuple(f".{e}" for e in kind.endings)
    for name in names:
        if by_ending(name):
            return True
        if not name.lower().endswith(own):
            try:
                with place.open(name) as file:
                    if format_of(file, name):
                        return True
            except Rejected:
                continue
    return False


def open_volumes(kind: Kind, source: Source, settings: DataSettings, split: str, *, quiet: bool) -> Dataset:
    """Open one split of a set of whole scans.

    Raises:
        UserError: It holds no usable volume.
    """
    check_settings(settings)
    if settings.plane:
        raise UserError("plane= cuts scans into slices, which systems for images take; this one takes whole volumes")
    if settings.inside and settings.gray_window is not None:
        raise UserError(
            "gray_window= is for grey values, inside= for labels of which shapes are made; give one of them"
        )
    settings = dataclasses.replace(settings, gray_window=resolved(settings.gray_window))
    side = int(settings.size) if isinstance(settings.size, int) else MESH_SIDE
    key = digest_of([CODE, kind.name, source.identity(), side, settings.gray_window, settings.slices, settings.inside])[
        :32
    ]

    def make(draft: CacheWriter) -> dict[str, Any]:
        # Axial where the file says how the patient lies: then the order of slices is that of the body.
        contents = source.contents("image")
        try:
            axial = dataclasses.replace(settings, plane="axial")
            return _build(kind, sliced(contents, axial, quiet=quiet), settings, side, source.name, draft, quiet=quiet)
        finally:
            SHELF.clear()

    info, stored, folder = entry(key, make, quiet=quiet)
    dataset = opened(
        source.name, info, folder, settings, split, [split, settings.limit, settings.holdout, settings.flip]
    )
    sections = info["sections"][kind.name]
    if set(sections) == {""}:
        rows, others = split_patients(info["patients"], kind.name, settings, split, dataset.notes, thing="volume")
    else:
        rows, others = split_rows(sections, settings, split, dataset.notes, thing="volume")
    give(dataset, kind.name, stored, rows, others)
    give_labels(dataset, info, stored, rows)
    return dataset


def _volumes(pictures: ScanPictures, order: list[int]) -> Iterator[tuple[list[Cut], int]]:
    """Group the slices of each volume and time, with the place of the first among the pictures."""
    places = sorted((i for i in order if isinstance(pictures.items[i], Cut)), key=lambda i: _key(pictures.items[i]))
    for _, group in groupby(places, key=lambda i: _key(pictures.items[i])[:2]):
        rows = list(group)
        yield [c for i in rows if isinstance(c := pictures.items[i], Cut)], rows[0]


def _key(item: Any) -> tuple[int, int, int]:
    return id(item.volume), item.time, item.index


def _build(
    kind: Kind, contents: Contents, settings: DataSettings, side: int, name: str, draft: CacheWriter, *, quiet: bool
) -> dict[str, Any]:
    left, notes = list(contents.left), list(contents.notes)
    parts = {split: p for (_, split), p in contents.pictures.items() if isinstance(p, ScanPictures) and p.cuts}
    if not parts:
        raise UserError(no_images(name, merged(left, contents), what="volume"))
    rows = {kind.name: draft.rows(kind.name, (1, side, side, side), np.uint8)}
    if contents.labels:
        rows["label"] = draft.rows("label", (), np.int64)
    sections: dict[str, int] = {}
    patients: dict[str, dict[str, list[tuple[str, int]]]] = {kind.name: {}}
    names: list[str] = []
    full: list[float] = []
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 16))) as pool, quiet_decoding():
        form = {"image": ImageFormat(side, side, 1, window=resolved(settings.gray_window))}
        ends: tuple[float, float] | None = None
        if not settings.inside:
            ends = dict(ends_of_scans(form, contents, resolved(settings.gray_window), pool, notes)).get("scan")
            if ends is None:
                raise UserError(f"{name} has scans in colour alone; volumes are of grey values")

        def small(cut: Cut) -> np.ndarray:
            found = cut.read()
            return found.shares(ends) if ends else chosen_cells(found.values, settings.inside).astype(np.float32)

        total = sum(len(p.cuts) for p in parts.values())
        with bar(total, f"reading {name}", quiet, "slices") as advance:
            for split in sorted(parts, key=("train", "test", "").index):
                pictures, each = parts[split], Counter[str]()
                whose = patients_of(pictures) or []
                found = sorted(_volumes(pictures, list(range(len(pictures.items)))), key=lambda v: (whose[v[1]], v[1]))
                for cuts, first in found:
                    try:
                        cells = cube(cuts, side, lambda c: pool.map(small, c), advance)
                        if ends is None:
                            cells = (cells > 127).astype(np.uint8) * np.uint8(255)
                            if not cells.any():
                                raise Rejected(f"none of its cells holds inside={settings.inside}")
                            full.append(float((cells > 0).mean()))
                    except Rejected as reason:
                        left.append((cuts[0].volume.name, str(reason)))
                        continue
                    rows[kind.name].append(cells[None])
                    if contents.labels:
                        rows["label"].append(np.asarray(contents.labels[split][first], dtype=np.int64))
                    each[whose[first]] += 1
                    names.append(cuts[0].volume.name)
                sections[split], patients[kind.name][split] = sum(each.values()), list(each.items())
    if not names:
        raise UserError(no_images(name, merged(left, contents), what="volume"))
    notes += how_full(full, settings.inside)
    (draft.folder / NAMES).write_text(json.dumps({kind.name: names}), encoding="ascii")
    return {
        "sections": {kind.name: sections}, "class_names": contents.class_names if contents.labels else [], "captions": [],
        "left": [(printable(n), printable(r)) for n, r in merged(left, contents)], "notes": notes + shared(patients), "window": ends,
        "patients": {kind.name: patients[kind.name].get("", [])},
    }  # fmt: skip


def cube(
    cuts: list[Cut],
    side: int,
    read: Callable[[list[Cut]], Iterator[np.ndarray]],
    advance: Callable[[int], None],
) -> np.ndarray:
    """Bring the axial slices of a volume, from the feet to the head, to a cube uint8 [D, H, W]; memory holds small slices.

    Raises:
        Rejected: A slice cannot be read, or they are not gray.
    """
    volume, laid = cuts[0].volume, cuts[0].view
    if volume.colour:
        raise Rejected("it is in colour; volumes are of grey values")
    (rows, columns), through = cuts[0].size, 1.0
    if volume.affine is not None:
        through = float(np.linalg.norm(volume.affine[:3, laid.axis]))
    extents = np.array([len(cuts) * through, rows * laid.spacing[0], columns * laid.spacing[1]])
    tall, deep, wide = (max(1, int(n)) for n in np.rint(extents / extents.max() * side))
    small = []
    for shares in read(cuts):
        small.append(
            np.asarray(Image.fromarray(np.ascontiguousarray(shares)).resize((wide, deep), Image.Resampling.BICUBIC))
        )
        advance(1)
    flat = Image.fromarray(np.stack(small).reshape(len(small), -1)).resize(
        (deep * wide, tall), Image.Resampling.BICUBIC
    )
    stack = np.asarray(flat).reshape(tall, deep, wide)  # to the head, to the back, to the left
    whole = np.zeros((side,) * 3, np.float32)
    at = [(side - n) // 2 for n in (wide, tall, deep)]
    whole[at[0] : at[0] + wide, at[1] : at[1] + tall, at[2] : at[2] + deep] = stack.transpose(2, 0, 1)[::-1]
    return rounded(whole.clip(0, 1), 255)
