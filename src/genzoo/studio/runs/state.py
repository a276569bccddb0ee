"""What a run is doing and has done, told from its files and from the processes that are there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from genzoo.core.errors import UserError
from genzoo.data.decode.reasons import in_words
from genzoo.runs.folder import Run
from genzoo.saved import checkpoint
from genzoo.studio.runs import processes
from genzoo.text.documents import is_number, read_toml

State = Literal["starting", "training", "stopped", "finished", "failed", "imported", "damaged"]
TAIL = 16 * 1024
"""Bytes of a log that are looked at, from its end, for where a run is."""


@dataclass(frozen=True)
class Standing:
    """Where a run is.

    Args:
        state: starting (its process is there, and has not taken the first step), training, stopped (it can go on), finished, failed
            (it ended with a message), imported (its model was not trained here), damaged (its settings cannot be read).
        step: Steps that are logged; of a run that nobody is at, those of its newest checkpoint, where it goes on.
        steps: Steps in all; None where that is not known.
        seconds: Time that they took.
        why: What a command that failed said, or what is damaged.
        process: Number of the process that is at it; None where none is.
    """

    state: State
    step: int = 0
    steps: int | None = None
    seconds: float = 0.0
    why: str = ""
    process: int | None = None

    @property
    def left(self) -> float | None:
        """Seconds that are left, at the pace so far; None where that is not known."""
        if self.state != "training" or not self.steps or not self.step:
            return None
        return self.seconds / self.step * (self.steps - self.step)


def names(root: Path) -> list[str]:
    """List the runs of a folder: those that have settings or a model, and those whose training was started here; the one begun last first."""
    try:
        there = [p for p in root.iterdir() if not p.name.startswith(".") and p.is_dir()]
    except OSError:
        return []
    found = {p.name: _touched(p) for p in there if (p / "config.toml").is_file() or _has_model(p)}
    for name in processes.begun(root):
        if name not in found and (root / processes.KEPT / f"{name}.train.json").is_file():
            found[name] = _changed(root / processes.KEPT / f"{name}.train.json")
    return sorted(found, key=lambda n: (-found[n], n))


def _has_model(folder: Path) -> bool:
    return (folder / "model" / "model.safetensors").is_file()


def _touched(folder: Path) -> float:
    """When a run was begun: what changes while it trains would have cards of a wall change places."""
    return _changed(folder / "config.toml") or _changed(folder / "model")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def standing(root: Path, name: str, process: int | None = None) -> Standing:
    """Tell where a run is, which the process trains that `processes.training` finds."""
    run = Run(root / name)
    config, damage = settings_of(run)
    last = last_line(run)
    step, seconds = last.get("step", 0), float(last.get("seconds", 0.0))
    steps = _total(config)
    at: dict[str, Any] = {"step": step, "steps": steps, "seconds": seconds, "process": process}
    if process is None and run.states():
        at["step"] = (
            run.steps_done()
        )  # where it goes on: after a kill before the last line of the log, after a stop behind it
    if process is not None:
        return Standing("training" if step else "starting", **at)
    if damage:
        return Standing("damaged", why=damage, **at)
    newest, why = _newest_words(root, name)
    if why and not (newest == "resume" and _is_done(run, steps)):
        return Standing("failed", why=why, **at)
    if not (run.path / "config.toml").exists():
        if _has_model(run.path):
            return Standing("imported", **at)
        return Standing(
            "failed",
            why=f"it ended before it had a run, stopped or killed; the last that it said: {_last(root, name, newest)}",
            **at,
        )
    if "imported" in described_model(run):
        return Standing("imported", **at)
    return Standing("finished" if _is_done(run, steps) else "stopped", **at)


def settings_of(run: Run) -> tuple[dict[str, Any], str]:
    """Read config.toml as it stands, and say what is wrong with it; empty where there is none."""
    file = run.path / "config.toml"
    try:
        return read_toml(file), ""
    except FileNotFoundError:
        return {}, ""
    except UserError as error:
        return {}, str(error)
    except OSError as error:
        return {}, f"{file} cannot be read: {in_words(error)}"


def described_model(run: Run) -> dict[str, Any]:
    """Read what model/ says of itself, unchecked; nothing where there is none that can be read."""
    try:
        return checkpoint.description(run.model)
    except (OSError, UserError):
        return {}


def last_line(run: Run) -> dict[str, Any]:
    """Read the last whole line of a run's log that has a step; nothing where there is none."""
    try:
        with open(run.path / "log.jsonl", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and isinstance(told.get("step"), int) and is_number(told.get("seconds", 0)):
            return told
    return {}


def _total(config: dict[str, Any]) -> int | None:
    section = config.get("training")
    steps = section.get("steps") if isinstance(section, dict) else None
    return steps if isinstance(steps, int) else None


def _is_done(run: Run, steps: int | None) -> bool:
    """Tell whether a training spent its budget; one without a budget wrote its card when its fit was over."""
    if steps is None:
        return (run.path / "README.md").is_file()
    return run.steps_done() >= steps


def is_of(root: Path, name: str, *verbs: str) -> bool:
    """Tell whether what is kept of commands belongs to the run of this name, and not to one before it.

    Settings that were written after the last word of them are of a run that somebody has made anew in a terminal.
    """
    written = _changed(root / name / "config.toml")
    spoke = [_changed(root / processes.KEPT / f"{name}.{verb}.txt") for verb in verbs]
    return not written or processes.training(root, name) is not None or written <= max(spoke) + 2


def _newest_words(root: Path, name: str) -> tuple[str, str]:
    """Return the newest of the training commands that were started here on a run, and how it failed."""
    there = [v for v in ("train", "resume") if processes.known(root, name, v)]
    if not there or not is_of(root, name, *there):
        return "", ""
    verb = max(there, key=lambda v: _changed(root / processes.KEPT / f"{name}.{v}.json"))
    # Whoever went on with the run since in a terminal has written more recently than this command did.
    if _changed(root / name / "log.jsonl") > _changed(root / processes.KEPT / f"{name}.{verb}.txt") + 5:
        return verb, ""
    return verb, processes.ended_with(processes.printed(root, name, verb))


def _last(root: Path, name: str, verb: str) -> str:
    lines: Sequence[str] = processes.printed(root, name, verb) if verb else []
    return next((line for line in reversed(lines) if line.strip()), "nothing")
