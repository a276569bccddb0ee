"""Lecture 1, maximum likelihood and KL: the best fit is the one of least KL(p || q), and on new data it can be told from the luckiest.

Raising the mean log-likelihood of data lowers KL(p || q), because E log p does not depend on q. First one Gaussian is fitted to two modes
under three divergences. Then mixtures are fitted by EM to points whose density is known, so that the KL itself can be estimated: it falls
with the number of components while there are data for them, and rises again where there are not.

    python examples/lecture_1_maximum_likelihood.py            under a minute
    python examples/lecture_1_maximum_likelihood.py --short    seconds
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
from genzoo.metrics.modes import GRID_SIGMA, grid_modes

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/1", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

print(
    "One Gaussian for two modes: the least KL(p || q), which is maximum likelihood, covers both; KL(q || p) takes one."
)
for check in genzoo.theory(out, parts=("fits",))["checks"]["fits"]:
    print(f"  {check.claim}: by formula {check.formula:.4f}, found {check.found:.4f} ({check.how})")

# The grid: 25 narrow normals, so log p(x) is known.
points = torch.from_numpy(open_data(DataSettings("grid"), split="test", quiet=True).fields["points"][:5000].copy())
squares = (points[:, None].double() - grid_modes()).square().sum(2) / GRID_SIGMA**2
log_p = torch.logsumexp(-0.5 * squares, 1) - math.log(25 * 2 * math.pi * GRID_SIGMA**2)
print(f"\nMixtures by EM on the grid; 5,000 held-out points, whose own entropy is {-log_p.mean():.3f} nats:")
drawn = {"5,000 held-out points": scatter(points, extent=6.0)}
print("  training points  components  nats, training  nats, held out  KL(p || q)")
for count in (1000, 100):
    for components in (1, 25) if given.short else (1, 5, 25, 60):
        run = genzoo.train(
            "gmm", "grid", components=components, covariance="diagonal", ridge=1e-4, limit=count, seed=0, name=f"{components}-of-{count}",
            runs=str(out / "runs"), quiet=True,
        )  # fmt: skip
        system = genzoo.load(run.path)
        seen = torch.from_numpy(
            open_data(DataSettings("grid", limit=count), split="train", quiet=True).fields["points"].copy()
        )
        on_seen, on_new = system.log_prob(seen).mean(), system.log_prob(points)
        kl = log_p - on_new
        print(
            f"  {len(seen):15,}  {components:10}  {-on_seen:14.3f}  {-on_new.mean():14.3f}  {kl.mean():.3f} ± {kl.std() / len(kl) ** 0.5:.3f}"
        )
        name = f"{components} components, {len(seen):,} points: KL {kl.mean():.2f}"
        drawn[name] = scatter(genzoo.sample(run, n=5000, seed=0), extent=6.0)
save_png(out / "mixtures.png", beside(drawn, columns=3))
print(f"wrote {out}/fits.png and {out}/mixtures.png: held-out points, and as many samples of each mixture")
