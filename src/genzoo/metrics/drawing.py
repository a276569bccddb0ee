"""Drawing samples, each from a generator of its own, so that what a seed names does not depend on how many; in rows by class or caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Conditioned, Prompted, Samples
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.nn.draws import Generators
from genzoo.ranks.spread import spread

CHUNK = 256
"""Images drawn at once, where nobody says how many."""

EACH = 8
"""Samples of one class, in a row."""
MOST_ROWS = 20
"""Classes in a picture."""

TELL: ContextVar[Callable[[int, int], None] | None] = ContextVar("TELL", default=None)
"""Who is told how much is done, of how much: samples that are drawn, steps of a search."""


def _all(drawn: Tensor) -> Tensor:
    return drawn


def draw(
    system: System,
    n: int,
    seed: int | Sequence[int],
    given: dict[str, Any] | None = None,
    *,
    keep: Callable[[Tensor], Tensor] = _all,
    first: int = 0,
    chunk: int = CHUNK,
) -> Tensor:
    """Draw samples number `first` to `first + n - 1` of a seed, in chunks, so that memory does not grow with `n`; [n, ...] on the CPU.

    Every sample has a generator of its own: the third of three is the third of ten, whatever the chunks. (Networks may round their last bits
    in other ways for another number of examples; a system of which a draw depends on such a bit may then show another sample.)

    Args:
        system: A system that samples.
        n: How many.
        seed: Which; all randomness comes from it. Of several seeds, `n` of them, sample number `first` of each.
        given: Options of the system's own `sample`.
        keep: What is kept of a chunk (grey levels take a quarter of the room).
        first: Number of the first sample.
        chunk: Samples drawn at once.
    """
    parts = drawing(system, n, seed, given, keep=keep, first=first, chunk=chunk)
    part = next(parts)
    drawn = part.new_empty(n, *part.shape[1:])  # one piece of memory: what is joined at the end would be held twice
    drawn[: len(part)] = part
    at = len(part)
    for part in parts:
        drawn[at : at + len(part)] = part
        at += len(part)
    return drawn


def drawing(
    system: System,
    n: int,
    seed: int | Sequence[int],
    given: dict[str, Any] | None = None,
    *,
    keep: Callable[[Tensor], Tensor] = _all,
    first: int = 0,
    chunk: int = CHUNK,
) -> Iterator[Tensor]:
    """Draw as `draw` does, chunk by chunk, for what keeps none of them; with its arguments."""
    assert isinstance(system, Samples)
    assert n > 0, "samples are drawn, or nobody asks for any"
    tell, done = TELL.get(), 0
    parts = []
    for start in range(0, n, chunk):
        size = min(chunk, n - start)
        chosen = seed if isinstance(seed, int) else seed[start : start + size]
        parts.append((chosen, size, first + start if isinstance(seed, int) else first, given or {}, keep))
    for part in spread(_chunk, system, "system", system.origin, parts):
        done += len(part)
        if tell:
            tell(done, n)
        yield part


@torch.no_grad()
def _chunk(
    system: Samples,
    seed: int | Sequence[int],
    n: int,
    first: int,
    given: dict[str, Any],
    keep: Callable[[Tensor], Tensor],
) -> Tensor:
    assert isinstance(system, System)
    generator = generators_for(system, seed, n, first)
    return keep(system.sample(n, generator=generator, **given).float().cpu())


def generators_for(system: System, seed: int | Sequence[int], n: int, first: int = 0) -> Generators:
    """Make the generators of examples `first` to `first + n - 1` of a seed, or of example `first` of each of `n` seeds, on the system's device."""
    places = [(seed, first + i) for i in range(n)] if isinstance(seed, int) else [(s, first) for s in seed]
    return Generators(system.device, places)


def finite(x: Tensor) -> Tensor:
    """Return samples [n, ...] unchanged, after a look for what is no number.

    Raises:
        UserError: Says how many samples hold NaN or infinite values.
    """
    bad = int((~torch.isfinite(x)).flatten(1).any(1).sum())
    if bad:
        raise UserError(f"{bad} of {len(x)} samples hold NaN or infinite values; a measure of them would mean nothing")
    return x


def takes_labels(system: System) -> bool:
    """Tell whether a system was built with classes to choose from."""
    return isinstance(system, Conditioned) and system.labels > 0


@torch.no_grad()
def rows_by_label(system: System, seed: int, *, n: int = EACH, **options: Any) -> Tensor:
    """Draw `n` samples of each class, class by class, of the first `MOST_ROWS` at most: [rows · n, ...] on the CPU."""
    assert isinstance(system, Conditioned)
    rows = range(min(system.labels, MOST_ROWS))
    of = [generators_for(system, seed, n, first=k * n) for k in rows]
    return torch.cat([system.sample(n, generator=of[k], **options, label=k).float().cpu() for k in rows])


def takes_prompts(system: System) -> bool:
    """Tell whether a system was built with captions."""
    return isinstance(system, Prompted) and len(system.vocabulary) > 0


@torch.no_grad()
def rows_by_prompt(system: System, prompts: Sequence[str], seed: int, *, n: int = EACH, **options: Any) -> Tensor:
    """Draw `n` samples of each prompt, with the same noise in every row, so that they can be compared: [prompts · n, ...] on the CPU."""
    assert isinstance(system, Prompted)
    drawn = [system.sample(n, generator=generators_for(system, seed, n), **options, prompt=p) for p in prompts]
    return torch.cat([x.float().cpu() for x in drawn])
