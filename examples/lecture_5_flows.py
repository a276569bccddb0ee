"""Lecture 5, normalizing flows: a density is carried along by an invertible map, and the determinant keeps the account.

log p(x) = log N(f(x); 0, I) + log |det df/dx|. Checked here against the singular values of the Jacobian, and by summing the density over the
plane. On two half moons a linear map can be no better than a Gaussian, a map of each axis alone knows no dependence, and couplings bend.

    python examples/lecture_5_flows.py            about a minute
    python examples/lecture_5_flows.py --short    seconds
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import beside, save_png
from genzoo.data.drawing.points import scatter

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/5", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

points = torch.from_numpy(open_data(DataSettings("moons"), split="test", quiet=True).fields["points"][:2000].copy())
line = torch.linspace(-6, 6, 241)
plane, cell = torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2
print(f"Two half moons, {len(points):,} held-out points; the lower the better:")
drawn = {"held-out points": scatter(points, extent=3.0)}
for name, steps in {"gaussian": 0, "linear-flow": 600, "elementwise-flow": 600, "realnvp": 1500}.items():
    training = {"steps": 20 if given.short else steps, "batch": 256, "ema": 0.99} if steps else {}
    own = {"width": 48} if name == "realnvp" else {}
    run = genzoo.train(name, "moons", **training, **own, seed=0, name=name, runs=str(out / "runs"), quiet=True)
    system = genzoo.load(run.path)
    log_p = system.log_prob(points)
    mass = float(system.log_prob(plane).double().exp().sum()) * cell
    print(
        f"  {name:16} {-log_p.mean():.3f} ± {log_p.std() / len(points) ** 0.5:.3f} nats; the density sums to {mass:.3f} over the plane"
    )
    drawn[f"{name}: {-log_p.mean():.2f} nats"] = scatter(genzoo.sample(system, n=2000, seed=0), extent=3.0)

z = system.encode(points[:200]).double()
stretch = (
    system.jacobian_condition(points[:200]).log().sum(1)
)  # in the plane |det| is the product of both singular values
by_hand = -0.5 * z.square().sum(1) - math.log(2 * math.pi) + stretch
print(
    f"\nrealnvp: log N(f(x)) + log|det| by hand differs from log_prob by at most {(by_hand - log_p[:200]).abs().max():.1e} nats"
)
print(f"decode(encode(x)) differs from x by at most {(genzoo.reconstruct(system, points) - points).abs().max():.1e}")
drawn["the held-out points as latents of realnvp"] = scatter(system.encode(points), extent=3.0)
save_png(out / "moons.png", beside(drawn, columns=3))
print(f"wrote {out}/moons.png: 2,000 samples of each, and where the moons go, which should look normal")
