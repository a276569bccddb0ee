"""Read pickles as data: tensors, numbers, words and containers; nothing that a pickle names is looked up, imported or called.

A pickle is a program for a small machine, and the machine's dangerous instruction is "find this name and call it". Here every name leads to
one of two places: a few functions below, which rebuild tensors and plain containers, or a class made on the spot that only keeps what it
was given (`Held`). So source code inside a pickle, as in NVIDIA's, stays text.

Three forms are read: the zip archive of `torch.save`, the older sequence of pickles that it wrote before version 1.6, and a bare pickle,
whose tensors hold little files of the older form.
"""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from genzoo.core.errors import DamagedFile

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of the older form of `torch.save`."""
DEEPEST, MOST = 100, 100_000
"""Modules inside modules, and modules altogether, at most."""
DTYPES: Mapping[str, torch.dtype] = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


FAULTS = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    RuntimeError, MemoryError, OverflowError, AssertionError, UnboundLocalError, OSError,
)  # fmt: skip
"""What readers of pickles raise at a file that is none."""


class _Fixed(type):
    """The class of classes that a pickle cannot alter."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a class")


class Held(metaclass=_Fixed):
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


class _Call:
    """A function of this module that a pickle may call; it has no attribute that could be set."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a function")


class _Dict(dict[Any, Any]):
    """A dictionary without further state."""

    def __setstate__(self, state: Any) -> None:
        """Leave out what is no entry: the versions of modules."""


class _Tensor(Tensor):
    """A tensor whose state a pickle cannot set; it leaves this module as a plain one."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to alter a tensor")


def _ordered(pairs: Any = ()) -> _Dict:
    return _Dict(pairs)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    """Rebuild a tensor; one that reaches beyond its storage, or is larger than it, is refused."""
    if not isinstance(storage, Tensor) or storage.ndim != 1:
        raise pickle.UnpicklingError("a tensor without a storage")
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    count, last = 1, int(offset)
    for n, step in zip(size, stride, strict=True):
        count, last = count * n, last + (n - 1) * step
    if min((offset, *size, *stride), default=0) < 0 or count > storage.numel() or (count and last >= storage.numel()):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    return torch.as_strided(storage, size, stride, int(offset))


def _first(value: Any, *rest: Any) -> Any:
    """Return a parameter's tensor, and of a scalar's storage the storage itself."""
    return value


def _typed(function: Any, of: Any, args: Any, state: Any) -> Any:
    """Return a tensor of a class of its own as a plain one."""
    if not isinstance(function, _Call):
        raise pickle.UnpicklingError("a tensor that is made in an unknown way")
    return function(*args)


def _made(of: Any, base: Any = None, state: Any = None) -> Held:
    """Make an object as the oldest pickles do."""
    if not isinstance(of, _Fixed):
        raise pickle.UnpicklingError("an object of no class")
    held: Held = of()
    return held


def _bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode(encoding)


def _nested(data: bytes) -> Any:
    """Read a storage that is a file of the older form inside a pickle."""
    return _sequence(io.BytesIO(data), len(data))


def _persistent(meta: Any) -> Held:
    """Keep an object that NVIDIA's programs have written with its source: its class's name and its state; the source stays text."""
    meta = meta.entries if isinstance(meta, Held) else meta
    found: Held = _class(f"persistent.{meta['class_name']}")()
    state = meta["state"]
    found.state = state.entries if isinstance(state, Held) else state
    return found


CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": lambda *factory: _Dict(),
    "builtins.set": list, "__builtin__.set": list, "builtins.frozenset": list, "builtins.list": list, "builtins.dict": _Dict,
    "torch.Size": tuple, "torch._utils._rebuild_tensor": _tensor, "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first, "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _typed, "torch.storage._load_from_bytes": _nested,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "copyreg._reconstructor": _made, "copy_reg._reconstructor": _made, "_codecs.encode": _bytes,
}  # fmt: skip
"""All that a pickle can call."""


def _class(name: str) -> Any:
    return _Fixed(name.rpartition(".")[2] or "it", (Held,), {"of": name, "__slots__": ()})


class _Reader(pickle.Unpickler):
    """Reads one pickle."""

    def __init__(self, file: IO[bytes], storage: Callable[[Any], Any]) -> None:
        super().__init__(file, encoding="latin1")
        self._storage, self._classes = storage, dict[str, Any]()

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name here; nothing is imported."""
        full = f"{module}.{name}"
        if full in CALLS:
            return _Call(CALLS[full])
        if full not in self._classes:
            self._classes[full] = _class(full)
        return self._classes[full]

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage that is meant, a flat tensor; of a class with its source, the class as it is known here."""
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]
        return self._storage(pid)


def _described(pid: Any) -> tuple[torch.dtype, str, int]:
    """Read what is said of a storage: its type, its key and its number of values."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        raise pickle.UnpicklingError("a part that is no storage")
    word = getattr(pid[1], "of", "").rpartition(".")[2]
    if word not in DTYPES:
        raise pickle.UnpicklingError(f"values of type {word or pid[1]!r}, which is not read")
    return DTYPES[word], str(pid[2]), int(pid[4])


def _room(dtype: torch.dtype, count: int, most: int) -> Tensor:
    """Make a flat tensor, of no more bytes than the file has."""
    if not 0 <= count * dtype.itemsize <= most:
        raise pickle.UnpicklingError("a storage that is larger than the file")
    return torch.empty(count, dtype=dtype).as_subclass(_Tensor)


def _fill(storage: Tensor, data: bytes) -> None:
    if len(data) < storage.numel() * storage.element_size():
        raise pickle.UnpicklingError("a storage that is cut off")
    if storage.numel():
        storage.copy_(torch.frombuffer(bytearray(data), dtype=storage.dtype, count=storage.numel()))


def _archive(path: Path) -> Any:
    """Read the zip archive of `torch.save`."""
    with zipfile.ZipFile(path) as archive:
        entries = {i.filename: i for i in archive.infolist()}
        names = [n for n in entries if n.endswith("/data.pkl")]
        if not names:
            raise pickle.UnpicklingError("it holds no data.pkl")
        root = names[0].removesuffix("data.pkl")
        if any(i.compress_type != zipfile.ZIP_STORED for i in entries.values()):
            raise pickle.UnpicklingError("its parts are compressed, which PyTorch does not do")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise pickle.UnpicklingError("its numbers are big-endian")
        known: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            dtype, key, count = _described(pid)
            if key not in known:
                name = f"{root}data/{key}"
                if name not in entries:
                    raise pickle.UnpicklingError(f"it lacks {name}")
                known[key] = _room(dtype, count, entries[name].file_size)
                _fill(known[key], archive.read(name))
            if known[key].dtype != dtype:
                raise pickle.UnpicklingError("a storage of two types")
            return known[key]

        return _Reader(io.BytesIO(archive.read(names[0])), storage).load()


def _sequence(file: IO[bytes], size: int) -> Any:
    """Read the older form: magic, version, machine, the object, the keys of its storages, and these."""
    known: dict[str, Tensor] = {}

    def storage(pid: Any) -> Tensor:
        dtype, key, count = _described(pid)
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("storages that are parts of others")
        if key not in known:
            known[key] = _room(dtype, count, size)
        return known[key]

    magic, _version, machine, tree, keys = (_Reader(file, storage).load() for _ in range(5))
    if magic != MAGIC or not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise pickle.UnpicklingError("it is of another form or another machine")
    for key in keys:
        found = known[str(key)]
        if struct.unpack("<q", file.read(8))[0] != found.numel():
            raise pickle.UnpicklingError("a storage of another size than is said")
        _fill(found, file.read(found.numel() * found.element_size()))
    return tree


def _bare(file: IO[bytes], size: int) -> Any:
    """Read one pickle, or the older form, which begins with one that is a number."""

    def refused(pid: Any) -> Any:
        raise pickle.UnpicklingError("a part that is elsewhere")

    start = _Reader(file, refused).load()
    if start == MAGIC:
        file.seek(0)
        return _sequence(file, size)
    return start


def read_pickle(path: Path) -> Any:
    """Read a file of `torch.save` or a bare pickle: tensors on the CPU, plain containers, and `Held` for everything else.

    What PyTorch's own reader of weights admits (`torch.load(weights_only=True)`) is left to it; the rest is read here.

    Raises:
        DamagedFile: It is no such file, cut off, or says what no such file says.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # about versions of pickles that are read below
            return torch.load(path, map_location="cpu", weights_only=True)
    except FAULTS:
        pass  # classes beside the tensors, or damage, which is found here as well
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        with open(path, "rb") as file:
            return _bare(file, path.stat().st_size)
    except FAULTS as error:
        said = str(error) or type(error).__name__
        raise DamagedFile(f"{path} cannot be read as a checkpoint of PyTorch: {said}") from None


def state_of(value: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dictionary or of a module that was pickled whole, by name; empty where it is neither.

    Raises:
        DamagedFile: The module stands inside itself, or has more parts than any has.
    """
    if isinstance(value, Held):
        found = dict[str, Tensor]()
        _gather(value, "", 0, [MOST], found)
        return found
    if isinstance(value, dict) and value and all(isinstance(k, str) for k in value):
        return {k: _plain(v) for k, v in value.items() if isinstance(v, Tensor)}
    return {}


def _gather(held: Held, prefix: str, depth: int, left: list[int], found: dict[str, Tensor]) -> None:
    """Put the tensors of a module and of its parts into `found`; `left` counts the modules that may still come."""
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise DamagedFile("a module in the file stands inside itself, or has more parts than any has")
    state = held.state[0] if isinstance(held.state, tuple) and held.state else held.state
    if not isinstance(state, dict):
        return
    for kind in ("_parameters", "_buffers"):
        for name, value in _entries(state.get(kind)).items():
            if isinstance(value, Tensor):
                found[f"{prefix}{name}"] = _plain(value)
    for name, value in _entries(state.get("_modules")).items():
        if isinstance(value, Held):
            _gather(value, f"{prefix}{name}.", depth + 1, left, found)


def _plain(value: Tensor) -> Tensor:
    plain: Tensor = value.detach().as_subclass(Tensor)
    return plain


def _entries(value: Any) -> dict[str, Any]:
    found = value.entries if isinstance(value, Held) else value
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}
