"""What systems refuse of what they are given, in words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.text.vocabulary import split, unknown, with_hints


def check_images(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse images that are not [B, C, H, W] of a model's own `shape` (C, H, W)."""
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(shape):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"images of shape {tuple(x.shape)} were given; this model takes [B, {wanted}]")


def check_known(known: Tensor, x: Tensor) -> None:
    """Refuse a mask of known values that is not bool [B, 1, H, W] for images `x` [B, C, H, W], or [B, 1, T], and known values out of range."""
    wanted = (len(x), 1, *x.shape[2:])
    if known.dtype != torch.bool or known.shape != wanted:
        raise UserError(f"known is {known.dtype} {tuple(known.shape)}; give bool {wanted}: True keeps a pixel")
    check_range(torch.where(known, x.detach(), 0))


def check_range(x: Tensor) -> None:
    """Refuse images, sounds, clips or voxels with values outside [-1, 1]; what is scored or kept would not be what was given."""
    if x.ndim < 3 or not x.numel() or torch.compiler.is_compiling():  # points have any values; an export looks at none
        return
    low, high = (float(v) for v in x.detach().aminmax())
    if low < -1.001 or high > 1.001:
        raise UserError(
            f"values from {low:.4g} to {high:.4g} were given; they lie in [-1, 1]: give x / 127.5 - 1 for 0 to 255"
        )


def check_sides(shape: tuple[int, ...], name: str) -> None:
    """Refuse images (C, H, W) with a side that a system of convolutions, `name`, does not make: below 8 or above 1024 pixels."""
    if min(shape[1:]) < 8 or max(shape[1:]) > 1024:
        size = "x".join(map(str, shape))
        raise UserError(f"shape {size} is not possible; {name} makes images with sides from 8 to 1024")


def check_halvings(shape: tuple[int, ...], halvings: int) -> int:
    """Refuse images (C, H, W) whose sides cannot be halved so often; return 2^halvings."""
    factor: int = 2**halvings
    if shape[1] % factor or shape[2] % factor:
        raise UserError(
            f"shape {shape[1]}x{shape[2]} cannot be halved {halvings} times; give size= a multiple of {factor}, "
            "or fewer halvings"
        )
    return factor


def check_levels(levels: int) -> None:
    """Refuse a number of grey levels that does not divide 256."""
    if levels & (levels - 1):
        raise UserError(f"levels={levels} is not allowed; give a power of two: 2, 4, 8, 16, 32, 64, 128 or 256")


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


def read_prompt(prompt: str, words: Sequence[str], *, any_word: bool = False) -> list[str]:
    """The words of a prompt for a model with a vocabulary; `any_word` where its encoder can read others as well.

    Raises:
        UserError: The model knows no captions, the prompt is empty, or it has no word that the model can read.
    """
    if not words:
        raise UserError("this model was trained without captions and takes no prompt")
    found = split(prompt)
    if not found:
        raise UserError('the prompt is empty; describe an image in words: prompt="a red heart"')
    strangers = unknown(prompt, words)
    if not any_word and len(strangers) == len(set(found)):
        raise UserError(f"prompt={prompt}: no word of it was in a training caption: {with_hints(strangers, words)}")
    return found


def check_words(words: Sequence[str], name: str) -> None:
    """Refuse data without captions for a system that learns from nothing else."""
    if not words:
        raise UserError(
            f"{name} needs captions: give images with captions.csv (columns file,caption) beside them, captions=FILE, or data=shapes"
        )


def check_direction(direction: str, directions: tuple[str, ...]) -> None:
    """Refuse a direction that a system does not translate in."""
    if direction not in directions:
        there = f"give {' or '.join(directions)}" if directions else "this model was trained on gray images"
        raise UserError(f"direction={direction} is not possible; {there}")


def check_something_known(known: Tensor) -> None:
    """Refuse a mask that leaves nothing of an image to go by."""
    if not bool(known.flatten(1).any(1).all()):
        raise UserError("the mask covers the whole image; leave some of it, or take a system that draws samples")
