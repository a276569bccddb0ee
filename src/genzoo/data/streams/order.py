"""In which order a streamed set is shown: arithmetic of seed, epoch and place, so that going on at any step replays nothing.

An epoch takes the shards in an order of its own, so many of them (a block) at a time, and shows the examples of a block in an order of
its own. A block is cut into lanes, and every place in a batch takes from one lane: so a process that has a part of every batch reads a
part of the shards, and the batch of a step is the same for any number of processes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LANES = 8
"""Parts of a block. As many processes as divide them read shards of their own, but for those at the border of two lanes."""
_SHARDS, _EXAMPLES = 5, 6
"""What tells the generators of an order apart, and from those that `Batches` seeds."""


class Block(NamedTuple):
    """A run of places of an epoch that is filled from a few shards.

    Args:
        first: Its first place in the whole stream, over all epochs.
        shards: Numbers of its shards.
        examples: The example at each of its places: numbers in the stored order.
    """

    first: int
    shards: np.ndarray
    examples: np.ndarray


class Order:
    """The stream of examples of a set in shards: epoch after epoch, every example once in each.

    Args:
        counts: Examples of each shard.
        window: Shards of a block.
        seed: Seed of the order.
        batch: Examples of a step.
    """

    def __init__(self, counts: np.ndarray, window: int, seed: int, batch: int) -> None:
        self.counts, self.window, self.seed, self.batch = counts, window, seed, batch
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.n = int(self.starts[-1])
        self._blocks: dict[tuple[int, int], Block] = {}
        self._plans: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, step: int) -> np.ndarray:
        """Return the examples of the batch of a step, int64 [batch]: numbers in the stored order."""
        first, last = step * self.batch, (step + 1) * self.batch
        parts, block = [], self.block_of(first)
        while True:
            parts.append(block.examples[max(first - block.first, 0) : last - block.first])
            end = block.first + len(block.examples)
            if end >= last:
                break
            block = self.block_of(end)
        return np.concatenate(parts)

    def block_of(self, place: int) -> Block:
        """Return the block that holds a place of the stream."""
        epoch, inside = divmod(place, self.n)
        shards, ends = self._plan(epoch)
        number = int(np.searchsorted(ends, inside, side="right"))
        if (epoch, number) not in self._blocks:
            while len(self._blocks) > 3:  # the one that is shown, its neighbours and the next
                del self._blocks[next(iter(self._blocks))]
            first = epoch * self.n + (int(ends[number - 1]) if number else 0)
            chosen = shards[number * self.window : (number + 1) * self.window]
            self._blocks[epoch, number] = Block(first, chosen, self._mixed(first, chosen, epoch, number))
        return self._blocks[epoch, number]

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the shards in the order of an epoch, and where each block ends in it."""
        if epoch not in self._plans:
            while len(self._plans) > 2:
                del self._plans[next(iter(self._plans))]
            shards = np.random.default_rng([self.seed, epoch, _SHARDS]).permutation(len(self.counts))
            ends = np.cumsum(np.add.reduceat(self.counts[shards], np.arange(0, len(shards), self.window)))
            self._plans[epoch] = shards, ends
        return self._plans[epoch]

    def _mixed(self, first: int, shards: np.ndarray, epoch: int, number: int) -> np.ndarray:
        """Return the examples of a block in the order in which they are shown."""
        rng = np.random.default_rng([self.seed, epoch, number, _EXAMPLES])
        every = np.concatenate([np.arange(self.starts[s], self.starts[s + 1]) for s in shards])
        places = (first + np.arange(len(every))) % self.batch
        lanes = places * LANES // self.batch
        found, start = np.empty_like(every), 0
        for lane in range(LANES):
            where = np.flatnonzero(lanes == lane)
            found[where] = rng.permutation(every[start : start + len(where)])
            start += len(where)
        return found

    def shards_of(self, examples: np.ndarray) -> np.ndarray:
        """Return the numbers of the shards that hold some examples, each once."""
        return np.unique(np.searchsorted(self.starts, examples, side="right") - 1)

    def shards_at(self, place: int, share: slice) -> tuple[np.ndarray, int]:
        """Return the shards that a share of the batches needs of the block at a place, and the first place after that block."""
        block = self.block_of(place)
        slots = (block.first + np.arange(len(block.examples))) % self.batch
        mine = block.examples[(slots >= share.start) & (slots < share.stop)]
        return self.shards_of(mine), block.first + len(block.examples)
