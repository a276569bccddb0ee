"""Lecture 2, the GAN and the Jensen-Shannon divergence: what the best discriminator is worth, and what a generator makes of it.

For a fixed generator the best D is p / (p + q), and its value is 2 JSD(p, q) - 2 log 2. So every D gives a lower bound of the JSD, and the
two are far apart while D can be sure. The checks know neither formula; then a GAN plays on eight narrow modes of a ring.

    python examples/lecture_2_gan_and_jsd.py            about two minutes
    python examples/lecture_2_gan_and_jsd.py --short    seconds
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch.nn import functional as F

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import beside, save_png
from genzoo.data.drawing.points import scatter
from genzoo.metrics.modes import RING_SIGMA, mode_counts, ring_modes

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/2", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

parts = ("gradients",) if given.short else ("discriminator", "gradients")
for part, checks in genzoo.theory(out, parts=parts)["checks"].items():
    print(f"{part}:")
    for check in checks:
        print(f"  {'holds' if check.holds else 'FAILS'}  {check.claim}: {check.formula:.4f}, found {check.found:.4f}")

real = torch.from_numpy(open_data(DataSettings("ring"), split="test", quiet=True).fields["points"][:2500].copy())
drawn = {"held-out points": scatter(real, extent=2.0)}
print("\nA GAN on the ring; 2,500 samples; a mode is covered by a sample within 3 sigma:")
for steps in (20,) if given.short else (250, 1000, 4000):
    run = genzoo.train(
        "gan-points",
        "ring",
        steps=steps,
        batch=256,
        decay="linear",
        seed=0,
        name=f"ring-{steps}",
        runs=str(out / "runs"),
        quiet=True,
    )
    system = genzoo.load(run.path)
    fake = genzoo.sample(system, n=2500, seed=0)
    with torch.no_grad():
        on_real, on_fake = (
            system.D(system.scale(x)[0]) for x in (real, fake)
        )  # D sees points in units of their deviations
        value = F.logsigmoid(on_real).mean() + F.logsigmoid(-on_fake).mean()
    found = mode_counts(fake, ring_modes(), RING_SIGMA)
    print(
        f"  {steps:5,} steps: {found['modes']:.0f} of 8 modes, {100 * found['high_quality']:.1f} % of high quality; V(D) = {value:.3f}, "
        f"so JSD >= {max(0.0, float(value) / 2 + math.log(2)):.3f} nats (at most log 2 = {math.log(2):.3f})"
    )
    drawn[f"{steps:,} steps: {found['modes']:.0f} of 8 modes"] = scatter(fake, extent=2.0)
save_png(out / "ring.png", beside(drawn, columns=2))
print(f"wrote {', '.join(f'{part}.png' for part in parts)} and ring.png (2,500 points each) into {out}")
