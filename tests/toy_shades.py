"""Shades: an autoencoder that stands in a file of one's own."""

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo import System
from genzoo.nn import draws


class MyShades(System):
    """Codes images with one linear layer each way.

    Args:
        shape: Channels, height and width.
        code: Numbers in the code.
        lr: Learning rate of Adam.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"shades-16": {"code": 16}}
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "code": 4}

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 8, 8),
        *,
        code: Annotated[int, Field(ge=1, le=512)] = 8,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-2,
    ) -> None:
        super().__init__()
        self.shape, self.lr, size = shape, lr, shape[0] * shape[1] * shape[2]
        self.down, self.up = nn.Linear(size, code), nn.Linear(code, size)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return Adam over everything."""
        return {"model": torch.optim.Adam(self.parameters(), self.lr)}

    def loss(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean squared error."""
        x = batch["image"]
        return {"loss": (self.decode(self.encode(x)) - x).square().mean()}

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw normal codes."""
        return draws.randn(n, self.down.out_features, generator=generator)

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Decode normal codes."""
        return self.decode(self.sample_prior(n, generator=generator))

    def encode(self, x: Tensor) -> Tensor:
        """Return codes [N, code]."""
        return self.down(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Return images in [-1, 1]."""
        return self.up(z).view(-1, *self.shape).tanh()
