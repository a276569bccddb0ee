"""Arrays in .npy and .npz files: images (clips, voxels) with optional labels and splits, or points. Pickled objects are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from genzoo.core.errors import UserError, nearest
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.decode import ranges
from genzoo.data.decode.npy import channels_last
from genzoo.data.decode.npy import check_header as _check_header
from genzoo.data.decode.reasons import in_words
from genzoo.data.formats import HEAD, what_is
from genzoo.data.sources.contents import ArrayPictures, Contents
from genzoo.data.sources.layout import HOW
from genzoo.data.sources.tables import MOST_COLUMNS, Points
from genzoo.data.sources.trees import MAX_RATIO, stamp

MAX_ARRAY = 16 * 2**30
"""Bytes of one array inside an .npz (which has to be expanded into memory)."""
FREE_ARRAY = 2**28
"""Below this size the expansion of an .npz member is not looked at: blank and binary images compress very well."""

IMAGES = "images [N,H,W], [N,H,W,C] or [N,C,H,W]"
_IMAGES = ("images", "image", "x", "data", "imgs", "arr_0")
_ANYTHING = "samples"
_TABLES = ("x", "data", _ANYTHING, "arr_0")
_LABELS = ("labels", "label", "y", "targets", "target", "arr_1")
_SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test"}


class ArrayFile:
    """An .npy or .npz file.

    Args:
        path: The file.
        single: Read a three-dimensional [H, W, 3 or 4] array, and a two-dimensional one, as one image.
        chosen: Of the arrays of an .npz, this one (or NAME_train and NAME_test).
    """

    def __init__(self, path: Path, *, single: bool = False, chosen: str = "") -> None:
        self.path, self.name, self.single, self.chosen = path, path.name, single, chosen

    def identity(self) -> list[object]:
        """Return path, size and time of the file, which change when it does."""
        return [*stamp(self.path), self.single, *([self.chosen] if self.chosen else [])]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = _load(self.path)
        if not self.chosen:
            return arrays
        found = {k: a for k, a in arrays.items() if self.chosen in (k, _stem(k))}
        if not found:
            raise UserError(
                f"{self.path} has no array '{self.chosen}'{nearest(self.chosen, arrays)}; it holds {_seen(arrays)}"
            )
        return {**found, **{k: a for k, a in arrays.items() if a.ndim == 1 or _one_hot(a) is not None}}

    def points(self, *, asked: bool = True) -> Points | None:
        """Return the table of numbers in the file, by split.

        Args:
            asked: Points are wanted, and whole numbers are points too; else only where the file holds no images: None where it does.

        Raises:
            UserError: There is no table, or there are several and nothing says which is meant.
        """
        arrays = self._arrays()
        images = [k for k, a in arrays.items() if a.ndim in (3, 4) and a.dtype.kind in "uifb" and len(a)]
        tables = {
            k: a
            for k, a in arrays.items()
            if a.ndim == 2 and a.dtype.kind in ("uif" if asked else "f") and 1 <= a.shape[1] <= MOST_COLUMNS and len(a)
            and (self.chosen in (k, _stem(k)) if self.chosen else _one_hot(a) is None)
        }  # fmt: skip
        if not asked and (images or not tables or self.single):
            return None
        if not tables:
            raise UserError(
                f"{self.path} holds no points, which are a table [N,D] of numbers with 1 to {MOST_COLUMNS} columns (it holds {_seen(arrays)})"
            )
        by_stem = _by_stem(tables)
        usual = (*kinds.offering("coordinates"), *_TABLES)
        stem = next((w for w in usual if w in by_stem), None) or (next(iter(by_stem)) if len(by_stem) == 1 else None)
        if stem is None:
            raise UserError(
                f"{self.path} holds several tables: {_seen(tables)}; say which is meant: data={self.path}:NAME"
            )
        others = [k for k in arrays if k not in by_stem[stem].values()]
        points = Points({s: np.asarray(tables[k]) for s, k in by_stem[stem].items()})
        if others and not self.chosen:
            kept = " and ".join(f"'{k}'" for k in by_stem[stem].values())
            points.notes.append(
                f"{kept} is taken as points, beside {_seen({k: arrays[k] for k in others})}; data={self.name}:NAME takes another"
            )
        return points

    def contents(self, structure: str) -> Contents:
        """Return the images in the file."""
        if structure != "image":
            raise UserError(f"{self.path} holds one array of images, not {structure} data; {HOW[structure]}")
        arrays = self._arrays()
        if self.single:
            arrays = {k: a[None] if a.ndim == 2 else a for k, a in arrays.items()}
        contents = Contents({})
        for split, (key, images) in _examples(arrays, self.path, (3, 4), IMAGES, contents.notes, self.chosen).items():
            contents.pictures["image", split] = ArrayPictures(self._planes(key, images), key)
            _give_labels(contents, arrays, key, split, len(images))
        _number(contents, contents.pictures)
        return contents

    def _planes(self, key: str, array: np.ndarray) -> np.ndarray:
        """Bring an array to [N, C, H, W], whatever the pixels are stored as."""
        if self.single and array.ndim == 3 and array.shape[-1] in (3, 4):
            array = array[None]
        if array.ndim == 3:
            array = array[:, None]
        elif channels_last(array.shape[1:]):
            array = array.transpose(0, 3, 1, 2)
        if not 1 <= array.shape[1] <= 4 or 0 in array.shape:
            raise UserError(
                f"{self.path} '{key}': shape {array.shape} is none of [N,H,W], [N,H,W,C], [N,C,H,W] with 1 to 4 channels"
            )
        return array


def _usual_names() -> tuple[str, ...]:
    """List what arrays of images, clips and shapes are called, the likeliest first."""
    others = (k for k in kinds.every().values() if k.dims > 2 and k.name != PLAIN.of)
    return (*_IMAGES, *(word for k in others for word in (k.name, *k.aliases)), _ANYTHING)


def grey_levels(array: np.ndarray, where: str, contents: Contents) -> Iterator[np.ndarray]:
    """Bring the examples of an array to uint8, one by one, by the rules for images (see `genzoo.data.decode.ranges`), saying what was taken for what.

    Raises:
        UserError: Its black and white are not known, or an example has pixels that are no number.
    """
    kind = ranges.kind_of(array.dtype)
    with ThreadPoolExecutor(1) as pool:
        ends, notes = ranges.decide([ranges.Values(array)], pool, gray=False, where=f"{where}: ")
    contents.notes += notes
    found = dict(ends).get(kind)
    if array.dtype.kind == "f" and not all(np.isfinite(example).all() for example in array):
        raise UserError(f"{where}: some pixels are not finite numbers")
    if found is None or (kind == "whole" and (array.min() < 0 or array.max() > ranges.BITS_16[1])):
        raise UserError(f"{where}: {ranges.unstated(array, kind)}; give uint8, uint16, or floats in [0, 1] or [-1, 1]")
    return (ranges.levels(values, found) for values in array)


def _words(key: str) -> list[str]:
    return key.lower().replace("-", "_").split("_")


def _stem(key: str) -> str:
    """Remove the word of a split from a name: x_train and x_test are both x."""
    return "_".join(w for w in _words(key) if w not in _SPLITS)


def _seen(arrays: dict[str, np.ndarray]) -> str:
    said = [f"{k} {a.dtype} [{','.join(map(str, a.shape))}]" for k, a in list(arrays.items())[:4]]
    return ", ".join([*said, *(["…"] if len(arrays) > 4 else [])]) or "nothing"


def _number(contents: Contents, parts: Collection[Any]) -> None:
    """Turn labels of all parts into 0, 1, 2 ... with their names; without labels for every part there are none."""
    if len(contents.labels) != len(parts):
        if contents.labels:
            contents.notes.append("no labels: they are there for one part of the data only")
        contents.labels = {}
        return
    known = sorted({int(v) for labels in contents.labels.values() for v in np.unique(labels)})
    contents.class_names = [str(v) for v in known]
    contents.labels = {s: np.searchsorted(known, labels).astype(np.int64) for s, labels in contents.labels.items()}


def _by_stem(found: dict[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Group arrays that belong together: by name without the split's word, the key of each split ("" for a name without one)."""
    stems: dict[str, dict[str, str]] = {}
    for key in found:
        parts = stems.setdefault(_stem(key), {})
        for word in [w for w in _words(key) if w in _SPLITS] or [""]:
            split = _SPLITS.get(word, "")
            if split not in parts or word == "test":
                parts[split] = key
    made: dict[str, dict[str, str]] = {}
    for stem, parts in stems.items():
        if "train" in parts:
            made[stem] = {s: k for s, k in parts.items() if s}
        else:  # a test part alone is all there is
            made |= {stem if len(parts) == 1 else k: {"": k} for k in parts.values()}
    return made


def _examples(
    arrays: dict[str, np.ndarray],
    path: Path | str,
    dims: tuple[int, ...],
    what: str,
    notes: list[str] | None = None,
    chosen: str = "",
) -> dict[str, tuple[str, np.ndarray]]:
    """Find the arrays of examples, by split, each with its name.

    Of several that could be meant, the one of a known name is taken, else that with the most values in an example: a table of
    landmarks beside images is smaller than they are.

    Args:
        arrays: All arrays of a file.
        path: The file, for messages.
        dims: Numbers of sides that examples in arrays have.
        what: What is looked for, for messages.
        notes: Gets a sentence where there was a choice.
        chosen: Name that is meant.

    Raises:
        UserError: There is none.
    """
    found = {k: a for k, a in arrays.items() if a.ndim in dims and a.dtype.kind in "uifb" and len(a)}
    found = {k: a for k, a in found.items() if not chosen or chosen in (k, _stem(k))}
    if not found:
        flat = next((a for a in arrays.values() if a.ndim == 2 and 3 in dims), None)
        hint = (
            "; rows of pixels have to be reshaped to [N,H,W]"
            if flat is not None and flat.shape[1] > MOST_COLUMNS
            else ""
        )
        raise UserError(f"{path} has no array of {what} (it holds {_seen(arrays)}){hint}")
    by_stem = _by_stem(found)
    named = [
        s for name in _usual_names() for s in by_stem if name in (s.lower(), *(k.lower() for k in by_stem[s].values()))
    ]
    whole = [s for s in by_stem if "train" in by_stem[s]]
    stem = next((s for s in named if s in whole), None) or next(iter(named if not whole else []), None)
    if stem is None:
        sizes = {s: np.prod(found[next(iter(by_stem[s].values()))].shape[1:]) for s in whole or by_stem}
        stem = max(sizes, key=lambda s: sizes[s])
    others = {k: found[k] for s, keys in by_stem.items() if s != stem for k in keys.values()}
    if others and notes is not None:
        kept = " and ".join(f"'{k}'" for k in by_stem[stem].values())
        notes.append(f"{kept} is taken for the data, not {_seen(others)}; data={Path(path).name}:NAME takes another")
    unused = [k for k in found if not any(k in keys.values() for keys in by_stem.values())]
    if unused and notes is not None:
        notes.append(f"{_seen({k: found[k] for k in unused})} is not used: there is a test part")
    return {split: (key, found[key]) for split, key in by_stem[stem].items()}


def _one_hot(array: np.ndarray) -> np.ndarray | None:
    """Turn rows that are 0 but for one 1 into numbers of classes, int64 [N]; None for anything else."""
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "uifb" or not len(array):
        return None
    ones = array == 1
    plain = (ones.sum(1) == 1).all() and (ones | (array == 0)).all() and ones.any(0).sum() > 1
    return ones.argmax(1).astype(np.int64) if plain else None


def _labels(arrays: dict[str, np.ndarray], images: str, split: str, n: int) -> np.ndarray | None:
    """Find the classes of the examples of an array: whole numbers [N] or [N, 1], or one-hot rows, under a name for labels."""
    for key, array in arrays.items():
        flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        hot = _one_hot(array) if array.ndim == 2 and len(array) == n else None
        flat = flat if hot is None else hot
        if key == images or flat.ndim != 1 or flat.dtype.kind not in "uif" or len(flat) != n:
            continue
        if flat.dtype.kind == "f" and not (np.isfinite(flat).all() and (flat == np.rint(flat)).all()):
            continue
        if _names_labels(key, images, split):
            return np.asarray(flat).astype(np.int64)
    return None


def _names_labels(key: str, images: str, split: str) -> bool:
    """Tell whether the labels of the array `images` could be called `key`."""
    words = _words(key)
    side = [w for w in _words(images) if w in _SPLITS]
    named = any(w in words for w in _LABELS) or key in _LABELS
    return named and (not split or all(w in words for w in side))


def _give_labels(contents: Contents, arrays: dict[str, np.ndarray], images: str, split: str, n: int) -> None:
    """Keep the classes of the `n` examples of an array; where an array has a name for labels, and its values are none, that is said."""
    labels = _labels(arrays, images, split, n)
    if labels is not None:
        contents.labels[split] = labels
        return
    named = [k for k, a in arrays.items() if k != images and a.ndim < 3 and _names_labels(k, images, split)]
    for key in [k for k in named if k != "arr_1"][:1]:
        contents.notes.append(
            f"no labels: {_seen({key: arrays[key]})} has no whole number, and no one-hot row, for each of {n} examples of '{images}'"
        )


def _load(path: Path) -> dict[str, np.ndarray]:
    """Load all arrays of the file that can be loaded without running code; an .npy stays on disk."""
    try:
        if zipfile.is_zipfile(path):
            return _load_npz(path, str(path))
        with open(path, "rb") as f:
            _check_header(f, path.stat().st_size, str(path))
        return {path.name: np.load(path, mmap_mode="r", allow_pickle=False)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError) as error:
        if isinstance(error, UserError):
            raise
        head = b""
        with suppress(OSError), open(path, "rb") as f:
            head = f.read(HEAD)
        what = what_is(head)
        told = f"it is {what.what}" if what and what.group not in ("array", "archive") else in_words(error)
        raise UserError(f"{path} cannot be read as arrays: {told}") from None


def _load_npz(file: Path | IO[bytes], name: str) -> dict[str, np.ndarray]:
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            where = f"{name} '{info.filename}'"
            if info.file_size > MAX_ARRAY:
                raise UserError(f"{where} is larger than {MAX_ARRAY // 2**30} GiB")
            if info.file_size > FREE_ARRAY and info.file_size > MAX_RATIO * max(info.compress_size, 1):
                raise UserError(f"{where} expands more than {MAX_RATIO} times; a zip bomb?")
            with archive.open(info) as member:
                _check_header(member, info.file_size, where)
            with archive.open(info) as member:
                arrays[info.filename.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays
