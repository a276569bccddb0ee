"""Proof of DiscoGAN on domains where a copy cannot win: outlines of emoji and emoji in colour."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid
from genzoo.data.sources.derive import derived
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error, measure_grids


def outlines(work: Path, held: int = 200) -> str:
    """Outlines of one half of Google's emoji and the other half in colour; of those that are held out, both: trainA, trainB, testA and testB."""
    files = sorted((Path(os.environ["GENZOO_DATA"]) / "emoji" / "google").glob("*.png"))
    order = np.random.default_rng(0).permutation(len(files))
    half = held + (len(files) - held) // 2
    for place, i in enumerate(order):
        image = Image.open(files[i]).convert("RGB")
        lines = derived(np.asarray(image).transpose(2, 0, 1)[None], "edges")[0, 0]
        sides = {"A": Image.fromarray(lines).convert("RGB"), "B": image}
        for side in "AB" if place < held else "A" if place < half else "B":
            folder = work / f"{'test' if place < held else 'train'}{side}"
            folder.mkdir(parents=True, exist_ok=True)
            sides[side].save(folder / files[i].name)
    return str(work)


def likeness(made: Tensor, truth: Tensor) -> Tensor:
    """Return the correlation of each image with its partner over pixels and colours, [N]; 0 where one of them is flat."""
    x, y = (v.flatten(1).double() - v.flatten(1).double().mean(1, keepdim=True) for v in (made, truth))
    return (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1)).clamp_min(1e-12)


@proof("discogan-outlines", system="discogan", family="translation", minutes=6)
def discogan_outlines(p: Proof, steps: int = 800) -> None:
    """Outlines and coloured emoji find each other without one pair to learn from; without the round trips they do not."""
    data = outlines(Path(p.work) / "outlines")
    keys: dict[str, Any] = {
        "size": 32, "width": 32, "depth": 3, "batch": 32, "steps": steps, "lr": 5e-4, "seed": 0, "precision": "bf16",
    }  # fmt: skip
    pair = open_data(DataSettings(f"{data}/testA,{data}/testB", size=32, holdout=0), kind="paired", quiet=True)
    a, b = (torch.from_numpy(np.array(pair.fields[s])).float() / 127.5 - 1 for s in "ab")
    truth = {"a2b": (a, b), "b2a": (b, a)}
    out: dict[str, dict[str, Tensor]] = {way: {} for way in truth}
    rows = [a[:12], b[:12]]
    for name in ("discogan-no-cycle", "discogan-one-way", "discogan"):
        run = p.train(name, data, name=name, **keys)
        for way, (x, _) in truth.items():
            out[way][name] = genzoo.translate(run, x, direction=way)
            rows.append(out[way][name][:12])
    for way, (x, y) in truth.items():
        plain = {"input unchanged": x, "mean image": y.mean(0).expand_as(y), "another partner": y.roll(1, 0)}
        found = {name: mean_and_error(likeness(made, y)) for name, made in {**out[way], **plain}.items()}
        mean, se = found.pop("discogan")
        p.measure(
            f"likeness {way}", mean, se=se, n=len(y), split="test", better="higher", goal=max(v for v, _ in found.values()),
            protocol="correlation over pixels and colours of the translation of a held-out emoji and its partner, which a flat page and a copy "
            "have little of; mean and error over emoji. a: outlines, b: emoji in colour; trained on halves without a common emoji, 32x32",
            baseline={name: v for name, (v, _) in found.items()},
        )  # fmt: skip
        measure_grids(
            p, "discogan", {**out[way], "real": y}, f"translations {way} of {len(y)} held-out emoji, 32x32", prefix=f"{way}, ",
        )  # fmt: skip
    p.picture(
        "translations", grid(torch.cat(rows), columns=12),
        "Outlines of held-out emoji, and the emoji; then a2b and b2a of discogan-no-cycle, of discogan-one-way, of discogan",
    )  # fmt: skip
    p.note("Emoji artwork: Google (Apache-2.0 and OFL). 32x32, width 32, depth 3, minutes on one CPU thread.")
