"""Conditional GAN: both players are told the class, so that one can ask for an image of it."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import latent
from genzoo.nn.checks import check_classes, check_sides
from genzoo.nn.gan.dcgan import Discriminator, Synthesis
from genzoo.nn.gan.maxout import Maxout
from genzoo.nn.optimizers import adam_for_each


class DenseGenerator(nn.Module):
    """The paper's MNIST generator: noise to 200 and label to 1,000 ReLU units, both to 1,200, then a sigmoid for each pixel.

    Args:
        shape: (C, H, W) of the image.
        latent: Dimensions of z.
        classes: Number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.noise, self.label = nn.Linear(latent, 200), nn.Linear(classes, 1000)
        self.joint, self.out = nn.Linear(1200, 1200), nn.Linear(1200, math.prod(shape))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] from z [B, latent] and one-hot labels [B, classes]."""
        h = torch.cat([F.relu(self.noise(z)), F.relu(self.label(y))], 1)
        x = self.out(F.relu(self.joint(h))).float()
        return (2 * torch.sigmoid(x) - 1).view(z.shape[0], *self.shape)


class DenseDiscriminator(nn.Module):
    """The paper's MNIST discriminator: maxout layers for the image (240 units of 5), the label (50 of 5) and both (240 of 4).

    Args:
        shape: (C, H, W) of the image.
        classes: Number of classes.
        dropout: Share of hidden units left out.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, dropout: float) -> None:
        super().__init__()
        self.image, self.label = Maxout(math.prod(shape), 240, 5), Maxout(classes, 50, 5)
        self.joint, self.score = Maxout(290, 240, 4), nn.Linear(240, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return logits [B] of images [B, C, H, W] with one-hot labels [B, classes]."""
        h = torch.cat([self.image(x.flatten(1)), self.label(y)], 1)
        return self.score(self.dropout(self.joint(self.dropout(h)))).squeeze(1).float()


class ConvGenerator(nn.Module):
    """DCGAN's generator on noise and label side by side.

    Args:
        shape: (C, H, W) of the image.
        latent: Dimensions of z.
        classes: Number of classes.
        width: Channels next to the image.
        multiple: Most channels of a layer, as a multiple of `width`.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, classes: int, width: int, multiple: int) -> None:
        super().__init__()
        self.net = Synthesis(shape, latent + classes, width, 4, multiple=multiple)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] from z [B, latent] and one-hot labels [B, classes]."""
        return self.net(torch.cat([z, y], 1)).contiguous()


class ConvDiscriminator(nn.Module):
    """DCGAN's discriminator without normalization; a learned picture of the label is one more channel of its input.

    Args:
        shape: (C, H, W) of the image.
        classes: Number of classes.
        width: Channels of the first layer.
        multiple: Most channels of a layer, as a multiple of `width`.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int, multiple: int) -> None:
        super().__init__()
        c, h, w = shape
        self.size = (h, w)
        self.label = nn.Linear(classes, h * w)
        self.net = Discriminator((c + 1, h, w), width, 4, "none", False, multiple=multiple)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return logits [B] of images [B, C, H, W] with one-hot labels [B, classes]."""
        plane = self.label(y).view(y.shape[0], 1, *self.size)
        return self.net(torch.cat([x.to(plane.dtype), plane], 1))


class CGAN(System):
    """Conditional adversarial nets of Mirza & Osindero (2014).

    min_G max_D E log D(x | y) + E log(1 − D(G(z | y) | y)) (eq. 2): the label is an input of both players. D sees an image with its
    own label only; what it cannot tell from real ones has to match the label.

    `nets=dense` are the paper's for MNIST (section 4.1). Deviations: by default both players have DCGAN's convolutions with
    the R1 penalty in place of batch norm in D; the generator's loss is non-saturating; Adam in place of SGD with momentum.
    Labels of generated images are those of the batch, so that D cannot tell the two apart by how often a class occurs.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024 with nets=conv.
        classes: Number of classes.
        nets: conv (DCGAN's) or dense (the paper's).
        latent: Dimensions of the noise z, normal(0, 1).
        width: Channels of the convolutions next to the image; they double with every layer.
        multiple: Most channels of a convolution, as a multiple of `width`.
        dropout: Share of the dense discriminator's hidden units left out at each training step.
        r1: Weight of the gradient penalty on real images; 0 for none.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1411.1784"
    data: ClassVar[str] = "labelled"
    presets: ClassVar[dict] = {"cgan-dense": {"nets": "dense", "r1": 0.0, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999}}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}
    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        classes: int = 10,
        nets: Literal["conv", "dense"] = "conv",
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        multiple: Annotated[int, Field(ge=1, le=64)] = 8,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_classes(classes, "cgan")
        if nets == "conv":
            check_sides(shape, "cgan with nets=conv")
        self.labels, self.latent_size, self.conditions = classes, latent, classes
        self.r1, self.lr, self.betas = r1, lr, (beta1, beta2)
        if nets == "dense":
            self.G: nn.Module = DenseGenerator(shape, latent, classes)
            self.D: nn.Module = DenseDiscriminator(shape, classes, dropout)
        else:
            self.G = ConvGenerator(shape, latent, classes, width, multiple)
            self.D = ConvDiscriminator(shape, classes, width, multiple)

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one discriminator step and one generator step, both on the labels of the batch."""
        real, y = batch["image"], self._one_hot(batch["label"])
        fake = self.G(self._draw(len(real)), y)
        on_real, on_fake = self.D(real, y), self.D(fake.detach(), y)
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        if self.r1:
            d_loss = d_loss + r1_penalty(lambda x: self.D(x, y), real, gamma=self.r1)
        update("d", d_loss)
        g_loss = generator_loss("non-saturating", self.D(fake, y))
        update("g", g_loss)
        logs = {"d_loss": d_loss, "g_loss": g_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal
    _one_hot = latent.one_hot
    sample_prior = latent.sample_prior_of_class

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents [n, latent + classes]."""
        return self.G(z[:, : self.latent_size], z[:, self.latent_size :])

    sample = latent.sample_of_class
