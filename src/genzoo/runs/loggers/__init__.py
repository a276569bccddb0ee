"""Send what a run logs elsewhere as well: a logger is one file here, an entry point of an installed package, or a function of one's own.

`log.jsonl` and the sample pictures are always kept in the run folder; a logger gets the same numbers and pictures as they are written. What is
here stays on this machine unless the person's own settings of that program say otherwise, and no logger can stop a training.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from genzoo.core.errors import UserError, nearest
from genzoo.text.documents import read_toml

GROUP = "genzoo.loggers"
"""Entry points of an installed package: name = package.module:function, the function as in `register_logger`."""
_given: dict[str, Callable[[About], Logger]] = {}


@dataclass(frozen=True)
class About:
    """The run that a logger is opened for."""

    folder: Path
    """The run folder."""
    step: int
    """Steps already done: more than 0 where a run is resumed, which is the same run to a logger."""

    @property
    def name(self) -> str:
        """Return the run's name, that of its folder."""
        return self.folder.name

    def settings(self) -> dict[str, Any]:
        """Read the run's settings, flat: system, data and training by name."""
        tables = read_toml(self.folder / "config.toml")
        found = {"system": tables.get("name", "")}
        for table in ("system", "data", "training"):
            found |= {f"{table}/{k}": v for k, v in tables.get(table, {}).items()}
        return found


class Logger(Protocol):
    """Takes what a run logs. Called on the first rank, in the order of the steps, from the training's own thread: be quick."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers by name: means of the losses since the last call, or measured values. `step` counts the steps done."""

    def picture(self, step: int, name: str, path: Path) -> None:
        """Take a picture that has been written, a PNG."""

    def close(self) -> None:
        """End the log, at the end of the run or where it stops."""


def register_logger(name: str, make: Callable[[About], Logger]) -> None:
    """Let `loggers=NAME` mean one's own logger, in this process.

    Args:
        name: Its name.
        make: Opens it for a run; an error here refuses a new training and is only said of one that is resumed.
    """
    _given[name] = make


def known() -> list[str]:
    """Name the loggers that can be asked for."""
    ours = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))
    return list(dict.fromkeys([*ours, *_given, *(p.name for p in importlib.metadata.entry_points(group=GROUP))]))


def _maker(name: str) -> Callable[[About], Logger]:
    if name in _given:
        return _given[name]
    if name not in known():
        raise UserError(
            f"loggers={name}: there is no logger of this name{nearest(name, known())} Loggers: {', '.join(known())}."
        )
    if (Path(__file__).parent / f"{name}.py").is_file():
        made: Callable[[About], Logger] = importlib.import_module(f"{__name__}.{name}").make
        return made
    (point, *_) = importlib.metadata.entry_points(group=GROUP, name=name)
    loaded: Callable[[About], Logger] = point.load()
    return loaded


def check(names: Sequence[str]) -> None:
    """Refuse, before anything is made, loggers that are not known or whose package is not installed.

    Raises:
        UserError: Names the logger and what to do.
    """
    for name in names:
        _maker(name)
        ours = None if name in _given else sys.modules.get(f"{__name__}.{name}")
        needs, extra = getattr(ours, "PACKAGE", None), getattr(ours, "EXTRA", name)
        if needs and importlib.util.find_spec(needs) is None:
            raise UserError(f"loggers={name} needs the extra: pip install 'genzoo[{extra}]'")


class Loggers:
    """All loggers of a run. One that fails is said and left out from there on; the training goes on.

    Args:
        names: As in the setting `loggers`.
        about: The run.
        say: Says a sentence to the person.

    Raises:
        UserError: A new run asks for a logger that is not known, not installed or cannot be opened.
    """

    def __init__(self, names: Sequence[str], about: About, say: Callable[[str], None]) -> None:
        self.say, self.open = say, dict[str, Logger]()
        for name in dict.fromkeys(names):
            try:
                self.open[name] = _maker(name)(about)
            except Exception as error:
                if not about.step:
                    self.close()
                    if isinstance(error, UserError):
                        raise
                    raise UserError(f"loggers={name} could not be opened: {_told(error)}") from error
                say(f"the logger {name} could not be opened ({_told(error)}); the training goes on without it")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Give numbers to every logger."""
        self._each(lambda logger: logger.log(step, values))

    def picture(self, step: int, name: str, path: Path) -> None:
        """Give a picture to every logger."""
        self._each(lambda logger: logger.picture(step, name, path))

    def close(self) -> None:
        """Close every logger."""
        self._each(lambda logger: logger.close())
        self.open.clear()

    def _each(self, give: Callable[[Logger], None]) -> None:
        for name, logger in [*self.open.items()]:
            try:
                give(logger)
            except Exception as error:  # whatever somebody else's program does: the training is worth more
                del self.open[name]
                self.say(f"the logger {name} failed ({_told(error)}); the training goes on without it")


def _told(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:200]}" if said and not isinstance(error, UserError) else str(error)
