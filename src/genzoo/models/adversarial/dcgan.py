"""Convolutional GAN: two networks of strided convolutions play against each other; every classic objective.

The objective, the penalty and the regularizers are arguments, so that one network pair carries the GAN variants of
Goodfellow et al. (arXiv:1406.2661), LSGAN (arXiv:1611.04076), WGAN (arXiv:1701.07875), WGAN-GP (arXiv:1704.00028),
DRAGAN (arXiv:1705.07215), R1 (arXiv:1801.04406), hinge with spectral norm (arXiv:1802.05957), instance noise
(arXiv:1610.04490) and differentiable augmentation (arXiv:2006.10738).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer, RMSprop

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import Objective, discriminator_loss, generator_loss
from genzoo.losses.penalties import Penalty, weighted_penalty
from genzoo.nn import latent
from genzoo.nn.checks import check_apart, check_sides
from genzoo.nn.gan.augment import Augmentation, augment
from genzoo.nn.gan.dcgan import Discriminator, Synthesis, layers_in_a_row, pooled_maps
from genzoo.nn.layout import channels_last
from genzoo.nn.optimizers import adam_for_each

FIRST_GAME = {
    "d_norm": "batch", "penalty": "none", "penalty_weight": 10.0, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999,
}  # fmt: skip
"""Discriminator and rates of the paper (section 4)."""


class DCGAN(System):
    """DCGAN of Radford, Metz & Chintala (2015), with the objectives and regularizers that came after it as arguments.

    The five rules of section 3: strided and fractionally-strided convolutions instead of pooling; batch norm in both
    networks (not at the generator's output, not at the discriminator's input); no hidden fully connected layers; ReLU
    in the generator with tanh at the end; LeakyReLU in the discriminator. `resampling`, `g_norm`, `d_norm`, `dense`,
    `g_activation` and `d_activation` break them one by one. Images of any height and width from 8 to 1024 and any channels.

    Deviations, which `dcgan-paper` has not: filters are 4 x 4 (the paper: 5 x 5, `kernel=5`), z is normal (the paper: uniform), and the
    discriminator has the R1 penalty in place of batch norm, with which ten times the rate is stable (arXiv:1801.04406), and a rate that falls
    linearly. The presets of other objectives have the paper's discriminator and rates, so that they can be compared. Of all: real and
    generated images are never normalized together, and the generator steps on the images that the discriminator has just been trained on
    (algorithm 1 of arXiv:1406.2661 draws new ones).

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        latent: Dimensions of the latent z.
        width: Channels of the layers next to the image; deeper layers have up to 8 times as many.
        kernel: Side of the convolution filters.
        dense: Units of a dense hidden layer in both networks, which then halve and double twice at most; 0 for none. With 1024
            and width=64 they are the networks of InfoGAN, on which arXiv:1711.10337 compared the objectives.
        prior: Law of each latent dimension, normal(0, 1) or uniform(-1, 1).
        objective: What the two players minimize.
        critic_steps: Discriminator steps for each generator step.
        weight_clip: Bound on every discriminator weight after its step (WGAN); none for no bound.
        penalty: Gradient penalty on the discriminator; needs d_norm other than batch.
        penalty_weight: Weight of the penalty (lambda of wgan-gp and dragan, gamma of r1).
        g_norm: Normalization in the generator.
        d_norm: Normalization in the discriminator.
        resampling: strides in the convolutions of both nets (rule 1), or pooling: repeated pixels before and maxima after
            convolutions of stride 1, whose filters are 3 x 3 for kernel=4.
        g_activation: Between the generator's layers (rule 4: relu).
        d_activation: Between the discriminator's layers (rule 5: leaky-relu, slope 0.2).
        spectral_norm: Divide every discriminator weight by its largest singular value.
        instance_noise: Standard deviation of normal noise on what the discriminator sees, falling linearly to 0 over
            the run.
        augment: Differentiable augmentations of what the discriminator sees.
        lr: Learning rate.
        d_lr: Learning rate of the discriminator; none for the generator's.
        optimizer: Optimizer of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1511.06434"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "dcgan-paper": FIRST_GAME | {"width": 128, "kernel": 5, "prior": "uniform"},
        "mm-gan": FIRST_GAME | {"objective": "minimax"},
        "ns-gan": FIRST_GAME | {"objective": "non-saturating"},
        "lsgan": FIRST_GAME | {"objective": "least-squares"},
        "wgan": FIRST_GAME
        | {
            "objective": "wasserstein",
            "weight_clip": 0.01,
            "critic_steps": 5,
            "optimizer": "rmsprop",
            "lr": 5e-5,
        },
        "wgan-gp": {
            "objective": "wasserstein",
            "penalty": "wgan-gp",
            "penalty_weight": 10.0,
            "d_norm": "none",
            "critic_steps": 5,
            "lr": 1e-4,
            "beta1": 0.0,
            "beta2": 0.9,
        },
        "dragan": FIRST_GAME
        | {"objective": "non-saturating", "penalty": "dragan", "penalty_weight": 10.0, "d_norm": "none"},
        "hinge-gan": FIRST_GAME | {"objective": "hinge", "d_norm": "none", "spectral_norm": True},
    }
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 8, "width": 8}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}
    preset_defaults: ClassVar[dict] = {name: {"decay": "none"} for name in presets}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        kernel: Literal[4, 5] = 4,
        dense: Annotated[int, Field(ge=0, le=16384)] = 0,
        prior: Literal["normal", "uniform"] = "normal",
        objective: Objective = "non-saturating",
        critic_steps: Annotated[int, Field(ge=1, le=100)] = 1,
        weight_clip: Annotated[float, Field(gt=0, le=10)] | None = None,
        penalty: Penalty = "r1",
        penalty_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        g_norm: Literal["batch", "none"] = "batch",
        d_norm: Literal["batch", "instance", "layer", "none"] = "none",
        resampling: Literal["strides", "pooling"] = "strides",
        g_activation: Literal["relu", "leaky-relu", "tanh"] = "relu",
        d_activation: Literal["leaky-relu", "relu", "tanh"] = "leaky-relu",
        spectral_norm: bool = False,
        instance_noise: Annotated[float, Field(ge=0, le=2)] = 0.0,
        augment: tuple[Augmentation, ...] = (),
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        optimizer: Literal["adam", "rmsprop"] = "adam",
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "dcgan")
        check_apart("" if penalty == "none" else f"penalty={penalty}", d_norm, "d_norm=none, layer or instance")
        self.latent_size, self.prior = latent, prior
        # Batch norm must not mix real and generated images; with spectral norm each use of D is a power iteration.
        self.apart = d_norm == "batch" or spectral_norm
        self.objective, self.critic_steps, self.weight_clip = objective, critic_steps, weight_clip
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self.instance_noise, self.augment = instance_noise, augment
        self.lr, self.d_lr, self.optimizer, self.betas = lr, d_lr or lr, optimizer, (beta1, beta2)
        pooling = resampling == "pooling"
        self.G = Synthesis(
            shape, latent, width, kernel, norm=g_norm, activation=g_activation, pooling=pooling, dense=dense
        )
        self.D = Discriminator(
            shape, width, kernel, d_norm, spectral_norm, activation=d_activation, pooling=pooling, dense=dense
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimizer for each player."""
        if self.optimizer == "rmsprop":
            return {"d": RMSprop(self.D.parameters(), lr=self.d_lr), "g": RMSprop(self.G.parameters(), lr=self.lr)}
        return adam_for_each(self)

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one discriminator step, and every `critic_steps` steps one generator step on the same z."""
        real = batch["image"]
        generator_too = (update.step + 1) % self.critic_steps == 0
        noise_sd = self.instance_noise * (1 - update.progress)

        with torch.set_grad_enabled(generator_too):
            fake = self.G(self._draw(len(real)))
        on_real, on_fake = self._scores(self._view(real, noise_sd), self._view(fake.detach(), noise_sd))
        d_loss = discriminator_loss(self.objective, on_real, on_fake)
        d_loss = d_loss + weighted_penalty(self.penalty, self.D, real, fake, self.penalty_weight)
        update("d", d_loss)
        if self.weight_clip is not None:
            for p in self.D.parameters():
                p.data.clamp_(-self.weight_clip, self.weight_clip)
        logs = {"d_loss": d_loss, "d_real": on_real.mean(), "d_fake": on_fake.mean()}

        if generator_too:
            g_loss = generator_loss(self.objective, self.D(self._view(fake, noise_sd)))
            update("g", g_loss)
            logs["g_loss"] = g_loss
        return {k: v.detach() for k, v in logs.items()}

    def _scores(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores of both, in one pass where D looks at every image by itself."""
        if self.apart:
            return self.D(real), self.D(fake)
        on_real, on_fake = self.D(channels_last(torch.cat([real, fake]))).chunk(2)
        return on_real, on_fake

    def _view(self, x: Tensor, noise_sd: float) -> Tensor:
        """Return what the discriminator sees of an image: augmented, and with instance noise."""
        x = augment(x, self.augment)
        return x + noise_sd * torch.randn_like(x) if noise_sd else x

    _draw = latent.normal_or_uniform
    sample_prior = latent.sample_prior
    decode = latent.decode
    sample = latent.sample
    judging = layers_in_a_row

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Return what the discriminator sees, [B, F]: every layer max-pooled to 4 x 4 and flattened (section 5.1)."""
        return torch.cat(pooled_maps(self.D.blocks, x, 4), 1)
