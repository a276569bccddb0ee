"""Style-based GAN: a mapped latent governs every layer's scale, noise its detail; StyleGAN, StyleGAN2 and ADA."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from genzoo.core.capabilities import Figure, draw_labels
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import path_lengths, r1_of, r1_penalty
from genzoo.models.adversarial._adaptive import AdaptiveAugment
from genzoo.nn.gan.dcgan import stages
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear, minibatch_std, pixel_norm
from genzoo.nn.gan.growing import enlarge, growth, real_at
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.gan.modulated import ModulatedConv2d, Noise, StyledLayer
from genzoo.nn.gan.upfirdn import double
from genzoo.nn.layout import channels_last

ADJUST = 4
"""Steps between two moves of ADA's probability."""
DRAWS = 4096
"""Draws of z of which the mean of w at the start is taken."""
PATH_DECAY = 0.01
"""Weight of a new length in the running mean that path lengths are pulled to."""


class Mapping(nn.Module):
    """Normalized z (beside a normalized embedding of the class) through `depth` dense layers to w.

    Args:
        latent: Dimensions of z and w.
        depth: Dense layers.
        rate: Factor on their learning rate.
        classes: Number of classes, or 0.
        centred: Subtract the mean that w has at the start.
    """

    centre: Tensor

    def __init__(self, latent: int, depth: int, rate: float, classes: int, *, centred: bool = False) -> None:
        super().__init__()
        self.centred = centred
        if classes:
            self.embed = EqualLinear(classes, latent, gain=1.0)
        self.layers = nn.ModuleList(
            EqualLinear(latent * 2 if classes and not i else latent, latent, rate=rate) for i in range(depth)
        )
        if centred:
            self.register_buffer("centre", torch.zeros(latent))
            with torch.no_grad():
                y = torch.eye(classes)[torch.arange(DRAWS) % classes] if classes else None
                self.centre = self(torch.randn(DRAWS, latent), y).mean(0)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return w [B, latent] of z [B, latent] and one-hot classes y."""
        x = pixel_norm(z) if y is None else torch.cat([pixel_norm(z), pixel_norm(self.embed(y).float())], 1)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x.float() - self.centre if self.centred else x.float()


class Synthesis(nn.Module):
    """A learnt constant, two styled layers for each size, and pixels from every size: faded (adain) or added up (modulated).

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        latent: Dimensions of a style.
        widths: Channels of every size, smallest map first.
        style: How styles enter.
        noise: Add noise at every layer.
        around: What the scales that styles give start around.
    """

    def __init__(
        self, channels: int, start: tuple[int, int], latent: int, widths: list[int],
        style: Literal["adain", "modulated"], *, noise: bool = True, around: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.adds = style == "modulated"
        # Not of ones: instance norm of a constant multiplies gradients by 1e4, which Adam's averages remember for hundreds of steps.
        self.const = nn.Parameter(torch.randn(1, widths[0], *start))

        def layer(inputs: int, outputs: int, k: int, up: bool = False) -> StyledLayer:
            size = (start[0] * 2**k, start[1] * 2**k)
            return StyledLayer(inputs, outputs, latent, size, style=style, up=up, noise=noise, around=around)

        first = widths[0]
        blocks = [[layer(first, first, 0)] if self.adds else [layer(0, first, 0), layer(first, first, 0)]]
        blocks += [[layer(a, b, k, up=True), layer(b, b, k)] for k, (a, b) in enumerate(itertools.pairwise(widths), 1)]
        self.blocks = nn.ModuleList(nn.ModuleList(b) for b in blocks)
        self.pixels = nn.ModuleList(
            ModulatedConv2d(w, channels, 1, latent, demodulate=False, around=around)
            if self.adds
            else EqualConv2d(w, channels, 1, gain=1.0)
            for w in widths
        )
        if self.adds:
            self.pixel_bias = nn.Parameter(torch.zeros(len(widths), channels))

    def forward(self, w: Tensor, noise: Noise, level: int, fade: float = 1.0) -> Tensor:
        """Return images of `level` [B, C, h, w] of styles w [B, 2 · levels + 2, latent], `fade` of them and the rest the level below."""
        x = self.const.expand(len(w), -1, -1, -1)
        styles, image, below = iter(w.unbind(1)), None, x
        for k in range(level + 1):
            below = x
            for layer in self.blocks[k]:
                style = next(styles)
                x = layer(x, style, noise)
            if self.adds:
                # The pixels' style is that of the next size's first layer; the last size's pixels have their own.
                new = self.pixels[k](x, w[:, 2 * k + 1]).float() + self.pixel_bias[k].view(1, -1, 1, 1)
                image = new if image is None else double(image) + new
        if image is None:
            image = self.pixels[level](x).float()
            if fade < 1:
                image = torch.lerp(enlarge(self.pixels[level - 1](below).float()), image, fade)
        return image


class Discriminator(nn.Module):
    """ProGAN's, filtered before it is halved, growing (adain), or a residual net that sees the full size only (modulated).

    The last map, with the standard deviation over the batch, ends in two dense layers. With classes the score is the product of the
    image's and the class's vector (projection, arXiv:1802.05637), which is an embedding or, as in StyleGAN2-ADA's program, mapped from one.

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        widths: Channels of every size, smallest map first.
        residual: The second kind.
        classes: Number of classes, or 0.
        depth: Dense layers between a class's embedding and its vector.
        rate: Factor on their learning rate.
    """

    def __init__(
        self, channels: int, start: tuple[int, int], widths: list[int], *,
        residual: bool, classes: int, depth: int = 0, rate: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.residual, self.classes, first = residual, classes, widths[0]
        self.pixels = nn.ModuleList(EqualConv2d(channels, w, 1) for w in (widths[-1:] if residual else widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(b, b, 3, 1), EqualConv2d(b, a, 3, resample="down")]) for a, b in pairs
        )
        if residual:
            self.skips = nn.ModuleList(EqualConv2d(b, a, 1, gain=1.0, resample="down", bias=False) for a, b in pairs)
        self.last = EqualConv2d(first + 1, first, 3, 1)
        self.dense = EqualLinear(first * start[0] * start[1], first)
        self.score = EqualLinear(first, first if classes else 1, gain=1.0)
        if classes:
            self.embed = EqualLinear(classes, first, gain=1.0)
            self.mapping = nn.ModuleList(EqualLinear(first, first, rate=rate) for _ in range(depth))

    def forward(self, x: Tensor, level: int, fade: float = 1.0, y: Tensor | None = None, batches: int = 1) -> Tensor:
        """Return scores [B] of images of `level` [B, C, h, w], with one-hot classes y [B, classes] where there are any.

        `batches` as in `minibatch_std`.
        """
        x = channels_last(x)
        image, x = x, leaky_relu(self.pixels[-1 if self.residual else level](x))
        for k in range(level - 1, -1, -1):
            h = x
            for conv in self.blocks[k]:
                h = leaky_relu(conv(h))
            x = (self.skips[k](x) + h) * math.sqrt(0.5) if self.residual else h
            if k == level - 1 and fade < 1:
                x = torch.lerp(leaky_relu(self.pixels[k](F.avg_pool2d(image, 2))), x, fade)
        x = leaky_relu(self.last(channels_last(minibatch_std(x, batches=batches)))).flatten(1)
        x = self.score(leaky_relu(self.dense(x))).float()
        if not self.classes:
            return x.squeeze(1)
        c = pixel_norm(self.embed(y).float())
        for layer in self.mapping:
            c = leaky_relu(layer(c))
        return (x * c.float()).sum(1) / math.sqrt(x.shape[1])


class StyleGAN(System):
    """A style-based generator architecture of Karras, Laine & Aila (2019), and StyleGAN2 of Karras et al. (arXiv:1912.04958).

    z is mapped to w; at every layer of a net that starts from a constant an affine map of w scales (and shifts) the channels, and noise is
    added. `style=adain` is StyleGAN: instance norm before the style (equation 1), growth as in ProGAN, R1 at every step. `style=modulated` is
    StyleGAN2: the style modulates the weights, which are demodulated (equations 1 to 3); every size adds its pixels to the image; D is
    residual. Both losses are non-saturating. In a share `mixing` of examples the layers from a random one on take the style of a second z.
    StyleGAN2's path length penalty is (‖Jᵀy‖ - a)² with a its running mean (equation 4); penalties with an interval k enter every k-th
    step, k times as heavy, as an update of their own, with Adam's rate and decays corrected by k / (k + 1) (its appendix B). Truncation
    pulls w to its running mean. `ada` is adaptive discriminator augmentation (arXiv:2006.06676).

    Deviations: G steps on the images that D was trained on in the same step; the batch and the rate are the same at all levels; the
    crossover of mixing is drawn for each example, not for each batch; the running mean of path lengths starts from the first one and not
    from 0; the rectifier's gain of √2 stands before bias and noise. StyleGAN's enlargement and blur are one filter, [1, 3, 3, 1]; its
    constant starts from noise, not from ones.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, multiples of the number of doublings' power of two.
        classes: Number of classes; read only where `conditional`.
        conditional: Tell both players the class.
        style: How styles enter: adain (StyleGAN) or modulated (StyleGAN2).
        latent: Dimensions of z and of w.
        width: Channels next to the image; they double with every size down, up to `most`.
        most: Most channels of a layer.
        depth: Layers of the mapping from z to w.
        mapping_rate: Factor on the mapping's learning rate.
        class_depth: Layers of D's mapping from the class, where conditional; 0 for an embedding alone.
        mixing: Share of examples with the styles of two z.
        noise: Add noise at every layer; without it an image depends on its styles alone.
        centred: Scales start around 0 and not around 1, and w around 0: at the start nothing is then common to all images. For short runs,
            which with the papers' start were seen to collapse to one shape.
        mean_decay: Weight of the past in the running mean of w.
        grow: Share of the run in which the nets grow; 0 for never, and with modulated styles.
        r1: Weight γ of R1, γ/2 ‖∇D‖² on real images; 0 for none.
        r1_every: Steps from one R1 to the next; 1 adds it to D's loss.
        path: Weight of the path length penalty; 0 for none.
        path_every: Steps from one path length penalty to the next.
        ada: Augment adaptively what D sees: for some thousand images or fewer.
        ada_target: Mean sign of D on training images that the probability is steered to.
        ada_images: Images in which the probability can go from 0 to 1.
        ada_limit: Greatest probability.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1812.04948"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "stylegan2": {
            "style": "modulated", "grow": 0.0, "r1_every": 16, "path": 2.0, "mean_decay": 0.998, "class_depth": 8, "lr": 2e-3,
        },
        "stylegan-ffhq": {"width": 16, "most": 512, "r1": 10.0, "lr": 2e-3},
        "stylegan2-ffhq": {
            "style": "modulated", "grow": 0.0, "width": 32, "most": 512, "r1": 10.0, "r1_every": 16, "path": 2.0, "mean_decay": 0.998,
            "class_depth": 8, "lr": 2e-3,
        },
        "stylegan2-ada": {
            "style": "modulated", "grow": 0.0, "r1_every": 16, "path": 2.0, "mean_decay": 0.998, "class_depth": 8, "lr": 2e-3, "ada": True,
        },
    }  # fmt: skip
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4, "most": 8, "depth": 2}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 16, "ema_images": 10000}
    latent_path: ClassVar[str] = "linear"
    averaged: ClassVar[tuple[str, ...]] = ("mean", "length")
    labels: int
    progress: Tensor
    mean: Tensor
    length: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        classes: int = 10,
        *,
        conditional: bool = False,
        style: Literal["adain", "modulated"] = "adain",
        latent: Annotated[int, Field(ge=1, le=4096)] = 512,
        width: Annotated[int, Field(ge=4, le=1024)] = 32,
        most: Annotated[int, Field(ge=4, le=1024)] = 512,
        depth: Annotated[int, Field(ge=1, le=32)] = 8,
        mapping_rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        class_depth: Annotated[int, Field(ge=0, le=32)] = 0,
        mixing: Annotated[float, Field(ge=0, le=1)] = 0.9,
        noise: bool = True,
        centred: bool = False,
        mean_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995,
        grow: Annotated[float, Field(ge=0, le=1)] = 0.6,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        r1_every: Annotated[int, Field(ge=1, le=1000)] = 1,
        path: Annotated[float, Field(ge=0, le=1000)] = 0.0,
        path_every: Annotated[int, Field(ge=1, le=1000)] = 8,
        ada: bool = False,
        ada_target: Annotated[float, Field(ge=-1, le=1)] = 0.6,
        ada_images: Annotated[int, Field(ge=1)] = 500_000,
        ada_limit: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        start = self._start(shape)
        if conditional and classes < 1:
            raise UserError("conditional=true needs labels: give data with classes, such as a folder with subfolders")
        if style == "modulated" and grow:
            raise UserError("style=modulated does not grow: give grow=0, or take the preset stylegan2")
        self.labels, self.latent_size, self.grow = classes if conditional else 0, latent, grow
        self.mixing, self.mean_decay = mixing, mean_decay
        self.r1, self.r1_every, self.path, self.path_every = r1, r1_every, path, path_every
        self.lr, self.betas = lr, (beta1, beta2)
        widths = [min(width * 2 ** (self.levels - k), most) for k in range(self.levels + 1)]
        self.layers = 2 * self.levels + 2
        self.F = Mapping(latent, depth, mapping_rate, self.labels, centred=centred)
        self.G = Synthesis(shape[0], start, latent, widths, style, noise=noise, around=0.0 if centred else 1.0)
        self.D = Discriminator(
            shape[0], start, widths, residual=style == "modulated", classes=self.labels, depth=class_depth, rate=mapping_rate
        )  # fmt: skip
        self.augment = AdaptiveAugment(ada_target, ada_images, ada_limit) if ada else None
        self.register_buffer("progress", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("length", torch.zeros(()))

    def _start(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Height and width of the smallest map; sets the number of doublings."""
        _, h, w = shape
        fits = min(h, w) >= 8 and max(h, w) <= 1024
        self.levels = stages(h, w) if fits else 0
        unit = 2**self.levels
        if not fits or h % unit or w % unit:
            near = f"multiples of {unit}, such as {-(-h // unit) * unit}x{-(-w // unit) * unit}"
            raise UserError(
                f"shape {'x'.join(map(str, shape))} is not possible; stylegan needs sides of {near if fits else '8 to 1024'}; give size="
            )
        return h // unit, w // unit

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam for each player, its rate and decays corrected where a penalty has steps of its own."""

        def adam(parameters: list[nn.Parameter], lazy: int | None) -> Adam:
            c = lazy / (lazy + 1) if lazy else 1.0
            return Adam(parameters, lr=self.lr * c, betas=(self.betas[0] ** c, self.betas[1] ** c))

        return {
            "d": adam(list(self.D.parameters()), self.r1_every if self.r1 and self.r1_every > 1 else None),
            "g": adam([*self.F.parameters(), *self.G.parameters()], self.path_every if self.path else None),
        }

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """One step of each player, and the penalties that are due."""
        self.progress.fill_(update.progress)
        level, fade = self._grown(update.progress)
        real = real_at(batch["image"], level, fade, self.levels)
        y = self._one_hot(batch["label"]) if self.labels else None

        def judge(x: Tensor, batches: int = 1) -> Tensor:
            of = y if y is None or batches == 1 else y.repeat(batches, 1)
            return self.D(self.augment(x) if self.augment else x, level, fade, of, batches)

        fake = self.G(self._styles(len(real), y, level), self._fresh, level, fade)
        at_every = bool(self.r1) and self.r1_every == 1
        if at_every:  # R1 needs the scores of real images by themselves
            real = real.detach().requires_grad_()
            on_real, on_fake = judge(real), judge(fake.detach())
        else:
            on_real, on_fake = judge(torch.cat([real, fake.detach()]), 2).chunk(2)
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        if at_every:
            logs["r1"] = r1_of(on_real, real, self.r1)
            update("d", d_loss + logs["r1"])
        else:
            update("d", d_loss)
        if self.r1 and not at_every and update.step % self.r1_every == 0:
            logs["r1"] = r1_penalty(judge, real, self.r1)
            update("d", self.r1_every * logs["r1"])

        logs["g_loss"] = generator_loss("non-saturating", judge(fake))
        update("g", logs["g_loss"])
        if self.path and update.step % self.path_every == 0:
            half = max(1, len(real) // 2)  # J costs much memory, and half a batch tells as much
            w = self._styles(half, y if y is None else y[:half], level)
            logs["path_length"], penalty = self._path_penalty(self.G(w, self._fresh, level, fade), w)
            update("g", self.path_every * self.path * penalty)
        if self.augment:
            self.augment.observe(on_real)
            if (update.step + 1) % ADJUST == 0:
                logs["ada_r"], logs["ada_p"] = self.augment.adjust(), self.augment.p.clone()
        return {k: v.detach() for k, v in logs.items()}

    def _path_penalty(self, images: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean path length and E (length - a)², and move a."""
        lengths = path_lengths(images, w)
        mean = lengths.detach().mean()
        # A running mean that starts from 0 would press short runs to images that do not depend on w.
        self.length.copy_(torch.where(self.length == 0, mean, self.length.lerp(mean, PATH_DECAY)))
        return lengths.mean(), (lengths - self.length).square().mean()

    def _styles(self, n: int, y: Tensor | None, level: int) -> Tensor:
        """Draw w [n, layers, latent] as training does: mixed, and counted in the running mean."""
        used = 2 * level + 2
        first, second = self.F(self._draw(2 * n), None if y is None else y.repeat(2, 1)).chunk(2)
        self.mean.lerp_(first.detach().mean(0), 1 - self.mean_decay)
        cut = torch.randint(1, used, (n, 1, 1), device=self.device)
        cut = torch.where(torch.rand(n, 1, 1, device=self.device) < self.mixing, cut, used)
        return torch.where(
            torch.arange(self.layers, device=self.device)[:, None] < cut, first[:, None], second[:, None]
        )

    def _grown(self, progress: float) -> tuple[int, float]:
        """Level and fade; growth begins with one doubling (the paper: at 8x8)."""
        level, fade = growth(progress, self.levels - 1, self.grow)
        return level + 1, fade

    def _one_hot(self, label: Tensor) -> Tensor:
        return F.one_hot(label, self.labels).float()

    def _draw(self, n: int, generator: Generator | None = None) -> Tensor:
        return torch.randn(n, self.latent_size, device=self.device, generator=generator)

    @staticmethod
    def _fresh(fixed: Tensor, n: int, generator: Generator | None = None) -> Tensor:
        return torch.randn(n, *fixed.shape[1:], device=fixed.device, generator=generator)

    @torch.no_grad()
    def sample_prior(
        self,
        n: int,
        *,
        generator: Generator,
        label: int | None = None,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Tensor:
        """Draw w: [n, latent], or a style for each layer [n, layers, latent] with a `cutoff`; arguments as in `sample`."""
        z, y = self._draw(n, generator), None
        if self.labels or label is not None:
            y = self._one_hot(draw_labels(self, n, label, generator))
        w = self.F(z, y)
        near = self.mean.lerp(w, truncation)
        if cutoff is None:
            return near
        return torch.where(torch.arange(self.layers, device=w.device)[:, None] < cutoff, near[:, None], w[:, None])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of styles w [n, latent] or [n, layers, latent], with the noise that the system holds."""
        return self._show(z, lambda fixed, n: fixed)

    def _show(self, w: Tensor, noise: Noise) -> Tensor:
        level, fade = self._grown(float(self.progress))
        w = w if w.ndim == 3 else w[:, None].expand(-1, self.layers, -1)
        return enlarge(self.G(w, noise, level, fade), 2 ** (self.levels - level)).clamp(-1, 1).contiguous()

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        label: Annotated[int, Field(ge=0)] | None = None,
        truncation: Annotated[float, Field(ge=-2, le=2)] = 1.0,
        cutoff: Annotated[int, Field(ge=0)] | None = None,
    ) -> Tensor:
        """Return `n` images [n, C, H, W] in [-1, 1].

        Args:
            n: How many.
            generator: All the randomness.
            label: Class of all of them, where conditional; none draws a class for each, all equally likely.
            truncation: ψ of w' = mean + ψ (w - mean): 1 for all there is, below 1 for typical images, 0 for the mean one.
            cutoff: Truncate the first layers only, so many; none for all of them.
        """
        w = self.sample_prior(n, generator=generator, label=label, truncation=truncation, cutoff=cutoff)
        return self._show(w, lambda fixed, n: self._fresh(fixed, n, generator))

    def figures(
        self,
        *,
        generator: Generator,
        rows: Annotated[int, Field(ge=1, le=64)] = 5,
        columns: Annotated[int, Field(ge=1, le=64)] = 8,
        truncation: Annotated[float, Field(ge=-2, le=2)] = 0.8,
    ) -> dict[str, Figure]:
        """Tables of mixed styles (figure 3), for the coarse and for the fine layers.

        Args:
            generator: Draws the images that are mixed, the same for both tables.
            rows: Images at the left, whose styles are taken.
            columns: Images at the top, which they are taken over to.
            truncation: As in `sample`.
        """
        start, half, found = generator.get_state(), self.layers // 2, {}
        for name, first, last in (("coarse", 0, half), ("fine", half, self.layers)):
            generator.set_state(start)
            table = self.mix(rows, columns, generator=generator, first=first, last=last, truncation=truncation)
            words = (
                f"Styles of layers {first} to {last - 1} of {self.layers} from the image at the left, the others from the image at the top; "
                f"truncation {truncation:g}"
            )
            found[f"mixing-{name}"] = Figure(table, columns + 1, words)
        return found

    @torch.no_grad()
    def mix(
        self,
        rows: int,
        columns: int,
        *,
        generator: Generator,
        first: int = 0,
        last: int | None = None,
        truncation: float = 1.0,
    ) -> Tensor:
        """Return the style-mixing table (figure 3), [(rows + 1) · (columns + 1), C, H, W], row by row.

        The first row and column are images of their own (the corner is white); the others have the styles of layers `first` to `last`
        (not included; none for all that follow) from their row's image and the rest from their column's.

        Raises:
            UserError: There are no such layers.
        """
        stop = self.layers if last is None else last
        if not 0 <= first < stop <= self.layers:
            raise UserError(f"layers {first} to {stop} are not possible; there are {self.layers}, counted from 0")
        w = self.sample_prior(rows + columns, generator=generator, truncation=truncation)
        given, taking = w.split([rows, columns])
        layer = torch.arange(self.layers, device=w.device)[:, None]
        table = torch.where((first <= layer) & (layer < stop), given[:, None, None], taking[None, :, None])
        top, side, inner = self.decode(taking), self.decode(given), self.decode(table.flatten(0, 1))
        below = torch.cat([side[:, None], inner.unflatten(0, (rows, columns))], 1).flatten(0, 1)
        return torch.cat([torch.ones_like(top[:1]), top, below])
