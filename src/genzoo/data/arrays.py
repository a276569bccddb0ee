"""Arrays in .npy and .npz files: images (clips, voxels) with optional labels and splits, or points. Pickled objects are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.layout import HOW
from genzoo.data.stock import ArrayPictures, Stock
from genzoo.data.trees import MAX_RATIO, stamp

MAX_ARRAY = 16 * 2**30
"""Bytes of one array inside an .npz (which has to be expanded into memory)."""
FREE_ARRAY = 2**28
"""Below this size the expansion of an .npz member is not looked at: blank and binary images compress very well."""

IMAGES = "images [N,H,W], [N,H,W,C] or [N,C,H,W]"
_IMAGES = ("images", "image", "x", "data", "imgs", "arr_0", "video", "videos", "clips", "voxels", "samples")
_LABELS = ("labels", "label", "y", "targets", "target", "arr_1")
_SPLITS = {"train": "train", "test": "test", "val": "test", "valid": "test"}


class ArrayFile:
    """An .npy or .npz file.

    Args:
        path: The file.
        single: Read a three-dimensional [H, W, 3 or 4] array as one image.
    """

    def __init__(self, path: Path, *, single: bool = False) -> None:
        self.path, self.name, self.single = path, path.name, single

    def identity(self) -> list[object]:
        """Path, size and time."""
        return [*stamp(self.path), self.single]

    def close(self) -> None:
        """Nothing is held."""

    def points(self) -> dict[str, np.ndarray] | None:
        """By split, float32 [N, D], where the file holds two-dimensional floats; else None."""
        found = {
            k: a for k, a in _load(self.path).items() if a.ndim == 2 and a.dtype.kind == "f" and 1 <= a.shape[1] <= 64
        }
        if not found:
            return None
        for key, array in found.items():
            bad = int((~np.isfinite(array)).any(1).sum())
            if bad or not len(array):
                raise UserError(f"{self.path} '{key}': {bad} of {len(array)} points are not finite numbers")
        by_split = {_SPLITS[w]: a for k, a in found.items() for w in _words(k) if w in _SPLITS}
        chosen = by_split if "train" in by_split else {"": next(iter(found.values()))}
        return {k: np.ascontiguousarray(a, dtype=np.float32) for k, a in chosen.items()}

    def stock(self, structure: str) -> Stock:
        """The images of the file."""
        if structure != "image":
            raise UserError(f"{self.path} holds one array of images, not {structure} data; {HOW[structure]}")
        arrays = _load(self.path)
        stock = Stock({})
        for split, (key, images) in _examples(arrays, self.path, (3, 4), IMAGES).items():
            stock.pictures["image", split] = ArrayPictures(self._as_bytes(key, images, stock), key)
            labels = _labels(arrays, key, split, len(images))
            if labels is not None:
                stock.labels[split] = labels
        _number(stock, stock.pictures)
        return stock

    def _as_bytes(self, key: str, array: np.ndarray, stock: Stock) -> np.ndarray:
        """To uint8 [N, C, H, W], saying what was taken for what."""
        if self.single and array.ndim == 3 and array.shape[-1] in (3, 4):
            array = array[None]
        if array.ndim == 3:
            array = array[:, None]
        elif array.shape[-1] <= 4 and not (array.shape[1] <= 4 < array.shape[2] and array.shape[-1] not in (1, 3, 4)):
            array = array.transpose(0, 3, 1, 2)
        if not 1 <= array.shape[1] <= 4 or 0 in array.shape:
            raise UserError(
                f"{self.path} '{key}': shape {array.shape} is none of [N,H,W], [N,H,W,C], [N,C,H,W] with 1 to 4 channels"
            )
        return np.ascontiguousarray(_grey_levels(array, f"{self.path} '{key}'", stock))


def _grey_levels(array: np.ndarray, where: str, stock: Stock) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            raise UserError(f"{where}: some pixels are not finite numbers")
        if low >= -1 and high <= 1:
            signed = bool(low < 0)
            stock.notes.append(f"{where}: float pixels taken as {'[-1, 1]' if signed else '[0, 1]'}")
            scale, shift = (127.5, 127.5) if signed else (255.0, 0.0)
            levels = np.empty(array.shape, np.uint8)
            for i in range(len(array)):
                levels[i] = np.rint(array[i].astype(np.float64) * scale + shift)
            return levels
    elif array.dtype.kind in "iu" and low >= 0:
        if high <= 255 and array.dtype != np.uint16:
            return array.astype(np.uint8)
        if high <= 65535:
            stock.notes.append(f"{where}: 16-bit pixels divided by 257")
            return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    raise UserError(
        f"{where}: {array.dtype} pixels in [{low:g}, {high:g}]; give uint8, uint16, or floats in [0, 1] or [-1, 1]"
    )


def _words(key: str) -> list[str]:
    return key.lower().replace("-", "_").split("_")


def _number(stock: Stock, parts: Collection[Any]) -> None:
    """Turn labels of all parts into 0, 1, 2 ... with their names; without labels for every part there are none."""
    if len(stock.labels) != len(parts):
        stock.labels = {}
        return
    known = sorted({int(v) for labels in stock.labels.values() for v in np.unique(labels)})
    stock.class_names = [str(v) for v in known]
    stock.labels = {s: np.searchsorted(known, labels).astype(np.int64) for s, labels in stock.labels.items()}


def _examples(
    arrays: dict[str, np.ndarray], path: Path | str, dims: tuple[int, ...], what: str
) -> dict[str, tuple[str, np.ndarray]]:
    """The arrays of examples by split, each with its name."""
    found = {k: a for k, a in arrays.items() if a.ndim in dims and a.dtype.kind in "uifb" and len(a)}
    if not found:
        seen = ", ".join(f"{k} {a.dtype} {list(a.shape)}" for k, a in list(arrays.items())[:4]) or "nothing"
        raise UserError(f"{path} has no array of {what} (it holds {seen})")
    by_split: dict[str, tuple[str, np.ndarray]] = {}
    for key, array in found.items():
        for split in (_SPLITS[w] for w in _words(key) if w in _SPLITS):
            if split not in by_split or "test" in _words(key):
                by_split[split] = (key, array)
    if "train" in by_split:
        return by_split
    key = next((k for name in _IMAGES for k in found if k.lower() == name), next(iter(found)))
    return {"": (key, found[key])}


def _labels(arrays: dict[str, np.ndarray], images: str, split: str, n: int) -> np.ndarray | None:
    for key, array in arrays.items():
        flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if key == images or flat.ndim != 1 or flat.dtype.kind not in "iu" or len(flat) != n:
            continue
        words = _words(key)
        side = [w for w in _words(images) if w in _SPLITS]
        named = any(w in words for w in _LABELS) or key in _LABELS
        if named and (not split or all(w in words for w in side)):
            return np.asarray(flat, dtype=np.int64)
    return None


def _load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of the file that may be loaded without running code; an .npy stays on disk."""
    try:
        if zipfile.is_zipfile(path):
            return _load_npz(path, str(path))
        with open(path, "rb") as f:
            _check_header(f, path.stat().st_size, str(path))
        return {path.name: np.load(path, mmap_mode="r", allow_pickle=False)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, SyntaxError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} cannot be read as arrays: {str(error).splitlines()[0][:120] or type(error).__name__}"
        ) from None


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


def _check_header(file: IO[Any], size: int, where: str) -> None:
    """Refuse objects, and headers that promise more than the file has, before anything is allocated."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects, which could run code when loaded; save it as a plain array")
    need = dtype.itemsize
    for side in shape:
        need *= side
    if any(side < 0 for side in shape) or need > size:
        raise UserError(f"{where} is damaged: its header promises {need} bytes, the file has {size}")
