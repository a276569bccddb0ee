"""Flow of learned channel rotations and affine couplings, at several scales; its codes of images can be mixed and moved.

Glow (Kingma & Dhariwal 2018). One step is an activation norm, an invertible 1x1 convolution and an affine coupling; after
each scale half of the values leave, scored by a normal whose mean and scale the other half gives.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.nn import latent
from genzoo.nn.flow import methods as flow
from genzoo.nn.flow.bijections import (
    ActNorm,
    Chain,
    ChannelCoupling,
    LULinear,
    MaskedCoupling,
    answer,
    logit,
    squeeze,
    unlogit,
    unsqueeze,
    widened,
)
from genzoo.nn.flow.residual import DenseNet
from genzoo.nn.layout import pointwise
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import constant_then_cosine
from genzoo.nn.whitening import Unscaled, Whitening, calibrate_points, finish_points_calibration, points_unscaled


class Glow(System):
    """Multi-scale flow of (activation norm, invertible 1x1 convolution, affine coupling) steps with a standard normal prior.

    Table 1 and figure 2 of arXiv:1807.03039: at each of L scales a squeeze, K steps, and half of the channels leave. What
    leaves is standardized by a normal that what stays predicts (section 3.6 of arXiv:1605.08803, as in Glow's code); that
    is one more affine bijection, so all of z is N(0, I), and `encode` and temperature act on all of it. The 1x1
    convolutions are in LU form (equation 10 and 11) and start as random rotations.

    The image goes through y = logit(α + (1 - 2α)·u) first, as in Real NVP, and the log-scale of a coupling is bounded
    by a learned range. With `authors` it is as in Glow's code: y = u - 1/2, couplings (x + t)·sigmoid(s + 2), and mean and
    scale of what is left after the last scale given by a convolution of zeros, which sees the border.

    Points go through K · L steps with a linear map of the coordinates in the place of the convolution.

    Args:
        shape: Channels, height and width of the images, or the dimension of points.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        scales: Resolutions, L; height and width must be divisible by 2^L. Points have one.
        steps_per_scale: Steps at each scale, K.
        width: Feature maps of the nets inside the couplings (points: hidden units).
        coupling: What a coupling does: affine, or additive, which keeps volumes (section 3.3). For images only.
        authors: Range of images, scales of couplings and the last prior as in the authors' code. For images only.
        alpha: Keeps the logit finite at black and white.
        lr: Learning rate of Adam; constant for the first half, then a cosine to zero.
    """

    paper = "arXiv:1807.03039"
    data = "image"
    presets = {"glow-paper": {"scales": 3, "steps_per_scale": 32, "width": 512, "lr": 1e-3}}
    tiny = {"shape": (1, 8, 8), "scales": 2, "steps_per_scale": 2, "width": 8}
    defaults = {"steps": 50000, "batch": 32, "ema": 0.999, "clip": 10.0, "warmup": 0.02}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"
    shape: tuple[int, ...]
    is_image: bool
    scale: Whitening | Unscaled

    def __init__(
        self,
        shape: tuple[int, ...] = (3, 32, 32),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        scales: Annotated[int, Field(ge=1, le=8)] = 2,
        steps_per_scale: Annotated[int, Field(ge=1, le=128)] = 8,
        width: Annotated[int, Field(ge=1, le=2048)] = 64,
        coupling: Literal["affine", "additive"] = "affine",
        authors: bool = False,
        alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
    ) -> None:
        super().__init__()
        flow.take_data(self, shape, levels, "glow", least=2)
        self.alpha, self.lr, self.authors = alpha, lr, authors
        if self.is_image:
            flow.check_scales(self.shape, scales, scales, "glow")
            self.flow: Chain | MultiScale = MultiScale(
                self.shape, scales, steps_per_scale, width, coupling=coupling, authors=authors
            )
        elif authors or coupling == "additive":
            raise UserError("authors=true and coupling=additive are for images; points have affine couplings")
        else:
            self.flow = _point_flow(shape[0], scales * steps_per_scale, width)

    # ---- learning --------------------------------------------------------------------------------------------------

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration
    optimizers = one_adam
    lr_scale = constant_then_cosine
    loss = flow.loss

    # ---- the map ---------------------------------------------------------------------------------------------------

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data (images: dequantized to [0, 1]) to (z [B, D], log|det dz/du| [B]).

        Outside of training everything but the nets is carried in float64; what goes in and comes out stays float32.
        """
        y = u if self.training else widened(u)
        y, log_slope = self._inwards(y)
        z, log_det = self.flow(y)
        return z.to(u.dtype), (log_slope + log_det).to(u.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1] by what α leaves open."""
        y = self.flow.inverse(widened(z))
        if self.authors:
            return (y + 0.5).to(z.dtype)
        return (unlogit(y, self.alpha) if self.is_image else self.scale.inverse(y)).to(z.dtype)

    def _inwards(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the flow is given and the log-determinants of that, [B]."""
        if self.authors:
            return y - 0.5, y.new_zeros(y.shape[0])
        return logit(y, self.alpha) if self.is_image else self.scale(y)

    # ---- use -------------------------------------------------------------------------------------------------------

    log_density = flow.log_density
    log_prob = flow.log_prob
    encode = flow.encode
    decode = flow.decode
    _draw = latent.normal
    sample_prior = latent.sample_prior
    sample = latent.sample_at_temperature
    jacobian_condition = flow.jacobian_condition


class EdgeConv2d(nn.Module):
    """3x3 convolution that starts at zero and is told where the image ends, with a gain exp(3·g) on each output.

    The border is padded with zeros, and one more input channel is 1 there and 0 inside.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs + 1, outputs, 3)
        self.log_gain = nn.Parameter(torch.zeros(outputs, 1, 1))
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        gain, bias = (3 * self.log_gain).exp(), self.conv.bias
        assert bias is not None
        weight, told = (self.conv.weight * gain[:, None]).split([x.shape[1], 1], 1)
        # What the border's channel adds is the same for all examples: a sum over those of a pixel's nine neighbours that lie outside.
        outside = 1 - F.unfold(x.new_ones(1, 1, *x.shape[2:]), 3, padding=1)[0].T
        border = F.linear(outside, told.flatten(1), bias * gain.flatten())
        border = border.view(1, *x.shape[2:], -1).permute(0, 3, 1, 2)
        return F.conv2d(x, weight, padding=1) + border if x.shape[1] else border.expand(len(x), -1, -1, -1)


class Net(nn.Module):
    """The net inside a coupling: 3x3, 1x1 and a last 3x3 convolution, the first two with activation norm and ReLU (section B)."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 1, bias=False)
        self.norms = nn.ModuleList([ActNorm(width), ActNorm(width)])
        self.last = EdgeConv2d(width, outputs)
        for conv in (self.first, self.second):
            nn.init.normal_(conv.weight, 0.0, 0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        x = torch.relu(self.norms[0](self.first(x))[0])
        x = torch.relu(self.norms[1](pointwise(x, self.second.weight))[0])
        return self.last(x)


class AuthorsCoupling(nn.Module):
    """Coupling of Glow's code: the second half becomes (x + t)·sigmoid(s + 2), or x + t, with s and t from the first half.

    Args:
        net: From C/2 to C channels (s and t), or to C/2 (t).
        additive: Only move, by t.
    """

    def __init__(self, net: nn.Module, *, additive: bool) -> None:
        super().__init__()
        self.net, self.additive = net, additive

    def _scale_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        found = answer(self.net, kept)
        if self.additive:
            return torch.zeros_like(found), found
        raw, shift = found.chunk(2, 1)
        return F.logsigmoid(raw + 2), shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        kept, changed = x.chunk(2, 1)
        log_scale, shift = self._scale_shift(kept)
        return torch.cat([kept, (changed + shift) * log_scale.exp()], 1), log_scale.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        kept, changed = y.chunk(2, 1)
        log_scale, shift = self._scale_shift(kept)
        return torch.cat([kept, changed * (-log_scale).exp() - shift], 1)


class Top(nn.Module):
    """Standardize by a mean and a scale for each channel and each way of lying at the border: a convolution of zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = EdgeConv2d(0, 2 * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (y, log_det)."""
        mean, log_std = answer(self.net, x[:, :0]).chunk(2, 1)
        return (x - mean) * (-log_std).exp(), -log_std.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x."""
        mean, log_std = answer(self.net, y[:, :0]).chunk(2, 1)
        return y * log_std.exp() + mean


class Split(nn.Module):
    """Half of the channels leave, standardized by a mean and a scale that the other half gives."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = EdgeConv2d(channels // 2, channels)

    def _moments(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = answer(self.net, kept).chunk(2, 1)
        return mean, log_std

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (what stays, what leaves, log_det)."""
        kept, leaving = x.chunk(2, 1)
        mean, log_std = self._moments(kept)
        return kept, (leaving - mean) * (-log_std).exp(), -log_std.flatten(1).sum(1)

    def inverse(self, kept: Tensor, left: Tensor) -> Tensor:
        """Put together again what `forward` took apart."""
        mean, log_std = self._moments(kept)
        return torch.cat([kept, left * log_std.exp() + mean], 1)


class MultiScale(nn.Module):
    """Figure 2b: y [B, C, H, W] to z [B, C·H·W], what left first in front."""

    levels: Any  # a ModuleList of Chains
    splits: Any  # a ModuleList of Splits

    def __init__(
        self, shape: tuple[int, ...], scales: int, steps: int, width: int, *, coupling: str = "affine", authors: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        additive = coupling == "additive"

        def coupled(c: int) -> nn.Module:
            net = Net(c // 2, c // 2 if additive else c, width)
            return AuthorsCoupling(net, additive=additive) if authors or additive else ChannelCoupling(net, c)

        c, h, w = shape
        self.shapes: list[tuple[int, int, int]] = []  # of what leaves at each scale
        self.levels, self.splits = nn.ModuleList(), nn.ModuleList()
        for scale in range(scales):
            c, h, w = 4 * c, h // 2, w // 2
            parts: list[nn.Module] = []
            for _ in range(steps):
                parts += [ActNorm(c), LULinear(c, rotate=True), coupled(c)]
            if scale < scales - 1:
                self.splits.append(Split(c))
                c //= 2
            else:
                parts.append(Top(c) if authors else ActNorm(c))  # the learned mean and scale of the last scale's prior
            self.levels.append(Chain(*parts))
            self.shapes.append((c, h, w))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det)."""
        total, left = y.new_zeros(y.shape[0]), []
        for i, level in enumerate(self.levels):
            y, log_det = level(squeeze(y))
            total = total + log_det
            if i < len(self.splits):
                y, out, log_det = self.splits[i](y)
                total = total + log_det
                left.append(out.flatten(1))
        return torch.cat([*left, y.flatten(1)], 1), total

    def inverse(self, z: Tensor) -> Tensor:
        """Return y."""
        parts = z.split([math.prod(s) for s in self.shapes], 1)
        parts = [p.unflatten(1, s) for p, s in zip(parts, self.shapes, strict=True)]
        y = parts[-1]
        for i in reversed(range(len(self.levels))):
            if i < len(self.splits):
                y = self.splits[i].inverse(y, parts[i])
            y = unsqueeze(self.levels[i].inverse(y))
        return y


def _point_flow(dims: int, steps: int, width: int) -> Chain:
    parts: list[nn.Module] = []
    mask = (torch.arange(dims) % 2).float()[None]
    for _ in range(steps):
        coupling = MaskedCoupling(DenseNet(dims, 2 * dims, width, 2), mask.clone(), dims)
        parts += [ActNorm(dims), LULinear(dims, rotate=True), coupling]
    return Chain(*parts)
