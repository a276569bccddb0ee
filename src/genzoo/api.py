"""Systems by name, and training: the part of the public API that is no use of a trained system (those stand in `genzoo.use`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError, nearest
from genzoo.core.schema import FROM_DATA, check, settings
from genzoo.core.system import System
from genzoo.data import DataSettings
from genzoo.naming import registry
from genzoo.naming.outline import Entry
from genzoo.naming.registry import register
from genzoo.runs.folder import Run
from genzoo.saved.loading import as_today, resolved
from genzoo.text.documents import read_toml
from genzoo.text.keys import in_python, spoken
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume as _resume
from genzoo.training.start import train as _train
from genzoo.use.common.source import run_path

__all__ = ["create", "list_systems", "read_config", "register", "resume", "sort_keys", "train"]

What = str | os.PathLike[str] | type[System]
"""How a person says which system is meant: a name, a file ("mine.py", "mine.py:MyModel"), or a class."""


def list_systems(family: str | None = None, *, task: str | None = None) -> list[Entry]:
    """List the systems of the zoo, of installed packages and those given in this process.

    Args:
        family: Those of one family, or whose name fits a pattern: "style*".
        task: Those that can do this: "translate", "complete", "upscale".

    Raises:
        UserError: There is no such family or name, or nothing can do this.
    """
    return registry.select(family, task)


def create(name: What, /, **arguments: Any) -> System:
    """Build an untrained system by its name or a preset's: `create("dcgan", shape=(3, 32, 32))`.

    Args:
        name: System or preset; or a class of one's own, or its file ("mine.py").
        arguments: Its settings.

    Raises:
        UserError: Unknown name or setting, or a value out of bounds.
    """
    entry, preset = registry.find(name)
    system = registry.create(preset or entry.name, **resolved(registry.system_class(entry.name), arguments))
    system.name = preset or entry.name
    return system


def train(
    name: What,
    data: str | os.PathLike[str] | None = None,
    /,
    *,
    config: str | Path | None = None,
    quiet: bool = False,
    **keys: Any,
) -> Run:
    """Train a system into a new run folder and return the run.

    Args:
        name: System or preset; or a class of one's own, or its file ("mine.py", "mine.py:MyModel").
        data: What to train on: a name, a folder, an archive, an array file.
        config: A TOML file of keys, such as a run's config.toml; keys given here win.
        quiet: Show no progress.
        keys: Settings of the system, of the data and of the training, in any order: `genzoo show NAME` lists them. `name=` is the
            name of the run folder, so the system's name stands first, without a key. What is written `from=` on the command line is
            `from_=` in Python, where `from` is a word of the language.

    Raises:
        UserError: An unknown key, a value that is not allowed, a wrong path: before anything is written.
    """
    given = {**(read_config(config, name) if config else {}), **keys, **({} if data is None else {"data": data})}
    if "data" not in given:
        raise data_missing(name)
    if not isinstance(given["data"], (str, os.PathLike)):
        raise UserError(
            f"data= takes a name or a path, not a {type(given['data']).__name__}; write an array of images [N, H, W] or [N, H, W, C] with "
            "numpy.save('mine.npy', array), and give data='mine.npy'"
        )
    own, about_data, about_training = sort_keys(name, given)
    return _train(name, DataSettings(**about_data), TrainSettings(**about_training), own, quiet=quiet)


def data_missing(name: What) -> UserError:
    """Say that a training needs data."""
    return UserError(
        f"train: data is missing; give data=digits, a folder or a file ('genzoo data' lists what there is): {name} data=..."
    )


WHERE = " — a run is written to the folder name= in the folder runs=: runs=mine name=try-2 makes mine/try-2."
"""What is said to who looks for the key of where a run is written."""


def sort_keys(name: What, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Sort keys by whose signature has them, and check them: those of the system (as given), of the data, of the training (all).

    Raises:
        UserError: Nobody has the key, or its value is not allowed.
    """
    cls = registry.system_class(name)
    name = name if isinstance(name, str) else registry.name_of(cls)
    owners = (settings(cls), settings(DataSettings), settings(TrainSettings))
    if twice := [k for k in owners[0] if k in owners[1] or k in owners[2]]:
        raise UserError(
            f"{name}: {twice[0]} is a setting of every training or of its data; give its argument another name"
        )
    every = [spoken(k) for owner in owners for k in owner]
    sorted_keys: tuple[dict[str, Any], ...] = ({}, {}, {})
    for key, value in ((in_python(k), v) for k, v in given.items()):
        place = next((i for i, owner in enumerate(owners) if key in owner), None)
        if place is None:
            hint = WHERE if key in ("out", "output", "o", "folder", "dir") else nearest(key, every) or "."
            raise UserError(f"{name} has no setting '{key}'{hint} 'genzoo show {name}' lists all of them.")
        sorted_keys[place][key] = (
            getattr(value, "path", value) if key == "from_" else value
        )  # a run stands for its folder
    own, about_data, about_training = sorted_keys
    checked = check(cls, resolved(cls, own), label=name)
    return (
        {k: checked[k] for k in own},
        check(DataSettings, about_data, label=name),
        check(TrainSettings, about_training, label=name),
    )


def read_config(path: str | Path, name: What | None = None) -> dict[str, Any]:
    """Read keys from a TOML file, with or without tables. Of a run's config.toml, what belongs to that one run is left out.

    Args:
        path: The file.
        name: The system that they are for. Its arguments in a run of an earlier version are read as those that it has now.

    Raises:
        UserError: There is no such file, it is not TOML, or it is of a run of what is another system now.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"config={path}: there is no such file{nearest(path.name, beside)}")
    read = read_toml(path, name=f"config={path}")
    if not any(isinstance(v, dict) for v in read.values()):
        return read
    if name is not None and read.get("name") in registry.names() and isinstance(read.get("system"), dict):
        read["system"] = _of_today(path, read, registry.system_class(name))
    keys: dict[str, Any] = {}
    # Of a run, where its class comes from and what its first weights were.
    for table in (v for k, v in read.items() if k not in ("source", "taken")):
        keys |= table if isinstance(table, dict) else {}
    # The name of the folder is that run's; shape, classes and levels were the answers of its data.
    return {k: v for k, v in keys.items() if k not in ("name", *FROM_DATA)}


def _of_today(path: Path, config: Mapping[str, Any], asked: type[System]) -> dict[str, Any]:
    """Return a run's arguments as they are called now, where the run is of the system that is asked for.

    Raises:
        UserError: The system that it was of has parted in two since, and the run is of the other one.
    """
    written = registry.system_class(config["name"])
    now, arguments = as_today(written, config["system"])
    if now is not asked and (asked is written or registry.name_of(asked) in now.parted):
        told = registry.name_of(now)
        raise UserError(f"config={path} is of what is called {told} now: genzoo train {told} config={path}")
    return arguments if asked is now else config["system"]


def resume(
    run: Run | str | Path,
    *,
    steps: int | None = None,
    device: str | None = None,
    data: str | os.PathLike[str] | None = None,
    shard: bool | None = None,
    system: What | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with a run exactly where it stopped, however it stopped.

    Args:
        run: The run or its folder.
        steps: A new total, to train a finished run longer.
        device: Another device than the run's own, kept from then on. Exact is what goes on where it began.
        data: Where the run's data are now, if they have moved, kept from then on. Other data are refused, by their content.
        shard: Whether each of several processes keeps 1/N of the weights alone; as the run has it when not given, and kept from then on.
        system: Its class, or that class's file, where it is none of the zoo's.
        quiet: Show no progress.

    Raises:
        UserError: There is no such run, its files or its data are not what they were, or its device is not here.
    """
    path = run_path(run)
    if path is None:
        raise UserError(
            f"{run}: only a run that was trained here can be gone on with; 'genzoo train SYSTEM data=... from={run}' begins one with its weights"
        )
    if system is not None:
        registry.register(system)
    where = None if data is None else os.fspath(data)
    return _resume(path, steps=steps, device=device, data=where, shard=shard, quiet=quiet)
