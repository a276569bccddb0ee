"""3D-GAN: volumetric convolutions draw shapes as voxels; the discriminator rests while it is right too often."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import draws, latent
from genzoo.nn.checks import check_apart
from genzoo.nn.gan.dcgan import layers_in_a_row, pooled_maps
from genzoo.nn.gan.volumetric import Discriminator3d, Synthesis3d
from genzoo.nn.optimizers import adam_for_each

SIDES = (8, 16, 32, 64, 128)


class GAN3D(System):
    """3D-GAN of Wu, Zhang, Xue, Freeman & Tenenbaum (2016).

    The generator maps z, uniform in [0, 1], through volumetric fractionally-strided convolutions (4 x 4 x 4, stride 2, batch norm, ReLU) to
    a probability of being occupied for each voxel; the discriminator is its mirror with LeakyReLU(0.2). The discriminator's rate is far
    below the generator's, and it is updated only while its accuracy on the last batch, half real and half generated, was at most
    `gate` (section 3.2 of the paper: 80 %).

    Batch norm in the discriminator makes a shape's score depend on the others of its batch. `d_norm=none r1=5 gate=1` with equal rates is the
    cure of later papers (R1, arXiv:1801.04406) for few shapes and short runs; `occupied` starts the generator near the data's share of
    occupied voxels instead of at one half. z in [0, 1] is not centred: three quarters of the second moment of its projection are the same
    for all z; `prior=normal` has none of that.

    Deviations: cubes of 8, 16, 32, 64 or 128 (the paper: 64), one halving less for each; the generator's loss is the non-saturating
    one, as in the code of the time (the paper writes the minimax objective).

    Args:
        shape: One channel and the three sides of the cube: 8, 16, 32, 64 or 128.
        latent: Dimensions of the latent z.
        prior: Law of z: uniform in [0, 1], or normal(0, 1).
        width: Channels of the layers next to the voxels; deeper layers have up to 8 times as many.
        gate: The discriminator rests after a batch that it judged more accurately than this; 1 for no rest.
        d_norm: Norm in the discriminator: batch or none.
        r1: Weight of the gradient penalty of the score on real shapes; 0 for none. It wants `d_norm=none`.
        r1_every: Steps between two penalties, which are this many times as heavy.
        occupied: Probability of being occupied of every voxel of the untrained generator; it needs `bias`.
        bias: Give G's last layer a bias, and D's first and last where no batch norm follows. The authors' nets have none.
        lr: Learning rate of the generator.
        d_lr: Learning rate of the discriminator.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1610.07584"
    data: ClassVar[str] = "voxels"
    presets: ClassVar[dict] = {"gan-3d-paper": {"bias": False}}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8, 8), "latent": 4, "width": 4, "d_lr": 1e-3}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 100, "ema": 0.999}
    averaged: ClassVar[tuple[str, ...]] = ("accuracy",)
    accuracy: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int, int] = (1, 64, 64, 64),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 200,
        prior: Literal["uniform", "normal"] = "uniform",
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        gate: Annotated[float, Field(ge=0.5, le=1)] = 0.8,
        d_norm: Literal["batch", "none"] = "batch",
        r1: Annotated[float, Field(ge=0, le=1000)] = 0.0,
        r1_every: Annotated[int, Field(ge=1, le=1000)] = 1,
        occupied: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        bias: bool = True,
        lr: Annotated[float, Field(gt=0, le=1)] = 2.5e-3,
        d_lr: Annotated[float, Field(gt=0, le=1)] = 1e-5,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        size = shape[1:]
        if shape[0] != 1 or len(set(size)) > 1 or size[0] not in SIDES:
            raise UserError(
                f"shape {'x'.join(map(str, shape))} is not possible; gan-3d makes one channel of cubes with sides "
                f"{', '.join(map(str, SIDES[:-1]))} or {SIDES[-1]}: set size= to one of these"
            )
        check_apart("r1" if r1 else "", d_norm, "r1=0 or d_norm=none")
        self.latent_size, self.gate, self.lr, self.d_lr, self.betas = latent, gate, lr, d_lr, (beta1, beta2)
        self.prior, self.r1, self.r1_every = prior, r1, r1_every
        if occupied != 0.5 and not bias:
            raise UserError(
                f"occupied={occupied:g} is the bias of G's last layer, and bias=false leaves it out: give one of the two"
            )
        self.G = Synthesis3d(size, latent, width, 1, bias=bias)
        if self.G.out.bias is not None:
            torch.nn.init.constant_(self.G.out.bias, math.log(occupied / (1 - occupied)))
        self.D = Discriminator3d(size, 1, width, d_norm, bias=bias)
        # Convolutions follow it; on a CPU they take half the time in G. Torch's types lack the argument.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.register_buffer("accuracy", torch.zeros(()))

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one generator step; before it one of the discriminator, unless it was right too often on the last batch."""
        real = batch["voxels"]
        fake = self._grow(self._draw(len(real)))

        learns = bool(self.accuracy <= self.gate)
        with torch.set_grad_enabled(learns):
            on_real, on_fake = self.D(real), self.D(fake.detach())
            d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        if learns:
            if self.r1 and update.step % self.r1_every == 0:
                d_loss = d_loss + r1_penalty(self.D, real, gamma=self.r1 * self.r1_every)
            update("d", d_loss)
        self.accuracy.copy_(((on_real > 0).float().mean() + (on_fake < 0).float().mean()) / 2)

        g_loss = generator_loss("non-saturating", self.D(fake))
        update("g", g_loss)
        return {
            "d_loss": d_loss.detach(),
            "g_loss": g_loss.detach(),
            "accuracy": self.accuracy.clone(),
            "d_learns": torch.tensor(float(learns), device=real.device),
            "occupied": (fake.detach() > 0).float().mean(),
        }

    def _grow(self, z: Tensor) -> Tensor:
        """Return the voxels in [-1, 1], twice the probability of being occupied less one: 2 sigmoid(y) - 1 = tanh(y / 2)."""
        return torch.tanh(self.G(z).float() / 2)

    def _draw(self, n: int, generator: Generator | None = None) -> Tensor:
        draw = draws.rand if self.prior == "uniform" else draws.randn
        return draw(n, self.latent_size, device=self.device, generator=generator)

    sample_prior = latent.sample_prior
    judging = layers_in_a_row

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the voxels [n, 1, D, H, W] of latents [n, latent], from -1 (empty for certain) to 1 (occupied for certain)."""
        return self._grow(z).contiguous()

    @torch.no_grad()
    def sample(
        self, n: int, *, generator: Generator, threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    ) -> Tensor:
        """Return `n` grids of voxels [n, 1, D, H, W] in [-1, 1].

        Args:
            n: How many.
            generator: All the randomness.
            threshold: Probability from which on a voxel is occupied: grids of -1 and 1; none gives 2p - 1.
        """
        soft = self.decode(self.sample_prior(n, generator=generator))
        return soft if threshold is None else torch.where(soft >= 2 * threshold - 1, 1.0, -1.0)

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return what the discriminator sees of voxels, [B, F]: its last three layers max-pooled to 2 x 2 x 2 and flattened (section 4.2)."""
        return torch.cat(pooled_maps(self.D.blocks, x, 2)[-3:], 1)
