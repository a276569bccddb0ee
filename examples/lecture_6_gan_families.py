"""Lecture 6, families of GANs: one pair of nets, one budget, and what changes when only the objective does.

The presets differ in what the players minimize and in how the discriminator is kept from being too sure. Quality (precision) and variety
(recall) are told apart, because a generator that makes one good image scores well on the first alone. One seed and a small budget: the order
may be another with yours; `genzoo study` is for the question which is better.

    python examples/lecture_6_gan_families.py            about two minutes
    python examples/lecture_6_gan_families.py --short    seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import genzoo
from genzoo.data.drawing.images import save_png, titled

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/6", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

families = ("ns-gan", "wgan-gp") if given.short else ("mm-gan", "ns-gan", "lsgan", "wgan-gp", "dragan", "hinge-gan")
rows, protocol = {}, ""
print("Garments, 28x28; FLD (lower), precision and recall (higher):")
for name in families:
    run = genzoo.train(
        name, "garments", width=16, latent=32, lr=1e-3, beta1=0.5, steps=6 if given.short else 700, batch=32, ema=0.98,
        **({"critic_steps": 1} if name == "wgan-gp" else {}), seed=0, name=name, runs=str(out / "runs"), quiet=True,
    )  # fmt: skip
    found = genzoo.evaluate(run, measures="frechet,prdc", n=100 if given.short else 1000, seed=0)["measures"]
    floor, protocol = found["FLD"]["floor"], found["FLD"]["protocol"]
    print(
        f"  {name:10} {found['FLD']['value']:8.1f}   {found['precision']['value']:.3f}   {found['recall']['value']:.3f}"
    )
    told = f"{name}: FLD {found['FLD']['value']:.0f}, precision {found['precision']['value']:.2f}, recall {found['recall']['value']:.2f}"
    rows[told] = genzoo.sample(run, n=16, seed=0)
print(f"  FLD of real images in the samples' place: {floor:.1f}\n  FLD: {protocol}")
save_png(out / "samples.png", titled(torch.cat([*rows.values()]), [*rows]))
print(f"wrote {out}/samples.png: sixteen of each, not chosen")
