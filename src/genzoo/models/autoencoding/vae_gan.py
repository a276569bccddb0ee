"""A VAE whose reconstruction error is measured in the features of a GAN's discriminator, not in pixels.

The VAE/GAN (Larsen et al. 2016): the decoder of a variational autoencoder is the generator of a GAN, and what the
discriminator has learned to look at takes the place of the squared error, which punishes every shift of an edge.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.divergences import kl_standard_normal
from genzoo.nn import latent
from genzoo.nn.checks import check_sides
from genzoo.nn.init import normal_init
from genzoo.nn.optimizers import adam_for
from genzoo.nn.upsampling import Upsample, doubling


class VAEGAN(System):
    """VAE/GAN: encoder E, generator G (the decoder) and discriminator D (algorithm 1 of the paper).

    With z ~ q(z|x) from E, x̃ = G(z), x_p = G(z_p) for z_p ~ N(0, I), and D_l the features of D:

        L_prior = KL(q(z|x) || N(0, I))        L_llike = ½ |D_l(x) - D_l(x̃)|²  (summed; a Gaussian of unit variance)
        E minimizes L_prior + L_llike
        G minimizes γ · L_llike / F - ½ log D(x̃) - ½ log D(x_p)
        D minimizes -log D(x) - ½ log(1 - D(x̃)) - ½ log(1 - D(x_p))

    All three gradients are taken at the same weights, and none reaches another's: the reconstruction does not teach D to see
    less, the adversarial loss does not reach E. `vae-dis` leaves the adversarial terms of G out: only the features of D, which
    goes on learning to tell (the paper takes the features of a GAN that was trained before).

    Deviations: G's adversarial loss is the non-saturating one; L_llike is divided by the number of features F for G, so that γ
    does not depend on sizes; the two kinds of fakes share the weight of the real images; Adam in place of RMSprop; filters are
    4 x 4; D has layer norm in place of batch norm, so that the features of one image do not depend on its neighbours in the
    batch, and keeps the unit scale that L_llike assumes. Sides are halved and doubled as often as they allow.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        latent: Size of z.
        width: Channels of the layers next to the image; deeper layers have up to 4 times as many.
        upsample: How G doubles its maps: resize repeats pixels before a 3 x 3 convolution, transposed is the paper's, 4 x 4.
        adversarial: Whether G is trained against D; false is VAE-Dis: only D's features.
        gamma: Weight of the reconstruction in G's loss, against the adversarial terms.
        beta: Weight of the KL term in E's loss.
        feature_layer: Layer of D whose features are compared: how often the image has been halved there.
        lr: Learning rate of E and G.
        d_lr: Learning rate of D; none for that of E and G.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1512.09300"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, Any]] = {"vae-dis": {"adversarial": False}, "vae-gan-paper": {"upsample": "transposed"}}
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "latent": 3, "width": 4}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 64, "ema": 0.999}
    formerly: ClassVar[dict[str, Any]] = {"upsample": "transposed"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 128,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        upsample: Upsample = "resize",
        adversarial: bool = True,
        gamma: Annotated[float, Field(ge=0, le=1000)] = 10.0,
        beta: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        feature_layer: Annotated[int, Field(ge=1, le=8)] = 2,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-4,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
    ) -> None:
        super().__init__()
        check_sides(shape, "vae-gan")
        self.latent_size, self.adversarial, self.gamma, self.beta = latent, adversarial, gamma, beta
        self.lr, self.d_lr, self.betas = lr, d_lr or lr, (beta1, beta2)
        channels, sizes = shape[0], [shape[1:]]
        while min(sizes[-1]) >= 8:  # halved until the smaller side is 4 to 7
            sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
        widths = [channels, *(width * min(2**i, 4) for i in range(len(sizes) - 1))]
        self.feature_layer = min(feature_layer, len(sizes) - 1)
        self.E = nn.Sequential(
            *(_down(a, b, nn.BatchNorm2d(b)) for a, b in pairwise(widths)), _head(widths[-1], sizes[-1], 2 * latent)
        )
        self.G = nn.Sequential(
            nn.Linear(latent, widths[-1] * math.prod(sizes[-1])),
            nn.Unflatten(1, (widths[-1], *sizes[-1])),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
            *(_up(widths[i + 1], widths[i], sizes[i], upsample, last=i == 0) for i in reversed(range(len(sizes) - 1))),
        )
        self.D = nn.ModuleList(
            [_down(a, b, *([nn.GroupNorm(1, b)] if i else [])) for i, (a, b) in enumerate(pairwise(widths))]
            + [_head(widths[-1], sizes[-1], 1)]
        )
        for net in (self.E, self.G, self.D):
            normal_init(net)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one Adam for each of the three."""
        return {"e": adam_for(self, self.E), "g": adam_for(self, self.G), "d": adam_for(self, self.D, slower=True)}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of E, G and D (algorithm 1), each on its own loss at the weights from before the step."""
        x = batch["image"]
        with torch.no_grad():
            wanted = self.features(x)
        mean, log_std = self.posterior(x)
        z = mean + log_std.exp() * torch.randn_like(mean)
        z_prior = torch.randn_like(z)

        prior = kl_standard_normal(mean, log_std).sum(1).mean()
        llike = self.reconstruction_error(self.G(z), wanted)
        update("e", self.beta * prior + llike)

        # E's step has not moved G: the same reconstructions, for G's gradient. Batch norm sees each kind by itself.
        fakes = torch.cat([self.G(z.detach()), self.G(z_prior)])
        g_loss = self.gamma * self.reconstruction_error(fakes[: x.shape[0]], wanted) / wanted[0].numel()
        if self.adversarial:
            g_loss = g_loss + generator_loss("non-saturating", self.judge(fakes))
        # D's loss is worked out before G moves, so that it sees what G was scored on.
        on_real, on_fake = self.judge(x), self.judge(fakes.detach())
        update("g", g_loss)
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        update("d", d_loss)
        logs = {"kl": prior, "feature_error": 2 * llike / wanted[0].numel(), "g_loss": g_loss, "d_loss": d_loss}
        logs |= {
            "d_real": on_real.mean(),
            "d_fake": on_fake.mean(),
            "pixel_error": (fakes[: x.shape[0]] - x).square().mean(),
        }
        return {k: v.detach().float() for k, v in logs.items()}

    def features(self, x: Tensor) -> Tensor:
        """Return what is compared: D's map after `feature_layer` halvings, [B, C, h, w], float32."""
        for layer in self.D[: self.feature_layer]:
            x = layer(x)
        return x.float()

    def judge(self, x: Tensor) -> Tensor:
        """Return D's logits, [B]."""
        for layer in self.D:
            x = layer(x)
        return x.float().squeeze(1)

    def reconstruction_error(self, y: Tensor, wanted: Tensor) -> Tensor:
        """Return L_llike without its constant: half the squared distance of features, summed, mean over the batch."""
        return 0.5 * (self.features(y) - wanted).square().flatten(1).sum(1).mean()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log standard deviation of q(z|x), each [B, latent], float32."""
        mean, log_std = self.E(x).float().chunk(2, 1)
        return mean, log_std.clamp(-10, 5)

    encode = latent.posterior_mean

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images of latents, [B, C, H, W] in [-1, 1]."""
        return self.G(z).float()

    _draw = latent.normal
    sample_prior = latent.sample_prior
    sample = latent.sample_at_temperature


def _down(a: int, b: int, *norm: nn.Module) -> nn.Module:
    """Halve, rounding up."""
    pad = nn.ZeroPad2d((1, 2, 1, 2))  # with an even side the last column is not reached
    return nn.Sequential(pad, nn.Conv2d(a, b, 4, 2), *norm, nn.LeakyReLU(0.2))


def _up(a: int, b: int, size: tuple[int, int], upsample: Upsample, *, last: bool) -> nn.Module:
    """Double, and leave out the row or column that a rounded half has too many."""
    rest: list[nn.Module] = [nn.Tanh()] if last else [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
    return nn.Sequential(doubling(upsample, a, b, bias=last), _Crop(size), *rest)


class _Crop(nn.Module):
    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.size[0], : self.size[1]]


def _head(channels: int, size: tuple[int, int], out: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * math.prod(size), out))
