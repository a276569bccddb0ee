"""Lecture 3, autoregressive models: the chain rule makes any conditional model a normalized one, and whatever is missing can be drawn.

p(x) is a product of p(x_i | all before). That it sums to one needs no partition function, which is checked here by counting all 512 images
of 3 x 3 binary pixels. Then three ways to see the past on small digits: a logistic regression, a masked dense net, masked convolutions.

    python examples/lecture_3_autoregressive.py            about two minutes
    python examples/lecture_3_autoregressive.py --short    seconds
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import save_png, titled

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/3", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)

torch.manual_seed(0)
tiny = genzoo.create("made", shape=(1, 3, 3), levels=2, width=30).eval()
every = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9))).view(-1, 1, 3, 3)
print(
    f"All {len(every)} binary 3x3 images together have probability {tiny.log_prob(every).exp().sum():.6f} under an untrained net."
)

keys = {"size": 16, "binarize": "threshold"}
train, test = (
    torch.from_numpy(open_data(DataSettings("digits", **keys), split=s, quiet=True).fields["image"].copy()).float()
    / 255
    for s in ("train", "test")
)
share = ((train.sum(0) + 1) / (len(train) + 2)).clamp(1e-3, 1 - 1e-3)
independent = -(test * share.log() + (1 - test) * (1 - share).log()).sum((1, 2, 3)).mean()
print(
    f"\nNats for a held-out digit ({len(test)} of them, 16x16, binarized at half): independent pixels {independent:.1f}"
)

masked = 2 * test[:16] - 1
known = torch.arange(16)[:, None].expand(16, 16) < 8
rows = {"held-out digits": masked, "what is known of them: the upper half": torch.where(known, masked, torch.zeros(()))}
small = {
    "fvsbn": (2000, {}),
    "made": (3000, {"width": 300, "direct": True}),
    "pixelcnn": (900, {"width": 32, "blocks": 5, "lr": 2e-3}),
}
for name, (steps, own) in small.items():
    run = genzoo.train(
        name, "digits", **keys, **own, steps=10 if given.short else steps, batch=16 if name == "pixelcnn" else 64, ema=0.99, seed=0, name=name,
        runs=str(out / "runs"), quiet=True,
    )  # fmt: skip
    score = genzoo.evaluate(run, measures="nll", n=50 if given.short else None)["measures"]["NLL"]
    print(f"  {name:9} {score['value']:6.1f} ± {score['se']:.1f} nats ({score['likelihood']}, N={score['n']})")
    rows[f"completed by {name} ({score['value']:.1f} nats)"] = genzoo.complete(run, masked, known, seed=1)
save_png(out / "completions.png", titled(torch.cat([*rows.values()]), [*rows]))
print(f"wrote {out}/completions.png: held-out digits, what is known of them, and what each model draws")
