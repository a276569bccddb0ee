"""Score a system by every measure that it and the data allow, each with its protocol beside it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from genzoo.core.errors import UserError
from genzoo.core.pictures import save_png
from genzoo.core.system import System, capabilities
from genzoo.data import Dataset
from genzoo.metrics.extractors import available, default_extractor
from genzoo.metrics.likelihood import evaluate_density
from genzoo.metrics.report import image_report
from genzoo.use.images import first_batch, open_for
from genzoo.use.outputs import folder_for, free, save_json
from genzoo.use.reconstruct import psnr, reconstruct
from genzoo.use.sample import sample
from genzoo.use.source import Source, name_of, open_system, run_path

MOST, SAMPLES, SHOWN = 10_000, 2_000, 64
DIGIT_LIKE = ("mnist", "digits", "garments")
"""Data that the bundled feature networks were made for; on other images their distance would mean nothing."""


@torch.no_grad()
def evaluate(source: Source, data: str | None = None, *, n: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Draw a sample grid and take measures: log-likelihood, reconstruction error, FLD; those that apply.

    Args:
        source: A run, its path, or a system.
        data: What to score; the test part of the run's own data when not given.
        n: Examples and samples to use; when not given the test part up to 10,000 examples, and 2,000 samples.
        seed: Seed of samples and of estimates.

    Returns:
        system, data, n and seed; measures: name -> value, unit, se, n, protocol (and more that the measure says); not_measured:
        name -> why;
        pictures: name -> file; written: the metrics.json that also keeps them. Without a run nothing is written.

    Raises:
        UserError: There is no such run or data, or `n` is less than 2.
    """
    if n is not None and n < 2:
        raise UserError(f"n={n} is not allowed; give at least 2")
    system = open_system(source)
    folder = run_path(source)
    able = capabilities(system)
    found: dict[str, Any] = {
        "system": name_of(system),
        "seed": seed,
        "measures": {},
        "not_measured": {},
        "pictures": {},
        "written": None,
    }
    if "samples" in able and folder:
        drawn = sample(system, n=SHOWN, seed=seed)
        found["pictures"]["samples"] = str(save_png(free(folder_for(source) / "evaluate.png", overwrite=True), drawn))
    if data is not None or getattr(system, "trained", None):
        dataset = open_for(system, data)
        found |= {"data": dataset.name, "split": dataset.split, "examples": len(dataset)}
        if "density" in able and {"image", "points", "audio"} & set(dataset.fields):
            try:
                found["measures"] |= _likelihood(system, dataset, n, seed)
            except UserError as reason:  # a system may learn from data that it gives no likelihood of, and says why
                found["not_measured"]["NLL"] = str(reason)
        if {"encodes", "decodes"} <= set(able) and "image" in dataset.fields:
            found["measures"] |= _reconstruction(system, dataset, n)
        if "samples" in able and _has_features(dataset):
            found["measures"] |= _distance(system, dataset, open_for(system, data, split="train"), n, seed)
    if folder and found["measures"]:
        found["written"] = str(_keep(folder, found))
    return found


def _likelihood(system: System, dataset: Dataset, n: int | None, seed: int) -> dict[str, Any]:
    record = evaluate_density(system, dataset, n=n or min(MOST, len(dataset)), seed=seed)
    rest = {k: record[k] for k in ("n", "data", "split", "likelihood", "levels", "seed", "library", "protocol")}
    found = {"NLL": {"value": record["nll"], "se": record["se"], "unit": "nats", **rest}}
    if "bits_per_sample" in record:
        found["bits/sample"] = {
            "value": record["bits_per_sample"],
            "se": record["bits_per_sample_se"],
            "unit": "bits/sample",
            **rest,
        }
    if "bits_per_dim" in record:
        found["bits/dim"] = {
            "value": record["bits_per_dim"],
            "se": record["bits_per_dim_se"],
            "unit": "bits/dim",
            **rest,
        }
    return found


def _reconstruction(system: System, dataset: Dataset, n: int | None) -> dict[str, Any]:
    images = first_batch(system, dataset, n or min(1000, len(dataset)))["image"]
    values = psnr(images, reconstruct(system, images)).double()
    protocol = f"mean over {len(images):,} examples of {dataset.name} {dataset.split} of the PSNR of decode(encode(x)), range 2"
    se = float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None
    record = {"value": float(values.mean()), "se": se, "unit": "dB", "n": len(images), "protocol": protocol}
    return {"reconstruction PSNR": {**record, "data": dataset.name, "split": dataset.split}}


def _has_features(dataset: Dataset) -> bool:
    if "image" not in dataset.fields or dataset.settings.binarize == "dynamic" or len(dataset) < 2:
        return False
    shape = dataset.fields["image"].shape[1:]
    known = shape[0] == 1 and max(shape[1:]) <= 40 and any(word in dataset.name for word in DIGIT_LIKE)
    return known and any(there for name, there in available().items() if name.startswith("lenet"))


def _distance(system: System, test: Dataset, train: Dataset, n: int | None, seed: int) -> dict[str, Any]:
    net = default_extractor(test.name, tuple(test.fields["image"].shape[1:]))
    record = image_report(sample(system, n=n or SAMPLES, seed=seed), test, net, train=train, n_real=n, seed=seed)
    return {record["measure"]: {**record, "unit": "", "se": None, "n": record["n_fake"]}}


def _keep(folder: Path, found: dict[str, Any]) -> Path:
    """Add to what earlier evaluations found; the same measure on the same data is replaced."""
    path = folder / "metrics.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        kept = {}
    for name, record in found["measures"].items():
        kept[f"{name} on {record['data']} {record['split']}"] = record
    return save_json(path, kept)
