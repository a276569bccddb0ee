"""`genzoo data shard photos/ to=s3://bucket/shards/`: a set as shards with an index, which are then streamed."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from genzoo.core.errors import NoSuchData, UserError, disk_full_is_said
from genzoo.data.arrangements import PLAIN
from genzoo.data.progress import bar
from genzoo.data.settings import DataSettings
from genzoo.data.streams.index import NAME, Index, to_wids
from genzoo.data.streams.places import Place
from genzoo.data.streams.reading import Shard
from genzoo.data.written import Part, form, mds, parts_of

FORMS = ("webdataset", "parquet", "mds")
"""Forms of shards; the first is the usual one."""


def shard_data(
    settings: DataSettings,
    to: str,
    *,
    how: str = FORMS[0],
    per: int = 1000,
    kind: str = PLAIN.of,
    split: str = "",
    quiet: bool = False,
) -> list[str]:
    """Write a set of images as shards with an index; the index is written last, so that what is not whole is not read.

    Args:
        settings: Which data, in what form.
        to: A folder, or a URL (s3://bucket/shards/), where no index is yet.
        how: webdataset, parquet or mds.
        per: Images of a shard.
        kind: image or labelled.
        split: train or test; all that there is when empty.
        quiet: Say nothing on stderr.

    Returns:
        What was written, in sentences.

    Raises:
        UserError: The data cannot be opened or are not of single images, or the place cannot be written or holds a set.
    """
    if how not in FORMS:
        raise UserError(f"form={how} is no form of shards; give one of {', '.join(FORMS)}")
    writer, place = form(how), Place(to)
    if place.pattern:
        raise UserError(f"to={to} is a pattern; give a folder or a URL")
    _free(place, to)
    parts = parts_of(settings, kind, split, quiet=quiet)
    notes = list(writer.check(parts))
    shards: list[Shard] = []
    with (
        bar(sum(map(len, parts)), f"writing {to}", quiet) as advance,
        tempfile.TemporaryDirectory(prefix="genzoo-shards-") as scratch,
    ):
        for part in parts:
            images, told = part.encoded(advance), []
            folder = f"{part.name}/" if how == "mds" else ""
            for k, count in enumerate(part.shards(per)):
                name = f"shard.{k:05d}" if how == "mds" else f"{part.name}-{k:06d}"
                path = Path(scratch) / f"{name}{writer.ENDING}"
                with disk_full_is_said(path, 0):
                    more = {"parts": parts} if how == "parquet" else {}
                    writer.shard(path, part, images, count, **more)
                data = path.read_bytes()
                if how == "mds":
                    told.append(mds.told_of(path, part, count))
                path.unlink()
                shards.append(Shard(folder + path.name, count, len(data), hashlib.sha256(data).hexdigest()))
                _put(place, shards[-1].name, data)
            if how == "mds":
                _put(place, f"{folder}{NAME}", mds.index(told, part))
    if how != "mds":
        _put(place, NAME, to_wids(Index(tuple(shards), _classes(parts), _shape(parts))))
    told_parts = " and ".join(f"{len(p):,} for {p.name}ing" for p in parts)
    size = sum(s.size for s in shards) / 1e6
    return [f"{told_parts}: {len(shards)} shards of {how}, {size:.1f} MB, in {to}", *notes]


def _free(place: Place, to: str) -> None:
    """Refuse a place that holds a set already."""
    there = []
    for name in (NAME, f"train/{NAME}", f"test/{NAME}"):
        try:
            place.read(name)
            there.append(name)
        except NoSuchData:
            continue
    if there:
        raise UserError(
            f"to={to} holds a set in shards already ({', '.join(there)}); give another place, or remove it first"
        )


def _put(place: Place, name: str, data: bytes) -> None:
    if place.protocol == "file":
        path = Path(place.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_is_said(path, len(data)):
            path.write_bytes(data)
    else:
        place.write(name, data)


def _classes(parts: list[Part]) -> tuple[str, ...]:
    return tuple(parts[0].class_names) if all(p.labels is not None for p in parts) else ()


def _shape(parts: list[Part]) -> tuple[int, int, int]:
    shape: Any = parts[0].images.shape
    return int(shape[2]), int(shape[3]), 3 if shape[1] > 2 else 1
