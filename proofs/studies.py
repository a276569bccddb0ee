"""Proofs of studies: the study of Lucic et al. at small sizes, beside its published table; a study that is killed; the lectures."""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import torch

import genzoo
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.images import titled, to_uint8
from genzoo.metrics import frechet, kid
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.features.networks import default_extractor, extractor
from genzoo.metrics.frechet import image_report
from proofs.baselines import baselines
from proofs.machine import ROOT
from proofs.proof import Proof, proof

FRAGMENT = ROOT / "examples" / "studies" / "lucic-fragment.toml"
PUBLISHED = FRAGMENT.with_name("lucic-published.toml")
FLD_SAMPLES, SMALL, SHOWN = 10_000, 300, 16
BIAS = (
    f"FID at {SMALL} samples is mostly bias: real training images in the samples' place have the value under 'real'. The study took 10,000. "
    f"KID has no such bias, and its standard error at {SMALL} samples stands beside it."
)
FEW_DRAWS = (
    "Not run: the hundred draws of the settings, the twenty and the hundred epochs, the full width, the 50 seeds of the best draw. With a few "
    "draws of ranges this wide the best one is mostly a matter of its learning rate: this shows what such a search costs and how far apart "
    "draws lie, and ranks no objective."
)


@proof("study-lucic", system="study", family="studies", minutes=25)
def study_lucic(p: Proof) -> None:
    """The eight models of Lucic et al. on one pair of nets and one budget: a fragment on MNIST and Fashion-MNIST, one setting, one seed."""
    best_beside_published(p, FRAGMENT)
    p.note(
        "Not run here: CIFAR-10, a search of the settings, the twenty epochs, the full width; study-lucic-two-cores has more of it. At a "
        "twentieth of the budget, with one setting and one seed, nothing here ranks the objectives."
    )
    p.note(BIAS)


@proof("study-lucic-two-cores", system="study", family="studies", minutes=90)
def study_lucic_two_cores(p: Proof) -> None:
    """The study of Lucic et al. at the size for two cores: eight models, two data sets, four draws of the settings, the best of them told."""
    best_beside_published(p, FRAGMENT.with_name("lucic-two-cores.toml"))
    p.note(FEW_DRAWS)
    p.note(BIAS)


@proof("study-lucic-two-cores-cifar10", system="study", family="studies", minutes=35)
def study_lucic_two_cores_cifar10(p: Proof) -> None:
    """The study of Lucic et al. on CIFAR-10 at the size for two cores: eight models, two draws of the settings, the better of them told."""
    best_beside_published(p, FRAGMENT.with_name("lucic-two-cores-cifar10.toml"))
    p.note(FEW_DRAWS)
    p.note(BIAS)


def best_beside_published(p: Proof, file: Path) -> None:
    """Run a study of images, or read one that was run, and record FLD, FID and KID of each system's best draw, and its samples."""
    published = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    found = genzoo.study(file, out=p.work / file.stem, quiet=True)
    spent = sum(row["seconds"] or 0 for row in found.rows)
    p.measure(
        f"all trainings of {file.name}", spent / 60, unit="min", n=len(found.rows),
        protocol=f"sum over the {len(found.rows)} trials of the seconds that each trained, a thread each, beside other work",
    )  # fmt: skip
    for data in found.plan.data:
        train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
        nets = [default_extractor(data, train.fields["image"].shape[1:]), extractor("inception")]
        rows, titles = [], []
        for system in found.plan.systems:
            draws = [r for r in found.rows if (r["system"], r["data"]) == (system, data)]
            done = sorted((r for r in draws if r["state"] == "complete"), key=lambda r: r["value"])
            if not done:
                p.note(f"{system} on {data}: none of {len(draws)} draws was finished ({draws[0]['why']}).")
                continue
            best, values = done[0], [r["value"] for r in done]
            p.record["runs"].append(
                {
                    "system": system, "data": data, **best["settings"], "seed": best["seed"], "draws": len(draws),
                    "failed draws": len(draws) - len(done), "seconds": round(best["seconds"], 1),
                }
            )  # fmt: skip
            images = genzoo.sample(found.path / best["run"], n=FLD_SAMPLES, seed=0)
            others: dict[str, Any] = {}
            if len(draws) > 1:
                n = f"{found.plan.measure}, N={found.plan.samples:,}"
                others = {f"median of {len(done)} draws ({n})": statistics.median(values), f"worst ({n})": values[-1]}
            if nets[0].name != nets[1].name:
                p.report(
                    image_report(images, test, nets[0], train=train), name=f"FLD, {system}, {data}", baseline=others
                )
                others = {}
            small = Comparison(test=test, train=train, net=nets[1], given=to_uint8(images[:SMALL]), n_real=SMALL)
            told = f"{published[data][system]} (arXiv:1711.10337; best of 100 draws, 20 epochs (CIFAR-10: 100), 10,000 samples)"
            p.report(frechet.take(small)[0].to_json(), name=f"FID, {system}, {data}", published=told, baseline=others)
            unbiased = kid.take(small)[0].to_json()
            p.report(unbiased, name=f"KID, {system}, {data}", se=unbiased["se"])
            rows.append(images[:SHOWN])
            titles.append(f"{system}, {data}")
        p.picture(
            f"samples-{data}",
            titled(torch.cat(rows), titles, columns=SHOWN),
            f"{SHOWN} samples of each on {data}, not chosen",
        )
    if found.plan.draws > 1:
        p.picture(f"boxes-{file.stem}", found.path / "boxes.png", f"{found.plan.measure} of every draw of {file.name}")
        p.output(f"{file.stem}/table.csv", (found.path / "table.csv").read_text(encoding="utf-8"))


@proof("study-dcgan-defaults", system="dcgan", family="studies", minutes=12)
def study_dcgan_defaults(p: Proof) -> None:
    """In two minutes of one core, which settings of dcgan halve the FLD on garments that those of the paper reach."""
    file = FRAGMENT.with_name("dcgan-defaults.toml")
    found = genzoo.study(file, out=p.work / file.stem, quiet=True)
    data = found.plan.data[0]
    train, test = (open_data(DataSettings(data), split=s, quiet=True) for s in ("train", "test"))
    net = default_extractor(data, train.fields["image"].shape[1:])
    rows, titles, values = [], [], {}
    for trial in found.rows:
        label = f"{trial['system']}, lr {trial['settings']['lr']:g}" + (", dense" if trial["settings"]["dense"] else "")
        images = genzoo.sample(found.path / trial["run"], n=FLD_SAMPLES, seed=0)
        values[label] = image_report(images, test, net, train=train)
        p.record["runs"].append(
            {
                "system": trial["system"],
                "data": data,
                **trial["settings"],
                "seed": trial["seed"],
                "seconds": round(trial["seconds"], 1),
            }
        )
        rows.append(images[:SHOWN])
        titles.append(label)
    half = values["ns-gan, lr 0.0002"]["value"] / 2
    simple = baselines(data, FLD_SAMPLES, net=net)
    for label, record in values.items():
        others = {k: v["value"] for k, v in values.items() if k != label}
        p.report(
            record, name=f"FLD, {label}", baseline=simple | others, goal=half if label.startswith("dcgan") else None
        )
    p.picture(
        "samples", titled(torch.cat(rows), titles, columns=SHOWN), f"{SHOWN} samples of each on {data}, not chosen"
    )
    p.output(f"{file.stem}/table.csv", (found.path / "table.csv").read_text(encoding="utf-8"))


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
