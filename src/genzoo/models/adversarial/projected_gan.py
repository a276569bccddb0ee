"""GAN whose discriminators see randomly mixed features of a frozen recognition network in place of pixels."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.models.adversarial._fastgan import FastSynthesis
from genzoo.models.adversarial._fused import FusedMixing, TaperedDiscriminator, nominal_sides
from genzoo.nn import latent
from genzoo.nn.checks import check_conditional, check_sides
from genzoo.nn.gan.augment import Augmentation, augment
from genzoo.nn.gan.dcgan import Synthesis
from genzoo.nn.optimizers import adam_for_each
from genzoo.nn.pretrained.frozen import FrozenMaps, FrozenNetwork, MapDiscriminator, RandomMixing

MATCHED = 64
"""Numbers at each place that are matched with a class."""


class ClassDiscriminator(nn.Module):
    """A discriminator of one map that is told the class: at every place <v(y), D(map)> / √`MATCHED`, as in the authors' code.

    Args:
        net: From a map to `MATCHED` numbers at every place.
        classes: Number of classes.
    """

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net, self.direction = net, nn.Embedding(classes, 128)
        self.project = nn.Sequential(nn.Linear(128, MATCHED), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return logits [B, 1, h, w] of maps [B, channels, H, W] with one-hot classes y [B, classes]."""
        wanted = self.project(y @ self.direction.weight)[:, :, None, None]
        return (self.net(x) * wanted).sum(1, keepdim=True).float() / math.sqrt(MATCHED)


class ProjectedGAN(System):
    """Projected GAN of Sauer, Chitta, Müller & Geiger (2021).

    min_G max_D Σ_l E log D_l(P_l(x)) + E log(1 - D_l(P_l(G(z)))) (eq. 2) in its hinge form: P_l are the maps of a frozen network F,
    mixed across channels by random 1x1 convolutions and across scales by random 3x3 convolutions and enlargement (section 3.2);
    D_l is a small spectrally normalized discriminator of the l-th map. F and the mixing are never trained. Both players see images
    through differentiable augmentation, and images smaller than `resolution` enlarged.

    `conditional` tells both players the class, as in the authors' code for class-conditional data: every D_l matches what it makes of a place with a
    direction of the class (arXiv:1802.05637); DCGAN's G has the class beside z, FastGAN's in its batch norms.

    Deviations by default: the generator is DCGAN's; mixing across channels has no bias and across scales a 3x3 convolution; the D_l have one
    width and end at maps of about 4 pixels whatever the image's size; their losses are added; G steps on the images that the D_l have
    just been trained on, through the same augmentation. `projected-gan-paper` has the authors' code in all of this: FastGAN's generator
    (arXiv:2101.04775), `fused` mixing, `tapered` discriminators, one mean over all logits, and G's step first, on draws of its own.
    A Fréchet distance on features of F's own kind flatters such a system: measure with another network.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024, 1 or 3 channels.
        classes: Number of classes; read only where `conditional`.
        conditional: Tell both players the class.
        features: The frozen network F. All but the lenets (bundled, for grey images) and vgg16-random take a file from $GENZOO_WEIGHTS.
        weights: File of the weights of F; none: the one of its name in $GENZOO_WEIGHTS.
        resolution: Images with a smaller side are enlarged to it before F; none: what F was trained on, 224 (lenets: 28).
        mixing: Random mixing of the maps: across channels and scales (scales, or fused as in the authors' code), across channels only, or none.
        mix_width: Channels of the finest mixed map.
        judges: Discriminators of one width, or tapered as in the authors' code: the smaller the map, the more channels.
        d_width: Channels inside each discriminator; of tapered ones those at the largest maps.
        d_norm: Normalization in the discriminators, beside spectral norm.
        joined: Take one mean over the logits of all scales, as in the authors' code, in place of the sum of the scales' losses.
        redraw: Step G first, on draws and changes of its own, as in the authors' code.
        generator: DCGAN's, FastGAN's, or FastGAN's with one convolution for each doubling.
        latent: Dimensions of the latent z, normal(0, 1).
        width: Channels of DCGAN's generator next to the image; of FastGAN's at 128 pixels.
        kernel: Side of the filters of DCGAN's generator.
        augment: Differentiable augmentations of what F sees.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:2111.01007"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "projected-gan-conditional": {"conditional": True},
        "projected-gan-paper": {
            "mixing": "fused", "judges": "tapered", "joined": True, "redraw": True, "generator": "fastgan", "latent": 256, "width": 128,
        },
    }  # fmt: skip
    tiny: ClassVar[dict] = {
        "shape": (1, 16, 16), "latent": 8, "width": 8, "features": "lenet-mnist", "mix_width": 4, "d_width": 4,
    }  # fmt: skip
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999}

    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        classes: int = 10,
        *,
        conditional: bool = False,
        features: FrozenNetwork = "efficientnet-lite0",
        weights: str | None = None,
        resolution: Annotated[int, Field(ge=8, le=1024)] | None = None,
        mixing: Literal["scales", "fused", "channels", "none"] = "scales",
        mix_width: Annotated[int, Field(ge=1, le=1024)] = 64,
        judges: Literal["even", "tapered"] = "even",
        d_width: Annotated[int, Field(ge=1, le=1024)] = 64,
        d_norm: Literal["batch", "none"] = "batch",
        joined: bool = False,
        redraw: bool = False,
        generator: Literal["dcgan", "fastgan", "fastgan-lite"] = "dcgan",
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        kernel: Literal[4, 5] = 4,
        augment: tuple[Augmentation, ...] = ("color", "translation", "cutout"),
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "projected-gan")
        check_conditional(conditional, classes)
        self.labels = self.conditions = classes if conditional else 0
        self.latent_size, self.augment = latent, augment
        self.lr, self.betas = lr, (beta1, beta2)
        self.joined, self.redraw = joined, redraw
        self.G: nn.Module
        if generator == "dcgan":
            self.G = Synthesis(shape, latent + self.labels, width, kernel)
        else:
            self.G = FastSynthesis(shape, latent, width, labels=self.labels, lite=generator == "fastgan-lite")
        self.F = FrozenMaps(features, weights=weights, resolution=resolution)
        self.F.check(shape, "projected-gan")
        channels = self.F.channels
        self.P: RandomMixing | FusedMixing | None = None
        if mixing == "fused":
            self.P = FusedMixing(channels, mix_width)
        elif mixing != "none":
            self.P = RandomMixing(channels, mix_width, scales=mixing == "scales")
        channels = self.P.channels if self.P else channels
        normed, outputs, nets = d_norm == "batch", MATCHED if conditional else 1, nn.ModuleList()
        sides = nominal_sides(self.F.resolution, self.F.spec.strides, doubled=mixing == "fused")
        for c, side, halvings in zip(channels, sides, self.F.halvings(shape), strict=True):
            if judges == "even":
                n = halvings + (mixing == "fused")
                nets.append(MapDiscriminator(c, d_width, n, batch_norm=normed, outputs=outputs))
            else:
                nets.append(TaperedDiscriminator(c, d_width, side, batch_norm=normed, outputs=outputs))
        self.D = nn.ModuleList(ClassDiscriminator(net, classes) if conditional else net for net in nets)

    optimizers = adam_for_each

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of every discriminator, one of the generator: on the same z, or before it on draws of its own."""
        real = batch["image"]
        y = self._one_hot(batch["label"]) if self.labels else None
        if self.redraw:
            g_loss = self._fooled(self.judge(self.maps(self._make(len(real), y)), y))
            update("g", g_loss)
        with torch.set_grad_enabled(not self.redraw):
            # With the graph back to G: nothing between G and the discriminators changes in this step.
            seen = self.maps(self._make(len(real), y))
        on_real, on_fake = self.judge(self.maps(real), y), self.judge([m.detach() for m in seen], y)
        d_loss = self._told_apart(on_real, on_fake)
        update("d", d_loss)
        if not self.redraw:
            g_loss = self._fooled(self.judge(seen, y))
            update("g", g_loss)
        logs = {"d_loss": d_loss, "g_loss": g_loss}
        logs |= {"d_real": _mean(on_real), "d_fake": _mean(on_fake)}
        return {k: v.detach() for k, v in logs.items()}

    def _make(self, n: int, y: Tensor | None) -> Tensor:
        """Return n generated images, of one-hot classes y [n, classes] where there are any."""
        z = self._draw(n)
        images: Tensor = self.G(z if y is None else torch.cat([z, y], 1))
        return images

    def _told_apart(self, on_real: list[Tensor], on_fake: list[Tensor]) -> Tensor:
        """Return the discriminators' hinge loss of their logits."""
        if self.joined:
            return discriminator_loss("hinge", _join(on_real), _join(on_fake))
        losses = (discriminator_loss("hinge", r, f) for r, f in zip(on_real, on_fake, strict=True))
        return sum(losses, on_real[0].new_zeros(()))

    def _fooled(self, on_fake: list[Tensor]) -> Tensor:
        """Return the generator's loss of their logits."""
        if self.joined:
            return generator_loss("hinge", _join(on_fake))
        return sum((generator_loss("hinge", f) for f in on_fake), on_fake[0].new_zeros(()))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return P_l(x), [B, channels, h, w] fine to coarse, of images [B, C, H, W] in [-1, 1], augmented anew."""
        found = self.F(augment(x, self.augment))
        return self.P(found) if self.P else found

    def judge(self, maps: list[Tensor], y: Tensor | None = None) -> list[Tensor]:
        """Return the logits of every scale, [B, 1, h, w] each, of mixed maps, with one-hot classes y [B, classes] where there are any."""
        given = () if y is None else (y,)
        return [d(m, *given) for d, m in zip(self.D, maps, strict=True)]

    _draw = latent.normal
    _one_hot = latent.one_hot
    sample_prior = latent.sample_prior_of_class
    sample = latent.sample_of_class

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents [n, latent], which end in the class where there are classes."""
        return self.G(z).clamp(-1, 1).contiguous()


def _mean(scores: list[Tensor]) -> Tensor:
    return torch.stack([s.mean() for s in scores]).mean()


def _join(scores: list[Tensor]) -> Tensor:
    return torch.cat([s.flatten(1) for s in scores], 1)
