"""Shapes into the cache: every grid is one example, occupied cells stored as uint8 255 and empty ones as 0, [N, 1, D, H, W] with H upwards."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import Dataset
from genzoo.data.decode import solids
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.meshes import MESHES, MOST_CELLS
from genzoo.data.kinds import Kind
from genzoo.data.order import give, give_labels, opened, split_rows
from genzoo.data.progress import bar
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.sources import arrays, layout
from genzoo.data.sources.contents import Contents, FilePictures, Opens
from genzoo.data.sources.files import Files
from genzoo.data.sources.labels import only_used
from genzoo.data.sources.layout import no_images, printable

CODE = 3
"""Raised when the same source would be read as something else."""
Named = list[tuple[str, np.ndarray, int]]
"""Name, grid and class of every shape of a part."""


def check_settings(settings: DataSettings) -> None:
    """Refuse settings that are for images, and sizes that are no cube's.

    Raises:
        UserError: One is given.
    """
    plain = DataSettings(settings.data)
    for key in ("channels", "crop", "binarize", "resize"):
        if getattr(settings, key) != getattr(plain, key):
            raise UserError(
                f"{key}= is for images; voxels take size= (the side of the cube) and flip= (mirrors the last side)"
            )
    if isinstance(settings.size, tuple):
        raise UserError(
            f"size={','.join(map(str, settings.size))} is not possible; voxels are cubes: give one number, such as size=32"
        )
    if settings.inside not in ("", "negative", "positive"):
        solids.labels_in(settings.inside)
    if settings.size and settings.size**3 > MOST_CELLS:
        raise UserError(f"size={settings.size} is too fine; voxels are cubes of at most 256 cells on a side")


def open_shapes(kind: Kind, source: Any, settings: DataSettings, split: str, *, quiet: bool) -> Dataset:
    """Open one split of a set of shapes.

    Raises:
        UserError: It holds no usable shape, or a key is given that is for images.
    """
    check_settings(settings)
    side = settings.size if isinstance(settings.size, int) else None
    form = solids.Form(side, settings.up, settings.inside, settings.holes == "fill")
    key = digest_of([CODE, kind.name, source.identity(), *dataclasses.astuple(form)])[:32]

    def make(draft: CacheWriter) -> dict[str, Any]:
        parts, contents = _shapes(kind, source, form, quiet=quiet)
        return _build(kind, parts, contents, source.name, draft)

    info, stored, folder = entry(key, make, quiet=quiet)
    if isinstance(source, Files):
        only_used(info, stored)
    used = [split, settings.limit, settings.holdout, settings.flip]
    dataset = opened(source.name, info, folder, settings, split, used)
    rows, others = split_rows(info["sections"][kind.name], settings, split, dataset.notes, thing=kind.thing)
    give(dataset, kind.name, stored, rows, others)
    give_labels(dataset, info, stored, rows)
    return dataset


def _shapes(kind: Kind, source: Any, form: solids.Form, *, quiet: bool) -> tuple[dict[str, Named], Contents]:
    if isinstance(source, arrays.ArrayFile):
        return _of_arrays(source, form)
    if not hasattr(source, "open_tree"):
        raise UserError(
            f"{source.name} holds no shapes; give a folder or an archive of meshes or grids, or an array file [N,D,H,W]"
        )
    tree = source.open_tree()
    if tree is None:  # a single file
        contents = Contents({("image", ""): FilePictures(source, [source.name])})
    else:
        contents = layout.arrange(
            tree, source.wish(kind, lambda name: _read(tree, name, form, Counter())), str(source.path)
        )
    parts: dict[str, Named] = {}
    told, count = Counter[str](), 0
    files = {split: p for (_, split), p in contents.pictures.items() if isinstance(p, FilePictures)}
    doubled = Counter[str]()
    with bar(sum(len(p.names) for p in files.values()), f"reading {source.name}", quiet, f"{kind.thing}s") as advance:
        for split, pictures in files.items():
            parts[split] = []
            for same in _same_shapes(pictures.names):
                for k, i in enumerate(same):
                    name, own = pictures.names[i], Counter[str]()
                    label = int(contents.labels[split][i]) if contents.labels else 0
                    advance(1)
                    try:
                        found = _read(pictures.tree, name, form, own)
                    except Rejected as reason:
                        contents.left.append((name, str(reason)))
                        continue
                    count += 1
                    told.update(own)
                    parts[split] += [
                        (f"{name}[{n}]" if len(found) > 1 else name, g, label) for n, g in enumerate(found)
                    ]
                    doubled.update(_endings(pictures.names[j]) for j in same[k + 1 :])
                    advance(len(same) - k - 1)
                    break
    contents.left += [
        (
            f"*{ending}",
            f"{n} file{'s' * (n > 1)} of {kind.thing}s that are here in another format, which was taken",
        )
        for ending, n in doubled.items()
    ]
    contents.notes += _notes(told, f"{count} files", parts, form)
    return parts, contents


def _endings(name: str) -> str:
    """Return the ending of a file's name, of ShapeNet's grids both: .solid.binvox."""
    found = re.search(r"(\.(?:solid|surface))?\.[^./]+$", name.lower())
    return found[0] if found else ""


def _same_shapes(names: Sequence[str]) -> list[list[int]]:
    """Group files that are one shape, by place and name without their endings: ShapeNet has a mesh and two grids of each.

    Returns:
        Places among the names: of each group first a grid that was filled, then meshes, other grids, and grids of surfaces alone.
    """
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name[: len(name) - len(_endings(name))], []).append(i)

    def late(i: int) -> tuple[int, str]:
        ending = _endings(names[i])
        likely = (".solid.binvox", *(f".{m}" for m in MESHES), ".binvox", ".npz", ".npy", ".mat")
        return (likely.index(ending) if ending in likely else len(likely)), names[i]

    return [sorted(group, key=late) for group in groups.values()]


def _notes(told: Counter[str], files: str, parts: dict[str, Named], form: solids.Form) -> list[str]:
    """Say what was taken for what, and, where something was assumed or asked for, how full the grids are."""
    notes = [words.format(n=told[key], files=files) for key, words in solids.TOLD.items() if told[key]]
    if form.inside and not told["grids"]:
        notes.append(f"inside={form.inside} is for grids of values, and there are none here")
    elif form.inside or any(told[key] for key in solids.ASSUMED):
        notes += how_full([float(g.mean()) for shapes in parts.values() for _, g, _ in shapes], form.inside)
    return notes


def how_full(shares: Sequence[float], inside: str) -> list[str]:
    """Say how full grids are, a note where there are any."""
    full = sorted(shares)
    asked = f"inside={inside}: " if inside else ""
    if not full:
        return []
    return [f"{asked}grids are {full[0]:.1%} to {full[-1]:.1%} full, the middle one {full[len(full) // 2]:.1%}"]


def _read(tree: Opens, name: str, form: solids.Form, told: Counter[str]) -> list[np.ndarray]:
    with tree.open(name) as file:
        return solids.read(file, name, form, told)


def _of_arrays(source: arrays.ArrayFile, form: solids.Form) -> tuple[dict[str, Named], Contents]:
    contents, parts = Contents({}), {}
    loaded = arrays._load(source.path)
    found, told, own = {}, Counter[str](), Counter[str]()
    try:
        for split, (key, array) in solids.chosen(loaded, str(source.path)).items():
            found[split] = (
                key,
                [
                    solids.resized(solids.raised(g, form.up), form.side, own)
                    for g in solids.grids(np.asarray(array), told, form.inside)
                ],
            )
    except Rejected as reason:
        raise UserError(f"{source.path}: {reason}") from None
    for split, (key, shapes) in found.items():
        arrays._give_labels(contents, loaded, key, split, len(shapes))
    arrays._number(contents, found)
    for split, (key, shapes) in found.items():
        kinds = contents.labels[split] if contents.labels else np.zeros(len(shapes), np.int64)
        parts[split] = [(f"{key}[{i}]", g, int(k)) for i, (g, k) in enumerate(zip(shapes, kinds, strict=True))]
    told["grids"] = len(found)
    told["padded"] = len(found) * (own["padded"] > 0)
    contents.notes += _notes(told, f"{len(found)} array{'s' * (len(found) > 1)}", parts, form)
    return parts, contents


def _build(kind: Kind, parts: dict[str, Named], contents: Contents, name: str, draft: CacheWriter) -> dict[str, Any]:
    left = list(contents.left)
    for split, shapes in parts.items():
        left += [
            (n, "an empty grid: no cell counts as occupied; see what does under Voxels in docs/data.md")
            for n, g, _ in shapes
            if not g.any()
        ]
        left += [
            (n, "a full grid: every cell counts as occupied; see what does under Voxels in docs/data.md")
            for n, g, _ in shapes
            if g.all()
        ]
        parts[split] = [s for s in shapes if s[1].any() and not s[1].all()]
    every = [s for shapes in parts.values() for s in shapes]
    if not every:
        raise UserError(no_images(name, left, what=kind.thing))
    sizes = {g.shape for _, g, _ in every}
    if len(sizes) > 1:
        seen = ", ".join("x".join(map(str, s)) for s in sorted(sizes)[:3])
        raise UserError(f"{name} has grids of {len(sizes)} sizes ({seen}); set size= to bring them to one")
    shape = sizes.pop()
    draft.reserve(len(every) * int(np.prod(shape)))
    rows = {kind.name: draft.rows(kind.name, (1, *shape), np.uint8)}
    if contents.labels:
        rows["label"] = draft.rows("label", (), np.int64)
    for split in sorted(parts, key=("train", "test", "").index):
        shapes = parts[split]
        for i in np.random.default_rng([ORDER_SEED, 0, len(shapes)]).permutation(len(shapes)):
            rows[kind.name].append(shapes[i][1][None].astype(np.uint8) * np.uint8(255))
            if contents.labels:
                rows["label"].append(np.asarray(shapes[i][2], dtype=np.int64))
    return {
        "sections": {kind.name: {split: len(shapes) for split, shapes in parts.items()}},
        "class_names": contents.class_names if contents.labels else [], "captions": [],
        "left": [(printable(n), printable(r)) for n, r in left], "notes": list(contents.notes),
    }  # fmt: skip
