"""Latents of GANs, variational autoencoders and flows: priors, and what follows from a prior and a decoder; borrowed by name in class bodies.

`_draw(n, generator)` is a system's prior, in training and in use. `sample_prior`, `decode` and `sample` follow from it and from the
generator `self.G`; the latent has `self.latent_size` dimensions, and of class-conditional systems a one-hot class behind them.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from genzoo.nn import draws
from genzoo.nn.checks import check_label

# ---- priors: _draw ---------------------------------------------------------------------------------------------------------------


class HasLatent(Protocol):
    """Says what a prior asks of a system."""

    latent_size: int

    @property
    def device(self) -> torch.device:
        """Return where latents are drawn."""


class HasLabels(Protocol):
    """Says what a class asks of a system."""

    labels: int


def normal(self: HasLatent, n: int, generator: Generator | None = None) -> Tensor:
    """Draw z from N(0, I), [n, latent]; without a generator from torch's global state, as training does."""
    return draws.randn(n, self.latent_size, device=self.device, generator=generator)


def uniform(self: HasLatent, n: int, generator: Generator | None = None) -> Tensor:
    """Draw z uniformly from [-1, 1], [n, latent]; without a generator from torch's global state, as training does."""
    return draws.rand(n, self.latent_size, device=self.device, generator=generator) * 2 - 1


def normal_or_uniform(self: Any, n: int, generator: Generator | None = None) -> Tensor:
    """Draw z from the prior that `self.prior` names, [n, latent]."""
    return (normal if self.prior == "normal" else uniform)(self, n, generator)


# ---- what follows: sample_prior, decode, sample --------------------------------------------------------------------------------------


@torch.no_grad()
def sample_prior(self: Any, n: int, *, generator: Generator) -> Tensor:
    """Draw z [n, latent] from the prior."""
    drawn: Tensor = self._draw(n, generator)
    return drawn


@torch.no_grad()
def decode(self: Any, z: Tensor) -> Tensor:
    """Return the images [n, C, H, W] in [-1, 1] of latents [n, latent]."""
    images: Tensor = self.G(z)
    return images.contiguous()


@torch.no_grad()
def sample(self: Any, n: int, *, generator: Generator) -> Tensor:
    """Return `n` examples, float32 [n, ...]; images and clips in [-1, 1]."""
    drawn: Tensor = self.decode(self.sample_prior(n, generator=generator))
    return drawn


@torch.no_grad()
def sample_at_temperature(
    self: Any, n: int, *, generator: Generator, temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
) -> Tensor:
    """Return `n` examples, float32 [n, ...]; images in [-1, 1].

    Args:
        self: The system.
        n: How many.
        generator: Source of all randomness.
        temperature: Factor on the standard deviation of z: below 1 likelier, less varied.
    """
    drawn: Tensor = self.decode(temperature * self.sample_prior(n, generator=generator))
    return drawn


# ---- of a class: a one-hot class stands behind the noise ----------------------------------------------------------------------------


def one_hot(self: HasLabels, label: Tensor) -> Tensor:
    """Return classes [B] as rows of zeros and a one, float32 [B, labels]."""
    return F.one_hot(label, self.labels).float()


def draw_labels(self: HasLabels, n: int, label: int | None, generator: Generator) -> Tensor:
    """Return the classes of `n` samples, int64 [n]: all `label`, or drawn from `generator`, every class equally likely.

    Raises:
        UserError: There is no such class.
    """
    device = generator.device
    if label is None:
        return draws.randint(self.labels, n, generator=generator, device=device)
    check_label(label, self.labels)
    return torch.full((n,), label, device=device)


@torch.no_grad()
def sample_prior_of_class(
    self: Any, n: int, *, generator: Generator, label: Annotated[int, Field(ge=0)] | None = None
) -> Tensor:
    """Draw noise with a one-hot class behind it, [n, latent + labels].

    A system that was built without classes has the noise alone, and refuses a `label`.

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        label: Class of all of them, where the system has classes; none draws a class for each, all equally likely.
    """
    z: Tensor = self._draw(n, generator)
    if not self.labels and label is None:
        return z
    return torch.cat([z, one_hot(self, draw_labels(self, n, label, generator))], 1)


@torch.no_grad()
def sample_of_class(
    self: Any, n: int, *, generator: Generator, label: Annotated[int, Field(ge=0)] | None = None
) -> Tensor:
    """Return `n` images [n, C, H, W] in [-1, 1].

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        label: Class of all of them, where the system has classes; none draws a class for each, all equally likely.
    """
    drawn: Tensor = self.decode(self.sample_prior(n, generator=generator, label=label))
    return drawn


# ---- of an encoder with a Gaussian posterior ----------------------------------------------------------------------------------------


@torch.no_grad()
def posterior_mean(self: Any, x: Tensor) -> Tensor:
    """Return the mean of q(z|x), [B, latent]."""
    mean: Tensor = self.posterior(x)[0]
    return mean
