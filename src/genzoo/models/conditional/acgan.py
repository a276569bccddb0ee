"""Auxiliary-classifier GAN: the discriminator names the class too, and the generator wants it named right."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import latent
from genzoo.nn.checks import check_classes, check_sides
from genzoo.nn.gan.dcgan import Discriminator, Synthesis, layers_in_a_row
from genzoo.nn.optimizers import adam_for_each


class ACGAN(System):
    """Auxiliary-classifier GAN of Odena, Olah & Shlens (2017).

    D gives a source S (real or generated) and a class C. With L_S = E log P(S = real | x) + E log P(S = fake | G(z, y)) (eq. 2) and
    L_C = E log P(C = y | x) + E log P(C = y | G(z, y)) (eq. 3), D maximizes L_S + L_C and G maximizes L_C − L_S. Only G is told
    the class; the cross-entropies are taken of logits, never of probabilities.

    Deviations: R1 in place of batch norm and dropout in D (`r1`), which keeps the two players level on small images; the
    generator's part of L_S is non-saturating.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        classes: Number of classes.
        latent: Dimensions of the noise z, normal(0, 1).
        width: Channels of the layers next to the image; deeper layers have up to 8 times as many.
        class_weight: Weight of L_C for both players.
        r1: Weight of the gradient penalty of the source on real images; 0 for none.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1610.09585"
    data: ClassVar[str] = "labelled"
    tiny: ClassVar[dict] = {"shape": (1, 8, 8), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}
    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        classes: int = 10,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        class_weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_classes(classes, "acgan")
        check_sides(shape, "acgan")
        self.labels, self.latent_size, self.conditions = classes, latent, classes
        self.class_weight, self.r1, self.lr, self.betas = class_weight, r1, lr, (beta1, beta2)
        self.G = Synthesis(shape, latent + classes, width, 4)
        self.D = Discriminator(shape, width, 4, "none", False, outputs=1 + classes)

    optimizers = adam_for_each

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the source [B] (high: real) and of the class [B, classes]."""
        out = self.D(x)
        return out[:, 0], out[:, 1:]

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Let D maximize L_S + L_C, then G L_C − L_S; generated images have classes drawn with equal chances."""
        real, label = batch["image"], batch["label"]
        z = self._draw(len(real))
        wanted = torch.randint(self.labels, (len(real),), device=real.device)
        fake = self.G(torch.cat([z, self._one_hot(wanted)], 1))

        (s_real, c_real), (s_fake, c_fake) = self.judge(real), self.judge(fake.detach())
        class_real, class_fake = F.cross_entropy(c_real, label), F.cross_entropy(c_fake, wanted)
        d_loss = discriminator_loss("non-saturating", s_real, s_fake) + self.class_weight * (class_real + class_fake)
        if self.r1:
            d_loss = d_loss + r1_penalty(lambda x: self.judge(x)[0], real, gamma=self.r1)
        update("d", d_loss)

        s_fake, c_fake = self.judge(fake)
        g_loss = generator_loss("non-saturating", s_fake) + self.class_weight * F.cross_entropy(c_fake, wanted)
        update("g", g_loss)
        logs = {
            "d_loss": d_loss,
            "g_loss": g_loss,
            "class_real": class_real,
            "class_fake": class_fake,
            "accuracy": (c_real.argmax(1) == label).float().mean(),
        }
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal
    _one_hot = latent.one_hot
    sample_prior = latent.sample_prior_of_class
    decode = latent.decode
    sample = latent.sample_of_class
    judging = layers_in_a_row
