"""Processes that torchrun has started: how they meet, agree, fail together and say so once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch._C._distributed_c10d import PrefixStore

from genzoo.core.errors import TrainingStopped, UserError

Found = TypeVar("Found")


def launched() -> int:
    """Return how many processes were started together, 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", 1))


_PATIENCE = [30.0]


def patience() -> float:
    """Return how many minutes a process waits for another that does not answer."""
    return _PATIENCE[0]


def meet(backend: str, minutes: float) -> None:
    """Join the other processes, where that has not been done.

    The launcher's store outlives a restart of the processes, with the addresses of those that are gone, which torch 2.13 reads as ever: so each
    attempt has a part of it of its own.

    Args:
        backend: nccl or gloo.
        minutes: How long one waits for another that does not answer.
    """
    _PATIENCE[0] = minutes
    if dist.is_initialized():
        return
    timeout = timedelta(minutes=minutes)
    from genzoo.ranks.attempts import attempt, kept_store  # one process alone needs none of it

    if (store := kept_store()) is None:
        dist.init_process_group(backend, timeout=timeout)
        return
    rank, world = int(os.environ["RANK"]), launched()
    own = PrefixStore(f"attempt/{attempt(store, rank, world, timeout)}", store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=timeout)


def cannot_share(batch: int, processes: int) -> str:
    """Say that a batch cannot be shared by so many processes, and by which numbers of them it can.

    >>> cannot_share(8, 3)
    'batch=8 cannot be shared by 3 processes; give a multiple of 3, or go on with 1, 2, 4 or 8 processes'
    """
    *most, last = [n for n in range(1, batch + 1) if batch % n == 0][:6]
    good = f"{', '.join(map(str, most))} or {last} processes" if most else "one process"
    return (
        f"batch={batch} cannot be shared by {processes} processes; give a multiple of {processes}, or go on with {good}"
    )


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_initialized():
        dist.barrier()


def same_weights(module: nn.Module) -> None:
    """Copy the parameters and buffers of the first rank to all others."""
    for t in [*module.parameters(), *module.buffers()] if dist.is_initialized() else ():
        dist.broadcast(t.data, 0)


def agree(value: str) -> str:
    """Send a text from the first rank to all others, and return it on each."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box, 0)
    return box[0]


def largest(value: int) -> int:
    """Find the largest of all ranks' values: how a signal on one rank stops them all."""
    if not dist.is_initialized():
        return value
    t = torch.tensor([value])
    dist.all_reduce(t, op=dist.ReduceOp.MAX)
    return int(t)


def leave(code: int = 0) -> None:
    """End a process that was one of several ranks: part from the others, then exit at once.

    Without the hard exit, threads of gloo abort one interpreter in a few while it shuts down (seen with torch 2.13), and a finished
    training would look like a failed one.
    """
    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):  # one that has gone when all was done
            if code == 0:
                dist.barrier()
            dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def together(work: Callable[[], Found]) -> Found:
    """Do something on every rank that may fail on one of them, and let it fail on all: nobody waits for one who has left.

    Raises:
        UserError: What the first of them says, on all of them.
    """
    if not dist.is_initialized():
        return work()
    found: Any = None
    said: Exception | None = None
    try:
        found = work()
    except (UserError, OSError) as error:
        said = error
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, None if said is None else (type(said), str(said)))
    failed = [(r, *e) for r, e in enumerate(every) if e is not None]
    if failed:
        rank, kind, text = failed[0]
        if len(failed) < len(every):
            text = f"process {rank} of {len(every)}: {text}"
        raise (kind if issubclass(kind, UserError) else UserError)(text) from said
    result: Found = found
    return result


def same_everywhere(facts: Mapping[str, str]) -> None:
    """Refuse processes that were not told the same.

    Args:
        facts: What has to be the same on all of them, by what it is called: versions, digests, settings.

    Raises:
        UserError: Something is not; it names what, and both values.
    """
    if not dist.is_initialized():
        return
    every: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(every, dict(facts))
    for rank, theirs in enumerate(every):
        for what, value in every[0].items():
            if theirs.get(what) != value:
                raise UserError(
                    f"the processes do not train the same: {what} is {theirs.get(what)} on process {rank} and {value} on process 0; "
                    "start all of them with one version of genzoo and torch, the same settings and the same data"
                )


@contextlib.contextmanager
def lost_is_said(run: Path | None = None) -> Iterator[None]:
    """Put into words that another process has gone, or has not answered in time.

    Args:
        run: The folder of the training; None where there is nothing yet to go on with.

    Raises:
        TrainingStopped: Instead of the error of torch's connection.
    """
    try:
        yield
    except RuntimeError as error:
        said, several = str(error).lower(), launched() > 1 or dist.is_initialized()
        lost = several and (isinstance(error, dist.DistError) or "gloo" in said or "nccl" in said)
        if isinstance(error, TrainingStopped) or not lost:
            raise
        late = "timed out" in said or "timeout" in said
        what = f"has not answered for {patience():g} minutes (patience=)" if late else "has gone"
        again = (
            f"'genzoo resume {quote(str(run))}' goes on from the last checkpoint" if run else "start all of them again"
        )
        raise TrainingStopped(f"another process {what}, and process {_rank()} stops; {again}") from error


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", 0))
