"""Batches as a pure function of the step: nothing is replayed on resume, and no sampler has state."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.binarize import bernoulli
from genzoo.data.dataset import Dataset


class Batches:
    """The stream of batches of a data set.

    The global index stream of a group is one permutation of it after another, epoch by epoch, each seeded by (seed, epoch,
    group). Step s takes positions [s * batch, (s + 1) * batch) of the stream, and rank r its share of them. Crops, flips
    and dynamic binarization are seeded by (seed, step) and drawn for the whole batch, so that ranks together see what
    one process would.

    Args:
        dataset: The data.
        batch: Examples in a step, over all ranks.
        seed: Seed of order and augmentation.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(self, dataset: Dataset, batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        assert 0 <= rank < world, f"rank {rank} of {world}"
        if batch < world:
            raise UserError(f"batch={batch} is not allowed; give at least {world} (one example for every process)")
        self.dataset, self.batch, self.seed, self.rank, self.world = dataset, batch, seed, rank, world
        self.share = slice(rank * batch // world, (rank + 1) * batch // world)
        self._orders: dict[str, dict[int, np.ndarray]] = {}
        settings = dataset.settings
        self._dynamic = settings.binarize == "dynamic"
        known = {f: kinds.of_field(f) for f in dataset.fields}
        self._changed = {f for f, kind in known.items() if kind is not None and kind.mirrored}
        self._plain = not (settings.flip or settings.crop or self._dynamic)

    def pass_length(self) -> int:
        """Count the steps until every example of the largest group has been seen once."""
        return -(-len(self.dataset) // self.batch)

    def at(self, step: int) -> dict[str, Tensor]:
        """Return the share of this process in the batch of `step`: examples as they are stored, int64 labels.

        With captions, "index" int64 is the number of the example, and "caption" int64 [b, L] one of its captions in numbers of words,
        drawn anew every time.
        """
        rng = None if self._plain else np.random.default_rng([self.seed, step, 1])
        chosen = {g: self._indices(g, n, step) for g, n in self.dataset.groups.items()}
        out = {}
        for name, values in self.dataset.fields.items():
            indices = chosen[self.dataset.group_of(name)]
            if rng is not None and name in self._changed:
                # both images of a pair see the same crop and the same mirror
                same = np.random.default_rng([self.seed, step, 1]) if self.dataset.paired else rng
                out[name] = torch.from_numpy(self._augment(values, indices, same))
            else:
                out[name] = torch.from_numpy(values[indices[self.share]])
        if self.dataset.captions:
            out["index"] = torch.from_numpy(chosen["all"][self.share])
        if self.dataset.sentences is not None:
            picked = self.dataset.sentences.pick(chosen["all"], np.random.default_rng([self.seed, step, 3]))
            out["caption"] = torch.from_numpy(picked[self.share])
        return out

    def in_order(self, step: int) -> dict[str, Tensor]:
        """Return batch `step` of one pass in stored order, middle crop, no flips, first captions; the last one may be short, empty after that.

        With several ranks each gets its share of every batch. Groups shorter than the longest end early.
        """
        start, stop = step * self.batch, (step + 1) * self.batch
        rng = np.random.default_rng([self.seed, step, 2])
        out = {}
        for name, values in self.dataset.fields.items():
            rows = np.array(values[start:stop])
            if name in self._changed:
                rows = self._centre(rows)
                rows = bernoulli(rows, rng) if self._dynamic else rows
            n = len(rows)
            out[name] = torch.from_numpy(rows[self.rank * n // self.world : (self.rank + 1) * n // self.world])
        if self.dataset.sentences is not None:
            numbers = np.arange(start, min(stop, len(self.dataset)))
            mine = numbers[self.rank * len(numbers) // self.world : (self.rank + 1) * len(numbers) // self.world]
            out["caption"] = torch.from_numpy(self.dataset.sentences.pick(mine))
        return out

    def _indices(self, group: str, n: int, step: int) -> np.ndarray:
        """Return the indices of the examples that the global batch of a step takes from a group."""
        if self.dataset.stream is not None:
            return self.dataset.stream.at(step, self.batch, self.seed, self.share)
        first, last = step * self.batch, (step + 1) * self.batch
        epochs = range(first // n, (last - 1) // n + 1)
        kept = self._orders.get(group, {})
        self._orders[group] = {e: kept[e] if e in kept else self._order(group, e, n) for e in epochs}
        parts = [self._orders[group][e][max(first - e * n, 0) : max(last - e * n, 0)] for e in epochs]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _order(self, group: str, epoch: int, n: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch, zlib.crc32(group.encode())]).permutation(n)

    def _augment(self, values: np.ndarray, indices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Crop, flip and binarize this rank's share, by what is drawn for the whole batch."""
        settings, n = self.dataset.settings, len(indices)
        rows = values[indices[self.share]]
        if settings.crop:
            c, (h, w) = settings.crop, rows.shape[2:]
            y, x = rng.integers(0, h - c + 1, n), rng.integers(0, w - c + 1, n)
            windows = np.lib.stride_tricks.sliding_window_view(rows, (c, c), axis=(2, 3))
            rows = windows[np.arange(len(rows)), :, y[self.share], x[self.share]]
        if settings.flip:
            mirrored = rng.integers(0, 2, n).astype(bool)[self.share]
            rows[mirrored] = rows[mirrored][..., ::-1]
        return np.ascontiguousarray(bernoulli(rows, rng, n, self.share) if self._dynamic else rows)

    def _centre(self, rows: np.ndarray) -> np.ndarray:
        c = self.dataset.settings.crop
        if not c:
            return rows
        y, x = (rows.shape[2] - c) // 2, (rows.shape[3] - c) // 2
        return np.ascontiguousarray(rows[:, :, y : y + c, x : x + c])


def to_float(
    batch: dict[str, Tensor], device: torch.device | str, memory_format: torch.memory_format | None = None
) -> dict[str, Tensor]:
    """Move a batch to a device; examples become float32 in the range of their kind, labels and captions stay what they are.

    Args:
        batch: As `Batches` gives it.
        device: Where to.
        memory_format: How images lie in memory.
    """
    out = {}
    for name, value in batch.items():
        kind, moved = kinds.of_field(name), value.to(device, non_blocking=True)
        if kind is not None:
            layout = memory_format if memory_format is not None and moved.ndim == 4 else torch.preserve_format
            moved = kind.to_float(moved, layout)
        out[name] = moved
    return out
