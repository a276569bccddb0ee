"""Predicts each pixel from the pixels above and to the left of it, by a stack of masked convolutions.

The chain rule makes an image's probability a product of one conditional per pixel and colour (van den Oord et al. 2016,
eq. 1-2): p(x) = Π_i p(x_i,R | x_<i) p(x_i,G | x_<i, x_i,R) p(x_i,B | x_<i, x_i,R, x_i,G). One network gives all of them
in parallel; drawing an image takes one pass per pixel, which computes only what that pixel adds (`nn.masked.Past`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import Adam, Optimizer

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn.masked import MaskedConv2d, Past


class Residual(nn.Module):
    """Residual block of fig. 5 (left): 1x1 from 2h to h features, masked 3x3, 1x1 back to 2h."""

    def __init__(self, width: int, colours: int) -> None:
        super().__init__()
        self.down = MaskedConv2d("B", 2 * width, width, 1, colours)
        self.look = MaskedConv2d("B", width, width, 3, colours)
        self.up = MaskedConv2d("B", width, 2 * width, 1, colours)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Map [B, 2h, H, W] to its like; with `past`, a column [B, 2h]."""
        h = self.down(torch.relu(x), past)
        h = self.look(torch.relu(h), past)
        return x + self.up(torch.relu(h), past)


class Network(nn.Module):
    """Table 1 (PixelCNN): a 7x7 convolution with mask A, residual blocks with mask B, two 1x1 layers."""

    def __init__(self, colours: int, width: int, blocks: int, head: int, outputs: int) -> None:
        super().__init__()
        self.first = MaskedConv2d("A", colours, 2 * width, 7, colours)
        self.blocks = nn.ModuleList(Residual(width, colours) for _ in range(blocks))
        self.head = MaskedConv2d("B", 2 * width, head, 1, colours)
        self.out = MaskedConv2d("B", head, outputs, 1, colours)

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        """Map images [B, C, H, W] to outputs [B, C·K, H, W]; with `past`, one pixel's column to its outputs."""
        x = self.first(x, past)
        if past is None:
            # a gray image fits either layout, so the first convolution may pick another one than the rest: a third slower
            x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, past)
        x = self.head(torch.relu(x), past)
        return self.out(torch.relu(x), past)


class PixelCNN(System):
    """An exact likelihood of discrete images, as a product of one distribution per pixel and colour.

    Trained by maximum likelihood: the loss is nats per image, the mean over the batch. There is no batch normalisation:
    its statistics would let future pixels leak into the past. Like every plain stack of masked convolutions this one
    has a blind spot: pixels above and to the right of a line that rises by one row per column are never seen.

    `output="l2"` puts regression in the place of classification, to show why the paper classifies. Squared error stands
    for one Gaussian of fixed width around one mean: where a pixel is black or white, it says grey.

    Args:
        shape: Channels, height and width of an image.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarised data), or a power of two to quantise to.
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
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 16, "ema": 0.999}

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        levels: Annotated[int, Field(ge=2, le=256)] = 256,
        output: Literal["categorical", "l2"] = "categorical",
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        blocks: Annotated[int, Field(ge=0, le=64)] = 7,
        head: Annotated[int, Field(ge=1, le=4096)] = 64,
        lr: Annotated[float, Field(gt=0, le=1)] = 3e-3,
    ) -> None:
        super().__init__()
        colours = shape[0]
        if levels & (levels - 1):
            raise UserError(f"levels={levels} is not allowed; give a power of two: 2, 4, 8, 16, 32, 64, 128 or 256")
        if min(width, head) < colours:
            raise UserError(
                f"width={width} and head={head} must each be at least {colours}, the channels of the images: "
                "every colour needs a feature of its own"
            )
        self.shape, self.levels, self.output, self.lr = shape, levels, output, lr
        # two levels need one logit only; the other's is fixed at zero
        self.outputs = 1 if levels == 2 or output == "l2" else levels
        self.net = Network(colours, width, blocks, head, colours * self.outputs)
        if output == "l2":
            self.log_std = nn.Parameter(torch.tensor(math.log(0.5)))

    def optimizers(self) -> dict[str, Optimizer]:
        """Adam (the paper: RMSProp)."""
        return {"model": Adam(self.parameters(), lr=self.lr)}

    def lr_scale(self, progress: float) -> float:
        """Half a cosine, from 1 to 0."""
        return 0.5 + 0.5 * math.cos(math.pi * progress)

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per image and, as a log, bits per dimension (`l2`: squared error and its width)."""
        if self.output == "l2":
            return self._l2_loss(batch["image"])
        nats = -self._log_mass(batch["image"]).mean()
        return {"loss": nats, "bits_per_dim": nats.detach() / (math.prod(self.shape) * math.log(2))}

    def _l2_loss(self, x: Tensor) -> Logs:
        x = self._values(self._tokens(x))
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
        """Nats per image, [B]: the sum over pixels and colours of the log-probability of the level that is there."""
        self._refuse_other_shapes(x)
        tokens = self._tokens(x)
        log_p = self._log_softmax(self.net(self._values(tokens)))
        return log_p.gather(-1, tokens.movedim(1, -1).unsqueeze(-1)).flatten(1).sum(1)

    def _log_softmax(self, out: Tensor) -> Tensor:
        """Log-probabilities [B, ..., C, levels] from network outputs [B, C·K, ...], in float32 under any autocast."""
        # levels come last because there they are neighbours in memory: over another axis the softmax takes twice as long
        logits = out.movedim(1, -1).unflatten(-1, (self.shape[0], self.outputs))
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.outputs == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], -1)
        return logits.log_softmax(-1)

    def _tokens(self, x: Tensor) -> Tensor:
        """Level of each pixel and colour, int64 in 0..levels-1, from values in [-1, 1]."""
        grey = ((x.float() + 1) * 127.5).round().clamp(0, 255)
        return (grey * (self.levels / 256)).floor().long()

    def _values(self, tokens: Tensor) -> Tensor:
        """The value in [-1, 1] of each level, in the parameters' precision: what the network reads."""
        return (tokens * (2 / (self.levels - 1)) - 1).to(self.net.out.bias.dtype)

    def _refuse_other_shapes(self, x: Tensor) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != tuple(self.shape):
            wanted = ", ".join(map(str, self.shape))
            raise UserError(f"images of shape {tuple(x.shape)} were given; this model takes [B, {wanted}]")

    # ---- coding ----------------------------------------------------------------------------------------------

    def symbols(self, x: Tensor) -> Tensor:
        """Grey levels of images in the order in which they are predicted, pixel by pixel, colour within pixel: int64 [B, S]."""
        self._refuse_other_shapes(x)
        return self._tokens(x).permute(0, 2, 3, 1).flatten(1)

    @torch.no_grad()
    def code(self, n: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Go through `n` images symbol by symbol with the cache of `sample`; `choose(i, log_p)` says what stands there."""
        if self.output == "l2":
            raise UserError("output=l2 gives no probabilities to code with; train with output=categorical")
        colours, height, width = self.shape
        x = torch.zeros(n, *self.shape, device=self.device)
        past, net = Past(height, width), self.net.forward
        for i, (row, col, c) in enumerate(itertools.product(range(height), range(width), range(colours))):
            past.at = row, col
            log_p = self._log_softmax(net(x[:, :, row, col], past))[:, c]
            x[:, c, row, col] = self._values(choose(i, log_p))
            if c == colours - 1:
                past.keep(self.net.first, x[:, :, row, col])
        return x

    # ---- drawing ---------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        cached: bool = True,
        chunk: Annotated[int, Field(ge=1, le=4096)] = 64,
    ) -> Tensor:
        """Draw `n` images pixel by pixel, float32 [n, C, H, W] in [-1, 1].

        Args:
            n: Number of images.
            generator: All the randomness: one uniform number per pixel and colour, whatever `cached` and `chunk` are.
            temperature: Divides the logits; below 1 likelier pixels, above 1 more varied ones.
            cached: Compute only what each pixel adds; false: a whole pass per pixel and colour (equal, and slow).
            chunk: Images drawn together; fewer need less memory.
        """
        x = torch.zeros(n, *self.shape, device=self.device)
        known = torch.zeros(n, 1, *self.shape[1:], dtype=torch.bool, device=self.device)
        return self._draw(x, known, generator, temperature, cached, chunk)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        cached: bool = True,
        chunk: Annotated[int, Field(ge=1, le=4096)] = 64,
    ) -> Tensor:
        """Draw the pixels where `known` is False in raster order, each given all pixels before it; known ones stay.

        A drawn pixel does not look ahead to known pixels after it. So what is drawn below the known part follows the
        model's conditional distribution exactly; what is drawn above or amid it does not.

        Args:
            x: Images [B, C, H, W] in [-1, 1]; what stands at unknown pixels is not read.
            known: Which pixels to keep, bool [B, 1, H, W].
            generator: All the randomness.
            temperature: As in `sample`.
            cached: As in `sample`.
            chunk: As in `sample`.
        """
        self._refuse_other_shapes(x)
        if known.dtype != torch.bool or known.shape != (len(x), 1, *self.shape[1:]):
            wanted = (len(x), 1, *self.shape[1:])
            raise UserError(f"known is {known.dtype} {tuple(known.shape)}; give bool {wanted}: True keeps a pixel")
        x, known = x.to(self.device), known.to(self.device)
        return torch.where(known, x.float(), self._draw(x, known, generator, temperature, cached, chunk))

    @torch.no_grad()
    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, cached: bool, chunk: int
    ) -> Tensor:
        if temperature <= 0:
            raise UserError(f"temperature={temperature} is not allowed; give a number more than 0")
        # one number for each decision, by its place: known pixels and the way of computing shift nobody else's
        uniform = torch.rand(x.shape, generator=generator, device=self.device)
        x = torch.where(known, self._values(self._tokens(x)), 0)
        with torch.autocast(self.device.type, enabled=False):
            parts = zip(x.split(chunk), known.split(chunk), uniform.split(chunk), strict=True)
            drawn = [self._raster(*part, temperature, cached) for part in parts]
        return torch.cat(drawn).float()

    def _raster(self, x: Tensor, known: Tensor, uniform: Tensor, temperature: float, cached: bool) -> Tensor:
        colours, height, width = self.shape
        past = Past(height, width)
        net = self.net.forward  # past a compiled call: that would be compiled anew for every pixel
        given = known.all(0)[0].tolist()
        for row, col in itertools.product(range(height), range(width)):
            past.at = row, col
            if given[row][col]:
                if cached:
                    net(x[:, :, row, col], past)
                continue
            for c in range(colours):
                out = net(x[:, :, row, col], past) if cached else net(x)[:, :, row, col]
                drawn = self._pick(out, c, uniform[:, c, row, col], temperature)
                x[:, c, row, col] = torch.where(known[:, 0, row, col], x[:, c, row, col], drawn)
            if cached:
                past.keep(self.net.first, x[:, :, row, col])
        return x

    def _pick(self, out: Tensor, colour: int, uniform: Tensor, temperature: float) -> Tensor:
        """The value, [B], at which the cumulative distribution of one pixel's colour passes `uniform`, [B]."""
        if self.output == "l2":
            noise = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6)) * self.log_std.exp() * temperature
            return self._values(self._tokens((out[:, colour] + noise).clamp(-1, 1)))
        cumulative = (self._log_softmax(out)[:, colour] / temperature).softmax(1).cumsum(1)
        # divided by its end, the sum is exactly 1 there, so that no level of probability zero is ever picked
        passed = uniform[:, None] >= cumulative / cumulative[:, -1:]
        return self._values(passed.sum(1))
