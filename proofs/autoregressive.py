"""Proofs of the autoregressive family."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.kinds import picture
from genzoo.metrics.features.lenet import classify
from genzoo.metrics.nll import evaluate_density
from proofs.baselines import independent_pixels
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error

SEEDS = (0,)
"""Seeds of the proofs that can train more than once: figures of each, pictures of the first. Where there is time, (0, 1)."""


def histogram_bits(train: Dataset, test: Dataset) -> float:
    """Bits/dim of test images under one histogram of grey levels for each colour."""
    bits = []
    for c in range(train.fields["image"].shape[1]):
        counts = [torch.tensor(d.fields["image"][:, c]).flatten().bincount(minlength=256) for d in (train, test)]
        p, q = ((n + 1).double() / (n + 1).sum() for n in counts)
        bits.append(float(-(q * p.log2()).sum()))
    return sum(bits) / len(bits)


def test_images(test: Dataset, n: int) -> Tensor:
    """The first images of the test split's shuffled order, binarized where the data are."""
    return to_float(Batches(test, n, 0).in_order(0), torch.device("cpu"))["image"]


def completions(system: System, x: Tensor, variants: int = 3) -> Tensor:
    """Columns of a grid: image, its known upper half (the rest gray), and several completions. Known pixels are checked."""
    known = torch.zeros(len(x), 1, *x.shape[2:], dtype=torch.bool)
    known[:, :, : x.shape[2] // 2] = True
    shown = [x, torch.where(known, x, 0.0)]
    for seed in range(variants):
        filled = genzoo.complete(system, x, known, seed=seed)
        assert torch.equal(filled[:, :, : x.shape[2] // 2], x[:, :, : x.shape[2] // 2]), "a known pixel was changed"
        shown.append(filled)
    return torch.stack(shown, 1).flatten(0, 1)


@proof("pixelcnn-mnist", system="pixelcnn", family="autoregressive", minutes=12)
def pixelcnn_mnist(p: Proof) -> None:
    """Exact nats of binarized MNIST, against the published 81.30, with samples and completed digits."""
    keys = {"steps": 10_000, "batch": 16, "width": 32, "blocks": 7, "lr": 3e-3, "precision": "bf16", "seed": 0}
    run = p.train("pixelcnn", "mnist", binarize="dynamic", **keys)
    system = genzoo.load(run.path)
    train, test = (open_data(DataSettings("mnist", binarize="dynamic"), split=s, quiet=True) for s in ("train", "test"))
    record = evaluate_density(system, test, seed=0)
    p.measure(
        "NLL", record["nll"], unit="nats", se=record["se"], n=record["n"], split="test", protocol=record["protocol"],
        baseline={"independent pixels": independent_pixels(train, test), "uniform": 784 * math.log(2)},
        published="81.30 nats, PixelCNN", better="lower", goal=85.0,
    )  # fmt: skip
    p.measure(
        "bits per dimension", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"],
        split="test", protocol=record["protocol"],
    )  # fmt: skip
    p.picture("samples", genzoo.sample(run, n=64, seed=0), "Samples, temperature 1, not chosen.")
    p.picture("cold", genzoo.sample(run, n=64, seed=0, temperature=0.8), "The same at temperature 0.8.")
    p.picture(
        "completions",
        picture(completions(system, test_images(test, 16)), columns=10),
        "Test image, its upper half, and three completions of the lower half, in groups of five.",
    )
    p.note(
        "Test images are binarized once, at random by their gray level with seed 0. Published numbers are mostly for the static set "
        "of Larochelle & Murray; the two differ by one to two nats, so the comparison is a near one."
    )


@proof("pixelcnn-cifar10", system="pixelcnn", family="autoregressive", minutes=12)
def pixelcnn_cifar10(p: Proof) -> None:
    """Exact bits/dim of CIFAR-10 at 256 levels, colours in the order R < G < B, by a much smaller network than the paper's."""
    keys = {"width": 24, "blocks": 6, "head": 96, "lr": 1.2e-2, "batch": 4, "steps": 6000, "warmup": 0.03}
    quiet = {"precision": "bf16", "sample_every": 100_000}
    runs = [p.train("pixelcnn", "cifar10", seed=s, **keys, **quiet) for s in SEEDS]
    train, test = (open_data(DataSettings("cifar10"), split=s, quiet=True) for s in ("train", "test"))
    baseline = {"uniform": 8.0, "histogram of each colour": histogram_bits(train, test)}
    for seed, run in zip(SEEDS, runs, strict=True):
        record = evaluate_density(genzoo.load(run.path), test, n=None if seed == 0 else 2000, batch=50, seed=0)
        p.measure(
            "bits per dimension" + (f", seed {seed}" if seed else ""), record["bits_per_dim"], unit="bits/dim",
            se=record["bits_per_dim_se"], n=record["n"], split="test", protocol=record["protocol"], baseline=baseline,
            published="3.14 bits/dim, PixelCNN (van den Oord et al. 2016)", better="lower", goal=4.0,
        )  # fmt: skip
    run, system = runs[0], genzoo.load(runs[0].path)
    p.picture("samples", genzoo.sample(run, n=36, seed=0), "Samples, temperature 1, not chosen.")
    p.picture(
        "completions",
        picture(completions(system, test_images(test, 6)), columns=10),
        "Test image, its upper half, and three completions of the lower half, in groups of five.",
    )
    p.note(
        "The distance to 3.14 is size and time: the paper's network has 15 blocks of 128 features (preset pixelcnn-paper); here "
        f"{keys['blocks']} blocks of {keys['width']} see only 9 pixels up and to the left, and half of the training images are seen, once."
    )


@proof("pixelcnn-l2", system="pixelcnn-l2", family="autoregressive", minutes=6)
def pixelcnn_l2(p: Proof) -> None:
    """Regression of the next pixel fails where classification works: the same network, data and steps, gray MNIST."""
    found, keys = {}, {"steps": 2000, "batch": 16, "width": 16, "blocks": 7, "seed": 0}
    for name in ("pixelcnn", "pixelcnn-l2"):
        run = p.train(name, "mnist", name=name, **keys)
        found[name] = genzoo.sample(run, n=64, seed=0)
    mean_only = genzoo.sample(run, n=64, seed=0, temperature=1e-3)
    real = test_images(open_data(DataSettings("mnist"), split="test", quiet=True), 64)

    def gray_share(x: Tensor) -> tuple[float, float]:
        return mean_and_error((x.abs() < 0.75).flatten(1).float().mean(1))

    shares = {name: gray_share(images) for name, images in found.items()}
    for name, (mean, se) in shares.items():
        p.measure(
            f"share of gray pixels, {name}", mean, se=se, n=64, split="test", better="lower",
            protocol="share of pixels with |x| < 0.75 in 64 samples, the error is over samples; real: the same in 64 test images",
            baseline={"real": gray_share(real)[0], **{other: value[0] for other, value in shares.items() if other != name}},
        )  # fmt: skip
    p.picture("categorical", found["pixelcnn"], "256-way classification: samples.")
    p.picture("l2", found["pixelcnn-l2"], "Squared error: samples of the Gaussian that it stands for.")
    p.picture("l2-mean", mean_only, "Squared error: each pixel set to its predicted mean.")
    p.note(
        "A MNIST pixel is black or white; the mean of the two is gray, which no pixel is. Squared error can only say that mean and one "
        "width for all pixels: drawn with the width, images are noise, and the noise takes the network away from what it was trained "
        "on; set to the mean, the first pixels are the average of all images and every sample is the same."
    )


BINARISED = (
    "Test images are binarized once, at random by their gray level with seed 0; training images anew for every batch (dynamic). Published "
    "numbers are mostly for the static set of Larochelle & Murray; the two differ by one to two nats, so the comparison is a near one."
)


def binarized(p: Proof, system: str, *, published: str, goal: float | None = None, **keys: object) -> System:
    """Train on dynamically binarized MNIST in bf16 with seed 0, measure the test set, show samples; return the system."""
    run = p.train(system, "mnist", binarize="dynamic", precision="bf16", seed=0, **keys)
    model = genzoo.load(run.path)
    train, test = (open_data(DataSettings("mnist", binarize="dynamic"), split=s, quiet=True) for s in ("train", "test"))
    record = evaluate_density(model, test, seed=0)
    p.measure(
        "NLL", record["nll"], unit="nats", se=record["se"], n=record["n"], split="test", protocol=record["protocol"],
        baseline={"independent pixels": independent_pixels(train, test), "uniform": 784 * math.log(2)},
        published=published, better="lower", goal=goal,
    )  # fmt: skip
    p.measure(
        "bits per dimension", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"], n=record["n"],
        split="test", protocol=record["protocol"],
    )  # fmt: skip
    sample = evaluate_density(model, train, n=2000, seed=0)
    p.measure(
        "NLL of training images", sample["nll"], unit="nats", se=sample["se"], n=2000, split="train",
        protocol=sample["protocol"],
    )  # fmt: skip
    p.picture("samples", genzoo.sample(model, n=64, seed=0), "Samples, temperature 1, not chosen.")
    p.note(BINARISED)
    return model


def show_completions(p: Proof, system: System) -> None:
    """Keep the picture of lower halves drawn anew."""
    images = test_images(open_data(DataSettings("mnist", binarize="dynamic"), split="test", quiet=True), 16)
    caption = "Test image, its upper half, and three completions of the lower half, in groups of five."
    p.picture("completions", picture(completions(system, images), columns=10), caption)


@proof("fvsbn-mnist", system="fvsbn", family="autoregressive", minutes=4)
def fvsbn_mnist(p: Proof) -> None:
    """One logistic regression of each pixel on those before it: what no hidden layer reaches on binarized MNIST."""
    model = binarized(
        p, "fvsbn", published="96.58 nats, FVSBN with dynamic binarization (pytorch-generative)", goal=98.0, steps=9000, batch=256, ema=0.99
    )  # fmt: skip
    show_completions(p, model)


@proof("made-mnist", system="made", family="autoregressive", minutes=15)
def made_mnist(p: Proof) -> None:
    """Exact nats of binarized MNIST by a masked dense network, two hidden layers of 1500 units."""
    model = binarized(
        p, "made", published="84.87 nats with dynamic binarization (pytorch-generative); 86.64, MADE 2hl with 32 masks, static",
        goal=86.0, width=1500, layers=2, direct=True, steps=9000, batch=512, lr=4e-3, warmup=0.01, ema=0.0,
    )  # fmt: skip
    show_completions(p, model)


@proof("gated-pixelcnn-mnist", system="gated-pixelcnn", family="autoregressive", minutes=15)
def gated_pixelcnn_mnist(p: Proof) -> None:
    """Class-conditional digits, one class in a row; exact nats of the mixture over classes, and Bayes' rule as a classifier."""
    keys = {"width": 24, "layers": 6, "steps": 8000, "batch": 8, "lr": 8e-3, "warmup": 0.03}
    quiet = {"precision": "bf16", "sample_every": 100_000}
    runs = [p.train("gated-pixelcnn", "mnist", binarize="dynamic", seed=s, **keys, **quiet) for s in SEEDS]
    n = 2000
    test = open_data(DataSettings("mnist", binarize="dynamic"), split="test", quiet=True)
    batches = Batches(test, 100, 0)
    parts = [to_float(batches.in_order(step), torch.device("cpu")) for step in range(n // 100)]
    label = torch.cat([b["label"] for b in parts])
    protocol = f"exact; mean over {n:,} examples of mnist test, binarised (dynamic), every one once; seed 0"
    for seed, run in reversed(list(zip(SEEDS, runs, strict=True))):
        model = genzoo.load(run.path)
        each = torch.cat([model.log_prob_of_classes(b["image"]) for b in parts]).double()
        mixture, given = each.logsumexp(1) - math.log(10), each[range(n), label]
        of = f", seed {seed}" if seed else ""
        for name, nats in ((f"NLL, mixture over classes{of}", -mixture), (f"NLL given the class{of}", -given)):
            first = name.startswith("NLL, m")
            p.measure(
                name, float(nats.mean()), unit="nats", se=float(nats.std() / math.sqrt(n)), n=n, split="test", protocol=protocol,
                published="81.50 nats, without classes, dynamic binarization (pytorch-generative)" if first else None,
                better="lower", goal=85.0 if first else None,
            )  # fmt: skip
    p.measure(
        "accuracy of Bayes' rule", float((each.argmax(1) == label).double().mean()), n=n, split="test", better="higher",
        protocol="share of test images whose own class has the largest log p(x | class)", baseline={"chance": 0.1},
    )  # fmt: skip
    rows = torch.cat([genzoo.sample(model, n=10, seed=k, label=k) for k in range(10)])
    p.picture("classes", rows, "Ten samples given each class, 0 to 9 from the top, temperature 1, not chosen.")
    read = classify("lenet-mnist-v1", ((rows + 1) * 127.5).round().to(torch.uint8)).argmax(1)
    p.measure(
        "samples read as their class", float((read == torch.arange(10).repeat_interleave(10)).double().mean()), n=100,
        protocol="share of 100 samples, ten given each class, that lenet-mnist-v1 reads as the class", baseline={"chance": 0.1},
        better="higher",
    )  # fmt: skip
    show_completions(p, model)
    p.note(BINARISED)


@proof("multiscale-pixelcnn-mnist", system="multiscale-pixelcnn", family="autoregressive", minutes=12)
def multiscale_pixelcnn_mnist(p: Proof) -> None:
    """Sampling speed against pixelcnn, side by side in one process, with the likelihood that each has."""
    model = binarized(
        p, "multiscale-pixelcnn", published="none for binarized MNIST", width=32, blocks=3, steps=3500, batch=32, lr=2e-3
    )  # fmt: skip
    keys = {"steps": 3000, "batch": 16, "width": 16, "blocks": 7, "lr": 3e-3, "binarize": "dynamic"}
    plain = genzoo.load(p.train("pixelcnn", "mnist", precision="bf16", seed=0, **keys).path)
    test = open_data(DataSettings("mnist", binarize="dynamic"), split="test", quiet=True)
    record = evaluate_density(plain, test, n=2000, seed=0)
    p.measure(
        "NLL of the pixelcnn beside it", record["nll"], unit="nats", se=record["se"], n=record["n"], split="test",
        protocol=record["protocol"], better="lower",
    )  # fmt: skip

    def seconds(system: System, cached: bool, images: int) -> float:
        times = []
        for seed in range(3 if cached else 1):
            start = time.perf_counter()
            genzoo.sample(system, n=images, seed=seed, cached=cached)
            times.append(time.perf_counter() - start)
        return sorted(times)[len(times) // 2]

    for images in (1, 64):
        fast, slow = seconds(model, True, images), seconds(plain, True, images)
        p.measure(
            f"times as fast as pixelcnn with its cache, {images} at once", slow / fast, n=images, better="higher",
            protocol="ratio of the median wall times of three draws, same process and thread",
            baseline=f"pixelcnn {1000 * slow:.0f} ms, multiscale-pixelcnn {1000 * fast:.0f} ms",
        )  # fmt: skip
    naive, fast = seconds(plain, False, 16), seconds(model, True, 16)
    p.measure(
        "times as fast as pixelcnn without a cache, 16 at once", naive / fast, n=16, better="higher",
        protocol="ratio of the wall times: one draw by a whole pass for each pixel; median of three draws of multiscale-pixelcnn",
        baseline=f"pixelcnn {naive:.1f} s, multiscale-pixelcnn {fast:.3f} s",
    )  # fmt: skip
    p.picture("pixelcnn", genzoo.sample(plain, n=64, seed=0), "Samples of the pixelcnn beside it.")
    show_completions(p, model)


@proof("row-lstm-mnist", system="row-lstm", family="autoregressive", minutes=10)
def row_lstm_mnist(p: Proof) -> None:
    """Exact nats of binarized MNIST by LSTMs from row to row, at a few minutes of one thread."""
    model = binarized(
        p, "row-lstm", published="80.54 nats, Row LSTM (van den Oord et al. 2016)", goal=90.0, width=16, layers=4, steps=3000,
        batch=16, lr=4e-3,
    )  # fmt: skip
    show_completions(p, model)


@proof("diagonal-bilstm-mnist", system="diagonal-bilstm", family="autoregressive", minutes=12)
def diagonal_bilstm_mnist(p: Proof) -> None:
    """Exact nats of binarized MNIST by LSTMs along both diagonals, at a few minutes of one thread."""
    model = binarized(
        p, "diagonal-bilstm", published="79.20 nats, Diagonal BiLSTM of 7 layers (van den Oord et al. 2016)", goal=90.0, width=16,
        layers=2, steps=2000, batch=16, lr=4e-3,
    )  # fmt: skip
    show_completions(p, model)
