"""A training that begins with the weights of another model: what agrees by name and shape is taken, the rest stays new.

A model is more than its parameters. A layer's buffers (running statistics, a codebook's counts) are taken where all of that layer
agrees; marks that something has been started from the data, where everything below them agrees; what a layer has seen of its data
(pools, captions, first frames) never is, nor are systems inside of systems, which are given by the person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Judges, capabilities
from genzoo.core.errors import UserError
from genzoo.core.schema import capability_of, settings
from genzoo.core.system import System
from genzoo.naming import registry
from genzoo.saved import checkpoint
from genzoo.saved.loading import build, digest, fresh, model_file, restored
from genzoo.saved.published import is_published

SHOWN = 6
"""Tensors that a message names."""
LEAST = 0.01
"""Share of the parameters that has to agree: below it, what agrees does so by chance (the biases of an output)."""


@dataclass(frozen=True)
class Taken:
    """What became of the tensors of a system that was to begin with another model's weights.

    Args:
        names: Those that were taken.
        new: Those that the other model has not, or has in another shape, each with the reason in words.
        weights: Values of all parameters that were taken.
        of: Values of all parameters that there are.
    """

    names: tuple[str, ...]
    new: dict[str, str]
    weights: int
    of: int

    @property
    def sentence(self) -> str:
        """Say how much was taken, and what is new."""
        said = f"{len(self.names):,} of {len(self.names) + len(self.new):,} tensors, {self.weights:,} of {self.of:,} parameters"
        named = [f"{name} ({why})" for name, why in [*self.new.items()][:SHOWN]]
        more = f" and {len(self.new) - SHOWN:,} more" if len(self.new) > SHOWN else ""
        return said + (f"; new: {', '.join(named)}{more}" if named else "; nothing is new")


@dataclass(frozen=True)
class Origin:
    """A model that a training begins with.

    Args:
        path: How a person gave it.
        system: Its averaged weights where it has some, else those that were trained.
        step: Steps that it has had, where that is known.
    """

    path: str
    system: System
    step: int | None


def read_origin(path: str | None, cls: type[System]) -> Origin | None:
    """Read the model that a training is to begin with; None where it is to begin with weights of its own.

    Args:
        path: A run's folder or, where there is no such path, its name in runs/; an exported folder; a file of a model or of a state; a model of
            the hub (hf:OWNER/NAME) or of the package genzoo-zoo (zoo:NAME).
        cls: The system that is to be trained.

    Raises:
        UserError: There is none, it is damaged, it is another system, or this one has nothing to go on from.
    """
    if path is None:
        return None
    here = registry.name_of(cls)
    if "fits" in capabilities(cls):
        raise UserError(
            f"from={path}: {here} is fitted to all of its data at once and begins with nothing of another model's"
        )
    named = not is_published(path) and len(Path(path).parts) == 1 and not Path(path).exists()
    try:
        found, step = _read(model_file(Path("runs") / path if named else path))
    except UserError as error:
        raise type(error)(f"from={path}: {error}") from None
    if type(found) is not cls:
        there = registry.name_of(type(found))
        raise UserError(
            f"from={path}: that is a {there}, and a {here} is to be trained; weights are taken between models of one system "
            f"(presets, sizes and classes may differ): give a run of {here}"
        )
    return Origin(path, found, step)


def _read(file: Path) -> tuple[System, int | None]:
    tensors, meta = checkpoint.read(file)
    step = meta.get("step")
    with torch.random.fork_rng(devices=[]):  # the fresh weights leave the person's randomness alone
        if "optim" in meta:  # a state: what resuming needs
            size, state = sum(t.nbytes for t in tensors.values()), checkpoint.unpack("params", tensors)
            kept = fresh(lambda: build(meta), size, str(file)).state_dict()
            buffers = {k: v for k, v in checkpoint.unpack("buffers", tensors).items() if k in kept}
            tensors = checkpoint.unpack("ema", tensors) or {**state, **buffers}
        return restored(meta, tensors, str(file)), step if isinstance(step, int) else None


@torch.no_grad()
def take(system: System, source: System) -> Taken:
    """Put into a system what agrees with another one's tensors by name, shape and type.

    Raises:
        UserError: Hardly a parameter agrees.
    """
    have, theirs = _tensors(system), _tensors(source)
    own, seen = {k for k, _ in system.named_parameters()}, _seen(system)
    new = {name: why for name, t in have.items() if (why := _unlike(t, theirs.get(name)))}
    given = tuple(f"{k}." for k, s in settings(type(system)).items() if capability_of(s.annotation))
    left = {name for name in have if name.startswith(given) or name in seen}
    for name in [k for k in have if k not in own and k not in left and k not in new]:
        layer = name.rpartition(".")[0]
        below = f"{layer}." if layer else ""
        whole = have[name].dtype == torch.bool  # a mark that speaks for all that is below it
        if any(k.startswith(below) and (whole or "." not in k[len(below) :]) for k in new):
            new[name] = "its layer is new"
    names = tuple(k for k in have if k not in new and k not in left)
    counted = {k: p.numel() for k, p in system.named_parameters() if k not in left}
    taken = Taken(
        names,
        {k: v for k, v in new.items() if k not in left},
        sum(counted.get(k, 0) for k in names),
        sum(counted.values()),
    )
    if taken.weights < LEAST * taken.of:
        raise UserError(
            f"too little agrees with this {registry.name_of(type(system))} in name and shape: {taken.sentence}"
        )
    for name in names:
        have[name].copy_(theirs[name])
    return taken


def _tensors(system: System) -> dict[str, Tensor]:
    return {k: t for k, t in system.state_dict().items() if isinstance(t, Tensor)}


def _seen(system: System) -> set[str]:
    """Name the buffers in which modules keep what they have seen of their data."""
    found: Iterator[tuple[str, Any]] = ((p, n) for p, m in system.named_modules() for n in getattr(m, "memories", ()))
    return {f"{prefix}.{name}" if prefix else name for prefix, name in found}


def _unlike(mine: Tensor, other: Tensor | None) -> str:
    """Say in words why a tensor cannot be taken; nothing where it can."""
    if other is None:
        return "not there"
    if mine.shape != other.shape:
        return f"{'x'.join(map(str, mine.shape)) or 'scalar'}, there {'x'.join(map(str, other.shape)) or 'scalar'}"
    return "" if mine.dtype == other.dtype else f"{mine.dtype}, there {other.dtype}".replace("torch.", "")


def begin(
    system: System, origin: Origin | None, freeze: int | None, known: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Begin a system with another model's weights.

    Args:
        system: What is to be trained, with fresh weights.
        origin: The other model; None leaves the fresh weights.
        freeze: Layers of its discriminator that stay as they are, as in `hold`.
        known: What a run says of what it was begun with, where it has to be begun again.

    Returns:
        What a run keeps of it (path, system, step, digest, how many tensors), and what was taken, in a sentence; nothing without an origin.

    Raises:
        UserError: Too few parameters agree, it is not the model that it was, or layers cannot be kept.
    """
    if origin is None:
        if freeze is not None:
            raise UserError(
                f"freeze={freeze} keeps layers of the model that a training begins with; give from=RUN as well"
            )
        return {}, ""
    name, found = getattr(origin.system, "name", registry.name_of(type(system))), digest(origin.system)
    if known and known.get("digest") != found:
        raise UserError(
            f"from={origin.path}: that is not the model any more that this run was begun with; begin a new run"
        )
    try:
        taken = take(system, origin.system)
    except UserError as error:
        raise UserError(f"from={origin.path}: {error}") from None
    hold(system, freeze)
    still = [k for k, p in system.named_parameters() if not p.requires_grad]
    if lacking := [k for k in still if k in taken.new] if freeze else []:
        raise UserError(
            f"freeze={freeze} keeps '{lacking[0]}' as it is, which is new ({taken.new[lacking[0]]}); give a smaller number"
        )
    about = {
        "path": origin.path,
        "system": name,
        **({} if origin.step is None else {"step": origin.step}),
        "digest": found,
    }
    steps = "" if origin.step is None else f" after {origin.step:,} steps"
    kept = f"; the first {freeze} layers of the discriminator stay as they are" if freeze else ""
    said = f"{origin.path} ({name}{steps}): {taken.sentence}{kept}"
    return {**about, "taken": len(taken.names), "new": len(taken.new)}, said


def hold(system: System, count: int | None) -> None:
    """Keep the weights of the first layers of a discriminator as they are (FreezeD, arXiv:2002.10964).

    Args:
        system: Whose optimizers have not been made yet.
        count: How many layers, the one that sees the data first; None for none.

    Raises:
        UserError: It has no such layers, or not so many.
    """
    if count is None:
        return
    name = registry.name_of(type(system))
    if not isinstance(system, Judges):
        raise UserError(
            f"freeze={count}: {name} has no discriminator whose layers stand one behind the other; leave freeze= out"
        )
    layers = system.judging()
    if count >= len(layers):
        raise UserError(
            f"freeze={count}: the discriminator has {len(layers)} layers at these settings of {name}, and the last one has to learn; "
            f"give at most {len(layers) - 1}"
        )
    for layer in layers[:count]:
        layer.requires_grad_(False)
