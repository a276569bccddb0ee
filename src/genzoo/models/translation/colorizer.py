"""Colourization as classification: every pixel gets a distribution over 313 colours, and rare colours count more."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn.checks import check_direction, check_multiples
from genzoo.nn.colour import lab_to_rgb, rgb_to_lab
from genzoo.nn.layout import Pointwise
from genzoo.nn.resampling import bicubic
from genzoo.ranks.sums import sum_over_ranks

GRID = 10
"""Distance of neighbouring colours in Lab."""
NEIGHBOURS = 5
"""Colours that a true colour is shared out among."""
CELLS, CANDIDATES = 26, 32
"""Cells of the grid to a side, from -130 on, and colours that can be among the nearest of what lies in one."""
FURTHER = ((40, 90), (100, -90), (100, -10), (100, 0))
"""Colours at the rim of the gamut that the paper's 313 have beside the corners of the cells that sRGB reaches."""
AB = 110.0
"""Scale of ab where it is regressed."""
Temperature = Annotated[float, Field(gt=0, le=10)]
"""T of the annealed mean."""


@functools.cache
def colours(steps: int = 255) -> Tensor:
    """Return the 313 colours of the paper, (a, b) on a grid of 10, float32 [313, 2], in the order of a, then b.

    309 of them are the corners of the 10 x 10 cells that sRGB reaches at any lightness, found on the surface of the sRGB cube,
    `steps` to an edge (255: all 8-bit colours there); four more are named in `FURTHER`.
    """
    level = torch.linspace(-1, 1, steps + 1)
    u, v = (t.flatten() for t in torch.meshgrid(level, level, indexing="ij"))
    faces = []
    for axis in range(3):
        for end in (-1.0, 1.0):
            face = [u, v]
            face.insert(axis, torch.full_like(u, end))
            faces.append(torch.stack(face))
    ab = rgb_to_lab(torch.cat(faces, 1).view(1, 3, 1, -1))[1][0, :, 0]
    a, b = (ab / GRID).floor().long() + 100
    numbers = (1000 * a + b).unique()
    cells = torch.stack([numbers // 1000, numbers % 1000], 1) - 100.0
    corners = torch.cat([cells + torch.tensor([i, j]) for i in (0.0, 1.0) for j in (0.0, 1.0)])
    return torch.cat([corners * GRID, torch.tensor(FURTHER, dtype=torch.float32)]).unique(dim=0)


@functools.cache
def candidates() -> Tensor:
    """Return the colours that may be among the 5 nearest of a place in each 10 x 10 cell of ab, numbers, int64 [26 · 26, 32].

    The fifth nearest is nowhere in a cell further away than the fifth smallest of the greatest distances; what is never that near is left out.
    """
    low = GRID * (torch.arange(CELLS) - CELLS // 2.0)
    corner = torch.cartesian_prod(low, low)[:, None]
    apart = colours() - corner  # [cells, Q, 2]
    least = (apart.clamp(max=0).abs() + (apart - GRID).clamp(min=0)).norm(dim=2)
    greatest = torch.maximum(apart.abs(), (apart - GRID).abs()).norm(dim=2)
    within = greatest.topk(NEIGHBOURS, largest=False).values[:, -1:]
    assert int((least <= within).sum(1).max()) <= CANDIDATES
    return least.topk(CANDIDATES, largest=False).indices


class Colorizer(System):
    """Colourization of Zhang, Isola & Efros (2016): from lightness L to a distribution over quantized colours ab.

    Z is the true colour of a place, as weights of its 5 nearest of the Q = 313 colours, proportional to a Gaussian of their
    distances with σ = 5; p̃ is how often every colour is the nearest one in the training data so far, smoothed by the same
    Gaussian over the colours; q* is the nearest colour. The network's Ẑ minimizes (equations 2 to 4)

        -mean over places of v(Z) Σ_q Z_q log Ẑ_q,     v(Z) = w_q*,     w ∝ ((1 - λ) p̃ + λ / Q)^-1,     Σ_q p̃_q w_q = 1

    with λ = `rebalance`. The colour that is shown is the annealed mean of Ẑ: Ẑ^(1/T), normalized, times the colours, T =
    `temperature` (equation 5). The preset `colorizer-l2` regresses ab instead: the squared error of equation 1, halved.

    The lightness of what is given is kept: where a colour does not exist at it, it is made paler until it does.

    Deviations: ab is averaged over the pixels that an output place stands for; the data's colour statistics are gathered while
    training, not before it; Adam's rate starts ten times as high and falls linearly to 0 (the preset `colorizer-paper` has the
    paper's 3e-5 and its two steps down, of 450,000 in all); sizes are arguments (the paper: 256 pixels, width 64, 3 halvings,
    3 convolutions, weight decay 0.001); batch norm has a scale and a shift, as in the authors' later program.

    Args:
        shape: Channels (3), height and width of the training images; sides are multiples of 2 to the power of `halvings`.
        width: Channels of the first stage; they double with every halving.
        halvings: Stages that halve the sides; colours are predicted at half of the last stage's coarseness: 1/4 of the size with 3.
        convolutions: Convolutions in each of the four blocks at the coarsest size, of which two are dilated.
        objective: Classification over colours, or regression of ab (l2).
        rebalance: λ: 1 treats all colours alike, as if all were equally frequent; 0 weighs by the inverse frequency alone.
        rare: Weigh colours by their rarity at all.
        temperature: T of the annealed mean where none is asked for; 1 is the mean, near 0 the mode. It has no part in the loss.
        lr: Learning rate at the start.
        schedule: Linearly to 0, or the paper's steps: a third of it after 4/9 of the run and a tenth after 5/6.
        weight_decay: Of Adam.
    """

    paper: ClassVar[str] = "arXiv:1603.08511"
    data: ClassVar[str] = "image"
    directions: ClassVar[tuple[str, ...]] = ("colorize",)
    scale: ClassVar[int] = 1
    local: ClassVar[bool] = False
    presets: ClassVar[dict] = {
        "colorizer-l2": {"objective": "l2"},
        "colorizer-paper": {"lr": 3e-5, "schedule": "steps"},
        "colorizer-plain": {"rare": False},
        "colorizer-small": {"width": 32, "halvings": 2, "convolutions": 1},
    }
    tiny: ClassVar[dict] = {"shape": (3, 8, 8), "width": 4, "halvings": 2, "convolutions": 1}
    defaults: ClassVar[dict] = {"steps": 100000, "batch": 40, "ema": 0.999}
    colours: Tensor
    candidates: Tensor
    smoothing: Tensor
    running_colours: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 256, 256),
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        halvings: Annotated[int, Field(ge=1, le=4)] = 3,
        convolutions: Annotated[int, Field(ge=1, le=8)] = 3,
        objective: Literal["classification", "l2"] = "classification",
        rebalance: Annotated[float, Field(ge=0, le=1)] = 0.5,
        rare: bool = True,
        temperature: Temperature = 0.38,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-4,
        schedule: Literal["linear", "steps"] = "linear",
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-3,
    ) -> None:
        super().__init__()
        step = 2**halvings
        if shape[0] != 3:
            raise UserError(f"images of {shape[0]} channels have no colours to learn; give colour images (channels=3)")
        check_multiples(shape, step, step, f"colorizer with halvings={halvings}")
        self.shape, self.objective, self.rebalance, self.rare = shape, objective, rebalance, rare
        self.schedule = schedule
        self.temperature, self.lr, self.weight_decay, self.coarse = temperature, lr, weight_decay, step // 2
        bins = colours()
        self.register_buffer("colours", bins, persistent=False)
        self.register_buffer("candidates", candidates(), persistent=False)
        self.register_buffer("smoothing", _gaussian(torch.cdist(bins, bins)), persistent=False)
        self.register_buffer("running_colours", torch.zeros(len(bins)))
        widths = [1, *(width * 2**i for i in range(halvings))]
        stages = [layer for i, (a, b) in enumerate(pairwise(widths)) for layer in _stage(a, b, 2 + (i > 1))]
        middle, last = 2 * widths[-1], widths[-1]
        blocks = [
            layer
            for a, dilation in ((last, 1), (middle, 2), (middle, 2), (middle, 1))
            for layer in _block(a, middle, convolutions, dilation)
        ]
        self.net = nn.Sequential(
            *stages,
            *blocks,
            nn.ConvTranspose2d(middle, last, 4, 2, 1),
            nn.ReLU(inplace=True),
            *_block(last, last, 2, 1, norm=False),
            Pointwise(last, len(bins) if objective == "classification" else 2, 1),
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one Adam."""
        return {"model": Adam(self.parameters(), lr=self.lr, betas=(0.9, 0.99), weight_decay=self.weight_decay)}

    def lr_scale(self, progress: float) -> float:
        """Fall linearly from 1 to 0, or in steps to a third and a tenth."""
        if self.schedule == "steps":
            return 1.0 if progress < 4 / 9 else 1 / 3 if progress < 5 / 6 else 0.1
        return 1 - progress

    def loss(self, batch: Batch) -> Logs:
        """Return the weighted cross-entropy of colours, or half the squared error of ab / 110."""
        lightness, ab = rgb_to_lab(batch["image"])
        wanted = F.avg_pool2d(ab, self.coarse) if self.coarse > 1 else ab
        out = self.net(lightness / 50 - 1).float()
        with torch.no_grad():
            shown = out if self.objective == "l2" else self.annealed_mean(out) / AB
            chroma = AB * shown.square().sum(1).sqrt().mean() / wanted.square().sum(1).sqrt().mean().clamp(min=1e-6)
        if self.objective == "l2":
            loss = 0.5 * (out - wanted / AB).square().sum(1).mean()
            return {"loss": loss, "chroma_ratio": chroma}
        truth = wanted.permute(0, 2, 3, 1).reshape(-1, 2)
        logits = out.permute(0, 2, 3, 1).reshape(-1, len(self.colours))
        index, share = self.encode_softly(truth)
        nearest = index[:, 0]
        if self.training:
            self.running_colours += sum_over_ranks(torch.bincount(nearest, minlength=len(self.colours)))
        entropy = -(share * logits.log_softmax(1).gather(1, index)).sum(1)
        weights = self.weights()[nearest] if self.rare else torch.ones_like(entropy)
        return {"loss": (weights * entropy).mean(), "cross_entropy": entropy.mean().detach(), "chroma_ratio": chroma}

    def encode_softly(self, ab: Tensor, sigma: float = 5.0) -> tuple[Tensor, Tensor]:
        """Return the nearest colours of ab [N, 2], int64 [N, 5], nearest first, and their weights [N, 5], which add to 1."""
        with torch.autocast(ab.device.type, enabled=False):
            a, b = (ab.float() / GRID).floor().long().add(CELLS // 2).clamp(0, CELLS - 1).unbind(1)
            among = self.candidates[CELLS * a + b]
            distance = (self.colours[among] - ab.float()[:, None]).square().sum(2)
        near, which = distance.topk(NEIGHBOURS, largest=False)
        return among.gather(1, which), (-near / (2 * sigma**2)).softmax(1)

    def weights(self) -> Tensor:
        """Return the weight of every colour by its rarity, [Q], with mean 1 over the training data so far."""
        with torch.autocast(self.running_colours.device.type, enabled=False):
            p = self.running_colours / self.running_colours.sum().clamp(min=1)
            p = p @ self.smoothing
            if not self.running_colours.any():
                p = torch.full_like(p, 1 / len(p))
            w = 1 / ((1 - self.rebalance) * p + self.rebalance / len(p)).clamp(min=1e-8)
            return w / (p * w).sum()

    def annealed_mean(self, logits: Tensor, temperature: float | None = None) -> Tensor:
        """Return ab [B, 2, h, w] of logits [B, Q, h, w], at the system's own temperature when none is given."""
        with torch.autocast(logits.device.type, enabled=False):
            share = (logits.float().permute(0, 2, 3, 1) / (temperature or self.temperature)).softmax(3)
            return (share @ self.colours).permute(0, 3, 1, 2)

    # ---- using -----------------------------------------------------------------------------------------------------------------

    def degrade(self, x: Tensor) -> Tensor:
        """Return gray images [B, 1, H, W] in [-1, 1] of the same lightness."""
        lightness, ab = rgb_to_lab(x)
        return lab_to_rgb(lightness, torch.zeros_like(ab)).mean(1, keepdim=True)

    @torch.no_grad()
    def translate(self, x: Tensor, *, direction: str = "colorize", temperature: Temperature | None = None) -> Tensor:
        """Return images [B, 3, H, W] with the lightness of `x` [B, 1 or 3, H, W], any size, and the network's colours.

        The network sees the image at the size that it was trained at (the shorter side; proportions stay), and its colours are
        enlarged.

        Args:
            x: Gray or colour images in [-1, 1].
            direction: colorize, the only one.
            temperature: T of the annealed mean: below the system's own bolder colours, above it paler ones; its own when not given.

        Raises:
            UserError: The direction is not colorize, or a temperature is given to a system that regresses colours.
        """
        check_direction(direction, self.directions)
        if temperature is not None and self.objective == "l2":
            raise UserError(
                "temperature= is of a distribution of colours, and objective=l2 predicts none; leave it out"
            )
        lightness, _ = rgb_to_lab(x)
        step = 2 * self.coarse
        share = max(n / m for n, m in zip(self.shape[1:], x.shape[2:], strict=True))
        size = [max(step, round(n * share / step) * step) for n in x.shape[2:]]
        out = self.net(bicubic(lightness, *size) / 50 - 1).float()
        ab = AB * out if self.objective == "l2" else self.annealed_mean(out, temperature)
        return lab_to_rgb(lightness, F.interpolate(ab, x.shape[2:], mode="bilinear", align_corners=False))


def _gaussian(distance: Tensor, sigma: float = 5.0) -> Tensor:
    """Return weights that fall with the distance, every row with the sum 1."""
    w = (-distance.square() / (2 * sigma**2)).exp()
    return w / w.sum(1, keepdim=True)


def _stage(inputs: int, outputs: int, convolutions: int) -> list[nn.Module]:
    """Return convolutions, of which the last halves the sides, and batch norm."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        stride = 2 if i == convolutions - 1 else 1
        layers += [nn.Conv2d(inputs if i == 0 else outputs, outputs, 3, stride, 1), nn.ReLU(inplace=True)]
    return [*layers, nn.BatchNorm2d(outputs)]


def _block(inputs: int, outputs: int, convolutions: int, dilation: int, *, norm: bool = True) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i in range(convolutions):
        conv = nn.Conv2d(inputs if i == 0 else outputs, outputs, 3, 1, dilation, dilation)
        layers += [conv, nn.ReLU(inplace=True)]
    return [*layers, nn.BatchNorm2d(outputs)] if norm else layers
