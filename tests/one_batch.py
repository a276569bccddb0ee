"""A tiny system trained by some of several ranks, in the precision that is asked for: what one process has to learn as well."""

import contextlib
import functools

import torch
from torch.overrides import TorchFunctionMode

from genzoo.nn.resampling import _weights
from genzoo.ranks.parts import train_step
from genzoo.ranks.shards import collected, sparing
from genzoo.testing.data import batch_for
from genzoo.training.prepare import compute_again
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater
from tests.conftest import build

BATCH, STEPS = 16, 20
SIZES = {"cyclegan": {"shape": (3, 16, 16)}}
"""Systems that are chaotic at their tiny size: there instance norm divides by the deviation of four pixels."""
SENSITIVE = (
    *("colorizer", "cyclegan", "glow", "linear-flow", "missing-data-encoder", "pix2pixhd", "projected-gan", "realnvp"),
    *("sngan", "vae-gan", "vision-aided-gan", "vqgan"),
)
"""Systems that make rounding larger than 1e-5 in so many steps, with one process as well: Adam takes a gradient that is rounding alone for one
that counts. In double precision two of them (pix2pixhd, realnvp) are within 1e-8, all others within 1e-10."""
DOUBLE = {torch.float32: torch.float64}


class Doubles(TorchFunctionMode):
    """Turns what systems do in single precision (the last layers, statistics) into double, so that nothing is rounded on the way."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        func = torch.Tensor.double if func is torch.Tensor.float else func
        args = [DOUBLE.get(a, a) if isinstance(a, torch.dtype) else a for a in args]
        kwargs = {k: DOUBLE.get(v, v) if isinstance(v, torch.dtype) else v for k, v in (kwargs or {}).items()}
        return func(*args, **kwargs)


@contextlib.contextmanager
def arithmetic(dtype):
    """Compute everything in float32, as it is, or in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    _weights.cache_clear()
    if dtype is torch.float64:  # what the backward pass makes again, no mode sees
        torch.Tensor.float = torch.Tensor.double
    try:
        with Doubles() if dtype is torch.float64 else contextlib.nullcontext():
            yield
    finally:
        torch.set_default_dtype(before)
        _weights.cache_clear()
        if "float" in vars(torch.Tensor):
            del torch.Tensor.float


def learn(
    rank,
    world,
    name,
    dtype=torch.float32,
    batch=BATCH,
    steps=STEPS,
    sgd=None,
    nudged=0,
    parts=1,
    shards=False,
    remat=False,
    **more,
):
    """Train a tiny system as one of `world` ranks and return its parameters and buffers, with the random state it ends with.

    `parts` shows each rank's rows in as many parts, but for the first step, in which some start from their data; `more` are arguments of the
    system.

    `shards` leaves each rank a piece of every parameter, however small; the first rank then returns the whole. `remat` computes maps again.
    `nudged` moves every second first weight, or others (1 to 6), by one rounding: what a system makes of that is how far rounding alone takes it.
    """
    with arithmetic(dtype):
        torch.manual_seed(0)
        system = build(name, **SIZES.get(name, {}), **more).to(dtype)
        if remat:
            compute_again(system, name)
        if sgd:
            owned = {k: [p for g in o.param_groups for p in g["params"]] for k, o in system.optimizers().items()}
            system.optimizers = lambda: {k: torch.optim.SGD(p, lr=sgd) for k, p in owned.items()}
        for p in (p for p in system.parameters() if nudged and p.requires_grad):
            nudge(p.data.view(-1) if p.is_contiguous() else p.data.flatten(), nudged)
        update = Updater(system, Runtime(torch.device("cpu"), "fp32", rank, world, shards))
        torch.manual_seed(1)
        for step in range(steps):
            update.begin(step, steps)
            whole = batch_for(system, batch, seed=step)
            whole = {k: v.to(dtype) if v.is_floating_point() else v for k, v in whole.items()}
            rows = {k: v.chunk(world)[rank] for k, v in whole.items()}
            with sparing(shards):
                train_step(system.train(), rows, update, parts if step else 1, contextlib.nullcontext)
            update.end()
        found = collected(dict([*system.named_parameters(), *system.named_buffers()]))
        found = {k: v.detach().clone() for k, v in found.items()}
        system.to(torch.float32)  # frozen networks are one for all systems of this process
        return {**found, "rng": torch.get_rng_state()}


NUDGES = {1: (0, 2), 2: (1, 2), 3: (2, 2), 4: (0, 3), 5: (1, 3), 6: (2, 3)}
"""From which weight on, and each how manieth, is moved."""


def nudge(weights, which=1):
    """Move some weights by one rounding of their size, or of 0.01 where that is larger."""
    first, every = NUDGES[which]
    weights[first::every] += torch.finfo(weights.dtype).eps * weights[first::every].abs().clamp(min=0.01)


@functools.cache
def rounding(name, dtype):
    """How far rounding alone takes one process from itself: the most of six ways to move first weights by one rounding.

    Six, since it may be one gradient that is zero but for rounding, whose sign decides where Adam goes: stackgan is 5e-7 away, or 1.6e-2.
    """
    alone = learn(0, 1, name, dtype)
    return max(apart(alone, learn(0, 1, name, dtype, nudged=way))[0] for way in NUDGES)


def is_near(difference, most, name, dtype):
    """Whether two ways to compute the same are as close as asked for, or as rounding alone lets them be: sums in another order round other bits."""
    return difference <= most or difference <= 10 * rounding(name, dtype)


def apart(one, other):
    """The tensor that differs most, and by how much."""
    worst, where = 0.0, ""
    for k, t in one.items():
        difference = (t.detach().double() - other[k].detach().double()).abs().max().item() if t.numel() else 0.0
        difference = float("inf") if difference != difference else difference
        if difference > worst:
            worst, where = difference, k
    return worst, where
