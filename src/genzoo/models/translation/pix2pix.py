"""Paired image translation: a U-Net that a discriminator of patches and a pixel-wise distance teach together."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.models.translation._norms import NORMS
from genzoo.models.translation._unet import UNetGenerator
from genzoo.nn.checks import check_direction, check_divisible
from genzoo.nn.gan.patchgan import PatchGAN, smallest_side
from genzoo.nn.optimizers import adam_for_each
from genzoo.nn.schedules import constant_then_linear
from genzoo.nn.upsampling import Upsample

DEEPEST = 8


class Pix2Pix(System):
    """pix2pix of Isola, Zhu, Zhou & Efros (2017): image-to-image translation from pairs, by a conditional GAN.

    Equation 4: G* = arg min_G max_D L_cGAN(G, D) + l1 · E|b - G(a)|₁, with the non-saturating form of the adversarial term,
    D's objective halved, and D looking at the input beside the output (equation 1; without `conditional` at the output
    alone, equation 2). The generator is the U-Net of appendix 6.1.1, whose only noise is dropout; D is the PatchGAN of section
    3.2.2. D steps before G. The learning rate is constant for the first half of the run, then falls linearly to 0.

    The paper trains with batches of one and normalizes by the statistics of the batch also at use, which is instance norm: the
    default here, at every batch size. Its noise at use is an option here: translations are the same every time unless a
    `variant` is asked for.

    Args:
        shape: Channels, height and width of side B; the sides are multiples of 2^depth.
        inputs: Channels of side A; as many as those of side B when not given.
        width: Channels of the generator's first layer.
        depth: How often the generator halves the image; when not given as often as its sides allow, at most 8.
        norm: instance, or batch for batches of many; both networks have it, with scale and shift.
        dropout: Share of activations that are dropped in three layers of the decoder.
        upsample: How maps are doubled: resize repeats pixels before a 3 x 3 convolution, transposed is the paper's 4 x 4 one.
        d_width: Channels of the discriminator's first layer; none for the generator's width.
        d_norm: Norm of the discriminator; none for the generator's, plain for instance norm without scale and shift.
        layers: Strided convolutions of the discriminator; its patch is 1, 16, 34, 70 or 142 pixels wide with 0, 1, 2, 3 or 4.
        conditional: Whether the discriminator sees side A beside side B.
        l1: Weight of the pixel-wise distance (lambda); 0 for none.
        adversarial: Weight of the adversarial term; 0 for none, and no discriminator.
        lr: Learning rate.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1611.07004"
    data: ClassVar[str] = "paired"
    directions: ClassVar[tuple[str, ...]] = ("a2b",)
    presets: ClassVar[dict] = {
        "pix2pix-l1": {"adversarial": 0.0},
        "pix2pix-gan": {"l1": 0.0},
        "pix2pix-pixel": {"layers": 0},
        "pix2pix-small": {"width": 32, "layers": 2},
        "pix2pix-paper": {"upsample": "transposed"},
    }
    tiny: ClassVar[dict] = {"shape": (3, 16, 16), "inputs": 1, "width": 4, "depth": 3, "layers": 1}
    defaults: ClassVar[dict] = {"steps": 100000, "batch": 1, "ema": 0.0}
    formerly: ClassVar[dict] = {"d_norm": "plain", "upsample": "transposed"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 256, 256),
        inputs: Annotated[int, Field(ge=1)] | None = None,
        *,
        width: Annotated[int, Field(ge=4, le=512)] = 64,
        depth: Annotated[int, Field(ge=2, le=12)] | None = None,
        norm: Literal["instance", "batch"] = "instance",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        upsample: Upsample = "resize",
        d_width: Annotated[int, Field(ge=4, le=512)] | None = None,
        d_norm: Literal["plain", "instance", "batch"] | None = None,
        layers: Annotated[int, Field(ge=0, le=6)] = 3,
        conditional: bool = True,
        l1: Annotated[float, Field(ge=0, le=10000)] = 100.0,
        adversarial: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        if not (l1 or adversarial):
            raise UserError("l1=0 and adversarial=0 leave nothing to learn from; give one of them")
        c, h, w = shape
        self.depth = halvings(h, w) if depth is None else depth
        self.multiple = 2**self.depth
        least = smallest_side(layers) if adversarial else 1
        if self.depth < 3 - (depth == 2) or h % self.multiple or w % self.multiple or min(h, w) < least:
            raise UserError(_impossible(h, w, depth, layers, least))
        self.inputs, self.l1, self.adversarial, self.conditional = inputs or c, l1, adversarial, conditional
        self.lr, self.betas = lr, (beta1, beta2)
        self.G = UNetGenerator(self.inputs, c, width, self.depth, norm, dropout, upsample)
        seen = c + self.inputs if conditional else c
        self.d_norm = d_norm or norm
        self.D = PatchGAN(seen, d_width or width, layers, NORMS[self.d_norm]) if adversarial else None

    optimizers = adam_for_each
    lr_scale = constant_then_linear

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of the discriminator, then one of the generator."""
        a, b = batch["a"], batch["b"]
        fake = self.G(a)
        logs: Logs = {}
        if self.D is not None:
            # The paper halves D's objective to slow it down.
            on_real, on_fake = self._judge(self._seen(a, b), self._seen(a, fake.detach()))
            d_loss = 0.5 * discriminator_loss("non-saturating", on_real, on_fake)
            update("d", d_loss)
            logs["d_loss"] = d_loss
        l1 = F.l1_loss(fake, b)
        g_loss = self.l1 * l1
        if self.D is not None:
            logs["fool"] = generator_loss("non-saturating", self.D(self._seen(a, fake)))
            g_loss = g_loss + self.adversarial * logs["fool"]
        update("g", g_loss)
        return {k: v.detach() for k, v in {"g_loss": g_loss, **logs, "l1": l1}.items()}

    def _judge(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the discriminator's logits: in one pass, unless real and translated images would share the statistics of a batch."""
        assert self.D is not None
        if self.d_norm == "batch":
            return self.D(real), self.D(fake)
        on_real, on_fake = self.D(torch.cat([real, fake])).chunk(2)
        return on_real, on_fake

    def _seen(self, a: Tensor, b: Tensor) -> Tensor:
        """Return what the discriminator looks at."""
        return torch.cat([a, b], 1) if self.conditional else b

    @torch.no_grad()
    def translate(self, x: Tensor, *, direction: str = "a2b", variant: Annotated[int, Field(ge=0)] = 0) -> Tensor:
        """Return the translation of `x` [B, inputs, H, W] in [-1, 1], of the same height and width (multiples of 2^depth).

        Args:
            x: Images of side A.
            direction: a2b.
            variant: Which answer: 0 is the one without noise, any other number one with the dropout that it stands for.

        Raises:
            UserError: The direction or the size is not possible.
        """
        check_direction(direction, self.directions)
        check_divisible(x, self.multiple)
        generator = torch.Generator(x.device).manual_seed(variant) if variant else None
        return self.G(x, generator).contiguous()


def halvings(height: int, width: int) -> int:
    """Return how often both sides can be halved, at most 8 times and down to one pixel.

    >>> halvings(256, 256), halvings(64, 96), halvings(100, 60)
    (8, 5, 2)
    """
    return min(DEEPEST, int(math.log2(math.gcd(height, width) & -math.gcd(height, width))))


def _impossible(h: int, w: int, depth: int | None, layers: int, least: int) -> str:
    """Say why a size cannot be taken, and the nearest ones that can."""
    wanted = 2 ** (depth or 5)
    near = ",".join(str(max(round(n / wanted), 1) * wanted) for n in (h, w))
    if min(h, w) < least:
        return f"{h}x{w} is too small for layers={layers}, which needs {least} pixels at least; give fewer layers, or size="
    how = f"depth={depth} needs multiples of {wanted}" if depth else "both sides have to be halved three times at least"
    return f"{h}x{w} is not possible: {how}. Give size={near} to resize the data" + (
        ", or a smaller depth." if depth else "."
    )
