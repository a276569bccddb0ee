"""Commands that the studio starts: processes of their own, which go on when the studio ends, and what they print."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError, disk_full_is_said
from genzoo.core.files import write_atomic
from genzoo.data.decode.reasons import in_words
from genzoo.data.locks import held_by
from genzoo.studio.commands import typed
from genzoo.text.documents import read_json

KEPT = ".studio"
"""Folder in the folder of runs: of each command that was started on a run, what it was and what it printed."""
TAIL = 64 * 1024
"""Bytes of a command's output that are looked at, from its end."""
_MINE: dict[Path, subprocess.Popen[bytes]] = {}
"""Processes that this one has started and not yet seen end, by the file of their record."""
_GUARD = threading.Lock()


@dataclass(frozen=True)
class Told:
    """What is known of a command that was started on a run.

    Args:
        verb: train, resume or evaluate.
        words: The command line, word by word, without `genzoo`.
        process: Its number.
        began: When that process began, as the system counts it; empty where the system does not say.
    """

    verb: str
    words: tuple[str, ...]
    process: int
    began: str

    @property
    def line(self) -> str:
        """The command line as it is typed."""
        return typed(self.words)


def start(root: Path, name: str, words: Sequence[str]) -> Told:
    """Start `genzoo WORDS` for a run, in a session of its own: it goes on when the studio ends, and what it prints is kept.

    Args:
        root: The folder of runs.
        name: The run, which may not be there yet.
        words: The command line, without `genzoo`.

    Raises:
        UserError: Such a command runs already, or there is no room or no permission to keep what it prints.
    """
    verb, folder = words[0], root / KEPT
    with _GUARD:
        if running(root, name, verb):
            raise UserError(f"'{name}': genzoo {verb} is running already")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            output = open(_output(root, name, verb), "wb")  # noqa: SIM115 (closed below, when the process has it)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {in_words(error)}") from None
        with output:
            process = subprocess.Popen(
                [sys.executable, "-m", "genzoo", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        told = Told(verb, tuple(words), process.pid, _began(process.pid))
        file = _record(root, name, verb)
        _MINE[file] = process
        with disk_full_is_said(file, 0):
            write_atomic(file, json.dumps(asdict(told)).encode())
        return told


def known(root: Path, name: str, verb: str) -> Told | None:
    """Read what is known of the last command of a kind that the studio has started on a run; None where there was none."""
    file = _record(root, name, verb)
    try:
        kept: Any = read_json(file, mend="")
        told = Told(str(kept["verb"]), tuple(map(str, kept["words"])), int(kept["process"]), str(kept["began"]))
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return None
    return told


def running(root: Path, name: str, verb: str) -> int | None:
    """Return the number of the process of a command that the studio has started on a run, while it is there."""
    file = _record(root, name, verb)
    mine = _MINE.get(file)
    if mine is not None:
        if mine.poll() is None:
            return mine.pid
        _MINE.pop(file, None)
        return None
    told = known(root, name, verb)
    # One of a studio that has ended: a number may belong to another process by now, which began at another time.
    return told.process if told and told.began and _began(told.process) == told.began else None


def training(root: Path, name: str) -> int | None:
    """Find the process that trains in a run folder, whoever has started it: the studio, or a person in a terminal."""
    for verb in ("train", "resume"):
        if found := running(root, name, verb):
            return found
    return held_by(root / name / "state" / ".lock")


def stop(root: Path, name: str, verb: str = "") -> None:
    """Ask the process that trains in a run folder, or one that the studio has started on it, to end: a training saves first.

    Raises:
        UserError: There is none.
    """
    found = running(root, name, verb) if verb else training(root, name)
    if found is None:
        raise UserError(f"'{name}': no {f'genzoo {verb}' if verb else 'training'} is running")
    try:
        os.kill(found, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise UserError(f"'{name}' is trained by another user's process ({found}), which can stop it") from None


def printed(root: Path, name: str, verb: str) -> list[str]:
    """Return the last lines that a command has printed; none where there was no such command."""
    try:
        with open(_output(root, name, verb), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = text.splitlines()
    return lines[1:] if size > TAIL else lines


def ended_with(lines: Sequence[str]) -> str:
    """Say how a command that has ended failed, in its own words: empty where it did not, or was asked to stop.

    >>> ended_with(["step 3/9", "genzoo: vae: lr=x is not allowed; give number"])
    'vae: lr=x is not allowed; give number'
    >>> ended_with(["genzoo: SIGTERM: saved at step 3; ..."]), ended_with([])
    ('', '')
    """
    last = next((i for i in reversed(range(len(lines))) if lines[i].startswith("genzoo: ")), None)
    if last is not None:
        told = " ".join(lines[last:]).removeprefix("genzoo: ")
        return "" if re.match(r"SIG\w+: saved|interrupted$", told) else told
    if any(line.startswith("Traceback ") for line in lines):
        return next((line for line in reversed(lines) if line.strip()), "")
    return ""


def forget(root: Path, name: str) -> None:
    """Drop what is kept of the commands on a run, such as one that failed before it made its folder."""
    for verb in ("train", "resume", "evaluate"):
        if not running(root, name, verb):
            _record(root, name, verb).unlink(missing_ok=True)
            _output(root, name, verb).unlink(missing_ok=True)


def begun(root: Path) -> list[str]:
    """List the names of runs that trainings were started for."""
    return sorted(p.name.removesuffix(".train.json") for p in (root / KEPT).glob("*.train.json"))


def _record(root: Path, name: str, verb: str) -> Path:
    return root / KEPT / f"{name}.{verb}.json"


def _output(root: Path, name: str, verb: str) -> Path:
    return root / KEPT / f"{name}.{verb}.txt"


def _began(process: int) -> str:
    """Say when a process began, in the kernel's ticks since the machine did, with the machine's own beginning; empty where that is not told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot} {fields[19]}"
