"""The GAN of 2014: a dense generator against a maxout discriminator with dropout, on images or points.

Algorithm 1 of Goodfellow et al.: k steps of the discriminator on fresh noise, then one of the generator on fresh noise.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import SGD, Adam, Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import Penalty, weighted_penalty
from genzoo.nn import latent
from genzoo.nn.checks import check_data
from genzoo.nn.gan.maxout import Maxout
from genzoo.nn.whitening import calibrate_points, finish_points_calibration, points_unscaled, scale_for


class DenseGenerator(nn.Module):
    """ReLU layers from noise to pixels; a sigmoid at the end for images, nothing for points.

    Args:
        shape: (C, H, W) of an image or (D,) of a point.
        latent: Dimensions of z.
        width: Units of each hidden layer.
        layers: Hidden layers.
    """

    def __init__(self, shape: tuple[int, ...], latent: int, width: int, layers: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        sizes = [latent] + [width] * layers
        parts = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*parts, nn.Linear(sizes[-1], math.prod(shape)))

    def forward(self, z: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1], or scaled points [B, D], from z [B, latent]."""
        x = self.net(z).float()
        if len(self.shape) == 3:
            x = 2 * torch.sigmoid(x) - 1
        return x.view(z.shape[0], *self.shape)


class MaxoutDiscriminator(nn.Module):
    """Two maxout layers and a logit, dropout before each layer.

    Args:
        shape: (C, H, W) of an image or (D,) of a point.
        units: Units of each maxout layer.
        pieces: Linear pieces of each unit.
        dropout: Share of hidden units left out.
        input_dropout: Share of inputs left out.
    """

    def __init__(self, shape: tuple[int, ...], units: int, pieces: int, dropout: float, input_dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(input_dropout),
            Maxout(math.prod(shape), units, pieces),
            nn.Dropout(dropout),
            Maxout(units, units, pieces),
            nn.Dropout(dropout),
            nn.Linear(units, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B]."""
        return self.net(x).squeeze(1).float()


def _blurred(x: Tensor, noise_sd: float) -> Tensor:
    """Return what the discriminator sees of data under instance noise."""
    return x + noise_sd * torch.randn_like(x) if noise_sd else x


class GAN(System):
    """Generative adversarial nets of Goodfellow et al. (2014).

    min_G max_D V(D, G) = E log D(x) + E log(1 − D(G(z))) (eq. 1). For a fixed G the best discriminator is
    D*(x) = p(x) / (p(x) + p_G(x)), and V(D*, G) = −2 log 2 + 2 JSD(p, p_G) (prop. 1, theorem 1). Where D rejects every
    sample, the gradient of log(1 − D(G(z))) vanishes; `non-saturating` maximizes log D(G(z)) instead, with the same
    fixed point and a gradient that stays (section 3).

    The nets are those of the MNIST experiment: two ReLU layers of 1,200 and a sigmoid; two maxout layers of 240 units and 5
    pieces with dropout. On points the generator ends without a sigmoid, and both nets see coordinates in units of the training set's
    standard deviations, from its mean: `sample` and `decode` give the data's own units.

    What later papers put on the discriminator (instance noise, spectral norm, gradient penalties) are arguments, to see on points what
    each changes; all are off by default.

    Deviations: Adam by default (the paper: gradient ascent with momentum; preset `gan-paper`, whose momentum and rate are constant where the
    authors' schedules rise and fall); z from (-1, 1), in the authors' code from (-√3, √3). Real and generated examples go through D apart.

    Args:
        shape: Channels, height and width of an image of any size, or the dimensions of a point.
        latent: Dimensions of the noise z.
        prior: Law of each dimension of z, uniform(-1, 1) or normal(0, 1).
        width: ReLU units in each hidden layer of the generator.
        layers: Hidden layers of the generator.
        units: Maxout units in each of the discriminator's two layers.
        pieces: Linear pieces of a maxout unit.
        dropout: Share of the discriminator's hidden units left out at each training step.
        input_dropout: Share of the discriminator's inputs left out at each training step.
        objective: What the generator minimizes, log(1 - D) (minimax) or -log D (non-saturating).
        critic_steps: Discriminator steps for each generator step (the paper's k).
        lr: Learning rate.
        d_lr: Learning rate of the discriminator; none for the generator's.
        optimizer: Optimizer of both players, adam or sgd with momentum.
        beta1: Adam's decay of the mean gradient; the momentum of sgd.
        instance_noise: Standard deviation of normal noise on what the discriminator sees (points: in units of theirs), falling
            linearly to 0 over the run (arXiv:1610.04490).
        spectral_norm: Divide every weight of the discriminator by its largest singular value (arXiv:1802.05957).
        penalty: Gradient penalty on the discriminator: wgan-gp, dragan (arXiv:1705.07215), r1 (arXiv:1801.04406) or none.
        penalty_weight: Weight of the penalty (lambda of wgan-gp and dragan, gamma of r1).
    """

    paper: ClassVar[str] = "arXiv:1406.2661"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "gan-paper": {"optimizer": "sgd", "lr": 0.1, "beta1": 0.5},
        "gan-points": {"latent": 2, "prior": "normal", "width": 128, "units": 128, "pieces": 2, "dropout": 0.0, "input_dropout": 0.0, "lr": 1e-3},
    }  # fmt: skip
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 16, "units": 8, "pieces": 2}
    defaults: ClassVar[dict] = {"steps": 50000, "batch": 100, "ema": 0.999}

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        prior: Literal["uniform", "normal"] = "uniform",
        width: Annotated[int, Field(ge=1, le=8192)] = 1200,
        layers: Annotated[int, Field(ge=1, le=8)] = 2,
        units: Annotated[int, Field(ge=1, le=8192)] = 240,
        pieces: Annotated[int, Field(ge=1, le=32)] = 5,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2,
        objective: Literal["minimax", "non-saturating"] = "non-saturating",
        critic_steps: Annotated[int, Field(ge=1, le=100)] = 1,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-4,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        optimizer: Literal["adam", "sgd"] = "adam",
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        instance_noise: Annotated[float, Field(ge=0, le=2)] = 0.0,
        spectral_norm: bool = False,
        penalty: Penalty = "none",
        penalty_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
    ) -> None:
        super().__init__()
        check_data(shape, "gan")
        self.latent_size, self.prior = latent, prior
        self.objective, self.critic_steps = objective, critic_steps
        self.lr, self.d_lr, self.optimizer, self.beta1 = lr, d_lr or lr, optimizer, beta1
        self.scale = scale_for(shape)
        self.G = DenseGenerator(shape, latent, width, layers)
        self.D = MaxoutDiscriminator(shape, units, pieces, dropout, input_dropout)
        self.instance_noise, self.penalty, self.penalty_weight = instance_noise, penalty, penalty_weight
        if spectral_norm:
            for m in [m for m in self.D.modules() if isinstance(m, nn.Linear)]:
                parametrizations.spectral_norm(m)

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimizer for each player."""
        players = {"d": (self.D, self.d_lr), "g": (self.G, self.lr)}
        if self.optimizer == "sgd":
            return {k: SGD(m.parameters(), lr=lr, momentum=self.beta1) for k, (m, lr) in players.items()}
        return {k: Adam(m.parameters(), lr=lr, betas=(self.beta1, 0.999)) for k, (m, lr) in players.items()}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do a discriminator step (algorithm 1); after `critic_steps` of them a generator step, each on noise of its own."""
        real, _ = self.scale(batch["points"] if "points" in batch else batch["image"])
        with torch.no_grad():
            fake = self.G(self._draw(len(real)))
        noise_sd = self.instance_noise * (1 - update.progress)
        on_real, on_fake = self.D(_blurred(real, noise_sd)), self.D(_blurred(fake, noise_sd))
        d_loss = discriminator_loss(self.objective, on_real, on_fake)
        d_loss = d_loss + weighted_penalty(self.penalty, self.D, real, fake, self.penalty_weight)
        update("d", d_loss)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}

        if (update.step + 1) % self.critic_steps == 0:
            fake = self.G(self._draw(len(real)))
            g_loss = generator_loss(self.objective, self.D(_blurred(fake, noise_sd)))
            update("g", g_loss)
            logs["g_loss"] = g_loss
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal_or_uniform
    sample_prior = latent.sample_prior

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1], or points [n, D], of latents [n, latent]."""
        return self.scale.inverse(self.G(z))

    sample = latent.sample
