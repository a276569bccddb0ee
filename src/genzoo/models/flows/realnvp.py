"""Invertible net of affine couplings: exact density, sampling and encoding in one pass each.

Real NVP (Dinh, Sohl-Dickstein & Bengio 2017). A coupling leaves half of its input alone and scales and shifts the
other half by functions of the first, so its inverse and its log-determinant cost no more than itself. Images go
through checkerboard masks, squeezes and channel masks at several scales, and half of the values leave at every scale.
Points go through plain couplings.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.system import System
from genzoo.nn import latent
from genzoo.nn.flow import methods as flow
from genzoo.nn.flow.bijections import (
    ActNorm,
    Chain,
    ChannelCoupling,
    MaskedCoupling,
    checkerboard,
    logit,
    squeeze,
    unlogit,
    unsqueeze,
    widened,
)
from genzoo.nn.flow.residual import DenseNet, ResidualNet
from genzoo.nn.schedules import constant_then_cosine
from genzoo.nn.whitening import Unscaled, Whitening, calibrate_points, finish_points_calibration, points_unscaled


class RealNVP(System):
    """Flow of affine couplings with a standard normal prior.

    Trained on the exact log-density of uniformly dequantized images, in bits per dimension, after y = logit(α + (1 -
    2α)·u) (section 4.1 of arXiv:1605.08803; the paper prints 1 - α, its code has 1 - 2α, which treats black and white
    alike). Points are scored in their own units, in nats.

    Where the paper puts batch normalization, an activation norm stands (shift and scale set by the first batch, then
    learned), so that training, evaluation and single images all use the same map. Each scale is three checkerboard
    couplings, squeeze, three channel couplings, factor out half; the last scale is four checkerboard couplings
    (section 3.6).

    Args:
        shape: Channels, height and width of the images, or the dimension of points.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        scales: Resolutions; height and width must be divisible by 2^(scales - 1). Points have one.
        couplings: Couplings of each kind at each scale, one more at the last; points go through four times as many.
        width: Feature maps (images) or hidden units (points) of the nets inside the couplings.
        blocks: Residual blocks (images) or hidden layers (points) of those nets.
        fold: Nets of checkerboard couplings see 2x2 blocks as channels, where sizes are even: four times faster; the
            paper has none.
        widen: Double the feature maps at every further scale, as the paper does.
        alpha: Keeps the logit finite at black and white.
        weight_decay: L2 penalty on the gains of weight-normalized layers.
        lr: Learning rate of Adam.
    """

    paper = "arXiv:1605.08803"
    data = "image"
    presets = {"realnvp-paper": {"scales": 2, "width": 64, "blocks": 8, "fold": False, "widen": True, "lr": 1e-3}}
    tiny = {"shape": (1, 8, 8), "width": 8, "blocks": 1, "couplings": 2}
    defaults = {"steps": 50000, "batch": 32, "ema": 0.999, "clip": 10.0, "warmup": 0.01}
    likelihood: ClassVar[str] = "images: lower bound, uniform dequantisation with one draw; points: exact"
    shape: tuple[int, ...]
    is_image: bool
    scale: Whitening | Unscaled

    def __init__(
        self,
        shape: tuple[int, ...] = (3, 32, 32),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        scales: Annotated[int, Field(ge=1, le=7)] = 2,
        couplings: Annotated[int, Field(ge=1, le=32)] = 3,
        width: Annotated[int, Field(ge=1, le=1024)] = 24,
        blocks: Annotated[int, Field(ge=1, le=32)] = 2,
        fold: bool = True,
        widen: bool = False,
        alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 5e-5,
        lr: Annotated[float, Field(gt=0, le=1)] = 5e-3,
    ) -> None:
        super().__init__()
        flow.take_data(self, shape, levels, "realnvp", least=2)
        self.alpha, self.lr, self.weight_decay = alpha, lr, weight_decay
        if self.is_image:
            flow.check_scales(self.shape, scales, scales - 1, "realnvp")
            self.flow: Chain | MultiScale = MultiScale(
                self.shape, scales, couplings, width, blocks, fold=fold, widen=widen
            )
        else:
            self.flow = _point_flow(shape[0], 4 * couplings, width, blocks)

    # ---- learning --------------------------------------------------------------------------------------------------

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam, with the penalty on the gains only."""
        gains = [p for name, p in self.named_parameters() if name.endswith(".gain")]
        others = [p for name, p in self.named_parameters() if not name.endswith(".gain")]
        groups: Any = [{"params": others}, *([{"params": gains, "weight_decay": self.weight_decay}] if gains else [])]
        return {"model": Adam(groups, lr=self.lr)}

    lr_scale = constant_then_cosine
    loss = flow.loss

    # ---- the map ---------------------------------------------------------------------------------------------------

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map continuous data (images: dequantized to [0, 1]) to (z [B, D], log|det dz/du| [B]).

        Outside of training everything but the nets is carried in float64; what goes in and comes out stays float32.
        """
        y = u if self.training else widened(u)
        y, log_slope = logit(y, self.alpha) if self.is_image else self.scale(y)
        z, log_det = self.flow(y)
        return z.to(u.dtype), (log_slope + log_det).to(u.dtype)

    def inverse(self, z: Tensor) -> Tensor:
        """Map z [B, D] back to continuous data; images may leave [0, 1] by what α leaves open."""
        y = self.flow.inverse(widened(z))
        return (unlogit(y, self.alpha) if self.is_image else self.scale.inverse(y)).to(z.dtype)

    # ---- use -------------------------------------------------------------------------------------------------------

    log_density = flow.log_density
    log_prob = flow.log_prob
    encode = flow.encode
    decode = flow.decode
    _draw = latent.normal
    sample_prior = latent.sample_prior
    sample = latent.sample_at_temperature
    jacobian_condition = flow.jacobian_condition


class MultiScale(nn.Module):
    """The multi-scale architecture of section 3.6: y [B, C, H, W] to z [B, C·H·W], what left first in front."""

    board: Any  # a ModuleList of Chains
    channel: Any  # a ModuleList of Chains

    def __init__(
        self, shape: tuple[int, ...], scales: int, couplings: int, width: int, blocks: int, *, fold: bool, widen: bool
    ) -> None:
        super().__init__()
        c, h, w = shape
        self.shapes: list[tuple[int, int, int]] = []  # of what leaves at each scale
        self.board, self.channel = nn.ModuleList(), nn.ModuleList()
        for scale in range(scales):
            last = scale == scales - 1
            features = width * 2**scale if widen else width
            folded = fold and h % 2 == 0 and w % 2 == 0
            self.board.append(_checkerboards(c, h, w, couplings + last, features, blocks, fold=folded))
            if last:
                self.shapes.append((c, h, w))
            else:
                c, h, w = 4 * c, h // 2, w // 2
                features = 2 * features if widen else features
                self.channel.append(_channels(c, couplings, features, blocks))
                c //= 2
                self.shapes.append((c, h, w))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return (z, log_det)."""
        total, left = y.new_zeros(y.shape[0]), []
        for i, board in enumerate(self.board):
            y, log_det = board(y)
            total = total + log_det
            if i < len(self.channel):
                y, log_det = self.channel[i](squeeze(y))
                total = total + log_det
                out, y = y.chunk(2, 1)
                left.append(out.flatten(1))
        return torch.cat([*left, y.flatten(1)], 1), total

    def inverse(self, z: Tensor) -> Tensor:
        """Return y."""
        parts = [
            p.unflatten(1, s) for p, s in zip(z.split([math.prod(s) for s in self.shapes], 1), self.shapes, strict=True)
        ]
        y = self.board[-1].inverse(parts[-1])
        for i in reversed(range(len(self.channel))):
            y = unsqueeze(self.channel[i].inverse(torch.cat([parts[i], y], 1)))
            y = self.board[i].inverse(y)
        return y


def _checkerboards(c: int, h: int, w: int, couplings: int, width: int, blocks: int, *, fold: bool) -> Chain:
    parts: list[nn.Module] = []
    for i in range(couplings):
        net = ResidualNet(c, 2 * c, width, blocks, fold=fold)
        parts += [ActNorm(c), MaskedCoupling(net, checkerboard(h, w, odd=i % 2 == 1), c)]
    return Chain(*parts)


def _channels(c: int, couplings: int, width: int, blocks: int) -> Chain:
    parts: list[nn.Module] = []
    for i in range(couplings):
        parts += [ActNorm(c), ChannelCoupling(ResidualNet(c // 2, c, width, blocks), c, second=i % 2 == 1)]
    return Chain(*parts)


def _point_flow(dims: int, couplings: int, width: int, layers: int) -> Chain:
    parts: list[nn.Module] = []
    for i in range(couplings):
        mask = (torch.arange(dims) % 2 == i % 2).float()[None]
        parts += [ActNorm(dims), MaskedCoupling(DenseNet(dims, 2 * dims, width, layers), mask, dims)]
    return Chain(*parts)
