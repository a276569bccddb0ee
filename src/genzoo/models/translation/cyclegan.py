"""Unpaired image translation: two generators that undo each other, each facing a discriminator of its target."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.models.translation._image_pool import ImagePool
from genzoo.nn import two_way
from genzoo.nn.checks import check_multiples
from genzoo.nn.gan.patchgan import PatchGAN, smallest_side
from genzoo.nn.gan.resnet_generator import ResnetGenerator
from genzoo.nn.instance_norm import InstanceNorm2d
from genzoo.nn.optimizers import adam_for
from genzoo.nn.schedules import constant_then_linear
from genzoo.nn.upsampling import Upsample


class CycleGAN(System):
    """CycleGAN of Zhu, Park, Isola & Efros (2017): translation between two domains from unpaired examples.

    Equations 1 to 3 with the least-squares objective of section 4: each generator must fool the 70 x 70 PatchGAN of
    its target domain, both round trips must come home (weight `cycle`, L1), and an image that is in the target domain
    already should stay as it is (weight `identity`, relative to `cycle`; section 5.2). Discriminators see a pool of
    past translations. The learning rate is constant for the first half of the run, then falls linearly to 0.
    Generators step before discriminators.

    Sizes of the paper: 9 blocks at 256 x 256, 6 at 128 x 128, width 64. On a CPU width 24 and 4 blocks at 64 x 64 do
    well.

    Args:
        shape: Channels, height and width of an image; height and width are multiples of 4.
        width: Channels of the generators' first layer.
        d_width: Channels of the discriminators' first layer; none for the generators' width.
        blocks: Residual blocks of a generator.
        upsample: How maps are doubled: resize repeats pixels before a 3 x 3 convolution, transposed is the paper's.
        affine: Give instance norms a trained scale and shift; the authors' have none.
        layers: Strided convolutions of a discriminator; its patch is 16, 34, 70 or 142 pixels wide with 1, 2, 3 or 4.
        cycle: Weight of the round trips (lambda); 0 for none.
        identity: Weight of the identity term, in units of `cycle`; 0 for none.
        pool: Number of past translations kept for each discriminator; 0 for none.
        lr: Learning rate.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1703.10593"
    data: ClassVar[str] = "unpaired"
    directions: ClassVar[tuple[str, ...]] = ("a2b", "b2a")
    presets: ClassVar[dict] = {
        "cyclegan-no-cycle": {"cycle": 0.0, "identity": 0.0},
        "cyclegan-no-identity": {"identity": 0.0},
        "cyclegan-small": {"width": 24, "blocks": 4},
        "cyclegan-paper": {"upsample": "transposed", "identity": 0.0},
    }
    tiny: ClassVar[dict] = {"shape": (3, 8, 8), "width": 4, "blocks": 1, "layers": 1, "pool": 3}
    defaults: ClassVar[dict] = {"steps": 100000, "batch": 1, "ema": 0.0}
    formerly: ClassVar[dict] = {"upsample": "transposed"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 256, 256),
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        d_width: Annotated[int, Field(ge=4, le=512)] | None = None,
        blocks: Annotated[int, Field(ge=1, le=32)] = 9,
        upsample: Upsample = "resize",
        affine: bool = False,
        layers: Annotated[int, Field(ge=1, le=6)] = 3,
        cycle: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        identity: Annotated[float, Field(ge=0, le=100)] = 0.5,
        pool: Annotated[int, Field(ge=0, le=10000)] = 50,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        fewer = ", or fewer layers." if layers > 1 else "."
        self.multiple = 4  # generators halve twice
        check_multiples(shape, self.multiple, max(8, smallest_side(layers)), f"cyclegan with layers={layers}", fewer)
        channels, self.cycle, self.identity = shape[0], cycle, identity
        self.lr, self.betas = lr, (beta1, beta2)
        self.a2b = ResnetGenerator(channels, channels, width, blocks, upsample=upsample, affine=affine)
        self.b2a = ResnetGenerator(channels, channels, width, blocks, upsample=upsample, affine=affine)
        norm = partial(InstanceNorm2d, affine=affine)
        self.D_a = PatchGAN(channels, d_width or width, layers, norm)
        self.D_b = PatchGAN(channels, d_width or width, layers, norm)
        self.pool_a = ImagePool(pool, shape)
        self.pool_b = ImagePool(pool, shape)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimizer for both generators, one for both discriminators."""
        return {"g": adam_for(self, self.a2b, self.b2a), "d": adam_for(self, self.D_a, self.D_b)}

    lr_scale = constant_then_linear

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of both generators, then one of both discriminators."""
        a, b = batch["a"], batch["b"]
        if self.cycle and self.identity:  # in one pass, since a norm sees one image alone
            (fake_b, same_b), (fake_a, same_a) = _of_both(self.a2b, a, b), _of_both(self.b2a, b, a)
        else:
            fake_b, fake_a = self.a2b(a), self.b2a(b)
        # The paper halves the discriminators' objective only, so the generators' ½(D − 1)² counts twice.
        fool_b = 2 * generator_loss("least-squares", self.D_b(fake_b))
        fool_a = 2 * generator_loss("least-squares", self.D_a(fake_a))
        g_loss = fool_b + fool_a
        logs = {"g_a2b": fool_b, "g_b2a": fool_a}
        if self.cycle:
            logs["cycle"] = F.l1_loss(self.b2a(fake_b), a) + F.l1_loss(self.a2b(fake_a), b)
            g_loss = g_loss + self.cycle * logs["cycle"]
            if self.identity:
                logs["identity"] = F.l1_loss(same_b, b) + F.l1_loss(same_a, a)
                g_loss = g_loss + self.cycle * self.identity * logs["identity"]
        update("g", g_loss)

        d_a = discriminator_loss("least-squares", self.D_a(a), self.D_a(self.pool_a(fake_a)))
        d_b = discriminator_loss("least-squares", self.D_b(b), self.D_b(self.pool_b(fake_b)))
        update("d", d_a + d_b)
        return {k: v.detach() for k, v in {"g_loss": g_loss, "d_loss": d_a + d_b, **logs}.items()}

    translate = two_way.translate


def _of_both(net: nn.Module, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a network without statistics of the batch makes of two batches."""
    y = net(torch.cat([first, second]))
    return y[: len(first)], y[len(first) :]
