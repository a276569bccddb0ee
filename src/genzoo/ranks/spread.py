"""One process leads a command, and the others compute parts of it: samples, features.

The first process goes through the command as if it were alone, decides everything and writes everything. What can be computed part by part it
computes with `spread`, and the others, which wait for it, take their share. A part is the same one whoever computes it, so what comes of all is
that of one process, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch.distributed as dist

from genzoo.core.errors import UserError
from genzoo.ranks.launch import leave, lost_is_said, meet

Openers = Mapping[str, Callable[[str], Any]]
Part = tuple[Any, ...]
DAY = 24 * 60.0
"""Minutes that the others wait for the first process, which may be busy with what is not spread."""

_LEADING = [False]


@lost_is_said()
def lead(command: Callable[[], None], openers: Openers) -> None:
    """Run a command on the first process; the others compute what it gives them, until it is done.

    Args:
        command: What to do.
        openers: How the others come by what parts are computed with, by kind: a system by its path, a network by its name.
    """
    meet("gloo", DAY)
    if dist.get_rank():
        _serve(openers)
        return
    _LEADING[0], done = True, False
    try:
        command()
        done = True
    finally:
        _LEADING[0] = False
        dist.broadcast_object_list([done], 0)


def spread(function: Callable[..., Any], shared: Any, kind: str, name: str, parts: Iterable[Part]) -> Iterator[Any]:
    """Return `function(shared, *part)` of every part, in their order.

    Args:
        function: A function of a module.
        shared: What every part is computed with.
        kind: What that is, as the others open it.
        name: Under which name; without one the others cannot, and all is computed here.
        parts: What can be sent.
    """
    if not _LEADING[0] or not name:
        for part in parts:
            yield function(shared, *part)
        return
    left, world = iter(parts), dist.get_world_size()
    while given := list(islice(left, world)):
        dist.broadcast_object_list([(function, kind, name, given)], 0)
        yield from _gathered(_outcome(function, shared, given[0]))[: len(given)]


def _serve(openers: Openers) -> None:
    opened: dict[tuple[str, str], Any] = {}
    while True:
        box: list[Any] = [None]
        dist.broadcast_object_list(box, 0)
        if isinstance(box[0], bool):
            if not box[0]:
                leave(2)
            return
        function, kind, name, given = box[0]
        mine = given[dist.get_rank()] if dist.get_rank() < len(given) else None
        if mine is not None and (kind, name) not in opened:
            try:
                opened[kind, name] = openers[kind](name)
            except (UserError, OSError) as error:
                _gathered(error)
                continue
        _gathered(None if mine is None else _outcome(function, opened[kind, name], mine))


def _outcome(function: Callable[..., Any], shared: Any, part: Part) -> Any:
    """Return what comes of a part, or the error, which is the first process's to raise."""
    try:
        return function(shared, *part)
    except Exception as error:
        return error


def _gathered(mine: Any) -> list[Any]:
    """Give the first process what all have found; of errors it raises the first."""
    every: list[Any] | None = None if dist.get_rank() else [None] * dist.get_world_size()
    dist.gather_object(mine, every)
    for found in every or ():
        if isinstance(found, Exception):
            raise found
    return every or []
