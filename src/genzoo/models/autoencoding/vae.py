"""An encoder and a decoder trained on a lower bound of the likelihood.

The variational autoencoder (Kingma & Welling 2014): p(x, z) = N(z; 0, I) p(x|z) with a decoder net, and an encoder
net that gives a Gaussian q(z|x) for every image. Also here, because only a term differs: the importance-weighted
bound (Burda et al. 2016, arXiv:1509.00519), the weighted KL of the beta-VAE (Higgins et al. 2017), and a
reconstruction in the features of a network in place of pixels (Hou et al. 2016, arXiv:1610.00291).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.capabilities import Figure
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.divergences import kl_standard_normal
from genzoo.losses.likelihoods import (
    bernoulli,
    discretized_logistic,
    gaussian,
    log_mean_exp,
    per_example,
    standard_normal,
)
from genzoo.losses.perceptual import feature_distance
from genzoo.nn import draws, latent
from genzoo.nn.autoencoding.coders import ACTIVATIONS, Activation, conv_coders, dense_coders, xavier_init
from genzoo.nn.dequantize import dequantize, discrete_log_prob, on_levels, quantize, training_noise
from genzoo.nn.pretrained.perceptual import TRUNKS, FeatureNet
from genzoo.nn.schedules import half_cosine
from genzoo.nn.upsampling import Upsample
from genzoo.ranks.batch import for_examples

START_LOG_SCALE = -1.0
"""Log-scale of the decoder's distribution that training starts from (images span -1 to 1)."""
LEAST_LOG_SCALE = -7.0
"""Scales below a tenth of a grey level of 256 change no probability, but would let gradients grow without bound."""


class VAE(System):
    """Variational autoencoder with a Gaussian posterior.

    Maximizes E_q[log p(x|z)] - beta · KL(q(z|x) || N(0, I)) (equation 3 of arXiv:1312.6114, beta = 1), or with
    `importance_samples` k > 1 the bound log 1/k Σ p(x, z_i)/q(z_i|x) (equation 8 of arXiv:1509.00519).

    Binarized images (`binarize=dynamic`) suit the Bernoulli decoder and are what nats on MNIST are quoted for. On
    grey images the Bernoulli decoder can be trained (a cross-entropy, as many do) but gives no likelihood; the other
    two decoders do. The Gaussian decoder scores images with uniform noise inside each grey level, so that its density
    is bounded and comparable.

    With `perceptual` the first term is -w · D · 1/L Σ_l |F_l(x̂) - F_l(x)|² / |F_l(x)|² for the maps F_l of a frozen
    network, D = C·H·W: a reconstruction that may differ in every pixel where it looks the same. The decoder then gives an
    image and no distribution, so there is no likelihood. Deviation from arXiv:1610.00291: each map is measured relative to
    its own size, so that networks and image sizes need no weights of their own.

    Args:
        shape: Channels, height and width of the images.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        architecture: Fully connected nets, or strided convolutions.
        likelihood: What p(x|z) is; auto is bernoulli for binarized images and discretized-logistic for others.
        latent: Size of z.
        hidden: Units of each hidden layer (dense).
        width: Channels of the first convolution; doubled at every halving (conv).
        depth: Hidden layers of each net (dense), or times that the image is halved, as far as its size allows (conv).
        upsample: How the decoder doubles its maps (conv): resize repeats pixels before a 3 x 3 convolution, as Hou et al. have it;
            transposed is a 4 x 4 one.
        activation: Nonlinearity of the nets.
        beta: Weight of the KL term; 1 is the bound on the likelihood.
        importance_samples: Draws of z per image and step, k; above 1 the importance-weighted bound is maximized.
        perceptual: Network whose features are reconstructed in place of pixels; none: pixels, by `likelihood`. All but
            vgg16-random need a file of weights in $GENZOO_WEIGHTS to train, and none to be used.
        perceptual_layers: How many of the network's maps are compared, from the image inwards.
        perceptual_weight: Weight w of the features against the KL term.
        sigma: Fixed scale of the gaussian and discretized-logistic decoders (images span -1 to 1); none: learned, as
            `spread` says.
        spread: Whose scale is learned in those decoders: one for each channel, one for each value of the image, which the
            decoder predicts from z as it does the mean (section C.2 of the paper); auto is value for images of several
            channels, where sigma is none.
        lr: Learning rate of Adam.
        adam_eps: Epsilon of Adam.
        schedule: Learning rate over time: constant, cosine to zero, or the IWAE paper's stages, 3^i passes at
            10^(-i/7).
    """

    paper = "arXiv:1312.6114"
    data = "image"
    presets = {
        "iwae": {"importance_samples": 50},
        "beta-vae": {"beta": 4.0},
        "vae-2d": {"latent": 2},
        "conv-vae": {"architecture": "conv", "depth": 3, "latent": 64},
        "vae-paper": {
            "likelihood": "gaussian",
            "spread": "value",
            "latent": 20,
            "hidden": 200,
            "depth": 1,
            "activation": "tanh",
        },
        "vae-burda": {
            "likelihood": "bernoulli",
            "latent": 50,
            "hidden": 200,
            "depth": 2,
            "activation": "tanh",
            "lr": 1e-3,
            "adam_eps": 1e-4,
            "schedule": "iwae-paper",
        },
    }
    tiny = {"shape": (1, 8, 8), "latent": 3, "hidden": 16, "width": 8, "depth": 1}
    defaults = {"steps": 60000, "batch": 100, "ema": 0.999, "warmup": 0.005}
    formerly: ClassVar[dict[str, Any]] = {"upsample": "transposed", "spread": "channel"}
    likelihood: ClassVar[str] = "lower bound: importance-weighted, 64 samples of z per image"
    log_scale: Any  # of the decoder's distribution, [C, 1, 1]; None where that has none or predicts it

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        architecture: Literal["dense", "conv"] = "dense",
        likelihood: Literal["auto", "bernoulli", "gaussian", "discretized-logistic"] = "auto",
        latent: Annotated[int, Field(ge=1, le=4096)] = 40,
        hidden: Annotated[int, Field(ge=1, le=16384)] = 400,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        depth: Annotated[int, Field(ge=1, le=16)] = 2,
        upsample: Upsample = "resize",
        activation: Activation = "elu",
        beta: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        importance_samples: Annotated[int, Field(ge=1, le=5000)] = 1,
        perceptual: Literal["none", "vgg16", "vgg19", "alexnet", "vgg16-random"] = "none",
        perceptual_layers: Annotated[int, Field(ge=1, le=5)] = 3,
        perceptual_weight: Annotated[float, Field(gt=0, le=1000)] = 1.0,
        sigma: Annotated[float, Field(gt=0, le=10)] | None = None,
        spread: Literal["auto", "channel", "value"] = "auto",
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
        adam_eps: Annotated[float, Field(gt=0, le=1)] = 1e-4,
        schedule: Literal["constant", "cosine", "iwae-paper"] = "cosine",
    ) -> None:
        super().__init__()
        self.decoder_likelihood: str = likelihood
        if importance_samples > 1 and beta != 1:
            raise UserError(
                f"beta={beta:g} with importance_samples={importance_samples}: the importance-weighted bound has no KL "
                "term to weigh; give beta=1, or importance_samples=1."
            )
        if perceptual != "none" and (likelihood != "auto" or importance_samples > 1 or sigma is not None):
            raise UserError(
                f"perceptual={perceptual} takes the place of the pixels' likelihood: leave out likelihood, sigma and "
                "importance_samples, or give perceptual=none."
            )
        if perceptual != "none":
            self.features = FeatureNet(perceptual, TRUNKS[perceptual].layers[:perceptual_layers])
            self.features.check(shape, f"perceptual={perceptual}", "a smaller perceptual_layers=")
            self.decoder_likelihood = "features"
        elif likelihood == "auto":
            self.decoder_likelihood = "bernoulli" if levels == 2 else "discretized-logistic"
        self.shape, self.levels, self.latent_size = shape, levels, latent
        self.beta, self.importance_samples, self.perceptual_weight = beta, importance_samples, perceptual_weight
        self.lr, self.adam_eps, self.schedule = lr, adam_eps, schedule
        has_scale = self.decoder_likelihood in ("gaussian", "discretized-logistic")
        if spread == "value" and (not has_scale or sigma is not None):
            given = f"sigma={sigma:g} fixes it" if has_scale else f"a {self.decoder_likelihood} decoder has none"
            raise UserError(
                f"spread=value predicts the scale of every value from z, but {given}: leave out spread, or give "
                "likelihood=gaussian or discretized-logistic without sigma and perceptual."
            )
        colour = has_scale and sigma is None and shape[0] > 1
        self.predicts_scale = spread == "value" or (spread == "auto" and colour)
        act, maps = ACTIVATIONS[activation], 1 + int(self.predicts_scale)
        if architecture == "dense":
            self.encoder, self.decoder = dense_coders(shape, latent, 2 * latent, hidden, depth, act, maps=maps)
        else:
            self.encoder, self.decoder = conv_coders(shape, latent, 2 * latent, width, depth, act, upsample, maps=maps)
        self.apply(xavier_init)
        if not has_scale or self.predicts_scale:
            self.log_scale = None
        elif sigma is not None:
            self.register_buffer("log_scale", torch.full((shape[0], 1, 1), math.log(sigma)))
        else:
            self.log_scale = nn.Parameter(torch.full((shape[0], 1, 1), START_LOG_SCALE))
        if latent != 2:
            self.lacks = {"figures": f"the manifold picture needs latent=2, not {latent}; train the preset vae-2d."}

    # ---- learning --------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one Adam for both nets."""
        if self.decoder_likelihood == "features":
            self.features.load()
        return {"model": Adam(self.parameters(), lr=self.lr, eps=self.adam_eps)}

    def lr_scale(self, progress: float) -> float:
        """Return the chosen schedule at `progress`."""
        if self.schedule == "cosine":
            return half_cosine(self, progress)
        if self.schedule == "iwae-paper":  # stage i lasts 3^i of 1 + 3 + ... + 3^7 = 3280 passes
            stage = math.floor(math.log(1 + 2 * 3280 * progress, 3) + 1e-9)
            return 10 ** (-stage / 7)
        return 1.0

    def loss(self, batch: Batch) -> Logs:
        """Return the negative bound, in nats per image."""
        x = batch["image"]
        mean, log_std = self.posterior(x)
        noise = training_noise(x)
        target = self._target(x, noise)
        active = (mean.detach().var(0, correction=0) > 0.01).float().sum()
        if self.importance_samples == 1:
            z = mean + log_std.exp() * torch.randn_like(mean)
            reconstruction = self._log_likelihood(target, self.decoder(z))
            kl = kl_standard_normal(mean, log_std).sum(1)
            bound = reconstruction - self.beta * kl
        else:
            with for_examples(dim=1):
                draws = torch.randn(self.importance_samples, *mean.shape, device=mean.device)
            z = mean + log_std.exp() * draws
            reconstruction = self._log_likelihood_of_many(target, z)
            kl = (standard_normal(draws) - log_std - standard_normal(z)).sum(2)
            bound = log_mean_exp(reconstruction - kl, 0)
        return {
            "loss": -bound.mean(),
            "reconstruction": -reconstruction.detach().mean(),
            "kl": kl.detach().mean(),
            "active_units": active,
        }

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and log standard deviation of q(z|x), each [B, latent], float32."""
        mean, log_std = self.encoder(on_levels(x, self.levels)).float().chunk(2, 1)
        return mean, log_std.clamp(-10, 5)

    def _target(self, x: Tensor, generator: Generator) -> Tensor:
        """Return what the decoder's likelihood scores: {0, 1} (or grey in between), noisy or plain [-1, 1]."""
        if self.decoder_likelihood == "bernoulli":
            return (on_levels(x, 2) + 1) / 2 if self.levels == 2 else (x + 1) / 2
        if self.decoder_likelihood == "gaussian":
            return 2 * dequantize(x, self.levels, generator) - 1
        return x if self.decoder_likelihood == "features" else on_levels(x, self.levels)

    def _log_likelihood(self, target: Tensor, out: Tensor) -> Tensor:
        """Return log p(x|z) of the discrete image in nats, [B], from the decoder's output; with `perceptual`, what stands for it."""
        if self.decoder_likelihood == "features":
            with torch.no_grad():
                wanted = self.features(target)
            distance = feature_distance(self.features(out), wanted, relative=True) / len(wanted)  # maps, not images
            return -self.perceptual_weight * math.prod(self.shape) * distance
        if self.decoder_likelihood == "bernoulli":
            return per_example(bernoulli(target, out))
        if self.decoder_likelihood == "discretized-logistic":
            return per_example(discretized_logistic(target, *self._mean_and_scale(out), self.levels))
        dims = math.prod(self.shape)
        on_unit_cube = per_example(gaussian(target, *self._mean_and_scale(out))) + dims * math.log(2)
        return discrete_log_prob(on_unit_cube, dims, self.levels)

    def _mean_and_scale(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-scale of the decoder's distribution, [B, C, H, W] and the like (or [C, 1, 1]), from its output."""
        if not self.predicts_scale:
            return out, self.log_scale.clamp(min=LEAST_LOG_SCALE)
        mean, raw = out.float().chunk(2, 1)
        return mean, (raw + START_LOG_SCALE).clamp(min=LEAST_LOG_SCALE)

    def _log_likelihood_of_many(self, target: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) for several z of each image: z [K, B, latent] to [K, B]."""
        out = self.decoder(z.flatten(0, 1))
        return self._log_likelihood(target.repeat(z.shape[0], *[1] * (target.ndim - 1)), out).unflatten(0, z.shape[:2])

    # ---- use -------------------------------------------------------------------------------------------------------

    def _is_likelihood(self) -> None:
        if self.decoder_likelihood == "features":
            raise UserError(
                f"a VAE that was trained on features (perceptual={self.features.name}) gives no likelihood; train with "
                "perceptual=none for one."
            )
        if self.decoder_likelihood == "bernoulli" and self.levels != 2:
            raise UserError(
                f"a Bernoulli decoder gives no likelihood of images with {self.levels} grey levels (cross-entropy with "
                "grey values is not normalized): train with binarize=dynamic (or static, threshold), or with "
                "likelihood=discretized-logistic."
            )

    def _generator(self, generator: Generator | None) -> Generator:
        return generator or torch.Generator(self.device).manual_seed(0)

    @torch.no_grad()
    def elbo(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return the evidence lower bound with one draw of z and the KL in closed form, in nats, [B]."""
        self._is_likelihood()
        generator = self._generator(generator)
        mean, log_std = self.posterior(x)
        z = mean + log_std.exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
        return self._log_likelihood(self._target(x, generator), self.decoder(z)) - kl_standard_normal(
            mean, log_std
        ).sum(1)

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, *, generator: Generator | None = None, samples: Annotated[int, Field(ge=1)] = 64
    ) -> Tensor:
        """Return the importance-weighted lower bound on log p(x) in nats, [B]; papers quote it with 5000 samples.

        Args:
            x: Images in [-1, 1], [B, C, H, W].
            generator: Source of the draws; a fixed seed without it.
            samples: Draws of z per image, taken in parts that fit in memory.
        """
        self._is_likelihood()
        generator = self._generator(generator)
        rows = max(1, 2 ** (24 if x.is_cuda else 21) // math.prod(self.shape))  # values of one decoder output at a time
        bounds = []
        for part in x.split(min(rows, 256)):
            mean, log_std = self.posterior(part)
            target = self._target(part, generator)
            total = torch.full((part.shape[0],), -math.inf, device=x.device)
            left = samples
            while left:
                k = min(left, max(1, rows // part.shape[0]))
                noise = torch.randn(k, *mean.shape, generator=generator, device=mean.device)
                z = mean + log_std.exp() * noise
                weight = self._log_likelihood_of_many(target, z)
                weight = weight + (0.5 * (noise.square() - z.square()) + log_std).sum(2)  # + log p(z) - log q(z|x)
                total = torch.logaddexp(total, weight.logsumexp(0))
                left -= k
            bounds.append(total - math.log(samples))
        return torch.cat(bounds)

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) under N(0, I) in nats, [B]."""
        return per_example(standard_normal(z))

    def log_given(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z) of the discrete image in nats, [B]; a Gaussian decoder takes one fixed draw of the place within grey levels."""
        self._is_likelihood()
        return self._log_likelihood(self._target(x, self._generator(None)), self.decoder(z).float())

    encode = latent.posterior_mean

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z), [B, C, H, W] in [-1, 1]."""
        out = self.decoder(z).float()
        if self.decoder_likelihood == "bernoulli":
            return 2 * out.sigmoid() - 1
        return (out[:, : self.shape[0]] if self.predicts_scale else out).clamp(-1, 1)

    _draw = latent.normal
    sample_prior = latent.sample_prior

    @torch.no_grad()
    def sample(
        self, n: int, *, generator: Generator, mean: bool = True, temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    ) -> Tensor:
        """Return images from the prior.

        Args:
            n: How many.
            generator: Source of all randomness.
            mean: Show the mean of p(x|z), as papers do; false draws every pixel too, which is what the model is.
            temperature: Factor on the standard deviation of z.
        """
        z = temperature * self.sample_prior(n, generator=generator)
        return self.decode(z) if mean else self.sample_given(z, generator=generator)

    @torch.no_grad()
    def sample_given(self, z: Tensor, *, generator: Generator) -> Tensor:
        """Return images of latents with every pixel drawn from p(x|z), [B, C, H, W]."""
        if self.decoder_likelihood == "features":
            raise UserError("mean=false needs a distribution of pixels, which a VAE trained on features does not have.")
        out = self.decoder(z).float()
        if self.decoder_likelihood == "bernoulli":
            return 2 * (draws.rand(*out.shape, generator=generator, device=out.device) < out.sigmoid()).float() - 1
        mean, log_scale = self._mean_and_scale(out)
        if self.decoder_likelihood == "gaussian":
            noise = draws.randn(*mean.shape, generator=generator, device=out.device)
            return quantize((mean + log_scale.exp() * noise + 1) / 2, self.levels)
        u = draws.rand(*mean.shape, generator=generator, device=out.device)
        x = mean + log_scale.exp() * torch.logit(u, eps=1e-6)
        return ((x.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round() * (2 / (self.levels - 1)) - 1

    def figures(self, *, generator: Generator, rows: Annotated[int, Field(ge=2, le=100)] = 20) -> dict[str, Figure]:
        """Draw the manifold of two latents (figure 4).

        Args:
            generator: Nothing is drawn.
            rows: Images on a side.
        """
        return {"manifold": Figure(self.manifold(rows), rows, "Two latents on a grid of equal prior mass", gap=0)}

    @torch.no_grad()
    def manifold(self, rows: int = 20) -> Tensor:
        """Return what a two-dimensional latent space holds: decoded points, [rows², C, H, W], row by row.

        Figure 4 of arXiv:1312.6114: a regular grid on the unit square through the inverse normal distribution
        function.
        """
        if "figures" in self.lacks:
            raise UserError(self.lacks["figures"])
        line = torch.special.ndtri((torch.arange(rows, device=self.device) + 0.5) / rows)
        return self.decode(torch.cartesian_prod(-line, line).flip(1))
