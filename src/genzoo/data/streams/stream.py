"""A part of a streamed set as a `Dataset` has it: arrays that are read shard by shard, and the order in which they are shown."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.progress import bar
from genzoo.data.streams.order import Order
from genzoo.data.streams.store import Decoded, Store

FEW = 16
"""Up to so many images of a shard are copied one by one."""
MOST = 2**30
"""Bytes of a set that may be asked for at once."""


class Span(NamedTuple):
    """Some rows of a shard.

    Args:
        shard: Its number.
        first: The first row.
        length: How many.
    """

    shard: int
    first: int
    length: int


class Stream:
    """One part of a streamed set.

    Args:
        store: Where its shards come from.
        spans: Its shards, whole or cut off.
        window: Shards that are mixed at a time.
        name: What the set is called.
        quiet: Say nothing on stderr.
    """

    def __init__(self, store: Store, spans: list[Span], window: int, name: str, *, quiet: bool = False) -> None:
        self.store, self.spans, self.window, self.name, self.quiet = store, spans, window, name, quiet
        self._said = False
        self.counts = np.array([s.length for s in spans], np.int64)
        self.starts = np.concatenate([[0], np.cumsum(self.counts)])
        self.shift = self.starts[:-1] - np.array([s.first for s in spans], np.int64)
        self._guard = threading.Lock()
        self._orders: dict[tuple[int, int], Order] = {}
        self._announced: object = None
        store.held = max(store.held, 2 * window + 2)

    def __len__(self) -> int:
        """Count the examples."""
        return int(self.starts[-1])

    def at(self, step: int, batch: int, seed: int, share: slice) -> np.ndarray:
        """Return the examples of the batch of a step, int64 [batch], and begin to fetch what `share` of the steps after it needs.

        Args:
            step: Which step.
            batch: Examples of a step, over all processes.
            seed: Seed of the order.
            share: The places of a batch that this process takes.
        """
        with self._guard:
            if (batch, seed) not in self._orders:
                self._orders[batch, seed] = Order(self.counts, self.window, seed, batch)
            order = self._orders[batch, seed]
            found = order.at(step)
            soon: tuple[int, ...] = ()
            block = order.block_of(step * batch).first
            if self._announced != (batch, seed, share, block):
                self._announced = batch, seed, share, block
                now, after = order.shards_at(step * batch, share)
                soon = (*now, *order.shards_at(after, share)[0])
        self.store.ahead(self.spans[s].shard for s in soon)
        return found

    def read(self, chosen: np.ndarray, part: int) -> np.ndarray:
        """Gather examples from their shards.

        Args:
            chosen: Their numbers, int64 [n].
            part: 0 images, 1 labels.
        """
        which = np.searchsorted(self.starts, chosen, side="right") - 1
        rows, places = chosen - self.shift[which], which.tolist()
        wanted = dict.fromkeys(places)
        if len(wanted) == 1 and places[0] + 1 < len(self.spans):  # as a pass over all goes: one shard after the other
            self.store.ahead([self.spans[places[0] + 1].shard])
        shards = self._shards(wanted)
        like = next(iter(shards.values())) if shards else self.store.get(self.spans[0].shard)
        values = like.labels if part else like.images
        shape = (len(chosen), *values.shape[1:])
        if part == 0 and len(chosen) <= FEW * len(
            wanted
        ):  # a batch has a few of each shard: joining their bytes is quickest
            size, raw = like.size, {k: v.raw for k, v in shards.items()}
            parts = [raw[k][r * size : (r + 1) * size] for k, r in zip(places, rows.tolist(), strict=True)]
            return np.frombuffer(bytearray().join(parts), values.dtype).reshape(shape)
        found = np.empty(shape, values.dtype)
        for k, shard in shards.items():
            where = np.flatnonzero(which == k)
            found[where] = (shard.labels if part else shard.images)[rows[where]]
        return found

    def _shards(self, wanted: Iterable[int]) -> dict[int, Decoded]:
        """Return some shards; the first time those that are not here yet are waited for with a bar, as a person does."""
        numbers = {k: self.spans[k].shard for k in wanted}
        far = [n for n in numbers.values() if not self.store.is_here(n)] if not self._said else []
        with bar(len(far), f"fetching {self.name}", self.quiet or self._said, "shards") as advance:
            self._said = True
            found = {}
            for k, number in numbers.items():
                found[k] = self.store.get(number)
                advance(number in far)
        return found


class Field:
    """An array whose rows are read as they are asked for.

    Args:
        stream: Whose examples.
        part: 0 images, 1 labels.
        row: Shape of one.
        dtype: Type of the values.
    """

    def __init__(self, stream: Stream, part: int, row: tuple[int, ...], dtype: type) -> None:
        self.stream, self.part = stream, part
        self.shape, self.dtype = (len(stream), *row), np.dtype(dtype)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.each = math.prod(row) * self.dtype.itemsize

    def __len__(self) -> int:
        """Count the examples."""
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read some: an index as NumPy takes it along the first axis.

        Raises:
            UserError: It is more than fits into memory, or a shard cannot be read.
        """
        first, *rest = index if isinstance(index, tuple) else (index,)
        one = isinstance(first, (int, np.integer))
        if isinstance(first, slice):
            chosen = np.arange(*first.indices(len(self)))
        else:
            asked = np.asarray([first] if one else first)
            chosen = np.flatnonzero(asked) if asked.dtype == bool else asked.astype(np.int64)
            if len(chosen) and chosen.min() < 0:
                chosen = np.where(chosen < 0, chosen + len(self), chosen)
            if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
                raise IndexError(f"there are {len(self)} examples")
        self._check(len(chosen))
        found = self.stream.read(chosen, self.part)
        found = found[0] if one else found
        return found[tuple(rest) if one else (slice(None), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all."""
        return np.asarray(self[:], dtype=dtype)

    def _check(self, count: int) -> None:
        need = count * self.each
        if need > MOST:
            raise UserError(
                f"{self.stream.name} is streamed, and this asks for {count:,} examples at once ({need / 1e9:.1f} GB), as what is learned or "
                "measured from all of a set does; give limit=, or a copy of the set on this disk without cache_gb="
            )
