"""Arithmetic with codes: what one class of images has and another has not, added to images."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Decodes, Encodes
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.data import Dataset, open_data
from genzoo.use.common.arrays import as_tensor, shape_is_said
from genzoo.use.common.images import data_settings
from genzoo.use.common.source import CHUNK, Source, name_of, open_system, require

Amount = Annotated[float, Field(ge=-10, le=10)]
MOST = 2000
"""Images of a class that its mean code is taken over, at most."""


def labelled(source: Source, data: str | None = None, *, split: str = "train") -> Dataset:
    """Open a split of labelled data in the form that a system takes: its own, or other data.

    Raises:
        UserError: The data has no labels.
    """
    system = open_system(source)
    seed = int(getattr(system, "trained", {}).get("training", {}).get("seed", 0))
    return open_data(data_settings(system, data), kind="labelled", split=split, seed=seed, quiet=True)


def images_of(dataset: Dataset, *classes: str, n: int) -> Tensor:
    """Return the first `n` images of some classes, in the stored order, [n, C, H, W] in [-1, 1].

    Raises:
        UserError: There is no such class, or it has no image.
    """
    wanted = [_class(dataset, name) for name in classes]
    rows = np.flatnonzero(np.isin(dataset.fields["label"][:], wanted))[:n]
    if not len(rows):
        raise UserError(f"{dataset.name} {dataset.split} has no image of {' or '.join(classes)}")
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.fields["image"][rows]))
    return pixels.float() / 127.5 - 1


@torch.no_grad()
def direction(source: Source, dataset: Dataset, plus: str, minus: str | None = None) -> Tensor:
    """Compute the mean code of class `plus` minus the mean code of class `minus`, or of all other classes without it: [1, ...].

    Args:
        source: A run, its path, or a system.
        dataset: Labelled images; of each class the first 2,000 count.
        plus: Class whose mean is added.
        minus: Class whose mean is taken away.

    Raises:
        UserError: The system has no encoder, or there is no such class, or both are one.
    """
    system = open_system(source)
    require(system, Encodes, Decodes, verb="arithmetic")
    name = dataset.class_names[_class(dataset, plus)]
    others = [dataset.class_names[_class(dataset, minus)]] if minus is not None else dataset.class_names
    others = [c for c in others if c != name]
    if not others:
        raise UserError(f"arithmetic: plus={plus} and minus={minus} are one class; their difference is nothing")
    apart = [_mean_code(system, images_of(dataset, *kind, n=MOST)) for kind in ((name,), others)]
    return apart[0] - apart[1]


@torch.no_grad()
def arithmetic(
    source: Source, images: Tensor, plus: str, minus: str | None = None, amount: Amount = 1.0, data: str | None = None
) -> Tensor:
    """Return decode(encode(x) + amount · (mean code of `plus` − mean code of `minus`)), [N, C, H, W] in [-1, 1].

    Larsen et al. (arXiv:1512.09300, section 3.3), with the attribute vector of the training images.

    Args:
        source: A run, its path, or a system.
        images: What to change, [N, C, H, W] in [-1, 1].
        plus: Class whose mean code is added, by name or number.
        minus: Class whose mean code is taken away; the mean of all other classes when not given.
        amount: How far; 0 is the reconstruction, negative goes the other way.
        data: Labelled images; the training part of the run's own data when not given.

    Raises:
        UserError: The system does not encode and decode, the data has no labels, or there is no such class.
    """
    system = open_system(source)
    require(system, Encodes, Decodes, verb="arithmetic")
    return shifted(system, images, direction(system, labelled(system, data), plus, minus), amount)


@torch.no_grad()
def shifted(source: Source, images: Tensor, step: Tensor, amount: float) -> Tensor:
    """Return decode(encode(x) + amount · step), [N, C, H, W] in [-1, 1]."""
    system = open_system(source)
    encoder, decoder = require(system, Encodes, Decodes, verb="arithmetic")
    x = as_tensor(images, "arithmetic")
    with shape_is_said(x, system, "arithmetic"):
        codes = (encoder.encode(part) + amount * step for part in x.to(system.device).split(CHUNK))
        return torch.cat([decoder.decode(z).float().cpu() for z in codes])


def _mean_code(system: System, images: Tensor) -> Tensor:
    assert isinstance(system, Encodes)
    codes = torch.cat([system.encode(x.to(system.device)) for x in images.split(CHUNK)])
    if not codes.is_floating_point():
        raise UserError(f"arithmetic: the codes of {name_of(system)} are numbers of words, which have no mean")
    return codes.mean(0, keepdim=True)


def _class(dataset: Dataset, name: str) -> int:
    """Find the number of a class, by its name in any case, or by its number."""
    names = [c.lower() for c in dataset.class_names]
    if str(name).lower() in names:
        return names.index(str(name).lower())
    if str(name).isdigit() and int(name) < len(names):
        return int(name)
    known = ", ".join(dataset.class_names[:12]) + (" …" if len(names) > 12 else "")
    raise UserError(f"{dataset.name} has no class '{name}'{nearest(str(name), names) or '.'} There are {known}")
