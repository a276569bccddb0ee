"""StyleGAN2: styles modulate the weights of a generator that does not grow; with ADA for a few hundred images."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import path_lengths, r1_of, r1_penalty
from genzoo.models.adversarial._adaptive import AdaptiveAugment
from genzoo.models.adversarial._modulated import ModulatedConv2d, ModulatedLayer
from genzoo.nn import latent as latents
from genzoo.nn.checks import check_conditional
from genzoo.nn.gan import styles
from genzoo.nn.gan.equalized import EqualConv2d, EqualLinear, minibatch_std, pixel_norm
from genzoo.nn.gan.growing import layers_by_size, smallest_map
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.gan.styles import Mapping, Noise
from genzoo.nn.gan.upfirdn import double
from genzoo.nn.layout import channels_last
from genzoo.nn.optimizers import AdamOfSquares
from genzoo.nn.remat import a_few_at_a_time, again, apart
from genzoo.ranks.batch import for_examples
from genzoo.ranks.sums import everybody, mean_over_ranks, own, ranks

ADJUST = 4
"""Steps between two moves of ADA's probability."""
LARGEST = 3
"""Sizes that have seven eighths of all maps: G's are made again when it learns, in place of waiting while D does; with `remat` a few at a time."""
PATH_DECAY = 0.01
"""Weight of a new length in the running mean that path lengths are pulled to."""


class Synthesis(nn.Module):
    """A learnt constant and two modulated layers for each size, but one for the first; the pixels of all sizes are added up (figure 7b).

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        latent: Dimensions of a style.
        widths: Channels of every size, smallest map first.
        noise: Add noise at every layer.
        around: What the scales that styles give start around.
    """

    blocks: Any  # a ModuleList of ModuleLists
    remat = False

    def __init__(
        self, channels: int, start: tuple[int, int], latent: int, widths: list[int], *, noise: bool, around: float
    ) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(1, widths[0], *start))

        def layer(inputs: int, outputs: int, k: int, up: bool = False) -> ModulatedLayer:
            size = (start[0] * 2**k, start[1] * 2**k)
            return ModulatedLayer(inputs, outputs, latent, size, up=up, noise=noise, around=around)

        blocks = [[layer(widths[0], widths[0], 0)]]
        blocks += [[layer(a, b, k, up=True), layer(b, b, k)] for k, (a, b) in enumerate(itertools.pairwise(widths), 1)]
        self.blocks = nn.ModuleList(nn.ModuleList(b) for b in blocks)
        self.pixels = nn.ModuleList(
            ModulatedConv2d(w, channels, 1, latent, demodulate=False, around=around) for w in widths
        )
        self.pixel_bias = nn.Parameter(torch.zeros(len(widths), channels))

    def forward(self, w: Tensor, noise: Noise, *, late: bool = False) -> Tensor:
        """Return images [B, C, H, W] of styles w [B, 2 · sizes, latent].

        `late`: The backward pass comes after another network's training; the largest sizes, with seven eighths of all maps, are then made again.
        """
        x = self.const.expand(w.shape[0], -1, -1, -1)
        split = max(0, len(self.blocks) - LARGEST) if late or self.remat else len(self.blocks)
        x, image = self._sizes(0, split, x, None, w, noise)
        if split == len(self.blocks):
            assert image is not None
            return image
        # Drawn for all images at once.
        drawn = [
            noise(layer.fixed, w.shape[0]) for b in self.blocks[split:] for layer in b if layer.strength is not None
        ]
        given = [x, w] if image is None else [x, w, image]

        def largest(x: Tensor, w: Tensor, *others: Tensor) -> tuple[Tensor]:
            image, noises = others[0] if len(given) == 3 else None, iter(others[len(given) - 2 :])
            _, image = self._sizes(split, len(self.blocks), x, image, w, lambda fixed, n: next(noises), whole=True)
            assert image is not None
            return (image,)

        of = a_few_at_a_time if self.remat else apart
        return of(self, largest, *given, *drawn)[0]

    def _sizes(
        self, first: int, end: int, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise, *, whole: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        each = iter(w.unbind(1)[max(0, 2 * first - 1) :])
        for k in range(first, end):
            block = self.blocks[k]
            # The pixels' style is that of the next size's first layer; the last size's pixels have their own.
            of = [*[next(each) for _ in block], w[:, 2 * k + 1]]
            given = block, self.pixels[k], x, of, noise
            x, new = _styled(*given) if whole else again(self, _styled, *given)
            new = new.float() + self.pixel_bias[k].view(1, -1, 1, 1)
            image = new if image is None else double(image) + new
        return x, image


class Discriminator(nn.Module):
    """Residual blocks that halve; the last map, with the standard deviation over the batch, ends in two dense layers (figure 7c).

    With classes the score is the product of the image's vector and one that is mapped from the class's embedding, as in StyleGAN2-ADA's
    program (projection, arXiv:1802.05637).

    Args:
        channels: Channels of the image.
        start: Height and width of the smallest map.
        widths: Channels of every size, smallest map first.
        classes: Number of classes, or 0.
        depth: Dense layers between a class's embedding and its vector.
        rate: Factor on their learning rate.
    """

    blocks: Any  # a ModuleList of ModuleLists
    remat = False

    def __init__(
        self, channels: int, start: tuple[int, int], widths: list[int], classes: int, depth: int, rate: float
    ) -> None:
        super().__init__()
        pairs, self.classes, first = list(itertools.pairwise(widths)), classes, widths[0]
        self.pixels = nn.ModuleList([EqualConv2d(channels, widths[-1], 1)])
        self.blocks = nn.ModuleList(
            nn.ModuleList([EqualConv2d(b, b, 3, 1), EqualConv2d(b, a, 3, resample="down")]) for a, b in pairs
        )
        self.skips = nn.ModuleList(EqualConv2d(b, a, 1, gain=1.0, resample="down", bias=False) for a, b in pairs)
        self.last = EqualConv2d(first + 1, first, 3, 1)
        self.dense = EqualLinear(first * start[0] * start[1], first)
        self.score = EqualLinear(first, first if classes else 1, gain=1.0)
        if classes:
            self.embed = EqualLinear(classes, first, gain=1.0)
            self.mapping = nn.ModuleList(EqualLinear(first, first, rate=rate) for _ in range(depth))

    def forward(self, x: Tensor, y: Tensor | None = None, batches: int = 1) -> Tensor:
        """Return scores [B] of images [B, C, H, W], with one-hot classes y [B, classes] where there are any.

        `batches` as in `minibatch_std`.
        """
        (x,) = a_few_at_a_time(self, self._large, channels_last(x))
        for block, skip in self._downwards()[LARGEST:]:
            x = again(self, _halved, block, skip, x)
        x = leaky_relu(self.last(channels_last(minibatch_std(x, batches=batches)))).flatten(1)
        x = self.score(leaky_relu(self.dense(x))).float()
        if not self.classes:
            return x.squeeze(1)
        c = pixel_norm(self.embed(y).float())
        for layer in self.mapping:
            c = leaky_relu(layer(c))
        return (x * c.float()).sum(1) / math.sqrt(x.shape[1])

    def _downwards(self) -> list[tuple[nn.ModuleList, nn.Module]]:
        return list(zip(reversed(self.blocks), reversed(self.skips), strict=True))

    def _large(self, x: Tensor) -> tuple[Tensor]:
        x = leaky_relu(self.pixels[0](x), inplace=True)
        for block, skip in self._downwards()[:LARGEST]:
            x = _halved(block, skip, x)
        return (x,)


def _styled(
    layers: nn.ModuleList, pixels: nn.Module, x: Tensor, styles: list[Tensor], noise: Noise
) -> tuple[Tensor, Tensor]:
    """Return what the modulated layers of one size make of x, and its pixels, with a style [B, latent] for each layer and one for these."""
    for layer, style in zip(layers, styles[:-1], strict=True):
        x = layer(x, style, noise)
    return x, pixels(x, styles[-1])


def _halved(block: nn.ModuleList, skip: nn.Module, x: Tensor) -> Tensor:
    """Return what a residual block of the discriminator makes of x, at half the size."""
    h = x
    for conv in block:
        h = leaky_relu(conv(h), inplace=True)
    halved: Tensor = skip(x).add_(h).mul_(math.sqrt(0.5))
    return halved


class StyleGAN2(System):
    """StyleGAN2 of Karras et al. (2020), with the adaptive discriminator augmentation of Karras et al. (arXiv:2006.06676) as `ada`.

    z is mapped to w, which modulates the weights of every layer; these are demodulated (equations 1 to 3), and noise is added. Every size
    adds its pixels to the image; D is residual; nothing grows. The losses are non-saturating. In a share `mixing` of examples the layers
    from a random one on take the style of a second z. The path length penalty is (‖Jᵀy‖ - a)² with a its running mean (equation 4);
    penalties with an interval k enter every k-th step, k times as heavy, as an update of their own, with Adam's rate and decays corrected
    by k / (k + 1) (appendix B). Truncation pulls w to its running mean.

    Deviations: G steps on the images that D was trained on in the same step; the crossover of mixing is drawn for each example, not for
    each batch; the running mean of path lengths starts from the first one and not from 0; the rectifier's gain of √2 stands before bias
    and noise.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, multiples of the number of doublings' power of two.
        classes: Number of classes; read only where `conditional`.
        conditional: Tell both players the class.
        latent: Dimensions of z and of w.
        width: Channels next to the image; they double with every size down, up to `most`.
        most: Most channels of a layer.
        depth: Layers of the mapping from z to w.
        mapping_rate: Factor on the learning rate of the mappings from z and from the class.
        class_depth: Layers of D's mapping from the class, where conditional; 0 for an embedding alone.
        mixing: Share of examples with the styles of two z.
        noise: Add noise at every layer; without it an image depends on its styles alone.
        centred: Scales start around 0 and not around 1, and w around 0: at the start nothing is then common to all images. For short runs,
            which with the paper's start were seen to collapse to one shape.
        mean_decay: Weight of the past in the running mean of w.
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

    paper: ClassVar[str] = "arXiv:1912.04958"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {"stylegan2-ffhq": {"r1": 10.0}, "stylegan2-ada": {"ada": True}}
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4, "most": 8, "depth": 2}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 16, "ema_images": 10000}
    formerly: ClassVar[dict[str, Any]] = {"class_depth": 0}
    parted: ClassVar[tuple[str, ...]] = ("stylegan",)
    dropped: ClassVar[dict[str, Any]] = {"style": "modulated", "grow": 0.0}
    dropped_state: ClassVar[tuple[str, ...]] = ("progress",)
    latent_path: ClassVar[str] = "linear"
    averaged: ClassVar[tuple[str, ...]] = ("mean", "length")
    labels: int
    layers: int
    mean: Tensor
    length: Tensor

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
        class_depth: Annotated[int, Field(ge=0, le=32)] = 8,
        mixing: Annotated[float, Field(ge=0, le=1)] = 0.9,
        noise: bool = True,
        centred: bool = False,
        mean_decay: Annotated[float, Field(ge=0, lt=1)] = 0.998,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        r1_every: Annotated[int, Field(ge=1, le=1000)] = 16,
        path: Annotated[float, Field(ge=0, le=1000)] = 2.0,
        path_every: Annotated[int, Field(ge=1, le=1000)] = 8,
        ada: bool = False,
        ada_target: Annotated[float, Field(ge=-1, le=1)] = 0.6,
        ada_images: Annotated[int, Field(ge=1)] = 500_000,
        ada_limit: Annotated[float, Field(ge=0, lt=1)] = 0.8,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_conditional(conditional, classes)
        self.levels, start = smallest_map(shape, "stylegan2")
        self.labels, self.latent_size, self.layers = classes if conditional else 0, latent, 2 * self.levels + 2
        self.mixing, self.mean_decay = mixing, mean_decay
        self.r1, self.r1_every, self.path, self.path_every = r1, r1_every, path, path_every
        self.lr, self.betas = lr, (beta1, beta2)
        widths = [min(width * 2 ** (self.levels - k), most) for k in range(self.levels + 1)]
        self.F = Mapping(latent, depth, mapping_rate, self.labels, centred=centred)
        self.G = Synthesis(shape[0], start, latent, widths, noise=noise, around=0.0 if centred else 1.0)
        self.D = Discriminator(shape[0], start, widths, self.labels, class_depth, mapping_rate)
        self.augment = AdaptiveAugment(ada_target, ada_images, ada_limit) if ada else None
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("length", torch.zeros(()))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each player, its rate and decays corrected where a penalty has steps of its own."""

        def adam(parameters: list[nn.Parameter], lazy: int | None) -> Adam:
            c = lazy / (lazy + 1) if lazy else 1.0
            kind = Adam if self.betas[0] else AdamOfSquares
            return kind(parameters, lr=self.lr * c, betas=(self.betas[0] ** c, self.betas[1] ** c))

        return {
            "d": adam(list(self.D.parameters()), self.r1_every if self.r1 and self.r1_every > 1 else None),
            "g": adam([*self.F.parameters(), *self.G.parameters()], self.path_every if self.path else None),
        }

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of each player, and the penalties that are due."""
        real = batch["image"]
        y = self._one_hot(batch["label"]) if self.labels else None

        def judge(x: Tensor, batches: int = 1) -> Tensor:
            of = y if y is None or batches == 1 else y.repeat(batches, 1)
            return self.D(self.augment(x) if self.augment else x, of, batches)

        fake = self.G(self._styles(len(real), y, self.layers), styles.fresh_noise, late=True)
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
            d_loss = d_loss + logs["r1"]
        update("d", d_loss)
        if self.r1 and not at_every and update.step % self.r1_every == 0:
            logs["r1"] = r1_penalty(judge, real, self.r1)
            update("d", self.r1_every * logs["r1"])

        logs["g_loss"] = generator_loss("non-saturating", judge(fake))
        update("g", logs["g_loss"])
        if self.path and update.step % self.path_every == 0:
            half = max(1, len(real) // 2)  # J costs much memory, and half a batch tells as much
            with for_examples(half):
                w = self._styles(half, y if y is None else own(everybody(y)[: half * ranks()]), self.layers)
                logs["path_length"], penalty = self._path_penalty(self.G(w, styles.fresh_noise), w)
            update("g", self.path_every * self.path * penalty)
        if self.augment:
            self.augment.observe(on_real)
            if (update.step + 1) % ADJUST == 0:
                logs["ada_r"], logs["ada_p"] = self.augment.adjust(), self.augment.p.clone()
        return {k: v.detach() for k, v in logs.items()}

    def _path_penalty(self, images: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean path length and E (length - a)², and move a."""
        lengths = path_lengths(images, w)
        mean = mean_over_ranks(lengths.detach().mean())
        # A running mean that starts from 0 would press short runs to images that do not depend on w.
        self.length.copy_(torch.where(self.length == 0, mean, self.length.lerp(mean, PATH_DECAY)))
        return lengths.mean(), (lengths - self.length).square().mean()

    def _show(self, w: Tensor, noise: Noise) -> Tensor:
        """Return images of styles [n, layers, latent]."""
        return self.G(w, noise)

    _draw = latents.normal
    _one_hot = latents.one_hot
    _styles = styles.mixed_styles
    sample_prior = styles.sample_prior
    decode = styles.decode
    sample = styles.sample
    mix = styles.mix
    figures = styles.figures
    judging = layers_by_size
