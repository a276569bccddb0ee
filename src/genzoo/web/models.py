"""Loaded models: a bounded cache, by the path of a run, `zoo:NAME` or `hf:OWNER/NAME`; and the runs of a folder, by their names alone."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError, nearest
from genzoo.core.files import cache_folder
from genzoo.core.system import System
from genzoo.foreign.taking import import_run
from genzoo.foreign.zoo import PREFIX as ZOO
from genzoo.foreign.zoo import model as zoo_model
from genzoo.saved.devices import free_memory
from genzoo.saved.hub import is_hub
from genzoo.saved.loading import load, model_file
from genzoo.saved.zoo import folders
from genzoo.use.common.source import run_path
from genzoo.web.errors import NotFound, Refused, size
from genzoo.web.jobs import stoppable

MOST = 4
"""Models that are kept in memory."""
ROOM = 4 << 30
"""Bytes of models that are kept in memory, beyond the newest one."""


@dataclass
class Loaded:
    """A model in memory.

    Args:
        key: What it was asked for by; jobs of one model have it as their key.
        system: It.
        stamp: What its file was when it was read.
        bytes: Room that its tensors take.
    """

    key: str
    system: System
    stamp: tuple[int, int]
    bytes: int

    @property
    def able(self) -> tuple[str, ...]:
        """What it can do: names of capabilities."""
        return capabilities(self.system)


class Models:
    """The cache. Systems are in eval mode, on one device, and can be stopped (`jobs.stoppable`).

    Args:
        device: Where their networks are.
        most: Models that are kept.
        room: Bytes of models that are kept, beyond the newest one.
    """

    def __init__(self, device: str = "cpu", *, most: int = MOST, room: int = ROOM) -> None:
        self.device, self.most, self.room = device, most, room
        self._kept: OrderedDict[str, Loaded] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: str | Path) -> Loaded:
        """Return a model, loaded now or before; one whose file has changed since is read again.

        To be called in a thread, and never with a path that a client wrote: `Shelf` finds runs by their names.

        Args:
            place: A run's or an exported model's path, zoo:NAME, or hf:OWNER/NAME.

        Raises:
            UserError: There is none, it cannot be read, or there is no memory for it.
        """
        key = str(place)
        with self._lock:
            where = path_of(key)
            file = model_file(where)
            stamp = _stamp(file)
            found = self._kept.get(key)
            if found is None or found.stamp != stamp:
                self._kept.pop(key, None)
                found = self._read(key, where, file, stamp)
                self._kept[key] = found
            self._kept.move_to_end(key)
            self._trim()
            return found

    def keep(self, key: str, system: System) -> Loaded:
        """Take in a system that is in memory already, which is never read again."""
        found = Loaded(key, stoppable(system.eval()), (0, 0), _bytes(system))
        with self._lock:
            self._kept[key] = found
        return found

    def loaded(self) -> list[str]:
        """List what is in memory, longest unused first."""
        with self._lock:
            return [*self._kept]

    def _read(self, key: str, where: str, file: Path, stamp: tuple[int, int]) -> Loaded:
        need, free = 2 * file.stat().st_size, free_memory()  # the file's tensors and the network's
        if free is not None and need > free:
            self._kept.clear()
            raise Refused(
                f"'{Path(where).name}' is too large for this machine: it takes about {size(need)} of memory to load, and {size(free)} are free",
                507,
            )
        system = stoppable(load(where, device=self.device))
        return Loaded(key, system, stamp, _bytes(system))

    def _trim(self) -> None:
        while len(self._kept) > 1 and (
            len(self._kept) > self.most or sum(m.bytes for m in self._kept.values()) > self.room
        ):
            self._kept.popitem(last=False)


def path_of(place: str) -> str:
    """Return what `load` takes for a model: of the zoo, the name of what is in the package, and where others are kept once they were fetched.

    Raises:
        UserError: There is none.
    """
    if place.startswith(ZOO):
        name = place.removeprefix(ZOO)
        if name in folders():  # it comes in a package
            return place
        zoo_model(place)
        folder = cache_folder("zoo")
        if not (folder / name / "model" / "model.safetensors").is_file():
            import_run(place, runs=folder, name=name, quiet=True)
        return str(folder / name)
    return place if is_hub(place) else str(run_path(place) or place)


def _stamp(file: Path) -> tuple[int, int]:
    told = file.stat()
    return told.st_mtime_ns, told.st_size


def _bytes(system: System) -> int:
    tensors = [*system.parameters(), *system.buffers()]
    return sum(t.numel() * t.element_size() for t in tensors)


class Shelf:
    """The runs of a folder. What a client says is looked for in the list of their names, and never joined to a path.

    Args:
        folder: Where the runs are.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).expanduser()

    def runs(self) -> dict[str, Path]:
        """List the runs that there are now, by name: folders with a config.toml or a model."""
        try:
            with os.scandir(self.folder) as found:
                entries = sorted((e.name, Path(e.path)) for e in found if e.is_dir() and not e.name.startswith("."))
        except OSError:
            return {}
        return {name: path for name, path in entries if _is_run(path)}

    def find(self, name: str) -> Path:
        """Find a run by its name.

        Raises:
            NotFound: There is none of this name; the message has the nearest one.
        """
        runs = self.runs()
        if name not in runs:
            raise NotFound(f"there is no run '{shown(name)}'{nearest(name, runs) or '.'}")
        return runs[name]

    def place(self, name: str) -> str:
        """Find a run by its name, or a model of the zoo by zoo:NAME, as `Models.get` takes it.

        Raises:
            NotFound: There is none of this name.
        """
        if name.startswith(ZOO):
            if name.removeprefix(ZOO) in folders():
                return name
            try:
                zoo_model(name)
            except UserError as error:
                raise NotFound(str(error)) from None
            return name
        return str(self.find(name))


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in ("config.toml", "model.safetensors", "model/model.safetensors"))


def shown(name: str, most: int = 80) -> str:
    r"""Make a word of a client fit for a sentence: one line, printable, not too long.

    >>> shown("a\nb"), len(shown("c" * 100))
    ('a b', 80)
    """
    plain = "".join(c if c.isprintable() else " " for c in name)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
