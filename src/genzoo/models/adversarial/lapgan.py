"""Laplacian pyramid of GANs: a small image first, then one GAN for the detail of each doubling."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from genzoo.core.system import Batch, Logs, System, Update
from genzoo.losses.adversarial import discriminator_loss, generator_loss
from genzoo.losses.penalties import r1_penalty
from genzoo.nn import draws
from genzoo.nn.checks import check_sides
from genzoo.nn.gan.dcgan import Discriminator, Synthesis
from genzoo.nn.init import normal_init
from genzoo.nn.optimizers import adam_for

SMALLEST = 8


def halve(x: Tensor) -> Tensor:
    """Average 2x2 pixels, d(.): [B, C, H, W] to [B, C, ⌈H/2⌉, ⌈W/2⌉]."""
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def double(x: Tensor, size: tuple[int, int], *, corners: bool = False) -> Tensor:
    """Enlarge bilinearly to `size`, u(.); with `corners` the corners' pixels stay where they are."""
    return F.interpolate(x, size, mode="bilinear", align_corners=corners)


class Detail(nn.Module):
    """The generator of detail: three convolutions on the enlarged image with a plane of noise beside it; the last has filters of 5x5.

    Args:
        channels: Channels of the image.
        width: Channels of the two hidden layers.
        kernel: Side of the filters of the first two.
    """

    def __init__(self, channels: int, width: int, kernel: int = 5) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels + 1, width, kernel, 1, kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, kernel, 1, kernel // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 5, 1, 2),
        )

    def forward(self, z: Tensor, coarse: Tensor) -> Tensor:
        """Return the detail [B, C, H, W] for an enlarged image [B, C, H, W], with noise z [B, 1, H, W]."""
        return self.net(torch.cat([coarse, z], 1)).float()


class DetailJudge(nn.Module):
    """The authors' discriminator of detail: two 5x5 convolutions without a border, the second halves; half of what they see is dropped.

    Args:
        shape: Channels, height and width of an image.
        width: Channels of both layers.
    """

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.net = nn.Sequential(
            nn.Conv2d(c, width, 5), nn.ReLU(), nn.Conv2d(width, width, 5, 2), nn.Flatten(), nn.ReLU(), nn.Dropout(),
            nn.Linear(width * ((h - 9) // 2 + 1) * ((w - 9) // 2 + 1), 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B] of images [B, C, H, W]."""
        logits: Tensor = self.net(x)
        return logits.squeeze(1).float()


class Dense(nn.Module):
    """The authors' player of the smallest images: dense layers from noise to an image (ReLU, sigmoid), or from an image to a logit.

    Args:
        sizes: Of the input, the hidden layers and the output.
        hidden: What stands behind each hidden layer.
        std: Standard deviation of the weights at the start; biases are 0.
        shape: Shape of an output; () for a logit each.
    """

    def __init__(
        self, sizes: tuple[int, int, int, int], hidden: tuple[nn.Module, nn.Module], std: float, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        a, b, c, d = sizes
        self.shape = shape
        self.net = nn.Sequential(nn.Linear(a, b), hidden[0], nn.Linear(b, c), hidden[1], nn.Linear(c, d))
        normal_init(self, std)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, ...] to [B, *shape]."""
        return self.net(x.flatten(1)).view(len(x), *self.shape).float()


class LAPGAN(System):
    """Laplacian pyramid of adversarial networks of Denton, Chintala, Szlam & Fergus (2015).

    An image is taken apart into h_k = I_k − u(I_k+1) and a smallest image (eq. 3). Each level k has a GAN of its own: G_k makes the detail
    from noise and l_k = u(I_k+1), and D_k sees l_k + h_k for real or generated h_k (section 2.3). Levels learn apart, each from real
    l_k; sampling goes from the smallest image to the finest, each level on what the one before has drawn (eq. 5).

    Deviations by default: D has DCGAN's convolutions with the R1 penalty and the smallest level DCGAN's generator; Adam in place of SGD;
    filters of 5x5 in the generators of detail, and normal noise. `lapgan-paper` has the nets of the authors' code (7x7, 7x7 and 5x5 in the
    generators of detail, 5x5 twice and dropout in their discriminators, dense nets at the smallest level), its uniform noise, its SGD and its
    enlargement. Of both: the smallest side is 8 to 15 pixels; averages of 2x2 pixels and bilinear enlargement, as in the code, in place of the
    paper's blur; a step of G is on the images that D has just seen; rates and momentum do not change from epoch to epoch.

    Args:
        shape: Channels, height and width of an image; sides from 8 to 1024.
        latent: Dimensions of the smallest level's noise.
        prior: Law of all noise, normal(0, 1) or uniform(-1, 1).
        nets: DCGAN's, with generators of detail of 5x5 convolutions, or those of the authors' code.
        doublings: Most levels of detail, each of which doubles the size; fewer where the smallest side would be under 8.
        width: Channels of the layers next to the image in the discriminators, and of the generators of detail. The authors' dense nets have 125
            (G) and 25 (D) times as many units.
        r1: Weight of the gradient penalty on real images; 0 for none.
        optimizer: Optimizer of all players: adam, or sgd with momentum, whose gradients enter with 1 - momentum, as in Torch 7.
        lr: Learning rate of the generators, and of the discriminators unless `d_lr` is given.
        d_lr: Learning rate of the discriminators.
        beta1: Adam's decay of the mean gradient; the momentum of sgd.
        beta2: Adam's decay of the squared gradient.
    """

    paper: ClassVar[str] = "arXiv:1506.05751"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict] = {
        "lapgan-paper": {
            "nets": "authors", "prior": "uniform", "r1": 0.0, "optimizer": "sgd", "lr": 0.02, "d_lr": 0.01, "beta1": 0.5,
        },
    }  # fmt: skip
    tiny: ClassVar[dict] = {"shape": (1, 16, 16), "latent": 4, "width": 4}
    defaults: ClassVar[dict] = {"steps": 20000, "batch": 64, "ema": 0.999, "decay": "linear"}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        latent: Annotated[int, Field(ge=1, le=4096)] = 100,
        prior: Literal["normal", "uniform"] = "normal",
        nets: Literal["dcgan", "authors"] = "dcgan",
        doublings: Annotated[int, Field(ge=0, le=8)] = 3,
        width: Annotated[int, Field(ge=4, le=1024)] = 64,
        r1: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        optimizer: Literal["adam", "sgd"] = "adam",
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        d_lr: Annotated[float, Field(gt=0, le=1)] | None = None,
        beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        super().__init__()
        check_sides(shape, "lapgan")
        c, h, w = shape
        self.sizes = [(h, w)]
        while len(self.sizes) <= doublings and min(-(-s // 2) for s in self.sizes[-1]) >= SMALLEST:
            self.sizes.append((-(-self.sizes[-1][0] // 2), -(-self.sizes[-1][1] // 2)))
        self.latent_size, self.prior, self.corners = latent, prior, nets == "authors"
        self.r1, self.lr, self.d_lr, self.betas, self.optimizer = r1, lr, d_lr or lr, (beta1, beta2), optimizer
        last = (c, *self.sizes[-1])
        if nets == "dcgan":
            smallest: nn.Module = Synthesis(last, latent, width, 4)
            self.G = nn.ModuleList([*(Detail(c, width) for _ in self.sizes[:-1]), smallest])
            self.D = nn.ModuleList(Discriminator((c, *size), width, 4, "none", False) for size in self.sizes)
            return
        units, pixels = 125 * width, math.prod(last)
        smallest = Dense((latent, units, units, pixels), (nn.ReLU(), nn.Sigmoid()), 0.05, last)
        self.G = nn.ModuleList([*(Detail(c, width, 7) for _ in self.sizes[:-1]), smallest])
        units, dropped = 25 * width, (nn.Sequential(nn.ReLU(), nn.Dropout()), nn.Sequential(nn.ReLU(), nn.Dropout()))
        judge = Dense((pixels, units, units, 1), dropped, 0.005, ())
        self.D = nn.ModuleList([*(DetailJudge((c, *size), width) for size in self.sizes[:-1]), judge])

    @property
    def levels(self) -> int:
        """Return the levels of detail above the smallest image."""
        return len(self.sizes) - 1

    def optimizers(self) -> dict[str, Optimizer]:
        """Return an optimizer for each player of each level: d0 and g0 are the finest."""
        players = {f"{kind}{k}": m for kind, nets in (("d", self.D), ("g", self.G)) for k, m in enumerate(nets)}
        if self.optimizer == "adam":
            return {name: adam_for(self, m, slower=name[0] == "d") for name, m in players.items()}
        rate, momentum = {"d": self.d_lr, "g": self.lr}, self.betas[0]
        return {k: SGD(m.parameters(), rate[k[0]], momentum, momentum) for k, m in players.items()}

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do a step of both players at every level, each from the real image of the level below."""
        real = batch["image"]
        logs: Logs = {}
        for k, size in enumerate(self.sizes):
            z = self._noise(len(real), k)
            if k < self.levels:
                small = halve(real)
                coarse = double(small, size, corners=self.corners)
                fake = coarse + self.G[k](z, coarse)
            else:
                small, fake = real, self.G[k](z)
            on_real, on_fake = self.D[k](real), self.D[k](fake.detach())
            d_loss = discriminator_loss("non-saturating", on_real, on_fake)
            if self.r1:
                d_loss = d_loss + r1_penalty(self.D[k], real, gamma=self.r1)
            update(f"d{k}", d_loss)
            g_loss = generator_loss("non-saturating", self.D[k](fake))
            update(f"g{k}", g_loss)
            logs |= {f"d{k}_loss": d_loss.detach(), f"g{k}_loss": g_loss.detach()}
            real = small
        return logs

    def _noise(self, n: int, level: int, generator: Generator | None = None) -> Tensor:
        """Return noise of a level: a plane for detail, a vector for the smallest image."""
        shape = (self.latent_size,) if level == self.levels else (1, *self.sizes[level])
        if self.prior == "uniform":
            return draws.rand(n, *shape, device=self.device, generator=generator) * 2 - 1
        return draws.randn(n, *shape, device=self.device, generator=generator)

    @torch.no_grad()
    def chain(self, n: int, *, generator: Generator) -> list[Tensor]:
        """Return what sampling makes, from the smallest images to the finest: [n, C, h, w] each."""
        x = self.G[-1](self._noise(n, self.levels, generator)).clamp(-1, 1).contiguous()
        found = [x]
        for k in range(self.levels - 1, -1, -1):
            coarse = double(x, self.sizes[k], corners=self.corners)
            x = (coarse + self.G[k](self._noise(n, k, generator), coarse)).clamp(-1, 1)
            found.append(x)
        return found

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Return `n` images [n, C, H, W] in [-1, 1]."""
        return self.chain(n, generator=generator)[-1]
