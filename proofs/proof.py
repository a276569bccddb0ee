"""A proof: a function that is given a `Proof`, trains, measures and pictures with it, and so writes one record.

A proof is a function in a file of this folder under `@proof`. Its record is docs/results/records/NAME.json; the pages are made of the
records alone, so running one proof again changes what it says and nothing else.
"""

from __future__ import annotations

import dataclasses
import datetime
import fcntl
import io
import json
import os
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from proofs.machine import ROOT, commit, machine
from proofs.result_pages import command, number

RESULTS = ROOT / "docs" / "results"
WORK = ROOT / "runs" / "proofs"
PICTURE_BYTES = 200_000


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered proof.

    Args:
        name: Its name, unique.
        system: The system or preset that it is about, or another word where it is about none: measures.
        family: The page that it is written to: the system's family, or measures.
        minutes: About how long it takes on two CPU cores.
        claim: What it shows: the first line of the function's docstring.
        run: The function.
    """

    name: str
    system: str
    family: str
    minutes: float
    claim: str
    run: Callable[[Proof], None]


REGISTRY: dict[str, Entry] = {}


def proof(
    name: str, *, system: str, family: str, minutes: float
) -> Callable[[Callable[[Proof], None]], Callable[[Proof], None]]:
    """Register a function as a proof; its docstring's first line is the claim."""

    def register(function: Callable[[Proof], None]) -> Callable[[Proof], None]:
        if name in REGISTRY:
            raise ValueError(f"two proofs are called {name}")
        claim = (function.__doc__ or "").strip().split("\n", 1)[0]
        REGISTRY[name] = Entry(name, system, family, minutes, claim, function)
        return function

    return register


class Proof:
    """What a proof function is given: it trains, measures, keeps pictures and notes, and everything goes to one record.

    Args:
        entry: The proof.
        results: Folder of records, pictures and pages.
        work: Folder of the runs of all proofs; this proof's part of it is removed first.
        resume: Keep it, and go on with its runs: for a proof that was stopped.
    """

    def __init__(self, entry: Entry, results: Path = RESULTS, work: Path = WORK, *, resume: bool = False) -> None:
        self.entry = entry
        self.results = results
        self.work = work / entry.name
        self.shared = work / "shared"
        self.started = time.time()
        self.record: dict[str, Any] = {
            "name": entry.name, "system": entry.system, "family": entry.family, "claim": entry.claim,
            "measures": [], "pictures": [], "notes": [], "runs": [],
        }  # fmt: skip
        work.mkdir(parents=True, exist_ok=True)
        lock = os.open(work / f".{entry.name}.lock", os.O_CREAT | os.O_RDWR)
        weakref.finalize(self, os.close, lock)  # which also gives the folder free
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another process runs the proof {entry.name} in {work}") from None
        if not resume:
            shutil.rmtree(self.work, ignore_errors=True)

    def train(self, system: str, data: str, *, name: str | None = None, **keys: Any) -> Any:
        """Train into this proof's work folder and record the settings; returns the Run of `genzoo.train`.

        Args:
            system: Name of a system or preset.
            data: What to train on.
            name: Name of the run folder, where a proof trains more than one.
            keys: Settings of the system, the data and the training.
        """
        import genzoo

        label = name or f"{system}-{len(self.record['runs']) + 1}"
        print(f"[{self.entry.name}] training {system} on {data}: {keys or 'defaults'}", flush=True)
        start = time.time()
        begun = self.work / label
        if (begun / "config.toml").exists():  # only where a stopped proof goes on
            run = genzoo.resume(begun)
            seconds = round(run.log()[-1]["seconds"], 1)
        else:
            shutil.rmtree(begun, ignore_errors=True)
            run = genzoo.train(system, data, runs=str(self.work), name=label, **keys)
            seconds = round(time.time() - start, 1)
        self.record["runs"].append({"system": system, **_plain({"data": data, **keys}), "seconds": seconds})
        print(f"[{self.entry.name}] trained in {seconds} s", flush=True)
        return run

    def measure(
        self,
        name: str,
        value: float,
        *,
        unit: str = "",
        se: float | None = None,
        n: int | None = None,
        split: str | None = None,
        protocol: str = "",
        baseline: dict[str, float] | str | None = None,
        published: str | None = None,
        better: Literal["lower", "higher"] | None = None,
        goal: float | None = None,
    ) -> None:
        """Record one number.

        Args:
            name: What was measured: "NLL", "FLD", "AUROC, full covariance".
            value: The number.
            unit: Its unit.
            se: Its standard error.
            n: Number of examples behind it.
            split: Split they are from.
            protocol: How it was measured, whatever a person needs to measure it again.
            baseline: The same number for simpler things: {"real": 1.9, "gmm-100": 20.0}, or words.
            published: The paper's number and where it stands.
            better: Which way is better; needed with a goal.
            goal: What the number should reach: the verdict is met or not met.
        """
        if goal is not None and better is None:
            raise ValueError(f"{name}: a goal needs better='lower' or 'higher'")
        verdict = None
        if goal is not None:
            verdict = "met" if (value <= goal if better == "lower" else value >= goal) else "not met"
        row = {
            "name": name, "value": float(value), "unit": unit, "se": se, "n": n, "split": split, "protocol": protocol,
            "baseline": baseline, "published": published, "better": better, "goal": goal, "verdict": verdict,
        }  # fmt: skip
        self.record["measures"].append({k: v for k, v in _plain(row).items() if v not in (None, "")})
        print(
            f"[{self.entry.name}] {name}: {number(float(value))} {unit}" + (f" ({verdict})" if verdict else ""),
            flush=True,
        )

    def report(self, record: dict[str, Any], *, name: str | None = None, baseline: Any = None, **more: Any) -> None:
        """Record what `genzoo.metrics.frechet.image_report` returned, its floor as a baseline beside the given ones."""
        baseline = {"real": record["floor"], **(baseline or {})} if record.get("floor") is not None else baseline
        self.measure(
            name or record["measure"], record["value"], se=record.get("se"), n=record["n_fake"], split=record["split"],
            protocol=record["protocol"], baseline=baseline, better="lower", **more,
        )  # fmt: skip

    def picture(self, name: str, content: Any, caption: str = "") -> Path:
        """Keep a picture under 200 kB: a tensor for `data.kinds.picture`, a uint8 array [H, W, 3], or the path of a PNG.

        Args:
            name: Short name; the file is PROOF-NAME.png.
            content: The picture.
            caption: What is to be seen on it.
        """
        from torch import Tensor

        from genzoo.core.files import write_atomic
        from genzoo.data.kinds import picture

        if isinstance(content, (str, Path)):
            image = Image.open(content).convert("RGB")
        else:
            image = Image.fromarray(picture(content) if isinstance(content, Tensor) else np.asarray(content)).convert(
                "RGB"
            )
        file = f"{self.entry.name}-{name}.png"
        write_atomic(self.results / "pictures" / file, small_png(image))
        self.record["pictures"].append({"file": file, "caption": caption or name})
        return self.results / "pictures" / file

    def chart(
        self,
        name: str,
        lines: dict[str, list[tuple[float, float]]],
        caption: str,
        *,
        x: str,
        y: str,
        log: bool = False,
        top: float | None = None,
    ) -> Path:
        """Keep a chart of curves, drawn by matplotlib.

        Args:
            name: As in `picture`.
            lines: Points (x, y) by the name of the curve.
            caption: What is to be seen on it.
            x: Name of the horizontal axis.
            y: Name of the vertical axis.
            log: Whether the vertical axis is logarithmic.
            top: Where the vertical axis ends; at the highest point when not given.
        """
        from genzoo.use.pages.figures import new_figure, save_figure

        figure, axes = new_figure(1)
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=label)
        axes.set(xlabel=x, ylabel=y, yscale="log" if log else "linear")
        axes.set_ylim(top=top)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.set_size_inches(7, 4)
        file = self.work / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        return self.picture(name, save_figure(figure, file), caption)

    def note(self, text: str) -> None:
        """Record a sentence: what separates this from the published number, what was seen on the picture."""
        self.record["notes"].append(_plain(" ".join(text.split())))

    def output(self, name: str, text: str) -> None:
        """Record what a program printed, or a table, line by line."""
        self.record.setdefault("outputs", {})[name] = _plain(text.strip().replace(f"{self.work}{os.sep}", ""))

    def finish(self) -> Path:
        """Write the record; the pictures of an earlier record that this one no longer has are removed."""
        from genzoo import __version__
        from genzoo.core.files import write_atomic

        self.record |= {
            "seconds": round(time.time() - self.started, 1),
            "command": command(self.entry.name),
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "genzoo": __version__,
            "commit": commit(),
            "machine": machine(),
        }
        path = self.results / "records" / f"{self.entry.name}.json"
        if path.exists():
            kept = {p["file"] for p in self.record["pictures"]}
            for old in json.loads(path.read_text())["pictures"]:
                if old["file"] not in kept:
                    (self.results / "pictures" / old["file"]).unlink(missing_ok=True)
        return write_atomic(path, (json.dumps(self.record, indent=1, ensure_ascii=False) + "\n").encode())


def small_png(image: Image.Image, limit: int = PICTURE_BYTES) -> bytes:
    """A PNG of at most `limit` bytes: as it is, else with 128 colours, else smaller and smaller."""

    def encode(picture: Image.Image) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()

    data = encode(image)
    while len(data) > limit:
        data = encode(image.quantize(128))
        image = image.resize((max(1, image.width * 4 // 5), max(1, image.height * 4 // 5)), Image.Resampling.LANCZOS)
    return data


def _plain(value: Any) -> Any:
    """Values as JSON keeps them; paths are told from the data folder or from the repository, so that a record names no machine's folders."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (Path, str)):
        data = os.environ.get("GENZOO_DATA")
        text = str(value).replace(str(Path(data)), "$GENZOO_DATA") if data else str(value)
        return text.replace(f"{ROOT}{os.sep}", "")
    return value.item() if hasattr(value, "item") else value
