"""Images into the cache: choose the common form, decode every image once, write it row by row, and open one split of what was stored."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.arrangements import Arrangement
from genzoo.data.binarize import bernoulli
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import NAMES, Dataset
from genzoo.data.decode.forms import ImageFormat, Rejected, Shape
from genzoo.data.decode.images import quiet_decoding
from genzoo.data.decode.scans.volume import SHELF
from genzoo.data.entries.forms import filled, forms_of, pages, ranged, shallow, unlike
from genzoo.data.order import Rows, give, give_labels, opened, split_patients, split_rows
from genzoo.data.progress import bar
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.sources import layout
from genzoo.data.sources.captions import Sentences
from genzoo.data.sources.contents import Contents, Source
from genzoo.data.sources.derive import Derived
from genzoo.data.sources.files import Files
from genzoo.data.sources.labels import only_used
from genzoo.data.sources.layout import no_images, printable
from genzoo.data.sources.pairs import side_by_side
from genzoo.data.sources.scans import merged, patients_of, shared, sliced, window_of
from genzoo.data.windows import resolved
from genzoo.text.vocabulary import vocabulary

CODE = 3
"""Raised when the same source would be decoded to something else, or more of it is kept."""
THREADS = max(1, min(os.cpu_count() or 1, 16))
_CHUNK = 256
_BYTES = 2**23
"""Pictures that are decoded before they are written: at most so many, and so much memory or one for each thread."""


def open_images(
    source: Source, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
) -> Dataset:
    """Open one split of a set of images.

    Raises:
        UserError: It holds no usable image, or has not the labels, captions or sides that are wanted.
    """
    structure, paired = arrangement.structure, arrangement.structure == "paired"
    derived = settings.derive if paired else "none"
    halves = settings.layout if paired else "folders"
    if derived != "none" or halves != "folders":
        structure = "image"
    settings = dataclasses.replace(settings, gray_window=resolved(settings.gray_window))
    key = digest_of([CODE, source.identity(), structure, _baked(settings, halves)])[:32]

    def make(draft: CacheWriter) -> dict[str, Any]:
        contents = source.contents(structure)
        try:
            contents = sliced(contents, settings, quiet=quiet)
            if halves != "folders":
                contents = side_by_side(contents, halves)
            return build(contents, settings, source.name, draft, quiet=quiet)
        finally:
            SHELF.clear()

    info, arrays, folder = entry(key, make, quiet=quiet)
    if isinstance(source, Files):  # a named set or an array keeps its classes, those without an example too
        only_used(info, arrays)
    _check(arrangement, info, settings)
    used = [split, settings.limit, settings.holdout, settings.crop, settings.flip, settings.binarize]
    used += [derived] if derived != "none" else []
    dataset = opened(source.name, info, folder, settings, split, [arrangement.single, used])
    dataset.paired, dataset.instances = paired, bool(info.get("instances"))
    for name, sections in info["sections"].items():
        if (
            arrangement.name == "labelled" and sections.get("test") and arrays["label"][-1] < 0
        ):  # a test part without classes
            sections = {"": sections["train"]}
        rows, others = _rows(info, name, sections, settings, split, dataset.notes, arrangement)
        give(dataset, name, arrays, rows, others)
        dataset.rows[name] = (name, rows)
        if derived != "none":
            dataset.fields = {"a": Derived(dataset.fields[name], derived), "b": dataset.fields[name]}
            dataset.rows = dict.fromkeys("ab", (name, rows))
            dataset.sizes = dict.fromkeys("ab", dataset.sizes[name])
        elif name == "image":
            give_labels(dataset, info, arrays, rows)
            if any(info["captions"]):
                training, _ = _rows(info, name, sections, settings, "train", [], arrangement)
                _speak(dataset, info["captions"], rows, training)
    height, width = next(iter(dataset.fields.values())).shape[2:]
    if settings.crop and settings.crop > min(height, width):
        raise UserError(
            f"crop={settings.crop} is larger than the images ({height}x{width}); give at most {min(height, width)}"
        )
    return dataset


def _rows(
    info: dict[str, Any],
    name: str,
    sections: dict[str, int],
    settings: DataSettings,
    split: str,
    notes: list[str],
    arrangement: Arrangement,
) -> tuple[Rows, int]:
    """Choose the stored rows of one split of a field: of scans whole patients."""
    patients = info.get("patients", {})
    if name in patients and not arrangement.single and set(sections) == {""}:
        return split_patients(patients, name, settings, split, notes)
    return split_rows(sections, settings, split, notes, whole=arrangement.single)


def _baked(settings: DataSettings, halves: str) -> dict[str, Any]:
    """Return those settings that change the stored pixels, by name."""
    baked: dict[str, Any] = {
        "size": settings.size,
        "channels": settings.channels,
        "resize": settings.resize,
        "binarize": settings.binarize if settings.binarize in ("threshold", "static") else "none",
    }
    plain = DataSettings(settings.data)
    told = {
        "layout": halves,
        "sides": settings.sides,
        "label_maps": settings.label_maps,
        "gray_window": settings.gray_window,
        "bits": settings.bits,
        "plane": settings.plane,
        "slices": settings.slices,
    }
    return baked | {k: v for k, v in told.items() if v != getattr(plain, k)}


def _check(arrangement: Arrangement, info: dict[str, Any], settings: DataSettings) -> None:
    if arrangement.name == "labelled" and not info["class_names"]:
        why = "".join(f" ({n.removeprefix('no labels: ')})" for n in info["notes"] if n.startswith("no labels: "))
        raise UserError(
            f"{settings.data} has no labels{why}; put the images of each class into a subfolder of its name (two or more)"
        )
    if arrangement.name == "captioned" and not any(info["captions"]):
        raise UserError(f"{settings.data} has no captions; {layout.HOW_CAPTIONED}")


def _speak(dataset: Dataset, captions: list[str], rows: Rows, training: Rows) -> None:
    """Give a split its captions, numbered by the words of the training part, whichever part this is."""
    dataset.texts = [captions[i].split("\n") if captions[i] else [] for i in rows]
    dataset.captions = [t[0] if t else "" for t in dataset.texts]
    dataset.vocabulary = vocabulary(line for i in training for line in captions[i].split("\n"))
    dataset.sentences = Sentences.of(dataset.texts, dataset.vocabulary)


def build(contents: Contents, settings: DataSettings, name: str, draft: CacheWriter, *, quiet: bool) -> dict[str, Any]:
    """Decode all of `contents` into `draft`; returns the facts of the entry."""
    left, notes = list(contents.left), list(contents.notes)
    total = sum(len(p.names) for p in contents.pictures.values())
    with (
        ThreadPoolExecutor(THREADS) as pool,
        quiet_decoding(),
        bar(total, f"reading {name}", quiet) as advance,
    ):
        shapes = {part: p.probe(pool) for part, p in contents.pictures.items()}
        good = [s for found in shapes.values() for s in found if not isinstance(s, Rejected)]
        if not good:
            for part, found in shapes.items():
                left += [(n, str(r)) for n, r in zip(contents.pictures[part].names, found, strict=True)]
            raise UserError(no_images(name, left))
        forms = forms_of(shapes, settings, contents, notes)
        if contents.paired:
            notes += unlike(contents, shapes)
        forms = ranged(forms, contents, settings, pool, notes)
        notes += shallow(contents, settings) + pages(contents)
        draft.reserve(
            sum(
                f.height * f.width * f.channels * f.bits // 8 * len(shapes[part])
                for part in shapes
                for f in [forms[part[0]]]
            )
        )
        sections: dict[str, dict[str, int]] = {}
        patients: dict[str, dict[str, list[tuple[str, int]]]] = {}
        kept: dict[tuple[str, str], list[int]] = {}
        names: dict[str, list[str]] = {}
        for fields in contents.groups:
            writer = _Group(fields, contents, shapes, forms, settings, draft, pool, left)
            for split in contents.splits(fields[0]):
                kept[fields[0], split] = writer.write(split, advance)
                whose = patients_of(contents.pictures[fields[0], split])
                for f in writer.rows:
                    sections.setdefault(f, {})[split] = len(kept[fields[0], split])
                    if whose is not None:
                        each = Counter(whose[i] for i in kept[fields[0], split])
                        patients.setdefault(f, {})[split] = list(each.items())
                    own = contents.pictures[f, split].names
                    names.setdefault(f, []).extend(own[i] for i in kept[fields[0], split])
            if not writer.rows[fields[0]].count:
                raise UserError(no_images(name, merged(left, contents)))
    notes += filled(contents) + shared(patients)
    (draft.folder / NAMES).write_text(json.dumps(names), encoding="ascii")
    captions = []
    if contents.labels:
        rows = draft.rows("label", (), np.int64)
        for split in contents.splits("image"):
            for i in kept["image", split]:
                rows.append(np.asarray(contents.labels[split][i], dtype=np.int64))
    for split in contents.splits("image") if contents.captions else []:
        captions += [contents.captions[split][i] if split in contents.captions else "" for i in kept["image", split]]
    return {
        "sections": sections,
        "class_names": contents.class_names,
        "captions": captions,
        "left": [(printable(name), printable(reason)) for name, reason in merged(left, contents)],
        "notes": notes,
        **({"patients": {f: parts[""] for f, parts in patients.items() if "" in parts}} if patients else {}),
        **({"window": window} if (window := window_of(contents, forms)) else {}),
        **({"instances": True} if any(f == "instance" for f, _ in contents.pictures) else {}),
    }


class _Group:
    """Writes the fields of one group; an example of which one field cannot be read is left out of all."""

    def __init__(
        self,
        fields: tuple[str, ...],
        contents: Contents,
        shapes: dict[tuple[str, str], list[Shape | Rejected]],
        forms: dict[str, ImageFormat],
        settings: DataSettings,
        draft: CacheWriter,
        pool: Executor,
        left: list[tuple[str, str]],
    ) -> None:
        self.fields, self.contents, self.forms, self.pool, self.left = fields, contents, forms, pool, left
        self.binarize = settings.binarize
        self.usable = {split: self._usable(split, shapes) for split in contents.splits(fields[0])}
        expected = sum(map(len, self.usable.values()))
        # Numbers of instances are the last channel of side A.
        self.more = "instance" in fields
        self.rows = {}
        for name in (f for f in fields if f != "instance"):
            form = forms[name]
            shape = (form.channels + (self.more and name == "a"), form.height, form.width)
            self.rows[name] = draft.rows(name, shape, np.uint8 if form.bits == 8 else np.uint16, expected)
        self.rng = np.random.default_rng([ORDER_SEED, 1])

    def _usable(self, split: str, shapes: dict[tuple[str, str], list[Shape | Rejected]]) -> list[int]:
        """Find the examples of a split whose headers could be read in all fields, and say why the others are left out."""
        names = [self.contents.pictures[f, split].names for f in self.fields]
        usable = []
        for i, row in enumerate(zip(*(shapes[f, split] for f in self.fields), strict=True)):
            bad = [(n[i], str(s)) for n, s in zip(names, row, strict=True) if isinstance(s, Rejected)]
            self.left.extend(bad)
            if not bad:
                usable.append(i)
        return usable

    def write(self, split: str, advance: Callable[[int], None]) -> list[int]:
        """Write one split in the stored order; returns the indices that were kept."""
        parts, usable = [self.contents.pictures[f, split] for f in self.fields], self.usable[split]
        names = [p.names for p in parts]
        advance((len(names[0]) - len(usable)) * len(parts))
        order = np.random.default_rng([ORDER_SEED, 0, len(usable)]).permutation(len(usable))
        whose = patients_of(parts[0])
        if whose is not None:  # a patient's slices stand together, so that a cut between patients is a slice of rows
            order = np.array(sorted(order, key=lambda k: whose[usable[k]]), np.int64)
        kept = []
        size = sum(f.height * f.width * f.channels * f.bits // 8 for f in (self.forms[f] for f in self.fields))
        for chunk in _chunks([usable[k] for k in order], min(_CHUNK, max(_BYTES // size, THREADS))):
            blocks = [p.block(chunk, self.forms[f], self.pool) for f, p in zip(self.fields, parts, strict=True)]
            good: dict[str, list[np.ndarray]] = {f: [] for f in self.fields}
            for i, *images in zip(chunk, *blocks, strict=True):
                bad = [(n[i], str(a)) for n, a in zip(names, images, strict=True) if isinstance(a, Rejected)]
                self.left.extend(bad)
                if not bad:
                    kept.append(i)
                    for f, a in zip(self.fields, images, strict=True):
                        good[f].append(a)
            if self.more:
                good["a"] = [np.concatenate(both) for both in zip(good["a"], good.pop("instance"), strict=True)]
            for f, images in good.items():
                self.rows[f].extend([self._binary(a) for a in images] if self.binarize != "none" else images)
            advance(len(chunk) * len(parts))
        return kept

    def _binary(self, image: np.ndarray) -> np.ndarray:
        if self.binarize == "threshold":
            return np.where(image > 127, 255, 0).astype(np.uint8)
        if self.binarize == "static":
            return bernoulli(image, self.rng)
        return image


def _chunks(order: Sequence[int], count: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), count):
        yield order[start : start + count]
