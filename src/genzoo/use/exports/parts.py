"""What of a system can be a file: one part for each method that is a map of tensors, found by capabilities, never by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import (
    Animates,
    Completes,
    Decodes,
    Density,
    Encodes,
    Joint,
    Predicts,
    Restores,
    Samples,
    Tokenizes,
    Translates,
    capabilities,
)
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.saved.untrained import lost_directions
from genzoo.use.common.source import name_of
from genzoo.use.exports.law import columns_of, known
from genzoo.use.translate import fitting_size

Size = tuple[int, ...]
"""Height and width of images whose size is free; empty for a part that has one size."""
NO_SIZES: tuple[Size, ...] = ((),)


@dataclass(frozen=True)
class Part:
    """A map of tensors that a system can do by itself: no loop over pixels, no file, and what it draws is given to it.

    Args:
        name: How one asks for it: decode, encode ...
        says: What it does, in a sentence.
        run: From the system and the inputs to the output; without inputs, from the system and how many are wanted.
        examples: From the system, how many, a size and a generator to inputs for a comparison.
        inputs: Names of the inputs, in order; what is drawn stands behind them.
        output: Name of the output.
        multiple: Where height and width are free, what they are multiples of; 0 where they are not.
        sizes: Heights and widths to compare at, where they are free.
        steps: Whether outputs are chosen from a finite set, such as vectors of codes.
    """

    name: str
    says: str
    run: Callable[..., Tensor]
    examples: Callable[[Any, int, Size, Generator], tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    output: str
    multiple: int = 0
    sizes: tuple[Size, ...] = NO_SIZES
    steps: bool = False

    def __call__(self, system: System, own: tuple[Tensor, ...], n: int) -> Tensor:
        """Return what the system makes of the part's own inputs, or of `n` examples where it has none."""
        return self.run(system, *own) if self.inputs else self.run(system, n)


def parts(system: System) -> dict[str, Part]:
    """Return the parts of a system by name; the first is what people mostly want of it."""
    inner = ((name, child) for name, child in system.named_children() if isinstance(child, System))
    return {part.name: part for part in (*_parts(system), *(_inner(n, p) for n, c in inner for p in _parts(c)))}


def part_of(system: System, wanted: str | None) -> Part:
    """Return the part that is meant; the first where none is named. Of translations a direction is enough.

    Raises:
        UserError: The system has none, or not this one; the message lists those that it has.
    """
    found = parts(system)
    if not found:
        raise UserError(
            f"export: {name_of(system)} has no part that is a network by itself; to=FOLDER writes its weights and settings"
        )
    if not wanted:
        return next(iter(found.values()))
    name = wanted if wanted in found else f"translate-{wanted}"
    if name not in found and (reason := lost_directions(system).get(wanted.removeprefix("translate-"))):
        raise UserError(f"export: {reason}")
    if name not in found:
        raise UserError(
            f"export: {name_of(system)} has no part '{wanted}'{nearest(wanted, found) or '.'} It has {', '.join(found)}"
        )
    return found[name]


def _inner(name: str, part: Part) -> Part:
    """Return a part of a system inside a system, such as a prior's tokenizer."""
    return replace(
        part,
        name=f"{name}-{part.name}",
        says=f"{part.says}, by the {name}",
        run=lambda s, *own: part.run(getattr(s, name), *own),
        examples=lambda s, *how: part.examples(getattr(s, name), *how),
    )


def _parts(system: System) -> Iterator[Part]:
    able = set(capabilities(system))
    has = {
        p
        for p in (Animates, Completes, Decodes, Density, Encodes, Joint, Predicts, Samples, Tokenizes, Translates)
        if p.__name__.lower() in able
    }
    kind = kinds.of(system)
    field, thing = kind.name, ("an " if kind.thing[0] in "aeiou" else "a ") + kind.thing
    if Translates in has:
        yield from _translations(system)
    if Completes in has and Samples not in has:  # one answer, in one pass; what draws pixel after pixel is no graph
        yield Part(
            "complete", "fills in the pixels where `known` is False; the others stay",
            lambda s, x, known: s.complete(x, known, generator=Generator()), _holes, (field, "known"), "completed",
        )  # fmt: skip
    if Tokenizes in has:
        yield Part("detokenize", f"turns codes into {thing}", lambda s, c: s.detokenize(c), _codes, ("codes",), field)
    drawn_by_all = Decodes in has and known(columns_of(system))
    if Samples in has and not has & {Density, Completes} and not drawn_by_all:
        yield Part("sample", f"turns what is drawn into {thing}", _sample, _nothing, (), field)
    if Decodes in has:
        yield Part("decode", f"turns a latent z into {thing}", lambda s, z: s.decode(z), _latents, ("z",), field)
    if Animates in has:
        yield Part(
            "animate", "makes the clip that begins with an image", lambda s, x: s.animate(x), _firsts, ("image",), field
        )
    if Predicts in has:
        says = f"gives, of every place given those before it, {system.prediction}"
        yield Part("predict", says, _predict, _predicted, _asked(system, field), "prediction")
    if Density in has and Joint not in has and _scores(system):  # of a latent variable it is an average over many draws
        says = f"gives log p of {thing} in nats ({system.likelihood})"
        yield Part("log_prob", says, lambda s, x: s.log_prob(x, generator=Generator()), _data, (field,), "log_prob")
    if Encodes in has:
        says = f"turns {thing} into a latent z"
        yield Part("encode", says, lambda s, x: s.encode(x), _data, (field,), "z", steps=Tokenizes in has)
    if Tokenizes in has:
        yield Part("tokenize", f"turns {thing} into codes", lambda s, x: s.tokenize(x), _data, (field,), "codes")


def _translations(system: Any) -> Iterator[Part]:
    free = not isinstance(system, Restores) or system.local
    for direction in system.directions:
        inputs = functools.partial(_untranslated, direction=direction)
        multiple, sizes = 0, NO_SIZES
        if free:
            channels = inputs(system, 1, (), Generator())[0].shape[1]
            least, multiple = fitting_size(system, channels, direction)
            h, w = (max(least, n - n % multiple) for n in system.hparams["shape"][1:])
            sizes = ((h, w), (h + multiple, w + 2 * multiple))
        yield Part(
            "translate" if len(system.directions) == 1 else f"translate-{direction}",
            f"translates images ({direction})",
            functools.partial(_translate, direction=direction),
            inputs, ("image",), "translated", multiple, sizes,
        )  # fmt: skip


def _translate(system: Any, x: Tensor, direction: str) -> Tensor:
    found: Tensor = system.translate(x, direction=direction)
    return found


def _sample(system: Any, n: int) -> Tensor:
    found: Tensor = system.sample(n, generator=Generator())
    return found


def _predict(system: Any, x: Tensor, label: Tensor | None = None) -> Tensor:
    found: Tensor = system.predict(x) if label is None else system.predict(x, label=label)
    return found


def _scores(system: Any) -> bool:
    """Tell whether a system scores the data that it is given (a classic objective may not be a likelihood, and says so)."""
    try:
        system.log_prob(*_data(system, 1, (), Generator().manual_seed(0)), generator=Generator())
    except UserError:
        return False
    return True


def range_of(system: System, name: str) -> tuple[float, float] | None:
    """Return the least and the largest value that an input or output of this name may have; None where any may."""
    kind = kinds.of(system)
    if name in (kind.name, "image", "translated", "completed"):
        return kind.bounds
    if name == "codes":
        coder: Any = system if isinstance(system, Tokenizes) else _coder(system)
        return 0, coder.codebook_size - 1
    return (0, getattr(system, "labels", 0) - 1) if name == "label" else None


# ---- examples ----------------------------------------------------------------------------------------------------------------------


def _images(n: int, shape: tuple[int, ...], generator: Generator, levels: int = 256) -> Tensor:
    """Return images on grey levels, [n, *shape]: of every pair one is smooth and one is noise."""
    size = shape[1:]
    noise = torch.rand(n, *shape, generator=generator)
    if len(size) == 2:
        coarse = torch.rand(n, shape[0], 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
        noise = torch.where((torch.arange(n) % 2 == 0).view(-1, 1, 1, 1), smooth, noise)
    return (noise * levels).floor().clamp(max=levels - 1) / (levels - 1) * 2 - 1


def _data(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    shape, kind = tuple(system.hparams["shape"]), kinds.of(system)
    if kind.dims == 3:
        return (_images(n, (shape[0], *(size or shape[1:])), generator, system.hparams.get("levels", 256)),)
    return (kind.noise(n, system.hparams, generator)[kind.name],)


def _untranslated(system: Any, n: int, size: Size, generator: Generator, direction: str) -> tuple[Tensor, ...]:
    shape = tuple(system.hparams["shape"])
    size = size or shape[1:]
    if isinstance(system, Restores):
        whole = _images(n, (shape[0], *(side * system.scale for side in size)), generator)
        return (system.degrade(whole),)
    _, arrangement = kinds.declared(system.data)
    channels = (system.hparams.get("inputs") or shape[0]) if arrangement.name == "paired" else shape[0]
    numbers = getattr(system, "labels", 0)  # of label maps every value is the number of a class
    if numbers:
        return (torch.randint(numbers, (n, channels, *size), generator=generator) / 127.5 - 1,)
    return (_images(n, (channels, *size), generator),)


def _holes(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    (x,) = _data(system, n, size, generator)
    known = torch.ones_like(x[:, :1], dtype=torch.bool)
    h, w = x.shape[2:]
    known[:, :, h // 4 : h // 2, w // 4 : 3 * w // 4] = False
    return x, known


def _latents(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    return (system.sample_prior(n, generator=generator),)


def _codes(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    places = sum(torch.Size(grid).numel() for grid in system.code_grids)
    return (torch.randint(system.codebook_size, (n, places), generator=generator),)


def _firsts(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    channels, _, *sides = system.hparams["shape"]
    return (_images(n, (channels, *sides), generator),)


def _nothing(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    return ()


def _asked(system: Any, field: str) -> tuple[str, ...]:
    read = "codes" if _coder(system) else field
    return (read, "label") if getattr(system, "labels", 0) else (read,)


def _coder(system: System) -> Any:
    """Return the system inside a system whose codes it learns; None where it learns data."""
    return next((c for c in system.children() if isinstance(c, Tokenizes)), None)


def _predicted(system: Any, n: int, size: Size, generator: Generator) -> tuple[Tensor, ...]:
    coder = _coder(system)
    x = _codes(coder, n, size, generator) if coder else _data(system, n, size, generator)
    labels = getattr(system, "labels", 0)
    return (*x, torch.randint(labels, (n,), generator=generator)) if labels else x
