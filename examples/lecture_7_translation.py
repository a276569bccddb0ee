"""Lecture 7, translation without pairs: two generators that undo each other find who belongs to whom.

One domain holds digits, the other the coloured negatives of other digits, so no image has its partner in the data. The partner is known all
the same, and so the error can be measured. A discriminator alone only asks that a translation look like the other domain; that it stays the
same digit comes from the way back (the cycle).

    python examples/lecture_7_translation.py            about three minutes
    python examples/lecture_7_translation.py --short    seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import save_png, titled, to_uint8

parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
parser.add_argument("--out", default="lectures/7", help="folder of the pictures and runs")
given = parser.parse_args()
out = Path(given.out)
out.mkdir(parents=True, exist_ok=True)


def digits(split: str) -> Tensor:
    """Embedded digits as RGB, float32 [N, 3, 16, 16] in [-1, 1]."""
    images = open_data(DataSettings("digits", size=16), split=split, quiet=True).fields["image"]
    return torch.from_numpy(np.array(images)).float().expand(-1, 3, -1, -1) / 127.5 - 1


def dyed(x: Tensor) -> Tensor:
    """The partner: one colour where ink was, another where none was."""
    ink, paper = torch.tensor([0.9, -0.2, 0.6]).view(3, 1, 1), torch.tensor([-0.8, 0.5, 0.2]).view(3, 1, 1)
    amount = (x[:, :1] + 1) / 2
    return amount * ink + (1 - amount) * paper


train, test = digits("train"), digits("test")[:200]
half = len(train) // 2
for name, side in {"white": train[:half], "dyed": dyed(train[half:])}.items():
    np.savez(out / f"{name}.npz", images=to_uint8(side).permute(0, 2, 3, 1).numpy())

rows = {"held-out digits": test[:16], "their partners, which no training has seen as such": dyed(test[:16])}
print(f"Mean absolute difference from the known partner, images in [-1, 1], {len(test)} held-out digits:")
print(f"  input unchanged         {(test - dyed(test)).abs().mean():.3f}")
print(f"  the mean of the domain  {(dyed(test) - dyed(test).mean(0)).abs().mean():.3f}")
for name in ("cyclegan-no-cycle", "cyclegan"):
    run = genzoo.train(
        name, f"{out / 'white.npz'},{out / 'dyed.npz'}", width=12, blocks=2, layers=2, lr=4e-4, steps=4 if given.short else 900, batch=8, seed=0,
        name=name, runs=str(out / "runs"), quiet=True,
    )  # fmt: skip
    there = genzoo.translate(run, test, direction="a2b")
    back = genzoo.translate(run, there, direction="b2a")
    error, round_trip = (there - dyed(test)).abs().mean(), (back - test).abs().mean()
    print(f"  {name:22}  {error:.3f}; there and back {round_trip:.3f}")
    rows |= {
        f"{name}, there: {error:.3f} from the partners": there[:16],
        f"{name}, and back: {round_trip:.3f}": back[:16],
    }
save_png(out / "translations.png", titled(torch.cat([*rows.values()]), [*rows]))
print(f"wrote {out}/translations.png: digits, their partners, then there and back without and with the cycle")
