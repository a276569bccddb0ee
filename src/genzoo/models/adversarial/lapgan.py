"""Laplacian pyramid of GANs: a small image first, then one GAN for the detail of each doubling."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import draws
from genzoo.nn.checks import check_sides
from genzoo.nn.gan.dcgan import Discriminator, Synthesis
from genzoo.nn.optimizers import adam_for

SMALLEST = 8


def halve(x: Tensor) -> Tensor:
    """Average 2x2 pixels, d(.): [B, C, H, W] to [B, C, ⌈H/2⌉, ⌈W/2⌉]."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def double(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge bilinearly to `size`, u(.)."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class Detail(nn.Module):
    """The generator of detail: three 5x5 convolutions on the enlarged image with a plane of noise beside it.

    Args:
        channels: Channels of the image.
        width: Channels of the two hidden layers.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels + 1, width, 5, 1, 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 5, 1, 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 5, 1, 2),
        )

    def forward(self, z: Tensor, coarse: Tensor) -> Tensor:
        """Return the detail [B, C, H, W] for an enlarged image [B, C, H, W], with noise z [B, 1, H, W]."""
        return self.net(torch.cat([coarse, z], 1)).float()


class LAPGAN(System):
    """Laplacian pyramid of adversarial networks of Denton, Chintala, Szlam & Fergus (2015).

    An image is taken apart into h_k = I_k − u(I_k+1) and a smallest image (eq. 3). Each level k has a GAN of its own: G_k makes the detail
    from noise and l_k = u(I_k+1), and D_k sees l_k + h_k for real or generated h_k (section 2.3). Levels learn apart, each from real
    l_k; sampling goes from the smallest image to the finest, each level on what the one before has drawn (eq. 5).

    Deviations: D has DCGAN's convolutions with the R1 penalty and the smallest level DCGAN's generator; Adam in place of SGD; the
    smallest side is 8 to 15 pixels; averages of 2x2 pixels and bilinear enlargement in place of a blur; filters of 5x5 in the generators of
    detail (the authors' code: 7x7, 7x7, 5x5), and normal noise (there uniform).

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        latent: Dimensions of the smallest level's noise, normal(0, 1).
        doublings: Most levels of detail, each of which doubles the size; fewer where the smallest side would be under 8.
        width: Channels of the layers next to the image in the discriminators, and of the generators of detail.
        r1: Weight of the gradient penalty on real images; 0 for none.
        lr: Learning rate of all players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1506.05751"
    data: ClassVar[str] = "image"
    tiny: ClassVar[dict] = {"shape": (1, 16, 16), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        doublings: Annotated[int, Field(ge=0, le=8)] = 3,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "lapgan")
        c, h, w = shape
        self.sizes = [(h, w)]
        while len(self.sizes) <= doublings and min(-(-s // 2) for s in self.sizes[-1]) >= SMALLEST:
            self.sizes.append((-(-self.sizes[-1][0] // 2), -(-self.sizes[-1][1] // 2)))
        self.latent_size, self.r1, self.lr, self.betas = latent, r1, lr, (beta1, beta2)
        smallest = Synthesis((c, *self.sizes[-1]), latent, width, 4)
        self.G = nn.ModuleList([*(Detail(c, width) for _ in self.sizes[:-1]), smallest])
        self.D = nn.ModuleList(Discriminator((c, *size), width, 4, "none", False) for size in self.sizes)

    @property
    def levels(self) -> int:
        """Return the levels of detail above the smallest image."""
        return len(self.sizes) - 1

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each player of each level: d0 and g0 are the finest."""
        players = {f"{kind}{k}": m for kind, nets in (("d", self.D), ("g", self.G)) for k, m in enumerate(nets)}
        return {name: adam_for(self, m) for name, m in players.items()}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do a step of both players at every level, each from the real image of the level below."""
        real = batch["image"]
        logs: Logs = {}
        for k, size in enumerate(self.sizes):
            z = self._noise(len(real), k)
            if k < self.levels:
                small = halve(real)
                coarse = double(small, size)
                fake = coarse + self.G[k](z, coarse)
            else:
                small, fake = real, self.G[k](z)
            on_real, on_fake = self.D[k](real), self.D[k](fake.detach())
            d_loss = discriminator_loss("non-saturating", on_real, on_fake)
            if self.r1:
                d_loss = d_loss + r1_penalty(self.D[k], real, gamma=self.r1)
            update(f"d{k}", d_loss)
            g_loss = generator_loss("non-saturating", self.D[k](fake))
            update(f"g{k}", g_loss)
            logs |= {f"d{k}_loss": d_loss.detach(), f"g{k}_loss": g_loss.detach()}
            real = small
        return logs

    def _noise(self, n: int, level: int, generator: Generator | None = None) -> Tensor:
        """Return noise of a level: a plane for detail, a vector for the smallest image."""
        shape = (self.latent_size,) if level == self.levels else (1, *self.sizes[level])
        return draws.randn(n, *shape, device=self.device, generator=generator)

    @torch.no_grad()
    def chain(self, n: int, *, generator: Generator) -> list[Tensor]:
        """Return what sampling makes, from the smallest images to the finest: [n, C, h, w] each."""
        x = self.G[-1](self._noise(n, self.levels, generator)).contiguous()
        found = [x]
        for k in range(self.levels - 1, -1, -1):
            coarse = double(x, self.sizes[k])
            x = (coarse + self.G[k](self._noise(n, k, generator), coarse)).clamp(-1, 1)
            found.append(x)
        return found

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Return `n` images [n, C, H, W] in [-1, 1]."""
        return self.chain(n, generator=generator)[-1]
