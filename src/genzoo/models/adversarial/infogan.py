"""InfoGAN: part of the noise is a code that can be read back from the image, so that it comes to mean something."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.capabilities import Figure
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_of
from genzoo.nn import draws, latent
from genzoo.nn.checks import check_apart, check_sides
from genzoo.nn.gan.augment import affine
from genzoo.nn.gan.dcgan import Discriminator, Synthesis, layers_in_a_row
from genzoo.nn.optimizers import adam_for
from genzoo.ranks.sums import mean_over_ranks


def shared_information(p: Tensor, q: Tensor) -> Tensor:
    """Return the mutual information, in nats, of two readings of the same images: at most ln K, 0 where they are independent.

    Args:
        p: Probabilities of the categories, [B, K].
        q: Those of another view of the same images, [B, K].
    """
    joint = mean_over_ranks((p[:, :, None] * q[:, None, :]).mean(0))  # no product of matrices, which bf16 would round
    joint = ((joint + joint.T) / 2).clamp_min(1e-12)
    one = joint.sum(1)
    return (joint * joint.log()).sum() - 2 * (one * one.log()).sum()


class InfoGAN(System):
    """InfoGAN of Chen et al. (2016).

    The generator's input is noise z and a code c: one of K categories and some numbers in [-1, 1]. Without labels, G maximizes
    beside its game a bound of the information that the image keeps of the code (eq. 4-6):
    L_I(G, Q) = E log Q(c | G(z, c)) + H(c) <= I(c; G(z, c)). Q shares the convolutions of D and has two dense layers of its own; for the
    numbers it is a Gaussian of standard deviation 1 around a predicted mean, as in the authors' MNIST experiment. The bound's
    gradient moves G and Q (with the convolutions that it shares) and not D's score.

    What the category comes to mean is settled early, by whatever tells images apart most easily. `real_weight`, off by default and not in
    the paper, lets Q see real images too: it adds to Q's objective the mutual information of the categories that Q reads in a training
    image and in its copy, turned, stretched and moved (IIC, arXiv:1807.06653). So a category means what such changes leave alone. With
    `real_until` the term is there for the beginning only, and the game has D's convolutions for itself afterwards.

    Deviations by default: R1 in place of batch norm in D, one rate for both players, normal noise, no dense hidden layers;
    `infogan-paper` has the paper's.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        noise: Dimensions of the noise z.
        categories: Categories K of the first code.
        numbers: Continuous codes, uniform(-1, 1).
        category_weight: Weight of the bound of the category.
        number_weight: Weight of the bound of the numbers.
        prior: Law of the noise, normal(0, 1) or uniform(-1, 1).
        noise_scale: Factor on the noise; a small one leaves more to the code.
        real_weight: Weight of the information shared by Q's category of a real image and of its distorted copy; 0 for none.
        real_until: Share of the run by which `real_weight` has fallen linearly to 0; none for never.
        jitter: How far entries of that copy's map stray from the identity's; its position moves by up to a quarter of this in sides.
        width: Channels of the layers next to the image; deeper layers have up to 8 times as many.
        dense: Units of a hidden dense layer in G and D, with two halvings at most (the paper: 1024); 0 for none.
        d_norm: Norm in D and Q: none or batch.
        r1: Weight of the gradient penalty of the score on real images; 0 for none.
        lr: Learning rate of G, and of D and Q unless `d_lr` is given.
        d_lr: Learning rate of D and Q.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1606.03657"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "infogan-paper": {
            "prior": "uniform", "dense": 1024, "d_norm": "batch", "r1": 0.0, "lr": 1e-3, "d_lr": 2e-4, "beta1": 0.5, "beta2": 0.999,
        },
    }  # fmt: skip
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "noise": 4, "categories": 3, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        noise: Annotated[int, Field(ge=0, le=4096)] = 62,
        categories: Annotated[int, Field(ge=2, le=1000)] = 10,
        numbers: Annotated[int, Field(ge=0, le=64)] = 2,
        category_weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        number_weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        prior: Literal["normal", "uniform"] = "normal",
        noise_scale: Annotated[float, Field(gt=0, le=10)] = 1.0,
        real_weight: Annotated[float, Field(ge=0, le=100)] = 0.0,
        real_until: Annotated[float, Field(gt=0, le=1)] | None = None,
        jitter: Annotated[float, Field(gt=0, le=0.5)] = 0.25,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        dense: Annotated[int, Field(ge=0, le=8192)] = 0,
        d_norm: Literal["none", "batch"] = "none",
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "infogan")
        check_apart("r1" if r1 else "", d_norm, "r1=0 or d_norm=none")
        self.noise, self.categories, self.numbers = noise, categories, numbers
        self.conditions = categories + numbers
        self.weights, self.jitter = (category_weight, number_weight), jitter
        self.real_weight, self.real_until = real_weight, real_until
        self.prior, self.noise_scale = prior, noise_scale
        self.r1, self.lr, self.d_lr, self.betas = r1, lr, d_lr or lr, (beta1, beta2)
        self.G = Synthesis(shape, noise + categories + numbers, width, 4, dense=dense)
        self.D = Discriminator(shape, width, 4, d_norm, False, dense=dense)
        norm = [nn.BatchNorm1d(128)] if d_norm == "batch" else []
        self.Q = nn.Sequential(
            nn.Linear(self.D.score.in_features, 128), *norm, nn.LeakyReLU(0.2), nn.Linear(128, categories + numbers)
        )

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each side; Q shares D's convolutions and so its optimizer."""
        return {"d": adam_for(self, self.D, self.Q, slower=True), "g": adam_for(self, self.G)}

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return D's logits [B] and Q's reading of the code: logits of the categories [B, K] and means of the numbers [B, numbers]."""
        h = self.D.features(x)
        code = self.Q(h).float()
        return self.D.score(h).squeeze(1).float(), code[:, : self.categories], code[:, self.categories :]

    def bound(self, reading: tuple[Tensor, Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
        """Return L_I of the category and of the numbers, in nats: E log Q(c | x) + H(c), each at most the information kept.

        Args:
            reading: What Q says: logits of the categories, means of the numbers.
            code: The code as G was given it, [B, categories + numbers].
        """
        logits, mean = reading
        category = math.log(self.categories) - F.cross_entropy(logits, code[:, : self.categories].argmax(1))
        error = (code[:, self.categories :] - mean).square().sum(1).mean()
        # H of U(-1, 1) is ln 2; the Gaussian's constant is ½ ln 2π
        numbers = self.numbers * (math.log(2) - 0.5 * math.log(2 * math.pi)) - 0.5 * error
        return category, numbers

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do a step of D and Q, then one of G on the same draws; the bound is a term of both (algorithm of section 5)."""
        image = batch["image"]
        real = image.detach().requires_grad_(self.r1 > 0)
        drawn = self._draw(len(image))
        code = drawn[:, self.noise :]
        fake = self.G(drawn)
        on_real, seen, _ = self.judge(real)
        on_fake, *reading = self.judge(fake.detach())
        category, numbers = self.bound((reading[0], reading[1]), code)
        d_loss = discriminator_loss("non-saturating", on_real, on_fake)
        if self.r1:
            d_loss = d_loss + r1_of(on_real, real, gamma=self.r1)
        objective = d_loss - self._weighed(category, numbers)
        real_weight = self.real_weight
        if self.real_until is not None:
            real_weight *= max(0.0, 1 - update.progress / self.real_until)
        if real_weight:
            again = self.judge(affine(image, self.jitter))[1]
            kept = shared_information(seen.softmax(1), again.softmax(1))
            objective = objective - real_weight * kept
        update("d", objective)

        on_fake, *reading = self.judge(fake)
        g_loss = generator_loss("non-saturating", on_fake)
        category, numbers = self.bound((reading[0], reading[1]), code)
        update("g", g_loss - self._weighed(category, numbers))
        logs = {"d_loss": d_loss, "g_loss": g_loss, "mi_category": category}
        if self.numbers:
            logs["number_error"] = (code[:, self.categories :] - reading[1]).square().mean()
        if real_weight:
            logs["mi_real"] = kept
        return {k: v.detach() for k, v in logs.items()}

    def _weighed(self, category: Tensor, numbers: Tensor) -> Tensor:
        return self.weights[0] * category + self.weights[1] * numbers

    def _draw(self, n: int, generator: Generator | None = None, category: int | None = None) -> Tensor:
        """Return noise, one-hot category and numbers side by side, [n, noise + categories + numbers]."""
        device = self.device
        draw = draws.randn if self.prior == "normal" else draws.rand
        z = draw(n, self.noise, device=device, generator=generator)
        z = self.noise_scale * (z if self.prior == "normal" else 2 * z - 1)
        which = draws.randint(self.categories, n, device=device, generator=generator)
        if category is not None:
            which = torch.full_like(which, category)
        c = draws.rand(n, self.numbers, device=device, generator=generator) * 2 - 1
        return torch.cat([z, F.one_hot(which, self.categories).float(), c], 1)

    @torch.no_grad()
    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what Q reads from images: probabilities of the categories [B, K] and the numbers [B, numbers]."""
        _, logits, mean = self.judge(x)
        return logits.softmax(1), mean

    @torch.no_grad()
    def figures(
        self,
        *,
        generator: Generator,
        steps: Annotated[int, Field(ge=2, le=100)] = 10,
        reach: Annotated[float, Field(gt=0, le=10)] = 2.0,
    ) -> dict[str, Figure]:
        """Tables of codes (figure 2): a row for each category, along it the noise, or one continuous code.

        Args:
            generator: Draws the noise and the codes that stay fixed.
            steps: Images in a row.
            reach: End of the way of a continuous code; they were trained within 1.
        """
        start = generator.get_state()
        rows = torch.cat([self._draw(steps, generator.set_state(start), category=k) for k in range(self.categories)])
        words = "A row for each category; noise and continuous codes vary along a row"
        found = {"categories": Figure(self.decode(rows), steps, words)}
        for k in range(self.numbers):
            table = self.traversal(k, steps, generator=generator.set_state(start), reach=reach)
            words = f"Continuous code {k + 1} from {-reach:g} to {reach:g} along a row, a row for each category; all else fixed"
            found[f"code-{k + 1}"] = Figure(table, steps, words)
        return found

    @torch.no_grad()
    def traversal(self, number: int, steps: int, *, generator: Generator, reach: float = 2.0) -> Tensor:
        """Move one number from -reach to reach: a row for each category, everything else fixed, [K · steps, C, H, W].

        Args:
            number: Which of the continuous codes, from 0.
            steps: Images in a row.
            generator: Draws the noise and the other codes, the same for the whole table.
            reach: End of the way; codes were trained within 1 (the paper shows 2).
        """
        if not 0 <= number < self.numbers:
            raise UserError(f"number={number} is not possible; there are {self.numbers} continuous codes, from 0")
        z = self._draw(1, generator).repeat(self.categories * steps, 1)
        z[:, self.noise : self.noise + self.categories] = torch.eye(self.categories).to(z).repeat_interleave(steps, 0)
        way = torch.linspace(-reach, reach, steps).to(z)
        z[:, self.noise + self.categories + number] = way.repeat(self.categories)
        return self.decode(z)

    sample_prior = latent.sample_prior
    decode = latent.decode
    judging = layers_in_a_row

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator, category: Annotated[int, Field(ge=0)] | None = None) -> Tensor:
        """Return `n` images [n, C, H, W] in [-1, 1].

        Args:
            n: How many.
            generator: All the randomness.
            category: Value of the first code for all of them; none draws it for each.
        """
        if category is not None and category >= self.categories:
            raise UserError(f"category={category} is not possible; categories are 0 to {self.categories - 1}")
        return self.decode(self._draw(n, generator, category))
