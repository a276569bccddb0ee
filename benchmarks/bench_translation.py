"""What translation costs: a training step of pix2pix and of cyclegan against plain loops with the same nets, and large images by tiles.

    python -m benchmarks.bench_translation [--threads 1] [--rounds 10] [--size 64] [--width 32] [--batch 4] [--megapixels 0.5 2 8] [--cpu-time]
                                           [--systems pix2pix,cyclegan]

* plain: the same networks of PyTorch's own layers, in the default memory format with default Adam, zero_grad / backward / step, as
  published programs write it: gradients of the discriminator are computed in the generator's step and thrown away.
* genzoo: the trainer's step, with its batches, schedules, guards and logs. genzoo, bf16: the same with precision=bf16.

Loops are interleaved round by round, in changing order; medians are over rounds. `--cpu-time` counts this process's CPU time and not the
clock: right on a busy machine with one thread. Tiled use runs in a process for each image size: seconds for each megapixel, and how far the
peak of memory rises above that of a small image, which was translated before; the image is made before that peak is read.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

import genzoo
from genzoo.core.system import System
from genzoo.data import DataSettings, open_data, to_float
from genzoo.models.translation import _few_pixels as few_pixels
from genzoo.models.translation._image_pool import ImagePool
from genzoo.models.translation._norms import NORMS
from genzoo.models.translation._unet import UNetGenerator
from genzoo.nn.gan.patchgan import PatchGAN
from genzoo.nn.gan.resnet_generator import ResnetGenerator
from genzoo.runs.folder import new_run
from genzoo.training.loop import Trainer
from genzoo.training.runtime import Runtime
from genzoo.training.settings import TrainSettings

Step = Callable[[], object]
Draw = Callable[[], tuple[Tensor, Tensor]]


def plain_pix2pix(draw: Draw, size: int, width: int) -> Step:
    """One step of pix2pix by hand."""
    g, d = (
        UNetGenerator(3, 3, width, size.bit_length() - 1, upsample="resize"),
        PatchGAN(6, width, 2, NORMS["instance"]),
    )
    for m in g.modules():  # the same function without genzoo's short cut for few pixels
        if isinstance(m, (few_pixels.Conv2d, few_pixels.ResizedConv2d)):
            m.__class__ = type(m).__bases__[0]
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


def plain_cyclegan(draw: Draw, size: int, width: int) -> Step:
    """One step of cyclegan by hand."""
    ab, ba = (ResnetGenerator(3, 3, width, 4, upsample="resize") for _ in range(2))
    d_a, d_b = PatchGAN(3, width, 3), PatchGAN(3, width, 3)
    pools = [ImagePool(50, (3, size, size)) for _ in range(2)]
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
        (0.5 * (squared(d_a(a), 1) + squared(d_a(pools[0](fake_a)), 0))).backward()
        (0.5 * (squared(d_b(b), 1) + squared(d_b(pools[1](fake_b)), 0))).backward()
        of_d.step()

    return step


def trainer(system: System, data: str, folder: Path, batch: int, precision: str) -> Step:
    """One step of the trainer."""
    system = system.to(memory_format=torch.channels_last)
    settings = TrainSettings(steps=10**6, batch=batch, ema=0.0, warmup=0.0, decay="none")
    made = Trainer(
        system, open_data(DataSettings(data), kind=system.data, quiet=True), Runtime(torch.device("cpu"), precision), settings,
        new_run(str(folder), None, "bench"), {}, quiet=True,
    )  # fmt: skip

    def step() -> None:
        made._one(to_float(made.batches.at(made.step), torch.device("cpu"), torch.channels_last))
        made.step += 1

    return step


def training(a: argparse.Namespace, clock: Callable[[], float]) -> None:
    """Measure and print the steps."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = np.random.default_rng(0).integers(0, 256, (2, 256, a.size, a.size, 3), dtype=np.uint8)
        for name, side in zip("ab", images, strict=True):
            np.save(folder / f"{name}.npy", side)
        data = f"{folder}/a.npy,{folder}/b.npy"
        floats = torch.from_numpy(images).permute(0, 1, 4, 2, 3).float().div(127.5).sub(1).contiguous()
        source = np.random.default_rng(0)

        def draw() -> tuple[Tensor, Tensor]:
            chosen = source.integers(0, 256, a.batch)
            return floats[0, chosen], floats[1, chosen]

        shape = (3, a.size, a.size)
        for name, plain, keys in (
            ("pix2pix", plain_pix2pix, {"layers": 2}),
            ("cyclegan", plain_cyclegan, {"blocks": 4}),
        ):
            if name not in a.systems.split(","):
                continue
            loops = {"plain": plain(draw, a.size, a.width)}
            for label, precision in (("genzoo", "fp32"), ("genzoo, bf16", "bf16")):
                loops[label] = trainer(
                    genzoo.create(name, shape=shape, width=a.width, **keys), data, folder, a.batch, precision
                )
            times: dict[str, list[float]] = {label: [] for label in loops}
            order = list(loops)
            for r in range(a.rounds + 2):
                random.Random(r).shuffle(order)
                for label in order:
                    start = clock()
                    loops[label]()
                    if r >= 2:
                        times[label].append(clock() - start)
            told = ", ".join(f"{label} {1000 * statistics.median(t):.1f} ms" for label, t in times.items())
            rates = {
                label: statistics.median(x / y for x, y in zip(times["plain"], t, strict=True))
                for label, t in times.items()
            }
            print(f"{name} {a.size}x{a.size}, width {a.width}, batch {a.batch}: {told}")
            print(
                f"  genzoo trains at {rates['genzoo']:.2f} times the rate of the plain loop, with bf16 at {rates['genzoo, bf16']:.2f} times"
            )


def large(megapixels: float) -> None:
    """Translate one image by tiles and print what it cost; for a process of its own."""
    from genzoo.use.common.tiles import tiled

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 16, 2).eval()
    small = np.zeros((520, 520, 3), np.uint8)
    tiled(net, small, least=8, multiple=4, tile=256, net=net)  # allocators and caches are warm
    side = round((megapixels * 1e6) ** 0.5)
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    result = tiled(net, image, least=8, multiple=4, tile=256, net=net)
    seconds, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    megabytes = (image.nbytes + result.nbytes) / 2**20
    print(
        f"{side * side / 1e6:6.2f} MP: {seconds / (side * side / 1e6):5.2f} CPU-seconds a megapixel; the peak of memory rose by "
        f"{peak / 1024:.1f} MiB over that of a 0.27 MP image (pixels of image and result: {megabytes:.1f} MiB)"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("threads", 1), ("rounds", 10), ("size", 64), ("width", 32), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--megapixels", type=float, nargs="*", default=[0.5, 2, 8])
    parser.add_argument("--systems", default="pix2pix,cyclegan", help="which, separated by commas")
    parser.add_argument("--large", type=float, help=argparse.SUPPRESS)
    parser.add_argument(
        "--cpu-time", action="store_true", help="CPU time of this process, for busy machines; use --threads 1"
    )
    a = parser.parse_args()
    if a.large:
        large(a.large)
        return
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    print(f"{a.threads} threads, torch {torch.__version__}, {'CPU time' if a.cpu_time else 'wall clock'}")
    training(a, time.process_time if a.cpu_time else time.perf_counter)
    if a.megapixels:
        print("cyclegan's generator, width 16, 2 blocks, tiles of 256 with 64 shared, one thread:", flush=True)
    for megapixels in a.megapixels:
        subprocess.run([sys.executable, __file__, "--large", str(megapixels)], check=True)


if __name__ == "__main__":
    main()
