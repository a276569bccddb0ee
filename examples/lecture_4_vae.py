"""Lecture 4, the variational autoencoder: a bound of the likelihood that can be trained, how loose it is, and what the code holds.

log p(x) >= E_q log p(x|z) - KL(q || p). The gap is KL(q(z|x) || p(z|x)): with more draws of z the importance-weighted bound closes it, from
below. With two latents the whole space fits on one picture; with more of them the bound is higher and the samples are sharper.

    python examples/lecture_4_vae.py            about two minutes
    python examples/lecture_4_vae.py --short    seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import beside, grid, save_png, titled

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/4", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

keys = {"size": 16, "binarize": "threshold"}
test = (
    torch.from_numpy(open_data(DataSettings("digits", **keys), split="test", quiet=True).fields["image"].copy()).float()
    / 127.5
    - 1
)
test = test[: 40 if given.short else 360]
print(
    f"Bounds of log p(x) in nats, {len(test)} held-out digits, 16x16, binarized at half; more draws of z, tighter bound:"
)
samples, rows = {"held-out digits": grid(test[:64])}, {"held-out digits": test[:16]}
for latent in (2, 16):
    run = genzoo.train(
        "vae", "digits", **keys, latent=latent, hidden=200, steps=20 if given.short else 3000, batch=64, ema=0.99, seed=0,
        name=f"latent-{latent}", runs=str(out / "runs"), quiet=True,
    )  # fmt: skip
    system = genzoo.load(run.path)
    elbo = system.elbo(test, generator=torch.Generator().manual_seed(0)).mean()
    bounds = {
        k: system.log_prob(test, samples=k, generator=torch.Generator().manual_seed(0)).mean()
        for k in (1, 10, 100, 1000)
    }
    tighter = ", ".join(f"{k:,}: {float(v):.2f}" for k, v in bounds.items())
    print(f"  {latent:2} latents: ELBO {elbo:.2f}; importance-weighted with so many draws: {tighter}")
    samples[f"samples, {latent} latents"] = grid(genzoo.sample(system, n=64, seed=0))
    rows[f"their reconstructions from {latent} numbers each"] = genzoo.reconstruct(system, test[:16])
    if latent == 2:
        save_png(out / "manifold.png", system.manifold(rows=15))
save_png(out / "samples.png", beside(samples))
save_png(out / "reconstructions.png", titled(torch.cat([*rows.values()]), [*rows]))
print(
    f"wrote manifold.png (means over the two latents, at equal steps of probability), samples.png and reconstructions.png into {out}"
)
