"""Parts of a model whose weights have learned nothing: a file's description names them, and what would use them is refused.

A model of another program may come without one of its parts (a translator with one of its two generators). Such a part has fresh weights,
and what they give looks like a result. Nobody has to know which verb uses which part: the part itself refuses to be computed, whoever asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from genzoo.core.capabilities import Translates
from genzoo.core.errors import UserError
from genzoo.core.system import System

SIDE = 64
"""Of the picture by which it is found which directions of a translator need a fresh part."""


class Untrained(UserError):
    """What was asked for needs a part that has learned nothing."""


def fresh_parts(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parts that a model's description says to have fresh weights."""
    said = meta.get("imported")
    found = said.get("new") if isinstance(said, Mapping) else None
    return tuple(map(str, found)) if isinstance(found, list) else ()


def guard(system: System, meta: Mapping[str, Any], origin: str) -> None:
    """Make the fresh parts of a system refuse to be computed in evaluation; training them is what they are for.

    Args:
        system: As it was loaded.
        meta: The description in its file.
        origin: Where it was loaded from, for the message.
    """
    if not (fresh := fresh_parts(meta)):
        return
    name = str(meta.get("name", meta.get("system", "")))
    for part in fresh:
        for inside, module in system.named_modules():
            if f"{inside}.".startswith(f"{part}."):
                module.register_forward_pre_hook(_refusal(part, name, origin))
    if isinstance(system, Translates) and not isinstance(getattr(type(system), "directions", ()), property):
        reasons = {d: _why_not(system, d) for d in system.directions}
        system.directions = tuple(d for d, reason in reasons.items() if not reason)
        vars(system)["untrained"] = {d: reason for d, reason in reasons.items() if reason}


def lost_directions(system: System) -> dict[str, str]:
    """Return the directions of a translator's class that need a fresh part, each with the sentence that says so."""
    found: dict[str, str] = vars(system).get("untrained", {})
    return found


@torch.no_grad()
def _why_not(system: Translates, direction: str) -> str:
    """Say why a translator does not translate in a direction, where the reason is a part that has learned nothing."""
    assert isinstance(system, System)
    shape, inputs = system.hparams.get("shape", (3,)), system.hparams.get("inputs")
    channels = int(inputs) if inputs and direction.startswith("a") else int(shape[0])
    try:
        system.eval().translate(torch.zeros(1, channels, SIDE, SIDE, device=system.device), direction=direction)
    except Untrained as reason:
        return str(reason)
    except (RuntimeError, ValueError):  # of this size or these values, and of no fresh part
        return ""
    return ""


def _refusal(part: str, name: str, origin: str) -> Any:
    def refuse(module: nn.Module, given: Any) -> None:
        if not module.training:
            raise Untrained(
                f"'{part}' of {origin} has fresh weights that have learned nothing (it was imported without a file for it), and what was asked "
                f"for needs it: import it again with its file (genzoo import ... {part}=FILE), or train it (genzoo train {name} from={origin} "
                "data=...)"
            )

    return refuse
