"""Proofs of the style-based GANs: what they reach, what styles mix, how even w is, and what ADA does with few images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.ppl import path_length
from proofs.adversarial import score
from proofs.gans import logged
from proofs.proof import Proof, proof

SMALL: dict[str, Any] = {
    "width": 16, "most": 64, "latent": 64, "depth": 2, "mapping_rate": 0.1, "centred": True, "noise": False, "mixing": 0.5, "r1": 5.0,
    "r1_every": 4, "batch": 32, "lr": 7e-3, "decay": "linear", "ema_images": 10_000, "seed": 0, "precision": "bf16",
}  # fmt: skip
"""Nets and rates for 28 x 28 pixels and minutes on one core; the papers' are for days on eight GPUs."""
EPSILON = 1e-3
"""Step of the path length, of the path's 1, as `genzoo evaluate` has it."""


def evenness(p: Proof, run: Any, net: str, n: int = 2000) -> None:
    """Path length of the same generator in w, which is what it is made for, and in z."""
    system, features = genzoo.load(run.path), extractor(net)

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        x, y = (features.features((v + 1) * 127.5).double() for v in (a, b))
        return (x - y).square().sum(1)

    in_w = path_length(
        system.decode, lambda k, g: system.sample_prior(k, generator=g), distance, n=n, path="lerp", epsilon=EPSILON
    )
    in_z = path_length(
        lambda z: system.decode(system.F(z, None)),
        lambda k, g: system._draw(k, g),
        distance, n=n, path="slerp", epsilon=EPSILON,
    )  # fmt: skip
    p.measure(
        "PPL in w", in_w["value"], se=in_w["se"], n=n, better="lower", baseline={"in z": in_z["value"]},
        protocol=f"mean of d / ε² over {n:,} steps of ε = {EPSILON} between draws, d the squared distance of {net} features (not LPIPS), noise "
        "fixed, values outside the 1 and 99 per cent quantiles left out; straight lines in w, great circles in z",
    )  # fmt: skip


def mixing(p: Proof, run: Any) -> None:
    """The table of figure 3, for the coarse and for the fine layers."""
    system = genzoo.load(run.path)
    half = system.layers // 2
    for name, first, last in (("coarse", 0, half), ("fine", half, None)):
        table = system.mix(5, 8, generator=torch.Generator().manual_seed(0), first=first, last=last, truncation=0.8)
        p.picture(
            f"mixing-{name}",
            grid(table, columns=9),
            f"Styles of layers {first} to {(last or system.layers) - 1} of {system.layers} from the image at the left, the others from the "
            "image at the top; truncation 0.8",
        )


def shown(p: Proof, run: Any) -> None:
    """Samples with and without truncation, and walks in w."""
    p.picture("samples", genzoo.sample(run, n=100, seed=0), "Samples, seed 0, not chosen")
    p.picture("truncated", genzoo.sample(run, n=50, seed=0, truncation=0.5), "The same seed with truncation 0.5")
    p.picture(
        "walk",
        grid(genzoo.walk(run, rows=6, steps=10, seed=0).flatten(0, 1), columns=10),
        "Straight walks between draws of w, row by row",
    )


@proof("stylegan2-mnist", system="stylegan2", family="adversarial", minutes=14)
def stylegan2_mnist(p: Proof) -> None:
    """How far StyleGAN2 gets on MNIST in minutes on one core: FLD beside simple densities, styles mixed, path lengths in w and in z."""
    run = p.train("stylegan2", "mnist", steps=4_500, path=0.1, **SMALL)
    score(p, run, "mnist")
    evenness(p, run, "lenet-mnist-v1")
    shown(p, run)
    mixing(p, run)


@proof("stylegan-fashion-mnist", system="stylegan", family="adversarial", minutes=11)
def stylegan_fashion(p: Proof) -> None:
    """How far StyleGAN gets on clothes in minutes on one core: FLD beside simple densities, styles mixed, path lengths in w and in z."""
    run = p.train("stylegan", "fashion-mnist", steps=3_600, grow=0.3, **SMALL)
    score(p, run, "fashion-mnist")
    evenness(p, run, "lenet-fashion-v1")
    shown(p, run)
    mixing(p, run)


FEW = 500
"""Training images of the ADA proof."""


@proof("stylegan2-ada-mnist", system="stylegan2-ada", family="adversarial", minutes=9)
def stylegan2_ada(p: Proof) -> None:
    """From 500 images: with and without adaptive augmentation, the same nets, steps and seed."""
    train = open_data(DataSettings("mnist"), kind="labelled", split="train", quiet=True)
    few = np.array(train.fields["image"][:FEW]).transpose(0, 2, 3, 1)
    file = p.work / "few.npz"
    Path(p.work).mkdir(parents=True, exist_ok=True)
    np.savez(file, images=few)
    curves = {}
    for name in ("stylegan2", "stylegan2-ada"):
        own = {"ada_images": 20_000} if name == "stylegan2-ada" else {}
        run = p.train(name, str(file), name=name, holdout=0.0, steps=1_200, path=0.0, **SMALL, **own)
        score(p, run, "mnist", name=f"FLD from {FEW} images, {name}")
        p.picture(name, genzoo.sample(run, n=60, seed=0), f"{name} from {FEW} images: samples, seed 0, not chosen")
        scores = zip(logged(run, "step"), logged(run, "d_real"), logged(run, "d_fake"), strict=False)
        curves[name] = [(step, a - b) for step, a, b in scores]
        if own:
            chances, r = logged(run, "ada_p"), logged(run, "ada_r")
            tenth = max(1, len(r) // 10)
            p.measure(
                "probability of each change at the end", chances[-1], protocol="ADA's p; target mean sign of D on training images 0.6",
                baseline={"mean sign of D, last tenth": sum(r[-tenth:]) / tenth, "largest p": max(chances)},
            )  # fmt: skip
    p.chart(
        "gap",
        curves,
        "How far D's mean scores of training images and of samples are apart, over the run",
        x="steps",
        y="mean score of training images less that of samples",
    )
