"""Read pickles as data: numbers, words and containers; nothing that a pickle names is looked up, imported or called.

A pickle is a program for a small machine, and the machine's dangerous instruction is "find this name and call it". Here every name leads to
one of two places: a few functions, which rebuild plain containers (and what the caller adds), or a class made on the spot that only keeps
what it was given (`Held`). So source code inside a pickle stays text.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

from genzoo.core.errors import DamagedFile

FAULTS = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    RuntimeError, MemoryError, OverflowError, AssertionError, UnboundLocalError, OSError,
)  # fmt: skip
"""What readers of pickles raise at a file that is none."""


class Fixed(type):
    """The class of classes that a pickle cannot alter."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a class")


class Held(metaclass=Fixed):
    """An object whose class is not looked for: `of` is the class's name, the rest is what a pickle says of the object."""

    __slots__ = ("args", "entries", "state")
    of = ""
    args: tuple[Any, ...]
    entries: dict[Any, Any]
    state: Any

    def __new__(cls, *args: Any, **named: Any) -> Held:
        """Keep what it is made of."""
        self = object.__new__(cls)
        self.args, self.state, self.entries = (*args, *named.values()), None, {}
        return self

    def __init__(self, *args: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        """Keep what it is given as its state."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep an entry, as of a dictionary."""
        self.entries[key] = value

    def append(self, value: Any) -> None:
        """Keep an entry, as of a list."""
        self.entries[len(self.entries)] = value


class Call:
    """A function that a pickle may call; it has no attribute that could be set."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self.function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a function")


class Dict(dict[Any, Any]):
    """A dictionary without further state."""

    def __setstate__(self, state: Any) -> None:
        """Leave out what is no entry: the versions of modules."""


def _ordered(pairs: Any = ()) -> Dict:
    return Dict(pairs)


def _made(of: Any, base: Any = None, state: Any = None) -> Held:
    """Make an object as the oldest pickles do."""
    if not isinstance(of, Fixed):
        raise pickle.UnpicklingError("an object of no class")
    held: Held = of()
    return held


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode(encoding)


CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": lambda *factory: Dict(),
    "builtins.set": list, "__builtin__.set": list, "builtins.frozenset": list, "builtins.list": list, "builtins.dict": Dict,
    "copyreg._reconstructor": _made, "copy_reg._reconstructor": _made, "_codecs.encode": _bytes,
}  # fmt: skip
"""All that a pickle can call, where the caller adds nothing."""


def held_class(name: str) -> Any:
    """Make the class that stands for one of this name."""
    return Fixed(name.rpartition(".")[2] or "it", (Held,), {"of": name, "__slots__": ()})


class Reader(pickle.Unpickler):
    """Reads one pickle.

    Args:
        file: The pickle.
        calls: The functions that it can call, by their full names.
    """

    def __init__(self, file: IO[bytes], calls: Mapping[str, Callable[..., Any]] = CALLS) -> None:
        super().__init__(file, encoding="latin1")
        self._calls, self._classes = calls, dict[str, Any]()

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name here; nothing is imported."""
        full = f"{module}.{name}"
        if full in self._calls:
            return Call(self._calls[full])
        if full not in self._classes:
            self._classes[full] = held_class(full)
        return self._classes[full]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse a part that is elsewhere."""
        raise pickle.UnpicklingError("a part that is elsewhere")


def check_places(data: bytes) -> None:
    """See that a pickle numbers no object above its own number of bytes, before memory is taken for so many.

    Raises:
        DamagedFile: It does.
        pickle.UnpicklingError: It is none.
    """
    for code, argument, _ in pickletools.genops(data):
        if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
            raise DamagedFile(f"damaged: an object numbered {argument}, in {len(data)} bytes")
