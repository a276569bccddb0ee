"""Proofs of studies: a fragment of the study of Lucic et al., beside its published table."""

from __future__ import annotations

import tomllib

import torch
from proofs import ROOT, Proof, proof

import genzoo
from genzoo.core.pictures import grid
from genzoo.data import DataSettings, open_data
from genzoo.metrics.extractors import default_extractor, extractor
from genzoo.metrics.report import image_report

FRAGMENT = ROOT / "examples" / "studies" / "lucic-fragment.toml"
PUBLISHED = FRAGMENT.with_name("lucic-published.toml")
FLD_SAMPLES, FID_SAMPLES, SHOWN = 10_000, 300, 16


@proof("study-lucic", system="study", family="studies", minutes=8)
def study_lucic(p: Proof) -> None:
    """The eight models of Lucic et al. on one pair of nets and one budget: a fragment on MNIST, one setting, one seed."""
    given = tomllib.loads(FRAGMENT.read_text(encoding="utf-8"))
    published = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))["mnist"]
    found = genzoo.study(FRAGMENT, out=p.work / "study", quiet=True)
    train, test = (open_data(DataSettings("mnist"), split=s, quiet=True) for s in ("train", "test"))
    lenet, inception = default_extractor("mnist", (1, 28, 28)), extractor("inception")
    rows = []
    for row in found.rows:
        assert row["state"] == "complete", f"{row['system']}: {row['why']}"
        run = found.path / row["run"]
        keys = {k: v for k, v in row["settings"].items() if k not in ("system", "data", "seconds")}
        p.record["runs"].append(
            {"system": row["system"], "data": row["data"], **keys, "seconds": round(row["seconds"], 1)}
        )
        images = genzoo.sample(run, n=FLD_SAMPLES, seed=0)
        p.report(image_report(images, test, lenet, train=train), name=f"FLD, {row['system']}")
        small = image_report(images[:FID_SAMPLES], test, inception, train=train, n_real=FID_SAMPLES)
        told = f"{published[row['system']]} (arXiv:1711.10337; best of 100 draws, 20 epochs, 10,000 samples)"
        p.report(small, name=f"FID, {row['system']}", published=told)
        rows.append(images[:SHOWN])
    p.picture(
        "samples", grid(torch.cat(rows), columns=SHOWN), "One row each, not chosen: " + ", ".join(given["systems"])
    )
    p.note(
        "Not run: Fashion-MNIST and CIFAR-10, the hundred draws of the settings, the twenty epochs, the full width. The commands for all of it are "
        "in docs/studies.md. At a twentieth of the budget and one setting nothing here ranks the objectives."
    )
    p.note(
        f"FID at {FID_SAMPLES} samples is mostly bias: real training images in the samples' place have the value under 'real'. The study took 10,000."
    )
