"""Shards as MosaicML's StreamingDataset reads them: in a folder for each part index.json, and shard.00000.mds of the columns image and label."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.data.written import Part

WHAT = "a folder train/ of shard.00000.mds ... and index.json, as MosaicML's StreamingDataset reads it"
SUFFIX = ""
PARTS = 2
ENDING = ".mds"
SHARD = 10_000
"""Samples of a shard."""
LIMIT = 2**32 - 1
"""Bytes of a shard at most: places in it are 32-bit numbers."""


def check(parts: Sequence[Part]) -> list[str]:
    """Tell what the form has no place for."""
    notes = ["captions are not in it: it has the columns image and label"] if any(p.texts for p in parts) else []
    if any(p.labels is not None for p in parts):
        notes.append("names of classes stand in index.json under genzoo, which MosaicML's reader passes over")
    return notes


def write(path: Path, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
    """Write every part in a folder of its own.

    Args:
        path: The folder.
        parts: The training part, and the test part where there is one.
        advance: Is told how many images are done.
    """
    path.mkdir()
    for part in parts:
        folder = path / part.name
        folder.mkdir()
        images, told = part.encoded(advance), []
        for k, count in enumerate(part.shards(SHARD)):
            file = folder / f"shard.{k:05d}{ENDING}"
            shard(file, part, images, count)
            told.append(told_of(file, part, count))
        (folder / "index.json").write_bytes(index(told, part))


def shard(path: Path, part: Part, images: Iterator[tuple[int, bytes]], count: int) -> None:
    """Write the next images of a part into one shard.

    The layout: the number of samples and their places as uint32, the columns in JSON, then of each sample the length of the image as
    uint32, the image, and the label as int64.

    Args:
        path: The file.
        part: The part.
        images: Numbers and files, from where the shard before ended.
        count: How many.

    Raises:
        UserError: They are too large for one shard.
    """
    samples = []
    for _ in range(count):
        i, data = next(images)
        label = b"" if part.labels is None else struct.pack("<q", int(part.labels[i]))
        samples.append(struct.pack("<I", len(data)) + data + label)
    head = json.dumps(_columns(part), sort_keys=True).encode()
    places = [4 * (count + 2) + len(head)]
    for sample in samples:
        places.append(places[-1] + len(sample))
    if places[-1] > LIMIT:
        raise UserError(
            f"{count:,} images are {places[-1] / 1e9:.1f} GB, and a shard of MDS holds {LIMIT / 1e9:.1f} GB: give a smaller size=, or "
            "'genzoo data shard' with form=mds and per=, images of a shard"
        )
    with open(path, "wb") as file:
        file.write(struct.pack(f"<{count + 2}I", count, *places) + head)
        for sample in samples:
            file.write(sample)


def _columns(part: Part) -> dict[str, Any]:
    """Return what MosaicML's writer tells of a shard's columns."""
    labelled = part.labels is not None
    return {
        "column_encodings": ["png", *["int"] * labelled],
        "column_names": ["image", *["label"] * labelled],
        "column_sizes": [None, *[8] * labelled],
        "compression": None,
        "format": "mds",
        "hashes": ["sha256"],
        "size_limit": LIMIT,
        "version": 2,
    }


def told_of(path: Path, part: Part, count: int) -> dict[str, Any]:
    """Return what index.json says of a shard that has been written."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    raw = {"basename": path.name, "bytes": path.stat().st_size, "hashes": {"sha256": digest}}
    return {**_columns(part), "raw_data": raw, "samples": count, "zip_data": None}


def index(shards: Sequence[dict[str, Any]], part: Part) -> bytes:
    """Return index.json of a part."""
    _, channels, height, width = part.images.shape
    ours = {
        "classes": list(part.class_names) if part.labels is not None else [],
        "shape": [height, width, 3 if channels > 2 else 1],
    }
    return json.dumps({"shards": list(shards), "version": 2, "genzoo": ours}, sort_keys=True).encode()
