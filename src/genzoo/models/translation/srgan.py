"""Super-resolution: a residual net enlarges photographs, and an adversary asks for the detail that no pixel average has."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.capabilities import Restores
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.perceptual import feature_distance
from genzoo.nn.checks import check_direction, check_multiples
from genzoo.nn.optimizers import adam_for_each
from genzoo.nn.pretrained.perceptual import FeatureNet, deepest
from genzoo.nn.resampling import bicubic, grey_levels
from genzoo.nn.upsampling import ResizedConv2d

Upsample = Literal["resize", "shuffle"]
Slopes = Literal["shared", "channels"]


class SRGAN(System):
    """SRResNet and SRGAN of Ledig et al. (2017): enlargement of photographs by 2, 4 or 8.

    It learns from plain images x: the input is x made small by the antialiased bicubic filter of `genzoo.nn.resampling` and
    rounded to 256 grey levels, the target is x. For the share `pretrain` of the run the generator G minimizes the squared error
    of pixels (SRResNet, equation 4). Then, per step, the discriminator D and G in turn (equations 2, 3 and 5 to 7):

        D minimizes -log D(x) - log(1 - D(G(x↓)))
        G minimizes l_content + `adversarial` · (-log D(G(x↓))) + `pixel` · mean (G(x↓) - x)²

    The content is compared in the inner map `layer` of a recognition network, whose weights come from $GENZOO_WEIGHTS, or in
    pixels (`content=mse`, preset `srgan-mse`: SRGAN-MSE of the paper, which needs no file). The learning rate is a tenth in
    the second half of the adversarial part. `start` takes the generator of a finished run, and leaves the pretraining out.

    Deviations: the network is VGG-16 up to relu5_3 unless another is asked for (the paper: VGG-19, relu5_4, which is
    `content=vgg19`), and its features' squared error is divided by their mean square, so that one weight suits every network and
    layer: `adversarial` is 0.02 where the paper has 0.001 beside features scaled by 1/12.75. What the network is given is in
    [-1, 1], or with `unit` in [0, 1] as in the paper, which differs at the border only, where zeros are gray or black.
    `residual` adds the bicubic enlargement of the input to what the network makes, which saves short runs from learning to copy;
    the paper's network has none of it.

    Args:
        shape: Channels, height and width of the large images; the sides are multiples of `scale`.
        scale: How many times larger; 2, 4 or 8.
        width: Channels of the generator.
        blocks: Residual blocks of the generator.
        batch_norm: Batch norm in the residual blocks, as in the paper.
        upsample: How maps are doubled: shuffle is the paper's (a convolution to four times the channels, laid out as pixels), resize
            repeats pixels before a 3 x 3 convolution.
        residual: Add the bicubic enlargement to the generator's output.
        slopes: Rectifiers have one trained slope each, or one for each of their channels.
        unit: Show the generator images in [0, 1], as in the paper, not in [-1, 1].
        bounded: End the generator in a tanh; the paper's has none.
        d_width: Channels of the discriminator's first layer; they double up to 8 times this.
        content: What the content is compared in after the pretraining: a recognition network's features, or pixels (mse).
        layer: The network's map, such as relu2_2; none for its deepest one: relu5_4 of VGG-19, relu5_3 of VGG-16.
        adversarial: Weight of the adversary; 0 for none (SRResNet).
        pixel: Weight of the squared error of pixels beside the content loss.
        pretrain: Share of the run with the squared error of pixels alone; none for one half, or 0 with `start`.
        start: A run whose generator is the first one here; it needs the same scale, width and blocks.
        lr: Learning rate.
        beta1: Adam's decay of the mean gradient.
    """

    paper: ClassVar[str] = "arXiv:1609.04802"
    data: ClassVar[str] = "image"
    directions: ClassVar[tuple[str, ...]] = ("upscale",)
    local: ClassVar[bool] = True
    scale: int
    presets: ClassVar[dict] = {
        "srresnet": {"adversarial": 0.0, "content": "mse"},
        "srgan-mse": {"adversarial": 0.001, "content": "mse"},
    }
    tiny: ClassVar[dict] = {"shape": (3, 16, 16), "scale": 2, "width": 4, "blocks": 1, "d_width": 4, "content": "mse"}
    defaults: ClassVar[dict] = {"steps": 100000, "batch": 16, "ema": 0.999}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 96, 96),
        *,
        scale: Literal[2, 4, 8] = 4,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        blocks: Annotated[int, Field(ge=1, le=64)] = 16,
        batch_norm: bool = True,
        upsample: Upsample = "shuffle",
        residual: bool = False,
        slopes: Slopes = "shared",
        unit: bool = False,
        bounded: bool = False,
        d_width: Annotated[int, Field(ge=4, le=512)] = 64,
        content: Literal["vgg16", "vgg19", "vgg19-imagenet", "alexnet", "vgg16-random", "mse"] = "vgg16",
        layer: str | None = None,
        adversarial: Annotated[float, Field(ge=0, le=100)] = 0.02,
        pixel: Annotated[float, Field(ge=0, le=100)] = 0.0,
        pretrain: Annotated[float, Field(ge=0, le=1)] | None = None,
        start: Restores | None = None,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    ) -> None:
        super().__init__()
        if bounded and residual:
            raise UserError(
                "bounded=true ends the generator in a tanh, and residual=true adds to what it makes; give one of them"
            )
        check_multiples(shape, scale, 16, f"srgan with scale={scale}", ", or crop=")
        self.scale, self.adversarial, self.pixel, self.lr, self.betas = scale, adversarial, pixel, lr, (beta1, 0.999)
        self.pretrain = (0.0 if start is not None else 0.5) if pretrain is None else pretrain
        self.features = self._features(content, layer, shape)
        self.G = SRResNet(
            shape[0], width, blocks, scale, batch_norm=batch_norm, residual=residual, upsample=upsample, slopes=slopes, unit=unit,
            bounded=bounded,
        )  # fmt: skip
        self.D = PhotoDiscriminator(shape, d_width) if adversarial else None
        if start is not None:
            self._begin_with(start)

    def _features(self, content: str, layer: str | None, shape: tuple[int, int, int]) -> FeatureNet | None:
        """Return the network that content is compared in, or None for pixels."""
        if content == "mse":
            if layer:
                raise UserError(f"layer={layer} is of a recognition network; leave it out, or give content=vgg16")
            return None
        without = "content=mse (preset srgan-mse) needs no weights"
        net = FeatureNet(content, (layer or deepest(content),), otherwise=without)
        net.check(shape, f"content={content}", "an earlier layer=, or content=mse")
        return net

    def _begin_with(self, start: object) -> None:
        own = self.G.state_dict()
        given = start.G.state_dict() if isinstance(start, SRGAN) else {}
        if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in own.items()}:
            keys = ("scale", "width", "blocks", "batch_norm", "upsample", "slopes")
            there = getattr(start, "hparams", {})
            said = ", ".join(f"{k}={there[k]}" for k in keys if k in there) or "no such generator"
            raise UserError(f"start: its generator is another one ({said}); give the same {', '.join(keys)}")
        self.G.load_state_dict(given)

    optimizers = adam_for_each

    def lr_scale(self, progress: float) -> float:
        """Return 1, and a tenth in the second half of the adversarial part."""
        return 0.1 if self.D is not None and progress >= (1 + self.pretrain) / 2 else 1.0

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do a step of G on pixels; after the pretraining a step of D, then one of G."""
        x = batch["image"]
        y = self.G(self.degrade(x))
        error = F.mse_loss(y, x)
        logs = {"pixel_error": error}
        if update.progress < self.pretrain:
            update("g", error)
            return {k: v.detach() for k, v in logs.items()}
        if self.D is not None:
            logs["d_loss"] = discriminator_loss("non-saturating", self.D(x), self.D(y.detach()))
            update("d", logs["d_loss"])
        logs["content"] = error if self.features is None else self._perceived(y, x)
        loss = logs["content"] + self.pixel * error
        if self.D is not None:
            logs["g_adversarial"] = generator_loss("non-saturating", self.D(y))
            loss = loss + self.adversarial * logs["g_adversarial"]
        update("g", loss)
        return {k: v.detach() for k, v in logs.items()}

    def _perceived(self, y: Tensor, x: Tensor) -> Tensor:
        assert self.features is not None
        with torch.no_grad():
            wanted = self.features(x)
        return feature_distance(self.features(y), wanted, relative=True).mean()

    def degrade(self, x: Tensor) -> Tensor:
        """Return images made small, [B, C, H / scale, W / scale] in [-1, 1], rounded to grey levels."""
        return grey_levels(bicubic(x, x.shape[2] // self.scale, x.shape[3] // self.scale))

    @torch.no_grad()
    def translate(self, x: Tensor, *, direction: str = "upscale") -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] enlarged to [B, C, scale · H, scale · W]; any height and width.

        Raises:
            UserError: The direction is not upscale.
        """
        check_direction(direction, self.directions)
        return self.G(x).clamp(-1, 1)


class SRResNet(nn.Module):
    """The generator: residual blocks at the small size, then pixel shuffles.

    Args:
        channels: Channels of images.
        width: Channels inside.
        blocks: Residual blocks.
        scale: A power of two.
        batch_norm: Batch norm after every convolution of the blocks.
        residual: Add the bicubic enlargement of the input.
        upsample: How maps are doubled.
        slopes: Rectifiers have one slope each, or one for each channel.
        unit: Work on images in [0, 1].
        bounded: End in a tanh.
    """

    def __init__(
        self, channels: int, width: int, blocks: int, scale: int, *, batch_norm: bool, residual: bool,
        upsample: Upsample = "shuffle", slopes: Slopes = "shared", unit: bool = False, bounded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.scale, self.residual, self.unit, self.bounded = scale, residual, unit, bounded
        rectifier = partial(nn.PReLU, 1 if slopes == "shared" else width)
        self.head = nn.Sequential(nn.Conv2d(channels, width, 9, padding=4), rectifier())
        self.blocks = nn.ModuleList(
            nn.Sequential(*_conv(width, batch_norm), rectifier(), *_conv(width, batch_norm)) for _ in range(blocks)
        )
        self.end = nn.Sequential(*_conv(width, batch_norm))
        up = [nn.Sequential(*_doubled(width, upsample), rectifier()) for _ in range(int(math.log2(scale)))]
        self.up = nn.Sequential(*up, nn.Conv2d(width, channels, 9, padding=4))
        if residual:  # the first output is the bicubic enlargement
            for parameter in self.up[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] in [-1, 1] to [B, C, scale · h, scale · w], float32, not clamped."""
        start = h = self.head((x + 1) / 2 if self.unit else x)
        for block in self.blocks:
            h = h + block(h)
        y = self.up(start + self.end(h)).float()
        if self.bounded:
            return torch.tanh(y)
        return y + bicubic(x, y.shape[2], y.shape[3]) if self.residual else y


def _doubled(width: int, upsample: Upsample) -> list[nn.Module]:
    if upsample == "resize":
        return [ResizedConv2d(width, width)]
    return [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)]


def _conv(width: int, batch_norm: bool) -> list[nn.Module]:
    conv = nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(width)] if batch_norm else [conv]


class PhotoDiscriminator(nn.Module):
    """The paper's discriminator: eight 3 x 3 convolutions, every second with stride 2, and two dense layers.

    Args:
        shape: (C, H, W) of the images.
        width: Channels of the first layer.
    """

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        c, h, w = shape
        parts: list[nn.Module] = []
        for i in range(8):
            out, stride = width * 2 ** (i // 2), 1 + i % 2
            parts += [nn.Conv2d(c, out, 3, stride, 1, bias=i == 0), *([nn.BatchNorm2d(out)] if i else [])]
            parts += [nn.LeakyReLU(0.2, inplace=True)]
            c, h, w = out, math.ceil(h / stride), math.ceil(w / stride)
        dense = 16 * width
        self.net = nn.Sequential(
            *parts, nn.Flatten(), nn.Linear(c * h * w, dense), nn.LeakyReLU(0.2, inplace=True), nn.Linear(dense, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, [B]."""
        return self.net(x).squeeze(1).float()
