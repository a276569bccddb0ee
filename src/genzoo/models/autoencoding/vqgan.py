"""An autoencoder with codes that is judged by a discriminator of patches and by perception, not by pixels alone.

VQGAN (Esser, Rombach & Ommer 2021, section 3.1): a convolutional encoder, a codebook and a decoder whose reconstructions shall look
real. Squared error alone makes what codes do not say an average, which is blur; a discriminator makes it texture.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.perceptual import lpips
from genzoo.nn.autoencoding import methods as coded
from genzoo.nn.autoencoding.quantize import VectorQuantizer
from genzoo.nn.checks import check_halvings
from genzoo.nn.gan.patchgan import PatchGAN, smallest_side
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.nn.schedules import half_cosine
from genzoo.ranks.sums import mean_over_ranks


def norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Return a group normalization with as many groups, up to 32, as divide the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels, eps)


class Residual(nn.Module):
    """Norm, SiLU, 3x3, twice, beside a skip."""

    def __init__(self, inputs: int, outputs: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.body = nn.Sequential(
            norm(inputs, eps), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1),
            norm(outputs, eps), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        return self.skip(x) + self.body(x)


class Attention(nn.Module):
    """Every place looks at every other one; added to the input."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm, self.qkv, self.join = (
            norm(channels, eps),
            nn.Conv2d(channels, 3 * channels, 1),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, H, W] to its like."""
        seen = self.qkv(self.norm(x)).flatten(2).mT
        if torch.compiler.is_exporting():
            seen = seen[:, None]  # formats for other programs want an axis of heads
        q, k, v = seen.chunk(3, -1)
        return x + self.join(F.scaled_dot_product_attention(q, k, v).mT.reshape(x.shape))


class Net(NamedTuple):
    """What encoder and decoder have in common.

    Args:
        channels: Of the image.
        dim: Of a code.
        widths: Channels at every size, the image's first.
        blocks: Residual blocks at each size.
        attention: Of the smallest sizes, how many have attention behind every block.
        authors: Two blocks around the attention in the middle, one block more at each size of the decoder, zeros at the right and lower
            border only before halving, and convolutions 1x1 around the codebook.
    """

    channels: int
    dim: int
    widths: tuple[int, ...]
    blocks: int
    attention: int = 0
    authors: bool = False

    @property
    def eps(self) -> float:
        """What is added to variances."""
        return 1e-6 if self.authors else 1e-5

    def level(self, at: int, i: int, blocks: int) -> list[nn.Module]:
        """Return the blocks of size i, from `at` channels on."""
        layers: list[nn.Module] = []
        for n in range(blocks):
            layers.append(Residual(self.widths[i] if n else at, self.widths[i], self.eps))
            if i >= len(self.widths) - self.attention:
                layers.append(Attention(self.widths[i], self.eps))
        return layers


def encoder(net: Net) -> nn.Sequential:
    """Build a network from [B, channels, H, W] to [B, dim, h, w], halved once less than there are widths."""
    at, eps = net.widths[0], net.eps
    layers: list[nn.Module] = [nn.Conv2d(net.channels, at, 3, padding=1)]
    for i, out in enumerate(net.widths):
        layers += net.level(at, i, net.blocks)
        at = out
        if i < len(net.widths) - 1 and net.authors:
            layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(at, at, 3, 2)]
        elif i < len(net.widths) - 1:
            layers.append(nn.Conv2d(at, at, 3, 2, 1))
    if net.authors:
        layers += [Residual(at, at, eps), Attention(at, eps), Residual(at, at, eps), norm(at, eps), nn.SiLU()]
        return nn.Sequential(*layers, nn.Conv2d(at, net.dim, 3, padding=1), nn.Conv2d(net.dim, net.dim, 1))
    return nn.Sequential(*layers, Attention(at), Residual(at, at), norm(at), nn.SiLU(), nn.Conv2d(at, net.dim, 1))


def decoder(net: Net) -> nn.Sequential:
    """Build the encoder mirrored: nearest neighbours and a convolution double the sides."""
    at, eps = net.widths[-1], net.eps
    layers: list[nn.Module] = [nn.Conv2d(net.dim, net.dim, 1)] if net.authors else []
    layers += [nn.Conv2d(net.dim, at, 3, padding=1), Residual(at, at, eps), Attention(at, eps)]
    layers += [Residual(at, at, eps)] if net.authors else []
    for i in reversed(range(len(net.widths))):
        layers += net.level(at, i, net.blocks + net.authors)
        at = net.widths[i]
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(at, at, 3, padding=1)] if i else []
    return nn.Sequential(*layers, norm(at, eps), nn.SiLU(), nn.Conv2d(at, net.channels, 3, padding=1))


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Return λ = |∇ reconstruction| / (|∇ adversarial| + 1e-4), gradients at the decoder's last kernel (equation 7), at most 1e4."""
    losses = (reconstruction, adversarial)
    r, a = (mean_over_ranks(torch.autograd.grad(loss, last, retain_graph=True)[0]).norm() for loss in losses)
    return (r / (a + 1e-4)).clamp(max=1e4).detach()


class VQGAN(System):
    """Vector-quantized autoencoder with a perceptual and an adversarial loss.

    The autoencoder minimizes |x - x̂| + w·LPIPS(x, x̂) + β·|z_e - sg e|² - a·λ·D(x̂), the discriminator of patches the hinge loss, λ the
    adaptive weight of arXiv:2012.09841, equation 7. The discriminator counts from `adversarial_from` on, a share of the run; it has
    learned alone since `warm` before that, so that its first verdicts are not those of random weights, which ruin the reconstructions.

    The perceptual term needs a recognition network whose weights this package does not carry: it is off by default, and
    `perceptual=vgg16` (the paper's) or alexnet (a tenth of the time) take it from $GENZOO_WEIGHTS. Without weights the discriminator
    alone works against blur.

    Deviations: codes are running means with restarts (the paper: by gradient, `codebook=gradient`), |x - x̂| or its square, instance norm
    in the discriminator, attention at the grid of the codes only, a block less here and there (`authors` has theirs).

    Args:
        shape: Channels, height and width of the images; sides that can be halved `halvings` times.
        codes: Size of the codebook.
        dim: Dimensions of a code.
        width: Channels at the image's size; up to four times as many at smaller ones.
        blocks: Residual blocks at each size.
        halvings: Times that the image is halved: 2 gives one code for every 4x4 pixels.
        multiples: Channels at each size as multiples of `width`, the image's size first; without them 1, 2, 4, 4 ...
        attention: Of the smallest sizes, how many have attention behind every residual block; there is one in the middle always.
        authors: Build the networks as the authors' program does: with a block more before the attention in the middle, a block more at
            each size of the decoder, and 1x1 convolutions before and behind the codebook.
        codebook: How codes are learned: running means of what chose them, or by gradient.
        code_decay: Weight of the past in the running means and counts.
        commitment: Weight of the term that keeps the encoder near its codes, β.
        restart: Codes used less than this share of the average count move to an encoder output; 0 for never.
        pixels: What is taken of the difference of pixels: its size, or its square.
        perceptual: Recognition network of the perceptual term, or none.
        perceptual_weight: Weight of the perceptual term, w.
        adversarial_weight: Factor on the adaptive weight of the adversarial term, a; 0 for no discriminator.
        adversarial_from: Share of the run after which the discriminator counts.
        warm: Share of the run, before that, in which the discriminator learns alone.
        d_width: Channels of the discriminator's first convolution.
        d_layers: Convolutions of stride 2 of the discriminator; a verdict sees 34 pixels with 2, 70 with 3.
        lr: Learning rate of both Adams at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:2012.09841"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "vqgan-paper": {
            "codes": 1024, "dim": 256, "width": 128, "halvings": 4, "codebook": "gradient", "restart": 0.0,
            "d_layers": 3, "d_width": 64, "lr": 5e-5,
        },
        "vqgan-l2": {"pixels": "l2", "adversarial_weight": 0.0},
    }  # fmt: skip
    tiny: ClassVar[dict[str, Any]] = {
        "shape": (1, 8, 8), "codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1, "d_width": 8, "d_layers": 1,
        "perceptual": "none",
    }  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 32, "ema": 0.999}
    codebook_size: int
    code_grids: tuple[tuple[int, ...], ...]
    decoder: Any  # a Sequential that ends in a convolution

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        codes: Annotated[int, Field(ge=2, le=65536)] = 512,
        dim: Annotated[int, Field(ge=1, le=4096)] = 64,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        blocks: Annotated[int, Field(ge=1, le=16)] = 1,
        halvings: Annotated[int, Field(ge=1, le=8)] = 2,
        multiples: tuple[Annotated[int, Field(ge=1, le=16)], ...] = (),
        attention: Annotated[int, Field(ge=0, le=9)] = 0,
        authors: bool = False,
        codebook: Literal["ema", "gradient"] = "ema",
        code_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        commitment: Annotated[float, Field(ge=0, le=100)] = 0.25,
        restart: Annotated[float, Field(ge=0, lt=1)] = 0.05,
        pixels: Literal["l1", "l2"] = "l1",
        perceptual: Literal["none", "vgg16", "alexnet"] = "none",
        perceptual_weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        adversarial_weight: Annotated[float, Field(ge=0, le=100)] = 0.8,
        adversarial_from: Annotated[float, Field(ge=0, le=1)] = 0.3,
        warm: Annotated[float, Field(ge=0, le=1)] = 0.1,
        d_width: Annotated[int, Field(ge=1, le=1024)] = 32,
        d_layers: Annotated[int, Field(ge=1, le=5)] = 2,
        lr: Annotated[float, Field(gt=0, le=1)] = 5e-4,
    ) -> None:
        super().__init__()
        channels, height, wide = shape
        factor = check_halvings(shape, halvings)
        if adversarial_weight and min(height, wide) < smallest_side(d_layers):
            raise UserError(
                f"shape {height}x{wide} is too small for a discriminator with d_layers={d_layers}: at least "
                f"{smallest_side(d_layers)} pixels; give fewer d_layers or a larger size"
            )
        self.codebook_size, self.code_grids = codes, ((height // factor, wide // factor),)
        self.pixels, self.perceptual_weight, self.lr = pixels, perceptual_weight, lr
        self.adversarial_weight, self.adversarial_from = adversarial_weight, adversarial_from
        self.d_from = max(0.0, adversarial_from - warm)
        if multiples and len(multiples) != halvings + 1:
            raise UserError(
                f"multiples={','.join(map(str, multiples))} are {len(multiples)} sizes; halvings={halvings} makes {halvings + 1}"
            )
        widths = tuple(width * m for m in multiples or [min(2**i, 4) for i in range(halvings + 1)])
        net = Net(channels, dim, widths, blocks, attention, authors)
        self.encoder = encoder(net)
        self.quantiser = VectorQuantizer(
            codes, dim, learn=codebook, decay=code_decay, commitment=commitment, restart=restart
        )
        self.decoder = decoder(net)
        self.decoder[-1].undivided = ("weight",)  # the adaptive weight takes gradients by it
        self.perception = FeatureNet(perceptual) if perceptual != "none" else None
        if self.perception is not None:
            self.perception.check(shape, f"perceptual={perceptual}", "perceptual=none")
        self.D = PatchGAN(channels, d_width, d_layers) if adversarial_weight else None

    # ---- learning --------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one Adam for the autoencoder, and one for the discriminator if there is one."""
        if self.perception is not None:
            self.perception.load()  # a missing file is said before the first step
        parts = [self.encoder, self.quantiser, self.decoder]
        found: dict[str, Optimizer] = {
            "ae": Adam([p for m in parts for p in m.parameters()], lr=self.lr, betas=(0.5, 0.9))
        }
        if self.D is not None:
            found["d"] = Adam(self.D.parameters(), lr=self.lr, betas=(0.5, 0.9))
        return found

    lr_scale = half_cosine

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of the autoencoder, and from `adversarial_from` - `warm` on one of the discriminator."""
        x = batch["image"]
        q = self.quantiser(self.encoder(x))
        fake = self.decoder(q.z).float()
        difference = (fake - x).abs().mean() if self.pixels == "l1" else (fake - x).square().mean()
        reconstruction = difference
        logs = {"pixels": difference, "commitment": q.loss, "usage": q.usage, "perplexity": q.perplexity}
        if self.perception is not None:
            perceived = lpips(self.perception, fake, x).mean()
            reconstruction = reconstruction + self.perceptual_weight * perceived
            logs["perceptual"] = perceived
        loss = reconstruction + q.loss
        if self.D is not None and update.progress >= self.adversarial_from:
            g_loss = generator_loss("hinge", self.D(fake))
            weight = self.adversarial_weight * adaptive_weight(reconstruction, g_loss, self.decoder[-1].weight)
            loss = loss + weight * g_loss
            logs |= {"g_loss": g_loss, "adaptive_weight": weight}
        update("ae", loss)
        if self.D is not None and update.progress >= self.d_from:
            on_real, on_fake = self.D(x), self.D(fake.detach())
            d_loss = discriminator_loss("hinge", on_real, on_fake)
            update("d", d_loss)
            logs |= {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}
        return {k: v.detach() for k, v in logs.items()}

    # ---- codes and use ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def tokenize(self, x: Tensor) -> Tensor:
        """Return codes of images [B, C, H, W] in [-1, 1]: int64 [B, h·w] in raster order."""
        return self.quantiser(self.encoder(x)).codes.flatten(1)

    detokenize = coded.detokenize

    def log_likelihood(self, x: Tensor, codes: Tensor) -> Tensor:
        """Refuse: this decoder is no distribution over images."""
        raise UserError(
            "a vqgan's decoder gives no likelihood of images (it is judged by a discriminator); code_log_prob of a prior "
            "gives the nats of its codes"
        )

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.quantiser.look_up(codes.reshape(-1, *self.code_grids[0])).movedim(-1, 1)

    encode = coded.encode
    decode = coded.decode
    sample_prior = coded.sample_prior
