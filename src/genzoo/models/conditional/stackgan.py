"""StackGAN: a sentence becomes a small sketch, and a second stage reads the sentence again and draws it large."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import generator_loss
from genzoo.losses.divergences import kl_standard_normal
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import captioned, draws
from genzoo.nn.gan.dcgan import Synthesis
from genzoo.nn.gan.matching import MatchingDiscriminator
from genzoo.nn.init import normal_init
from genzoo.nn.optimizers import adam_for
from genzoo.nn.pretrained.sentences import Encoder, Sentences
from genzoo.text.vocabulary import check_words


class Augment(nn.Module):
    """Conditioning augmentation (section 3.2): c ~ N(μ(h), diag σ(h)²), so that a sentence stands for its neighbourhood.

    Args:
        dim: Size of a sentence's vector h.
        condition: Size of c.
    """

    def __init__(self, dim: int, condition: int) -> None:
        super().__init__()
        self.size = condition
        self.dense = nn.Linear(dim, 2 * condition)

    def forward(self, h: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return c [B, condition] of h [B, dim] and normal noise; and KL(N(μ, σ²) || N(0, 1)) in nats, the mean over dimensions and batch."""
        mean, log_std = self.dense(h).float().chunk(2, 1)
        return mean + log_std.exp() * noise, kl_standard_normal(mean, log_std).mean()


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    kernel = 4 if stride == 2 else 3
    conv = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside the identity, then ReLU.

    Args:
        channels: Channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, H, W] to its like."""
        return F.relu(x + self.second(self.first(x)))


class Refiner(nn.Module):
    """Stage II: halve the sketch twice, join the sentence at every place, residual blocks, double up to the full size.

    Args:
        shape: (C, h, w) of the sketch.
        factor: How many times larger the image is.
        condition: Size of c.
        width: Channels next to the image.
        blocks: Residual blocks.
        skip: Add to the enlarged sketch in place of drawing anew.
    """

    def __init__(
        self, shape: tuple[int, int, int], factor: int, condition: int, width: int, blocks: int, skip: bool
    ) -> None:
        super().__init__()
        self.factor, self.skip = factor, skip
        deep = 4 * width
        first = nn.Sequential(nn.Conv2d(shape[0], width, 3, 1, 1), nn.ReLU(inplace=True))
        self.down = nn.Sequential(first, _convolution(width, 2 * width, 2), _convolution(2 * width, deep, 2))
        self.join = _convolution(deep + condition, deep)
        self.body = nn.Sequential(*(Residual(deep) for _ in range(blocks)))
        ups, now = [], deep
        for _ in range(2 + int(math.log2(factor))):
            after = max(width, now // 2)
            ups += [nn.Upsample(scale_factor=2), _convolution(now, after)]
            now = after
        self.up = nn.Sequential(*ups, nn.Conv2d(now, shape[0], 3, 1, 1))
        normal_init(self)

    def forward(self, sketch: Tensor, c: Tensor) -> Tensor:
        """Return images [B, C, factor · h, factor · w] in [-1, 1] from sketches [B, C, h, w] in [-1, 1] and c [B, condition]."""
        x = self.down(sketch)
        x = self.body(self.join(torch.cat([x, c[:, :, None, None].expand(-1, -1, *x.shape[2:]).to(x.dtype)], 1)))
        drawn = self.up(x).float()
        if self.skip:
            large = F.interpolate(sketch.float(), scale_factor=self.factor, mode="bilinear", align_corners=False)
            drawn = drawn + torch.atanh(0.98 * large.clamp(-1, 1))
        return torch.tanh(drawn)


class StackGAN(System):
    """StackGAN of Zhang, Xu, Li, Zhang, Wang, Huang & Metaxas (2017).

    Stage I draws a small image of c₀ ~ N(μ₀(h), Σ₀(h)) and noise z; when its share of the run is over, it is fixed, and Stage II draws the
    large image of that sketch and of its own c ~ N(μ(h), Σ(h)), without noise. Both are trained as GAN-CLS is, with right, wrong and
    generated pairs (½ each for the two that D rejects, as in the authors' code), and the KL of c to N(0, I) in the generator's loss (eqs.
    2 and 4). The stage is a function of progress alone. The rate is halved in steps within each stage. The sentence encoder is trained
    with Stage I's discriminator, or frozen; the paper's is a char-CNN-RNN trained beforehand.

    Deviations: DCGAN's nets with R1 in place of batch norm in both D (`r1`); Stage II adds to the enlarged sketch, which keeps the
    layout from the first step on (`skip=false` is the paper's: it draws anew); smaller nets.

    Args:
        shape: Channels, height and width of the large image; sides are 4 · `factor` times a whole number, the small one from 8 to 256.
        vocabulary: Words of the captions.
        factor: How many times larger Stage II draws: 2 or 4.
        encoder: What makes a vector of a sentence: words (a bag of trained word vectors), gru (reads them in order), minilm (frozen, from a file).
        dim: Size of a trained encoder's vector.
        condition: Size of c.
        length: Words of a caption that are read.
        latent: Dimensions of the noise z, normal(0, 1).
        width: Channels of Stage I's layers next to the image.
        refine_width: Channels of Stage II's layers next to the image.
        blocks: Residual blocks of Stage II.
        first: Share of the run that is Stage I's.
        skip: Stage II adds to the enlarged sketch; false draws anew.
        kl_weight: Weight of the KL of c.
        r1: Weight of the gradient penalty on real images with their sentences; 0 for none.
        halvings: How often the learning rate is halved within a stage.
        lr: Learning rate of all players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1612.03242"
    data: ClassVar[str] = "captioned"
    presets: ClassVar[dict] = {
        "stackgan-anew": {"skip": False},
        "stackgan-256": {
            "factor": 4, "width": 96, "refine_width": 64, "blocks": 4, "dim": 1024, "condition": 128, "skip": False, "lr": 2e-4,
            "halvings": 6, "beta1": 0.5, "beta2": 0.999,
        },
    }  # fmt: skip
    tiny: ClassVar[dict] = {
        "shape": (1, 16, 16), "vocabulary": ("a", "red", "blue", "circle"), "factor": 2, "latent": 4, "width": 4, "refine_width": 4,
        "blocks": 1, "dim": 6, "condition": 5, "length": 4, "encoder": "words",
    }  # fmt: skip
    defaults: ClassVar[dict] = {"steps": 40000, "batch": 64, "ema": 0.999}
    vocabulary: tuple[str, ...]
    second: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 128, 128),
        *,
        vocabulary: tuple[str, ...] = (),
        factor: Annotated[int, Field(ge=2, le=4, multiple_of=2)] = 2,
        encoder: Encoder = "words",
        dim: Annotated[int, Field(ge=1, le=4096)] = 256,
        condition: Annotated[int, Field(ge=1, le=4096)] = 128,
        length: Annotated[int, Field(ge=1, le=256)] = 32,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        refine_width: Annotated[int, Field(ge=4, le=1024)] = 32,
        blocks: Annotated[int, Field(ge=0, le=32)] = 2,
        first: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        skip: bool = True,
        kl_weight: Annotated[float, Field(ge=0, le=100)] = 2.0,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        halvings: Annotated[int, Field(ge=0, le=20)] = 3,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_words(vocabulary, "stackgan")
        c, h, w = shape
        small, unit = (c, h // factor, w // factor), 4 * factor
        if h % unit or w % unit or min(small[1:]) < 8 or max(small[1:]) > 256:
            raise UserError(
                f"shape {'x'.join(map(str, shape))} is not possible with factor={factor}; stackgan needs sides that are multiples of {unit}, "
                f"from {8 * factor} to {256 * factor}, such as {16 * unit}x{16 * unit}"
            )
        self.vocabulary, self.factor, self.latent_size, self.condition, self.first = (
            vocabulary,
            factor,
            latent,
            condition,
            first,
        )
        self.kl_weight, self.r1, self.halvings, self.lr, self.betas = kl_weight, r1, halvings, lr, (beta1, beta2)
        self.text = Sentences(vocabulary, encoder, dim, length)
        self.conditions = self.text.dim
        self.augment_1, self.augment_2 = Augment(self.text.dim, condition), Augment(self.text.dim, condition)
        self.G1 = Synthesis(small, latent + condition, width, 4)
        self.D1 = MatchingDiscriminator(small, width, self.text.dim, condition)
        self.G2 = Refiner(small, factor, condition, refine_width, blocks, skip)
        self.D2 = MatchingDiscriminator(shape, refine_width, self.text.dim, condition)
        self.register_buffer("second", torch.zeros((), dtype=torch.bool))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for the two players of each stage; the sentence encoder, where it is trained, learns with Stage I's discriminator."""
        self.text.load()
        owned: dict[str, list[nn.Module]] = {
            "d1": [self.D1, self.text], "g1": [self.G1, self.augment_1],
            "d2": [self.D2], "g2": [self.G2, self.augment_2],
        }  # fmt: skip
        return {name: adam_for(self, *modules) for name, modules in owned.items()}

    def lr_scale(self, progress: float) -> float:
        """Return half to the power of how many of the `halvings` + 1 equal parts of the stage are over."""
        share = progress / self.first if progress < self.first else (progress - self.first) / (1 - self.first)
        return 0.5 ** int(share * (self.halvings + 1))

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of both players of the stage that is on."""
        self.second.fill_(update.progress >= self.first)
        self.text.remember(batch["caption"])
        n, device = batch["image"].shape[0], batch["image"].device
        z, e1, e2 = (torch.randn(n, k, device=device) for k in (self.latent_size, self.condition, self.condition))
        h = self.text(batch["caption"])
        if update.progress < self.first:
            real = F.avg_pool2d(batch["image"], self.factor)
            c, kl = self.augment_1(h.detach(), e1)
            return self._play("1", self.D1, real, batch["caption"], h, self.G1(torch.cat([z, c], 1)), kl, update)
        h = h.detach()
        with torch.no_grad():
            self.G1.eval()  # fixed, its running means as well: what it draws now is what it will draw
            sketch = self.G1(torch.cat([z, self.augment_1(h, e1)[0]], 1))
        c, kl = self.augment_2(h, e2)
        return self._play("2", self.D2, batch["image"], batch["caption"], h, self.G2(sketch, c), kl, update)

    def _play(
        self,
        stage: str,
        critic: MatchingDiscriminator,
        real: Tensor,
        caption: Tensor,
        h: Tensor,
        fake: Tensor,
        kl: Tensor,
        update: Update,
    ) -> Logs:
        """Show D right, wrong and generated pairs; then move G, with the KL of its conditioning."""
        s_r, s_w, s_f, wrong = critic.pairs(real, fake.detach(), h, caption)
        d_loss = F.softplus(-s_r).mean() + 0.5 * (wrong + F.softplus(s_f).mean())
        if self.r1:
            d_loss = d_loss + r1_penalty(lambda x: critic(x, h), real, gamma=self.r1)
        update(f"d{stage}", d_loss)
        g_loss = generator_loss("non-saturating", critic(fake, h.detach())) + self.kl_weight * kl
        update(f"g{stage}", g_loss)
        logs = {"d_loss": d_loss, "g_loss": g_loss, "kl": kl, "d_real": s_r.mean(), "d_wrong": s_w.mean()}
        logs |= {"d_fake": s_f.mean(), "stage": torch.tensor(float(stage))}
        return {k: v.detach() for k, v in logs.items()}

    unread = captioned.unread
    sample_prior = captioned.sample_prior

    def _draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """Draw the noise z and that of both conditions, [n, latent + 2 · condition]."""
        return draws.randn(n, self.latent_size + 2 * self.condition, device=self.device, generator=generator)

    @torch.no_grad()
    def stages(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sketches [n, C, h, w] and the large images [n, C, H, W] of latents; both in [-1, 1]."""
        return self._stages(z)

    def _stages(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z, e1, e2, h = z.split([self.latent_size, self.condition, self.condition, self.text.dim], 1)
        sketch = self.G1(torch.cat([z, self.augment_1(h, e1)[0]], 1))
        return sketch.contiguous(), self.G2(sketch, self.augment_2(h, e2)[0]).contiguous()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents; while Stage I is trained, enlarged sketches."""
        sketch, large = self._stages(z)
        return large if self.second else F.interpolate(sketch, scale_factor=self.factor)

    sample = captioned.sample
