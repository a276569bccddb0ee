"""`open_data`: from what a person wrote after `data=` to a `Dataset`."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genzoo.core.errors import NoSuchData, UserError, nearest
from genzoo.core.files import cache_folder
from genzoo.core.schema import check
from genzoo.data.cache import CacheWriter, digest_of, entry
from genzoo.data.dataset import Dataset
from genzoo.data.decode import sounds as sound
from genzoo.data.decode import stills
from genzoo.data.decode.images import Refused
from genzoo.data.kinds import points
from genzoo.data.kinds.audio import open_audio
from genzoo.data.kinds.image import build
from genzoo.data.kinds.video import open_video
from genzoo.data.kinds.voxels import voxel_entry
from genzoo.data.settings import DataSettings
from genzoo.data.sources import layout
from genzoo.data.sources.arrays import ArrayFile
from genzoo.data.sources.captions import Sentences, Table
from genzoo.data.sources.derive import Derived
from genzoo.data.sources.embedded import Embedded
from genzoo.data.sources.hub import Hub
from genzoo.data.sources.labels import only_used
from genzoo.data.sources.moving_digits import Moving
from genzoo.data.sources.names import DRAWN, EMBEDDED, MOVING, POINTS, STANDARD, available, is_known, located, two_sides
from genzoo.data.sources.pairs import TwoSides, check_sides, side_by_side
from genzoo.data.sources.shapes import Shapes
from genzoo.data.sources.standard import Standard
from genzoo.data.sources.stock import FilePictures, Source, Stock
from genzoo.data.sources.tables import ENDINGS, Points, TableFile
from genzoo.data.sources.trees import MAX_BYTES, FolderTree, TarTree, Tree, ZipTree, is_tar, is_zip, stamp
from genzoo.text.vocabulary import vocabulary

KINDS = ("image", "labelled", "captioned", "paired", "unpaired", "points", "exemplar", "audio", "video", "voxels")
_STRUCTURE = {"captioned": "captioned", "paired": "paired", "unpaired": "unpaired"}
CODE = 3
"""Raised when the same source would be decoded to something else, or more of it is kept."""


def open_data(
    settings: DataSettings, *, kind: str = "image", split: str = "train", seed: int = 0, quiet: bool = False
) -> Dataset:
    """Open one split of a data set, decoding it into the cache if that has not been done before.

    Args:
        settings: Which data, in what form.
        kind: What a system trains on: image | labelled | captioned | paired | unpaired | points | exemplar | audio |
            video | voxels. Points are also taken for image.
        split: train or test.
        seed: Seed that point sets are drawn from. Splits and `limit` do not depend on it.
        quiet: Say nothing on stderr.

    Raises:
        UserError: There is no such data, it has no usable image, or it is of another kind.
    """
    given = {**dataclasses.asdict(settings), "data": os.fspath(settings.data)}
    settings = DataSettings(**check(DataSettings, given, label="data"))
    if kind not in KINDS:
        raise UserError(f"there is no reader for {kind} data yet; kinds: {', '.join(KINDS)}")
    if split not in ("train", "test"):
        raise UserError(f"split={split} is not known; give train or test")
    if settings.seconds is not None and kind != "audio":
        raise UserError(f"seconds= is the length of a window of sound; this system takes {kind} data")
    if kind != "video" and (settings.frames, settings.stride, settings.hop) != (None, 1, None):
        raise UserError(f"frames=, stride= and hop= are for video; this system takes {kind} data")
    if settings.up != "y" and kind != "voxels":
        raise UserError(f"up= is the upward axis of shapes; this system takes {kind} data")
    if settings.data in POINTS:
        return _toy(settings, kind, split, seed)
    check_sides(settings, kind)
    source = find(settings.data, kind, settings, quiet=quiet)
    if settings.captions is not None:
        if not isinstance(source, Files):
            raise UserError(f"captions= goes with a folder or an archive of images; {settings.data} is neither")
        source.table = Table(settings.captions)
    try:
        if kind == "audio":
            if not isinstance(source, (Files, OneImage)):
                raise UserError(f"{settings.data} holds no sound; give a folder, an archive or a file of WAV or FLAC")
            return _said(open_audio(source, settings, split, quiet=quiet), split, quiet)
        if kind == "video":
            return _said(open_video(source, settings, split, quiet=quiet), split, quiet)
        if kind == "voxels":
            return _voxels(source, settings, split, quiet)
        if isinstance(source, (ArrayFile, TableFile)) and kind in ("points", "image"):
            found = source.points(asked=kind == "points")
            if found is not None:
                return _said(_points(settings, source, found, split), split, quiet)
        if kind == "points":
            raise UserError(
                f"{settings.data} holds images; points are {', '.join(POINTS)}, a table (.csv, .parquet), or an .npy file [N, D] of floats"
            )
        return _images(source, settings, kind, split, quiet)
    finally:
        source.close()


def seen_from(settings: DataSettings, run: Path) -> DataSettings:
    """Data that a run was trained on, from another working folder: paths that are not here are looked for where `runs/` stands.

    Args:
        settings: What the run keeps; paths as they were typed.
        run: Its folder, runs/NAME, or a folder in it.
    """
    run = run.expanduser().resolve()
    home = next((p.parent.parent for p in (run, *run.parents[:2]) if (p / "config.toml").is_file()), None)
    if home is None:
        return settings

    def there(text: str) -> str:
        named = text.lower().replace("_", "-") in available() or Path(text).expanduser().exists()
        file = re.sub(r"(?<=\.npz):[^:]+$", "", text)
        return str(home / text) if not named and (home / file).exists() else text

    sides = two_sides(settings.data, lambda text: is_known(there(text)))
    data = ",".join(map(there, sides)) if sides else there(settings.data)
    return dataclasses.replace(settings, data=data, captions=settings.captions and there(settings.captions))


class Files:
    """A folder or archive as a source.

    Args:
        path: Where it is.
        settings: How it is read: the names of two sides, what subfolders are, whether links are followed.
    """

    def __init__(self, path: Path, settings: DataSettings) -> None:
        self.path, self.name, self.settings = path, path.resolve().name or str(path), settings
        self.table: Table | None = None
        """Captions from elsewhere."""
        self._tree: Tree | None = None

    def _open(self) -> Tree:
        if self._tree is None:
            if self.path.is_dir():
                self._tree = FolderTree(self.path, links=self.settings.links)
            elif is_zip(self.path):
                self._tree = ZipTree(self.path)
            else:
                self._tree = TarTree(self.path, cache_folder("data", quiet=True))
        return self._tree

    def open_tree(self) -> Tree:
        """The files below it."""
        return self._open()

    def identity(self) -> list[object]:
        """Names, sizes and times for a folder; size and time of an archive; and how both are read."""
        own = [*(self._open().identity() if self.path.is_dir() else stamp(self.path)), "layout 3"]
        if self.settings.subfolders != "auto":
            own.append(f"subfolders {self.settings.subfolders}")
        return [*own, *stamp(self.table.path)] if self.table else own

    def wish(self, structure: str, look: layout.Look) -> layout.Wish:
        """What is looked for in it; `look` says of a file whether it is an example."""
        return layout.Wish(structure, look, self.settings.sides, self.settings.subfolders)

    def stock(self, structure: str) -> Stock:
        """Read the structure from the names."""
        tree, probe = self._open(), sound.probe if structure == "audio" else stills.look

        def look(name: str) -> None:
            with tree.open(name) as file:
                probe(file)

        return layout.arrange(tree, self.wish(structure, look), str(self.path), self.table)

    def close(self) -> None:
        """Close the archive."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None


class OneImage:
    """A single file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def identity(self) -> list[object]:
        """Path, size and time."""
        return stamp(self.path)

    def stock(self, structure: str) -> Stock:
        """One picture, sound, clip or shape."""
        if structure not in ("image", "audio"):
            raise UserError(f"{self.path} is one file, not {structure} data; {layout.HOW[structure]}")
        return Stock({("image", ""): FilePictures(self, [self.name])})

    def open_tree(self) -> None:
        """It has none."""

    def open(self, name: str) -> BinaryIO:
        """Open it."""
        if self.path.stat().st_size > MAX_BYTES:
            raise Refused(f"larger than {MAX_BYTES // 2**20} MiB")
        return open(self.path, "rb")

    def close(self) -> None:
        """Nothing is held."""


def find(text: str, kind: str, settings: DataSettings, *, quiet: bool = False) -> Source:
    """The source that a person means.

    Raises:
        UserError: There is none; the message has the nearest name or path.
    """
    if sides := two_sides(text):
        if kind not in ("paired", "unpaired"):
            raise UserError(
                f"data={text} names two sides, which only a system for pairs or for unpaired data takes (this one takes {kind})"
            )
        return TwoSides(*(find(side, "image", settings, quiet=quiet) for side in sides))
    if text.startswith("hf:"):
        return Hub(text[3:])
    key = text.lower().replace("_", "-")
    if key in EMBEDDED:
        return Embedded(key)
    if key in DRAWN:
        return Shapes()
    if key in MOVING:
        digits = Embedded("digits") if key == "moving-digits" else Standard("mnist", quiet=quiet)
        return Moving(key, digits)
    if key in STANDARD:
        return Standard(key, quiet=quiet)
    path, chosen = located(text), ""
    if not path.exists() and (found := re.fullmatch(r"(.*\.npz):([^:]+)", str(path))):  # one array of several
        path, chosen = Path(found[1]), found[2]
    if not path.exists():
        raise NoSuchData(_missing(text, path))
    if not path.is_dir() and not path.is_file():
        raise UserError(f"data={text} is neither a file nor a folder")
    return _file(path, kind, settings, chosen)


def _file(path: Path, kind: str, settings: DataSettings, chosen: str = "") -> Source:
    try:
        if path.is_dir():
            return Files(path, settings)
        if path.suffix.lower() in (".npy", ".npz"):
            return ArrayFile(path, single=kind == "exemplar", chosen=chosen)
        if path.suffix.lower() in ENDINGS and not chosen:
            return TableFile(path)
        if is_zip(path) or is_tar(path):
            return Files(path, settings)
    except OSError as error:
        raise UserError(f"data={path} cannot be read: {error.strerror}") from None
    return OneImage(path)


def _missing(text: str, path: Path) -> str:
    siblings = (
        [p.name for p in path.parent.iterdir()] if path.parent.is_dir() and os.access(path.parent, os.R_OK) else []
    )
    hint = nearest(text, available()) or nearest(path.name, siblings)
    return f"data={text}: there is no set and no path of this name{hint or '.'} Sets: {', '.join(available())}."


def _images(source: Source, settings: DataSettings, kind: str, split: str, quiet: bool) -> Dataset:
    structure = _STRUCTURE.get(kind, "image")
    derived = settings.derive if structure == "paired" else "none"
    halves = settings.layout if structure == "paired" else "folders"
    if derived != "none" or halves != "folders":
        structure = "image"
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
    }
    baked |= {k: v for k, v in told.items() if v != getattr(plain, k)}
    key = digest_of([CODE, source.identity(), structure, baked])[:32]

    def make(draft: CacheWriter) -> dict[str, Any]:
        stock = source.stock(structure)
        if halves != "folders":
            stock = side_by_side(stock, halves)
        return build(stock, settings, source.name, draft, quiet=quiet)

    info, arrays, folder = entry(key, make, quiet=quiet)
    if isinstance(source, Files):  # a named set or an array keeps its classes, those without an example too
        only_used(info, arrays)
    report = [(str(n), str(r)) for n, r in info["left"]]
    dataset = Dataset({}, source.name, split, "", settings, report=report, notes=list(info["notes"]), folder=folder)
    dataset.paired = kind == "paired"
    dataset.instances = bool(info.get("instances"))
    _check_kind(kind, info, settings)
    for name, sections in info["sections"].items():
        if kind == "labelled" and sections.get("test") and arrays["label"][-1] < 0:  # a test part without classes
            sections = {"": sections["train"]}
        rows, other = _rows(name, sections, settings, kind, split, dataset.notes)
        dataset.sizes[name] = {split: len(rows), "test" if split == "train" else "train": other}
        dataset.fields[name] = _take(arrays[name], rows)
        dataset.rows[name] = (name, rows)
        if derived != "none":
            dataset.fields = {"a": Derived(dataset.fields[name], derived), "b": dataset.fields[name]}
            dataset.rows = dict.fromkeys("ab", (name, rows))
            dataset.sizes = dict.fromkeys("ab", dataset.sizes[name])
            continue
        if name == "image":
            _classify(dataset, info, arrays, rows)
        if name == "image" and any(info["captions"]):
            training = _rows(name, sections, settings, kind, "train", [])[0]
            _speak(dataset, info["captions"], rows, training)
    height, width = next(iter(dataset.fields.values())).shape[2:]
    if settings.crop and settings.crop > min(height, width):
        raise UserError(
            f"crop={settings.crop} is larger than the images ({height}x{width}); give at most {min(height, width)}"
        )
    used = [split, settings.limit, settings.holdout, settings.crop, settings.flip, settings.binarize]
    used += [derived] if derived != "none" else []
    dataset.digest = digest_of([info["digest"], kind == "exemplar", used])
    return _said(dataset, split, quiet)


def _speak(dataset: Dataset, captions: list[str], rows: range | np.ndarray, training: range | np.ndarray) -> None:
    """Give a split its captions, numbered by the words of the training part, whichever part this is."""
    dataset.texts = [captions[i].split("\n") if captions[i] else [] for i in rows]
    dataset.captions = [t[0] if t else "" for t in dataset.texts]
    dataset.words = vocabulary(line for i in training for line in captions[i].split("\n"))
    dataset.sentences = Sentences.of(dataset.texts, dataset.words)


def _voxels(source: Source, settings: DataSettings, split: str, quiet: bool) -> Dataset:
    info, arrays, folder = voxel_entry(source, settings, quiet=quiet)
    if isinstance(source, Files):
        only_used(info, arrays)
    report = [(str(n), str(r)) for n, r in info["left"]]
    dataset = Dataset({}, source.name, split, "", settings, report=report, notes=list(info["notes"]), folder=folder)
    rows, other = _rows("voxels", info["sections"]["voxels"], settings, "voxels", split, dataset.notes)
    dataset.sizes["voxels"] = {split: len(rows), "test" if split == "train" else "train": other}
    dataset.fields["voxels"] = _take(arrays["voxels"], rows)
    _classify(dataset, info, arrays, rows)
    dataset.digest = digest_of([info["digest"], split, settings.limit, settings.holdout, settings.flip])
    return _said(dataset, split, quiet)


def _classify(dataset: Dataset, info: dict[str, Any], arrays: dict[str, np.ndarray], rows: range | np.ndarray) -> None:
    """Give a split its labels, if all of its images have one: the test part may have none."""
    labels = np.array(_take(arrays["label"], rows)) if info["class_names"] else np.empty(0, np.int64)
    if len(labels) and labels.min() >= 0:
        dataset.fields["label"], dataset.class_names = labels, list(info["class_names"])


def _take(array: np.ndarray, rows: range | np.ndarray) -> np.ndarray:
    return array[rows.start : rows.stop] if isinstance(rows, range) else array[rows]


def _check_kind(kind: str, info: dict[str, Any], settings: DataSettings) -> None:
    if kind == "labelled" and not info["class_names"]:
        why = "".join(f" ({n.removeprefix('no labels: ')})" for n in info["notes"] if n.startswith("no labels: "))
        raise UserError(
            f"{settings.data} has no labels{why}; put the images of each class into a subfolder of its name (two or more)"
        )
    if kind == "captioned" and not any(info["captions"]):
        raise UserError(f"{settings.data} has no captions; {layout.HOW_CAPTIONED}")


def _rows(
    name: str, sections: dict[str, int], settings: DataSettings, kind: str, split: str, notes: list[str]
) -> tuple[range, int]:
    """The stored rows of one split of a field, and the size of the other split.

    Rows stand in one fixed random order, training part first, so that any part is a slice.
    """
    n = sum(sections.values())
    if sections.get("train") and sections.get("test"):
        parts = {"train": range(sections["train"]), "test": range(sections["train"], n)}
    elif n == 1 or kind == "exemplar":
        parts = {"train": range(n), "test": range(n)}
        if n == 1 and kind != "exemplar":
            notes.append("there is one image: it is both the training and the test part")
    else:
        held = min(max(round(n * settings.holdout), 1), n - 1) if settings.holdout else 0
        parts = {"train": range(n - held), "test": range(n - held, n)}
    if settings.limit:
        parts = {s: r[: settings.limit] for s, r in parts.items()}
    if not len(parts[split]):
        raise UserError(f"{settings.data} has no test part, and holdout=0 keeps none; give holdout=0.1")
    other = "test" if split == "train" else "train"
    return parts[split], len(parts[other])


def _said(dataset: Dataset, split: str, quiet: bool) -> Dataset:
    """The set, after its notes and what was left out have been shown."""
    if quiet or split != "train":
        return dataset
    for note in dataset.notes:
        print(f"data: {note}", file=sys.stderr)
    if dataset.report:
        first = "; ".join(f"{name}: {reason}" for name, reason in dataset.report[:3])
        more = f"; all in {dataset.folder}/report.txt" if len(dataset.report) > 3 else ""
        print(f"data: {len(dataset.report)} left out ({first}{more})", file=sys.stderr)
    return dataset


def _toy(settings: DataSettings, kind: str, split: str, seed: int) -> Dataset:
    if kind not in ("points", "image"):
        raise UserError(f"{settings.data} is a set of points in the plane, not {kind} data")
    n = settings.limit or points.SIZE
    fields = {"points": points.draw(settings.data, n, seed=seed, split=split)}
    digest = digest_of(["points", settings.data, n, seed, split])
    return Dataset(fields, settings.data, split, digest, settings, sizes={"points": {"train": n, "test": n}})


def _points(settings: DataSettings, source: ArrayFile | TableFile, found: Points, split: str) -> Dataset:
    """Points of a file: its own splits, or the last share in a fixed random order for testing."""
    parts = found.checked(str(source.path))
    parts = parts if "train" in parts else {"": next(iter(parts.values()))}
    order = list(parts.values())
    if "test" not in parts:
        order = [order[0][np.random.default_rng([points.SIZE, len(order[0])]).permutation(len(order[0]))]]
    sections = {s: len(a) for s, a in zip(parts, order, strict=True)} if "test" in parts else {"": len(order[0])}
    notes = list(found.notes)
    rows, other = _rows("points", sections, settings, "points", split, notes)
    fields = {"points": np.ascontiguousarray(_take(np.concatenate(order), rows))}
    sizes = {"points": {split: len(rows), "test" if split == "train" else "train": other}}
    used = [split, settings.limit, settings.holdout]
    content = hashlib.sha256(fields["points"].tobytes()).hexdigest()
    return Dataset(
        fields, source.name, split, digest_of([content, fields["points"].shape, *used]), settings,
        notes=notes, sizes=sizes, columns=found.columns, former=digest_of([source.identity(), *used]),
    )  # fmt: skip
