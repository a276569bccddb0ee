"""Proofs of what frozen networks and augmentation do for a discriminator: projected-gan, vision-aided-gan, DiffAugment on little data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import grid, to_uint8
from genzoo.metrics import frechet, kid
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.features.networks import default_extractor, extractor
from genzoo.metrics.frechet import image_report
from genzoo.metrics.maths.outliers import auroc
from genzoo.use.pages.figures import new_figure, save_figure
from proofs.adversarial import CLASSIC
from proofs.proof import Proof, proof

DATA, BATCH, STEPS = "fashion-mnist", 32, 800
SAMPLES = 5_000

SAME: dict[str, Any] = {
    "batch": BATCH, "steps": STEPS, "width": 32, "lr": 2e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.99, "seed": 0, "precision": "bf16",
    "decay": "linear", "measure": "frechet", "measure_every": STEPS // 8, "measure_n": 2_000,
}  # fmt: skip
"""What all have in common: the generator, the batches, the rates, the measurements."""
R1: dict[str, Any] = {"d_norm": "none", "penalty": "r1", "penalty_weight": 1.0}


def curve(run: Any, measure: str) -> tuple[list[int], list[float]]:
    """Steps and values of a measure that was taken while a run was trained."""
    lines = [line for line in run.log() if measure in line]
    return [line["step"] for line in lines], [line[measure] for line in lines]


def curves(p: Proof, runs: Mapping[str, Any], batch: int, caption: str, *, epoch: int | None = None) -> None:
    """Draw FLD over images seen, on logarithmic scales; with `epoch` over passes through that many images."""
    figure, axis = new_figure(1)
    figure.set_size_inches(6, 4)
    for label, run in runs.items():
        steps, values = curve(run, "FLD")
        axis.plot([s * batch / (epoch or 1) for s in steps], values, "o-", label=label, markersize=3)
    axis.set(xlabel="passes through the data" if epoch else "images seen", ylabel="FLD (2,000 samples)", yscale="log")
    axis.legend()
    p.picture("curve", save_figure(figure, Path(p.work) / "curve.png"), caption)


def final(p: Proof, runs: Mapping[str, Any], data: str, words: str) -> dict[str, float]:
    """Measure FLD of every run at its end against the whole test split; each one's baseline is the first."""
    train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
    net = default_extractor(data, (1, 28, 28))
    found: dict[str, float] = {}
    for label, run in runs.items():
        record = image_report(genzoo.sample(run, n=SAMPLES, seed=0), test, net, train=train)
        record["protocol"] += f"; {words}"
        found[label] = record["value"]
        first = next(iter(found))
        p.report(record, name=f"FLD, {label}", baseline={first: found[first]} if label != first else None)
    return found


@proof("projected-gan-fashion-mnist", system="projected-gan", family="adversarial", minutes=12)
def projected(p: Proof) -> None:
    """Whether features of a frozen network teach DCGAN's generator faster: FLD over images seen, with and without."""
    see = {"mix_width": 32, "d_width": 32, "augment": ()}
    runs = {
        "dcgan with R1": p.train("dcgan", DATA, name="dcgan", **SAME, **R1),
        "projected, EfficientNet-Lite0 at 32x32": p.train(
            "projected-gan", DATA, name="efficientnet", features="efficientnet-lite0", resolution=32, **see, **SAME
        ),
        "projected, LeNet of digits": p.train("projected-gan", DATA, name="lenet", features="lenet-mnist", **see, **SAME),
    }  # fmt: skip
    words = f"after {STEPS:,} steps of {BATCH} images; one generator, one seed, no augmentation in any of them"
    final(p, runs, DATA, words)
    curves(p, runs, BATCH, "FLD over images seen: the same generator, batches and rates, other discriminators")
    for run in runs.values():
        p.picture(run.path.name, genzoo.sample(run, n=50, seed=0), f"{run.path.name}: samples, seed 0, not chosen")
    p.note(
        "EfficientNet-Lite0 was trained on photographs of 224x224; 28x28 images are enlarged to 32x32 here, because 224x224 would take fifty times "
        "as long on a CPU. Its four maps are then 8, 4, 2 and 1 pixels wide. FLD is measured by a LeNet of garments, which no discriminator has."
    )


@proof("vision-aided-gan-fashion-mnist", system="vision-aided-gan", family="adversarial", minutes=10)
def vision_aided(p: Proof) -> None:
    """Which of three frozen networks a linear probe chooses, and what they add to the ordinary discriminator: FLD over images seen."""
    bank = ("efficientnet-lite0", "alexnet", "lenet-mnist")
    own = {"experts": bank, "added": 2, "resolution": 32, "d_width": 32, "augment": ()}
    runs = {
        "dcgan with R1": p.train("dcgan", DATA, name="dcgan", **SAME, **R1),
        "vision-aided, two experts": p.train("vision-aided-gan", DATA, name="vision-aided", **own, **SAME),
    }
    system = genzoo.load(runs["vision-aided, two experts"].path)
    for turn, chosen in enumerate(system.chosen.tolist()):
        told = {name: float(a) for name, a in zip(bank, system.accuracies[turn].tolist(), strict=True) if a >= 0}
        p.measure(
            f"probe accuracy of the {('first', 'second')[turn]} expert, {bank[chosen]}", told.pop(bank[chosen]), n=512, better="higher",
            baseline=told, protocol="held-out accuracy of a logistic regression on pooled features, 256 real and 256 generated images for "
            f"the fit, as many for the score, at {100 * (system.start + turn * system.interval):.0f} % of the run",
        )  # fmt: skip
    final(p, runs, DATA, f"after {STEPS:,} steps of {BATCH} images; one generator, one seed, no augmentation")
    curves(
        p,
        runs,
        BATCH,
        "FLD over images seen, without and with experts, which join after a tenth and three tenths of the run",
    )
    for run in runs.values():
        p.picture(run.path.name, genzoo.sample(run, n=50, seed=0), f"{run.path.name}: samples, seed 0, not chosen")
    p.note("Images are enlarged to 32x32 for every expert; the two of photographs were trained on 224x224.")


FEW, FEW_STEPS = 1_000, 3_000


@proof("dcgan-few-images", system="dcgan", family="adversarial", minutes=12)
def few_images(p: Proof) -> None:
    """Differentiable augmentation where there are only 1,000 training images: FLD over passes, and copies, with and without."""
    keys = SAME | R1 | {
        "steps": FEW_STEPS, "limit": FEW, "measure": "frechet,memorization", "measure_every": FEW_STEPS // 8, "ema": 0.999,
    }  # fmt: skip
    augmented = {"augment": ("color", "translation", "cutout")}
    runs = {
        "without": p.train("dcgan", DATA, name="without", **keys),
        "with augmentation": p.train("dcgan", DATA, name="with", **keys, **augmented),
    }
    words = f"trained on {FEW:,} images for {FEW_STEPS * BATCH // FEW} passes; one seed"
    final(p, runs, DATA, words)
    for label, run in runs.items():
        steps, values = curve(run, "FLD")
        best = min(values)
        p.measure(
            f"best FLD on the way, {label}", best, n=2_000, better="lower", baseline={"at the end": values[-1]},
            protocol=f"lowest of {len(values)} measurements with 2,000 samples against {FEW:,} test images, at step {steps[values.index(best)]:,}; "
            f"{words}",
        )  # fmt: skip
        authentic = curve(run, "AuthPct")[1]
        if authentic:
            p.measure(
                f"AuthPct at the end, {label}", authentic[-1], unit="%", n=2_000, better="higher",
                protocol=f"per cent of samples that are no copies, by LeNet features; {words}",
            )  # fmt: skip
        p.picture(run.path.name, genzoo.sample(run, n=50, seed=0), f"{label}: samples, seed 0, not chosen")
    curves(p, runs, BATCH, f"FLD over passes through {FEW:,} images", epoch=FEW)


TENTH, TENTH_STEPS, TENTH_SAMPLES = 5_000, 4_500, 1_000


@proof("dcgan-tenth-cifar10", system="dcgan", family="adversarial", minutes=12)
def tenth(p: Proof) -> None:
    """Differentiable augmentation on a tenth of CIFAR-10: FID and KID with and without, and how far D tells training from held-out images."""
    keys: dict[str, Any] = {
        "limit": TENTH, "steps": TENTH_STEPS, "batch": BATCH, "width": 32, "flip": True, "d_norm": "none", "penalty": "r1",
        "penalty_weight": 0.1, "lr": 2e-3, "beta1": 0.0, "beta2": 0.99, "ema": 0.999, "decay": "linear", "seed": 0, "precision": "bf16",
    }  # fmt: skip
    runs = {
        "without": p.train("dcgan", "cifar10", name="without", **keys),
        "with augmentation": p.train(
            "dcgan", "cifar10", name="with", **keys, augment=("color", "translation", "cutout")
        ),
    }
    words = f"trained on {TENTH:,} images for {TENTH_STEPS * BATCH // TENTH} passes; R1 of weight 0.1; one seed"
    train = open_data(DataSettings("cifar10", limit=TENTH), split="train", quiet=True)
    test = open_data(DataSettings("cifar10"), split="test", quiet=True)
    net = extractor("inception")
    shown, kids = [], {}
    for label, run in runs.items():
        images = genzoo.sample(run, n=TENTH_SAMPLES, seed=0)
        given = Comparison(test=test, train=train, net=net, given=to_uint8(images), n_real=TENTH_SAMPLES)
        p.report(frechet.take(given)[0].to_json(), name=f"FID, {label}")
        kids[label] = kid.take(given)[0].to_json()
        p.report(
            kids[label], name=f"KID, {label}", se=kids[label]["se"],
            **({"goal": kids["without"]["value"]} if label != "without" else {}),
        )  # fmt: skip
        system = genzoo.load(run.path)
        seen, unseen = (
            torch.from_numpy(np.array(d.fields["image"][:TENTH_SAMPLES])).float() / 127.5 - 1 for d in (train, test)
        )
        with torch.no_grad():
            first, second = (torch.cat([system.D(x) for x in part.split(250)]).flatten() for part in (seen, unseen))
        p.measure(
            f"D tells training from test images, {label}", auroc(second, first), n=2 * TENTH_SAMPLES, better="lower",
            protocol=f"AUROC of the scores of the discriminator (averaged weights), {TENTH_SAMPLES:,} training against as many test images, not "
            f"augmented: 0.5 where it has not learned them by heart; {words}",
        )  # fmt: skip
        shown.append(images[:30])
    p.picture(
        "samples",
        grid(torch.cat(shown), columns=15),
        "Samples, seed 0, not chosen: two rows without, two with augmentation",
    )
    p.note(f"{words}. The paper (arXiv:2006.10738) trains BigGAN and others for hundreds of passes more.")


RULES: dict[str, dict[str, Any]] = {
    "all five rules": {},
    "1 pooling for strides": {"resampling": "pooling"},
    "2 no batch norm in G": {"g_norm": "none"},
    "2 no batch norm in D": {"d_norm": "none"},
    "3 a dense layer of 256": {"dense": 256},
    "4 tanh in G": {"g_activation": "tanh"},
    "5 ReLU in D": {"d_activation": "relu"},
}
RULE_STEPS, SEEDS = 800, 2


@proof("dcgan-rules", system="dcgan", family="adversarial", minutes=12)
def rules(p: Proof) -> None:
    """What each of DCGAN's five rules is worth: FLD with all of them, and with one at a time broken."""
    test = open_data(DataSettings(DATA), split="test", quiet=True)
    net = default_extractor(DATA, (1, 28, 28))
    values: dict[str, list[float]] = {}
    for label, broken in RULES.items():
        values[label] = []
        for seed in range(SEEDS):
            run = p.train(
                "dcgan", DATA, name=f"{label.replace(' ', '-')}-{seed}", width=16, batch=BATCH, steps=RULE_STEPS, ema=0.99,
                seed=seed, precision="bf16", **CLASSIC | {"lr": 5e-4} | broken,
            )  # fmt: skip
            values[label].append(image_report(genzoo.sample(run, n=2_000, seed=0), test, net)["value"])
            if seed == 0:
                p.picture(label.replace(" ", "-"), genzoo.sample(run, n=30, seed=0), f"{label}: samples, seed 0")
    whole = sum(values["all five rules"]) / SEEDS
    for label, found in values.items():
        p.measure(
            f"FLD, {label}", sum(found) / SEEDS, n=2_000, split="test", better="lower",
            baseline=None if label == "all five rules" else {"all five rules": whole},
            protocol=f"mean of {SEEDS} seeds, {RULE_STEPS} steps of {BATCH} images, width 16, one learning rate (5e-4) for all; 2,000 samples "
            "against the test images, lenet-fashion-v1",
        )  # fmt: skip
    p.note("By seed: " + "; ".join(f"{k}: {', '.join(f'{v:.0f}' for v in found)}" for k, found in values.items()) + ".")
    p.note(
        "A short run at one learning rate shows how a rule helps at the start; it does not say where each variant would end."
    )
