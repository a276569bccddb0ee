"""Images that stand as records in one file: rows of a parquet table, values of an LMDB, examples of a TFRecord, each as a tree of files.

| file | record | classes, captions |
|---|---|---|
| parquet (the hub's layout) | a column of images, {bytes, path} or bytes | ClassLabel names of the schema, columns label, caption, split |
| LMDB (LSUN's) | a value is a picture file; its name is the key | none |
| TFRecord (ProGAN's, and with encoded pictures) | `shape` and `data`, or `image/encoded` and the like | `label`, `image/class/text` and the like |

A parquet table is read once, in order, into an unnamed temporary file; the others are read in place.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.sources.captions import FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, TEXT_COLUMNS, Told
from genzoo.data.sources.tables import parquet_file
from genzoo.data.sources.trees import FREE_BYTES, MAX_BYTES, MAX_RATIO, stamp

_ENDINGS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
_ROWS = 64
"""Rows of a parquet table that are in memory together."""


def ending_of(head: bytes) -> str:
    """Return the ending of a picture file that begins so; empty for anything else."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return next((ending for magic, ending in _ENDINGS if head.startswith(magic)), "")


class Spool:
    """Files one after the other in an unnamed temporary file.

    Args:
        scratch: Folder for it.
    """

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 (closed by close)
        self._scratch, self._end = scratch, 0

    def add(self, data: bytes) -> tuple[int, int]:
        """Append a file; returns where it stands.

        Raises:
            DiskFull: There is no room for it.
        """
        with disk_full_is_said(self._scratch, len(data)):
            self._file.write(data)
        self._end += len(data)
        return self._end - len(data), len(data)

    def read(self, place: tuple[int, int]) -> bytes:
        """Read one (positioned reads: threads do not disturb each other)."""
        return os.pread(self._file.fileno(), place[1], place[0])

    def flush(self) -> None:
        """Let what was added be read."""
        with disk_full_is_said(self._scratch, 0):
            self._file.flush()

    def close(self) -> None:
        """Drop the file."""
        self._file.close()


class Records:
    """What trees of records have in common.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[str] = []
        self.left: list[tuple[str, str]] = []
        self.told = Told()

    def identity(self) -> list[object]:
        """Return path, size and time of the file."""
        return stamp(self.path)

    def close(self) -> None:
        """Do nothing: no file is held open."""


def _features(schema: Any) -> dict[str, Any]:
    """Read what the package `datasets` says of the columns, in the schema's metadata; empty where it says nothing."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return {k: v for k, v in told.items() if isinstance(v, dict)} if isinstance(told, dict) else {}


def classes_of(schema: Any, label: str = "") -> list[str]:
    """Return the names of the classes that the schema of a parquet table states, of one column or of the first; empty where it states none."""
    stated = [(n, f) for n, f in _features(schema).items() if f.get("_type") == "ClassLabel" and n in schema.names]
    names = next((f.get("names") for n, f in stated if not label or n.lower() == label.lower()), None)
    return [str(n) for n in names] if isinstance(names, list) else []


def image_column(schema: Any) -> str | None:
    """Find the column of images: what the hub's schema calls one, {bytes, path}, or bytes under a usual name; None where there is none."""
    from pyarrow import types

    features = _features(schema)
    kinds = {name: schema.field(name).type for name in schema.names}
    told = [n for n, f in features.items() if f.get("_type") == "Image" and n in kinds]
    pairs = [n for n, k in kinds.items() if types.is_struct(k) and k.get_field_index("bytes") >= 0]
    usual = [
        n for n, k in kinds.items()
        if (types.is_binary(k) or types.is_large_binary(k)) and n.lower() in ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes")
    ]  # fmt: skip
    return next(iter([*told, *pairs, *usual]), None)


def holds_images(path: Path) -> bool:
    """Tell whether a parquet table has a column of images.

    Raises:
        UserError: It is none, or the reader is not installed.
    """
    return image_column(parquet_file(path).schema_arrow) is not None


class ParquetTree(Records):
    """The images of a parquet table, a file for each row.

    Args:
        path: The file.
        spool: Where the images are kept meanwhile.
        label: The column that tells classes; what the schema calls one when empty.

    Raises:
        UserError: It is damaged, or has no images.
    """

    def __init__(self, path: Path, spool: Spool, label: str = "") -> None:
        super().__init__(path)
        self._spool, self._where = spool, dict[str, tuple[int, int]]()
        file = parquet_file(path)
        schema, metadata = file.schema_arrow, file.metadata
        column = image_column(schema)
        if column is None:
            raise UserError(f"{path} has no column of images (columns: {', '.join(schema.names)})")
        size = sum(metadata.row_group(g).total_byte_size for g in range(metadata.num_row_groups))
        if size > FREE_BYTES and size > MAX_RATIO * path.stat().st_size:
            raise UserError(f"{path} expands more than {MAX_RATIO} times")
        features, lower = _features(schema), {n.lower(): n for n in schema.names}
        self.told.columns |= {*schema.names} - {column}
        numbered = [n for n, f in features.items() if f.get("_type") == "ClassLabel" and n in schema.names]
        wanted = [label.lower()] if label else [*(n.lower() for n in numbered), *LABEL_COLUMNS, "fine_label"]
        given = {
            "label": next((lower[w] for w in wanted if w in lower), None),
            **{
                what: next((lower[w] for w in words if w in lower), None)
                for what, words in (("caption", TEXT_COLUMNS), ("split", SPLIT_COLUMNS), ("file", FILE_COLUMNS))
            },
        }
        given["file"] = None if given["file"] == column else given["file"]
        names = features.get(given["label"] or "", {}).get("names")
        classes = [str(n) for n in names] if isinstance(names, list) else []
        if classes:
            self.told.order = classes
        columns = [column, *dict.fromkeys(c for c in given.values() if c)]
        try:
            for row, cells in enumerate(_rows_of(file, path, columns)):
                self._take(row, cells[column], {k: cells[c] for k, c in given.items() if c}, classes)
        except Rejected as reason:
            self.left.append((path.name, f"damaged ({reason}); the {len(self.names)} rows before are used"))
        spool.flush()

    def _take(self, row: int, cell: Any, given: dict[str, Any], classes: Sequence[str]) -> None:
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not data:
            elsewhere = isinstance(cell, dict) and cell.get("path")
            reason = "the image is not in the table, only its path" if elsewhere else "no image in this row"
            self.left.append((f"row {row}", reason))
            return
        if len(data) > MAX_BYTES:
            self.left.append((f"row {row}", f"larger than {MAX_BYTES // 2**20} MiB"))
            return
        name = f"{row:07d}{ending_of(data[:12])}"
        self._where[name] = self._spool.add(data)
        self.names.append(name)
        label, text = given.get("label"), given.get("caption")
        if isinstance(label, (bool, int)) and classes:
            label = classes[label] if 0 <= label < len(classes) else None  # -1 marks what has no class
        if isinstance(label, (bool, int, str)) and str(label).strip():
            self.told.classes[name] = " ".join(str(int(label) if isinstance(label, bool) else label).split())
        texts = [" ".join(str(t).split()) for t in (text if isinstance(text, list) else [text]) if t is not None]
        if texts := [t for t in dict.fromkeys(texts) if t]:
            self.told.captions[name] = texts
        if given.get("split"):
            self.told.splits[name] = str(given["split"])

    def open(self, name: str) -> BinaryIO:
        """Read one image into memory."""
        return io.BytesIO(self._spool.read(self._where[name]))


def _rows_of(file: Any, path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a parquet table, a few in memory at a time.

    Raises:
        Rejected: It is damaged from here on.
        UserError: The disk does not give it.
    """
    batches = file.iter_batches(batch_size=_ROWS, columns=list(columns), use_threads=False)
    while True:
        try:
            rows = next(batches).to_pylist()
        except StopIteration:
            return
        except (
            Exception
        ) as error:  # the disk, or whatever the parser throws at a damaged page; nothing of ours is called here
            if isinstance(error, OSError) and error.errno is not None:
                raise UserError(f"{path} cannot be read: {error.strerror}") from None
            raise Rejected(in_words(error)) from None
        yield from rows


class LmdbTree(Records):
    """The values of an LMDB that are pictures, under their keys.

    Args:
        path: The file, usually data.mdb.

    Raises:
        UserError: It is damaged or cut off, or the reader is not installed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            import lmdb
        except ImportError:
            raise UserError(f"{path} is an LMDB, which needs the extra: pip install 'genzoo[lmdb]'") from None
        try:
            # One that is not locked may stand where nothing can be written, and a reader of it disturbs nobody.
            self._env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, create=False)
        except lmdb.Error as error:
            raise UserError(f"{path} cannot be read as an LMDB: {in_words(error)}; fetch it again") from None
        needed = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if needed > path.stat().st_size:  # it is mapped into memory: to look behind its end would end the process
            self._env.close()
            raise UserError(f"{path} is cut off: {path.stat().st_size:,} bytes of {needed:,}; fetch it again")
        self._keys: dict[str, bytes] = {}
        try:
            with self._env.begin(buffers=True) as transaction:
                for key, value in transaction.cursor():
                    self._take(bytes(key), value)
        except lmdb.Error as error:
            self.left.append((path.name, f"damaged ({in_words(error)}); the {len(self._keys)} values before are used"))
        self._largest()
        self.names = sorted(self._keys)

    def _take(self, key: bytes, value: Any) -> None:
        name = key.decode("utf-8", "backslashreplace").replace("/", "_").replace("\x00", "")
        ending = ending_of(bytes(value[:12]))
        if not ending:
            self.left.append((name, "not a picture"))
        elif len(value) > MAX_BYTES:
            self.left.append((name, f"larger than {MAX_BYTES // 2**20} MiB"))
        elif f"{name}{ending}" in self._keys:
            self.left.append((name, "a second key of this name: not used"))
        else:
            self._keys[f"{name}{ending}"] = key

    def _largest(self) -> None:
        """Of the same images in several sizes (keys 8-00000, 16-00000 ...) keep the largest."""
        found = {n: m for n in self._keys if (m := re.match(r"(\d+)-(\d+)\.", n))}
        sizes = sorted({int(m[1]) for m in found.values()})
        if (
            len(found) < len(self._keys)
            or len(sizes) < 2
            or len({m[2] for m in found.values()}) * len(sizes) != len(found)
        ):
            return
        self._keys = {n: k for n, k in self._keys.items() if int(found[n][1]) == sizes[-1]}
        said = ", ".join(map(str, sizes[:-1]))
        self.told.notes.append(f"{self.path.name} has every image in several sizes; {sizes[-1]} is used, not {said}")

    def open(self, name: str) -> BinaryIO:
        """Read one value into memory."""
        with self._env.begin() as transaction:
            value = transaction.get(self._keys[name])
        if value is None:
            raise Rejected("gone from the LMDB")
        return io.BytesIO(value)

    def close(self) -> None:
        """Close the file."""
        self._env.close()


_PICTURES = ("image/encoded", "image", "image_raw", "img", "jpg", "jpeg", "png", "image_bytes")
_WORDS = ("image/class/text", "class_name", "image/class/label", "label", "class", "labels")


class TfRecords(Records):
    """The examples of a TFRecord that are images: encoded pictures, or `shape` [C, H, W] and `data` as ProGAN's program writes them.

    Every record's checksums are looked at.

    Args:
        path: The file.
        label: The feature that tells classes; one of the usual names when empty.

    Raises:
        UserError: The reader is not installed, or there is no whole record.
    """

    def __init__(self, path: Path, label: str = "") -> None:
        super().__init__(path)
        try:
            import crc32c
            from tfrecord import example_pb2
        except ImportError:
            raise UserError(f"{path} is a TFRecord, which needs the extra: pip install 'genzoo[tfrecord]'") from None
        self._parse, self._sum = example_pb2.Example.FromString, crc32c.crc32c
        self._where: dict[str, tuple[int, int]] = {}
        with open(path, "rb") as file:
            self._list(file, path.stat().st_size, label)
        if not self._where:
            raise UserError(
                f"{path} has no image that can be read"
                + "".join(f" ({n}: {r})" for n, r in self.left[:1])
                + "; features image/encoded, or shape and data, are read"
            )
        self.names = sorted(self._where)

    def _list(self, file: BinaryIO, size: int, label: str) -> None:
        """Walk over the records: length, its checksum, content, its checksum."""
        wanted = (label,) if label else _WORDS
        row, end = 0, 0
        while head := file.read(12):
            length, check = struct.unpack("<QI", head) if len(head) == 12 else (size, 0)
            if length > size - file.tell() - 4 or self._masked(head[:8]) != check:
                self.left.append(
                    (self.path.name, f"cut off or damaged at byte {end:,}; the {row} records before are used")
                )
                return
            start = file.tell()
            if length > MAX_BYTES:
                self.left.append((f"record {row}", f"larger than {MAX_BYTES // 2**20} MiB"))
                file.seek(length + 4, os.SEEK_CUR)
            else:
                self._take(row, start, file.read(length), file.read(4), wanted)
            row, end = row + 1, file.tell()

    def _masked(self, data: bytes) -> int:
        """Compute the format's checksum: CRC-32C, turned by 15 bits, plus a constant."""
        crc = self._sum(data)
        return int(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    def _take(self, row: int, start: int, data: bytes, check: bytes, wanted: Sequence[str]) -> None:
        try:
            if struct.unpack("<I", check)[0] != self._masked(data):
                raise Rejected("damaged: its checksum is another")
            features = self._features(data)
            content = self._picture(features)
        except Rejected as reason:
            self.left.append((f"record {row}", str(reason)))
            return
        name = f"{row:07d}{ending_of(content[:12]) or '.npy'}"
        self._where[name] = (start, len(data))
        self.told.columns |= {k for k in features if k not in (*_PICTURES, "shape", "data")}
        word = next((w for key in wanted if (w := _value(features.get(key)))), "")
        if word:
            self.told.classes[name] = word
        if text := next((t for key in TEXT_COLUMNS if (t := _value(features.get(key)))), ""):
            self.told.captions[name] = [text]

    def _features(self, data: bytes) -> dict[str, Any]:
        try:
            return dict(self._parse(data).features.feature)
        except Exception:  # whatever protobuf throws at what is no message
            raise Rejected("no example of TensorFlow's") from None

    def _picture(self, features: dict[str, Any]) -> bytes:
        """Return a picture file: the encoded one, or the raw pixels as an array file."""
        if "shape" in features and "data" in features:
            shape = tuple(features["shape"].int64_list.value)
            raw = b"".join(features["data"].bytes_list.value)
            if len(shape) not in (2, 3) or min(shape) < 1 or int(np.prod([float(s) for s in shape])) != len(raw):
                raise Rejected(f"shape {list(shape)} and {len(raw):,} bytes of pixels contradict each other")
            out = io.BytesIO()
            np.save(out, np.frombuffer(raw, np.uint8).reshape(shape))
            return out.getvalue()
        for key in _PICTURES:
            found: Sequence[bytes] = features[key].bytes_list.value if key in features else ()
            if len(found) and ending_of(found[0][:12]):
                return bytes(found[0])
        raise Rejected(f"no image among its features {', '.join(sorted(features)) or '(none)'}"[:200])

    def open(self, name: str) -> BinaryIO:
        """Read one record into memory."""
        start, length = self._where[name]
        with open(self.path, "rb") as file:
            return io.BytesIO(self._picture(self._features(os.pread(file.fileno(), length, start))))


def _value(feature: Any) -> str:
    """Return the one value of a feature as a word; empty where there is none or several."""
    if feature is None:
        return ""
    for values in (feature.bytes_list.value, feature.int64_list.value):
        if len(values) == 1:
            value = values[0]
            return " ".join((value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).split())
    return ""
