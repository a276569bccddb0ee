"""Proofs of the autoencoding family."""

from __future__ import annotations

import math

import torch
from baselines import baselines, independent_pixels
from proofs import Proof, proof
from torch import Tensor

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.metrics.extractors import default_extractor
from genzoo.metrics.likelihood import evaluate_density
from genzoo.metrics.report import image_report


def importance_weighted(system: System, dataset: Dataset, samples: int, n: int, seed: int = 0) -> Tensor:
    """Log p of the first `n` examples of a data set by `samples` draws each, [n], float64; binarised once, by the seed."""
    batches, generator = Batches(dataset, 500, seed), torch.Generator(system.device).manual_seed(seed)
    found = []
    for step in range(n // 500):
        x = to_float(batches.in_order(step), system.device)["image"]
        found.append(system.log_prob(x, generator=generator, samples=samples).double())
        done = torch.cat(found)
        print(f"{len(done)} images, k={samples}: {-done.mean():.3f} nats", flush=True)
    scores = torch.cat(found)
    assert len(scores) == n
    return scores


def gradient_energy(x: Tensor) -> float:
    """Mean squared difference of neighbouring pixels: what blur takes away."""
    return float((x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean()) / 2)


def side_by_side(*rows: Tensor, columns: int) -> Tensor:
    """Images interleaved for a grid: row one of each set, then row two of each."""
    return torch.cat([part for parts in zip(*(r.split(columns) for r in rows), strict=True) for part in parts])


@proof("vae-mnist", system="vae", family="autoencoding", minutes=30)
def vae_mnist(p: Proof) -> None:
    """Binarised MNIST by the importance-weighted bound with 5000 draws, against the published 86.76 nats of one stochastic layer."""
    keys = {"binarize": "dynamic", "batch": 100, "seed": 0}
    run = p.train("vae", "mnist", steps=130_000, lr=3e-3, **keys)
    system = genzoo.load(run.path)
    settings = DataSettings("mnist", binarize="dynamic")
    train, test = (open_data(settings, split=s, quiet=True) for s in ("train", "test"))
    scores = importance_weighted(system, test, 5000, len(test))
    batches = Batches(test, 500, 0)
    images = [to_float(batches.in_order(s), "cpu")["image"] for s in range(batches.pass_length())]
    elbo = torch.cat([system.elbo(x, generator=torch.Generator().manual_seed(0)) for x in images]).double()
    protocol = (
        "stochastically binarised MNIST, new draw of the training images at every step, test images binarised once with seed 0; "
        "averaged weights; mean and standard error over images"
    )
    bernoulli = {"independent pixels": independent_pixels(train, test)}
    p.measure(
        "NLL, k=5000", -float(scores.mean()), unit="nats", se=float(scores.std()) / math.sqrt(len(scores)), n=len(scores), split="test",
        protocol=f"importance-weighted bound, k=5000 draws of z per image, all 10,000 test images; {protocol}", baseline=bernoulli,
        published="86.76 (arXiv:1509.00519, one layer, k=1, 3280 epochs; k=5000, 10,000 images)", better="lower", goal=87.0,
    )  # fmt: skip
    p.measure(
        "negative ELBO", -float(elbo.mean()), unit="nats", se=float(elbo.std()) / math.sqrt(len(elbo)), n=len(elbo), split="test",
        protocol=f"one draw of z per image, KL in closed form; {protocol}", better="lower", baseline=bernoulli,
    )  # fmt: skip
    grey = [open_data(DataSettings("mnist"), split=s, quiet=True) for s in ("train", "test")]
    net = default_extractor("mnist", (1, 28, 28))
    record = image_report(genzoo.sample(run, n=10_000, seed=0), grey[1], net, train=grey[0])
    p.report(record, baseline=baselines("mnist", 10_000))
    p.picture("samples", genzoo.sample(run, n=100, seed=0), "Means of p(x|z) for 100 draws of z")
    p.picture(
        "pixels",
        genzoo.sample(run, n=100, seed=0, mean=False),
        "The same z with every pixel drawn: the model's own images",
    )
    x = images[0][:40]
    caption = "Binarised test digits (odd rows) and their reconstructions (even rows): grey edges are the doubt of the decoder"
    p.picture("reconstructions", side_by_side(x, genzoo.reconstruct(run, x), columns=10), caption)
    p.picture("walk", genzoo.walk(run, rows=6, steps=10, seed=0).flatten(0, 1), "Walks between draws of z")
    plane = p.train("vae-2d", "mnist", name="plane", steps=8_000, lr=2e-3, **keys)
    caption = "Two latents on a grid of equal prior mass"
    p.picture(
        "manifold", genzoo.core.pictures.grid(genzoo.load(plane.path).manifold(20), columns=20, gap=0, scale=1), caption
    )
    p.note(
        "The paper trains 2x200 tanh units for 3280 epochs with batches of 20 (preset vae-burda); here 183 epochs of 2x400 ELU units."
    )


@proof("vae-cifar10", system="conv-vae", family="autoencoding", minutes=6)
def vae_cifar10(p: Proof) -> None:
    """A convolutional VAE on CIFAR-10: a likelihood in bits, and the blur of a pixelwise decoder, measured."""
    run = p.train("conv-vae", "cifar10", steps=3_000, batch=64, lr=1e-3, latent=128, seed=0)
    system = genzoo.load(run.path)
    test = open_data(DataSettings("cifar10"), split="test", quiet=True)
    record = evaluate_density(system, test, n=2000)
    p.measure(
        "bits/dim", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"], split="test",
        protocol=record["protocol"], baseline={"uniform": 8.0}, better="lower",
    )  # fmt: skip
    x = torch.cat([to_float(Batches(test, 500, 0).in_order(s), "cpu")["image"] for s in range(4)])
    again, drawn = genzoo.reconstruct(run, x), genzoo.sample(run, n=2000, seed=0)
    real = gradient_energy(x)
    for name, images in (("reconstructions", again), ("samples", drawn)):
        p.measure(
            f"sharpness of {name}", gradient_energy(images) / real, unit="of real", n=len(images), split="test",
            protocol="mean squared difference of neighbouring pixels, over that of the real images", baseline={"real": 1.0},
        )  # fmt: skip
    p.picture(
        "reconstructions",
        side_by_side(x[:40], again[:40], columns=10),
        "Test images (odd rows), reconstructions (even rows)",
    )
    p.picture("samples", drawn[:64], "Means of p(x|z) for draws of z")
    p.note("Every pixel is its own logistic given z, so the best mean where z does not say more is an average: blur.")
