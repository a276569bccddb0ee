"""Predicts each pixel from the pixels above and to the left of it, by a stack of masked convolutions.

The chain rule makes an image's probability a product of one conditional per pixel and colour (van den Oord et al. 2016,
eq. 1-2): p(x) = Π_i p(x_i,R | x_<i) p(x_i,G | x_<i, x_i,R) p(x_i,B | x_<i, x_i,R, x_i,G). One network gives all of them
in parallel. An image is drawn in steps that compute only what the step's pixels add, those of several rows at once, since a
pixel sees few columns to the right of its own (`nn.autoregressive.wavefront`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.autoregressive.masked import MaskedStack
from genzoo.nn.autoregressive.raster import Levels, draw_in_chunks, fill_in_raster_order
from genzoo.nn.autoregressive.wavefront import StackWalk, code_along_wavefront, fill_along_wavefront
from genzoo.nn.checks import GreyLevels, check_images
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine


class PixelCNN(System):
    """An exact likelihood of discrete images, as a product of one distribution per pixel and colour.

    Trained by maximum likelihood: the loss is nats per image, the mean over the batch. There is no batch normalization:
    its statistics would let future pixels leak into the past. Like every plain stack of masked convolutions this one
    has a blind spot: pixels above and to the right of a line that rises by one row per column are never seen.

    `output="l2"` puts regression in the place of classification, to show why the paper classifies. Squared error stands
    for one Gaussian of fixed width around one mean: where a pixel is black or white, it says grey.

    Args:
        shape: Channels, height and width of an image.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarized data), or a power of two to quantize to.
        output: What is predicted for a pixel: a probability for each level, or ("l2") its mean.
        width: Features h of a block's 3x3 convolution; 2h between blocks.
        blocks: Residual blocks; each widens the view by one pixel.
        head: Features between the two last 1x1 layers.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1601.06759"
    likelihood: ClassVar[str] = "exact"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "pixelcnn-paper": {"width": 128, "blocks": 15, "head": 1024, "lr": 3e-4},
        "pixelcnn-l2": {"output": "l2"},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "width": 8, "blocks": 2, "head": 8}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 16, "ema": 0.999, "warmup": 0.03}
    preset_defaults: ClassVar[dict[str, dict[str, Any]]] = {"pixelcnn-paper": {"warmup": 0.0}}

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        levels: GreyLevels = 256,
        output: Literal["categorical", "l2"] = "categorical",
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        blocks: Annotated[int, Field(ge=0, le=64)] = 7,
        head: Annotated[int, Field(ge=1, le=4096)] = 64,
        lr: Annotated[float, Field(gt=0, le=1)] = 1.2e-2,
    ) -> None:
        super().__init__()
        colours = shape[0]
        raster.check_features(colours, width=width, head=head)
        self.shape, self.levels, self.output, self.lr = shape, levels, output, lr
        self.grid = Levels(levels, colours)
        outputs = 1 if output == "l2" else self.grid.outputs
        self.net = MaskedStack(colours, width, blocks, head, colours * outputs)
        if output == "l2":
            self.log_std = nn.Parameter(torch.tensor(math.log(0.5)))
            self.lacks = {"predicts": "output=l2 regresses a mean; train with output=categorical for probabilities"}

    optimizers = one_adam  # the paper: RMSProp
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per image and, as a log, bits per dimension (`l2`: squared error and its width)."""
        if self.output == "l2":
            return self._l2_loss(batch["image"])
        return raster.loss(self, batch)

    def _l2_loss(self, x: Tensor) -> Logs:
        x = self._values(self.grid.tokens(x))
        error = (self.net(x).float() - x).square().mean()
        # the width of the Gaussian that squared error stands for; it has no say in what the network learns
        width = self.log_std + 0.5 * error.detach() * torch.exp(-2 * self.log_std)
        return {"loss": error + width, "mse": error.detach(), "std": self.log_std.detach().exp()}

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return log p(x) in nats, exact, [B], of images [B, C, H, W] in [-1, 1]; `generator` is not used."""
        if self.output == "l2":
            raise UserError(
                "output=l2 regresses a mean and gives no likelihood of images; train with output=categorical"
            )
        return self._log_mass(x)

    def _log_mass(self, x: Tensor) -> Tensor:
        """Return nats per image, [B]: the sum over pixels and colours of the log-probability of the level that is there."""
        check_images(x, self.shape)
        tokens = self.grid.tokens(x)
        return self.grid.log_mass(self.net(self._values(tokens)), tokens).flatten(1).sum(1)

    prediction: ClassVar[str] = raster.LEVELS
    predict = raster.predict
    _values = raster.values

    # ---- coding ----------------------------------------------------------------------------------------------

    def symbols(self, x: Tensor) -> Tensor:
        """Return grey levels of images in raster order, pixel by pixel, colour within pixel: int64 [B, S]."""
        check_images(x, self.shape)
        return self.grid.tokens(x).permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def code(self, n: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Go through `n` images symbol by symbol as `sample` draws them; `choose(i, log_p)` says which level symbol i is."""
        if self.output == "l2":
            raise UserError("output=l2 gives no probabilities to code with; train with output=categorical")
        x = torch.zeros(n, *self.shape, device=self.device)
        return code_along_wavefront(self._walk, choose, self.grid, x)

    # ---- drawing ---------------------------------------------------------------------------------------------

    sample = raster.sample
    complete = raster.complete

    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, cached: bool, chunk: int
    ) -> Tensor:
        x = torch.where(known, self._values(self.grid.tokens(x)), 0)
        choose = functools.partial(self._pick, temperature=temperature)
        # net.forward goes past a compiled call: that would be compiled anew for every pixel
        whole = functools.partial(fill_in_raster_order, self.net.forward, None, choose)
        fill = functools.partial(fill_along_wavefront, self._walk, choose) if cached else whole
        return draw_in_chunks(fill, x, known, generator=generator, chunk=chunk)

    @property
    def _walk(self) -> Callable[[int, int, int], StackWalk]:
        return functools.partial(StackWalk, self.net)

    def _pick(self, out: Tensor, colour: int, uniform: Tensor, temperature: float) -> Tensor:
        """Return the value, [B], of one pixel's colour that `uniform`, [B], stands for."""
        if self.output == "l2":
            noise = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)) * self.log_std.exp() * temperature
            return self.grid.values(self.grid.tokens((out[:, colour] + noise).clamp(-1, 1)))
        return self.grid.pick_value(out, colour, uniform, temperature)
