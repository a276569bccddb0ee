"""Proofs of studies: a fragment of the study of Lucic et al., beside its published table."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from proofs import ROOT, Proof, proof

import genzoo
from genzoo.core.pictures import titled, to_uint8
from genzoo.data import DataSettings, open_data
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.extractors import default_extractor, extractor
from genzoo.metrics.measures import frechet, kernel
from genzoo.metrics.report import image_report

FRAGMENT = ROOT / "examples" / "studies" / "lucic-fragment.toml"
PUBLISHED = FRAGMENT.with_name("lucic-published.toml")
FLD_SAMPLES, SMALL, SHOWN = 10_000, 300, 16


@proof("study-lucic", system="study", family="studies", minutes=25)
def study_lucic(p: Proof) -> None:
    """The eight models of Lucic et al. on one pair of nets and one budget: a fragment on MNIST and Fashion-MNIST, one setting, one seed."""
    fragment(p, FRAGMENT)


def fragment(p: Proof, file: Path) -> None:
    """Run a study of images without a search and record FLD, FID and KID of each run, and its samples, beside the published table."""
    published = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    found = genzoo.study(file, out=p.work / "study", quiet=True)
    for data in found.plan.data:
        train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
        lenet, inception = default_extractor(data, (1, 28, 28)), extractor("inception")
        rows = []
        for row in (r for r in found.rows if r["data"] == data):
            system = row["system"]
            assert row["state"] == "complete", f"{system} on {data}: {row['why']}"
            p.record["runs"].append(
                {"system": system, "data": data, **row["settings"], "seed": row["seed"], "seconds": round(row["seconds"], 1)}
            )  # fmt: skip
            images = genzoo.sample(found.path / row["run"], n=FLD_SAMPLES, seed=0)
            p.report(image_report(images, test, lenet, train=train), name=f"FLD, {system}, {data}")
            small = Comparison(test=test, train=train, net=inception, given=to_uint8(images[:SMALL]), n_real=SMALL)
            told = f"{published[data][system]} (arXiv:1711.10337; best of 100 draws, 20 epochs, 10,000 samples)"
            p.report(frechet(small)[0].to_json(), name=f"FID, {system}, {data}", published=told)
            unbiased = kernel(small)[0].to_json()
            p.report(unbiased, name=f"KID, {system}, {data}", se=unbiased["se"])
            rows.append(images[:SHOWN])
        titles = [f"{system}, {data}" for system in found.plan.systems]
        p.picture(
            f"samples-{data}",
            titled(torch.cat(rows), titles, columns=SHOWN),
            f"{SHOWN} samples of each on {data}, not chosen",
        )
    p.note(
        "Not run: CIFAR-10, the hundred draws of the settings, the twenty epochs, the full width. The commands for all of it are in "
        "docs/studies.md. At a twentieth of the budget, with one setting and one seed, nothing here ranks the objectives."
    )
    p.note(
        f"FID at {SMALL} samples is mostly bias: real training images in the samples' place have the value under 'real'. The study took 10,000. "
        f"KID has no such bias, and its standard error at {SMALL} samples stands beside it."
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
    p.output("table.csv", tables[0].decode())


@proof("lectures", system="study", family="studies", minutes=12)
def lectures(p: Proof) -> None:
    """The script of every lecture in its full form: under five minutes of one thread each."""
    for script in sorted((ROOT / "examples").glob("lecture_*.py")):
        out, kept = p.work / script.stem, p.work / f"{script.stem}.json"
        if not kept.exists():  # else only where a stopped proof goes on
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(lecture(script, out)), encoding="utf-8")
        told = json.loads(kept.read_text(encoding="utf-8"))
        p.measure(
            script.stem, told["cpu_seconds"], unit="s of CPU", better="lower", goal=300, baseline={"wall time": told["seconds"]},
            protocol="python examples/NAME.py: CPU time of its one thread, which is the wall time where nothing else runs; beside it the wall time "
            "here, on a machine that other work shared",
        )  # fmt: skip
        for picture in sorted(out.glob("*.png"), key=lambda file: file.stat().st_mtime):
            p.picture(f"{script.stem}-{picture.stem}", picture, f"{script.stem}: {picture.stem}")
        p.output(script.stem, told["printed"])


def lecture(script: Path, out: Path) -> dict[str, Any]:
    """What a script took and printed."""
    begun, spent = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, str(script), "--out", str(out)], capture_output=True, text=True, check=False)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{script.name}: {done.stderr[-2000:]}")
    print(done.stdout, flush=True)
    cpu = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
    return {"seconds": time.time() - begun, "cpu_seconds": cpu, "printed": done.stdout}
