"""Random numbers of a batch whose examples have a generator each: what one of them is does not depend on how many are drawn with it.

`randn`, `rand`, `randint` and `multinomial` are torch's with the first dimension as examples. With a plain generator, or none, they are torch's own
calls to the bit. With `Generators` every example is drawn from its own generator, so the third of three is the third of ten, whatever the batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

SEEDS = 2**63
"""Seeds that a generator takes."""


class Generators(Generator):
    """Generators of examples that are drawn together; itself one for what they have in common, which is the first one's seed's alone.

    Of one seed the generators of examples follow one another from a place that a hash of it names: no two are alike (a generator on the CPU
    takes 32 bits), and n examples of one seed share one with n of another about n times in 2 billion.

    Args:
        device: Where numbers are drawn.
        places: Seed and number of each example: (7, 2) is the third one of seed 7.
    """

    each: list[Generator]

    def __new__(cls, device: torch.device | str, places: Sequence[tuple[int, int]]) -> Generators:
        """Make the generator of what the examples have in common."""
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(self, device: torch.device | str, places: Sequence[tuple[int, int]]) -> None:
        self.manual_seed(_start(f"{places[0][0]} together"))
        starts = {seed: _start(f"{seed}") for seed, _ in places}
        self.each = [Generator(device).manual_seed((starts[seed] + i) % SEEDS) for seed, i in places]


def _start(words: str) -> int:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little") % SEEDS


def each(generator: Generator, n: int) -> list[Generator]:
    """Return a generator for each of `n` examples that are made one after the other: its own, or the same for all."""
    return generator.each if isinstance(generator, Generators) else [generator] * n


def _drawn(
    draw: Callable[..., Tensor], size: Sequence[int], generator: Generator | None, how: dict[str, Any]
) -> Tensor:
    if not isinstance(generator, Generators):
        return draw(tuple(size), generator=generator, **how)
    assert size[0] == len(generator.each), f"{size[0]} examples are drawn from the generators of {len(generator.each)}"
    return torch.stack([draw(tuple(size[1:]), generator=g, **how) for g in generator.each])


def randn(*size: int, generator: Generator | None, **how: Any) -> Tensor:
    """Draw from N(0, 1), [n, ...]; `how` as in `torch.randn`."""
    return _drawn(torch.randn, size, generator, how)


def rand(*size: int, generator: Generator | None, **how: Any) -> Tensor:
    """Draw uniformly from [0, 1), [n, ...]; `how` as in `torch.rand`."""
    return _drawn(torch.rand, size, generator, how)


def randint(high: int, *size: int, generator: Generator | None, **how: Any) -> Tensor:
    """Draw whole numbers uniformly from 0 ... high - 1, int64 [n, ...]; `how` as in `torch.randint`."""

    def draw(shape: tuple[int, ...], **more: Any) -> Tensor:
        return torch.randint(high, shape, **more)

    return _drawn(draw, size, generator, how)


def multinomial(weights: Tensor, n: int, *, generator: Generator | None) -> Tensor:
    """Draw `n` indices with the probabilities `weights` [K], int64 [n]."""

    def draw(shape: tuple[int, ...], **more: Any) -> Tensor:
        return torch.multinomial(weights, shape[0] if shape else 1, replacement=True, **more).reshape(shape)

    return _drawn(draw, (n,), generator, {})
