"""The wall of runs and the page of one: what their files hold, gathered for a look."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import Any

from genzoo.core import schema
from genzoo.core.errors import DamagedFile, UserError, nearest
from genzoo.core.files import cache_folders
from genzoo.data.arrangements import ARRANGEMENTS, PLAIN
from genzoo.data.decode.reasons import in_words
from genzoo.data.settings import DataSettings
from genzoo.foreign.zoo import PREFIX, ZOO
from genzoo.metrics.measure import values
from genzoo.metrics.records import span
from genzoo.metrics.stopping import advice
from genzoo.naming import registry
from genzoo.naming.outline import Entry
from genzoo.runs.folder import Run
from genzoo.runs.history import History, history_of
from genzoo.studio.commands import typed, word
from genzoo.studio.runs import processes
from genzoo.studio.runs.curves import curves
from genzoo.studio.runs.state import Standing, described_model, is_of, names, settings_of, standing
from genzoo.text.keys import in_python
from genzoo.training.settings import TrainSettings
from genzoo.use.zoo import shipped
from genzoo.web.errors import NotFound
from genzoo.web.models import shown as plain

SHOWN = 3
"""Measures on a card."""


def find(root: Path, name: str) -> Run:
    """Find a run by its name in the listing of a folder: no path is made of what a client says.

    Raises:
        NotFound: There is none of this name, or no longer.
    """
    listed = names(root)
    for known in listed:
        if known == name:
            return Run(root / known)
    hint = nearest(name, listed) or "; it may have been removed or renamed"
    raise NotFound(f"there is no run '{plain(name)}' here{hint}")


def cards(root: Path) -> list[dict[str, Any]]:
    """Describe every run of a folder in a few words, newest first."""
    found = []
    for name in names(root):
        with contextlib.suppress(OSError):  # removed while it was looked at
            found.append(card(root, name))
    return found


def card(root: Path, name: str) -> dict[str, Any]:
    """Describe a run in a few words: what it is, where it is, its newest picture, its first measures."""
    return _card(root, name, processes.training(root, name), _stamps(root, name))


LOOKED_AT = ("config.toml", "log.jsonl", "metrics.json", "samples", "state", "model", "README.md")
"""What of a run a card is made of."""


def _stamps(root: Path, name: str) -> tuple[tuple[int, int], ...]:
    """Say when each file that a card is made of was changed last."""
    kept = [root / processes.KEPT / f"{name}.{verb}.{end}" for verb in ("train", "resume") for end in ("json", "txt")]
    found = []
    for path in [*(root / name / part for part in LOOKED_AT), *kept]:
        try:
            told = path.stat()
            found.append((told.st_mtime_ns, told.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _card(root: Path, name: str, process: int | None, stamps: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """Make a card; a wall is looked at every other second, and most runs have not changed since."""
    run, at = Run(root / name), standing(root, name, process)
    told = _identity(root, run)
    records, damage = measures(run)
    frames = pictures(run)
    return {
        "name": name,
        **told,
        **_plain(at),
        "picture": frames[-1] if frames else None,
        "measures": records[:SHOWN],
        "more": max(0, len(records) - SHOWN),
        "damage": damage,
    }


def _plain(at: Standing) -> dict[str, Any]:
    return {
        "state": at.state, "step": at.step, "steps": at.steps, "seconds": at.seconds, "left": at.left, "why": at.why, "process": at.process,
    }  # fmt: skip


def _identity(root: Path, run: Run) -> dict[str, Any]:
    """Say which system a run is of, and of what data."""
    config, _ = settings_of(run)
    name = config.get("name")
    section = config.get("data")
    data = section.get("data") if isinstance(section, dict) else None
    if name is None and run.model.is_file():
        told = described_model(run)
        name, data = told.get("name"), (told.get("data") or {}).get("data")
    if name is None and (begun := processes.known(root, run.name, "train")):
        name = begun.words[1] if len(begun.words) > 1 else None
        data = next((w.partition("=")[2] for w in begun.words if w.startswith("data=")), None)
    entry = entry_of(str(name)) if name else None
    return {
        "system": str(name or ""),
        "family": entry.family if entry else "",
        "data": str(data or ""),
        "abilities": list(entry.abilities) if entry else [],
        "images": entry is not None and PLAIN.of in (entry.data, *ARRANGEMENTS.get(entry.data, PLAIN).taken),
    }


@functools.lru_cache(maxsize=1024)
def entry_of(name: str) -> Entry | None:
    """Find what is known of a system without importing it; None for one that is not here."""
    key = name.lower()
    if key in registry.names():
        return registry.entries()[registry.names()[key][0]]
    return registry.installed()[key][0] if key in registry.installed() else None


def pictures(run: Run) -> list[dict[str, int]]:
    """List the sample pictures of a run: step, and a stamp that changes when a picture does."""
    found = []
    try:
        with os.scandir(run.path / "samples") as entries:
            for e in entries:
                stem = e.name[5:-4]
                drawn = e.name.startswith("step_") and e.name.endswith(".png") and stem.isdigit()
                if drawn and e.is_file(follow_symlinks=False):
                    found.append({"step": int(stem), "stamp": e.stat().st_mtime_ns // 1_000_000})
    except OSError:
        return []
    return sorted(found, key=lambda p: p["step"])


def picture_file(run: Run, step: int) -> Path:
    """Find the sample picture of a step in the listing.

    Raises:
        NotFound: There is none, or no longer.
    """
    if any(p["step"] == step for p in pictures(run)):
        return run.path / "samples" / f"step_{step:09d}.png"
    raise NotFound(f"'{run.name}' has no sample picture of step {step}")


OUTPUTS = ("evaluate", "neighbours", "pairs", "ways")
"""Pictures that an evaluation writes."""


def evaluation_pictures(run: Run) -> list[dict[str, Any]]:
    """List the pictures that evaluations of a run have written."""
    found = []
    for name in OUTPUTS:
        try:
            found.append(
                {
                    "name": name,
                    "stamp": (run.path / "outputs" / f"{name}.png").stat().st_mtime_ns // 1_000_000,
                }
            )
        except OSError:
            continue
    return found


def measures(run: Run) -> tuple[list[dict[str, Any]], str]:
    """Return what evaluations of a run have found, in the order of the table of measures, and what is wrong with the file."""
    try:
        records = run.metrics()
    except DamagedFile as error:
        return [], str(error)
    except OSError as error:
        return [], f"{run.path / 'metrics.json'} cannot be read: {in_words(error)}"
    order = list(values())
    found = []
    for key, record in records.items():
        ends = span(record)
        found.append(
            {
                "key": key,
                "measure": record.get("measure", key),
                **{k: record.get(k) for k in ("value", "se", "unit", "better", "floor", "n", "protocol", "data", "split")},
                "interval": list(ends) if ends else None,
            }
        )  # fmt: skip
    place = {name: i for i, name in enumerate(order)}
    return sorted(found, key=lambda r: (place.get(r["measure"], len(place)), r["key"])), ""


def evaluation_picture(run: Run, name: str) -> Path:
    """Find a picture that an evaluation has written.

    Raises:
        NotFound: There is none.
    """
    for there in evaluation_pictures(run):
        if there["name"] == name:
            return run.path / "outputs" / f"{there['name']}.png"
    raise NotFound(f"'{run.name}' has no picture '{plain(name)}' of an evaluation")


def history(run: Run) -> History:
    """Read the measurements that were taken while a run was trained; none where its checkpoint holds none."""
    try:
        return history_of(run.described().get("measured", []))
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def page(root: Path, name: str) -> dict[str, Any]:
    """Describe a run in full: its card, curves, pictures, measures with their protocol, settings, and what the trainer says of its health.

    Raises:
        NotFound: There is no such run, or no longer.
    """
    run = find(root, name)
    taken, log = history(run), run.log()
    config, _ = settings_of(run)
    records, _ = measures(run)
    commands = {}
    for verb in ("train", "resume", "evaluate"):
        verbs = ("evaluate",) if verb == "evaluate" else ("train", "resume")
        if is_of(root, name, *verbs) and (told := processes.known(root, name, verb)):
            lines = processes.printed(root, name, verb)
            running = processes.running(root, name, verb) is not None
            commands[verb] = {
                "line": told.line,
                "running": running,
                "printed": lines[-200:],
                "why": "" if running else processes.ended_with(lines),
            }
    try:
        health = advice(taken, log)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{run.path / 'log.jsonl'} is damaged") from error
    return {
        **card(root, name),
        "curves": curves(log, taken),
        "pictures": pictures(run),
        "evaluation": evaluation_pictures(run),
        "measures": records,
        "health": health,
        "settings": settings_rows(config),
        "commands": commands,
        "lines": _lines(root, run, config),
        "folder": str(run.path),
    }


def _lines(root: Path, run: Run, config: dict[str, Any]) -> dict[str, str]:
    """Write the command lines that belong to a run, each under what it does."""
    there, found = word(run.path), {}
    if is_of(root, run.name, "train", "resume") and (begun := processes.known(root, run.name, "train")):
        found["how it was started"] = begun.line
    if config.get("name") and config.get("training"):
        source = config.get("source")
        called = (source.get("file") if isinstance(source, dict) else None) or config["name"]
        found["another training like it"] = typed(["train", str(called), f"config={there}/config.toml"])
        found["go on with it"] = typed(["resume", there])
    if run.model.is_file():
        found["measure it"] = typed(["evaluate", there])
    return found


def zoo() -> list[dict[str, str]]:
    """List the models of the zoo that are on this machine, by the names that open them: of genzoo-zoo, and those that were fetched."""
    found = [
        {
            "name": model.place,
            "idea": f"{model.record['line']}.",
            "measure": str(model.record["measure"]),
            "protocol": str(model.record["protocol"]),
            "license": str(model.record["licence"]),
        }
        for model in shipped().values()
    ]
    return found + [
        {
            "name": f"{PREFIX}{name}",
            "idea": f"{model.line}.",
            "measure": "not measured",
            "protocol": "",
            "license": model.licence,
        }
        for name, model in ZOO.items()
        if any((place / name / "model" / "model.safetensors").is_file() for place in cache_folders("zoo"))
    ]


def settings_rows(config: dict[str, Any]) -> list[dict[str, Any]]:
    """List the settings that a run keeps, section by section, each with its default where the signature of today has one."""
    targets: dict[str, Any] = {"data": DataSettings, "training": TrainSettings}
    with contextlib.suppress(UserError, ImportError):
        targets["system"] = registry.system_class(str(config.get("name")))
    found = []
    for section in ("system", "data", "training"):
        kept = config.get(section)
        known = schema.settings(targets[section]) if section in targets else {}
        for key, value in kept.items() if isinstance(kept, dict) else ():
            setting = known.get(in_python(key))
            default = None if setting is None or setting.required else schema.written(setting.default)
            said = schema.written(value)
            found.append(
                {
                    "section": section,
                    "name": key,
                    "value": said,
                    "default": default,
                    "changed": default is not None and default != said,
                    "doc": setting.doc if setting else "",
                }
            )
    return found
