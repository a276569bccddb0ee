"""Proofs of beginning with another model's weights: `from=` and `freeze=`."""

from __future__ import annotations

from typing import Any

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.metrics.features.networks import default_extractor
from genzoo.metrics.frechet import image_report
from proofs.frozen import curve
from proofs.proof import Proof, proof

FEW, FIRST, STEPS, BATCH, SAMPLES, SEEDS = 200, 1_500, 400, 32, 5_000, (0, 1)
ARMS: dict[str, dict[str, Any]] = {
    "from nothing": {},
    "from MNIST": {"from_": True},
    "from MNIST, first layer of D kept": {"from_": True, "freeze": 1},
}


@proof("dcgan-transfer", system="dcgan", family="adversarial", minutes=10)
def dcgan_transfer(p: Proof) -> None:
    """Two hundred garments teach a DCGAN more in equal steps when it begins with the weights of a run on digits (from=)."""
    keys: dict[str, Any] = {
        "width": 16, "latent": 24, "batch": BATCH, "d_norm": "none", "penalty": "r1", "penalty_weight": 1.0, "lr": 2e-3, "beta1": 0.0,
        "beta2": 0.99, "ema": 0.99, "decay": "none", "precision": "bf16",
    }  # fmt: skip
    digits = p.train("dcgan", "mnist", name="digits", steps=FIRST, seed=7, **keys)
    watched = {"measure": "frechet", "measure_every": STEPS // 4, "measure_n": 1_000}
    runs: dict[str, list[Any]] = {arm: [] for arm in ARMS}
    for seed in SEEDS:
        for arm, more in ARMS.items():
            given = {k: str(digits.path) if k == "from_" else v for k, v in more.items()}
            name = f"garments-{[*ARMS].index(arm)}-seed-{seed}"
            few = p.train(
                "dcgan", "fashion-mnist", name=name, limit=FEW, steps=STEPS, seed=seed, **keys, **watched, **given
            )
            runs[arm].append(few)
    train, test = (open_data(DataSettings("fashion-mnist"), split=s, quiet=True) for s in ("train", "test"))
    net = default_extractor("fashion-mnist", (1, 28, 28))
    found: dict[tuple[str, int], float] = {}
    for arm in ARMS:
        for seed, run in zip(SEEDS, runs[arm], strict=True):
            record = image_report(genzoo.sample(run, n=SAMPLES, seed=0), test, net, train=train)
            record["protocol"] += f"; {FEW} training images, {STEPS} steps of {BATCH}, seed {seed}"
            found[arm, seed] = record["value"]
            scratch = found["from nothing", seed]
            p.report(
                record, name=f"FLD, {arm}, seed {seed}",
                **({} if arm == "from nothing" else {"goal": scratch, "baseline": {"from nothing": scratch}}),
            )  # fmt: skip
    lines = {
        f"{arm}, seed {seed}": list(zip(*curve(run, "FLD"), strict=True))
        for arm in ARMS
        for seed, run in zip(SEEDS, runs[arm], strict=True)
    }
    p.chart(
        "steps", lines, f"FLD of 1,000 samples over the steps of a training on {FEW} garments, by where it began and seed",
        x="steps", y="FLD (1,000 samples)", log=True,
    )  # fmt: skip
    p.picture(
        "digits",
        genzoo.sample(digits, n=40, seed=0),
        f"What it begins with: samples of the run on digits after {FIRST:,} steps",
    )
    for arm in ARMS:
        p.picture(
            f"arm-{[*ARMS].index(arm)}",
            genzoo.sample(runs[arm][0], n=40, seed=0),
            f"{arm}: samples, seed 0, not chosen",
        )
    p.note(
        f"The run on digits had {FIRST:,} steps on 60,000 images, which the other arm has not had: equal are the steps on the {FEW} garments."
    )
