"""Progressively grown GAN: both nets start at a few pixels, and each doubling is faded in while they train."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.capabilities import Figure
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import Objective, discriminator_loss, generator_loss
from genzoo.losses.penalties import Penalty, weighted_penalty
from genzoo.nn import latent
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear, pixel_norm
from genzoo.nn.gan.growing import GrowingDiscriminator, enlarge, growth, layers_by_size, real_at, smallest_map
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.optimizers import adam_for_each


class Synthesis(nn.Module):
    """Dense to the smallest map, then for every doubling two 3x3 convolutions; a 1x1 convolution to pixels for each level.

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        latent: Dimensions of z.
        widths: Channels of every level, smallest map first.
    """

    blocks: Any  # a ModuleList of ModuleLists

    def __init__(self, channels: int, start: tuple[int, int], latent: int, widths: list[int]) -> None:
        super().__init__()
        self.start = (widths[0], *start)
        self.dense = EqualLinear(latent, widths[0] * start[0] * start[1], gain=2**0.5 / 4)
        self.first = EqualConv2d(widths[0], widths[0], 3, 1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(a, b, 3, 1), EqualConv2d(b, b, 3, 1)]) for a, b in itertools.pairwise(widths)
        )
        self.pixels = nn.ModuleList(EqualConv2d(w, channels, 1, gain=1.0) for w in widths)

    def forward(self, z: Tensor, level: int, fade: float) -> Tensor:
        """Return images of `level` [B, C, h, w] from z [B, latent], `fade` of them and the rest the level below enlarged."""
        x = self.dense(pixel_norm(z)).view(z.shape[0], *self.start)
        x = pixel_norm(leaky_relu(x))
        x = below = pixel_norm(leaky_relu(self.first(x)))
        for block in self.blocks[:level]:
            below, x = x, enlarge(x)
            for conv in block:
                x = pixel_norm(leaky_relu(conv(x)))
        image = self.pixels[level](x).float()
        if fade < 1:
            image = torch.lerp(enlarge(self.pixels[level - 1](below).float()), image, fade)
        return image


class ProGAN(System):
    """Progressive growing of GANs of Karras, Aila, Laine & Lehtinen (2018).

    Both nets start at 4 to 7 pixels. A new level's images enter as a weighted sum with the enlarged images of the level below, the weight
    going from 0 to 1 (figure 2); real images are faded in the same way. Weights have an equalized rate (section 4.1), the generator
    normalizes every pixel's features (4.2), the discriminator sees how much a batch varies (3). The loss is WGAN-GP's with a
    small pull of real scores to 0 (appendix A). Level and fade are functions of progress alone (`growth`); until the last level is
    reached, samples are enlarged.

    Deviations: the batch stays the same at all levels; while the nets grow the penalty is for the level's own pixels (the authors' code, and
    `progan-paper`: for those of the full size); the optimizers keep their averages from level to level; D's smallest
    map ends in two dense layers at any size, the paper's 4x4 convolution among them. `grow=0` trains the last level from the start.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, multiples of the number of doublings' power of two.
        latent: Dimensions of the noise z, normal, scaled to the unit sphere.
        width: Channels next to the image; they double with every level down, up to `most`.
        most: Most channels of a layer.
        grow: Share of the run in which the nets grow; 0 for never.
        objective: What the players minimize: wasserstein, with the gradient penalty of WGAN-GP, or non-saturating, with R1 (arXiv:1801.04406).
        penalty_weight: Weight of the gradient penalty (lambda of WGAN-GP, gamma of R1); 0 for none.
        penalty_every: Steps from one penalty to the next, which then weighs as much more (arXiv:1912.04958).
        full_size: Penalize the gradient for images of the full size at every level, as the authors' code; it is smaller than that for the level's
            own pixels by the factor of their sides.
        drift: Weight of the mean squared score of real images.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1710.10196"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {"progan-at-once": {"grow": 0.0}, "progan-paper": {"width": 16, "full_size": True}}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4, "most": 8}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 16, "ema": 0.999}
    progress: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 512,
        width: Annotated[int, Field(ge=4, le=1024)] = 32,
        most: Annotated[int, Field(ge=4, le=1024)] = 512,
        grow: Annotated[float, Field(ge=0, le=1)] = 0.6,
        objective: Literal["wasserstein", "non-saturating"] = "wasserstein",
        penalty_weight: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        penalty_every: Annotated[int, Field(ge=1, le=1000)] = 1,
        full_size: bool = False,
        drift: Annotated[float, Field(ge=0, le=10)] = 0.001,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        self.levels, start = smallest_map(shape, "progan")
        self.latent_size, self.grow = latent, grow
        self.objective: Objective = objective
        self.penalty: Penalty = "wgan-gp" if objective == "wasserstein" else "r1"
        self.penalty_weight, self.penalty_every, self.drift = penalty_weight, penalty_every, drift
        self.full_size = full_size
        self.lr, self.betas = lr, (beta1, beta2)
        widths = [min(width * 2 ** (self.levels - k), most) for k in range(self.levels + 1)]
        self.G = Synthesis(shape[0], start, latent, widths)
        self.D = GrowingDiscriminator(shape[0], start, widths)
        self.register_buffer("progress", torch.zeros(()))

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of each player at the level and fade of this moment."""
        self.progress.fill_(update.progress)
        level, fade = growth(update.progress, self.levels, self.grow)
        real = real_at(batch["image"], level, fade, self.levels)
        fake = self.G(self._draw(len(real)), level, fade)
        on_real, on_fake = self.D(torch.cat([real, fake.detach()]), level, fade, batches=2).chunk(2)
        d_loss = discriminator_loss(self.objective, on_real, on_fake) + self.drift * on_real.square().mean()
        if self.penalty_weight and update.step % self.penalty_every == 0:
            weight = self.penalty_weight * self.penalty_every
            factor = 2 ** (self.levels - level) if self.full_size else 1
            d_loss = d_loss + weighted_penalty(
                self.penalty, lambda x: self.D(x, level, fade) / factor, real, fake, weight
            )
        update("d", d_loss)
        g_loss = generator_loss(self.objective, self.D(fake, level, fade))
        update("g", g_loss)
        logs = {"d_loss": d_loss, "g_loss": g_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        logs["level"] = torch.tensor(level - 1 + fade if level else 0.0)
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal
    sample_prior = latent.sample_prior

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents, as far as the nets have grown, enlarged to the full size."""
        level, fade = growth(float(self.progress), self.levels, self.grow)
        return enlarge(self.G(z, level, fade), 2 ** (self.levels - level)).clamp(-1, 1).contiguous()

    @torch.no_grad()
    def figures(self, *, generator: Generator, columns: Annotated[int, Field(ge=1, le=100)] = 10) -> dict[str, Figure]:
        """Draw the levels that the nets have grown through (figure 2): the same noise at each, enlarged.

        Args:
            generator: Draws the noise.
            columns: Images of each level.
        """
        z = self.sample_prior(columns, generator=generator)
        grown, fade = growth(float(self.progress), self.levels, self.grow)
        shown = [self.G(z, k, fade if k == grown else 1.0) for k in range(grown + 1)]
        rows = [enlarge(x, 2 ** (self.levels - k)).clamp(-1, 1) for k, x in enumerate(shown)]
        sides = ", ".join("x".join(map(str, x.shape[2:])) for x in shown)
        words = f"The same noise at {sides} pixels, a row for each; the layers that draw smaller images were last trained at that size"
        return {"levels": Figure(torch.cat(rows), columns, words)}

    sample = latent.sample
    judging = layers_by_size
