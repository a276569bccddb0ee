"""Numbers in a pickle: arrays, texts and plain containers, read by an interpreter of our own that has nothing to run.

A pickle is a program for a small stack machine. Here its instructions are read by the standard library's disassembler (`pickletools`), and
only those that build containers, numbers and NumPy arrays are followed: a name in it stays a name, so nothing is imported, called or
altered, and an array is made of the bytes that the file holds or not at all.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import DamagedFile
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words

PLAIN = "?bhilqBHILQefdFDSU"
"""Kinds of values that an array may hold: no objects, no times."""
_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    UnicodeError,
    MemoryError,
    AssertionError,
)
"""What damage looks like to the disassembler and to NumPy."""
_MARK = object()


@dataclass
class _Name:
    """A class or function that a pickle names."""

    full: str


@dataclass
class _Made:
    """What a named thing was called with, until its state is known.

    Args:
        what: array or dtype.
        args: What it was called with.
        value: The dtype, or the array.
    """

    what: str
    args: tuple[Any, ...]
    value: Any = None


def read_numbers(path: Path) -> Any:
    """Read a file that is a pickle: see `numbers_in`.

    Raises:
        DamagedFile: It is no pickle, is cut off, or holds something else than numbers.
    """
    try:
        return numbers_in(path.read_bytes())
    except Rejected as reason:
        raise DamagedFile(f"'{path}' cannot be read as a pickle of arrays: {reason}") from None


def numbers_in(data: bytes) -> Any:
    """Read a pickle of plain containers, numbers, texts and NumPy arrays.

    Text of Python 2 is read as latin-1, which is how its arrays and byte strings were written.

    Raises:
        Rejected: It is no pickle, is cut off, or holds something else than numbers.
    """
    try:
        return _plain(_run(data), {})
    except _FAULTS as error:
        raise Rejected(in_words(error)) from None
    except RecursionError:
        raise Rejected("it is nested too deeply") from None


def _run(data: bytes) -> Any:
    """Follow the instructions and return what they leave."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    found: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]] = pickletools.genops(io.BytesIO(data))
    for op, arg, _ in found:
        name = op.name
        if name == "STOP":
            return stack.pop()
        if name in _VALUES:
            stack.append(_VALUES[name](arg))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(arg)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])
        elif name == "GLOBAL":
            stack.append(_Name(arg.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            stack.append(_Name(f"{module}.{last}"))
        elif name in ("REDUCE", "NEWOBJ"):
            args, what = stack.pop(), stack.pop()
            stack.append(_called(what, args))
        elif name == "BUILD":
            state = stack.pop()
            _stated(stack[-1], state)
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise Rejected(f"the instruction {name}, which numbers do not need")
    raise Rejected("it ends early")


def _above(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark."""
    at = next((i for i in reversed(range(len(stack))) if stack[i] is _MARK), -1)
    if at < 0:
        raise Rejected("it takes more than it has")
    found = stack[at + 1 :]
    del stack[at:]
    return found


def _extend(stack: list[Any], found: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise Rejected("it puts entries into what is no list")
    stack[-1].extend(found)


def _update(stack: list[Any], found: list[Any]) -> None:
    if not isinstance(stack[-1], dict):
        raise Rejected("it puts entries into what is no dictionary")
    stack[-1].update(zip(found[::2], found[1::2], strict=True))


def _last(stack: list[Any], n: int) -> list[Any]:
    if len(stack) < n:
        raise Rejected("it takes more than it has")
    found = stack[len(stack) - n :]
    del stack[len(stack) - n :]
    return found


def _dict(stack: list[Any]) -> None:
    found = _above(stack)
    stack.append({})
    _update(stack, found)


def _same(arg: Any) -> Any:
    return arg


_VALUES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE",
         "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        _same,
    ),
    "NONE": lambda _: None, "NEWTRUE": lambda _: True, "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {}, "EMPTY_LIST": lambda _: [], "EMPTY_TUPLE": lambda _: (), "MARK": lambda _: _MARK,
}  # fmt: skip
"""Instructions that put a value on the stack."""
_STEPS: dict[str, Callable[[list[Any]], Any]] = {
    "POP": lambda s: s.pop(), "POP_MARK": _above, "DUP": lambda s: s.append(s[-1]),
    "APPEND": lambda s: _extend(s, _last(s, 1)), "APPENDS": lambda s: _extend(s, _above(s)),
    "SETITEM": lambda s: _update(s, _last(s, 2)), "SETITEMS": lambda s: _update(s, _above(s)),
    "TUPLE": lambda s: s.append(tuple(_above(s))), "TUPLE1": lambda s: s.append(tuple(_last(s, 1))),
    "TUPLE2": lambda s: s.append(tuple(_last(s, 2))), "TUPLE3": lambda s: s.append(tuple(_last(s, 3))),
    "LIST": lambda s: s.append(_above(s)),
    "DICT": _dict,
}  # fmt: skip
"""Instructions that rearrange it."""


def _called(what: Any, args: Any) -> Any:
    """Stand in for a call, of the few names that arrays, bytes and dictionaries are written by."""
    if not isinstance(what, _Name) or not isinstance(args, tuple):
        raise Rejected("it calls what is no function")
    module, _, last = what.full.rpartition(".")
    if module.split(".")[0] == "numpy":
        if last == "_reconstruct":
            return _Made("array", ())
        if last == "dtype":
            return _Made("dtype", args, np.dtype(_letters(args[0])))
        if last == "_frombuffer":
            data, dtype, shape, order = args
            return _array(shape, _type(dtype), data, order)
        if last == "ndarray" and len(args) == 3:
            shape, letters, data = args
            return _array(shape, np.dtype(_letters(letters)), data, "C")
        if last == "scalar":
            dtype, data = args
            return _array((), _type(dtype), data, "C")[()]
    if what.full == "_codecs.encode" and len(args) == 2 and args[1] in ("latin1", "latin-1"):
        return args[0].encode("latin-1")
    if last in ("OrderedDict", "EasyDict") and not args:
        return {}
    raise Rejected(f"it holds {what.full}, which is no array of numbers")


def _stated(made: Any, state: Any) -> None:
    """Give an array or a dtype its state."""
    if isinstance(made, dict) and isinstance(state, dict) and not state:
        return
    if not isinstance(made, _Made) or not isinstance(state, tuple):
        raise Rejected("it alters what it may not alter")
    if made.what == "dtype":
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise Rejected("an array of records, which is not read")
        made.value = made.value.newbyteorder(state[1]) if state[1] in "<>" else made.value
    else:
        _, shape, dtype, columns, data = state
        made.value = _array(shape, _type(dtype), data, "F" if columns else "C")


def _letters(text: Any) -> str:
    """Return the code of a plain dtype, such as "f8" or "<f4"."""
    if not isinstance(text, str) or not text.strip("<>=|") or text.strip("<>=|")[0] not in "biufSU":
        raise Rejected(f"an array of {text!r}, which are no numbers")
    return text


def _type(made: Any) -> np.dtype[Any]:
    if not isinstance(made, _Made) or made.what != "dtype":
        raise Rejected("an array of no type")
    found: np.dtype[Any] = made.value
    if found.char not in PLAIN:
        raise Rejected(f"an array of {found}, which are no numbers")
    return found


def _array(shape: Any, dtype: np.dtype[Any], data: Any, order: Any) -> np.ndarray:
    """Make an array of bytes that are there; a shape that does not fit them is refused."""
    data = data.encode("latin-1") if isinstance(data, str) else data
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not isinstance(data, (bytes, bytearray)) or not all(type(n) is int and n >= 0 for n in sides) or len(sides) > 32:
        raise Rejected("an array without its values")
    if math.prod(sides) * dtype.itemsize != len(data):
        raise Rejected(f"an array of {'x'.join(map(str, sides))} {dtype} with {len(data):,} bytes")
    return np.frombuffer(data, dtype).reshape(sides, order="F" if order == "F" else "C")


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Put arrays in the place of what stands for them; what a file names twice is one."""
    if isinstance(value, _Made):
        if value.what != "array" or value.value is None:
            raise Rejected("an array without its values")
        return value.value
    if isinstance(value, _Name) or value is _MARK:
        raise Rejected(f"it holds {getattr(value, 'full', 'a mark')}, which is no array of numbers")
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            found: Any = {}
            done[id(value)] = found
            found.update({_key(k): _plain(v, done) for k, v in value.items()})
        else:
            done[id(value)] = [] if isinstance(value, list) else None
            found = [_plain(v, done) for v in value]
            done[id(value)] = found if isinstance(value, list) else tuple(found)
    return done[id(value)]


def _key(key: Any) -> Any:
    if not isinstance(key, (str, bytes, int, float)):
        raise Rejected("a dictionary with keys that are no texts or numbers")
    return key
