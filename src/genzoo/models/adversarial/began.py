"""Boundary-equilibrium GAN: the discriminator is an autoencoder, and a controlled weight keeps the players level."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.nn import latent
from genzoo.nn.checks import check_sides
from genzoo.nn.init import xavier_init
from genzoo.nn.optimizers import adam_for_each
from genzoo.ranks.sums import everybody, mean_over_ranks


def _convs(inputs: int, inner: int, outputs: int, depth: int) -> list[nn.Module]:
    """Return `depth` convolutions of 3x3 with ELU behind each; the channels between them are `inner`."""
    channels = [inputs, *[inner] * (depth - 1), outputs]
    return [m for i in range(depth) for m in (nn.Conv2d(channels[i], channels[i + 1], 3, 1, 1), nn.ELU())]


def _halvings(height: int, width: int, smallest: int) -> int:
    """Return how often the smaller side can be halved without going below `smallest`."""
    return max(0, int(math.log2(min(height, width) / smallest)))


def pulling_away(codes: Tensor) -> Tensor:
    """Return the mean squared cosine between codes [B, D] of different examples (arXiv:1609.03126, equation 4): 0 at right angles, 1 alike."""
    s = F.normalize(everybody(codes.float()), dim=1)
    n = s.shape[0]
    return ((s @ s.T).square().sum() - n) / max(1, n * (n - 1))


class Decoder(nn.Module):
    """Dense, then 3x3 convolutions with ELU and nearest-neighbour doubling between; no bound at the end.

    Args:
        shape: (C, H, W) of the image; a size that is no multiple of the doublings is made larger and cropped.
        hidden: Size of the code.
        width: Channels of every layer.
        smallest: Least side of the smallest map.
        depth: Convolutions at each size.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: int, width: int, smallest: int, depth: int) -> None:
        super().__init__()
        c, self.h, self.w = shape
        k = _halvings(self.h, self.w, smallest)
        self.start = (width, math.ceil(self.h / 2**k), math.ceil(self.w / 2**k))
        self.dense = nn.Linear(hidden, math.prod(self.start))
        parts = _convs(width, width, width, depth)
        for _ in range(k):
            parts += [nn.Upsample(scale_factor=2), *_convs(width, width, width, depth)]
        self.net = nn.Sequential(*parts, nn.Conv2d(width, c, 3, 1, 1))

    def forward(self, h: Tensor) -> Tensor:
        """Return images [B, C, H, W] from codes [B, hidden]."""
        x = self.net(self.dense(h).view(h.shape[0], *self.start))
        top, left = (x.shape[2] - self.h) // 2, (x.shape[3] - self.w) // 2
        return x[:, :, top : top + self.h, left : left + self.w].float()


class Encoder(nn.Module):
    """3x3 convolutions with ELU, halved by stride 2; channels grow by `width` with every halving.

    Args:
        shape: (C, H, W) of the image.
        hidden: Size of the code.
        width: Channels next to the image.
        smallest: Least side of the smallest map.
        depth: Convolutions at each size, besides the first of all and the halvings.
        early: Channels grow before a halving and not after it.
    """

    def __init__(
        self, shape: tuple[int, int, int], hidden: int, width: int, smallest: int, depth: int, early: bool
    ) -> None:
        super().__init__()
        c, h, w = shape
        parts: list[nn.Module] = [nn.Conv2d(c, width, 3, 1, 1), nn.ELU()]
        channels, k = width, _halvings(h, w, smallest)
        for i in range(k):
            out = width * (i + 2 if early else i + 1)
            parts += [*_convs(channels, channels if early else out, out, depth), nn.Conv2d(out, out, 3, 2, 1), nn.ELU()]
            channels, h, w = out, (h + 1) // 2, (w + 1) // 2
        last = width * (k + 1)
        end = [nn.Flatten(), nn.Linear(last * h * w, hidden)]
        self.net = nn.Sequential(*parts, *_convs(channels, last, last, depth), *end)

    def forward(self, x: Tensor) -> Tensor:
        """Return codes [B, hidden] of images [B, C, H, W]."""
        return self.net(x)


class BEGAN(System):
    """Boundary-equilibrium GAN of Berthelot, Schumm & Metz (2017).

    D is an autoencoder and L(v) = mean |v − D(v)| its error on an image. With k in [0, 1] (section 3.4):
    L_D = L(x) − k L(G(z_D)), L_G = L(G(z_G)), k <- clip(k + λ (γ L(x) − L(G(z_G))), 0, 1). The equilibrium is L(G(z)) = γ L(x): a low
    γ asks for sharp, alike images, a high one for variety. M = L(x) + |γ L(x) − L(G(z_G))| falls while images get better and is the
    sign by which to stop.

    Weights start from Glorot's uniform law and biases from 0, as in TensorFlow's layers: without norms PyTorch's default start lets the
    gradient fade to 1e-10 on its way through D. `pull` adds to L_G the pulling-away term of EBGAN (arXiv:1609.03126), the mean squared
    cosine between D's codes of the generated images: nothing else in the game minds that all of them are one image.

    The defaults are for short trainings: shallow nets, which make more steps in equal time, γ = 1, at which D goes on telling images apart
    (at a lower γ k can fall to 0, and then D copies blots as well as data), and a k that follows within tens of steps.

    Deviations, which `began-paper` has not: `pull`; one convolution at each size (`depth`; the paper: 2) down to maps of 14 to 27 pixels
    (`smallest`; the paper: 8); γ, λ and the rate. Of both: no vanishing skip connections; the rate rises and falls by the trainer's `warmup`
    and `decay` and not when M stalls. What leaves [-1, 1] is cut off in samples, not in training.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        latent: Dimensions of the noise z, uniform(-1, 1), and of the autoencoder's code.
        width: Channels of the generator and next to the image in the encoder, where they grow by as much with every halving.
        smallest: Sides are halved while the smaller one stays at least as long.
        depth: Convolutions at each size of the maps, in both players.
        widen: The encoder's channels grow after each halving (as in the paper) or before it.
        pull: Weight of the pulling-away term in the generator's loss; 0 for none.
        gamma: Diversity ratio: the error of generated images over that of real ones at equilibrium.
        gain: Rate (lambda) at which k follows the balance.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
    """

    paper: ClassVar[str] = "arXiv:1703.10717"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "began-paper": {"width": 128, "smallest": 8, "depth": 2, "pull": 0.0, "gamma": 0.5, "gain": 0.001, "lr": 1e-4}
    }
    formerly: ClassVar[dict] = {"smallest": 4, "depth": 2, "widen": "before", "pull": 0.0}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 16, "ema": 0.999, "warmup": 0.02, "decay": "linear"}
    preset_defaults: ClassVar[dict] = {"began-paper": {"warmup": 0.0}}
    averaged: ClassVar[tuple[str, ...]] = ("k",)
    k: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 64,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        smallest: Annotated[int, Field(ge=2, le=64)] = 14,
        depth: Annotated[int, Field(ge=1, le=8)] = 1,
        widen: Literal["after", "before"] = "after",
        pull: Annotated[float, Field(ge=0, le=100)] = 0.4,
        gamma: Annotated[float, Field(gt=0, le=1)] = 1.0,
        gain: Annotated[float, Field(gt=0, le=1)] = 0.1,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        check_sides(shape, "began")
        self.latent_size, self.gamma, self.gain = latent, gamma, gain
        self.lr, self.betas = lr, (beta1, 0.999)
        self.pull = pull
        self.G = Decoder(shape, latent, width, smallest, depth)
        encoder = Encoder(shape, latent, width, smallest, depth, widen == "before")
        self.D = nn.Sequential(encoder, Decoder(shape, latent, width, smallest, depth))
        xavier_init(self)
        self.register_buffer("k", torch.zeros(()))

    optimizers = adam_for_each

    def error(self, x: Tensor) -> Tensor:
        """Return L, the mean absolute error of D's reconstruction of images [B, C, H, W]."""
        return (x - self.D(x)).abs().mean()

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Let D lower L(x) − k L(G(z_D)) and G lower L(G(z_G)) and the likeness of its images, and k follow the balance of the two errors."""
        x = batch["image"]
        with torch.no_grad():
            fake = self.G(self._draw(len(x)))
        on_real = self.error(x)
        update("d", on_real - self.k * self.error(fake))
        fake = self.G(self._draw(len(x)))
        codes = self.D[0](fake)
        on_fake, alike = (fake - self.D[1](codes)).abs().mean(), pulling_away(codes)
        update("g", on_fake + self.pull * alike if self.pull else on_fake)

        balance = (self.gamma * on_real - on_fake).detach()
        self.k.copy_((self.k + self.gain * mean_over_ranks(balance)).clamp(0, 1))
        return {
            "m": on_real.detach() + balance.abs(),
            "real_error": on_real.detach(),
            "fake_error": on_fake.detach(),
            "k": self.k.clone(),
            "alike": alike.detach(),
        }

    _draw = latent.uniform
    sample_prior = latent.sample_prior

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents [n, latent]."""
        return self.G(z).clamp(-1, 1).contiguous()

    sample = latent.sample
