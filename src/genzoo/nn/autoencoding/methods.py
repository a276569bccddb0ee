"""What follows from an encoder, a codebook and a decoder: methods of autoencoders with codes, borrowed by name in class bodies.

Such a system has `tokenize(x)`, codes [B, T], `codebook_size`, `code_grids`, and `_vectors(codes)`, what its decoder reads. Where the
decoder is a likelihood it has `_decoded(z)`, the means of pixels, with `levels` and the `log_scale` of each channel.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.losses.likelihoods import discretized_logistic, per_example
from genzoo.nn import draws
from genzoo.nn.dequantize import on_levels


@torch.no_grad()
def encode(self: Any, x: Tensor) -> Tensor:
    """Return the vectors of an image's codes, [B, channels, h, w]."""
    vectors: Tensor = self._vectors(self.tokenize(x))
    return vectors


@torch.no_grad()
def decode(self: Any, z: Tensor) -> Tensor:
    """Return images [B, C, H, W] in [-1, 1] of vectors [B, channels, h, w], which need not be codes."""
    images: Tensor = self.decoder(z).float()
    return images.clamp(-1, 1).contiguous()


@torch.no_grad()
def detokenize(self: Any, codes: Tensor) -> Tensor:
    """Return images [B, C, H, W] in [-1, 1] of codes [B, T]."""
    images: Tensor = self.decode(self._vectors(codes))
    return images


@torch.no_grad()
def sample_prior(self: Any, n: int, *, generator: Generator) -> Tensor:
    """Return the vectors of codes drawn uniformly, [n, channels, h, w]: the prior of this stage, which knows nothing of images."""
    shape = (n, sum(math.prod(grid) for grid in self.code_grids))
    vectors: Tensor = self._vectors(draws.randint(self.codebook_size, *shape, generator=generator, device=self.device))
    return vectors


def reconstruction(self: Any, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a decoder minimizes and the squared error: nats per dimension, or (mse) the squared error over the data's variance."""
    error = (mean - x).square().mean()
    if self.reconstruction == "mse":
        return error / x.var().clamp_min(1e-4), error
    return -log_pixels(self, x, mean).mean() / math.prod(self.shape), error


def log_pixels(self: Any, x: Tensor, mean: Tensor) -> Tensor:
    """Return log p(x | mean) of the discrete image in nats, [B], under a discretized logistic."""
    x = on_levels(x, self.levels)
    return per_example(discretized_logistic(x, mean, self.log_scale.clamp(min=-7), self.levels))


@torch.no_grad()
def log_likelihood(self: Any, x: Tensor, codes: Tensor) -> Tensor:
    """Return log p(x | codes) of the discrete image in nats, [B].

    Raises:
        UserError: The decoder was trained without a likelihood.
    """
    if self.reconstruction == "mse":
        raise UserError("reconstruction=mse gives no likelihood of images; train with reconstruction=logistic")
    return log_pixels(self, x, self._decoded(self._vectors(codes)))


@torch.no_grad()
def log_prob(self: Any, x: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return log p(x | z(x)) - T ln K in nats, [B], with T codes under a uniform prior; `generator` is not used."""
    codes = self.tokenize(x)
    found: Tensor = self.log_likelihood(x, codes) - codes.shape[1] * math.log(self.codebook_size)
    return found
