"""The run folder: one place for settings, logs, pictures, the model and everything that resuming needs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from torch import Tensor

from genzoo.core.errors import DamagedFile, UserError, nearest
from genzoo.core.files import sweep, write_atomic
from genzoo.data.locks import Busy, locked
from genzoo.metrics.records import read_records
from genzoo.runs.meters import read_log
from genzoo.saved import checkpoint


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        path: The folder: config.toml, log.jsonl, samples/, metrics.json, model/, best/, state/, README.md.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its name: the folder's."""
        return self.path.name

    @property
    def model(self) -> Path:
        """The file that `genzoo.load` reads."""
        return self.path / "model" / "model.safetensors"

    @property
    def best(self) -> Path:
        """The weights that measured best while training, where `measure=` was given."""
        return self.path / "best" / "model.safetensors"

    def log(self) -> list[dict[str, Any]]:
        """Read the lines of the run's log."""
        return read_log(self.path / "log.jsonl")

    def metrics(self) -> dict[str, Any]:
        """Read what evaluations of the run have found so far."""
        return read_records(self.path / "metrics.json")

    def states(self) -> list[Path]:
        """List the checkpoints, newest first."""
        found = (self.path / "state").glob("step-*.safetensors")
        return sorted((p for p in found if re.fullmatch(r"step-\d{9,12}\.safetensors", p.name)), reverse=True)

    def steps_done(self) -> int:
        """Return the steps of the run's newest checkpoint; 0 where there is none."""
        return int(self.states()[0].stem.split("-")[1]) if self.states() else 0

    def described(self) -> dict[str, Any]:
        """Read what the run's newest checkpoint says of itself, unchecked; nothing where there is none that can be read."""
        for path in self.states():
            with contextlib.suppress(DamagedFile, FileNotFoundError):
                return checkpoint.description(path)
        return {}


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open the run in a folder.

    Raises:
        UserError: There is no such folder, or it is no run; the message has the nearest name.
    """
    folder = Path(path)
    if not folder.is_dir():
        siblings = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        raise UserError(f"there is no run at '{folder}'{nearest(folder.name, siblings)}")
    if not (folder / "config.toml").exists():
        raise UserError(f"'{folder}' is not a run: it has no config.toml")
    return Run(folder)


def check_name(root: str | os.PathLike[str], name: str | None) -> None:
    """Look, before data are read and networks built, whether a run can have its name.

    Raises:
        UserError: It is no folder name, or is taken.
    """
    if name and (Path(name).name != name or name in (".", "..")):
        raise UserError(f"name={name} is not a plain folder name; use runs=FOLDER to choose where runs go")
    if name and (Path(root) / name).exists():
        raise _taken(Path(root) / name)


def _taken(folder: Path) -> UserError:
    if not (folder / "config.toml").exists():
        return UserError(f"{folder} is there and is no run; choose another name, or remove it")
    return UserError(
        f"a run named '{folder.name}' is in {folder.parent}; choose another name, or 'genzoo resume {quote(str(folder))}'"
    )


def new_run(root: str | os.PathLike[str], name: str | None, default: str) -> Run:
    """Make a run folder that no other run has: a given name must be free, the system's name is numbered until it is."""
    root = Path(root)
    check_name(root, name)
    root.mkdir(parents=True, exist_ok=True)
    for number in range(1, 100_000):
        folder = root / (name or (default if number == 1 else f"{default}-{number}"))
        try:
            folder.mkdir()  # atomic: of two processes, one makes it
        except FileExistsError:
            if name:
                raise _taken(folder) from None
            continue
        return Run(folder)
    raise UserError(f"{root} has too many runs of {default}; give name=")


@contextlib.contextmanager
def held(run: Run) -> Iterator[None]:
    """Hold a run folder for this process. The lock falls with the process, however that ends.

    Raises:
        UserError: Another process trains in this folder.
    """
    state = run.path / "state"
    state.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(state / ".lock", wait=False))
        except Busy as busy:
            ended = f"; remove {busy.remove} if that process has ended" if busy.remove else ""
            raise UserError(f"another process ({busy.holder}) is training in {run.path}{ended}") from None
        for folder in (state, run.path / "model", run.path / "best"):
            sweep(folder)
        yield


def state_path(run: Run, step: int) -> Path:
    """Name the file of the state after `step` steps."""
    return run.path / "state" / f"step-{step:09d}.safetensors"


def newest_state(run: Run, say: Any = print) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest whole checkpoint; a damaged one is named and the one before it used.

    Returns:
        The step, the tensors and what the file says of itself, or None where there is no checkpoint yet.

    Raises:
        DamagedFile: There are checkpoints and all of them are damaged.
    """
    damaged: list[str] = []
    for path in run.states():
        step = int(path.stem.split("-")[1])
        try:
            tensors, meta = checkpoint.read(path)
        except (DamagedFile, FileNotFoundError) as error:
            damaged.append(str(error))
            say(f"{error}; trying the one before it")
            continue
        return step, tensors, meta
    if damaged:
        raise DamagedFile(f"no checkpoint of {run.path} is whole: {damaged[0]}")
    return None


def prune(run: Run, keep: int = 2) -> None:
    """Remove checkpoints but the newest `keep`, with what earlier versions wrote beside them for each process."""
    for old in run.states()[keep:]:
        for part in old.parent.glob(old.name.removesuffix(".safetensors") + "*"):
            part.unlink(missing_ok=True)


def write_model(run: Run, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write model/: the weights with their settings in one file, and the settings again for people and other tools."""
    _write_both(run.model, tensors, meta)


def write_best(run: Run, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write best/, in the form of model/: the weights that measured best, with the step and the value; 'genzoo sample RUN/best' reads it."""
    _write_both(run.best, tensors, meta)


def tell_best(run: Run, data: Mapping[str, Any]) -> None:
    """Put into best/, if there is one, where the run's data are now."""
    if run.best.exists():
        tensors, meta = checkpoint.read(run.best)
        write_best(run, tensors, {**meta, "data": dict(data)})


def _write_both(file: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    checkpoint.write(file, tensors, meta)
    write_atomic(file.with_name("config.json"), json.dumps(dict(meta), indent=2).encode() + b"\n")


def now() -> str:
    """Return the time, to the second, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
