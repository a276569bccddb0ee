"""Relations between two domains without pairs: two encoder-decoders whose round trips must reconstruct the image."""

from __future__ import annotations

import functools
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.nn import two_way
from genzoo.nn.checks import check_multiples
from genzoo.nn.init import normal_init
from genzoo.nn.upsampling import Upsample, doubling


class DiscoGAN(System):
    """DiscoGAN of Kim, Cha, Kim, Lee & Kim (2017): discovering cross-domain relations without pairs.

    Equations 3 to 8: each generator must fool the discriminator of its target (cross entropy, non-saturating), and the image that
    has gone there and back must be the original (mean squared error, weight `reconstruction`). `reconstruct` chooses the
    paper's three models: `both` ways is DiscoGAN; `a` alone is its "GAN with a reconstruction loss", in which several images
    of A may land on one of B; `none` is its "standard GAN". Generators are stacks of convolutions 4 x 4 with stride 2 and of their
    transposes, discriminators end in one logit for the whole image: unlike CycleGAN's, they judge shape as well as texture.

    Weights start from N(0, 0.02²), batch norm stands in all but the first and last layers, and Adam decays weights by 1e-4,
    as in section 3.1. Generators step `g_steps` times for each step of the discriminators, as in the authors' program.

    Args:
        shape: Channels, height and width of an image; the sides are multiples of 2^depth.
        width: Channels of the first convolutions; they double up to 8 times this.
        depth: How often generators and discriminators halve the image.
        upsample: How maps are doubled: resize repeats pixels before a 3 x 3 convolution, transposed is the paper's 4 x 4 one.
        reconstruct: Which round trips must come home: both, a (A to B to A alone), or none.
        reconstruction: Weight of a round trip's error.
        g_steps: Steps of the generators for each step of the discriminators.
        lr: Learning rate.
        weight_decay: Of all weights, in Adam's gradient.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1703.05192"
    data: ClassVar[str] = "unpaired"
    directions: ClassVar[tuple[str, ...]] = ("a2b", "b2a")
    presets: ClassVar[dict] = {
        "discogan-one-way": {"reconstruct": "a"},
        "discogan-no-cycle": {"reconstruct": "none"},
        "discogan-paper": {"upsample": "transposed"},
    }
    tiny: ClassVar[dict] = {"shape": (3, 8, 8), "width": 4, "depth": 2}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.0}
    formerly: ClassVar[dict] = {"upsample": "transposed"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        depth: Annotated[int, Field(ge=1, le=8)] = 4,
        upsample: Upsample = "resize",
        reconstruct: Literal["both", "a", "none"] = "both",
        reconstruction: Annotated[float, Field(gt=0, le=1000)] = 1.0,
        g_steps: Annotated[int, Field(ge=1, le=10)] = 2,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        self.multiple = 2**depth
        check_multiples(
            shape, self.multiple, 2 * self.multiple, f"discogan with depth={depth}", ", or a smaller depth."
        )
        self.reconstruct, self.reconstruction, self.g_steps = reconstruct, reconstruction, g_steps
        self.lr, self.weight_decay, self.betas = lr, weight_decay, (beta1, beta2)
        self.a2b, self.b2a = (generator(shape[0], width, depth, upsample) for _ in range(2))
        self.D_a, self.D_b = (discriminator(shape, width, depth) for _ in range(2))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimizer for both generators, one for both discriminators."""
        adam = functools.partial(Adam, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)
        return {
            "g": adam([*self.a2b.parameters(), *self.b2a.parameters()]),
            "d": adam([*self.D_a.parameters(), *self.D_b.parameters()]),
        }

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of both generators; after every `g_steps` of them one of both discriminators."""
        a, b = batch["a"], batch["b"]
        fake_b, fake_a = self.a2b(a).float(), self.b2a(b).float()
        fool_b = generator_loss("non-saturating", self.D_b(fake_b).float())
        fool_a = generator_loss("non-saturating", self.D_a(fake_a).float())
        g_loss = fool_b + fool_a
        logs = {"g_a2b": fool_b, "g_b2a": fool_a}
        if self.reconstruct != "none":
            logs["home_a"] = F.mse_loss(self.b2a(fake_b).float(), a)
            g_loss = g_loss + self.reconstruction * logs["home_a"]
        if self.reconstruct == "both":
            logs["home_b"] = F.mse_loss(self.a2b(fake_a).float(), b)
            g_loss = g_loss + self.reconstruction * logs["home_b"]
        update("g", g_loss)
        logs = {"g_loss": g_loss, **logs}
        if (update.step + 1) % self.g_steps == 0:
            pairs = ((self.D_a, a, fake_a), (self.D_b, b, fake_b))
            scores = [(d(real).float(), d(fake.detach()).float()) for d, real, fake in pairs]
            logs["d_loss"] = sum((discriminator_loss("non-saturating", r, f) for r, f in scores), a.new_zeros(()))
            update("d", logs["d_loss"])
        return {k: v.detach() for k, v in logs.items()}

    translate = two_way.translate


def _halving(channels: int, width: int, depth: int) -> tuple[list[int], list[nn.Module]]:
    """Return the widths and layers of `depth` convolutions of stride 2."""
    widths = [width * min(2**i, 8) for i in range(depth)]
    parts: list[nn.Module] = []
    for i, w in enumerate(widths):
        parts += [nn.Conv2d(widths[i - 1] if i else channels, w, 4, 2, 1, bias=i == 0)]
        parts += [nn.BatchNorm2d(w)] if i else []
        parts += [nn.LeakyReLU(0.2, inplace=True)]
    return widths, parts


def generator(channels: int, width: int, depth: int, upsample: Upsample = "transposed") -> nn.Sequential:
    """Build `depth` convolutions of stride 2 and as many layers that double, [B, C, H, W] to its like in [-1, 1]."""
    widths, parts = _halving(channels, width, depth)
    for i in reversed(range(1, depth)):
        parts += [doubling(upsample, widths[i], widths[i - 1], bias=False)]
        parts += [nn.BatchNorm2d(widths[i - 1]), nn.ReLU(True)]
    net = nn.Sequential(*parts, doubling(upsample, widths[0], channels), nn.Tanh())
    normal_init(net)
    return net


def discriminator(shape: tuple[int, int, int], width: int, depth: int) -> nn.Sequential:
    """Build `depth` convolutions of stride 2 and one over all that is left: [B, C, H, W] to logits [B, 1, 1, 1]."""
    channels, height, wide = shape
    widths, parts = _halving(channels, width, depth)
    net = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, (height // 2**depth, wide // 2**depth)))
    normal_init(net)
    return net
