"""Refuse shapes, classes, masks and options that a system does not take, in words."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.inputs import check_range

GreyLevels = Literal[2, 4, 8, 16, 32, 64, 128, 256]
"""Numbers of grey levels that divide 256."""


def check_images(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse images that are not [B, C, H, W] of a model's own `shape` (C, H, W)."""
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"images of shape {tuple(x.shape)} were given; this model takes [B, {wanted}]")


def check_known(known: Tensor, x: Tensor) -> None:
    """Refuse a mask of known values that is not bool [B, 1, H, W] for images `x` [B, C, H, W], or [B, 1, T], and known values out of range."""
    wanted = (x.shape[0], 1, *x.shape[2:])
    if known.dtype != torch.bool or known.shape != wanted:
        raise UserError(f"known is {known.dtype} {tuple(known.shape)}; give bool {wanted}: True keeps a pixel")
    if not torch.compiler.is_exporting():  # an export looks at no values
        check_range(torch.where(known, x.detach(), 0))


def check_sides(shape: tuple[int, ...], name: str) -> None:
    """Refuse images (C, H, W) with a side that a system of convolutions, `name`, does not make: below 8 or above 1024 pixels."""
    if min(shape[1:]) < 8 or max(shape[1:]) > 1024:
        size = "x".join(map(str, shape))
        raise UserError(f"shape {size} is not possible; {name} makes images with sides from 8 to 1024")


def check_multiples(shape: tuple[int, ...], multiple: int, least: int, system: str, otherwise: str = "") -> None:
    """Refuse images (C, H, W) for `system` with a side that is no multiple of `multiple` or below `least`; `otherwise` says what else helps."""
    if shape[1] % multiple or shape[2] % multiple or min(shape[1:]) < least:
        raise UserError(
            f"shape {'x'.join(map(str, shape))} is not possible; {system} takes sides that are multiples of {multiple}, from {least} on. "
            f"Give size= to resize the data{otherwise}"
        )


def check_divisible(x: Tensor, multiple: int) -> None:
    """Refuse images [B, C, H, W] to translate whose sides are no multiples of `multiple`."""
    h, w = x.shape[2:]
    if h % multiple or w % multiple:
        raise UserError(f"height and width must be multiples of {multiple}, not {h} x {w}; resize or crop the images")


def check_apart(penalty: str, d_norm: str, otherwise: str) -> None:
    """Refuse batch norm in a discriminator whose gradient is penalized example by example; `penalty` is empty where it is not."""
    if penalty and d_norm == "batch":
        raise UserError(
            f"{penalty} is of the gradient of one example's score, which d_norm=batch mixes with others': give {otherwise}"
        )


def check_data(shape: tuple[int, ...], system: str) -> None:
    """Refuse data that are neither images (C, H, W) nor points (D,)."""
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise UserError(f"{system} takes images (C, H, W) or points (D,), not shape {tuple(shape)}")


def check_conditional(conditional: bool, classes: int) -> None:
    """Refuse to tell a system the classes of data that have none."""
    if conditional and classes < 1:
        raise UserError("conditional=true needs labels: give data with classes, such as a folder with subfolders")


def check_classes(classes: int, system: str) -> None:
    """Refuse data without classes for a system that learns from nothing else."""
    if classes < 1:
        raise UserError(f"{system} needs labels: give data with classes, such as a folder with a subfolder for each")


def check_halvings(shape: tuple[int, ...], halvings: int) -> int:
    """Refuse images (C, H, W) whose sides cannot be halved so often; return 2^halvings."""
    factor: int = 2**halvings
    if shape[1] % factor or shape[2] % factor:
        raise UserError(
            f"shape {shape[1]}x{shape[2]} cannot be halved {halvings} times; give size= a multiple of {factor}, "
            "or fewer halvings"
        )
    return factor


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that logits cannot be divided by."""
    if temperature <= 0:
        raise UserError(f"temperature={temperature} is not allowed; give a number more than 0")


def check_label(label: int | None, classes: int) -> None:
    """Refuse a class that a model with `classes` classes (0: it was trained without labels) does not know."""
    if label is None:
        return
    if not classes:
        raise UserError(
            f"label={label}: this model was trained without labels; leave label out, or train one with them (conditional=true, where the system "
            "has that setting)"
        )
    if not 0 <= label < classes:
        raise UserError(f"label={label} is not allowed; this model knows the classes 0 to {classes - 1}")


def check_direction(direction: str, directions: tuple[str, ...]) -> None:
    """Refuse a direction that a system does not translate in."""
    if direction not in directions:
        there = f"give {' or '.join(directions)}" if directions else "this model was trained on gray images"
        raise UserError(f"direction={direction} is not possible; {there}")


def check_holes(x: Tensor, known: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse images and masks that a system which fills holes does not take, and a mask that leaves nothing of an image to go by."""
    check_images(x, shape)
    check_known(known, x)
    if not torch.compiler.is_exporting() and not bool(known.flatten(1).any(1).all()):
        raise UserError("the mask covers the whole image; leave some of it, or take a system that draws samples")
