"""Spectrally normalized residual GAN with the hinge loss; a projection discriminator makes it class-conditional."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.nn import latent
from genzoo.nn.checks import check_conditional, check_sides
from genzoo.nn.gan.dcgan import layers_in_a_row, stages
from genzoo.nn.optimizers import adam_for_each


def _glorot(module: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    nn.init.xavier_uniform_(module.weight, gain)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


def _conv(a: int, b: int, kernel: int, gain: float = 1.0) -> nn.Module:
    return _glorot(nn.Conv2d(a, b, kernel, 1, kernel // 2), gain)


class ConditionalNorm(nn.Module):
    """Batch norm whose scale and shift belong to a class (arXiv:1610.07629); plain batch norm without classes.

    Args:
        channels: Channels.
        classes: Number of classes, or 0.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not classes)
        if classes:
            self.scale = nn.Linear(classes, channels, bias=False)
            self.shift = nn.Linear(classes, channels, bias=False)
            nn.init.ones_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)
        self.classes = classes

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Normalize [B, C, H, W], with one-hot classes y [B, classes] where there are any."""
        x = self.norm(x)
        if not self.classes:
            return x
        return x * self.scale(y)[:, :, None, None] + self.shift(y)[:, :, None, None]


class UpBlock(nn.Module):
    """norm-ReLU-double-conv-norm-ReLU-conv, beside double-1x1.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        classes: Number of classes, or 0.
    """

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(inputs, classes), ConditionalNorm(outputs, classes)
        self.conv1, self.conv2 = _conv(inputs, outputs, 3, math.sqrt(2)), _conv(outputs, outputs, 3, math.sqrt(2))
        self.skip = _conv(inputs, outputs, 1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, 2H, 2W]."""
        h = self.conv1(F.interpolate(F.relu(self.norm1(x, y)), scale_factor=2))
        h = self.conv2(F.relu(self.norm2(h, y)))
        # The 1x1 convolution before doubling: a quarter of the work.
        return h + F.interpolate(self.skip(x), scale_factor=2)


class DownBlock(nn.Module):
    """ReLU-conv-ReLU-conv-halve, beside 1x1-halve; the first block of a net has no ReLU before it.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        halve: Average pooling at the end.
        first: Its input is an image.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.conv1 = spectral_norm(_conv(inputs, outputs, 3, math.sqrt(2)))
        self.conv2 = spectral_norm(_conv(outputs, outputs, 3, math.sqrt(2)))
        self.skip = spectral_norm(_conv(inputs, outputs, 1)) if halve or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W], or half the height and width."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        x = self.skip(F.avg_pool2d(x, 2) if self.halve else x)  # pooling and 1x1 convolution commute
        return (F.avg_pool2d(h, 2) if self.halve else h) + x


def _widths(shape: tuple[int, int, int], width: int) -> list[int]:
    """Return the channels before and after each doubling: `width` in the three next to the image, doubling before them."""
    k = stages(*shape[1:])
    return [width * 2 ** max(0, k - 3 - i) for i in range(k + 1)]


class Synthesis(nn.Module):
    """Dense to the smallest map, a residual block for each doubling, norm-ReLU-conv-tanh (tables 3 and 4 of the paper).

    Args:
        shape: (C, H, W) of the image; a size that is no multiple of the doublings is made larger and cropped.
        latent: Dimensions of z.
        width: Channels next to the image.
        classes: Number of classes, or 0.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int, classes: int) -> None:
        super().__init__()
        c, self.h, self.w = shape
        k, widths = stages(self.h, self.w), _widths(shape, width)
        self.start = (widths[0], math.ceil(self.h / 2**k), math.ceil(self.w / 2**k))
        self.dense = _glorot(nn.Linear(latent, math.prod(self.start)))
        self.blocks = nn.ModuleList(UpBlock(a, b, classes) for a, b in itertools.pairwise(widths))
        self.norm, self.out = nn.BatchNorm2d(widths[-1]), _conv(widths[-1], c, 3)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] from z [B, latent] and one-hot classes y [B, classes] where there are any."""
        x = self.dense(z).view(z.shape[0], *self.start)
        for block in self.blocks:
            x = block(x, y)
        x = torch.tanh(self.out(F.relu(self.norm(x))).float())
        top, left = (x.shape[2] - self.h) // 2, (x.shape[3] - self.w) // 2
        return x[:, :, top : top + self.h, left : left + self.w]


class Discriminator(nn.Module):
    """Residual blocks down to about 8 pixels, two more, a sum over places and a logit; every weight spectrally normalized.

    With classes the logit gains <v(y), features>, a projection on a learned direction of the class (arXiv:1802.05637, eq. 3).

    Args:
        shape: (C, H, W) of the image.
        width: Channels next to the image.
        classes: Number of classes, or 0.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, classes: int) -> None:
        super().__init__()
        widths = _widths(shape, width)[::-1]
        last = widths[-1]
        down = [shape[0], *widths[: max(1, len(widths) - 2)]]
        blocks = [DownBlock(a, b, halve=True, first=i == 0) for i, (a, b) in enumerate(itertools.pairwise(down))]
        blocks += [DownBlock(down[-1], last, halve=False), DownBlock(last, last, halve=False)]
        self.blocks = nn.ModuleList(blocks)
        self.score = spectral_norm(_glorot(nn.Linear(last, 1)))
        self.classes = classes
        if classes:
            self.direction = spectral_norm(_glorot(nn.Linear(classes, last, bias=False)))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Return logits [B] of images [B, C, H, W], with one-hot classes y [B, classes] where there are any."""
        for block in self.blocks:
            x = block(x)
        h = F.relu(x).sum((2, 3))
        out = self.score(h).squeeze(1).float()
        if self.classes:
            out = out + (self.direction(y) * h).sum(1).float()
        return out


class SNGAN(System):
    """Spectral normalization for GANs of Miyato, Kataoka, Koyama & Yoshida (2018).

    Every weight of D, as a matrix, is divided by its largest singular value (one power iteration at each use, eq. 8-9), so that D is
    Lipschitz without a penalty. Both minimize the hinge losses (eq. 16-17); Adam's rate falls linearly to 0. `conditional` is the
    projection discriminator of Miyato & Koyama (arXiv:1802.05637) with class-conditional batch norm in G.

    Deviations: G steps on the batch's size (the paper: twice that). Deeper nets, for images above 32 pixels, double their channels with
    each further doubling, in D in a block's first convolution (the authors' code: in its second).

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        classes: Number of classes; read only where `conditional`.
        conditional: Tell both players the class (projection discriminator).
        latent: Dimensions of the noise z, normal(0, 1).
        width: Channels of G next to the image.
        d_width: Channels of D next to the image; none for half of the generator's, as in the paper.
        critic_steps: Discriminator steps for each generator step.
        lr: Learning rate of both players at the start.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1802.05957"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "sngan-projection": {"conditional": True},
        "sngan-paper": {"width": 256, "critic_steps": 5, "lr": 2e-4},
    }
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 8, "critic_steps": 2}
    defaults: ClassVar[dict] = {"steps": 100000, "batch": 64, "ema": 0.999}
    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
        *,
        conditional: bool = False,
        latent: Annotated[int, Field(ge=1, le=4096)] = 128,
        width: Annotated[int, Field(ge=8, le=1024)] = 128,
        d_width: Annotated[int, Field(ge=4, le=1024)] | None = None,
        critic_steps: Annotated[int, Field(ge=1, le=100)] = 5,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    ) -> None:
        super().__init__()
        check_sides(shape, "sngan")
        check_conditional(conditional, classes)
        self.labels = self.conditions = classes if conditional else 0
        self.latent_size = latent
        self.critic_steps, self.lr, self.betas = critic_steps, lr, (beta1, beta2)
        self.G = Synthesis(shape, latent, width, self.labels)
        self.D = Discriminator(shape, d_width or width // 2, self.labels)

    optimizers = adam_for_each

    def lr_scale(self, progress: float) -> float:
        """Fall linearly to 0."""
        return 1 - progress

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one discriminator step; after `critic_steps` of them one generator step on noise of its own."""
        real = batch["image"]
        y = self._one_hot(batch["label"]) if self.labels else None
        with torch.no_grad():
            fake = self.G(self._draw(len(real)), y)
        on_real, on_fake = self.D(real, y), self.D(fake, y)
        d_loss = discriminator_loss("hinge", on_real, on_fake)
        update("d", d_loss)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        if (update.step + 1) % self.critic_steps == 0:
            g_loss = generator_loss("hinge", self.D(self.G(self._draw(len(real)), y), y))
            update("g", g_loss)
            logs["g_loss"] = g_loss
        return {k: v.detach() for k, v in logs.items()}

    _one_hot = latent.one_hot
    _draw = latent.normal
    sample_prior = latent.sample_prior_of_class

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents."""
        return self.G(z[:, : self.latent_size], z[:, self.latent_size :] if self.labels else None).contiguous()

    sample = latent.sample_of_class
    judging = layers_in_a_row
