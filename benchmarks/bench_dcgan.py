"""What a training step of dcgan costs: against a plain hand-written loop of the same nets, and against the bare maths.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_dcgan [CASE ...] [--base REV] [--rounds 7]

* dcgan: the trainer's step, with its batches, schedules, guards and logs (without averaged weights, which the others lack). Its plain: nn.Sequential
  nets in the default memory format, BCE with logits, default Adam, zero_grad / backward / step: what a tutorial writes. All gradients of the
  discriminator are computed in the generator's step and thrown away.
* dcgan-bare: the system's own `training_step` in channels-last with fused Adam and `backward(inputs=...)`, and nothing else: the limit of what a
  trainer can reach with these operations.
* dcgan-ema: with averaged weights.
* dcgan-bf16: with precision=bf16, which pays on processors with bf16 arithmetic (avx512_bf16, amx).

Of 64 images of 32x32, width 64, of the paper (batch norm in both nets, no penalty on gradients).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import frame, steps
from benchmarks.frame import Case
from genzoo.models.adversarial.dcgan import DCGAN
from genzoo.nn.gan.dcgan import stages

Step = Callable[[], object]
SIZE, WIDTH, BATCH = 32, 64, 64


def plain_nets(size: int, width: int) -> tuple[nn.Module, nn.Module]:
    """The two networks as a tutorial writes them, for square RGB images of 8, 16, 32 or 64 pixels."""
    k = stages(size, size)
    channels = [width * min(2**i, 8) for i in reversed(range(k))]
    g: list[nn.Module] = [nn.ConvTranspose2d(100, channels[0], 4, 1, 0, bias=False)]
    for a, b in zip(channels, [*channels[1:], None], strict=True):
        g += [nn.BatchNorm2d(a), nn.ReLU(True), nn.ConvTranspose2d(a, b or 3, 4, 2, 1, bias=b is None)]
    channels.reverse()
    d: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for a, b in itertools.pairwise(channels):
        d += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*g, nn.Tanh()), nn.Sequential(*d, nn.Conv2d(channels[-1], 1, 4), nn.Flatten(0))


def plain_loop(batches: Callable[[], Tensor], size: int, width: int, batch: int) -> Step:
    """One step of the hand-written loop."""
    g, d = plain_nets(size, width)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion, one, zero = nn.BCEWithLogitsLoss(), torch.ones(batch), torch.zeros(batch)

    def step() -> None:
        real = batches()
        fake = g(torch.randn(batch, 100, 1, 1))
        optimizer_d.zero_grad()
        d_loss = criterion(d(real), one) + criterion(d(fake.detach()), zero)
        d_loss.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        g_loss = criterion(d(fake), one)
        g_loss.backward()
        optimizer_g.step()

    return step


class Bare:
    """An `Update` that does nothing but backward and step."""

    def __init__(self, system: DCGAN) -> None:
        self.optimizers, self.step, self.steps, self.progress = system.optimizers(), 0, 1, 0.0
        self.owned = {k: [p for g in o.param_groups for p in g["params"]] for k, o in self.optimizers.items()}
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["fused"] = True

    def __call__(self, name: str, loss: Tensor) -> None:
        """Backward onto what the optimizer owns, and its step."""
        for p in self.owned[name]:
            p.grad = None
        loss.backward(inputs=self.owned[name])
        self.optimizers[name].step()


def bare_loop(batches: Callable[[], Tensor], size: int, width: int) -> Step:
    """One step of the system's maths alone."""
    system = DCGAN((3, size, size), width=width, d_norm="batch", penalty="none").to(memory_format=torch.channels_last)
    update = Bare(system)

    def step() -> None:
        system.training_step({"image": batches()}, update)

    return step


def batches(layout: torch.memory_format) -> Callable[[], Tensor]:
    """Return what draws a batch of images in [-1, 1]."""
    stored = torch.from_numpy(steps.pictures((3, SIZE, SIZE))).permute(0, 3, 1, 2)
    source = np.random.default_rng(0)

    def draw() -> Tensor:
        chosen = stored[source.integers(0, len(stored), BATCH)]
        return chosen.float().div_(127.5).sub_(1).contiguous(memory_format=layout)

    return draw


def training(precision: str = "fp32", ema: float = 0.0) -> Case:
    """A step of the trainer."""
    shape = (3, SIZE, SIZE)
    step = steps.step_of(
        steps.made("dcgan", shape=shape, width=WIDTH, d_norm="batch", penalty="none"), shape, BATCH, precision, ema
    )
    return Case(step, ("step", 1), repeat=2, plain="dcgan-plain")


CASES: frame.Cases = {
    "dcgan": training,
    "dcgan-bare": lambda: Case(
        bare_loop(batches(torch.channels_last), SIZE, WIDTH), ("step", 1), repeat=2, plain="dcgan-plain"
    ),
    "dcgan-ema": lambda: training(ema=0.999),
    "dcgan-bf16": lambda: training("bf16"),
    "dcgan-plain": lambda: Case(
        plain_loop(batches(torch.contiguous_format), SIZE, WIDTH, BATCH), ("step", 1), repeat=2
    ),
}

if __name__ == "__main__":
    frame.main("benchmarks.bench_dcgan", CASES, __doc__)
