"""What translation costs: training steps of pix2pix and cyclegan beside plain loops, and a picture of 12 megapixels beside the bare network.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_translation [CASE ...] [--base REV] [--rounds 7]

* `pix2pix`, `cyclegan`: the trainer's step, with its batches, schedules, guards and logs, of 4 images of 64x64 and width 32. The plain loop has the
  same networks of PyTorch's own layers, in the default memory format with default Adam, zero_grad / backward / step, as published programs
  write it: gradients of the discriminator are computed in the generator's step and thrown away. `-bf16`: the same with precision=bf16.
* `large`: cyclegan's generator (width 16, 2 blocks) over a picture of 12 megapixels, from file to file. Plain is the bare network over as many
  tiles of the same size.

    python -m benchmarks.bench_translation --memory

prints how far memory rises in a fresh process that translates that picture.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from benchmarks import frame, steps
from benchmarks.frame import Case

SIZE, WIDTH, BATCH = 64, 32, 4
LARGE = (3000, 4000)
"""Height and width of a picture of 12 megapixels."""


def by_pytorch(net: nn.Module) -> nn.Module:
    """Turn layers of ours that are PyTorch's with a short cut into PyTorch's own, in the default memory format."""
    own = (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d)
    for m in net.modules():
        while type(m) not in own and isinstance(m, own) and type(m).__name__ in [c.__name__ for c in type(m).__bases__]:
            m.__class__ = next(c for c in type(m).__bases__ if c.__name__ == type(m).__name__)
    return net


def drawing() -> Callable[[], tuple[Tensor, Tensor]]:
    """Return what draws a batch of pairs."""
    shape = (3, SIZE, SIZE)
    floats = [
        torch.from_numpy(steps.pictures(shape, seed=seed)).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
        for seed in (0, 1)
    ]
    source = np.random.default_rng(0)

    def draw() -> tuple[Tensor, Tensor]:
        chosen = source.integers(0, steps.EXAMPLES, BATCH)
        return floats[0][chosen], floats[1][chosen]

    return draw


def plain_pix2pix() -> Callable[[], object]:
    """One step of pix2pix by hand."""
    system = by_pytorch(steps.made("pix2pix", shape=(3, SIZE, SIZE), width=WIDTH, layers=2)).train()
    g, d, draw = system.G, system.D, drawing()
    of_g, of_d = (Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))

    def judged(x: Tensor, real: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(x, torch.full_like(x, real))

    def step() -> None:
        a, b = draw()
        fake = g(a)
        of_d.zero_grad()
        (0.5 * (judged(d(torch.cat([a, b], 1)), 1) + judged(d(torch.cat([a, fake.detach()], 1)), 0))).backward()
        of_d.step()
        of_g.zero_grad()
        (judged(d(torch.cat([a, fake], 1)), 1) + 100 * F.l1_loss(fake, b)).backward()
        of_g.step()

    return step


def plain_cyclegan() -> Callable[[], object]:
    """One step of cyclegan by hand."""
    system = by_pytorch(steps.made("cyclegan", shape=(3, SIZE, SIZE), width=WIDTH, blocks=4)).train()
    ab, ba, d_a, d_b, draw = system.a2b, system.b2a, system.D_a, system.D_b, drawing()
    of_g = Adam([*ab.parameters(), *ba.parameters()], lr=2e-4, betas=(0.5, 0.999))
    of_d = Adam([*d_a.parameters(), *d_b.parameters()], lr=2e-4, betas=(0.5, 0.999))

    def squared(x: Tensor, real: float) -> Tensor:
        return F.mse_loss(x, torch.full_like(x, real))

    def step() -> None:
        a, b = draw()
        fake_b, fake_a = ab(a), ba(b)
        of_g.zero_grad()
        loss = squared(d_b(fake_b), 1) + squared(d_a(fake_a), 1)
        loss = loss + 10 * (F.l1_loss(ba(fake_b), a) + F.l1_loss(ab(fake_a), b))
        (loss + 5 * (F.l1_loss(ab(b), b) + F.l1_loss(ba(a), a))).backward()
        of_g.step()
        of_d.zero_grad()
        (0.5 * (squared(d_a(a), 1) + squared(d_a(system.pool_a(fake_a)), 0))).backward()
        (0.5 * (squared(d_b(b), 1) + squared(d_b(system.pool_b(fake_b)), 0))).backward()
        of_d.step()

    return step


def training(name: str, precision: str = "fp32", **settings: int) -> Case:
    """A step of the trainer, beside one by hand."""
    shape = (3, SIZE, SIZE)
    system = steps.made(name, shape=shape, width=WIDTH, **settings)
    return Case(steps.step_of(system, shape, BATCH, precision), ("step", 1), repeat=2, plain=f"{name}-plain")


def picture(folder: Path) -> Path:
    """Write a picture of 12 megapixels."""
    rough = Image.fromarray(steps.pictures((3, LARGE[0] // 8, LARGE[1] // 8), 1)[0])
    rough.resize(LARGE[::-1], Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    return folder / "large.jpg"


def generator() -> Any:
    """Return the system that translates it."""
    return steps.made("cyclegan", shape=(3, 256, 256), width=16, blocks=2, d_width=4, layers=1).eval()


def tiles() -> tuple[int, Tensor]:
    """Return how many tiles the picture is cut into, and something of a tile's size."""
    cuts = steps.first_of("genzoo.use.common.tiles:cuts", "genzoo.use.tiles:cuts")
    rows, columns = (cuts(n, least=16, multiple=4) for n in LARGE)
    return rows.count * columns.count, torch.rand(1, 3, rows.tile, columns.tile) * 2 - 1


@torch.no_grad()
def needed(count: int, x: Tensor) -> int:
    """Floating-point operations of the bare network over all tiles."""
    return frame.count(lambda: generator().a2b(x))[0] * count


def large() -> Case:
    """Translate a picture of 12 megapixels."""
    translate_files = steps.first_of("genzoo.use.translate:translate_files")
    folder, system = steps.scratch(), generator()
    file = picture(folder)

    def work() -> Tensor:
        (result,) = translate_files(system, str(file), out=str(folder / "result.png"), overwrite=True)
        with Image.open(result) as image:
            return torch.from_numpy(np.array(image))

    return Case(work, ("picture", 1), flops=needed(*tiles()), plain="large-plain")


def bare() -> Case:
    """Send as many tiles through the bare network."""
    net, (count, x) = by_pytorch(generator()).a2b, tiles()

    @torch.no_grad()
    def work() -> None:
        for _ in range(count):
            net(x)

    return Case(work, ("picture", 1), flops=needed(count, x))


CASES: frame.Cases = {
    "pix2pix": lambda: training("pix2pix", layers=2),
    "cyclegan": lambda: training("cyclegan", blocks=4),
    "pix2pix-bf16": lambda: training("pix2pix", "bf16", layers=2),
    "cyclegan-bf16": lambda: training("cyclegan", "bf16", blocks=4),
    "large": large,
    "pix2pix-plain": lambda: Case(plain_pix2pix(), ("step", 1), repeat=2),
    "cyclegan-plain": lambda: Case(plain_cyclegan(), ("step", 1), repeat=2),
    "large-plain": bare,
}


def peak() -> int:
    """Most memory that this process ever held, in bytes, as Linux counts it (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell a process's peak of memory")


def memory(folder: Path) -> None:
    """Translate the picture and print what it took; for a process of its own."""
    from genzoo.use.translate import translate_files

    system, before = generator(), peak()
    translate_files(system, str(folder / "large.jpg"), out=str(folder / "result.png"), overwrite=True)
    print(f"12 megapixels translated: peak {peak() / 1e9:.2f} GB, of which {before / 1e9:.2f} GB before it began")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        if len(sys.argv) > 2:
            memory(Path(sys.argv[2]))
        else:
            place = steps.scratch()
            picture(place)
            subprocess.run([sys.executable, "-m", "benchmarks.bench_translation", "--memory", str(place)], check=True)
    else:
        frame.main("benchmarks.bench_translation", CASES, __doc__)
