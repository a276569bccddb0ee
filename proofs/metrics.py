"""Proofs of the measures: known values on real data, and ladders of damage that they must climb."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.data import Dataset, DataSettings, open_data
from genzoo.data.drawing.images import grid
from genzoo.metrics.c2st import neighbour_test
from genzoo.metrics.copying import data_copying
from genzoo.metrics.features.lenet import classify
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.frechet import frechet_to_reference
from genzoo.metrics.kid import kid
from genzoo.metrics.maths.kmeans import kmeans
from genzoo.metrics.maths.moments import Moments
from genzoo.metrics.memorization import authenticity
from genzoo.metrics.ndb import ndb
from genzoo.metrics.parzen import parzen
from genzoo.metrics.prdc import prdc
from genzoo.metrics.real import real_features, rows_of
from genzoo.metrics.score import classifier_score
from genzoo.metrics.sliced import sliced_wasserstein
from genzoo.metrics.stacked_modes import STACKED_SAMPLES, stack_digits, stacked_modes
from proofs.proof import Proof, proof


def split(data: str, name: str) -> Dataset:
    return open_data(DataSettings(data), split=name, quiet=True)


def pictures(dataset: Dataset) -> Tensor:
    return torch.from_numpy(np.array(dataset.fields["image"]))


def near(p: Proof, name: str, value: float, known: float, within: float, **more: Any) -> None:
    """Measure a value whose size is known: the distance to it is what has a goal."""
    p.measure(name, value, **more)
    p.measure(f"{name}: distance to {known:g}", abs(value - known), better="lower", goal=within)


# ---- known values ---------------------------------------------------------------------------------------------------------------


@proof("measures-parzen", system="measures", family="measures", minutes=4)
def measures_parzen(p: Proof) -> None:
    """The Parzen log-likelihood of 2014 gives its known values on real digits, and prefers cluster centres to them."""
    train = pictures(split("mnist", "train")).flatten(1).float() / 255
    test = pictures(split("mnist", "test")).flatten(1).float() / 255
    generator = torch.Generator().manual_seed(0)
    seen, validation = train[:50_000], train[50_000:51_000]
    real = parzen(seen[torch.randperm(len(seen), generator=generator)[:10_000]], validation, test)
    protocol = (
        "10,000 images as centres, drawn by seed 0 from 50,000 training images; bandwidth from ten values 0.1 … 1 by 1,000 other training "
        f"images; nats of 10,000 test images, pixels in [0, 1]; chosen bandwidth {real['sigma']:.4f}"
    )
    near(
        p, "Parzen, real digits", real["value"], 242.7, 2.1, unit="nats", se=real["se"], n=real["n"], split="test", protocol=protocol,
        published="a GAN's samples 225 ± 2 (Goodfellow et al. 2014, table 1)",
    )  # fmt: skip
    clusters = kmeans(seen, 10_000, plus_plus=False, passes=8)
    centres = parzen(clusters.centres, validation, test)
    p.measure(
        "Parzen, 10,000 cluster centres", centres["value"], unit="nats", se=centres["se"], n=centres["n"], split="test", better="higher",
        goal=real["value"] + 50, baseline={"real": real["value"]},
        protocol="the same with centres of k-means of the 50,000 (random start, 8 passes)",
    )  # fmt: skip
    p.picture(
        "centres", clusters.centres[:50].view(-1, 1, 28, 28) * 2 - 1, "50 of the centres that score above real digits"
    )
    p.note(
        "Blurred averages score far above real digits: the measure is kept for the tables of its day and says nothing of quality."
    )


@proof("measures-floors", system="measures", family="measures", minutes=3)
def measures_floors(p: Proof) -> None:
    """What real digits score of themselves: modes of Stacked-MNIST, bins, copies, and nearest neighbours."""
    train, test = split("mnist", "train"), split("mnist", "test")
    read = partial(classify, "lenet-mnist-v1")
    stacked = stack_digits(pictures(test), STACKED_SAMPLES, generator=torch.Generator().manual_seed(0))
    found = stacked_modes(stacked, read)
    protocol = "26,000 stacks of three random test digits, read by lenet-mnist-v1, seed 0"
    more: dict[str, Any] = {"n": found["n"], "split": "test", "protocol": protocol}
    p.measure("modes of real Stacked-MNIST", found["modes"], better="higher", goal=1000, **more)
    p.measure(
        "KL to uniform of the same",
        found["kl"],
        unit="nats",
        better="lower",
        goal=0.030,
        baseline={"ideal": found["ideal_kl"]},
        **more,
    )
    p.measure(
        "KL above the ideal of this number",
        found["kl"] - 0.018,
        unit="nats",
        better="higher",
        goal=0,
        protocol="value − 0.018",
    )

    net = extractor("lenet-mnist-v1")
    seen = real_features(train, net, n=10_000)
    fresh = real_features(test, net)
    bins = ndb(fresh, seen)
    words = f"{net.name} features of 10,000 training images (seed 0) and 10,000 test images"
    p.measure(
        "NDB / K, test digits", bins["value"], n=10_000, split="test", better="lower", goal=0.25,
        baseline={"α": 0.05, "halves of the training images": bins["halves"]},
        protocol=f"K = 100 bins, two-proportion z test at α = 0.05; {words}; the features were learned on training images, so test "
        "images are a little different",
    )  # fmt: skip
    single = neighbour_test(fresh, seen)
    p.measure(
        "1-NN accuracy, test digits",
        single["value"],
        n=20_000,
        split="test",
        baseline={"ideal": 0.5},
        protocol=f"leave-one-out; {words}",
    )

    held_out, others = fresh[:5000], fresh[5000:]
    generator = torch.Generator().manual_seed(0)
    copied = {}
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        fakes = others.clone()
        count = int(share * len(fakes))
        fakes[:count] = seen[torch.randperm(len(seen), generator=generator)[:count]]
        copied[share] = (data_copying(fakes, seen, held_out)["value"], authenticity(fakes, seen)["value"])
    for i, (name, unit) in enumerate((("C_T", "standard deviations"), ("AuthPct", "per cent"))):
        values = [v[i] for v in copied.values()]
        path = ", ".join(f"{share:.0%}: {v[i]:.2f}" for share, v in copied.items())
        p.measure(
            f"{name}: smallest fall from rung to rung of copies", min(a - b for a, b in itertools.pairwise(values)), unit=unit,
            n=5000, better="higher", goal=0, baseline=path,
            protocol="5,000 test digits of which a share is replaced by training digits, against 10,000 training and 5,000 other test "
            f"digits; {net.name} features",
        )  # fmt: skip


# ---- ladders --------------------------------------------------------------------------------------------------------------------


def noisy(x: Tensor, sd: float) -> Tensor:
    """Gaussian noise of that many grey levels, rounded and clamped."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return (x.float() + sd * noise).round().clamp(0, 255).to(torch.uint8)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of that many pixels, borders mirrored."""
    reach = int(4 * sigma + 0.5)
    w = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    w = (w / w.sum()).view(1, 1, -1, 1)
    n, c, height, width = x.shape
    y = F.pad(x.float().view(n * c, 1, height, width), [reach] * 4, mode="reflect")
    return F.conv2d(F.conv2d(y, w), w.transpose(2, 3)).view(n, c, height, width).round().clamp(0, 255).to(torch.uint8)


FEW = 1900
"""Images of a rung of missing classes: what two classes of a test set of ten have, so that none is shown twice."""


def without_classes(x: Tensor, labels: Tensor, dropped: int) -> Tensor:
    """`FEW` images of the classes from `dropped` on."""
    return x[labels >= dropped][:FEW]


RESAMPLED = 20
"""Draws of the bootstrap that gives a step of a Fréchet distance its error."""


def step_error(before: Tensor, after: Tensor, kept: Moments) -> float:
    """Give the standard error of the difference of two Fréchet distances to `kept`, of the same images before and after damage.

    Args:
        before: Features of the images, [N, D].
        after: Features of the same images, damaged.
        kept: Moments of the reference, which stay as they are.

    Returns:
        Standard deviation over `RESAMPLED` draws of N images with replacement, the same ones in both.
    """
    generator = torch.Generator().manual_seed(0)
    steps = []
    for _ in range(RESAMPLED):
        drawn = torch.randint(len(before), (len(before),), generator=generator)
        steps.append(frechet_to_reference(after[drawn], kept) - frechet_to_reference(before[drawn], kept))
    return float(np.std(steps, ddof=1))


def climb(
    p: Proof,
    label: str,
    rungs: dict[str, dict[str, float]],
    expected: dict[str, int],
    errors: dict[str, float],
    protocol: str,
    n: int,
    features: dict[str, Tensor],
    kept: Moments,
) -> None:
    """Record each measure's smallest step in the direction in which damage must move it.

    Args:
        p: The proof.
        label: Name of the ladder.
        rungs: Values by measure, rung by rung, the clean one first.
        expected: Measure to +1 (must rise), −1 (must fall) or 0 (shown without a goal).
        errors: Standard error of a value, where a step may go the wrong way by chance: the goal is then no more than two of its difference.
        protocol: In words.
        n: Images of a rung.
        features: Of the images of every rung.
        kept: Moments of the reference.
    """
    places = list(rungs)
    for name, sign in expected.items():
        path = " → ".join(f"{rung} {r[name]:.4g}" for rung, r in rungs.items())
        values = [r[name] for r in rungs.values()]
        if not sign:
            p.measure(f"{label}, {name}: last rung", values[-1], n=n, baseline=path, protocol=protocol)
            continue
        chance = 2 * math.sqrt(2) * errors.get(name, 0.0)
        step, at = min((sign * (b - a), i) for i, (a, b) in enumerate(itertools.pairwise(values)))
        before, after = features[places[at]], features[places[at + 1]]
        same = name in ("FID", "FLD") and label != "classes missing"  # the same images in both
        p.measure(
            f"{label}, {name}: smallest step {'up' if sign > 0 else 'down'}",
            step,
            se=step_error(before, after, kept) if same else None,
            n=n,
            better="higher",
            goal=-chance if chance else 1e-9,
            baseline=path,
            protocol=protocol
            + (
                f"; {name} has a standard error of {errors[name]:.2g}, the goal allows two of a difference"
                if chance
                else ""
            )
            + (f"; error by {RESAMPLED} draws of the same images with replacement" if same else ""),
        )


def grey_ladders(p: Proof, data: str, net_name: str) -> None:
    train, test = split(data, "train"), split(data, "test")
    net = extractor(net_name)
    reference = real_features(train, net, n=10_000)
    kept = Moments.of(reference)
    images, labels = pictures(test), torch.from_numpy(np.array(test.fields["label"])).long()

    errors: dict[str, float] = {}

    def scores(x: Tensor, f: Tensor) -> dict[str, float]:
        k, q, bins = kid(f, reference), prdc(f, reference), ndb(f, reference, halves=1, passes=20)
        score = classifier_score(classify(net_name, x))
        errors.setdefault("KID", k["se"])  # of the clean images
        errors.setdefault("classifier score", score["se"])
        errors.update(coverage=0.5 / len(x) ** 0.5, recall=0.5 / len(x) ** 0.5)
        errors["JSD of bins"] = (
            (2 * 99) ** 0.5 * (1 / len(x) + 1e-4) / 8
        )  # of equal distributions, where 8 JSD nm / (n + m) is χ²(99)
        errors["1-NN accuracy"] = 0.5 / (2 * len(x)) ** 0.5
        return {
            "FLD": frechet_to_reference(f, kept), "KID": k["value"], "precision": q["precision"], "recall": q["recall"],
            "density": q["density"], "coverage": q["coverage"], "1-NN accuracy": neighbour_test(f, reference, permutations=1)["value"],
            "NDB / K": bins["value"], "JSD of bins": bins["jsd"], "sliced W2": sliced_wasserstein(f, reference, directions=128)["value"],
            "classifier score": score["value"],
        }  # fmt: skip

    rows = [images[:10]]
    harm = {
        "FLD": 1, "KID": 1, "sliced W2": 1, "1-NN accuracy": 1, "JSD of bins": 1, "recall": -1, "coverage": -1, "classifier score": -1,
        "precision": 0, "density": 0,
    }  # fmt: skip
    missing = {**harm, "1-NN accuracy": 0}
    ladders: dict[str, tuple[Callable[[Tensor, Any], Tensor], tuple[float, ...], dict[str, int], int]] = {
        "noise": (noisy, (10, 25, 50, 100), harm, len(images)),
        "blur": (blurred, (0.5, 1, 1.5), harm, len(images)),
        "classes missing": (lambda x, k: without_classes(x, labels, k), (1, 3, 5, 8), missing, FEW),
    }
    clean: dict[int, dict[str, float]] = {}
    of_clean = net(images)
    for name, (damage, levels, expected, n) in ladders.items():
        if n not in clean:
            errors.clear()
            clean[n] = scores(images[:n], of_clean[:n])
        rungs, features = {"clean": clean[n]}, {"clean": of_clean[:n]}
        for level in levels:
            x = damage(images, level)
            features[f"{level:g}"] = net(x)
            rungs[f"{level:g}"] = scores(x, features[f"{level:g}"])
            print(f"[{p.entry.name}] {name} {level:g}: {rungs[f'{level:g}']}", flush=True)
            rows.append(x[:10])
        words = {"noise": "Gaussian noise, sd in grey levels", "blur": "Gaussian blur, σ in pixels"}.get(
            name, "the first classes left out"
        )
        protocol = f"{n:,} {data} test images, {words}, against 10,000 training images (seed 0); {net.name} features; k = 5, K = 100"
        climb(p, name, rungs, expected, errors, protocol, n, features, kept)
    shown = torch.cat(rows)
    p.picture(
        "ladder", grid(shown.float() / 127.5 - 1, columns=10),
        "Rows of ten: clean; noise 10, 25, 50, 100; blur 0.5, 1, 1.5; first 1, 3, 5, 8 classes missing",
    )  # fmt: skip


@proof("measures-ladders-mnist", system="measures", family="measures", minutes=5)
def ladders_mnist(p: Proof) -> None:
    """What digits score, rung by rung, as noise, blur and missing classes grow: which measures see it, and which do not."""
    grey_ladders(p, "mnist", "lenet-mnist-v1")


@proof("measures-ladders-fashion", system="measures", family="measures", minutes=5)
def ladders_fashion(p: Proof) -> None:
    """What garments score, rung by rung, as noise, blur and missing classes grow: which measures see it, and which do not."""
    grey_ladders(p, "fashion-mnist", "lenet-fashion-v1")


@proof("measures-ladders-cifar10", system="measures", family="measures", minutes=9)
def ladders_cifar10(p: Proof) -> None:
    """On coloured photographs, FID and KID rise with every rung of noise and blur, at a few hundred images."""
    n = 250
    train, test = split("cifar10", "train"), split("cifar10", "test")
    net = extractor("inception")
    reference = real_features(test, net, n=500)
    kept = Moments.of(reference)
    rows = rows_of(train, n, 0)
    images = pictures(train)[rows]
    every = rows_of(
        train, 500, 0
    )  # other proofs have these features already, and the first 250 of the same draw are among them
    clean = real_features(train, net, n=500)[torch.from_numpy(np.searchsorted(every, rows))]

    def scores(f: Tensor) -> dict[str, float]:
        return {
            "FID": frechet_to_reference(f, kept),
            "KID": kid(f, reference)["value"],
            "precision": prdc(f, reference, k=3)["precision"],
        }

    shown = [images[:10]]
    for name, damage, levels in (("noise", noisy, (5, 15, 30, 60)), ("blur", blurred, (0.6, 1, 2))):
        rungs, features = {"clean": scores(clean)}, {"clean": clean}
        for level in levels:
            x = damage(images, level)
            features[f"{level:g}"] = net(x)
            rungs[f"{level:g}"] = scores(features[f"{level:g}"])
            print(f"[{p.entry.name}] {name} {level:g}: {rungs[f'{level:g}']}", flush=True)
            shown.append(x[:10])
        protocol = (
            f"{n} CIFAR-10 training images (seed 0) with {'noise, sd in grey levels' if name == 'noise' else 'blur, σ in pixels'}, against "
            f"500 test images; {net.name}; {net.resize}. FID of so few images is far above that of many: only the order counts"
        )
        climb(p, name, rungs, {"FID": 1, "KID": 1, "precision": 0}, {}, protocol, n, features, kept)
    p.picture(
        "ladder",
        grid(torch.cat(shown).float() / 127.5 - 1, columns=10),
        "Rows of ten: clean; noise 5, 15, 30, 60; blur 0.6, 1, 2",
    )
