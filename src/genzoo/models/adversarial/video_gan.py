"""Video GAN: a static background and a moving foreground, blended by a mask, against a 3-D convolutional judge."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.nn import draws, latent
from genzoo.nn.gan.dcgan import Discriminator, Synthesis, layers_in_a_row
from genzoo.nn.gan.volumetric import Discriminator3d, Synthesis3d
from genzoo.nn.optimizers import adam_for
from genzoo.ranks.sums import everybody

KEPT = 64
"""First frames of the training data that a conditional model keeps, to have something to go on from."""


class TwoStreams(nn.Module):
    """G(z) = m(z) · f(z) + (1 - m(z)) · b(z) (equation 2 of the paper): f moves, b is one image for all times, m says where each is seen.

    Args:
        shape: (C, T, H, W) of a clip.
        latent: Dimensions of z.
        width: Channels next to the clip, of both streams.
    """

    def __init__(self, shape: tuple[int, int, int, int], latent: int, width: int) -> None:
        super().__init__()
        c, t, h, w = shape
        self.moving = Synthesis3d((t, h, w), latent, width, c + 1)
        self.still = Synthesis((c, h, w), latent, width, 4)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the clip, the mask [B, 1, T, H, W] in [0, 1], the foreground [B, C, T, H, W] and the background [B, C, 1, H, W]."""
        heads = self.moving(z).float()  # in half precision 1 - m would be as coarse as a grey level
        front, mask = heads[:, :-1].tanh(), heads[:, -1:].sigmoid()
        back = self.still(z).float()[:, :, None]
        return mask * front + (1 - mask) * back, mask, front, back


class VideoGAN(System):
    """Generating Videos with Scene Dynamics, Vondrick, Pirsiavash & Torralba (2016).

    Two streams make a clip from one z: 3-D fractionally-strided convolutions a moving foreground and a mask, 2-D ones a background that
    is the same at all times. The mean of the mask, times `sparsity`, is added to the generator's loss, so that the background
    is used where nothing moves. The discriminator has 3-D convolutions. `conditional` is the extension of section 4.4: z is the
    code of a given first frame, by an encoder that learns with the generator, and the first frame of the clip has to be that frame.

    Deviations: clips of any length from 2 and any sides from 8 (the paper: 32 frames of 64 x 64); short clips double their length in the last
    layers only. Weights start at N(0, 0.02²), the authors' code has 0.01, and adds 0.001 to variances in D's batch norm (here 0.00001). The
    encoder's code is a vector that both streams start from (the authors' code: a map of 4 x 4); as there, the first frame's error is a mean
    absolute one, and real and generated clips go through the discriminator in separate batches. Stabilized video is assumed, and not made
    here.

    Args:
        shape: Channels, frames, height and width of a clip; from 2 frames, sides from 8 to 256.
        latent: Dimensions of z, normal(0, 1).
        width: Channels of the layers next to the clip; deeper layers have up to 8 times as many.
        sparsity: Weight of the mask's mean in the generator's loss.
        conditional: Go on from a first frame: z is its code.
        first_weight: Weight of the mean absolute error of the first frame, where conditional.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
    """

    paper: ClassVar[str] = "arXiv:1609.02612"
    data: ClassVar[str] = "video"
    presets: ClassVar[dict] = {"video-gan-conditional": {"conditional": True}}
    tiny: ClassVar[dict] = {"shape": (1, 4, 8, 8), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999}
    memories: ClassVar[tuple[str, ...]] = ("firsts", "kept")
    firsts: Tensor
    kept: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int, int] = (3, 32, 64, 64),
        *,
        latent: Annotated[int, Field(ge=2, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        sparsity: Annotated[float, Field(ge=0, le=100)] = 0.1,
        conditional: bool = False,
        first_weight: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        c, t, h, w = shape
        if t < 2 or min(h, w) < 8 or max(h, w) > 256:
            raise UserError(
                f"shape {'x'.join(map(str, shape))} is not possible; video-gan makes clips (channels, frames, height, width) of 2 or more "
                "frames with sides from 8 to 256: set frames= and size="
            )
        self.latent_size, self.sparsity, self.first_weight = latent, sparsity, first_weight
        self.conditional, self.lr, self.betas = conditional, lr, (beta1, 0.999)
        self.G = TwoStreams(shape, latent, width)
        self.D = Discriminator3d((t, h, w), c, width)
        if conditional:
            # The same stack; its logits are z.
            self.E = Discriminator((c, h, w), width, 4, "batch", False, outputs=latent)
            self.register_buffer("firsts", torch.zeros(KEPT, c, h, w))
            self.register_buffer("kept", torch.zeros((), dtype=torch.long))
        else:
            self.lacks = {
                "animates": "this model was trained without first frames; train it with conditional=true to animate images"
            }

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each player; the encoder plays with the generator."""
        return {"d": adam_for(self, self.D), "g": adam_for(self, self.G, self.E if self.conditional else None)}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one discriminator step, one generator step on the same clips."""
        real = batch["video"]
        if self.conditional:
            self._keep(real[:, :, 0])
        z = self.E(real[:, :, 0]) if self.conditional else self._draw(len(real))
        fake, mask, _, _ = self.G(z)

        on_real, on_fake = self.D(real), self.D(fake.detach())
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        update("d", d_loss)

        g_loss = generator_loss("non-saturating", self.D(fake))
        objective = g_loss + self.sparsity * mask.mean()
        logs = {
            "d_loss": d_loss,
            "g_loss": g_loss,
            "d_real": on_real.mean(),
            "d_fake": on_fake.mean(),
            "mask": mask.mean(),
        }
        if self.conditional:
            logs["first_error"] = (fake[:, :, 0] - real[:, :, 0]).abs().mean()
            objective = objective + self.first_weight * logs["first_error"]
        update("g", objective)
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal

    def _keep(self, first: Tensor) -> None:
        """Keep the first frames of the training's first clips."""
        at = int(self.kept)
        if at < KEPT:
            first = everybody(first)[: KEPT - at]
            self.firsts[at : at + len(first)] = first.float()
            self.kept += len(first)

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw z [n, latent] from the prior; where conditional the codes of first frames of the training data, drawn with replacement."""
        if not self.conditional:
            return self._draw(n, generator)
        which = draws.randint(max(int(self.kept), 1), n, generator=generator, device=self.device)
        return self.E(self.firsts[which])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the clips [n, C, T, H, W] in [-1, 1] of latents [n, latent]."""
        return self.G(z)[0].contiguous()

    @torch.no_grad()
    def streams(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the clips of latents, their masks, foregrounds and backgrounds, as `TwoStreams` gives them."""
        return self.G(z)

    sample = latent.sample
    judging = layers_in_a_row

    @torch.no_grad()
    def animate(self, first: Tensor) -> Tensor:
        """Return the clips [B, C, T, H, W] in [-1, 1] that begin with about the images `first` [B, C, H, W].

        Raises:
            UserError: The system was trained without first frames.
        """
        if "animates" in self.lacks:
            raise UserError(self.lacks["animates"])
        return self.decode(self.E(first))
