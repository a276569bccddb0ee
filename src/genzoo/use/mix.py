"""Mix styles: images with the styles of some layers from one image and the others from another (Karras et al., arXiv:1812.04948, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.capabilities import Decodes, Mixes
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.arrays import layered, read_latents
from genzoo.use.common.source import CHUNK, Source, generators_for, name_of, open_system, options, require
from genzoo.use.sample import class_of, numbers_of

Given = str | Sequence[int] | Tensor
"""Seeds ("0,4-6" or a list), a file of latents that `genzoo project` wrote (.npz), or latents [n, ...]."""
MOST = 64
"""Rows, and columns, of a table."""


@dataclass(frozen=True)
class Mixed:
    """A table of mixed styles, of R rows and C columns."""

    images: Tensor
    """The mixed ones [R, C, ...]: at `[r, c]` the styles of `layers` are those of row r, the others those of column c."""
    rows: Tensor
    """The images at the left, [R, ...], whose styles are given."""
    columns: Tensor
    """The images at the top, [C, ...], which take them."""
    layers: tuple[int, ...]
    """Layers whose styles are the row's, counted from 0."""
    of: int
    """Layers that there are."""
    names: tuple[tuple[str, ...], tuple[str, ...]]
    """What rows and columns are called: seed0004, or the place in a file of latents, latent0."""

    @property
    def table(self) -> Tensor:
        """All of them as a figure, [(R + 1) · (C + 1), ...] row by row; the corner is white."""
        below = torch.cat([self.rows[:, None], self.images], 1).flatten(0, 1)
        return torch.cat([torch.ones_like(self.columns[:1]), self.columns, below])

    @property
    def caption(self) -> str:
        """What is seen, in a sentence."""
        return (
            f"styles of layers {_said(self.layers)} (of {self.of}, counted from 0) from the image at the left, "
            "the others from the image at the top"
        )


@torch.no_grad()
def mix(
    source: Source,
    rows: Given = "0-2",
    columns: Given = "3-6",
    layers: str | Sequence[int] | None = None,
    **own: Any,
) -> Mixed:
    """Mix the styles of images: those of some layers from each row's image, the others from each column's.

    Args:
        source: A run, its path, or a system.
        rows: Images that give styles: seeds ("0,4-6" or numbers), as `sample` counts them (with the noise that the system holds); a file of
            latents from `project` (.npz), so that images of your own are mixed; or latents.
        columns: Images that take them, in the same way.
        layers: Layers whose styles are the row's, counted from 0, coarse to fine: "0-3,6" or numbers; the first half when not given.
        own: Options of the system's own prior for what is drawn: truncation, label ...

    Raises:
        UserError: The system has no style for each layer (the message names those that have), there are no such layers or seeds, or latents
            are of another form.
    """
    system = open_system(source)
    mixer, decoder = require(system, Mixes, Decodes, verb="mix")
    if "label" in own:
        own["label"] = class_of(system, own["label"])
    given = options(system, "sample_prior", own, verb="mix")
    count = mixer.layers
    chosen = (
        tuple(range(max(1, count // 2))) if layers in (None, "") else tuple(dict.fromkeys(numbers_of(layers, "layers")))
    )
    if strange := [k for k in chosen if k >= count]:
        raise UserError(
            f"layers={_said(chosen)}: there is no layer {strange[0]}; {name_of(system)} has {count}, 0 to {count - 1}"
        )
    (left, left_names), (top, top_names) = (
        _latents(system, decoder, what, key, given) for what, key in ((rows, "rows"), (columns, "columns"))
    )
    if left.ndim != top.ndim:  # one is truncated at some layers only
        left, top = layered(left, count), layered(top, count)

    def shown(make: Any, *of: Tensor) -> Tensor:
        parts = zip(*(z.split(CHUNK) for z in of), strict=True)
        return torch.cat([make(*part).float().cpu() for part in parts])

    pairs = top.repeat(len(left), *(1,) * (top.ndim - 1)), left.repeat_interleave(len(top), 0)
    images = shown(lambda taking, giving: mixer.mix(taking, giving, chosen), *pairs)
    return Mixed(
        images.unflatten(0, (len(left), len(top))), shown(decoder.decode, left), shown(decoder.decode, top), tuple(sorted(chosen)), count,
        (left_names, top_names),
    )  # fmt: skip


def _latents(
    system: System, decoder: Decodes, what: Given, key: str, given: dict[str, Any]
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the latents that are meant, and what each is called."""
    if isinstance(what, str) and what.strip().lower().endswith(".npz"):
        what = read_latents(what, key)
    if isinstance(what, Tensor):
        z, names = what.to(system.device), tuple(f"latent{i}" for i in range(len(what)))
        form = decoder.sample_prior(1, generator=generators_for(system, 0, 1))
        if z.ndim not in (2, 3) or z.shape[-1] != form.shape[-1] or not len(z):
            shape = "x".join(map(str, z.shape))
            raise UserError(f"{key}: latents {shape} are not of this system, which takes [N, {form.shape[-1]}]")
    else:
        seeds = numbers_of(what, key)
        names = tuple(f"seed{s:04d}" for s in seeds)
        z = torch.cat([decoder.sample_prior(1, generator=generators_for(system, s, 1), **given) for s in seeds[:MOST]])
    if len(names) > MOST:
        raise UserError(f"{key}: {len(names):,} are too many for a table; give at most {MOST}")
    return z, names


def _said(layers: Sequence[int]) -> str:
    """Write layers shortly.

    >>> _said((0, 1, 2, 5))
    '0-2,5'
    """
    ranges: list[list[int]] = []
    for k in sorted(layers):
        if ranges and k == ranges[-1][1] + 1:
            ranges[-1][1] = k
        else:
            ranges.append([k, k])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
