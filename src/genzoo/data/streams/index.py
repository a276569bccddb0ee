"""What a set in shards holds, before any of it is read: from the index beside the shards, or from one pass over them that is then remembered."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genzoo.core.errors import DamagedFile, NoSuchData, UserError
from genzoo.core.files import cache_folder, write_atomic
from genzoo.data.cache import digest_of
from genzoo.data.decode.reasons import in_words
from genzoo.data.locks import locked
from genzoo.data.progress import bar
from genzoo.data.settings import DataSettings
from genzoo.data.sources.labels import in_order
from genzoo.data.sources.records import classes_of
from genzoo.data.sources.shelf import LMDB, PARQUET, TARS, is_shard
from genzoo.data.streams.places import Place
from genzoo.data.streams.reading import MDS, Shard, fetched, opened_shard

NAME = "index.json"
"""The index beside shards: MosaicML's of MDS, or webdataset's (wids), which `genzoo data shard` writes."""
WIDS = "wids-shard-index-v1"
_LARGEST = 256 * 2**20


@dataclass(frozen=True)
class Index:
    """All shards of a set.

    Args:
        shards: In the order of their names.
        classes: Names of the classes; empty where there are none, or nobody says.
        shape: Height, width and channels that all images have; None where they differ or nobody says.
        notes: What a pass over the shards has found out, in sentences.
    """

    shards: tuple[Shard, ...]
    classes: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def digest(self) -> str:
        """Digest of what the set is, wherever it lies."""
        return digest_of([[(s.name, s.count, s.size, s.sha256) for s in self.shards], self.classes])


def read_index(place: Place, settings: DataSettings, *, quiet: bool) -> Index:
    """Find out what a set holds.

    Raises:
        UserError: There are no shards, or one cannot be read.
    """
    if not place.pattern:
        try:
            return _stated(place, NAME, place.read(NAME))
        except NoSuchData:
            pass
        try:
            listed = place.listed()
        except NoSuchData:
            raise
        except UserError as reason:
            raise UserError(
                f"{place.text} has no {NAME}, and its files cannot be told ({reason}); "
                f"name them: {place.text.rstrip('/')}/train-{{000000..000099}}.tar"
            ) from None
    else:
        listed = place.listed()
    inner = sorted(n for n in listed if n.endswith(f"/{NAME}"))
    if inner:  # MDS in parts: train/index.json, val/index.json
        found = [_stated(place, n, place.read(n)) for n in inner]
        one = {i.shape for i in found}
        return Index(tuple(s for i in found for s in i.shards), found[0].classes, one.pop() if len(one) == 1 else None)
    names = sorted(n for n in listed if is_shard(n) and not n.lower().endswith(LMDB))
    if not names:
        seen = f"; it holds {', '.join(sorted(listed)[:3])} ..." if listed else "; it is empty, or not there"
        raise NoSuchData(f"{place.text} holds no shards (tar, parquet or MDS){seen}")
    sizes = {n: listed[n] or place.size(n) for n in names}
    memo = (
        cache_folder("streams", quiet=quiet)
        / f"{digest_of([place.text, sorted(sizes.items()), settings.label])[:32]}.json"
    )
    with locked(
        memo.with_suffix(".lock"), waiting=lambda: _waits(place, quiet), quiet=True
    ):  # of several processes one reads
        if memo.is_file():
            try:
                return _from_plain(json.loads(memo.read_text(encoding="utf-8")))
            except (ValueError, TypeError, KeyError):
                memo.unlink(missing_ok=True)
        index = _footers(place, sizes, settings) or _passed(place, sizes, settings, quiet=quiet)
        write_atomic(memo, json.dumps(asdict(index)).encode())
    return index


def _waits(place: Place, quiet: bool) -> None:
    if not quiet:
        print(f"data: another process is reading {place.text}; waiting for it", file=sys.stderr, flush=True)


def to_wids(index: Index) -> bytes:
    """Write an index as webdataset's, with what genzoo adds under a key of its own."""
    shards = [{"url": s.name, "nsamples": s.count, "filesize": s.size, "sha256": s.sha256} for s in index.shards]
    told = {"classes": list(index.classes), "shape": index.shape}
    return json.dumps({"__kind__": WIDS, "wids_version": 1, "shardlist": shards, "genzoo": told}, indent=1).encode()


def _from_plain(kept: dict[str, Any]) -> Index:
    shards = tuple(Shard(**{k: v for k, v in s.items() if k not in ("columns", "widths")}) for s in kept["shards"])
    shape = tuple(kept["shape"]) if kept["shape"] else None
    return Index(shards, tuple(kept["classes"]), shape, tuple(kept["notes"]))


def _stated(place: Place, name: str, content: bytes) -> Index:
    """Read an index: webdataset's or MosaicML's.

    Raises:
        DamagedFile: It is neither.
    """
    folder = name[: -len(NAME)]
    wrong = DamagedFile(f"{place.shown(name)} is no index of shards (webdataset's or MosaicML's), or is damaged")
    try:
        told = json.loads(content) if len(content) <= _LARGEST else None
        if not isinstance(told, dict):
            raise wrong
        ours = told.get("genzoo") or {}
        shape, classes = ours.get("shape"), tuple(map(str, ours.get("classes", ())))
        known = (int(shape[0]), int(shape[1]), int(shape[2])) if shape else None
        if isinstance(told.get("shardlist"), list):
            index = Index(tuple(_wids(folder, s) for s in told["shardlist"]), classes, known)
        else:
            index = Index(tuple(_mds(folder, s) for s in told["shards"]), classes, known)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise wrong from None
    if not index.shards or any(s.count < 1 or s.size < 0 for s in index.shards):
        raise wrong
    return index


def _wids(folder: str, told: dict[str, Any]) -> Shard:
    return Shard(
        _below(folder, str(told["url"])),
        int(told["nsamples"]),
        int(told.get("filesize") or 0),
        str(told.get("sha256") or ""),
    )


def _mds(folder: str, told: dict[str, Any]) -> Shard:
    if told["format"] != "mds":
        raise UserError(f"shards of MosaicML's format {told['format']} are not read; MDS is")
    raw, packed = told["raw_data"], told.get("zip_data")
    if packed:
        raise UserError(
            f"{packed['basename']}: compressed MDS shards ({told.get('compression')}) are not read; write them without compression"
        )
    widths = tuple(None if w is None else int(w) for w in told["column_sizes"])
    columns = tuple(zip(map(str, told["column_names"]), map(str, told["column_encodings"]), strict=True))
    sha = str((raw.get("hashes") or {}).get("sha256") or "")
    return Shard(_below(folder, str(raw["basename"])), int(told["samples"]), int(raw["bytes"]), sha, columns, widths)


def _below(folder: str, name: str) -> str:
    """Refuse names that lead out of the place."""
    if "://" in name or name.startswith("/") or ".." in name.split("/"):
        raise UserError(f"an index names the shard '{name[:200]}', which is not beside it")
    return folder + name.removeprefix("./")


def _footers(place: Place, sizes: dict[str, int], settings: DataSettings) -> Index | None:
    """Read what the ends of parquet tables say, rows and names of classes; None where that is not all: other shards, no such names."""
    if not all(n.lower().endswith(PARQUET) for n in sizes) or settings.size is None or settings.channels is None:
        return None
    try:
        from pyarrow.parquet import read_metadata
    except ImportError:
        return None  # what reads the tables says which extra is missing
    shards, classes = [], list[str]()
    for name, size in sizes.items():
        end = place.read(name, max(0, size - 8), size)
        length = int.from_bytes(end[:4], "little") + 8
        if end[4:] != b"PAR1" or length + 4 > size:
            raise DamagedFile(f"{place.shown(name)} is no parquet table, or is cut off: it has no end; write it again")
        footer = io.BytesIO(b"PAR1" + place.read(name, size - length, size))
        try:
            told = read_metadata(footer)
            schema = told.schema.to_arrow_schema()
        except Exception as error:  # pyarrow has several of its own
            raise DamagedFile(
                f"{place.shown(name)} is a damaged parquet table ({in_words(error)}); write it again"
            ) from None
        classes = classes_of(schema, settings.label or "")
        if not classes:
            return None
        shards.append(Shard(name, told.num_rows, size))
    return Index(tuple(shards), tuple(classes))


def _passed(place: Place, sizes: dict[str, int], settings: DataSettings, *, quiet: bool) -> Index:
    """Read all shards once, for what no index tells: how many examples each has, which classes, of which shape."""
    shards, classes, shapes = [], set[str](), set[tuple[int, int, int]]()
    unnamed = 0
    scratch = cache_folder("streams", quiet=quiet)
    with bar(
        sum(sizes.values()) // 2**20 + len(sizes), f"reading {place.text} once: it has no {NAME}", quiet
    ) as advance:
        for name, size in sizes.items():
            with (
                fetched(place, Shard(name, 0, size), scratch) as path,
                opened_shard(path, Shard(name, 0, size), settings) as read,
            ):
                if not len(read.names):
                    raise DamagedFile(
                        f"{place.shown(name)} holds no image that can be used: it is damaged, or of another kind"
                    )
                shards.append(Shard(name, len(read.names), size))
                classes |= {c for c in read.classes if c}
                unnamed += sum(not c for c in read.classes)
                shapes |= read.shapes()
            advance(size // 2**20 + 1)
    notes = []
    if classes and unnamed:
        notes.append(f"no labels: {unnamed:,} images have none")
    one = next(iter(shapes)) if len(shapes) == 1 else None
    return Index(tuple(shards), tuple(in_order(sorted(classes))) if classes and not unnamed else (), one, tuple(notes))


def kind_of(shards: Sequence[Shard]) -> str:
    """Name the form of shards for a person."""
    name = shards[0].name.lower()
    return (
        "MDS"
        if shards[0].columns or name.endswith(MDS)
        else "tar"
        if name.endswith(TARS)
        else Path(name).suffix.lstrip(".")
    )
