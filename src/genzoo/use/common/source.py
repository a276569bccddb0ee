"""Where a verb finds its system: a run, a folder on disk, or a system in memory; and what it may ask of it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Generator

from genzoo.core.capabilities import CAPABILITIES, capabilities
from genzoo.core.errors import UserError, nearest
from genzoo.core.schema import check, settings
from genzoo.core.system import System
from genzoo.metrics import drawing
from genzoo.metrics.drawing import CHUNK, draw
from genzoo.naming import registry
from genzoo.saved.devices import pick_device
from genzoo.saved.hub import is_hub

__all__ = [
    "CHUNK",
    "Source",
    "draw",
    "generator_for",
    "generators_for",
    "name_of",
    "on_device",
    "open_system",
    "options",
    "own_options",
    "place_of",
    "require",
    "run_path",
]

Source = Any
"""A run (anything with a `path`), the path of a run or of an exported folder, a model of the hub (hf:OWNER/NAME), or a `System`."""

WORDS = {
    "samples": "draw samples",
    "density": "give a likelihood",
    "decodes": "decode latents",
    "mixes": "mix styles",
    "encodes": "encode images",
    "joint": "tell how probable data and latents are together",
    "prompted": "take prompts",
    "translates": "translate images",
    "figures": "draw figures of its own",
    "completes": "complete images",
    "animates": "animate images",
    "compresses": "compress images",
    "tokenizes": "turn images into codes",
}
"""What a capability lets one do, in words."""
FEW = 6
"""Systems that a refusal names as those that can."""


def place_of(source: Source) -> Path:
    """Return the path that a source stands for: a run's own, or the given one."""
    place: Any = getattr(source, "path", source)
    return Path(place).expanduser()


def run_path(source: Source) -> Path | None:
    """Find the folder of a run or an exported model; None for a system in memory or of the hub, which have none to write to.

    Raises:
        UserError: There is no such folder; the message has the nearest one.
    """
    if isinstance(source, System) or is_hub(source):
        return None
    path = place_of(source)
    if path.is_dir():
        if not any((path / name).exists() for name in ("config.toml", "model.safetensors", "model")):
            raise UserError(f"'{path}' is not a run: it has neither config.toml nor model.safetensors")
        return path
    if path.is_file() and path.name in ("config.toml", "config.json", "model.safetensors"):
        return path.parent
    if len(path.parts) == 1 and (Path("runs") / path).is_dir():
        return Path("runs") / path
    folder = path.parent if path.parent.is_dir() and len(path.parts) > 1 else Path("runs")
    beside = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    hint = nearest(path.name, beside).replace("'", f"'{folder}{os.sep}", 1) if beside else ""
    raise UserError(
        f"there is no run at '{path}'{hint or '; a run is a folder that genzoo train wrote, such as runs/dcgan'}"
    )


DEVICE: ContextVar[str] = ContextVar("DEVICE", default="cpu")
"""Where systems of runs are opened: on the CPU unless it is asked otherwise, so that a seed means the same samples everywhere."""


@contextmanager
def on_device(wanted: str) -> Iterator[None]:
    """Open the systems of runs on another device within the block.

    Raises:
        UserError: There is no such device.
    """
    told = DEVICE.set(str(pick_device(wanted)))
    try:
        yield
    finally:
        DEVICE.reset(told)


LOWER: ContextVar[Callable[[System], System] | None] = ContextVar("LOWER", default=None)
"""What makes of a system one that computes with fewer bits, see `genzoo.use.common.precision`; nothing where it computes in full."""


def open_system(source: Source) -> System:
    """Return the system of `source` in eval mode; of a run on the CPU, or where `on_device` says. It computes in the precision of the block."""
    if isinstance(source, System):
        found = source.eval()
    else:
        from genzoo.saved.loading import load

        found = load(run_path(source) or source, device=DEVICE.get())
    lower = LOWER.get()
    return lower(found) if lower else found


def open_exact(source: Source, *, verb: str) -> System:
    """Return the system of `source` for what has to be the same everywhere.

    Raises:
        UserError: It is opened in a block of fewer bits.
    """
    if LOWER.get():
        raise UserError(
            f"{verb} computes in full, so that it is the same everywhere; call it outside of a block of genzoo.precision"
        )
    return open_system(source)


def name_of(system: System) -> str:
    """Return the name that a person knows the system by."""
    return str(getattr(system, "name", "") or registry.name_of(type(system)))


First = TypeVar("First")
Second = TypeVar("Second")


@overload
def require(system: System, first: type[First], /, *, verb: str) -> First: ...
@overload
def require(system: System, first: type[First], second: type[Second], /, *, verb: str) -> tuple[First, Second]: ...
def require(system: System, /, *needed: type, verb: str) -> object:
    """Check that `system` has the capabilities `needed`, and return it as what has each of them.

    `encoder, decoder = require(system, Encodes, Decodes, verb="reconstruct")` is one object twice, known to have the methods of both.

    Raises:
        UserError: Says what it lacks and what it can do.
    """
    names = [next(name for name, protocol in CAPABILITIES.items() if protocol is p) for p in needed]
    able = capabilities(system)
    lacking = [WORDS[c] for c in names if c not in able]
    for reason in (system.lacks[c] for c in names if c in system.lacks):
        raise UserError(f"{verb}: {reason}")
    if lacking:
        can = ", ".join(WORDS[c] for c in able if c in WORDS) or "only train"
        others = [n for n, e in registry.entries().items() if set(names) <= set(e.abilities)]
        who = f". {', '.join(others)} can" if 0 < len(others) <= FEW else ""
        raise UserError(f"{verb}: {name_of(system)} cannot {' or '.join(lacking)}; it can {can}{who}")
    return system if len(needed) == 1 else (system,) * len(needed)


def generator_for(system: System, seed: int) -> Generator:
    """Make a seeded generator on the system's device, where its randomness has to come from.

    Raises:
        UserError: The seed is no whole number, or negative.
    """
    return torch.Generator(system.device).manual_seed(whole("seed", seed, least=0))


def generators_for(system: System, seed: int, n: int, first: int = 0) -> Generator:
    """Make a generator for each of the examples `first` to `first + n - 1` of a seed, on the system's device.

    Raises:
        UserError: The seed is no whole number, or negative.
    """
    return drawing.generators_for(system, whole("seed", seed, least=0), n, first)


def whole(name: str, value: Any, *, least: int) -> int:
    """Check that Python code gave a whole number, and return it as int.

    Raises:
        UserError: It is something else, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(f"{name}={value!r} is not allowed; give a whole number, at least {least}")
    return int(value)


SHARED = ("self", "n", "x", "known", "generator", "direction")
"""Arguments of a method that the protocol gives; the rest are the system's own options."""


def own_options(system: System | type[System], method: str) -> list[str]:
    """Name the options that a system's method adds to its protocol: temperature, label ..."""
    return [p for p in inspect.signature(getattr(system, method)).parameters if p not in SHARED]


def options(system: System, method: str, given: dict[str, Any], *, verb: str) -> dict[str, Any]:
    """Check the options that a system's own method takes beyond its protocol (temperature, label ...)."""
    function = getattr(type(system), method)
    skip = tuple(s for s in settings(function) if s in SHARED)
    own = own_options(system, method)
    for key in given:
        if key not in own:
            has = f"its options are {', '.join(own)}" if own else "it has no options of its own"
            raise UserError(f"{verb}: {name_of(system)} has no option '{key}'{nearest(key, own)}; {has}")
    checked = check(function, given, label=verb, skip=skip)
    return {k: checked[k] for k in given}
