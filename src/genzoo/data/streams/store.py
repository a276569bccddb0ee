"""The cache of a streamed set: shards that are decoded, as few of them as `cache_gb` says, fetched ahead of the steps that need them."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genzoo.core.errors import DamagedFile, UserError, disk_full_is_said
from genzoo.core.files import replacing, sweep
from genzoo.data.binarize import bernoulli
from genzoo.data.cache import Rows
from genzoo.data.decode.forms import ImageFormat
from genzoo.data.decode.images import quiet_decoding
from genzoo.data.locks import locked
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings
from genzoo.data.streams.places import Place
from genzoo.data.streams.reading import Shard, fetched, opened_shard

THREADS = 2
"""Shards that are fetched at once."""
_CHUNK = 256
IMAGES, LABELS = "image.npy", "label.npy"


class Decoded(NamedTuple):
    """A shard on this disk.

    Args:
        images: uint8 [n, C, H, W], memory-mapped.
        labels: int64 [n]; -1 has no class.
        raw: The bytes of the images, one after the other.
        size: Bytes of one image.
    """

    images: np.ndarray
    labels: np.ndarray
    raw: memoryview
    size: int


class Store:
    """Decoded shards on this disk. Processes of one machine share it: a shard is fetched once for all of them.

    Args:
        place: Where the shards are.
        shards: All of the set.
        classes: Names of the classes, by number.
        form: What images are brought to.
        settings: How they were asked for.
        folder: Where decoded shards of all sets are kept, each in a folder of its set's key.
        key: That of this set in this form.
        room: Bytes of `folder` at most.
    """

    def __init__(
        self,
        place: Place,
        shards: tuple[Shard, ...],
        classes: tuple[str, ...],
        form: ImageFormat,
        settings: DataSettings,
        folder: Path,
        key: str,
        room: int,
    ) -> None:
        self.place, self.shards, self.form, self.settings = place, shards, form, settings
        self.numbers = {name: i for i, name in enumerate(classes)}
        self.folder, self.home, self.room = folder, folder / key, room
        self.decoders = ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 8)), thread_name_prefix="genzoo-decode")
        self.fetchers = ThreadPoolExecutor(THREADS, thread_name_prefix="genzoo-shard")
        self._guard = threading.Lock()
        self._coming: dict[int, Future[Decoded]] = {}
        self._open: dict[int, Decoded] = {}
        self.held = 4

    def bytes_of(self, number: int) -> int:
        """Return what a shard takes when it is decoded, and while that is done."""
        raw = 0 if self.place.protocol == "file" else self.shards[number].size
        return self.shards[number].count * (self.form.channels * self.form.height * self.form.width + 8) + raw

    def is_here(self, number: int) -> bool:
        """Tell whether a shard need not be fetched."""
        return number in self._open or (self.home / f"{number:06d}").is_dir()

    def ahead(self, numbers: Iterable[int]) -> None:
        """Begin to fetch shards that are needed soon; what goes wrong is said where one is needed."""
        for number in numbers:
            self._ask(number)

    def get(self, number: int) -> Decoded:
        """Return a shard, fetched if it is not here.

        Raises:
            UserError: It cannot be fetched, or is damaged.
        """
        if (known := self._open.get(number)) is not None:
            return known
        future = self._ask(number)
        try:
            found = future.result()
        finally:
            with self._guard:
                if self._coming.get(number) is future:
                    del self._coming[number]
        with self._guard:
            self._open[number] = found
            while len(self._open) > self.held:
                del self._open[next(iter(self._open))]
        return found

    def _ask(self, number: int) -> Future[Decoded]:
        with self._guard:
            if number in self._open:
                done: Future[Decoded] = Future()
                done.set_result(self._open[number])
                return done
            if number not in self._coming:
                self._coming[number] = self.fetchers.submit(self._load, number)
            return self._coming[number]

    def _load(self, number: int) -> Decoded:
        entry = self.home / f"{number:06d}"
        found = self._read(entry, number)
        if found is None:
            self.home.mkdir(parents=True, exist_ok=True)
            with locked(self.home / f"{number:06d}.lock", quiet=True):  # of several processes one fetches it
                found = self._read(entry, number)
                if found is None:
                    self._make(entry, number)
                    found = self._read(entry, number)
        if found is None:
            raise UserError(
                f"{entry} has been removed while it was needed: another run shares this cache; raise cache_gb"
            )
        return found

    def _read(self, entry: Path, number: int) -> Decoded | None:
        """Open a decoded shard, and note that it was used; None where there is none, or none that is whole."""
        try:
            images = np.load(entry / IMAGES, mmap_mode="r", allow_pickle=False)
            labels = np.load(entry / LABELS, allow_pickle=False)
            os.utime(entry)
        except (OSError, ValueError, EOFError):
            return None
        wanted = (self.shards[number].count, self.form.channels, self.form.height, self.form.width)
        if images.shape != wanted or labels.shape != wanted[:1] or images.dtype != np.uint8:
            return None
        whole = np.asarray(images)
        return Decoded(whole, labels, memoryview(whole.reshape(-1).data), whole[0].nbytes)

    def _make(self, entry: Path, number: int) -> None:
        """Fetch and decode a shard, whole or not at all."""
        shard, size = self.shards[number], self.bytes_of(number)
        title = self.place.shown(shard.name)
        self._make_room(size)
        sweep(self.home, entry.name)  # what a process that was killed has left
        if entry.exists():  # not whole: it is made anew
            shutil.rmtree(entry, ignore_errors=True)
        with (
            fetched(self.place, shard, self.home, entry.name) as path,
            opened_shard(path, shard, self.settings, title) as read,
            disk_full_is_said(entry, size),
            replacing(entry) as draft,
            quiet_decoding(),
        ):
            draft.mkdir()
            rng = np.random.default_rng([ORDER_SEED, 1, number])
            rows = Rows(draft / IMAGES, (self.form.channels, self.form.height, self.form.width), np.uint8)
            try:
                for start in range(0, len(read.names), _CHUNK):
                    for image in read.decoded(
                        range(start, min(start + _CHUNK, len(read.names))), self.form, self.decoders
                    ):
                        rows.append(self._binary(image, rng))
                rows.close()
            finally:
                rows.abandon()
            labels = [self.numbers.get(c, self._numbered(c)) for c in read.classes]
            if self.numbers and min(labels) < 0:
                odd = read.classes[labels.index(-1)]
                raise DamagedFile(
                    f"{title} is damaged, or not of this set: it has an image of the class '{odd}', which the index does not name"
                )
            np.save(draft / LABELS, np.asarray(labels, np.int64))

    def _numbered(self, word: str) -> int:
        """Return the number of a class that a shard names by its number alone, as MDS does; -1 where it is none."""
        return int(word) if word.isascii() and word.isdigit() and int(word) < len(self.numbers) else -1

    def _binary(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.settings.binarize == "threshold":
            return np.where(image > 127, 255, 0).astype(np.uint8)
        return bernoulli(image, rng) if self.settings.binarize == "static" else image

    def _make_room(self, size: int) -> None:
        """Remove the shards that were used longest ago until there is room; those that are mapped stay readable where they are."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / ".room", quiet=True):
            entries = []
            for home in self.folder.iterdir():
                with contextlib.suppress(OSError):  # another process removes what it has finished with
                    entries += [(e.stat().st_mtime, _bytes(e), e) for e in home.iterdir() if e.name.isdigit()]
            used = sum(count for _, count, _ in entries)
            for _, count, entry in sorted(entries):
                if used + size <= self.room:
                    break
                shutil.rmtree(entry, ignore_errors=True)
                used -= count

    def close(self) -> None:
        """Stop fetching."""
        self.fetchers.shutdown(wait=False, cancel_futures=True)
        self.decoders.shutdown(wait=False, cancel_futures=True)


def _bytes(entry: Path) -> int:
    """Return the bytes of a decoded shard; 0 where another process removes it."""
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in entry.iterdir())
    return 0
