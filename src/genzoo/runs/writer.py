"""Checkpoints written while the training goes on: copied into memory at once, written to the disk by a thread."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from genzoo.runs.folder import Run, prune, state_path, write_best, write_model
from genzoo.runs.history import History, best_of
from genzoo.saved import checkpoint


def keep_best(run: Run, step: int, model: Mapping[str, Tensor], told: Mapping[str, Any], measured: History) -> None:
    """Write best/ where the weights of this step measured best.

    Args:
        run: Whose.
        step: Steps done.
        model: The weights.
        told: What model/ says of them.
        measured: What has been measured so far.
    """
    best = best_of(measured)
    if best is not None and best.step == step:
        write_best(run, model, {**told, "best": {"measure": best.measure, "value": best.value, "se": best.se}})


class Copies:
    """Copies tensors into buffers that are made once: they take as much memory as the tensors, on the host, for as long as this lives.

    A copy keeps the layout of its tensor, which is what makes it quick; `settle` brings it into the one that is written.

    Args:
        given: Says of which tensors nobody else has hold: they are taken as they are.
    """

    def __init__(self, given: Callable[[Tensor], bool]) -> None:
        self.given = given
        self.buffers: dict[str, Tensor] = {}
        self.copied: Callable[[], object] = lambda: None

    def of(self, tensors: Mapping[str, Tensor], known: dict[Any, Tensor]) -> dict[str, Tensor]:
        """Copy tensors as they are now; on a GPU the copying is asked for, and `settle` waits for it.

        Args:
            tensors: By names that no other tensors copied here have.
            known: What has been copied at this time, by where it lies: nothing is copied twice.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            t = tensor.detach()
            place = (t.data_ptr(), t.device, t.dtype, t.shape, t.stride()) if t.numel() else name
            if place not in known:
                known[place] = t if self.given(tensor) else self._buffer(name, t).copy_(t, non_blocking=t.is_cuda)
            found[name] = known[place]
        if any(t.is_cuda for t in tensors.values()):
            event = torch.cuda.Event()
            event.record()
            self.copied = event.synchronize
        return found

    def _buffer(self, name: str, t: Tensor) -> Tensor:
        empty = torch.empty_like(t, device="meta")  # laid out as t is, without the holes of a part of a tensor
        buffer = self.buffers.get(name)
        if buffer is None or (buffer.shape, buffer.dtype) != (t.shape, t.dtype):
            buffer = torch.empty(t.numel(), dtype=t.dtype, pin_memory=t.is_cuda).view(t.shape)
            self.buffers[name] = buffer
        return buffer.as_strided(t.shape, empty.stride())

    def settle(self, copies: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Wait until all is copied, and return the copies with their values in the order in which they are written: in the same memory."""
        self.copied()
        settled: dict[int, Tensor] = {}
        for t in copies.values():
            if id(t) not in settled:
                flat = t.as_strided(t.shape, torch.empty(t.shape, device="meta").stride())
                settled[id(t)] = t if t.is_contiguous() else flat.copy_(t.clone())
        return {name: settled[id(t)] for name, t in copies.items()}


class Writer:
    """Writes the checkpoints of a run, one at a time, while its training goes on.

    What was written before is there, whole, until the new one is: a process that is killed at any moment loses what it has learned since.

    Args:
        run: Its folder, which the caller holds for as long as something is being written.
        given: Says of which tensors nobody else has hold, as of those gathered to be written: they are not copied.
    """

    def __init__(self, run: Run, given: Callable[[Tensor], bool] = lambda t: False) -> None:
        self.run, self.copies = run, Copies(given)
        self.thread: Thread | None = None
        self.error: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Return True while something is being written."""
        return self.thread is not None and self.thread.is_alive()

    @property
    def failed(self) -> bool:
        """Return True where the last one could not be written; `wait` says why."""
        return self.error is not None

    def save(
        self,
        step: int,
        state: Mapping[str, Tensor],
        meta: Mapping[str, Any],
        model: Mapping[str, Tensor],
        told: Mapping[str, Any],
    ) -> None:
        """Wait for the one before, copy what is to be written, and have it written.

        Args:
            step: Steps done.
            state: All that resuming needs.
            meta: What state/ says beside it; what was measured decides whether best/ is written.
            model: What is used afterwards; what it has in common with `state` is copied once.
            told: What model/ and best/ say of it.

        Raises:
            UserError, OSError ...: The one before could not be written.
        """
        self.wait()
        known: dict[Any, Tensor] = {}
        state = self.copies.of(state, known)
        model = self.copies.of({f"model/{name}": t for name, t in model.items()}, known)
        meta, told = copy.deepcopy((meta, told))

        def write() -> None:
            settled = self.copies.settle({**state, **model})
            weights = {name.removeprefix("model/"): settled[name] for name in model}
            checkpoint.write(state_path(self.run, step), {name: settled[name] for name in state}, meta)
            write_model(self.run, weights, told)
            keep_best(self.run, step, weights, told, meta.get("measured", []))  # after the state that says so
            prune(self.run)

        self._begin(write)

    def _begin(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # it is the training's to raise
                self.error = error

        self.thread = Thread(target=run, name="genzoo-writer")  # no daemon: an interpreter that ends waits for it
        self.thread.start()

    def wait(self) -> None:
        """Return when everything is on the disk.

        Raises:
            UserError, OSError ...: It could not be written.
        """
        self.close()
        if self.error:
            error, self.error = self.error, None
            raise error

    def close(self) -> None:
        """Return when nothing is being written any more."""
        if self.thread:
            self.thread.join()
            self.thread = None
