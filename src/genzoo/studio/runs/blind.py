"""Real or made? A blind test of a run's samples beside held-out images, in an order that a seed alone decides.

Nothing is kept between two calls: a seed and a number of images are the whole test, so that one goes on after the studio was started anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Samples
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.metrics.drawing import draw
from genzoo.metrics.real import as_levels, real_images
from genzoo.metrics.records import wilson
from genzoo.use.common.images import open_for
from genzoo.use.common.source import require

MOST = 200
"""Images in a test."""


@dataclass(frozen=True)
class Blind:
    """A test.

    Args:
        images: uint8 [N, C, H, W], in the order in which they are shown.
        made: Of each, whether it was made.
    """

    images: Tensor
    made: tuple[bool, ...]


def order(seed: int, n: int) -> tuple[bool, ...]:
    """Toss a fair coin for each of `n` images, by seed: true is one that was made.

    Raises:
        UserError: `n` is less than 2 or more than `MOST`.
    """
    if not 2 <= n <= MOST:
        raise UserError(f"n={n} is not allowed; give from 2 to {MOST} images")
    return tuple(bool(v) for v in np.random.default_rng([seed, n]).integers(0, 2, n))


@torch.no_grad()
def test(system: System, seed: int, n: int) -> Blind:
    """Lay out a test: samples of a system among held-out images of the data that it was trained on, all in 256 grey levels.

    Raises:
        UserError: It draws no images, its data are not there, or there are too few held-out images.
    """
    made = order(seed, n)
    require(system, Samples, verb="real or made")
    real = real_images(open_for(system, split="test"), n=n, seed=seed)
    wanted = n - sum(made)
    if len(real) < wanted:
        raise UserError(
            f"real or made: there are {len(real)} held-out images, and {wanted} are needed; give a smaller n="
        )
    shuffled = real[torch.from_numpy(np.random.default_rng([seed, n, 1]).permutation(len(real))[: max(wanted, 1)])]
    fake = draw(system, max(1, sum(made)), seed, keep=as_levels)
    if fake.shape[1:] != shuffled.shape[1:]:
        raise UserError(
            f"real or made: samples of shape {tuple(fake.shape[1:])} beside images of shape {tuple(shuffled.shape[1:])} tell themselves apart"
        )
    drawn, there = iter(fake), iter(shuffled)
    return Blind(torch.stack([next(drawn) if m else next(there) for m in made]), made)


def verdict(seed: int, n: int, answers: Sequence[bool | None]) -> dict[str, Any]:
    """Score the answers to a test.

    Args:
        seed: Of the test.
        n: Images in it.
        answers: True where it was said that the image was made; None where nothing was said, which does not count.

    Returns:
        answered, right, share, interval (Wilson's, of 95 per cent), made and real: right answers and images of each, truth: what each was,
        words: what it means.

    Raises:
        UserError: There are more answers than images, or none.
    """
    made = order(seed, n)
    if len(answers) > n:
        raise UserError(f"{len(answers)} answers to a test of {n} images")
    pairs = [(m, a) for m, a in zip(made, answers, strict=False) if a is not None]
    if not pairs:
        raise UserError("no image has been judged yet")
    right = sum(m == a for m, a in pairs)
    low, high = wilson(right / len(pairs), len(pairs))
    of = {kind: [a == m for m, a in pairs if m is what] for kind, what in (("made", True), ("real", False))}
    return {
        "answered": len(pairs), "right": right, "share": right / len(pairs), "interval": [low, high],
        **{kind: {"right": sum(said), "n": len(said)} for kind, said in of.items()},
        "truth": list(made[: len(answers)]), "words": _words(right, len(pairs), low, high),
    }  # fmt: skip


def _words(right: int, n: int, low: float, high: float) -> str:
    told = (
        f"{right} of {n} right: {100 * right / n:.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %, Wilson). "
    )
    if low > 0.5:
        return told + "That is more than guessing gives: you can tell samples from images."
    if high < 0.5:
        return told + "That is less than guessing gives: you see a difference, and take samples for the real ones."
    return told + "That is what guessing may give as well: this test does not show that you can tell them apart."
