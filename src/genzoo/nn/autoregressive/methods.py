"""What follows from a probability of every pixel given those before it: methods of raster models, borrowed by name in class bodies.

A raster model has `shape`, `_log_mass(x)`, nats of each image [B], and `_draw(x, known, generator, temperature, cached, chunk)`, which
fills in what is not known; with `grid`, a `Levels`, where it predicts grey levels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.nn.checks import check_images, check_known, check_temperature


def check_features(colours: int, **features: int) -> None:
    """Refuse layers with fewer features than colours: every colour needs a feature of its own.

    Raises:
        UserError: Names the arguments, as they were given.
    """
    if min(features.values()) < colours:
        given = " and ".join(f"{name}={value}" for name, value in features.items())
        raise UserError(
            f"{given} must each be at least {colours}, the channels of the images: every colour needs a feature of its own"
        )


def check_divided(shape: tuple[int, ...], step: int, setting: str) -> None:
    """Refuse images (C, H, W) that cannot be taken apart as often as `setting`, in the person's words, says.

    Raises:
        UserError: `step` does not divide the height and the width.
    """
    if shape[1] % step or shape[2] % step:
        raise UserError(
            f"{setting} needs a height and width that {step} divides, such as {4 * step}x{4 * step}; the images are {shape[2]}x{shape[1]}"
        )


def values(self: Any, tokens: Tensor) -> Tensor:
    """Return the value in [-1, 1] of each level, in the parameters' precision: what the network reads."""
    read: Tensor = self.grid.values(tokens, next(self.parameters()).dtype)
    return read


def loss(self: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return nats per image and, as a log, bits per dimension."""
    nats = -self._log_mass(batch["image"]).mean()
    return {"loss": nats, "bits_per_dim": nats.detach() / (math.prod(self.shape) * math.log(2))}


@torch.no_grad()
def log_prob(self: Any, x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return log p(x) in nats, exact, [B], of images [B, C, H, W] in [-1, 1]; `generator` is not used."""
    nats: Tensor = self._log_mass(x)
    return nats


LEVELS = "log-probabilities of every grey level, [B, C, H, W, levels], in raster order, colour within pixel"
"""What `predict` gives."""


@torch.no_grad()
def predict(self: Any, x: Tensor) -> Tensor:
    """Return log p of every grey level of every pixel and colour given those before it, float32 [B, C, H, W, levels], in one pass.

    The numbers of a place depend on the places before it alone: fill an image [B, C, H, W] in [-1, 1] in that order to draw one.
    """
    check_images(x, self.shape)
    found: Tensor = self.grid.log_probs(self.net(self._values(self.grid.tokens(x))))
    return found.movedim(3, 1)


@torch.no_grad()
def sample(
    self: Any,
    n: int,
    *,
    generator: Generator,
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
    cached: bool = True,
    chunk: Annotated[int, Field(ge=1, le=4096)] = 64,
) -> Tensor:
    """Draw `n` images, one decision after the other, float32 [n, C, H, W] in [-1, 1].

    Args:
        self: The system.
        n: Number of images.
        generator: All the randomness: uniform numbers by their place, whatever `cached` and `chunk` are.
        temperature: Divides the logits, and multiplies the scales of a mixture; below 1 likelier pixels, above 1 more varied ones.
        cached: Compute only what each decision adds; false: a whole pass for every decision (equal, and slow).
        chunk: Images drawn together; fewer need less memory.
    """
    check_temperature(temperature)
    drawn: Tensor = self._draw(*nothing_known(self, n), generator, temperature, cached, chunk)
    return drawn


@torch.no_grad()
def complete(
    self: Any,
    x: Tensor,
    known: Tensor,
    *,
    generator: Generator,
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
    cached: bool = True,
    chunk: Annotated[int, Field(ge=1, le=4096)] = 64,
) -> Tensor:
    """Draw the pixels where `known` is False in the model's order, each given all before it in that order; known ones stay.

    A drawn pixel does not look ahead to known pixels after it. In raster order, what is drawn below the known part follows the model's
    conditional distribution exactly; what is drawn above or amid it, or coarse to fine, does not.

    Args:
        self: The system.
        x: Images [B, C, H, W] in [-1, 1]; what stands at unknown pixels is not read.
        known: Which pixels to keep, bool [B, 1, H, W].
        generator: All the randomness.
        temperature: As in `sample`.
        cached: As in `sample`.
        chunk: As in `sample`.
    """
    check_temperature(temperature)
    x, known = some_known(self, x, known)
    return torch.where(known, x.float(), self._draw(x, known, generator, temperature, cached, chunk))


def nothing_known(self: Any, n: int) -> tuple[Tensor, Tensor]:
    """Return `n` images and a mask of their known pixels, none of which is known."""
    x = torch.zeros(n, *self.shape, device=self.device)
    return x, torch.zeros(n, 1, *self.shape[1:], dtype=torch.bool, device=self.device)


def some_known(self: Any, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and a mask of their known pixels on the system's device, refusing what it does not take."""
    check_images(x, self.shape)
    check_known(known, x)
    return x.to(self.device), known.to(self.device)
