"""Proofs of text to image: gan-cls with and without wrong sentences, with two encoders; stackgan's two stages."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import genzoo
from genzoo.data import Dataset, DataSettings, open_data
from genzoo.data.drawing.images import grid, titled
from genzoo.metrics.retrieval import Matcher, draw_asked, retrieval, train_matcher
from proofs.proof import Proof, proof

EMOJI = {"captions": "emoji/captions.csv"}
STEPS = {"gan-cls": 2400, "stackgan": 2600, "matcher": 800}
EACH = 5
"""Samples of a caption."""
SHOWN = (
    "france flag",
    "red heart",
    "cat face",
    "clock face four oclock",
    "smiling face with sunglasses",
    "green apple",
    "police car",
)


def emoji(folder: str, split: str, size: int) -> Dataset:
    """One vendor's emoji with captions."""
    return open_data(DataSettings(f"emoji/{folder}", size=size, **EMOJI), kind="captioned", split=split, quiet=True)


def pixels(dataset: Dataset) -> Tensor:
    """Its images, uint8 [N, C, H, W]."""
    return torch.from_numpy(np.array(dataset.fields["image"]))


@functools.cache
def judge(size: int) -> Matcher:
    """A matcher of other pictures of the same things: all of Twitter's emoji and the training part of Google's."""
    parts = [emoji("twitter", "train", size), emoji("twitter", "test", size), emoji("google", "train", size)]
    texts = [t for d in parts for t in d.texts]
    return train_matcher(torch.cat([pixels(d) for d in parts]), texts, steps=STEPS["matcher"])


def finds(p: Proof, run: Any, name: str, size: int, published: str | None = None) -> dict[str, float]:
    """Measure how often the matcher finds the caption of a sample among 100, for captions of the training part and for new ones."""
    system, net, found = genzoo.load(run.path), judge(size), {}
    for split, words in (("train", "captions of the training part"), ("test", "captions that were held out")):
        data = emoji("google", split, size)
        captions = list(dict.fromkeys(data.captions))[:200]
        images, asked = draw_asked(system, captions, EACH, torch.Generator().manual_seed(0))
        got = retrieval(net, images, asked, data.captions)
        real = retrieval(net, pixels(data)[:200], data.captions[:200], data.captions)
        p.measure(
            f"right caption first of 100, {split} captions, {name}", 100 * got["value"], unit="%", n=got["n"], se=100 * got["se"], split=split,
            better="higher", published=published, baseline={"chance": 1.0, "real images": 100 * real["value"]},
            protocol=f"{EACH} samples of each of {len(set(asked))} {words} against 99 others of that part, by a matcher (three convolutions, GRU, "
            f"{STEPS['matcher']} steps) trained on Twitter's emoji and the training part of Google's; it has not seen the held-out ones of Google; "
            f"median rank {got['median_rank']:.0f}; standard error over samples",
        )  # fmt: skip
        found[split] = got["value"]
    return found


def shown(p: Proof, run: Any, name: str, caption: str) -> None:
    """Keep a picture with a row of samples under each of some prompts."""
    known = [s for s in SHOWN if not genzoo.load(run.path).unread(s)]
    p.picture(name, titled(genzoo.sample(run, prompt=known, n=8, seed=0), known), caption)


CLS: dict[str, Any] = {
    **EMOJI, "size": 32, "width": 32, "batch": 32, "steps": STEPS["gan-cls"], "seed": 0, "precision": "bf16",
}  # fmt: skip


@proof("gan-cls-emoji", system="gan-cls", family="conditional", minutes=8)
def gan_cls_emoji(p: Proof) -> None:
    """Emoji from their names with a bag of words; without wrong sentences, what is asked for is drawn less often."""
    found = {}
    for name in ("gan-cls", "gan-no-cls"):
        run = p.train(name, "emoji/google", name=name, **CLS)
        found[name] = finds(p, run, name, 32)
        shown(
            p,
            run,
            f"prompts-{name}",
            f"{name}: samples of seven prompts, the same noise in every column, seed 0, not chosen",
        )
        if name == "gan-cls":
            said = ["red heart", "green apple"], ["france flag", "japan flag"]
            walks = torch.cat(
                [genzoo.walk(run, prompts=list(pair), rows=2, steps=9, seed=0).flatten(0, 1) for pair in said]
            )
            p.picture(
                "walk",
                grid(walks, columns=9),
                "From a red heart to a green apple, and from France's flag to Japan's; one noise for each row",
            )
    p.note(
        f"With wrong sentences {100 * found['gan-cls']['train']:.1f} %, without {100 * found['gan-no-cls']['train']:.1f} % of samples have "
        "their training caption found first."
    )


@proof("gan-cls-minilm-emoji", system="gan-int-cls", family="conditional", minutes=6)
def gan_cls_minilm_emoji(p: Proof) -> None:
    """A frozen sentence encoder and sentences between sentences: names that were never seen are drawn right more often."""
    run = p.train("gan-int-cls", "emoji/google", encoder="minilm", **CLS)
    finds(p, run, "gan-int-cls with MiniLM", 32)
    shown(
        p,
        run,
        "prompts",
        "gan-int-cls with MiniLM: samples of prompts, the same noise in every column, seed 0, not chosen",
    )
    new = ["a blue flag", "a sad cat", "an orange fruit", "a man with a hat", "a yellow star"]
    p.picture(
        "new",
        titled(genzoo.sample(run, prompt=new, n=8, seed=0), new),
        "Prompts that no caption has, seed 0, not chosen",
    )


def detail(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of images in [-1, 1] [N, C, H, W], an image's each."""
    return (x.diff(dim=2).abs().flatten(1).mean(1) + x.diff(dim=3).abs().flatten(1).mean(1)) / 2


@proof("stackgan-emoji", system="stackgan", family="conditional", minutes=8)
def stackgan_emoji(p: Proof) -> None:
    """Stage II doubles 32 pixels to 64: detail is added, and the layout of Stage I is kept."""
    run = p.train(
        "stackgan", "emoji/google", **EMOJI, size=64, width=32, refine_width=16, blocks=1, batch=32, steps=STEPS["stackgan"], first=0.7, seed=0,
        precision="bf16",
    )  # fmt: skip
    system = genzoo.load(run.path)
    z = torch.cat(
        [
            system.sample_prior(EACH, generator=torch.Generator().manual_seed(i), prompt=c)
            for i, c in enumerate(_captions())
        ]
    )
    sketch, large = system.stages(z)
    smooth = F.interpolate(sketch, scale_factor=2, mode="bilinear", align_corners=False)
    real = pixels(emoji("google", "test", 64)).float() / 127.5 - 1
    p.measure(
        "detail of Stage II over the enlarged sketch", float(detail(large).mean() / detail(smooth).mean()), unit="times", n=len(large),
        better="higher", protocol="mean absolute difference of neighbouring pixels at 64x64, over that of Stage I's images enlarged bilinearly",
        baseline={"real images over themselves halved and enlarged": _real_detail(real)},
    )  # fmt: skip
    halved = F.avg_pool2d(large, 2)
    strangers = _agreement(halved, sketch.roll(EACH, 0))
    p.measure(
        "layout kept, correlation at 32x32", _agreement(halved, sketch), n=len(large), better="higher",
        protocol="mean over samples of the correlation of pixels between Stage II's image averaged down and its own sketch",
        baseline={"with the sketch of another caption": strangers},
    )  # fmt: skip
    finds(p, run, "stackgan", 64)
    rows = torch.stack([F.interpolate(sketch, scale_factor=2), large], 1)[::EACH][:32].flatten(0, 1)
    p.picture(
        "stages",
        grid(rows, columns=16, scale=1),
        "In pairs: Stage I's sketch enlarged, Stage II's image of it; captions of the training part, not chosen",
    )
    shown(p, run, "prompts", "stackgan: samples of prompts, the same noise in every column, seed 0, not chosen")


def _captions() -> list[str]:
    """Forty captions of the training part."""
    return list(dict.fromkeys(emoji("google", "train", 64).captions))[:40]


def _real_detail(real: Tensor) -> float:
    again = F.interpolate(F.avg_pool2d(real, 2), scale_factor=2, mode="bilinear", align_corners=False)
    return float(detail(real).mean() / detail(again).mean())


def _agreement(a: Tensor, b: Tensor) -> float:
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return float(F.cosine_similarity(a, b).mean())
