"""Proofs of the flows family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from baselines import baselines, gaussian_of
from proofs import Proof, proof
from torch import Tensor

import genzoo
from genzoo.core.pictures import scatter, to_uint8
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.metrics.extractors import default_extractor
from genzoo.metrics.likelihood import evaluate_density
from genzoo.metrics.report import image_report


def first_images(dataset: Dataset, n: int) -> Tensor:
    """The first `n` images of a data set, in [-1, 1]."""
    return to_float(Batches(dataset, n, 0).in_order(0), "cpu")["image"]


def bits(p: Proof, run: Any, data: str, *, published: str) -> tuple[System, Dataset]:
    """Measure bits/dim on the whole test set, with the full-covariance Gaussian beside it, and how well the flow inverts."""
    system = genzoo.load(run.path)
    train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
    gaussian = evaluate_density(gaussian_of(train), test)["bits_per_dim"]
    record = evaluate_density(system, test)
    _, height, width = test.facts()["shape"]
    p.measure(
        "bits/dim", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"], split="test",
        protocol=f"8-bit {height}x{width} images without padding; {record['protocol']}", published=published, better="lower",
        baseline={"gaussian, full covariance": gaussian, "uniform": 8.0}, goal=gaussian,
    )  # fmt: skip
    x = first_images(test, 200)
    u = (((x + 1) * 127.5).round() + 0.5) / 256
    with torch.no_grad():
        error = float((system.inverse(system(u)[0]) - u).abs().max())
    protocol = "largest |inverse(forward(u)) - u| over pixels of 200 test images in [0, 1], float32"
    p.measure("inverse error", error, n=200, split="test", protocol=protocol, better="lower", goal=1e-5)
    again = genzoo.reconstruct(run, x)
    exact = float((to_uint8(again) == to_uint8(x)).all((1, 2, 3)).float().mean())
    p.measure("images given back bit for bit", exact, unit="of all", n=200, split="test", better="higher", goal=1.0)
    p.picture("samples", genzoo.sample(run, n=64, seed=0), "64 samples at temperature 1")
    p.picture("cool", genzoo.sample(run, n=64, seed=0, temperature=0.7), "The same draws at temperature 0.7")
    walks = genzoo.walk(run, rows=6, steps=10, images=x[:7])
    p.picture(
        "walk", walks.flatten(0, 1), "Walks between the latents of test images; both ends are the images themselves"
    )
    return system, test


@proof("realnvp-mnist", system="realnvp", family="flows", minutes=10)
def realnvp_mnist(p: Proof) -> None:
    """Bits per dimension of MNIST by a multi-scale flow small enough for two cores, against the published 1.06."""
    run = p.train("realnvp", "mnist", steps=4_000, batch=16, scales=3, lr=3e-3, ema=0.995, seed=0)
    system, test = bits(p, run, "mnist", published="1.06 (quoted in arXiv:1810.01367)")
    train = open_data(DataSettings("mnist"), split="train", quiet=True)
    net = default_extractor("mnist", (1, 28, 28))
    p.report(
        image_report(genzoo.sample(run, n=10_000, seed=0), test, net, train=train), baseline=baselines("mnist", 10_000)
    )
    largest, smallest = system.jacobian_condition(first_images(test, 2)).T
    protocol = "largest over smallest singular value of dz/du by autograd, u the middle of each grey level in [0, 1], mean of log10"
    p.measure(
        "condition of the Jacobian",
        float((largest / smallest).log10().mean()),
        unit="log10",
        n=2,
        split="test",
        protocol=protocol,
    )


@proof("realnvp-cifar10", system="realnvp", family="flows", minutes=10)
def realnvp_cifar10(p: Proof) -> None:
    """Bits per dimension of CIFAR-10 by a multi-scale flow small enough for two cores, against the published 3.49."""
    run = p.train("realnvp", "cifar10", steps=1_500, batch=16, width=32, ema=0.995, seed=0)
    bits(p, run, "cifar10", published="3.49 (arXiv:1605.08803)")
    p.note(
        "The paper's nets have 8 residual blocks of 64 to 128 feature maps (preset realnvp-paper); here 2 blocks of 32."
    )


def density_picture(system: System, extent: float, side: int = 192) -> np.ndarray:
    """The density on [-extent, extent]², dark where it is high, as uint8 [2·side, 2·side, 3]."""
    line = torch.linspace(-extent, extent, side)
    grid = torch.stack(torch.meshgrid(-line, line, indexing="ij")[::-1], -1).view(-1, 2)
    density = system.log_prob(grid).exp().view(side, side)
    grey = (255 * (1 - (density / density.max()).sqrt())).byte().numpy()
    return grey.repeat(2, 0).repeat(2, 1)[..., None].repeat(3, 2)


@proof("realnvp-points", system="realnvp", family="flows", minutes=3)
def realnvp_points(p: Proof) -> None:
    """Two-dimensional toys: a density that integrates to one, above a Gaussian's by far, and a map that shows its seams."""
    for data, extent in (("moons", 4.0), ("spiral", 4.0)):
        run = p.train("realnvp", data, name=data, steps=3_000, batch=256, width=64, seed=0)
        system = genzoo.load(run.path)
        train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
        x = torch.from_numpy(train.fields["points"][:])
        normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
        gaussian = -float(normal.log_prob(torch.from_numpy(test.fields["points"][:])).mean())
        record = evaluate_density(system, test)
        p.measure(
            f"NLL, {data}", record["nll"], unit="nats", se=record["se"], n=record["n"], split="test", protocol=record["protocol"],
            baseline={"gaussian": gaussian}, better="lower", goal=gaussian,
        )  # fmt: skip
        line = torch.linspace(-8, 8, 801)
        mass = float(system.log_prob(torch.cartesian_prod(line, line)).exp().sum()) * 0.02**2
        p.measure(f"mass, {data}", mass, protocol="sum of the density over an 801 x 801 grid on [-8, 8]²", baseline="1")
        some = torch.from_numpy(test.fields["points"][:200])
        largest, smallest = system.jacobian_condition(some).T
        p.measure(
            f"condition of the Jacobian, {data}", float((largest / smallest).log10().median()), unit="log10", n=200, split="test",
            protocol=f"median over points of log10 of the ratio of the extreme singular values; largest {math.log10((largest / smallest).max()):.1f}",
        )  # fmt: skip
        drawn = scatter(genzoo.sample(run, n=5000, seed=0), extent=extent)
        real = scatter(torch.from_numpy(test.fields["points"][:5000]), extent=extent)
        both = np.concatenate([real, drawn, density_picture(system, extent)], 1)
        p.picture(data, both, f"{data}: test points, samples, density (square root)")
