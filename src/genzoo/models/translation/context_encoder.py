"""Inpainting by a context encoder: what surrounds a hole is encoded, and decoded into what is missing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.nn.checks import check_holes, check_multiples
from genzoo.nn.gan.dcgan import Discriminator, stages
from genzoo.nn.init import normal_init
from genzoo.nn.optimizers import adam_for_each
from genzoo.ranks.sums import mean_over_ranks

FILL = (123 / 127.5 - 1, 117 / 127.5 - 1, 104 / 127.5 - 1)
"""What stands in holes: the mean colour of ImageNet, as in the paper."""
SHARE = 0.25
"""Part of an image that holes cover, at most."""
BLOCKS = 4


class ContextEncoder(System):
    """Context encoder of Pathak et al. (2016): learns from plain images by cutting holes into them and filling these in.

    With a hole h and a band of `overlap` pixels around it, F the encoder and decoder, x̂ = F(x with h in the mean colour):

        L_rec = mean over hole and band of w (x - x̂)²,   w = 1 in the hole, `overlap_weight` in the band    (equation 1)
        D minimizes -log D(x) - log(1 - D(x̂))                                                              (equation 2)
        F minimizes (1 - `adversarial`) L_rec + `adversarial` · (-log D(x̂))                                 (equation 3)

    In the band the answer is in the input: predicting it too, with a large weight, ties the filling to what is around it. D
    sees the filling alone, and nothing of its surroundings, where the hole is the central square; with other holes it sees
    images with the filling in its place. Between encoder and decoder every map has a fully connected layer of its own, from all
    its places to all its places, and a 1 x 1 convolution mixes the maps. The generator learns ten times as fast as D.

    Deviations: strided 4 x 4 convolutions instead of AlexNet's, at any size; the decoder gives the whole image, whatever the
    hole (the paper: the central hole alone where that is the hole), so that one network completes any hole; random shapes are
    blobs of smoothed noise and not outlines of PASCAL's objects; -log D instead of log(1 - D) for F.

    Args:
        shape: Channels, height and width of an image, 16 or more a side; multiples of what the encoder halves.
        width: Channels of the first layer; they double up to 8 times this.
        d_width: Channels of the discriminator's first layer.
        hole: What is cut out in training: the central square (a quarter of the area), four random blocks, or a random shape.
        overlap: Width in pixels of the band around a hole that is predicted as well.
        overlap_weight: Weight of the squared error in that band.
        adversarial: Weight of the adversary, the rest is that of the squared error; 0 for none.
        lr: Learning rate of the generator.
        d_lr: Learning rate of the discriminator; none for a tenth of that.
        beta1: Adam's decay of the mean gradient.
    """

    paper: ClassVar[str] = "arXiv:1604.07379"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "context-encoder-l2": {"adversarial": 0.0},
        "context-encoder-block": {"hole": "block"},
        "context-encoder-shape": {"hole": "shape"},
    }
    tiny: ClassVar[dict] = {"shape": (3, 16, 16), "width": 4, "d_width": 4, "overlap": 1}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 64, "ema": 0.999}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 128, 128),
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        d_width: Annotated[int, Field(ge=4, le=512)] = 64,
        hole: Literal["centre", "block", "shape"] = "centre",
        overlap: Annotated[int, Field(ge=0, le=64)] = 4,
        overlap_weight: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        adversarial: Annotated[float, Field(ge=0, le=1)] = 0.001,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        c, h, w = shape
        halvings = min(stages(h, w), 6) if min(h, w) >= 16 else 2
        step = 2**halvings
        check_multiples(shape, step, 16, "context-encoder", " (32, 48, 64, 96, 128 do)")
        if 4 * overlap > min(h, w):
            raise UserError(f"overlap={overlap} is too wide for images of {w}x{h}; give {min(h, w) // 4} at most")
        self.shape, self.hole, self.overlap, self.overlap_weight = shape, hole, overlap, overlap_weight
        self.adversarial, self.lr, self.d_lr, self.betas = adversarial, lr, d_lr or lr / 10, (beta1, 0.999)
        self.box = tuple(slice(n // 4 - overlap, n // 4 + n // 2 + overlap) for n in (h, w))
        widths = [c, *(width * min(2**i, 8) for i in range(halvings))]
        self.G = nn.Sequential(
            *(_down(a, b, first=i == 0) for i, (a, b) in enumerate(pairwise(widths))),
            ChannelwiseLinear(widths[-1], h // step * (w // step)),
            nn.Conv2d(widths[-1], widths[-1], 1),
            nn.ReLU(inplace=True),
            *(_up(b, a, last=i == halvings - 1) for i, (a, b) in enumerate(reversed(list(pairwise(widths))))),
        )
        normal_init(self.G)
        high, wide = (s.stop - s.start for s in self.box)
        seen = (c, high, wide) if hole == "centre" else shape
        self.D = Discriminator(seen, d_width, 4, "batch", False) if adversarial else None

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Cut, fill; a step of D, then one of the generator."""
        x = batch["image"]
        hole = self.holes(x.shape[0], x.device)
        weight = self.weights(hole)
        y = self.G(cut(x, hole)).float()
        error = (weight * (y - x).square()).sum() / (mean_over_ranks((weight > 0).sum()) * x.shape[1])
        logs = {"reconstruction": error, "hole_error": (hole * (y - x).square()).sum() / (hole.sum() * x.shape[1])}
        loss = error
        if self.D is not None:
            real, fake = self._shown(x, x, hole), self._shown(y, x, hole)
            logs["d_loss"] = discriminator_loss("non-saturating", self.D(real), self.D(fake.detach()))
            update("d", logs["d_loss"])
            logs["g_adversarial"] = generator_loss("non-saturating", self.D(fake))
            loss = (1 - self.adversarial) * error + self.adversarial * logs["g_adversarial"]
        update("g", loss)
        return {k: v.detach() for k, v in logs.items()}

    def _shown(self, y: Tensor, x: Tensor, hole: Tensor) -> Tensor:
        """Return what D sees of a filling: the central part alone, or the image with it."""
        if self.hole == "centre":
            return y[:, :, self.box[0], self.box[1]]
        return torch.where(hole, y, x)

    def holes(self, n: int, device: torch.device) -> Tensor:
        """Draw what is cut out of `n` images, bool [n, 1, H, W]: True is missing. Never more than a quarter of an image."""
        _, h, w = self.shape
        if self.hole == "centre":
            hole = torch.zeros(n, 1, h, w, dtype=torch.bool, device=device)
            hole[:, :, h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2] = True
            return hole
        if self.hole == "block":
            tall, wide = h // 4, w // 4
            top = torch.randint(0, h - tall + 1, (n, BLOCKS, 1, 1), device=device)
            left = torch.randint(0, w - wide + 1, (n, BLOCKS, 1, 1), device=device)
            y, x = torch.arange(h, device=device)[:, None], torch.arange(w, device=device)
            inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
            return inside.any(1, keepdim=True)
        coarse = torch.randn(n, 1, 6, 6, device=device)
        smooth = F.interpolate(coarse, (h, w), mode="bicubic", align_corners=False).flatten(1)
        keep = smooth.kthvalue(math.ceil((1 - SHARE) * h * w), 1, keepdim=True).values
        return (smooth > keep).view(n, 1, h, w)

    def weights(self, hole: Tensor) -> Tensor:
        """Return the weights of the squared error, float32 [B, 1, H, W]: 1 in the hole, `overlap_weight` in the band around it, 0 elsewhere."""
        if not self.overlap:
            return hole.float()
        near = F.max_pool2d(hole.float(), 2 * self.overlap + 1, 1, self.overlap)
        return hole.float() + self.overlap_weight * (near - hole.float())

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, *, generator: Generator) -> Tensor:
        """Return `x` with the unknown pixels filled in; there is one answer, `generator` is not used.

        Raises:
            UserError: Image or mask is of another size, or the mask leaves nothing.
        """
        check_holes(x, known, self.shape)
        return torch.where(known, x, self.G(cut(x, ~known)).float())


def cut(x: Tensor, hole: Tensor) -> Tensor:
    """Return images [B, C, H, W] with the mean colour where `hole` [B, 1, H, W] is True; its mean gray unless C is 3."""
    colour = FILL if x.shape[1] == 3 else (sum(FILL) / 3,)
    return torch.where(hole, torch.tensor(colour, device=x.device).view(1, -1, 1, 1), x)


class ChannelwiseLinear(nn.Module):
    """A fully connected layer for every map by itself (section 3.1): m · n⁴ weights for m maps of n x n places, not m² · n⁴.

    Args:
        channels: Maps.
        places: Places of a map.
    """

    def __init__(self, channels: int, places: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, places, places) / math.sqrt(places))
        self.bias = nn.Parameter(torch.zeros(channels, places, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] to its like: y_c = W_c x_c + b_c."""
        flat = x.flatten(2).permute(1, 2, 0)
        return (
            torch.baddbmm(self.bias.to(flat.dtype), self.weight.to(flat.dtype), flat).permute(2, 0, 1).reshape(x.shape)
        )


def _down(inputs: int, outputs: int, *, first: bool) -> nn.Sequential:
    norm = [] if first else [nn.BatchNorm2d(outputs)]
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=first), *norm, nn.LeakyReLU(0.2, inplace=True))


def _up(outputs_before: int, outputs: int, *, last: bool) -> nn.Sequential:
    end: list[nn.Module] = [nn.Tanh()] if last else [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(nn.ConvTranspose2d(outputs_before, outputs, 4, 2, 1, bias=last), *end)
