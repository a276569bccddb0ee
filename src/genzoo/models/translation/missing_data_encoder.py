"""Completion of images from fragments of single channels, against an adversary that seeks where the fragments were."""

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
from genzoo.losses.perceptual import feature_distance
from genzoo.nn.checks import check_direction, check_holes, check_multiples
from genzoo.nn.colour import fade_to_fit, luma, rgb_to_ycc, ycc_to_rgb
from genzoo.nn.optimizers import adam_for_each
from genzoo.nn.pretrained.perceptual import TRUNKS, FeatureNet
from genzoo.nn.resampling import bicubic
from genzoo.ranks.batch import examples_before, examples_in_all, for_examples
from genzoo.ranks.sums import mean_over_ranks

LEAST = 0.2
"""Least side of a rectangle, in parts of the image's side."""
WHOLE = 0.25
"""How often a channel is known, or missing, as a whole."""
COLOURS = 0.2
"""Of how many images luma alone is known, and all of it, as far as the share of whole pixels leaves room."""


class MissingDataEncoder(System):
    """Missing data encoder (MDE-REC) of Dapogny, Cord & Pérez (2020): whole images from fragments, one model for many gaps.

    An image is taken as luma and two colour differences. A random part m of it is known: of every channel by itself a rectangle (the
    rest is extrapolated), all but a rectangle (inpainting), all or nothing; of one image in five luma alone (colours); of a share
    `whole_pixels` of the images one rectangle, or all but one, in all channels, which is what `complete` is asked for. With y = G(m ⊙ x, m) the
    whole image that the generator makes, x̂ = m ⊙ x + (1 - m) ⊙ y, and D a network that gives for every value of an image
    the probability that it was known ("seek"):

        D minimizes the cross-entropy between D(x̂) and m
        G minimizes mean |y - x| + `perceptual_weight` · |φ(y) - φ(x)|² / |φ(x)|² + `adversarial` · mean over m = 0 of -log D(x̂)

    so G hides what it has made. φ are inner maps of a recognition network, whose weights come from $GENZOO_WEIGHTS; the
    preset `mde-no-features` does without. `complete` fills holes and extrapolates, `translate` colours gray images.

    Deviations (the published text leaves sizes and weights of the networks to its own experiments): G and D are U-nets with group
    norm; luma and colour differences in place of red, green and blue, so that a gray photograph is one known channel;
    rectangles and shares are those of the constants in this file; features of the first two stages of VGG-16. Masks of whole pixels are no
    part of the published scheme (`mde-channel-wise` is without): masks that are drawn for every channel are hardly ever a hole in all of them.

    Args:
        shape: Channels, height and width of an image; sides are multiples of what the networks halve. Gray images are completed, not coloured.
        width: Channels of the generator's first layer; they double up to 8 times this.
        d_width: Channels of the seeker's first layer.
        fragments: Of every channel another part is known, or of all channels the same (no colourization is learned then).
        whole_pixels: Share of the images of which all channels lose the same part all the same, where fragments are channel-wise.
        perceptual: Network whose features are compared, or none.
        perceptual_weight: Weight of the features.
        adversarial: Weight of hide and seek; 0 for none.
        lr: Learning rate of the generator.
        d_lr: Learning rate of the seeker; none for the generator's.
        beta1: Adam's decay of the mean gradient.
    """

    paper: ClassVar[str] = "arXiv:1905.01861"
    data: ClassVar[str] = "image"
    directions: tuple[str, ...] = ("colorize",)
    scale: ClassVar[int] = 1
    local: ClassVar[bool] = False
    presets: ClassVar[dict] = {
        "mde-channel-wise": {"whole_pixels": 0.0},
        "mde-no-adversary": {"adversarial": 0.0},
        "mde-no-features": {"perceptual": "none"},
        "mde-shared": {"fragments": "shared"},
    }
    tiny: ClassVar[dict] = {"shape": (3, 16, 16), "width": 8, "d_width": 4, "perceptual": "vgg16-random"}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 32, "ema": 0.999}
    formerly: ClassVar[dict] = {"whole_pixels": 0.0, "d_lr": None}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 128, 128),
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        d_width: Annotated[int, Field(ge=4, le=512)] = 64,
        fragments: Literal["channel-wise", "shared"] = "channel-wise",
        whole_pixels: Annotated[float, Field(ge=0, le=1)] = 0.4,
        perceptual: Literal["vgg16", "vgg19", "alexnet", "vgg16-random", "none"] = "vgg16",
        perceptual_weight: Annotated[float, Field(gt=0, le=1000)] = 0.1,
        adversarial: Annotated[float, Field(ge=0, le=100)] = 0.01,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        c, h, w = shape
        halvings = max(1, min(int(math.log2(max(min(h, w), 8) / 4)), 5))
        check_multiples(shape, 2**halvings, 8, "missing-data-encoder", " (16, 32, 48, 64, 96, 128 do)")
        if c not in (1, 3):
            raise UserError(f"images of {c} channels are not possible; give channels=3 or channels=1")
        self.shape, self.adversarial, self.lr, self.d_lr = shape, adversarial, lr, d_lr or lr
        self.whole_pixels = whole_pixels if fragments == "channel-wise" and c > 1 else 1.0
        self.betas = (beta1, 0.999)
        self.directions = ("colorize",) if c == 3 else ()
        self.perceptual_weight = perceptual_weight
        self.features = None
        if perceptual != "none":
            without = "perceptual=none (preset mde-no-features) needs no weights"
            self.features = FeatureNet(perceptual, TRUNKS[perceptual].layers[:2], otherwise=without)
            self.features.check(shape, f"perceptual={perceptual}", "perceptual=none")
        self.G = UNet(2 * c, c, width, halvings)
        self.D = UNet(c, c, d_width, halvings) if adversarial else None

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Hide parts of every channel, or of all alike; a step of the seeker, then one of the generator."""
        image = batch["image"]
        x = self.planes(image)
        # Images are in random order: the first ones of the batch.
        whole = int(self.whole_pixels * examples_in_all(x.shape[0]) + float(torch.rand(())))
        whole = min(max(whole - examples_before(), 0), x.shape[0])
        known = self.draw_known(x.shape[0], whole, x.device)
        y = self.fill(x, known)
        logs = {
            "completion": (y - x).abs().mean(),
            "missing_error": ((y - x).abs() * ~known).sum() / (~known).sum().clamp(min=1),
        }
        loss = logs["completion"]
        made = torch.where(known, x, y)
        if self.D is not None:
            found = self.D(made.detach())
            logs["d_loss"] = F.binary_cross_entropy_with_logits(found, known.float())
            logs["found"] = ((found > 0) == known).float().mean()
            if whole:
                logs["seeker_auroc"] = _auroc(found.detach()[:whole].mean(1), known[:whole, 0])
            update("d", logs["d_loss"])
        if self.features is not None:
            with torch.no_grad():
                wanted = self.features(image)
            logs["perceptual"] = feature_distance(self.features(self.image(y)), wanted, relative=True).mean()
            loss = loss + self.perceptual_weight * logs["perceptual"]
        if self.D is not None:
            logs["g_hides"] = (F.softplus(-self.D(made)) * ~known).sum() / mean_over_ranks((~known).sum()).clamp(min=1)
            loss = loss + self.adversarial * logs["g_hides"]
        update("g", loss)
        return {k: v.detach() for k, v in logs.items()}

    def fill(self, x: Tensor, known: Tensor) -> Tensor:
        """Return the whole image that the generator makes, in planes, [B, C, H, W] in [-1, 1]; it has seen `x` where `known` is True."""
        return torch.tanh(self.G(torch.cat([x * known, known.to(x.dtype) * 2 - 1], 1)))

    def draw_known(self, n: int, whole: int, device: torch.device) -> Tensor:
        """Draw which values of `n` images are known, bool [n, C, H, W], the same in all channels of the first `whole`; never nothing."""
        c, h, w = self.shape
        with for_examples(dim=1):
            tall, wide = (LEAST + (1 - LEAST) * torch.rand(2, n, c, 1, 1, device=device)).unbind(0)
            top, left = torch.rand(2, n, c, 1, 1, device=device).unbind(0)
        y = (torch.arange(h, device=device)[:, None] + 0.5) / h
        x = (torch.arange(w, device=device) + 0.5) / w
        rectangle = ((y - top * (1 - tall)) / tall - 0.5).abs() < 0.5
        rectangle = rectangle & (((x - left * (1 - wide)) / wide - 0.5).abs() < 0.5)
        known = rectangle ^ (torch.rand(n, c, 1, 1, device=device) < 0.5)
        alike = torch.arange(n, device=device).view(-1, 1, 1, 1) < whole
        first = torch.arange(c, device=device).view(1, -1, 1, 1) < 1
        if c > 1:
            entire = torch.rand(n, c, 1, 1, device=device) < WHOLE
            apart = torch.where(entire, torch.rand(n, c, 1, 1, device=device) < 0.5, known)
            share = COLOURS / max(1 - self.whole_pixels, COLOURS)
            apart = torch.where(torch.rand(n, 1, 1, 1, device=device) < share, first, apart)
            known = torch.where(alike, known[:, :1], apart)
        nothing = ~known.flatten(1).any(1)
        return known | (nothing.view(-1, 1, 1, 1) & (alike | first))

    def planes(self, x: Tensor) -> Tensor:
        """Return the luma and colour differences of a colour image; a gray image is itself."""
        return rgb_to_ycc(x) if x.shape[1] == 3 else x

    def image(self, planes: Tensor) -> Tensor:
        """Return the image of planes, not clamped."""
        return ycc_to_rgb(planes) if planes.shape[1] == 3 else planes

    # ---- using -----------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, *, generator: Generator) -> Tensor:
        """Return `x` with the unknown pixels filled in; there is one answer, `generator` is not used.

        Raises:
            UserError: Image or mask is of another size, or the mask leaves nothing.
        """
        check_holes(x, known, self.shape)
        y = self.fill(self.planes(x), known.expand(-1, self.shape[0], -1, -1)).float()
        return torch.where(known, x, self.image(y).clamp(-1, 1))

    def degrade(self, x: Tensor) -> Tensor:
        """Return the luma of images, [B, 1, H, W]."""
        return luma(x)

    @torch.no_grad()
    def translate(self, x: Tensor, *, direction: str = "colorize") -> Tensor:
        """Return images [B, 3, H, W] with the luma of `x` [B, 1 or 3, H, W], any size, and colours that were made for it.

        Colours are made at the size that the system was trained at, and enlarged.

        Raises:
            UserError: The direction is not colorize, or the system was trained on gray images.
        """
        check_direction(direction, self.directions)
        y = luma(x)
        small = bicubic(y, *self.shape[1:]).clamp(-1, 1)
        planes = F.pad(small, (0, 0, 0, 0, 0, 2))
        known = torch.zeros_like(planes, dtype=torch.bool)
        known[:, 0] = True
        colours = self.fill(planes, known)[:, 1:].float()
        return fade_to_fit(y, F.interpolate(colours, x.shape[2:], mode="bilinear", align_corners=False))


class UNet(nn.Module):
    """Halve, halve, …, and back, with what was seen on the way down beside what is made on the way up.

    Args:
        inputs: Input channels.
        outputs: Output channels.
        width: Channels of the first layer; they double up to 8 times this.
        halvings: How often sides are halved.
    """

    def __init__(self, inputs: int, outputs: int, width: int, halvings: int) -> None:
        super().__init__()
        widths = [width * min(2**i, 8) for i in range(halvings + 1)]
        self.start = nn.Sequential(nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(_layer(a, b, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_layer(a + b, a) for a, b in pairwise(widths))
        self.end = nn.Conv2d(width, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W], float32."""
        x = self.start(x)
        seen = []
        for layer in self.down:
            seen.append(x)
            x = layer(x)
        for layer, before in zip(reversed(self.up), reversed(seen), strict=True):
            x = layer(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), before], 1))
        return self.end(x).float()


def _layer(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 4 if stride == 2 else 3, stride, 1)
    return nn.Sequential(conv, nn.GroupNorm(math.gcd(8, outputs), outputs), nn.LeakyReLU(0.2))


def _auroc(score: Tensor, known: Tensor) -> Tensor:
    """Return the chance that a known pixel has a higher score than a missing one, ties counting half; NaN where there are not both."""
    score, known = score.flatten(), known.flatten()
    ordered = score.sort().values
    rank = (torch.searchsorted(ordered, score) + torch.searchsorted(ordered, score, right=True) + 1) / 2
    positive = known.sum()
    return ((rank * known).sum() / positive - (positive + 1) / 2) / (known.numel() - positive)
