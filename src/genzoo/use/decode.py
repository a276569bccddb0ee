"""Decode places of latent space that a line of text names: seeds, sums of them, moves along principal directions, codes of images.

A place is a sum: `s3 + 2d1 - 0.5d4` is the draw of seed 3, two standard deviations along the first direction and half a one back along the fourth.

| written | what it is |
|---|---|
| `s3` | the latent that the sample of seed 3 is made of |
| `s3[label=2, truncation=0.7]` | the same with options of the system's own `sample_prior`; a prompt may hold commas |
| `d1` | one standard deviation of the prior along the first principal direction (see `genzoo.use.common.directions`) |
| `i1` | the code of the first of the images that are given |
| `z1` | the first of the latents that are given, as `genzoo project` writes them |
| `0.7*s3`, `2d1` | times a number |
| `s3/4/s7` | the layers before the fourth of s3, the others of s7, where a system has a latent for each layer |

What a latent says beside noise (a class, say) is taken from the sum of what the terms say, with the same factors divided by their sum: so
`0.7*s3` has the class of `s3`, and `s1 - s2 + s3` the sum of theirs. Directions move the noise alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Decodes, Encodes, Mixes
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.arrays import as_tensor, layered, shape_is_said
from genzoo.use.common.directions import principal
from genzoo.use.common.source import CHUNK, Source, generators_for, name_of, open_system, options, require
from genzoo.use.sample import class_of

MOST = 1024
"""Places in one text."""
LONGEST = 20_000
"""Characters of a text."""
FORM = "write places such as at='s0; s3 + 2d1; 0.7*s5[label=2]'"
_TERM = re.compile(r"\s*([+-]?)\s*(?:(\d+(?:\.\d*)?|\.\d+)\s*\*?\s*)?([sdiz])(\d{1,19})\s*(?:\[([^\[\]]*)\])?\s*")


@dataclass(frozen=True)
class Term:
    """One part of a sum.

    Args:
        factor: What it is multiplied by.
        letter: s a seed, d a direction, i an image, z a latent.
        number: Which.
        options: Of the draw of a seed.
    """

    factor: float
    letter: str
    number: int
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Place:
    """A sum, or one sum for the first layers and another for the rest.

    Args:
        terms: Its parts.
        layer: The first layer of `rest`; 0 without.
        rest: What the layers from there on have.
    """

    terms: tuple[Term, ...]
    layer: int = 0
    rest: tuple[Term, ...] = ()


def places_of(text: str) -> list[Place]:
    """Read places with semicolons between them.

    >>> places_of('0.7*s3[label=1]')
    [Place(terms=(Term(factor=0.7, letter='s', number=3, options=(('label', '1'),)),), layer=0, rest=())]

    Raises:
        UserError: Something else is written, or nothing, or too much.
    """
    if len(text) > LONGEST:
        raise UserError(f"at= has {len(text):,} characters; at most {LONGEST:,} are read")
    found = [_place(part) for part in _split(text.strip().removesuffix(";"), ";")]
    if len(found) > MOST:
        raise UserError(f"at= names {len(found):,} places; give at most {MOST:,}")
    return found


def _split(text: str, at: str) -> list[str]:
    """Split a text where a character stands outside square brackets."""
    return re.split(rf"{re.escape(at)}(?![^\[]*\])", text)


def _place(text: str) -> Place:
    parts = _split(text, "/")
    if len(parts) == 1:
        return Place(_sum(text))
    if len(parts) != 3 or not parts[1].strip().isdigit() or not int(parts[1]):
        raise UserError(f"at={text.strip()}: styles are mixed as s3/4/s7, a whole number of layers between two places")
    return Place(_sum(parts[0]), int(parts[1]), _sum(parts[2]))


def _sum(text: str) -> tuple[Term, ...]:
    found, at = list[Term](), 0
    while at < len(text) or not found:
        read = _TERM.match(text, at)
        if not read or (found and not read[1]):
            raise UserError(f"at={text.strip()!r}: {text[at:].strip()!r} cannot be read; {FORM}")
        factor = float(read[2] or 1) * (-1 if read[1] == "-" else 1)
        if read[3] != "s" and read[5] is not None:
            raise UserError(f"at={text.strip()}: only a seed has options in brackets; {FORM}")
        found.append(Term(factor, read[3], int(read[4]), _options(read[5] or "")))
        at = read.end()
    if not any(term.letter != "d" for term in found):
        raise UserError(f"at={text.strip()}: a direction goes from somewhere; write s0 + {text.strip()}")
    return tuple(found)


def _options(text: str) -> tuple[tuple[str, str], ...]:
    """Read options: a comma ends one only where another begins, since a prompt may have commas."""
    found = []
    for part in re.split(r",(?=\s*\w+\s*=)", text) if text.strip() else ():
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UserError(f"'[{text}]' cannot be read; options are written [label=2, truncation=0.7]")
        found.append((key.strip(), value.strip()))
    return tuple(found)


@torch.no_grad()
def latents_at(
    source: Source, at: str | Sequence[Place], *, images: Tensor | None = None, latents: Tensor | None = None
) -> Tensor:
    """Return the latents of places, [N, ...], as `decode` takes them; all have one form: a style for each layer where one has that.

    Args:
        source: A run, its path, or a system.
        at: The places; see the head of this file.
        images: What i1, i2 ... are, [N, C, H, W] in [-1, 1].
        latents: What z1, z2 ... are, as `decode` takes them.

    Raises:
        UserError: The system has no decoder, or not what a place asks for; an image, latent, direction or layer is not there.
    """
    system = open_system(source)
    require(system, Decodes, verb="decode")
    places = places_of(at) if isinstance(at, str) else list(at)
    if any(p.layer for p in places):
        require(system, Mixes, verb="decode")
    known = _Known(system, images, latents)
    found = []
    for place in places:
        z = known.sum(place.terms)
        if place.layer:
            assert isinstance(system, Mixes)
            if place.layer >= system.layers:
                raise UserError(f"decode: there are {system.layers} layers; mix at 1 to {system.layers - 1}")
            z, other = layered(z, system.layers), layered(known.sum(place.rest), system.layers)
            z = torch.cat([z[:, : place.layer], other[:, place.layer :]], 1)
        found.append(z)
    most = max(z.ndim for z in found)
    return torch.cat([layered(z, system.layers) if z.ndim < most else z for z in found])  # type: ignore[arg-type]


@torch.no_grad()
def decode(
    source: Source, at: str | Sequence[Place], *, images: Tensor | None = None, latents: Tensor | None = None
) -> Tensor:
    """Return what places of latent space decode to, [N, C, H, W] in [-1, 1]; of one place the same picture as when it is decoded alone.

    Args:
        source: A run, its path, or a system.
        at: The places, such as "s0; s3 + 2d1"; see the head of this file.
        images: What i1, i2 ... are, [N, C, H, W] in [-1, 1].
        latents: What z1, z2 ... are, as `decode` takes them.

    Raises:
        UserError: The system has no decoder, or not what a place asks for.
    """
    system = open_system(source)
    z = latents_at(system, at, images=images, latents=latents)
    decoder = require(system, Decodes, verb="decode")
    # One by one: networks round their last bits in other ways for another number of examples.
    return torch.cat([decoder.decode(one).float().cpu() for one in z.split(1 if len(z) <= CHUNK else CHUNK)])


class _Known:
    """What the letters of places stand for, each computed once."""

    def __init__(self, system: System, images: Tensor | None, latents: Tensor | None) -> None:
        self.system = system
        self.images = images
        self.latents = latents
        self.found: dict[Term, Tensor] = {}

    def sum(self, terms: tuple[Term, ...]) -> Tensor:
        """Return the latent of a sum, [1, ...]."""
        spots = [(t.factor, self.spot(t)) for t in terms if t.letter != "d"]
        alone = len(terms) == 1 and terms[0].factor == 1
        if alone:
            return spots[0][1]
        if not spots[0][1].is_floating_point():
            raise UserError(
                f"decode: the latents of {name_of(self.system)} are codes of a finite set, which can be neither added nor moved; "
                "give seeds alone: at='s0; s1'"
            )
        if len({z.ndim for _, z in spots}) > 1:
            layers = self.system.layers
            spots = [(f, layered(z, layers)) for f, z in spots]  # type: ignore[arg-type]
        total = torch.stack([f * z for f, z in spots]).sum(0)
        if count := self.system.conditions:
            weight = sum(f for f, _ in spots)
            said = [z[:, -count:] for _, z in spots]
            total[:, -count:] = total[:, -count:] / weight if abs(weight) > 1e-6 else said[0]
        moves = [(t.factor, t.number) for t in terms if t.letter == "d"]
        return total + principal(self.system).move(moves, total) if moves else total

    def spot(self, term: Term) -> Tensor:
        """Return the latent that a letter with a number stands for, [1, ...]."""
        key = Term(1.0, term.letter, term.number, term.options)
        if key not in self.found:
            self.found[key] = self._spot(key)
        return self.found[key]

    def _spot(self, term: Term) -> Tensor:
        if term.letter == "s":
            given: dict[str, Any] = dict(term.options)
            if "label" in given:
                given["label"] = class_of(self.system, given["label"])
            given = options(self.system, "sample_prior", given, verb="decode")
            assert isinstance(self.system, Decodes)
            generator = generators_for(self.system, term.number, 1)
            return self.system.sample_prior(1, generator=generator, **given)
        rows, word = (self.images, "image") if term.letter == "i" else (self.latents, "latent")
        if rows is None or not 0 < term.number <= len(rows):
            there = f"{len(rows)} {'is' if len(rows) == 1 else 'are'} given" if rows is not None else "none is given"
            raise UserError(f"decode: {term.letter}{term.number} is {word} {term.number}, and {there}")
        one = rows[term.number - 1 : term.number]
        if term.letter == "z":
            return one.to(self.system.device)
        encoder = require(self.system, Encodes, verb="decode")
        x = as_tensor(one, "decode")
        with shape_is_said(x, self.system, "decode"):
            return encoder.encode(x.to(self.system.device))
