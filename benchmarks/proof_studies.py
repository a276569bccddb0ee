"""Proofs of studies: a fragment of the study of Lucic et al., beside its published table."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

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


def start(out: Path) -> subprocess.Popen[bytes]:
    """One worker of the small study of examples/, as a person starts it."""
    file = FRAGMENT.with_name("first.toml")
    words = [sys.executable, "-m", "genzoo", "study", str(file), f"out={out}", "quiet=true"]
    return subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})


@proof("study-first", system="study", family="studies", minutes=6)
def study_first(p: Proof) -> None:
    """Two systems, two seeds, embedded data: minutes; killed in the middle and begun again by two workers it ends with the same table."""
    begun = time.time()
    if start(p.work / "alone").wait():
        raise RuntimeError("the study failed")
    protocol = "genzoo study examples/studies/first.toml: vae and dcgan on digits, two seeds each, one worker, one thread; with reports and page"
    p.measure("one worker", time.time() - begun, unit="s", protocol=protocol, better="lower", goal=300)
    first = start(p.work / "shared")
    while not list((p.work / "shared").glob("runs/0002-*/log.jsonl")) and first.poll() is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    both = [start(p.work / "shared") for _ in range(2)]
    codes = [worker.wait() for worker in both]
    if any(codes):
        raise RuntimeError("a worker failed")
    tables = [(p.work / name / "table.csv").read_bytes() for name in ("alone", "shared")]
    p.measure(
        "tables equal, byte for byte", float(tables[0] == tables[1]), better="higher", goal=1,
        protocol="the same study, its worker killed (SIGKILL) in its third trial, then two workers on the folder",
    )  # fmt: skip
    p.picture("boxes", p.work / "alone" / "boxes.png", "FLD of the four trials")
    p.note(tables[0].decode().strip().replace("\n", " / "))


@proof("lectures", system="study", family="studies", minutes=12)
def lectures(p: Proof) -> None:
    """The script of every lecture in its full form: under five minutes each."""
    for script in sorted((ROOT / "examples").glob("lecture_*.py")):
        begun, out = time.time(), p.work / script.stem
        done = subprocess.run(
            [sys.executable, str(script), "--out", str(out)], capture_output=True, text=True, check=True
        )
        print(done.stdout, flush=True)
        p.measure(
            script.stem,
            time.time() - begun,
            unit="s",
            better="lower",
            goal=300,
            protocol=f"python examples/{script.name}",
        )
        last = sorted(out.glob("*.png"), key=lambda file: file.stat().st_mtime)[-1]
        p.picture(script.stem, last, f"{script.stem}: {last.stem}")
        p.note(done.stdout)
