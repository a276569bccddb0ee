"""Proofs of codes and of the priors over them: vqvae, vqvae2, vqgan, token-prior."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import genzoo
from genzoo.core.system import System
from genzoo.data import Batches, Dataset, DataSettings, open_data, to_float
from genzoo.data.drawing.images import to_uint8
from genzoo.losses.perceptual import lpips
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_distance
from genzoo.metrics.maths.similarity import psnr
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.use.reconstruct import side_by_side
from proofs.proof import WORK, Proof, proof

CLASSES = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
VQGAN = {
    "width": 24,
    "blocks": 1,
    "halvings": 2,
    "codes": 512,
    "dim": 32,
    "batch": 16,
    "lr": 1e-3,
    "adversarial_from": 0.5,
    "adversarial_weight": 0.3,
    "steps": 2000,
    "seed": 0,
}


def cifar10(split: str = "test") -> Dataset:
    """A split of CIFAR-10."""
    return open_data(DataSettings("cifar10"), split=split, quiet=True)


def batches(dataset: Dataset, n: int, size: int = 250) -> Iterator[dict[str, Tensor]]:
    """The first `n` examples in stored order."""
    stream = Batches(dataset, size, 0)
    for step in range(n // size):
        yield to_float(stream.in_order(step), "cpu")


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean over examples and its standard error."""
    return float(values.double().mean()), float(values.double().std() / math.sqrt(len(values)))


def codes_and_reconstructions(p: Proof, system: System, n: int) -> None:
    """Measure how many codes occur and how near reconstructions are, on the first `n` test images."""
    found, quality = [], []
    for batch in batches(cifar10(), n):
        codes = system.tokenize(batch["image"])
        found.append(codes)
        quality.append(psnr(batch["image"], system.detokenize(codes), data_range=2))
    codes, size, tested = torch.cat(found), system.codebook_size, {"n": n, "split": "test"}
    sizes = [math.prod(grid) for grid in system.code_grids]
    for level, part in enumerate(codes.split(sizes, 1), 1):
        name = f" of level {level}" if len(sizes) > 1 else ""
        share = torch.bincount(part.flatten(), minlength=size) / part.numel()
        protocol = f"codes of the first {n:,} test images, {part.shape[1]} each; a code counts where it occurs at all"
        used, entropy = 100 * float((share > 0).float().mean()), -torch.xlogy(share, share).sum()
        p.measure(f"codes used{name}", used, unit="%", protocol=protocol, better="higher", goal=90.0, **tested)
        protocol = "exp of the entropy of these codes"
        p.measure(f"perplexity{name}", float(entropy.exp()), unit=f"of {size}", protocol=protocol, **tested)
    value, error = mean_and_error(torch.cat(quality))
    protocol = "mean over images, range 2 ([-1, 1])"
    p.measure("reconstruction PSNR", value, unit="dB", se=error, protocol=protocol, better="higher", **tested)


def bits_of(p: Proof, prior: System, n: int) -> None:
    """Measure the bits per dimension of test images: with uniform codes, and with the prior's."""
    system = prior.tokenizer
    dims = math.prod(system.shape) * math.log(2)
    decoder, learned, length = [], [], prior.length
    for batch in batches(cifar10(), n, 100):
        codes = system.tokenize(batch["image"])
        decoder.append(-system.log_likelihood(batch["image"], codes) / dims)
        learned.append(-prior.code_log_prob(codes) / dims)
    pixels, codes = torch.cat(decoder), torch.cat(learned)
    uniform = length * math.log(system.codebook_size) / dims
    protocol = (
        f"-(log p(x | c) + log P(c)) / (D ln 2) with c = the image's own {length} codes: a bound on -log p(x), since p(x) is a sum over all "
        f"codes; p(x | c) the decoder's discretized logistic, D = 3072; the first {n:,} test images"
    )
    for name, extra in (("uniform", torch.full_like(pixels, uniform)), ("learned", codes)):
        value, error = mean_and_error(pixels + extra)
        p.measure(f"bits/dim, {name} prior", value, unit="bits/dim", se=error, n=n, split="test", protocol=f"{protocol}; P {name}", better="lower",
                  published="4.67 (arXiv:1711.00937: 8x8x10 codes of 512, width 256; the prior is not said)")  # fmt: skip
    for name, part in (
        ("decoder", pixels),
        ("codes, uniform prior", torch.full_like(pixels, uniform)),
        ("codes, learned prior", codes),
    ):
        p.measure(f"of which {name}", float(part.mean()), unit="bits/dim", n=n, split="test", protocol="the parts of the same sum")  # fmt: skip


def bits_of_codes(p: Proof, prior: System, n: int) -> None:
    """Measure the bits of a validation code, level by level, with and without its class, beside what is known without a model."""
    system, test, train = prior.tokenizer, cifar10(), cifar10("train")
    sizes = [math.prod(grid) for grid in system.code_grids]
    rows: dict[str, list[Tensor]] = {"with class": [], "without": []}
    codes = []
    for batch in batches(test, n, 100):
        codes.append(system.tokenize(batch["image"]))
        for name, label in (("with class", batch["label"]), ("without", None)):
            rows[name].append(prior._nats(codes[-1], prior._labels(label, len(codes[-1]))).detach() / math.log(2))
    seen = torch.cat([system.tokenize(b["image"]) for b in batches(train, 10_000)])
    frequency = torch.stack([torch.bincount(c, minlength=system.codebook_size) + 0.5 for c in seen.T]).double()
    frequency = frequency / frequency.sum(1, keepdim=True)
    unigram = -frequency.gather(1, torch.cat(codes).T).log2().T
    start = 0
    for level, size in enumerate(sizes, 1):
        part = slice(start, start + size)
        name = f"bits per code, level {level}" if len(sizes) > 1 else "bits per code"
        known = {"uniform": math.log2(system.codebook_size), "frequencies by place": float(unigram[:, part].mean())}
        for which, found in rows.items():
            value, error = mean_and_error(torch.cat(found)[:, part].mean(1))
            p.measure(f"{name}, {which}", value, unit="bits", se=error, n=n, split="test", baseline=known, better="lower",
                      protocol=f"exact -log2 p(code | codes before it), mean over the {size} codes of each of the first {n:,} test images; "
                      "frequencies: of each place alone, from 10,000 training images, plus one half")  # fmt: skip
        start += size


def class_by_class(p: Proof, run: Any, *, each: int = 10, **keys: Any) -> None:
    """Keep a picture with a row of samples for each class."""
    rows = [genzoo.sample(run, n=each, seed=c, label=c, **keys) for c in range(10)]
    said = " ".join(f"{k}={v}" for k, v in keys.items()) or "as the model is"
    name = "classes" if not keys else "guided"
    p.picture(
        name,
        genzoo.data.drawing.images.grid(torch.cat(rows), columns=each),
        f"Samples, a row for each class ({CLASSES}); {said}",
    )


def reconstructions(p: Proof, *systems: System) -> None:
    """Keep a picture: test images, and under each row its reconstructions by each system."""
    x = next(batches(cifar10(), 250))["image"][:20]
    rows = [x, *(s.detokenize(s.tokenize(x)) for s in systems)]
    if len(rows) == 2:
        shown = genzoo.data.drawing.images.grid(side_by_side(*rows, columns=10), columns=10)
        p.picture("reconstructions", shown, "Test images (odd rows), reconstructions (even rows)")
        return
    mixed = torch.cat([part for parts in zip(*(r.split(10) for r in rows), strict=True) for part in parts])
    p.picture(
        "reconstructions", genzoo.data.drawing.images.grid(mixed, columns=10), "In turn: test images, vqgan, vqgan-l2"
    )


@proof("vqvae-cifar10", system="vqvae", family="autoencoding", minutes=9)
def vqvae_cifar10(p: Proof) -> None:
    """CIFAR-10 in 16x16 codes of 512: the whole codebook is used, and a bound on the likelihood with a learned prior over codes."""
    run = p.train("vqvae", "cifar10", name="vqvae", steps=1500, batch=64, halvings=1, width=64, lr=2e-3, seed=0)
    codes_and_reconstructions(p, genzoo.load(run.path), 10_000)
    reconstructions(p, genzoo.load(run.path))
    keys = {"steps": 400, "batch": 32, "width": 128, "depth": 3, "dropout": 0.0, "classes": 0, "lr": 2e-3, "seed": 0}
    second = p.train("token-prior", "cifar10", name="prior", tokenizer=str(run.path), **keys)
    bits_of(p, genzoo.load(second.path), 1000)
    p.note(
        "The paper has 640 codes an image (8x8x10) from networks four times as wide, trained for 250,000 steps. Here 256 codes: with so "
        "few steps more codes cost more bits than they save (300 steps with 8x8x10: decoder 6.68, codes 1.875 bits/dim)."
    )


@proof("vqvae2-cifar10", system="vqvae2", family="autoencoding", minutes=10)
def vqvae2_cifar10(p: Proof) -> None:
    """CIFAR-10 in 4x4 and 8x8 codes with one class-conditional prior over both: validation bits of both levels, samples class by class."""
    run = p.train(
        "vqvae2", "cifar10", name="vqvae2", steps=1200, batch=64, dim=32, width=64, codes=256, lr=2e-3, seed=0
    )
    system = genzoo.load(run.path)
    codes_and_reconstructions(p, system, 10_000)
    reconstructions(p, system)
    keys = {"steps": 600, "batch": 64, "width": 128, "depth": 4, "lr": 2e-3, "seed": 0}
    second = p.train("token-prior", "cifar10", name="prior", tokenizer=str(run.path), **keys)
    bits_of_codes(p, genzoo.load(second.path), 2000)
    class_by_class(p, second)
    class_by_class(p, second, guidance=2.0, top_p=0.95)


def trained_vqgan(p: Proof) -> Path:
    """The tokenizer of the vqgan proof; trained here where that has not been run."""
    path = WORK / "vqgan-cifar10" / "vqgan"
    if not (path / "README.md").exists():
        path = p.train("vqgan", "cifar10", name="vqgan", perceptual="vgg16", **VQGAN).path
    return path


@proof("vqgan-cifar10", system="vqgan", family="autoencoding", minutes=14)
def vqgan_cifar10(p: Proof) -> None:
    """Reconstructions of CIFAR-10 with perceptual and adversarial loss against the same autoencoder trained on squared error alone."""
    run = p.train("vqgan", "cifar10", name="vqgan", perceptual="vgg16", **VQGAN)
    plain = p.train("vqgan-l2", "cifar10", name="l2", **VQGAN)
    systems = {"vqgan": genzoo.load(run.path), "L2 only": genzoo.load(plain.path)}
    codes_and_reconstructions(p, systems["vqgan"], 10_000)
    n, judge = 1000, FeatureNet("alexnet")
    x = torch.cat([b["image"] for b in batches(cifar10(), n)])
    again = {k: torch.cat([s.detokenize(s.tokenize(part)) for part in x.split(250)]) for k, s in systems.items()}
    with torch.no_grad():
        distance = {
            k: torch.cat([lpips(judge, *pair) for pair in zip(y.split(50), x.split(50), strict=True)])
            for k, y in again.items()
        }
    value, error = mean_and_error(distance["vqgan"])
    p.measure("reconstruction LPIPS (AlexNet)", value, se=error, n=n, split="test", better="lower", goal=float(distance["L2 only"].mean()),
              baseline={"L2 only": float(distance["L2 only"].mean())},
              protocol=f"LPIPS 0.1 with AlexNet (weights {judge.digest[:12]}; trained against VGG-16), images at 32x32, the first {n:,} test images; "
              "goal: the same autoencoder, steps and data with squared error alone")  # fmt: skip
    value, error = mean_and_error(psnr(x, again["L2 only"], data_range=2))
    protocol = "what squared error is best at"
    p.measure("reconstruction PSNR, L2 only", value, unit="dB", se=error, n=n, split="test", protocol=protocol)
    net, m = extractor("inception"), 400
    real = net(to_uint8(x[:m]))
    found = {k: frechet_distance(net(to_uint8(y[:m])), real) for k, y in again.items()}
    p.measure("reconstruction FID", found["vqgan"], n=m, split="test", better="lower", goal=found["L2 only"], baseline={"L2 only": found["L2 only"]},
              protocol=f"Fréchet distance of {net.name} features of {m} reconstructions to the same {m} images (N far below 50,000: for this "
              f"comparison only); {net.resize}")  # fmt: skip
    reconstructions(p, systems["vqgan"], systems["L2 only"])


@proof("token-prior-cifar10", system="token-prior", family="autoregressive", minutes=6)
def token_prior_cifar10(p: Proof) -> None:
    """A class-conditional prior over the codes of a VQGAN of CIFAR-10: validation bits of a code, and samples."""
    keys = {"steps": 600, "batch": 64, "width": 128, "depth": 4, "lr": 2e-3, "seed": 0}
    run = p.train("token-prior", "cifar10", name="prior", tokenizer=str(trained_vqgan(p)), **keys)
    prior = genzoo.load(run.path)
    bits_of_codes(p, prior, 2000)
    class_by_class(p, run)
    class_by_class(p, run, guidance=2.0, top_p=0.95)
    x = next(batches(cifar10(), 250))["image"][:16]
    known = torch.ones(32, 32, dtype=torch.bool)
    known[16:] = False
    hidden = torch.where(known, x, 0)
    p.picture("completions", genzoo.data.drawing.images.grid(torch.cat([x, hidden, genzoo.complete(run, x, known, seed=0)]), columns=16),
              "Test images; their lower half hidden; the model's completions")  # fmt: skip
