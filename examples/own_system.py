"""A system of one's own, outside the zoo: the signature is the form, the capabilities follow from the methods."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.system import Batch, Logs, System


class Shades(System):
    """An autoencoder with one linear layer each way.

    Args:
        shape: Channels, height and width.
        code: Numbers in the code.
        lr: Learning rate.
    """

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
        """One player."""
        return {"model": torch.optim.Adam(self.parameters(), self.lr)}

    def loss(self, batch: Batch) -> Logs:
        """Mean squared error."""
        return {"loss": (self.decode(self.encode(batch["image"])) - batch["image"]).square().mean()}

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Normal codes."""
        return torch.randn(n, self.down.out_features, generator=generator)

    def encode(self, x: Tensor) -> Tensor:
        """Return codes [N, code]."""
        return self.down(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Return images in [-1, 1]."""
        return self.up(z).view(-1, *self.shape).tanh()


system = Shades(code="4")  # words are read as the annotation says, as on the command line
print(system.hparams, capabilities(system))
print(genzoo.walk(system, rows=2, steps=5).shape, genzoo.reconstruct(system, torch.zeros(3, 1, 8, 8)).shape)
try:
    Shades(code=0)
except genzoo.UserError as mistake:
    print(mistake)
