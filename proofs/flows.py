"""Proofs of the flows family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.drawing.images import grid, to_uint8
from genzoo.data.drawing.points import scatter
from genzoo.metrics.features.networks import default_extractor
from genzoo.metrics.frechet import image_report
from genzoo.metrics.nll import evaluate_density
from proofs.baselines import baselines, gaussian_of
from proofs.directions import directions
from proofs.proof import Proof, proof


def first_images(dataset: Dataset, n: int) -> Tensor:
    """The first `n` images of a data set, in [-1, 1]."""
    return to_float(Batches(dataset, n, 0).in_order(0), "cpu")["image"]


def bits(
    p: Proof, run: Any, data: str, *, published: str, walk_path: str = "spherical", goal: float = math.inf
) -> tuple[System, Dataset]:
    """Measure bits/dim on the whole test set, with the full-covariance Gaussian beside it, and how well the flow inverts.

    The goal is the Gaussian's bits/dim, or `goal` where that is lower.
    """
    system = genzoo.load(run.path)
    train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
    gaussian = evaluate_density(gaussian_of(train), test)["bits_per_dim"]
    record = evaluate_density(system, test)
    _, height, width = test.facts()["shape"]
    p.measure(
        "bits/dim", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"], split="test",
        protocol=f"8-bit {height}x{width} images without padding; {record['protocol']}", published=published, better="lower",
        baseline={"gaussian, full covariance": gaussian, "uniform": 8.0}, goal=min(goal, gaussian),
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
    walks = genzoo.walk(run, rows=6, steps=10, images=x[:7], path=walk_path)
    p.picture(
        "walk",
        grid(walks.flatten(0, 1), columns=10),
        "Walks between the latents of test images; both ends are the images themselves",
    )
    return system, test


SHORT = {"blocks": 1, "batch": 16, "lr": 1e-2, "warmup": 0.05, "ema": 0.995, "precision": "bf16"}
"""How a Real NVP is trained in a few minutes: many steps of a small net, at a rate that a long run would not need."""


@proof("realnvp-mnist", system="realnvp", family="flows", minutes=10)
def realnvp_mnist(p: Proof) -> None:
    """Bits per dimension of MNIST by a multi-scale flow small enough for two cores, against the published 1.06."""
    run = p.train("realnvp", "mnist", steps=4_000, scales=3, seed=0, **SHORT)
    system, test = bits(p, run, "mnist", published="1.06 (quoted in arXiv:1810.01367)", goal=1.35)
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
    run = p.train("realnvp", "cifar10", steps=4_500, width=32, seed=0, **SHORT)
    bits(p, run, "cifar10", published="3.49 (arXiv:1605.08803)", goal=4.0)
    p.note(
        "The paper's nets have 8 residual blocks of 64 to 128 feature maps (preset realnvp-paper); here 1 block of 32."
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
        run = p.train("realnvp", data, name=data, steps=3_000, batch=256, width=64, lr=2e-3, seed=0)
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


def warp_picture(system: System, extent: float, size: int = 384) -> np.ndarray:
    """The straight lines of z, every half from -3 to 3, as the inverse map bends them in the plane of the data, uint8 [size, size, 3]."""
    image = Image.new("RGB", (2 * size, 2 * size), "white")
    draw = ImageDraw.Draw(image)
    fine = torch.linspace(-3, 3, 400)
    for k in torch.arange(-3, 3.01, 0.5):
        for z, colour in (
            (torch.stack([k.expand(400), fine], 1), (200, 70, 60)),
            (torch.stack([fine, k.expand(400)], 1), (30, 90, 200)),
        ):
            x = system.decode(z).double()
            xy = torch.stack([x[:, 0] / extent + 1, 1 - x[:, 1] / extent], 1) * size
            draw.line([tuple(p) for p in xy.tolist()], fill=colour, width=3)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


@proof("linear-flow", system="linear-flow", family="flows", minutes=4)
def linear_flow(p: Proof) -> None:
    """Gradient steps on a linear flow end at the full-covariance Gaussian's likelihood, on points and on small images."""
    for data, keys in (
        ("moons", {"steps": 1500}),
        ("spiral", {"steps": 1500}),
        ("mnist", {"size": 8, "steps": 4000, "batch": 500}),
        ("cifar10", {"size": 8, "channels": 3, "steps": 4000, "batch": 500}),
    ):
        run = p.train("linear-flow", data, name=data, seed=0, **keys)
        system = genzoo.load(run.path)
        settings = DataSettings(
            data, **{k: (v, v) if k == "size" else v for k, v in keys.items() if k in ("size", "channels")}
        )
        train, test = (open_data(settings, split=s, quiet=True) for s in ("train", "test"))
        gaussian = genzoo.create("gaussian", shape=tuple(system.shape)) if data in ("moons", "spiral") else None
        if gaussian is None:
            gaussian = gaussian_of(train)
        else:
            gaussian.partial_fit({"points": torch.from_numpy(train.fields["points"][:])})
            gaussian.finish_pass()
        key, se = ("nll", "se") if data in ("moons", "spiral") else ("bits_per_dim", "bits_per_dim_se")
        ours, theirs = evaluate_density(system, test), evaluate_density(gaussian, test)
        unit = "nats" if key == "nll" else "bits/dim"
        size = "" if key == "nll" else f" {'x'.join(map(str, system.shape))}"
        p.measure(
            f"{'NLL' if key == 'nll' else 'bits/dim'}, {data}{size}", ours[key], unit=unit, se=ours[se], n=ours["n"], split="test",
            protocol=ours["protocol"], baseline={"gaussian, full covariance": theirs[key]}, better="lower", goal=theirs[key] + 0.01,
        )  # fmt: skip
        largest, smallest = system.jacobian_condition(torch.zeros(1, *system.shape))[0].tolist()
        p.measure(
            f"condition of the Jacobian, {data}{size}", math.log10(largest / smallest), unit="log10",
            protocol="log10 of the ratio of the extreme singular values of the matrix, the same everywhere",
        )  # fmt: skip


@proof("elementwise-flow", system="elementwise-flow", family="flows", minutes=5)
def elementwise_flow(p: Proof) -> None:
    """Neither a linear map nor any elementwise one fits two moons; couplings do, and the bent grids show why."""
    data, extent = "moons", 4.0
    train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
    real = torch.from_numpy(test.fields["points"][:])
    rows = []
    for name, keys in (
        ("linear-flow", {"steps": 1500}),
        ("elementwise-flow", {"steps": 2000, "curve": "spline"}),
        ("elementwise-sigmoid", {"steps": 2000}),
        ("realnvp", {"steps": 2000, "width": 64, "lr": 2e-3}),
    ):
        run = p.train(name, data, name=name, batch=256, seed=0, **keys)
        system = genzoo.load(run.path)
        record = evaluate_density(system, test)
        p.measure(
            f"NLL, {name}", record["nll"], unit="nats", se=record["se"], n=record["n"], split="test", protocol=record["protocol"],
            better="lower",
        )  # fmt: skip
        line = torch.linspace(-8, 8, 801)
        mass = float(system.log_prob(torch.cartesian_prod(line, line)).double().exp().sum()) * 0.02**2
        p.measure(f"mass, {name}", mass, protocol="sum of the density over an 801 x 801 grid on [-8, 8]²", baseline="1")
        drawn = scatter(genzoo.sample(run, n=5000, seed=0), extent=extent)
        rows.append(np.concatenate([drawn, density_picture(system, extent), warp_picture(system, extent)], 1))
    p.picture("data", scatter(real[:5000], extent=extent), "Two moons, test points")
    for name, row in zip(("linear", "spline", "sigmoid", "realnvp"), rows, strict=True):
        p.picture(name, row, f"{name}: samples; density (square root); where the map puts the straight grid lines of z")
    margins = [_entropy(torch.from_numpy(train.fields["points"][:])[:, i], real[:, i]) for i in (0, 1)]
    p.measure(
        "NLL of the margins' product", sum(margins), unit="nats", n=len(real), split="test", better="lower",
        protocol="two histograms of 80 bins on [-4, 4], fitted to the training points: what no elementwise flow gets below, but for bins",
    )  # fmt: skip
    p.note(
        "A linear map keeps the grid's lines straight and parallel: every level set of its density is an ellipse. An elementwise map moves "
        "the lines but keeps them parallel to the axes: its density is the product of the margins, with mass where neither moon is. "
        "Couplings bend each family of lines by the other coordinate."
    )


def _entropy(train: Tensor, test: Tensor) -> float:
    counts = torch.histc(train, 80, -4, 4) + 1e-3
    density = counts / counts.sum() / 0.1
    return -float(density[((test + 4) / 0.1).long().clamp(0, 79)].log().mean())


@proof("nice-mnist", system="nice", family="flows", minutes=8)
def nice_mnist(p: Proof) -> None:
    """Bits per dimension of MNIST by additive couplings, against the published 4.34."""
    run = p.train("nice", "mnist", steps=2_500, batch=200, ema=0.995, precision="bf16", seed=0)
    bits(p, run, "mnist", published="4.34 (arXiv:1410.8516)", walk_path="linear")
    p.note(
        "The paper's nets have 5 hidden layers of 1000 units and train for 1500 passes; here 3 of 512, and 8 passes."
    )


@proof("nice-cifar10", system="nice", family="flows", minutes=8)
def nice_cifar10(p: Proof) -> None:
    """Bits per dimension of CIFAR-10 by additive couplings of whitened images, against the published 4.48."""
    keys = {"width": 1000, "depth": 2, "whiten": True}
    run = p.train("nice", "cifar10", steps=1_200, batch=200, ema=0.995, precision="bf16", seed=0, **keys)
    _, test = bits(p, run, "cifar10", published="4.48 (arXiv:1410.8516)", walk_path="linear")
    idle = {"width": 1, "depth": 1, "lr": 1e-2, "whiten": True}
    alone = p.train("nice", "cifar10", name="idle", steps=300, batch=200, ema=0.95, seed=0, **idle)
    record = evaluate_density(genzoo.load(alone.path), test)
    p.measure(
        "bits/dim, couplings of one hidden unit", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"],
        split="test", better="lower", protocol=f"the same whitening, scales and prior with idle couplings; {record['protocol']}",
    )  # fmt: skip
    p.note(
        "The paper whitens the images by ZCA, and its nets have 4 hidden layers of 2000 units; here 2 of 1000 behind a triangular "
        "whitening, which is that of the paper but for a rotation. Without whitening the same nets came to 6.75 bits/dim in 800 steps."
    )


@proof("glow-mnist", system="glow", family="flows", minutes=12)
def glow_mnist(p: Proof) -> None:
    """Bits per dimension of MNIST by a small Glow, against the published 1.05; its codes mixed and moved."""
    run = p.train("glow", "mnist", steps=1_600, batch=16, ema=0.99, precision="bf16", seed=0)
    system, test = bits(
        p, run, "mnist", published="1.05 (quoted in arXiv:1810.01367; of 32x32 images, by the code's padding)"
    )
    train = open_data(DataSettings("mnist"), split="train", quiet=True)
    directions(p, system, first_images(train, 2_000), first_images(test, 100))
    largest, smallest = system.jacobian_condition(first_images(test, 2)).T
    p.measure(
        "condition of the Jacobian", float((largest / smallest).log10().mean()), unit="log10", n=2, split="test",
        protocol="largest over smallest singular value of dz/du by autograd, u the middle of each grey level in [0, 1], mean of log10",
    )  # fmt: skip


@proof("glow-cifar10", system="glow", family="flows", minutes=12)
def glow_cifar10(p: Proof) -> None:
    """Bits per dimension of CIFAR-10 by a small Glow, against the published 3.35."""
    run = p.train("glow", "cifar10", steps=1_200, batch=16, ema=0.99, precision="bf16", seed=0)
    bits(p, run, "cifar10", published="3.35 (arXiv:1807.03039)")
    p.note(
        "The paper's model has 3 scales of 32 steps with nets of 512 feature maps (preset glow-paper); here 2 of 8 with 64."
    )


@proof("vae-directions", system="vae", family="autoencoding", minutes=4)
def vae_directions(p: Proof) -> None:
    """A VAE's codes of real digits can be mixed and moved like a flow's: interpolation, and the directions of ink and slant."""
    run = p.train("vae", "mnist", steps=3_000, seed=0)
    system = genzoo.load(run.path)
    train, test = (open_data(DataSettings("mnist"), split=s, quiet=True) for s in ("train", "test"))
    x = first_images(test, 100)
    walks = genzoo.walk(run, rows=6, steps=10, images=x[:7], path="linear")
    p.picture(
        "walk",
        grid(walks.flatten(0, 1), columns=10),
        "Walks between the codes of test images (their reconstructions stand at the ends)",
    )
    directions(p, system, first_images(train, 10_000), x)
