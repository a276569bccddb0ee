"""Drawing samples: in chunks of one fixed size, so that what a seed names does not depend on how many are wanted; in rows by class or caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import Conditioned, Prompted, Samples
from genzoo.core.errors import UserError
from genzoo.core.system import System

CHUNK = 256
"""Images drawn at once. Fixed, so that a seed names the same samples on every machine with the same arithmetic."""

EACH = 8
"""Samples of one class, in a row."""
MOST_ROWS = 20
"""Classes in a picture."""

TELL: ContextVar[Callable[[int, int], None] | None] = ContextVar("TELL", default=None)
"""Who is told how many are drawn, of how many."""


def draw(
    system: System,
    n: int,
    generator: Generator,
    given: dict[str, Any] | None = None,
    *,
    keep: Callable[[Tensor], Tensor] = lambda x: x,
) -> Tensor:
    """Sample in chunks, so that memory does not grow with `n`; [n, ...] on the CPU.

    Args:
        system: A system that samples.
        n: How many.
        generator: Source of all randomness, on the system's device.
        given: Options of the system's own `sample`.
        keep: What is kept of a chunk (grey levels take a quarter of the room).
    """
    assert isinstance(system, Samples)
    drawn, tell = [], TELL.get()
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        drawn.append(keep(system.sample(size, generator=generator, **(given or {})).float().cpu()))
        if tell:
            tell(start + size, n)
    return torch.cat(drawn)


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
def rows_by_label(system: System, generator: Generator, **options: Any) -> Tensor:
    """Draw `EACH` samples of each class, class by class, of the first `MOST_ROWS` at most: [rows · EACH, ...]."""
    assert isinstance(system, Conditioned)
    rows = range(min(system.labels, MOST_ROWS))
    return torch.cat([system.sample(EACH, generator=generator, **options, label=k).float() for k in rows])


def takes_prompts(system: System) -> bool:
    """Tell whether a system was built with captions."""
    return isinstance(system, Prompted) and len(system.vocabulary) > 0


@torch.no_grad()
def rows_by_prompt(
    system: System, prompts: Sequence[str], generator: Callable[[], Generator], *, n: int = EACH, **options: Any
) -> Tensor:
    """Draw `n` samples of each prompt, every time with a generator of its own: [prompts · n, ...]. Equal generators make rows comparable."""
    assert isinstance(system, Prompted)
    drawn = [system.sample(n, generator=generator(), **options, prompt=p).float() for p in prompts]
    return torch.cat(drawn)
