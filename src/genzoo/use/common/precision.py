"""The arithmetic in which a trained system is used: full, or half the bits for speed and memory, as training has it.

Weights stay float32; torch's autocast chooses what is computed with fewer bits. What a method gives comes back as float32. Measures themselves,
and networks of features, are computed in full whatever this says.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import CAPABILITIES, capabilities
from genzoo.core.errors import UserError, nearest
from genzoo.core.files import say_once
from genzoo.core.system import System
from genzoo.saved.devices import has_bf16
from genzoo.use.common.source import LOWER, name_of

DTYPES = {"full": torch.float32, "bf16": torch.bfloat16, "half": torch.float16}
ALSO = {"fp32": "full", "float32": "full", "fp16": "half", "float16": "half", "bfloat16": "bf16"}
"""Other words for them, as training and other programs have them."""


@contextmanager
def precision(wanted: str) -> Iterator[None]:
    """Use systems in a precision within the block: `with genzoo.precision("bf16"): genzoo.sample(run)`.

    Args:
        wanted: full, bf16, or on a GPU half. fp32 and fp16, as training calls them, are understood.

    Raises:
        UserError: There is none of this name; where a system is opened, its device has none of it.
    """
    meant = ALSO.get(wanted.lower(), wanted.lower())
    if meant not in DTYPES:
        known = (*DTYPES, *ALSO)
        raise UserError(
            f"precision={wanted} is not known{nearest(wanted, known) or '.'} Give full, bf16, or on a GPU half"
        )
    told = LOWER.set(None if meant == "full" else functools.partial(lowered, wanted=meant))
    try:
        yield
    finally:
        LOWER.reset(told)


def lowered(system: System, wanted: str) -> System:
    """Return a system that shares the weights of this one and whose methods compute in a precision, bf16 or half.

    Raises:
        UserError: The device has no such arithmetic.
    """
    device = system.device.type
    if "precision" in vars(system):
        return system
    if wanted == "half" and device == "cpu":
        raise UserError(
            "precision=half is for a GPU, and the networks run on the CPU; give bf16 or full, or device=cuda"
        )
    if wanted == "bf16" and not has_bf16(system.device):
        lacks = "CPU has no AMX" if device == "cpu" else f"{device} has no arithmetic of its own for bf16"
        say_once(f"this {lacks}: results are those of bf16, and slower than full")
    other = copy.copy(system)
    for method in _methods(system):
        vars(other)[method] = _computed(getattr(system, method), device, wanted, name_of(system))
    vars(other)["precision"] = wanted
    return other


def precision_of(system: System | None) -> str:
    """Return the precision in which a system computes: full, unless it was opened in a block that says otherwise."""
    return str(vars(system).get("precision", "full")) if system is not None else "full"


def computing(system: System) -> Any:
    """Return the context of a system's precision, for what calls its networks and none of its methods."""
    wanted = precision_of(system)
    return torch.autocast(system.device.type, dtype=DTYPES[wanted], enabled=wanted != "full")


def _methods(system: System) -> list[str]:
    """Name the methods by which verbs and measures use a system."""
    protocols = [CAPABILITIES[name] for name in capabilities(system)]
    named = {m for p in protocols for m in vars(p) if not m.startswith("_") and callable(vars(p)[m])}
    return sorted(m for m in named if callable(getattr(type(system), m, None)) and m not in ("judging", "unread"))


def _computed(method: Callable[..., Any], device: str, wanted: str, name: str) -> Callable[..., Any]:
    @functools.wraps(method)
    def in_precision(*args: Any, **kw: Any) -> Any:
        try:
            with torch.autocast(device, dtype=DTYPES[wanted]):
                found = method(*args, **kw)
        except RuntimeError as error:
            if not any(word in str(error) for word in ("BFloat16", "Half", "same dtype", "scalar type", "dtype")):
                raise
            raise UserError(f"{name} cannot {method.__name__} in precision={wanted}; leave precision= out") from error
        return (
            found.float()
            if isinstance(found, Tensor) and found.is_floating_point() and found.dtype != torch.float64
            else found
        )

    return in_precision
