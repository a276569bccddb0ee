"""The two players of text to image: a generator of noise and sentence, and a discriminator that sees whether an image fits one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn.gan.dcgan import Discriminator, Synthesis
from genzoo.nn.init import normal_init
from genzoo.ranks.sums import mean_over_ranks, ranks, the_one_before


class Compress(nn.Sequential):
    """A sentence's vector made smaller: dense, LeakyReLU.

    Args:
        inputs: Size of the vector.
        outputs: Size of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, outputs), nn.LeakyReLU(0.2))


class SentenceGenerator(nn.Module):
    """DCGAN's generator on noise and a compressed sentence side by side.

    Args:
        shape: (C, H, W) of the image.
        latent: Dimensions of z.
        dim: Size of a sentence's vector.
        compressed: What it is compressed to.
        width: Channels next to the image.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, dim: int, compressed: int, width: int) -> None:
        super().__init__()
        self.compress = Compress(dim, compressed)
        self.net = Synthesis(shape, latent + compressed, width, 4)

    def forward(self, z: Tensor, sentence: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] from z [B, latent] and sentences [B, dim]."""
        images: Tensor = self.net(torch.cat([z, self.compress(sentence)], 1))
        return images.contiguous()


class MatchingDiscriminator(nn.Module):
    """DCGAN's discriminator without normalization, whose last map is joined at every place with the compressed sentence.

    Args:
        shape: (C, H, W) of the image.
        width: Channels of the first layer.
        dim: Size of a sentence's vector.
        compressed: What it is compressed to.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, dim: int, compressed: int) -> None:
        super().__init__()
        plain = Discriminator(shape, width, 4, "none", False)
        channels = plain.channels
        self.blocks, self.score = plain.blocks, plain.score
        self.compress = Compress(dim, compressed)
        self.join = nn.Sequential(nn.Conv2d(channels + compressed, channels, 1), nn.LeakyReLU(0.2))
        normal_init(self.join)

    def look(self, x: Tensor) -> Tensor:
        """Return the last map of images, [B, C', h, w]: what a sentence is compared with."""
        for block in self.blocks:
            x = block(x)
        return x

    def match(self, seen: Tensor, sentence: Tensor) -> Tensor:
        """Return the logits [B] of maps with sentences [B, dim]: high for a real image with a sentence that fits it."""
        words = self.compress(sentence)[:, :, None, None].expand(-1, -1, *seen.shape[2:])
        logits: Tensor = self.score(self.join(torch.cat([seen, words.to(seen.dtype)], 1)).flatten(1))
        return logits.squeeze(1).float()

    def pairs(self, real: Tensor, fake: Tensor, h: Tensor, caption: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits [B] of right, wrong and generated pairs, and the loss of wrong ones that are not right, word for word.

        Args:
            real: Images [B, C, H, W]; a wrong sentence is that of the image before it.
            fake: Images that were made of the sentences.
            h: Sentences [B, dim].
            caption: The same as numbers of words [B, L].
        """
        seen = self.look(real)
        on_real, on_fake = self.match(seen, h), self(fake, h)
        on_wrong, differs = self.match(seen, the_one_before(h)), (caption != the_one_before(caption)).any(1)
        loss = (F.softplus(on_wrong) * differs).sum() / mean_over_ranks(differs.sum()).clamp_min(1 / ranks())
        return on_real, on_wrong, on_fake, loss

    def forward(self, x: Tensor, sentence: Tensor) -> Tensor:
        """Return the logits [B] of images [B, C, H, W] with sentences [B, dim]."""
        return self.match(self.look(x), sentence)
