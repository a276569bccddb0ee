"""Proof of several answers for one input: instance features of pix2pixHD against the dropout of pix2pix, from edges to emoji."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import genzoo
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.data.drawing.images import grid
from genzoo.data.sources.derive import derived
from genzoo.metrics.maths.lpips import lpips_distances
from genzoo.metrics.maths.similarity import l1_percent
from genzoo.nn.pretrained.perceptual import FeatureNet
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error, measure_grids

VARIANTS = 8


def edges_to_emoji(work: Path, held: int = 200) -> str:
    """Edges, emoji, and maps of what is emoji and what is paper: folders A, B and instance below train and test."""
    files = sorted((Path(os.environ["GENZOO_DATA"]) / "emoji" / "google").glob("*.png"))
    order = np.random.default_rng(0).permutation(len(files))
    for place, i in enumerate(order):
        image = np.asarray(Image.open(files[i]).convert("RGB"))
        sides = {
            "A": derived(image.transpose(2, 0, 1)[None], "edges")[0, 0],
            "B": image,
            "instance": (image.min(2) < 250).astype(np.uint8),
        }
        for side, pixels in sides.items():
            folder = work / ("test" if place < held else "train") / side
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / files[i].name)
    return str(work)


@proof("pix2pixhd-variants-emoji", system="pix2pixhd", family="translation", minutes=7)
def pix2pixhd_variants_emoji(p: Proof, steps: int = 500, plain_steps: int = 300) -> None:
    """From the same edges instance features give answers that differ, one of them nearer to the truth; dropout hardly does."""
    data = edges_to_emoji(Path(p.work) / "emoji")
    common: dict[str, Any] = {
        "size": 64,
        "batch": 4,
        "width": 32,
        "layers": 2,
        "lr": 4e-4,
        "seed": 0,
        "precision": "fp32",
    }
    runs = {
        "pix2pixhd-variants": p.train(
            "pix2pixhd-variants", data, name="variants", steps=steps, halvings=2, blocks=3, enhancer_blocks=2, scales=2, d_width=24, **common
        ),
        "pix2pix": p.train("pix2pix", f"{data}/train/B", name="pix2pix", derive="edges", steps=plain_steps, **common),
    }  # fmt: skip
    test = open_data(DataSettings(data, size=64), kind="paired", split="test", quiet=True)
    batch = to_float(Batches(test, len(test), 0).in_order(0), "cpu")
    a, b = batch["a"], batch["b"]
    given = {"pix2pixhd-variants": a, "pix2pix": a[:, :1]}
    alexnet = FeatureNet("alexnet")
    spread: dict[str, Tensor] = {}
    nearest: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {"real": b}
    rows = [a[:10, :1].expand(-1, 3, -1, -1), b[:10]]
    for name, run in runs.items():
        system = genzoo.load(run.path)
        made = [
            torch.cat([system.translate(x, variant=k) for x in given[name].split(25)]).clamp(-1, 1)
            for k in range(VARIANTS + 1)
        ]
        pairs = [lpips_distances(made[i], made[j], alexnet) for i, j in combinations(range(1, 5), 2)]
        spread[name] = torch.stack(pairs).mean(0)
        first[name] = made[0]
        errors = torch.stack([l1_percent(y, b, data_range=2) for y in made])
        nearest[f"{name}, variant=0"] = errors[0]
        nearest[f"{name}, best of {VARIANTS}"] = errors[1:].amin(0)
        rows += [y[:10] for y in made[: 5 if name != "pix2pix" else 4]]
    spread["two emoji"] = lpips_distances(b, b.roll(1, 0), alexnet)
    mean, se = mean_and_error(spread["pix2pixhd-variants"])
    p.measure(
        "LPIPS between variants", mean, se=se, n=len(b), split="test", better="higher",
        goal=float(spread["pix2pix"].mean()), baseline={k: float(v.mean()) for k, v in spread.items() if k != "pix2pixhd-variants"},
        protocol="mean over the pairs of variants 1 to 4 of one input, AlexNet, 200 held-out emoji of Google at 64x64; pix2pix: its dropout; "
        "two emoji: of other inputs",
    )  # fmt: skip
    ours, zero = (nearest[f"pix2pixhd-variants, {k}"] for k in (f"best of {VARIANTS}", "variant=0"))
    p.measure(
        f"L1, best of {VARIANTS} variants", float(ours.mean()), se=mean_and_error(ours)[1], unit="%", n=len(b), split="test",
        better="lower", goal=float(zero.mean()),
        baseline={k: float(v.mean()) for k, v in nearest.items() if v is not ours},
        protocol="mean absolute difference from the real emoji, in per cent of the range, of the variant that is nearest to it",
    )  # fmt: skip
    measure_grids(p, "pix2pixhd-variants", first, f"variant 0 of {len(b)} held-out emoji, 64x64")
    p.picture(
        "variants", grid(torch.cat(rows), columns=10),
        "Edges of held-out emoji, the emoji; pix2pixhd-variants, variants 0 to 4; pix2pix, variants 0 to 3",
    )  # fmt: skip
    p.note(
        "Emoji artwork: Google (Apache-2.0 and OFL). 64x64 and minutes on one CPU thread; instances are the emoji and its paper."
    )
