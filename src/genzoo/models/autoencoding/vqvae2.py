"""Codes on two or three grids: coarse ones for what an image shows, finer ones for its detail.

VQ-VAE-2 (Razavi, van den Oord & Vinyals 2019). The coarsest grid is quantized first; each finer grid is quantized knowing the coarser
codes, and the decoder sees all of them. The priors over all grids are one second stage: `token-prior` on the codes, coarse to fine.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.autoencoding import methods as coded
from genzoo.nn.autoencoding.quantize import Quantized, VectorQuantizer
from genzoo.nn.autoencoding.residual_coders import decoder, encoder
from genzoo.nn.checks import check_halvings
from genzoo.nn.dequantize import on_levels
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine


class VQVAE2(System):
    """Vector-quantized autoencoder with a hierarchy of codes.

    Algorithm 1 of arXiv:1906.00446, for `scales` grids: encoders give h_1 (finest) to h_n (coarsest); e_n = quantize(h_n); for every finer
    grid e_i = quantize(h_i, decode(e_i+1)); the decoder takes all e_i, brought to the finest grid. Loss: reconstruction and, for every grid,
    β·|z_e - sg e|²; codebooks, one for each grid, are running means.

    As in `vqvae` the reconstruction is a discretized logistic with a learned scale, so that there is a likelihood;
    `reconstruction=mse` is the paper's. Priors of all levels are trained as one `token-prior`: coarse codes come first in the sequence, so
    what it says of them is p(coarse), and of the others p(fine | coarse), as in the paper, which trains two networks.

    Args:
        shape: Channels, height and width of the images; sides that can be halved `halvings` + `scales` - 1 times.
        levels: Grey levels of a pixel: 256, or 2 when binarized.
        scales: Grids of codes; each has half the sides of the next finer one.
        halvings: Times that the image is halved for the finest grid.
        codes: Size of each grid's codebook.
        dim: Dimensions of a code.
        width: Channels of the networks.
        blocks: Residual blocks of each encoder and decoder.
        inner: Channels inside a residual block; none for half of `width`, as in the paper.
        narrow: Halve the channels of a strided convolution that is an encoder's only one.
        code_decay: Weight of the past in the running means and counts.
        commitment: Weight of the term that keeps the encoders near their codes, β.
        restart: Codes used less than this share of the average count move to an encoder output; 0 for never.
        reconstruction: What the decoder minimizes: bits of a discretized logistic, or squared error over variance.
        lr: Learning rate of Adam at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1906.00446"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "vqvae2-paper": {"reconstruction": "mse", "lr": 3e-4},
        "vqvae2-three": {"scales": 3},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "shape": (1, 8, 8), "halvings": 1, "codes": 8, "dim": 4, "width": 8, "blocks": 1,
    }  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 64, "ema": 0.999}
    likelihood: ClassVar[str] = "lower bound: the image's own codes under a uniform prior, pixels by the decoder"
    codebook_size: int
    code_grids: tuple[tuple[int, ...], ...]
    quantisers: Any  # a ModuleList of VectorQuantizers

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        scales: Literal[2, 3] = 2,
        halvings: Annotated[int, Field(ge=1, le=8)] = 2,
        codes: Annotated[int, Field(ge=2, le=65536)] = 512,
        dim: Annotated[int, Field(ge=1, le=4096)] = 64,
        width: Annotated[int, Field(ge=1, le=2048)] = 128,
        blocks: Annotated[int, Field(ge=0, le=32)] = 2,
        inner: Annotated[int, Field(ge=1, le=2048)] | None = None,
        narrow: bool = False,
        code_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
        commitment: Annotated[float, Field(ge=0, le=100)] = 0.25,
        restart: Annotated[float, Field(ge=0, lt=1)] = 0.05,
        reconstruction: Literal["logistic", "mse"] = "logistic",
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
    ) -> None:
        super().__init__()
        channels, height, wide = shape
        check_halvings(shape, halvings + scales - 1)
        self.shape, self.levels, self.reconstruction, self.lr = shape, levels, reconstruction, lr
        self.codebook_size = codes
        finest = 2**halvings
        # lists from the finest grid to the coarsest; codes are told from the coarsest to the finest
        grids = [(height // (finest * 2**i), wide // (finest * 2**i)) for i in range(scales)]
        self.code_grids = tuple(reversed(grids))
        self.encoders = nn.ModuleList(
            encoder(width if i else channels, width, blocks, 1 if i else halvings, inner=inner, narrow=narrow)
            for i in range(scales)
        )
        self.to_code = nn.ModuleList(nn.Conv2d(width + (dim if i < scales - 1 else 0), dim, 1) for i in range(scales))
        self.quantisers = nn.ModuleList(
            VectorQuantizer(codes, dim, decay=code_decay, commitment=commitment, restart=restart) for _ in range(scales)
        )
        self.hints = nn.ModuleList(decoder(dim, width, blocks, 1, dim, inner=inner) for _ in range(scales - 1))
        self.ups = nn.ModuleList(
            nn.Sequential(*(nn.ConvTranspose2d(dim, dim, 4, 2, 1) for _ in range(i))) for i in range(scales)
        )
        self.decoder = decoder(scales * dim, width, blocks, halvings, channels, inner=inner)
        if reconstruction == "logistic":
            self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -2.0))

    # ---- learning --------------------------------------------------------------------------------------------------

    optimizers = one_adam
    lr_scale = half_cosine

    def loss(self, batch: Batch) -> Logs:
        """Return nats per dimension (or squared error over variance) and the commitment of every grid; level 1 is the coarsest."""
        x = batch["image"]
        found = self._quantized(x)
        mean = self._decoded([q.z for q in found])
        reconstruction, error = coded.reconstruction(self, x, mean)
        commitment = torch.stack([q.loss for q in found]).sum()
        logs = {
            "loss": reconstruction + commitment,
            "reconstruction": reconstruction,
            "commitment": commitment,
            "mse": error,
        }
        for level, q in enumerate(found, 1):
            logs |= {f"usage_{level}": q.usage, f"perplexity_{level}": q.perplexity}
        return {k: v if k == "loss" else v.detach() for k, v in logs.items()}

    def _quantized(self, x: Tensor) -> list[Quantized]:
        """Return what every grid's quantizer gives, coarse to fine: a finer grid is quantized knowing the one before it."""
        features = [self.encoders[0](on_levels(x, self.levels))]
        for encode in self.encoders[1:]:
            features.append(encode(features[-1]))
        found: list[Quantized] = []
        for i in reversed(range(len(features))):
            known = [self.hints[i](found[-1].z)] if found else []
            found.append(self.quantisers[i](self.to_code[i](torch.cat([features[i], *known], 1))))
        return found

    def _decoded(self, vectors: list[Tensor]) -> Tensor:
        """Return the mean of p(x | codes) from the vectors of every grid, coarse to fine."""
        raised = [up(z) for up, z in zip(self.ups, reversed(vectors), strict=True)]
        return self.decoder(torch.cat(raised, 1)).float()

    # ---- codes -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def tokenize(self, x: Tensor) -> Tensor:
        """Return codes of images [B, C, H, W] in [-1, 1]: int64 [B, T], the grids coarse to fine, each in raster order."""
        return torch.cat([q.codes.flatten(1) for q in self._quantized(x)], 1)

    @torch.no_grad()
    def detokenize(self, codes: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] of codes [B, T]."""
        return self._decoded(self._vectors(codes)).clamp(-1, 1).contiguous()

    log_likelihood = coded.log_likelihood

    def _vectors(self, codes: Tensor) -> list[Tensor]:
        """Return the vectors [B, dim, h, w] of every grid, coarse to fine."""
        parts = codes.split([math.prod(g) for g in self.code_grids], 1)
        return [
            quantiser.look_up(part.reshape(-1, *grid)).movedim(-1, 1)
            for quantiser, part, grid in zip(reversed(self.quantisers), parts, self.code_grids, strict=True)
        ]

    # ---- use -------------------------------------------------------------------------------------------------------

    log_prob = coded.log_prob

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Return the vectors of all codes of an image, one after the other, [B, T · dim]."""
        return torch.cat([z.flatten(1) for z in self._vectors(self.tokenize(x))], 1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return images [B, C, H, W] in [-1, 1] of vectors [B, T · dim], which need not be codes."""
        dim = self.hparams["dim"]
        parts = z.split([dim * math.prod(g) for g in self.code_grids], 1)
        vectors = [p.reshape(-1, dim, *g) for p, g in zip(parts, self.code_grids, strict=True)]
        return self._decoded(vectors).clamp(-1, 1).contiguous()

    @torch.no_grad()
    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Return the vectors of codes drawn uniformly, [n, T · dim]: the prior of this stage, which knows nothing of images."""
        length = sum(math.prod(g) for g in self.code_grids)
        codes = draws.randint(self.codebook_size, n, length, generator=generator, device=self.device)
        return torch.cat([z.flatten(1) for z in self._vectors(codes)], 1)
