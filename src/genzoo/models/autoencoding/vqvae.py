"""An autoencoder whose latents are codes: each place of its grid holds one of K learned vectors.

The vector-quantized variational autoencoder (van den Oord, Vinyals & Kavukcuoglu 2017). An encoder gives a grid of vectors,
each is replaced by the nearest vector of a codebook, and a decoder reconstructs the image from those. The codes are what a
second stage learns (`token-prior`).
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.inputs import check_halvings
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import discretized_logistic, per_example
from genzoo.nn.autoencoding.quantize import VectorQuantizer
from genzoo.nn.autoencoding.residual_coders import decoder, encoder
from genzoo.nn.dequantize import on_levels


class VQVAE(System):
    """Vector-quantized autoencoder.

    Minimizes -log p(x | z_q) + |sg z_e - e|² + β·|z_e - sg e|² (equation 3 of arXiv:1711.00937) with z_q = e, the code nearest to
    z_e(x); the gradient of the first term passes from z_q to z_e as if quantizing were the identity. With `codebook=ema` the second term
    is replaced by running means. Reconstruction is per dimension, the other two are means over elements, so no term depends on the size
    of the batch.

    p(x|z) is a discretized logistic around the decoder's output, its scale learned for each channel; that makes
    log p(x) ≥ log p(x | z(x)) + log P(z(x)) a bound on the likelihood of the image. Here P is uniform, as in the paper's training; a
    `token-prior` on these codes gives the bound with a learned P. `reconstruction=mse` is the paper's squared error over the data's
    variance: no likelihood.

    Args:
        shape: Channels, height and width of the images; sides that can be halved `halvings` times.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        codes: Size of the codebook, K.
        dim: Dimensions of a code.
        per_place: Codes at each place of the grid, from one codebook; the paper has 10 on CIFAR-10.
        width: Channels of the networks.
        blocks: Residual blocks of the encoder and of the decoder.
        halvings: Times that the image is halved: 2 gives one code for every 4x4 pixels.
        codebook: How codes are learned: running means of what chose them, or by gradient.
        code_decay: Weight of the past in the running means and counts.
        commitment: Weight of the term that keeps the encoder near its codes, β.
        restart: Codes used less than this share of the average count move to an encoder output; 0 for never.
        reconstruction: What the decoder minimizes: bits of a discretized logistic, or squared error over variance.
        lr: Learning rate of Adam at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1711.00937"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "vqvae-paper": {"width": 256, "reconstruction": "mse", "lr": 2e-4},
        "vqvae-gradient": {"codebook": "gradient"},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "shape": (1, 8, 8), "codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1,
    }  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 64, "ema": 0.999}
    likelihood: ClassVar[str] = "lower bound: the image's own codes under a uniform prior, pixels by the decoder"
    codebook_size: int
    code_grids: tuple[tuple[int, ...], ...]

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        codes: Annotated[int, Field(ge=2, le=65536)] = 512,
        dim: Annotated[int, Field(ge=1, le=4096)] = 64,
        per_place: Annotated[int, Field(ge=1, le=64)] = 1,
        width: Annotated[int, Field(ge=1, le=2048)] = 128,
        blocks: Annotated[int, Field(ge=0, le=32)] = 2,
        halvings: Annotated[int, Field(ge=1, le=8)] = 2,
        codebook: Literal["ema", "gradient"] = "ema",
        code_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        commitment: Annotated[float, Field(ge=0, le=100)] = 0.25,
        restart: Annotated[float, Field(ge=0, lt=1)] = 0.05,
        reconstruction: Literal["logistic", "mse"] = "logistic",
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
    ) -> None:
        super().__init__()
        channels, height, wide = shape
        factor = check_halvings(shape, halvings)
        self.shape, self.levels, self.reconstruction, self.lr = shape, levels, reconstruction, lr
        self.codebook_size, self.per_place = codes, per_place
        grid = (height // factor, wide // factor)
        self.code_grids = (grid if per_place == 1 else (*grid, per_place),)
        self.encoder = nn.Sequential(encoder(channels, width, blocks, halvings), nn.Conv2d(width, per_place * dim, 1))
        self.quantiser = VectorQuantizer(
            codes, dim, learn=codebook, decay=code_decay, commitment=commitment, restart=restart
        )
        self.decoder = decoder(per_place * dim, width, blocks, halvings, channels)
        if reconstruction == "logistic":
            self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -2.0))

    # ---- learning --------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam; running means need none."""
        return {"model": Adam(self.parameters(), lr=self.lr)}

    def lr_scale(self, progress: float) -> float:
        """Half a cosine, from 1 to 0."""
        return 0.5 + 0.5 * math.cos(math.pi * progress)

    def loss(self, batch: Batch) -> Logs:
        """Nats per dimension (or squared error over variance) and the two terms of the codes."""
        x = batch["image"]
        q = self.quantiser(self._places(x))
        mean = self.decoder(self._joined(q.z)).float()
        error = (mean - x).square().mean()
        if self.reconstruction == "mse":
            reconstruction = error / x.var().clamp_min(1e-4)
        else:
            reconstruction = -self._log_pixels(x, mean).mean() / math.prod(self.shape)
        return {
            "loss": reconstruction + q.loss,
            "reconstruction": reconstruction.detach(),
            "commitment": q.loss.detach(),
            "mse": error.detach(),
            "usage": q.usage,
            "perplexity": q.perplexity,
        }

    def _log_pixels(self, x: Tensor, mean: Tensor) -> Tensor:
        x = on_levels(x, self.levels)
        return per_example(discretized_logistic(x, mean, self.log_scale.clamp(min=-7), self.levels))

    def _places(self, x: Tensor) -> Tensor:
        """What is quantized, [B, dim, h, w, per_place]."""
        return self.encoder(on_levels(x, self.levels)).unflatten(1, (self.per_place, -1)).movedim(1, -1)

    @staticmethod
    def _joined(z: Tensor) -> Tensor:
        """What is decoded, [B, per_place · dim, h, w], of what was quantized."""
        return z.movedim(-1, 1).flatten(1, 2)

    # ---- codes -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def tokenize(self, x: Tensor) -> Tensor:
        """Codes of images [B, C, H, W] in [-1, 1]: int64 [B, h·w·per_place], raster order, the codes of a place together."""
        return self.quantiser(self._places(x)).codes.flatten(1)

    @torch.no_grad()
    def detokenize(self, codes: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] of codes [B, T]."""
        return self.decode(self._vectors(codes))

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, codes: Tensor) -> Tensor:
        """Log p(x | codes) of the discrete image in nats, [B]."""
        if self.reconstruction == "mse":
            raise UserError("reconstruction=mse gives no likelihood of images; train with reconstruction=logistic")
        return self._log_pixels(x, self.decoder(self._vectors(codes)).float())

    def _vectors(self, codes: Tensor) -> Tensor:
        h, w, *_ = self.code_grids[0]
        return self._joined(self.quantiser.look_up(codes.reshape(-1, h, w, self.per_place)).movedim(-1, 1))

    # ---- use -------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Log p(x | z(x)) - T ln K in nats, [B], with T codes under a uniform prior; `generator` is not used."""
        codes = self.tokenize(x)
        return self.log_likelihood(x, codes) - codes.shape[1] * math.log(self.codebook_size)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """The vectors of an image's codes, [B, per_place · dim, h, w]."""
        return self._vectors(self.tokenize(x))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] of vectors [B, per_place · dim, h, w], which need not be codes."""
        return self.decoder(z).float().clamp(-1, 1).contiguous()

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Vectors of codes drawn uniformly, [n, per_place · dim, h, w]: the prior of this stage, which knows nothing of images."""
        shape = (n, math.prod(self.code_grids[0]))
        return self._vectors(torch.randint(self.codebook_size, shape, generator=generator, device=self.device))
