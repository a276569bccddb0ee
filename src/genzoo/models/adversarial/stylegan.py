"""Style-based GAN: a mapped latent scales and shifts every layer of the generator, and noise gives the detail."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_of
from genzoo.nn import latent as latents
from genzoo.nn.checks import check_conditional
from genzoo.nn.gan import styles
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear
from genzoo.nn.gan.growing import GrowingDiscriminator, enlarge, growth, layers_by_size, real_at, smallest_map
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.gan.styles import Mapping, Noise
from genzoo.nn.optimizers import adam_for


class StyledLayer(nn.Module):
    """One layer of the generator (figure 1): convolution, noise, bias, leaky rectifier, then the style.

    Every channel of every example is brought to mean 0 and deviation 1, then scaled and shifted by the style; noise has a learnt strength for
    each channel.

    Args:
        inputs: Input channels; 0 for a layer without a convolution.
        outputs: Output channels.
        latent: Dimensions of the style.
        size: Height and width of what comes out.
        up: Double height and width.
        noise: Add noise.
        around: What the scales that styles give start around.
    """

    fixed: Tensor

    def __init__(
        self, inputs: int, outputs: int, latent: int, size: tuple[int, int], *,
        up: bool = False, noise: bool = True, around: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.around = around
        resample: Literal["none", "up"] = "up" if up else "none"
        self.conv = EqualConv2d(inputs, outputs, 3, 1, bias=False, resample=resample) if inputs else None
        self.style = EqualLinear(latent, 2 * outputs, gain=1.0)
        self.strength = nn.Parameter(torch.zeros(outputs)) if noise else None
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noise:
            self.register_buffer("fixed", torch.randn(1, 1, *size))

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        """Map [B, inputs, H, W] under styles w [B, latent] to [B, outputs, H', W']."""
        added = None if self.strength is None else noise(self.fixed, x.shape[0]) * self.strength.view(1, -1, 1, 1)
        bias = self.bias.view(1, -1, 1, 1)
        x = x if self.conv is None else self.conv(x)
        x = leaky_relu(x + (bias if added is None else bias + added).to(x.dtype))
        scale, shift = self.style(w).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(x, eps=1e-8) * (self.around + scale) + shift


class Synthesis(nn.Module):
    """A learnt constant, two styled layers for each size, and pixels of each size, faded in as the net grows.

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        latent: Dimensions of a style.
        widths: Channels of every size, smallest map first.
        noise: Add noise at every layer.
        around: What the scales that styles give start around.
    """

    blocks: Any  # a ModuleList of ModuleLists

    def __init__(
        self, channels: int, start: tuple[int, int], latent: int, widths: list[int], *, noise: bool, around: float
    ) -> None:
        super().__init__()
        # Not of ones: instance norm of a constant multiplies gradients by 1e4, which Adam's averages remember for hundreds of steps.
        self.const = nn.Parameter(torch.randn(1, widths[0], *start))

        def layer(inputs: int, outputs: int, k: int, up: bool = False) -> StyledLayer:
            size = (start[0] * 2**k, start[1] * 2**k)
            return StyledLayer(inputs, outputs, latent, size, up=up, noise=noise, around=around)

        blocks = [[layer(0, widths[0], 0), layer(widths[0], widths[0], 0)]]
        blocks += [[layer(a, b, k, up=True), layer(b, b, k)] for k, (a, b) in enumerate(itertools.pairwise(widths), 1)]
        self.blocks = nn.ModuleList(nn.ModuleList(b) for b in blocks)
        self.pixels = nn.ModuleList(EqualConv2d(w, channels, 1, gain=1.0) for w in widths)

    def forward(self, w: Tensor, noise: Noise, level: int, fade: float = 1.0) -> Tensor:
        """Return images of `level` [B, C, h, w] of styles w [B, 2 · levels + 2, latent], `fade` of them and the rest the level below."""
        x = below = self.const.expand(w.shape[0], -1, -1, -1)
        each = iter(w.unbind(1))
        for k in range(level + 1):
            below = x
            for layer in self.blocks[k]:
                x = layer(x, next(each), noise)
        image = self.pixels[level](x).float()
        return image if fade == 1 else torch.lerp(enlarge(self.pixels[level - 1](below).float()), image, fade)


class StyleGAN(System):
    """A style-based generator architecture of Karras, Laine & Aila (2019).

    z is mapped to w; at every layer of a net that starts from a constant an affine map of w scales and shifts the channels, after instance
    norm (equation 1), and noise is added. Both nets grow as in ProGAN. The losses are non-saturating, with R1 at every step. In a share
    `mixing` of examples the layers from a random one on take the style of a second z. Truncation pulls w to its running mean.

    Deviations: G steps on the images that D was trained on in the same step; the batch and the rate are the same at all levels; the
    crossover of mixing is drawn for each example, not for each batch; while the nets grow R1 is for the level's own pixels (the authors' code,
    and `stylegan-ffhq`: for those of the full size); enlargement and blur are one filter, [1, 3, 3, 1], which differs at the border; the
    constant starts from noise, not from ones.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, multiples of the number of doublings' power of two.
        classes: Number of classes; read only where `conditional`.
        conditional: Tell both players the class.
        latent: Dimensions of z and of w.
        width: Channels next to the image; they double with every size down, up to `most`.
        most: Most channels of a layer.
        depth: Layers of the mapping from z to w.
        mapping_rate: Factor on the mapping's learning rate.
        mixing: Share of examples with the styles of two z.
        noise: Add noise at every layer; without it an image depends on its styles alone.
        centred: Scales start around 0 and not around 1, and w around 0: at the start nothing is then common to all images. For short runs,
            which with the paper's start were seen to collapse to one shape.
        mean_decay: Weight of the past in the running mean of w.
        grow: Share of the run in which the nets grow; 0 for never.
        r1: Weight γ of R1, γ/2 ‖∇D‖² on real images; 0 for none.
        full_size: Take R1's gradient for images of the full size at every level, as the authors' code; its square is smaller than that for the
            level's own pixels by the square of the factor of their sides.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1812.04948"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {"stylegan-ffhq": {"width": 16, "most": 512, "r1": 10.0, "full_size": True, "lr": 2e-3}}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4, "most": 8, "depth": 2}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 16, "ema_images": 10000}
    parted: ClassVar[tuple[str, ...]] = ("stylegan2",)
    dropped: ClassVar[dict[str, Any]] = {
        "style": "adain", "class_depth": 0, "r1_every": 1, "path": 0.0, "path_every": ..., "ada": False, "ada_target": ...,
        "ada_images": ..., "ada_limit": ...,
    }  # fmt: skip
    dropped_state: ClassVar[tuple[str, ...]] = ("length",)
    latent_path: ClassVar[str] = "linear"
    averaged: ClassVar[tuple[str, ...]] = ("mean",)
    labels: int
    layers: int
    progress: Tensor
    mean: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        classes: int = 10,
        *,
        conditional: bool = False,
        latent: Annotated[int, Field(ge=1, le=4096)] = 512,
        width: Annotated[int, Field(ge=4, le=1024)] = 32,
        most: Annotated[int, Field(ge=4, le=1024)] = 512,
        depth: Annotated[int, Field(ge=1, le=32)] = 8,
        mapping_rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        mixing: Annotated[float, Field(ge=0, le=1)] = 0.9,
        noise: bool = True,
        centred: bool = False,
        mean_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995,
        grow: Annotated[float, Field(ge=0, le=1)] = 0.6,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        full_size: bool = False,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_conditional(conditional, classes)
        self.levels, start = smallest_map(shape, "stylegan")
        self.labels, self.latent_size, self.layers = classes if conditional else 0, latent, 2 * self.levels + 2
        self.mixing, self.mean_decay, self.grow, self.r1 = mixing, mean_decay, grow, r1
        self.full_size = full_size
        self.lr, self.betas = lr, (beta1, beta2)
        widths = [min(width * 2 ** (self.levels - k), most) for k in range(self.levels + 1)]
        self.F = Mapping(latent, depth, mapping_rate, self.labels, centred=centred)
        self.G = Synthesis(shape[0], start, latent, widths, noise=noise, around=0.0 if centred else 1.0)
        self.D = GrowingDiscriminator(shape[0], start, widths, filtered=True, classes=self.labels)
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(latent))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each player; the mapping plays with the generator."""
        return {"d": adam_for(self, self.D), "g": adam_for(self, self.F, self.G)}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of each player at the level and fade of this moment."""
        self.progress.fill_(update.progress)
        level, fade = self._grown(update.progress)
        real = real_at(batch["image"], level, fade, self.levels)
        y = self._one_hot(batch["label"]) if self.labels else None
        fake = self.G(self._styles(len(real), y, 2 * level + 2), styles.fresh_noise, level, fade)
        if self.r1:  # it needs the scores of real images by themselves
            real = real.detach().requires_grad_()
            on_real, on_fake = self.D(real, level, fade, y), self.D(fake.detach(), level, fade, y)
        else:
            twice = y if y is None else y.repeat(2, 1)
            on_real, on_fake = self.D(torch.cat([real, fake.detach()]), level, fade, twice, 2).chunk(2)
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        if self.r1:
            logs["r1"] = r1_of(on_real, real, self.r1 / 4 ** (self.levels - level) if self.full_size else self.r1)
            d_loss = d_loss + logs["r1"]
        update("d", d_loss)
        logs["g_loss"] = generator_loss("non-saturating", self.D(fake, level, fade, y))
        update("g", logs["g_loss"])
        return {k: v.detach() for k, v in logs.items()}

    def _grown(self, progress: float) -> tuple[int, float]:
        """Return the level and fade; growth begins with one doubling (the paper: at 8x8)."""
        level, fade = growth(progress, self.levels - 1, self.grow)
        return level + 1, fade

    def _show(self, w: Tensor, noise: Noise) -> Tensor:
        """Return images of styles [n, layers, latent], as far as the nets have grown, enlarged to the full size."""
        level, fade = self._grown(float(self.progress))
        return enlarge(self.G(w, noise, level, fade), 2 ** (self.levels - level))

    _draw = latents.normal
    _one_hot = latents.one_hot
    _styles = styles.mixed_styles
    sample_prior = styles.sample_prior
    decode = styles.decode
    sample = styles.sample
    mix = styles.mix
    figures = styles.figures
    judging = layers_by_size
