"""An encoder squeezes the image into a short code, and a decoder makes the image from it again.

The autoencoder (Hinton & Salakhutdinov 2006): the network that principal component analysis is the linear case of. With
`noise` it is the denoising autoencoder (Vincent et al. 2008).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.autoencoding.coders import ACTIVATIONS, Activation, conv_coders, dense_coders, xavier_init
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine


class Autoencoder(System):
    """Autoencoder: minimizes |x - D(E(x + noise))|² over images, with nothing asked of the code but its size.

    Without hidden layers (`linear-autoencoder`) the best it can do is the projection onto the leading principal components
    (Baldi & Hornik 1989); a test holds it to that. Deviation from the paper: no pretraining by restricted Boltzmann machines,
    which ReLU-like units and Adam made unnecessary.

    There is no prior over codes, so there is nothing to sample: `encode`, `decode`, reconstruction, walks between images and
    arithmetic on codes are what it is for. For walks without images, `latent` draws from the Gaussian that fits the codes of
    the training images (mean and covariance, kept while training): a description of where codes are, not part of the model.

    Args:
        shape: Channels, height and width of the images.
        architecture: Fully connected nets, or strided convolutions.
        latent: Size of the code.
        hidden: Units of each hidden layer (dense).
        width: Channels of the first convolution; doubled at every halving (conv).
        depth: Hidden layers of each net (dense; 0 is linear), or times that the image is halved, as far as its size allows
            (conv).
        activation: Nonlinearity of the nets.
        error: What is minimized: squared or absolute difference of pixels.
        noise: Standard deviation of normal noise on what the encoder sees while training (images span -1 to 1).
        lr: Learning rate of Adam.
        schedule: Learning rate over time: constant, or cosine to zero.
    """

    paper = "doi:10.1126/science.1127647"
    data = "image"
    presets: ClassVar[dict[str, Any]] = {
        "linear-autoencoder": {"depth": 0},
        "conv-autoencoder": {"architecture": "conv", "depth": 3, "latent": 64},
        "denoising-autoencoder": {"noise": 0.5},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "latent": 3, "hidden": 16, "width": 8, "depth": 1}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 100, "ema": 0.999}

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        architecture: Literal["dense", "conv"] = "dense",
        latent: Annotated[int, Field(ge=1, le=1024)] = 32,
        hidden: Annotated[int, Field(ge=1, le=16384)] = 512,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        depth: Annotated[int, Field(ge=0, le=16)] = 2,
        activation: Activation = "elu",
        error: Literal["l2", "l1"] = "l2",
        noise: Annotated[float, Field(ge=0, le=10)] = 0.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        schedule: Literal["constant", "cosine"] = "cosine",
    ) -> None:
        super().__init__()
        self.error, self.noise, self.lr, self.schedule = error, noise, lr, schedule
        act = ACTIVATIONS[activation]
        if architecture == "dense":
            self.encoder, self.decoder = dense_coders(shape, latent, latent, hidden, depth, act)
        else:
            self.encoder, self.decoder = conv_coders(shape, latent, latent, width, depth, act)
        self.apply(xavier_init)
        self.codes = CodeStatistics(latent)

    optimizers = one_adam

    def lr_scale(self, progress: float) -> float:
        """Return the chosen schedule at `progress`."""
        return half_cosine(self, progress) if self.schedule == "cosine" else 1.0

    def loss(self, batch: Batch) -> Logs:
        """Return the mean error of a pixel in [-1, 1]."""
        x = batch["image"]
        seen = x + self.noise * torch.randn_like(x) if self.noise else x
        z = self.encoder(seen)
        self.codes.update(z.detach().float())
        difference = self.decoder(z).float() - x
        squared = difference.detach().square().mean()
        loss = difference.square().mean() if self.error == "l2" else difference.abs().mean()
        return {"loss": loss, "psnr": 10 * (4 / squared).log10(), "code_std": z.detach().float().std()}

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the codes of images, [B, latent]."""
        return self.encoder(x).float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images of codes, [B, C, H, W] in [-1, 1]."""
        return self.decoder(z).float().clamp(-1, 1)

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw from the Gaussian that fits the codes of the training images, [n, latent]."""
        return self.codes.draw(n, generator)


class CodeStatistics(nn.Module):
    """Running mean and covariance of codes, over about the last `window` batches.

    Args:
        size: Dimensions of a code.
        window: Batches that the past counts for.
    """

    averaged = ("count", "mean", "moment")
    count: Tensor
    mean: Tensor
    moment: Tensor

    def __init__(self, size: int, window: int = 200) -> None:
        super().__init__()
        self.window = window
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("moment", torch.eye(size))

    @torch.no_grad()
    def update(self, z: Tensor) -> None:
        """Take in a batch of codes [B, size]; nothing in eval mode."""
        if not self.training:
            return
        self.count += 1
        share = 1 / self.count.clamp(max=self.window)
        self.mean.lerp_(z.mean(0), share)
        with torch.autocast(z.device.type, enabled=False):  # a covariance in half precision is none
            self.moment.lerp_(z.T @ z / z.shape[0], share)

    def draw(self, n: int, generator: Generator) -> Tensor:
        """Draw from N(mean, covariance), [n, size]; standard normal before the first batch."""
        covariance = (self.moment - self.mean[:, None] * self.mean).double()
        values, vectors = torch.linalg.eigh(covariance)
        noise = draws.randn(n, self.mean.shape[0], generator=generator, device=self.mean.device)
        scale = values.clamp(min=0).sqrt().float()
        return self.mean + (noise * scale) @ vectors.T.float()
