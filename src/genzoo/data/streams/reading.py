"""One shard: fetched whole, checked against what the index says of it, and opened as images with classes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from genzoo.core.errors import DamagedFile, DiskFull, NoSuchData, UserError, disk_full_is_said
from genzoo.core.files import cache_folder
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.decode import stills
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.settings import DataSettings
from genzoo.data.sources import labels, samples
from genzoo.data.sources.captions import Told
from genzoo.data.sources.contents import FilePictures
from genzoo.data.sources.records import Records, Spool, ending_of
from genzoo.data.sources.shelf import opened
from genzoo.data.streams.places import Place

MDS = ".mds"
PICTURES = ("jpeg", "png", "bytes", "pil")
"""Encodings of MDS that hold a picture; `jpeg` and `png` are files, `bytes` may be one, `pil` are raw pixels."""
_WHOLE = {"int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
_LOOKED_AT = 8
"""Images of a shard whose headers are read where no index says what they have in common."""


@dataclass(frozen=True)
class Shard:
    """One file of a set.

    Args:
        name: Its path below the place.
        count: Examples in it; 0 where that is to be found out.
        size: Its bytes; 0 where nobody says.
        sha256: Hex digest of it; empty where nobody says.
        columns: Of MDS, name and encoding of every column.
        widths: Of MDS, bytes of a column that has always the same; None of others.
    """

    name: str
    count: int
    size: int = 0
    sha256: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    widths: tuple[int | None, ...] = ()


@dataclass
class Read:
    """A shard that is open.

    Args:
        title: What a person calls it.
        pictures: Its images.
        classes: Name of the class of each; empty where it has none.
    """

    title: str
    pictures: FilePictures
    classes: list[str]

    @property
    def names(self) -> Sequence[str]:
        """A name for every image."""
        return self.pictures.names

    def shapes(self) -> set[tuple[int, int, int]]:
        """Return height, width and channels of a few images, spread over the shard."""
        found = set()
        chosen = np.linspace(0, len(self.names) - 1, min(_LOOKED_AT, len(self.names))).astype(int)
        for i in chosen:
            try:
                with self.pictures.tree.open(self.names[i]) as file:
                    found.add(stills.look(file, self.names[i]).shape)
            except Rejected as reason:
                raise self.damaged(int(i), reason) from None
        return found

    def decoded(self, chosen: Sequence[int], form: ImageFormat, pool: Executor) -> Iterator[np.ndarray]:
        """Yield some images in a form.

        Raises:
            DamagedFile: One cannot be decoded.
        """
        for i, image in zip(chosen, self.pictures.block(chosen, form, pool), strict=True):
            if isinstance(image, Rejected):
                raise self.damaged(i, image)
            yield image

    def damaged(self, i: int, reason: Rejected) -> DamagedFile:
        """Return the error of an image that cannot be read."""
        return DamagedFile(
            f"{self.title} is damaged: {self.names[i]}: {reason}; write the shard again: a stream leaves no example out, "
            "because the place of all others would change"
        )


@contextlib.contextmanager
def fetched(place: Place, shard: Shard, scratch: Path, name: str = "fetched") -> Iterator[Path]:
    """Lend a shard as a file of this disk, checked: itself where it is one, else a temporary copy.

    Args:
        place: Where it is.
        shard: Which.
        scratch: Folder for the copy.
        name: What `core.files.sweep` knows the copy by, if the process is killed.

    Raises:
        NoSuchData: It is not there.
        DamagedFile: It is not what the index says.
        DiskFull: There is no room for the copy.
    """
    if place.protocol == "file":
        path = Path(place.path(shard.name))
        if not path.is_file():
            raise NoSuchData(f"{path} is not there, and the set needs every shard")
        if shard.size and path.stat().st_size != shard.size:
            raise DamagedFile(
                f"{path} has {path.stat().st_size:,} bytes, and its index says {shard.size:,}: it is damaged; write it again"
            )
        if shard.sha256:
            with open(path, "rb") as file:
                _check(shard, hashlib.file_digest(file, "sha256").hexdigest(), str(path))
        yield path
        return
    size = shard.size or place.size(shard.name)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", suffix=".part", dir=scratch) as folder:
        path = Path(folder) / Path(shard.name).name
        digest = hashlib.sha256()
        with disk_full_is_said(path, size), open(path, "wb") as file:
            for piece in place.pieces(shard.name, size):
                file.write(piece)
                digest.update(piece)
        _check(shard, digest.hexdigest(), place.shown(shard.name))
        yield path


def _check(shard: Shard, digest: str, title: str) -> None:
    if shard.sha256 and digest != shard.sha256:
        raise DamagedFile(f"{title} is damaged: its content is not what its index says; write it again")


@contextlib.contextmanager
def opened_shard(path: Path, shard: Shard, settings: DataSettings, title: str = "") -> Iterator[Read]:
    """Open a shard that is on this disk.

    Raises:
        DamagedFile: It cannot be read, or has not as many examples as its index says.
    """
    title = title or str(path)
    with contextlib.ExitStack() as stack:
        try:
            if shard.columns:
                read = _mds(stack.enter_context(open(path, "rb")), shard, settings, title)
            else:
                read = _shelf(stack, path, settings, title)
        except (DamagedFile, DiskFull):
            raise
        except UserError as reason:
            raise DamagedFile(f"{title} cannot be read: {str(reason).replace(str(path), 'it')}") from None
        except OSError as error:
            raise UserError(f"{title} cannot be read: {in_words(error)}") from None
        if shard.count and len(read.names) != shard.count:
            raise DamagedFile(
                f"{title} holds {len(read.names):,} images that can be used, and {shard.count:,} are expected: it is damaged; write it again"
            )
        yield read


def _shelf(stack: contextlib.ExitStack, path: Path, settings: DataSettings, title: str) -> Read:
    """Open a tar, a parquet table or a TFRecord: its images, and the class that each has by its own .cls, .json or row."""
    scratch = cache_folder("streams", quiet=True)
    spool = Spool(scratch)
    stack.callback(spool.close)
    tree = opened(path, spool, scratch, settings.label or "")
    stack.callback(tree.close)
    if whole := [reason for name, reason in tree.left if name == path.name]:
        raise DamagedFile(f"{title}: {whole[0].replace('; what came before is used', '')}; write it again")
    if isinstance(tree, Records):
        names, classes = tree.names, tree.told.classes
    else:
        endings = tuple(f".{e}" for e in kinds.get(PLAIN.of).endings)
        told = Told()
        names, _ = samples.told(
            tree, [n for n in tree.names if n.lower().endswith(endings)], told, settings.label or ""
        )
        classes = told.classes if settings.label else labels.told(tree, names, told.classes, [], []) or {}
    return Read(title, FilePictures(tree, names), [classes.get(n, "") for n in names])


class _Rows:
    """The pictures of an MDS shard by name.

    Args:
        file: The shard.
        where: Place and length of every picture.
        raw: They are pixels with a header, MosaicML's `pil`, and no files.
    """

    def __init__(self, file: BinaryIO, where: dict[str, tuple[int, int]], *, raw: bool) -> None:
        self.file, self.where, self.raw = file, where, raw

    def open(self, name: str) -> BinaryIO:
        """Read one picture (positioned reads: threads do not disturb each other)."""
        import os

        start, length = self.where[name]
        data = os.pread(self.file.fileno(), length, start)
        return io.BytesIO(_as_png(data) if self.raw else data)


def _as_png(data: bytes) -> bytes:
    """Turn MosaicML's `pil` into a file: width, height and length of the mode as uint32, the mode, the pixels."""
    from PIL import Image

    try:
        width, height, length = struct.unpack_from("<3I", data)
        mode = data[12 : 12 + length].decode()
        out = io.BytesIO()
        Image.frombytes(mode, (width, height), data[12 + length :]).save(out, "PNG", compress_level=0)
    except (struct.error, ValueError, UnicodeDecodeError, MemoryError) as error:
        raise Rejected(f"no picture of the encoding pil ({in_words(error)})") from None
    return out.getvalue()


def _mds(file: BinaryIO, shard: Shard, settings: DataSettings, title: str) -> Read:
    """Open an MDS shard: number of samples, their places as uint32, then for each the lengths of columns without a width, and the columns."""
    names = [name for name, _ in shard.columns]
    picture = next((n for n, e in shard.columns if e in PICTURES[:2]), None) or next(
        (
            n
            for n, e in shard.columns
            if e in PICTURES[2:] and n.lower() in ("image", "img", "pixels", "x", "jpg", "png")
        ),
        None,
    )
    if picture is None:
        told = ", ".join(f"{n} ({e})" for n, e in shard.columns)
        raise UserError(f"{title} has no column of images (columns: {told}); they have the encoding jpeg, png or pil")
    wanted = settings.label or next((n for n in names if n.lower() in ("label", "class", "y", "cls")), None)
    if settings.label and settings.label not in names:
        raise UserError(f"label={settings.label} is no column of {title} (columns: {', '.join(names)})")
    encodings = dict(shard.columns)
    damaged = DamagedFile(f"{title} is damaged: it is no MDS shard of {shard.count} samples; write it again")
    head = file.read(4)
    if len(head) < 4 or struct.unpack("<I", head)[0] != shard.count:
        raise damaged
    places = np.frombuffer(file.read(4 * (shard.count + 1)), "<u4").astype(np.int64)
    if len(places) != shard.count + 1 or (np.diff(places) < 0).any() or places[-1] > shard.size:
        raise damaged
    where: dict[str, tuple[int, int]] = {}
    classes = []
    for row in range(shard.count):
        file.seek(int(places[row]))
        cells, start = _cells(file.read(int(places[row + 1] - places[row])), shard, damaged)
        left, right = cells[names.index(picture)]
        data = start[left:right]
        where[f"{row:07d}{ending_of(data[:12])}"] = (int(places[row]) + left, right - left)
        if wanted:
            left, right = cells[names.index(wanted)]
            classes.append(_word(start[left:right], encodings[wanted], damaged))
    raw = encodings[picture] == "pil"
    return Read(title, FilePictures(_Rows(file, where, raw=raw), list(where)), classes or [""] * shard.count)


def _cells(sample: bytes, shard: Shard, damaged: DamagedFile) -> tuple[list[tuple[int, int]], bytes]:
    """Find where each column of a sample stands in it."""
    count = sum(w is None for w in shard.widths)
    if len(sample) < 4 * count:
        raise damaged
    lengths = iter(struct.unpack_from(f"<{count}I", sample))
    cells, at = [], 4 * count
    for width in shard.widths:
        size = next(lengths) if width is None else width
        cells.append((at, at + size))
        at += size
    if at > len(sample):
        raise damaged
    return cells, sample


def _word(data: bytes, encoding: str, damaged: DamagedFile) -> str:
    """Return a class as a word: numbers by their value, texts as they are."""
    if encoding == "str":
        return data.decode("utf-8", "replace")
    if encoding not in _WHOLE:
        return ""
    kind = np.dtype("<i8" if encoding == "int" else encoding).newbyteorder("<")
    if len(data) != kind.itemsize:
        raise damaged
    return str(int(np.frombuffer(data, kind)[0]))
