"""Batches prepared ahead of the step that needs them."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch.distributed as dist
from torch import Tensor

from genzoo.core.errors import DiskFull, UserError

AHEAD = 3
SAVED = "What was learned is saved, and 'genzoo resume' goes on exactly there"


class Feed:
    """Iterates over `make(step)` for step = start, start + 1, ...; every batch depends on its step alone, so order is exact.

    Args:
        make: Builds the batch of a step.
        start: First step.
        stop: One past the last step; None for no end.
        lost: Called where a batch cannot be read (a shard is gone, a server does not answer), before that is said: it saves what was learned.
        threads: Threads that build ahead; 0 builds in place.
    """

    def __init__(
        self,
        make: Callable[[int], dict[str, Tensor]],
        start: int,
        stop: int | None,
        lost: Callable[[], object] | None = None,
        *,
        threads: int = 1,
    ) -> None:
        self.make, self.next, self.stop, self.lost = make, start, stop, lost
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="genzoo-feed") if threads else None
        self.pending: queue.SimpleQueue[Future[dict[str, Tensor]]] = queue.SimpleQueue()

    def _ask(self) -> None:
        if self.pool and (self.stop is None or self.next < self.stop):
            self.pending.put(self.pool.submit(self.make, self.next))
            self.next += 1

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if not self.pool:
            while self.stop is None or self.next < self.stop:
                self.next += 1
                yield self._got(lambda: self.make(self.next - 1))
            return
        for _ in range(AHEAD):
            self._ask()
        while not self.pending.empty():
            batch = self._got(self.pending.get().result)
            self._ask()
            yield batch

    def _got(self, read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        try:
            return read()
        except UserError as error:
            if self.lost is None:
                raise
            several = dist.is_initialized() and dist.get_world_size() > 1  # they save together, or not at all
            if not several:
                self.lost()
            if isinstance(error, DiskFull):
                raise  # the trainer says of it how to go on
            again = "'genzoo resume' goes on from the last checkpoint" if several else SAVED
            raise type(error)(f"{error}. {again}") from None

    def close(self) -> None:
        """Stop building."""
        if self.pool:
            self.pool.shutdown(wait=True, cancel_futures=True)
