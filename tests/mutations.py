"""Files as other programs, bad disks and curious people leave them: seeded mutations, and a place to open them in."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import random
import resource
import signal
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from genzoo.core.errors import UserError

MEMORY = 2**30
SECONDS = 10
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**9, 2**31, 2**63, 10**30, -(10**9), 0.5, -0.5, 1e308, math.nan, math.inf, -math.inf,
    "", "3", "none", "nan", "1,2,3", "../..", "a\x00b", "x" * 5000, [], {}, [[]], [1, 2, 3], [10**9], {"system": 3}, {"a": {"b": [1]}}, ["x"] * 50,
]  # fmt: skip


def bytes_changed(data: bytes, rng: random.Random) -> bytes:
    """A file with bits flipped, cut off, repeated, taken out, put in or overwritten."""
    at, n = rng.randrange(len(data) + 1), rng.choice([1, 2, 8, 64, 1000])
    match rng.randrange(9):
        case 0:
            for _ in range(n):
                i = rng.randrange(len(data))
                data = data[:i] + bytes([data[i] ^ (1 << rng.randrange(8))]) + data[i + 1 :]
            return data
        case 1:
            return data[:at]
        case 2:
            return data[:at] + data[at : at + n] * rng.randrange(2, 5) + data[at + n :]
        case 3:
            return data[:at] + data[at + n :]
        case 4:
            return data[:at] + rng.randbytes(n) + data[at:]
        case 5:
            return data[:at] + b"\0" * n + data[at + n :]
        case 6:
            return rng.choice(
                [b"", b"\n", b"{}", b"[]", b"\xff\xfe", b"PK\x03\x04" + data[:50], b"[" * 100_000, b'{"a":' * 100_000]
            )
        case 7:
            return rng.choice([2**63, 2**40, 10**9, 0, len(data), len(data) - 8]).to_bytes(8, "little") + data[8:]
        case _:
            return data + data


def places_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is anything in a value of lists and dictionaries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in places_in(v, (*path, k)))]


def structure_changed(value: Any, rng: random.Random) -> Any:
    """A value with one to three of its parts exchanged, dropped, renamed, doubled or buried."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        path = rng.choice([p for p in places_in(value) if p] or [()])
        if not path:
            return rng.choice(STRANGE)
        home = value
        for key in path[:-1]:
            home = home[key]
        key, old = path[-1], home[path[-1]]
        match rng.randrange(8):
            case 0 | 1 | 2:
                home[key] = copy.deepcopy(rng.choice(STRANGE))
            case 3:
                del home[key]
            case 4 if isinstance(home, dict):
                home[rng.choice(["", "x", key + "_", "self", "__class__", "a b"])] = home.pop(key)
            case 5 if isinstance(old, (int, float)) and not isinstance(old, bool):
                home[key] = rng.choice(
                    [str(old), old * 1000, -old, float(old) + 0.5, [old], old * 10**9 if old == old else 0]
                )
            case 6:
                for _ in range(rng.choice([3, 60])):
                    old = [old]
                home[key] = old
            case _:
                if isinstance(home, list):
                    home.insert(key, copy.deepcopy(old))
                else:
                    home["more"] = copy.deepcopy(old)
    return value


def tensors_changed(tensors: dict[str, Tensor], rng: random.Random) -> dict[str, Tensor]:
    """Tensors of other names, shapes and types, some that are missing, some that are no numbers."""
    tensors = dict(tensors)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if not tensors:
            break
        name = rng.choice(sorted(tensors))
        t = tensors.pop(name)
        match rng.randrange(8):
            case 0:
                tensors[name + rng.choice(["x", ".weight", ""])] = t
            case 1:
                pass
            case 2:
                tensors[name] = t.to(rng.choice([torch.float64, torch.int32, torch.bool, torch.float16, torch.uint8]))
            case 3:
                tensors[name] = t.reshape(-1)
            case 4:
                tensors[name] = t[None]
            case 5:
                tensors[name] = t.new_zeros(rng.choice([(0,), (), (3,), (1, 1, 1)]))
            case 6:
                tensors[name] = (
                    torch.full_like(t, rng.choice([math.nan, math.inf])) if t.is_floating_point() else t * 0 - 1
                )
            case _:
                tensors[name], tensors["another"] = t, t.clone()
    return tensors


def sealed(path: Path, tensors: dict[str, Tensor], description: Any) -> None:
    """A file with a right digest, whatever it holds, as another program could write it."""
    text = description if isinstance(description, str) else json.dumps(description)
    data = save({k: t.contiguous() for k, t in tensors.items()}, {"genzoo": text, "digest": "0" * 64})
    digest = hashlib.blake2b(data, digest_size=32).hexdigest().encode()
    path.write_bytes(data.replace(b'"digest":"' + b"0" * 64, b'"digest":"' + digest, 1))


def toml(values: dict[str, Any]) -> str:
    """TOML of anything that it can say; null is left out."""
    plain = {k: v for k, v in values.items() if not isinstance(v, dict)}
    lines = [f"{json.dumps(str(k))} = {_toml(v)}" for k, v in plain.items() if v is not None]
    for key, table in values.items():
        if isinstance(table, dict):
            lines += [
                f"[{json.dumps(str(key))}]",
                *(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in table.items() if v is not None),
            ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(v) for v in value if v is not None) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def check_all(cases: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Fail with the first few of what goes wrong, see `failures`."""
    found = failures(cases)
    assert not found, f"{len(found)} failures\n" + "\n".join(found[:4])


class _Slow(BaseException):
    """It took too long."""


def failures(cases: Iterable[tuple[str, Callable[[], object]]]) -> list[str]:
    """What goes wrong of deeds that may end well or in one clear line, in a process of their own with little memory and little time each.

    Args:
        cases: What it is, and what to do.

    Returns:
        One text for each that ended in another way: by any other error, or one that is no single line, or says that memory was short.
    """
    inward, outward = os.pipe()
    pid = os.fork()
    if not pid:
        found: list[str] = []
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
            signal.signal(signal.SIGALRM, _too_slow)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            found = [f"{label}: {wrong}" for label, act in cases if (wrong := _tried(act))]
        except BaseException:
            found.append(f"the trial itself failed: {traceback.format_exc()}")
        finally:
            with os.fdopen(outward, "w") as out:
                out.write(json.dumps(found))
            os._exit(0)
    os.close(outward)
    with os.fdopen(inward) as answer:
        told = answer.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(told) if told else [f"the process died: {status}"]


def _too_slow(*_: object) -> None:
    raise _Slow


def _tried(act: Callable[[], object]) -> str:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        act()
    except UserError as error:
        said = str(error)
        if "\n" in said.strip() or len(said) > 1500 or len(said) < 10:
            return f"no single clear line: {said[:2000]!r}"
        return f"memory was short: {said}" if "memory" in said else ""
    except _Slow:
        return f"more than {SECONDS} s: {traceback.format_exc()[-1500:]}"
    except BaseException:
        return traceback.format_exc()[-2500:]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""
