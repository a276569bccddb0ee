"""An autoencoder whose latents are codes: each place of its grid holds one of K learned vectors.

The vector-quantized variational autoencoder (van den Oord, Vinyals & Kavukcuoglu 2017). An encoder gives a grid of vectors,
each is replaced by the nearest vector of a codebook, and a decoder reconstructs the image from those. The codes are what a
second stage learns (`token-prior`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genzoo.core.system import Batch, Logs, System
from genzoo.nn.autoencoding import methods as coded
from genzoo.nn.autoencoding.quantize import VectorQuantizer
from genzoo.nn.autoencoding.residual_coders import decoder, encoder
from genzoo.nn.checks import check_halvings
from genzoo.nn.dequantize import on_levels
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine


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

    optimizers = one_adam
    lr_scale = half_cosine

    def loss(self, batch: Batch) -> Logs:
        """Return nats per dimension (or squared error over variance) and the two terms of the codes."""
        x = batch["image"]
        q = self.quantiser(self._places(x))
        mean = self._decoded(self._joined(q.z))
        reconstruction, error = coded.reconstruction(self, x, mean)
        return {
            "loss": reconstruction + q.loss,
            "reconstruction": reconstruction.detach(),
            "commitment": q.loss.detach(),
            "mse": error.detach(),
            "usage": q.usage,
            "perplexity": q.perplexity,
        }

    def _decoded(self, z: Tensor) -> Tensor:
        """Return the mean of p(x | z)."""
        return self.decoder(z).float()

    def _places(self, x: Tensor) -> Tensor:
        """Return what is quantized, [B, dim, h, w, per_place]."""
        return self.encoder(on_levels(x, self.levels)).unflatten(1, (self.per_place, -1)).movedim(1, -1)

    @staticmethod
    def _joined(z: Tensor) -> Tensor:
        """Return what is decoded, [B, per_place · dim, h, w], of what was quantized."""
        return z.movedim(-1, 1).flatten(1, 2)

    # ---- codes -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def tokenize(self, x: Tensor) -> Tensor:
        """Return codes of images [B, C, H, W] in [-1, 1]: int64 [B, h·w·per_place], raster order, the codes of a place together."""
        return self.quantiser(self._places(x)).codes.flatten(1)

    detokenize = coded.detokenize
    log_likelihood = coded.log_likelihood

    def _vectors(self, codes: Tensor) -> Tensor:
        h, w, *_ = self.code_grids[0]
        return self._joined(self.quantiser.look_up(codes.reshape(-1, h, w, self.per_place)).movedim(-1, 1))

    # ---- use -------------------------------------------------------------------------------------------------------

    log_prob = coded.log_prob
    encode = coded.encode
    decode = coded.decode
    sample_prior = coded.sample_prior
