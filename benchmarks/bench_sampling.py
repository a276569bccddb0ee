"""What drawing from autoregressive systems costs: one decision after another, each of them a pass over many small layers.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_sampling [CASE ...] [--base REV] [--rounds 7]
    OMP_NUM_THREADS=1 python -m benchmarks.bench_sampling pixelcnn made --profile

The systems are untrained, of their default sizes; their weights are made livelier, so that what is drawn depends on what was drawn before.
Seeds are the same on both sides, and so must be what is drawn. `compress` and `complete` walk the same way. The share of the limit counts what one
parallel pass over all that is drawn computes: every place once, whatever the way of drawing repeats.

Plain is naive drawing: the whole network anew for every decision. Every such pass costs the same, so one is timed and multiplied by their number (of
token-prior one of half the sequence, the mean of all); tests hold that naive drawing gives the same values.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import genzoo
from benchmarks import frame
from benchmarks.frame import Case


def lively(name: str, **settings: Any) -> Any:
    """An untrained system whose conditionals are not almost uniform."""
    torch.manual_seed(0)
    system = genzoo.create(name, **settings)
    if name == "pixelcnnpp":  # its first batch chooses gains and biases
        levels = torch.randint(0, 256, (8, *system.shape))
        system.train().loss({"image": levels / 127.5 - 1})
    with torch.no_grad():
        for p in system.parameters():
            p.mul_(1.3)
    return system.eval()


def seeded() -> torch.Generator:
    """The generator of every draw."""
    return torch.Generator().manual_seed(0)


def drawing(
    name: str,
    n: int,
    what: str = "image",
    dtype: torch.dtype = torch.float32,
    plain: str | None = None,
    **settings: Any,
) -> Case:
    """Draw `n` examples."""
    system = lively(name, **settings)
    return Case(lambda: system.sample(n, generator=seeded()), (what, n), dtype, needed(system, n), plain=plain)


def naive(name: str, n: int, what: str = "image", dtype: torch.dtype = torch.float32, **settings: Any) -> Case:
    """Draw `n` examples by a whole pass for every decision: one of these passes, and their number."""
    system, decisions = lively(name, **settings), math.prod(settings["shape"])
    x = torch.zeros(n, *settings["shape"], dtype=dtype)
    if what == "sound":
        read = system._read(x[:, 0].float())[0]
        work = functools.partial(system.net, read, dtype=dtype)
    else:
        decisions //= settings["shape"][0] if name == "pixelcnnpp" else 1  # that draws all colours of a pixel at once
        work = functools.partial(system.net, x)
    return passing(work, Case(work, (what, n), dtype, needed(system, n), parts=decisions))


def passing(work: Callable[[], Tensor], case: Case) -> Case:
    """Let a case do nothing but a pass: its outputs are not what is drawn, and are not compared."""

    @torch.no_grad()
    def only() -> None:
        work()

    return dataclasses.replace(case, work=only)


def needed(system: Any, n: int) -> int:
    """Floating-point operations of one parallel pass over `n` examples."""
    x = torch.zeros(n, *system.shape)
    given = {"label": 0} if getattr(system, "classes", 0) else {}
    return frame.count(lambda: system.log_prob(x, **given))[0]


def completing(name: str, n: int, **settings: Any) -> Case:
    """Draw the lower half of `n` images."""
    system = lively(name, **settings)
    x = system.sample(n, generator=seeded())
    known = torch.zeros(n, 1, *system.shape[1:], dtype=torch.bool)
    known[:, :, : system.shape[1] // 2] = True
    return Case(lambda: system.complete(x, known, generator=seeded()), ("image", n), flops=needed(system, n))


def coding(name: str, **settings: Any) -> Case:
    """Go through 64 images as `compress` does; what is compared are the probabilities of the symbols that stand there."""
    system = lively(name, **settings)
    symbols = torch.randint(0, system.levels, (64, *system.shape), generator=seeded()).permute(0, 2, 3, 1).flatten(1)

    def work() -> Tensor:
        found = torch.empty(symbols.shape)

        def choose(i: int, log_p: Tensor) -> Tensor:
            found[:, i] = log_p.gather(1, symbols[:, i : i + 1])[:, 0]
            return symbols[:, i]

        system.code(64, choose)
        return found

    return Case(work, ("image", 64), flops=needed(system, 64))


def prior_of(side: int = 16) -> Any:
    """A prior over codes of images."""
    shape = (3, 2 * side, 2 * side)
    torch.manual_seed(0)
    tokenizer = genzoo.create("vqvae", shape=shape, codes=512, width=8, dim=8, halvings=1)
    return genzoo.create("token-prior", shape=shape, tokenizer=tokenizer, width=128, depth=4, heads=4).eval()


def tokens(batch: int = 8) -> Case:
    """Draw the codes of images."""
    prior = prior_of()
    zero = torch.zeros(batch, prior.length, dtype=torch.long)
    draw = functools.partial(prior.complete_codes, zero, zero.bool(), zero[:, 0])
    flops = frame.count(lambda: prior.code_log_prob(zero))[0]
    return Case(lambda: draw(generator=seeded()), ("image", batch), flops=flops, plain="token-prior-plain")


def naive_tokens(batch: int = 8) -> Case:
    """Draw the codes by a pass over all before each."""
    prior = prior_of()
    zero = torch.zeros(batch, prior.length, dtype=torch.long)
    x = prior.net.embed(zero[:, : prior.length // 2]).detach()
    flops = frame.count(lambda: prior.code_log_prob(zero))[0]
    return passing(lambda: prior.net(x), Case(prior, ("image", batch), flops=flops, parts=prior.length))


DOUBLE = torch.float64

CASES: frame.Cases = {
    "pixelcnn": lambda: drawing("pixelcnn", 16, plain="pixelcnn-plain", levels=2),
    "pixelcnn-rgb": lambda: drawing("pixelcnn", 16, shape=(3, 16, 16)),
    "pixelcnn-complete": lambda: completing("pixelcnn", 16, levels=2),
    "pixelcnn-code": lambda: coding("pixelcnn", levels=2),
    "multiscale-pixelcnn": lambda: drawing("multiscale-pixelcnn", 16, levels=2),
    "gated-pixelcnn": lambda: drawing("gated-pixelcnn", 16, levels=2),
    "gated-pixelcnn-256": lambda: drawing("gated-pixelcnn", 16, classes=10),
    "row-lstm": lambda: drawing("row-lstm", 16, levels=2),
    "diagonal-bilstm": lambda: drawing("diagonal-bilstm", 16, levels=2),
    "made": lambda: drawing("made", 16, levels=2),
    "made-256": lambda: drawing("made", 16),
    "pixelcnnpp": lambda: drawing("pixelcnnpp", 16, dtype=DOUBLE, plain="pixelcnnpp-plain"),
    "pixelcnnpp-complete": lambda: completing("pixelcnnpp", 16),
    "wavenet": lambda: drawing("wavenet", 4, "sound", DOUBLE, plain="wavenet-plain", shape=(1, 2000)),
    "wavenet-mixture": lambda: drawing("wavenet-mixture", 4, "sound", DOUBLE, shape=(1, 1000)),
    "token-prior": tokens,
    "pixelcnn-plain": lambda: naive("pixelcnn", 16, levels=2, shape=(1, 28, 28)),
    "pixelcnnpp-plain": lambda: naive("pixelcnnpp", 16, dtype=DOUBLE, shape=(3, 32, 32)),
    "wavenet-plain": lambda: naive("wavenet", 4, "sound", DOUBLE, shape=(1, 2000)),
    "token-prior-plain": naive_tokens,
}

if __name__ == "__main__":
    frame.main("benchmarks.bench_sampling", CASES, __doc__)
