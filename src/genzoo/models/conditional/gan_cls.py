"""GAN-CLS: from a sentence to an image, with a discriminator that also sees real images with wrong sentences."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import captioned, latent
from genzoo.nn.checks import check_sides
from genzoo.nn.gan.matching import MatchingDiscriminator, SentenceGenerator
from genzoo.nn.optimizers import adam_for
from genzoo.nn.pretrained.sentences import Encoder, Sentences
from genzoo.ranks.sums import the_one_before
from genzoo.text.vocabulary import check_words


class GANCLS(System):
    """Generative adversarial text to image synthesis of Reed, Akata, Yan, Logeswaran, Schiele & Lee (2016).

    With h a sentence's vector, h̃ that of another image's sentence and x̂ = G(z, h), algorithm 1: s_r = D(x, h), s_w = D(x, h̃),
    s_f = D(x̂, h); D maximizes log s_r + ½ (log(1 − s_w) + log(1 − s_f)), G maximizes log s_f. Without s_w, D can be content with
    "real or not", and only slowly learns that a sentence matters. GAN-INT (eq. 5): G is also asked for images of sentences halfway between
    two, β h₁ + (1 − β) h₂ with β = ½, which nobody wrote.

    The sentence encoder is trained with the discriminator (`encoder=words` or `gru`) or frozen (`minilm`); the paper's is a char-CNN-RNN
    trained beforehand. G takes vectors as they are and never moves the encoder. Deviations: DCGAN's nets with R1 in place of batch norm
    in D (`r1`); ½ is the argument `mismatch`; a "wrong" sentence that is the right one, word for word, is passed over; in-between sentences are as
    many as the others (the authors' code: half as many in one mean, so its weight 1 is `interpolate=0.5`).

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        vocabulary: Words of the captions.
        encoder: What makes a vector of a sentence: words (a bag of trained word vectors), gru (reads them in order), minilm (frozen, from a file).
        dim: Size of a trained encoder's vector.
        compressed: What each player compresses a sentence's vector to.
        length: Words of a caption that are read.
        latent: Dimensions of the noise z, normal(0, 1).
        width: Channels of the layers next to the image; deeper layers have up to 8 times as many.
        mismatch: Share of real images with wrong sentences in what D has to reject; 0 leaves the term out.
        interpolate: Weight of G's loss on sentences halfway between two (GAN-INT); 0 leaves the term out.
        r1: Weight of the gradient penalty on real images with their sentences; 0 for none.
        lr: Learning rate of both players.
        beta1: Adam's decay of the mean gradient.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1605.05396"
    data: ClassVar[str] = "captioned"
    presets: ClassVar[dict] = {
        "gan-int-cls": {"interpolate": 1.0},
        "gan-int": {"interpolate": 1.0, "mismatch": 0.0},
        "gan-no-cls": {"mismatch": 0.0},
    }
    tiny: ClassVar[dict] = {
        "shape": (1, 8, 8), "vocabulary": ("a", "red", "blue", "circle"), "latent": 4, "width": 4, "dim": 6, "compressed": 5, "length": 4,
        "encoder": "words",
    }  # fmt: skip
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}
    vocabulary: tuple[str, ...]

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        vocabulary: tuple[str, ...] = (),
        encoder: Encoder = "words",
        dim: Annotated[int, Field(ge=1, le=4096)] = 256,
        compressed: Annotated[int, Field(ge=1, le=4096)] = 128,
        length: Annotated[int, Field(ge=1, le=256)] = 32,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        mismatch: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        interpolate: Annotated[float, Field(ge=0, le=10)] = 0.0,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_words(vocabulary, "gan-cls")
        check_sides(shape, "gan-cls")
        self.vocabulary, self.latent_size = vocabulary, latent
        self.mismatch, self.interpolate, self.r1 = mismatch, interpolate, r1
        self.lr, self.betas = lr, (beta1, beta2)
        self.text = Sentences(vocabulary, encoder, dim, length)
        self.conditions = self.text.dim
        self.G = SentenceGenerator(shape, latent, self.text.dim, compressed, width)
        self.D = MatchingDiscriminator(shape, width, self.text.dim, compressed)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam for each player; the sentence encoder, where it is trained, learns with the discriminator."""
        self.text.load()
        return {"d": adam_for(self, self.D, self.text), "g": adam_for(self, self.G)}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Show D right, wrong and generated pairs (algorithm 1); then G, and G on sentences between sentences."""
        real, caption = batch["image"], batch["caption"]
        self.text.remember(caption)
        h = self.text(caption)
        fake = self.G(self._draw(len(real)), h.detach())

        s_r, s_w, s_f, wrong = self.D.pairs(real, fake.detach(), h, caption)
        d_loss = F.softplus(-s_r).mean() + self.mismatch * wrong + (1 - self.mismatch) * F.softplus(s_f).mean()
        if self.r1:
            d_loss = d_loss + r1_penalty(lambda x: self.D(x, h), real, gamma=self.r1)
        update("d", d_loss)

        h = h.detach()
        g_loss = generator_loss("non-saturating", self.D(fake, h))
        if self.interpolate:
            between = 0.5 * h + 0.5 * the_one_before(h)
            unwritten = self.D(self.G(self._draw(len(real)), between), between)
            g_loss = g_loss + self.interpolate * generator_loss("non-saturating", unwritten)
        update("g", g_loss)
        logs = {"d_loss": d_loss, "g_loss": g_loss, "d_real": s_r.mean(), "d_wrong": s_w.mean(), "d_fake": s_f.mean()}
        return {k: v.detach() for k, v in logs.items()}

    _draw = latent.normal
    unread = captioned.unread
    sample_prior = captioned.sample_prior

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the images [n, C, H, W] in [-1, 1] of latents [n, latent + dim]."""
        return self.G(*z.split([self.latent_size, self.text.dim], 1)).contiguous()

    sample = captioned.sample
