"""Predicts whole pixels by mixtures of logistics from two streams of convolutions at several resolutions.

PixelCNN++ (Salimans et al. 2017). The grey levels of a pixel are intervals under a mixture of logistics, so that near
levels are near to the model, too. All colours of a pixel share one component, and each is shifted linearly by the
colours before it: no masks inside the network. One stream sees the rows above, the other also the pixels to the left;
both go down to coarser grids and back up with short cuts, which widens their view at little cost.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim import Adam, Optimizer

from genzoo.core.system import System
from genzoo.losses.likelihoods import coupled_logistic_mixture, draw_coupled, on_grid, per_example
from genzoo.models.autoregressive._mixture_draw import PixelDraw
from genzoo.models.autoregressive._shifted import Border, GrowingConv2d, ShiftedConv2d, WeightNorm
from genzoo.models.autoregressive._shifted_walk import ShiftedWalk
from genzoo.nn import draws
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.checks import GreyLevels, check_images
from genzoo.nn.dequantize import level_index
from genzoo.nn.layout import layout
from genzoo.nn.remade import dropped, kept_values, remade
from genzoo.nn.remat import again
from genzoo.nn.schedules import half_cosine

LEAST_LOG_SCALE = -7.0
"""Scales below a tenth of a grey level of 256 change no probability, but would let gradients grow without bound."""


class _ConcatELU(torch.autograd.Function):
    """Both halves, and dropout on them, within a border of zeros; x and a byte a value are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, border: Border) -> Tensor:
        left, right, top, bottom = border
        b, c, h, w = x.shape
        # halves of one map, written where a convolution reads them
        shape, order = (b, 2 * c, h + top + bottom, w + left + right), layout(x)
        padded = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)
        for edge in (padded[:, :, :top], padded[:, :, top + h :], padded[..., :left], padded[..., left + w :]):
            edge.zero_()
        inner = padded[:, :, top : top + h, left : left + w]
        y = torch.empty_like(inner, memory_format=order) if p else inner
        plus, minus = y.chunk(2, 1)
        below = x.abs().neg_().expm1_()  # of both signs; above 0 each is itself
        torch.maximum(x, below, out=plus)
        torch.maximum(torch.neg(x, out=minus), below, out=minus)
        mask = None
        if p:
            kept = kept_values(y, p)
            dropped(y, kept, p, out=inner)
            mask = kept.bool()
        ctx.save_for_backward(x, mask)
        ctx.p, ctx.inner = p, (..., slice(top, top + h), slice(left, left + w))
        return padded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        x, mask = ctx.saved_tensors
        grad = grad[ctx.inner]
        grad = grad if mask is None else dropped(grad, mask, ctx.p)
        both = torch.empty_like(grad, memory_format=layout(x))
        plus, minus = both.chunk(2, 1)
        plus.copy_(x)
        torch.neg(x, out=minus)
        torch.ops.aten.elu_backward(grad, 1, 1, 1, False, both, grad_input=both)
        return plus - minus, None, None


def concat_elu(x: Tensor, p: float = 0.0, border: Border = (0, 0, 0, 0)) -> Tensor:
    """Return ELU of x [B, C, H, W] and of -x, one after the other in dimension 1, after dropout of probability `p`, within a border of zeros."""
    if torch.compiler.is_compiling():
        return F.pad(F.dropout(F.elu(torch.cat([x, -x], 1)), p), border)
    y: Tensor = _ConcatELU.apply(x, p, border)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
    return y


class _Gated(torch.autograd.Function):
    """x + a · σ(b), of which a and b alone are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        a, b = both.chunk(2, 1)
        return b.clone().sigmoid_().mul_(a).add_(x)  # over gaps in memory the sigmoid takes several times as long

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        (both,) = ctx.saved_tensors
        a, b = both.chunk(2, 1)
        gate, found = b.clone().sigmoid_(), torch.empty_like(both)
        to_a, to_b = found.chunk(2, 1)
        torch.mul(grad, gate, out=to_a)
        torch.ops.aten.sigmoid_backward(torch.mul(grad, a, out=to_b), gate, grad_input=to_b)
        return grad, found


class GatedBlock(nn.Module):
    """Residual block of two convolutions with a gate and, between them, a short cut from somewhere else (section 2.4).

    Args:
        width: Features.
        kernel: Rows and columns of both convolutions.
        side: Features of the short cut; 0 for none.
        dropout: Probability that a feature is left out before the second convolution.
        index: The number of the block in its stream.
    """

    def __init__(self, width: int, kernel: tuple[int, int], side: int, dropout: float, index: int) -> None:
        super().__init__()
        self.dropout, self.index = dropout, index
        self.look = ShiftedConv2d(2 * width, width, kernel)
        self.side = ShiftedConv2d(2 * side, width, (1, 1)) if side else None
        self.gate = ShiftedConv2d(2 * width, 2 * width, kernel, scale=0.1)

    def forward(self, x: Tensor, side: Tensor | None) -> Tensor:
        """Map [B, width, H, W] to its like."""
        h = self.look(concat_elu(x, border=self.look.border), bordered=True)
        if self.side is not None:
            assert side is not None
            # Half of these inputs are kept: memory and time are both worth something (docs/speed.md).
            h = h + (remade(concat_elu, side, self.side) if self.index % 2 else self.side(concat_elu(side)))
        dropout = self.dropout if self.training else 0.0
        both = self.gate(concat_elu(h, dropout, self.gate.border), bordered=True)
        gated: Tensor = _Gated.apply(x, both)  # type: ignore[no-untyped-call]
        return gated


class Stream(nn.Module):
    """One of the two streams: blocks at each resolution on the way down and, with short cuts from those, back up.

    The stream of rows writes what each of its blocks gives into `shared`; the stream of pixels reads it there.

    Args:
        width: Features.
        blocks: Blocks at each resolution on the way down (and one more on the way up, but for the coarsest).
        scales: Resolutions.
        dropout: See `GatedBlock`.
        reads: True for the stream of pixels.
    """

    remat = False
    down: Any  # for each resolution a ModuleList of its blocks
    up: Any

    def __init__(self, width: int, blocks: int, scales: int, dropout: float, *, reads: bool) -> None:
        super().__init__()
        self.reads = reads
        kernel, count = ((2, 2) if reads else (2, 3)), itertools.count()

        def some(n: int, side: int) -> nn.ModuleList:
            return nn.ModuleList(GatedBlock(width, kernel, side * width, dropout, next(count)) for _ in range(n))

        self.down = nn.ModuleList(some(blocks, int(reads)) for _ in range(scales))
        self.up = nn.ModuleList(some(blocks + (k < scales - 1), 1 + int(reads)) for k in range(scales))
        self.shrink = nn.ModuleList(ShiftedConv2d(width, width, kernel, stride=2) for _ in range(scales - 1))
        self.grow = nn.ModuleList(GrowingConv2d(width, width, kernel[1]) for _ in range(scales - 1))

    def forward(self, x: Tensor, shared: dict[int, Tensor], level: int = 0) -> Tensor:
        """Map [B, width, H, W] to its like, through all coarser resolutions."""
        kept = [x]
        for block in self.down[level]:
            x = self._block(block, x, None, shared)
            kept.append(x)
        if level + 1 < len(self.down):
            inner = self.forward(self.shrink[level](x), shared, level + 1)
            x = self.grow[level](inner, x)
        else:
            x = kept.pop()
        for block in self.up[level]:
            x = self._block(block, x, kept.pop(), shared)
        return x

    def _block(self, block: GatedBlock, x: Tensor, kept: Tensor | None, shared: dict[int, Tensor]) -> Tensor:
        if not self.reads:
            x = shared[block.index] = again(self, block, x, kept)
            return x
        above = shared[block.index]
        return again(self, block, x, above if kept is None else torch.cat([above, kept], 1))


class Network(nn.Module):
    """Both streams between their first convolutions and the output (section 2.3 and figure 2).

    Args:
        colours: Colours of a pixel.
        width: Features.
        blocks: Blocks at each resolution.
        scales: Resolutions.
        dropout: See `GatedBlock`.
        outputs: Numbers that describe a pixel's distribution.
    """

    initialised: Tensor

    def __init__(self, colours: int, width: int, blocks: int, scales: int, dropout: float, outputs: int) -> None:
        super().__init__()
        self.first_rows = ShiftedConv2d(colours + 1, width, (2, 3))
        self.first_above = ShiftedConv2d(colours + 1, width, (1, 3))
        self.first_left = ShiftedConv2d(colours + 1, width, (2, 1))
        self.rows = Stream(width, blocks, scales, dropout, reads=False)
        self.pixels = Stream(width, blocks, scales, dropout, reads=True)
        self.out = ShiftedConv2d(width, outputs, (1, 1))
        self.register_buffer("initialised", torch.tensor(False))
        self._ready = False  # True once the buffer was seen to be: reading it every step would wait for the device

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B, C, H, W] in [-1, 1] to outputs [B, outputs, H, W]; each knows only the pixels before its own."""
        if self.training:
            if not self._ready:
                if not self.initialised:
                    self._start(x)
                self._ready = True
            self.initialised.fill_(True)  # again and again: the trainer takes back what a bad batch did to buffers
        return self._pass(x)

    def _pass(self, x: Tensor) -> Tensor:
        # a channel of ones tells the border, where it is zero, from gray
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        above, left = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1))
        shared: dict[int, Tensor] = {}
        self.rows(self.first_rows(above), shared)
        y = self.pixels(self.first_above(above) + self.first_left(left), shared)
        return self.out(F.elu(y))

    @torch.no_grad()
    def _start(self, x: Tensor) -> None:
        """Let every convolution, one after the other, choose its gain and bias by what it is given."""
        convs = [m for m in self.modules() if isinstance(m, WeightNorm)]
        for conv in convs:
            conv.starting = True
        with torch.autocast(x.device.type, enabled=False):
            self._pass(x.float())
        for conv in convs:
            conv.starting = False


class PixelCNNpp(System):
    """An exact likelihood of discrete images, as a product of one mixture of logistics per pixel.

    Trained by maximum likelihood: the loss is nats per image, the mean over the batch. A pixel x of colours c has
    p(x) = Σ_k π_k Π_c [σ((x_c + ½ - μ_ck) / s_ck) - σ((x_c - ½ - μ_ck) / s_ck)], where μ_ck = m_ck + Σ_{j<c} α_cjk x_j
    (equations 1-3; ½ is half a grey level, and the end levels reach to infinity).

    Convolutions are weight-normalized, and the first batch sets their gains and biases. Drawing computes in float64
    where the device has it, so that it does not depend on how the work is divided.

    Args:
        shape: Channels, height and width of an image; any sizes.
        levels: Grey levels of a pixel: 256, 2 for binarized data, or a power of two to quantize to.
        width: Features of each stream.
        blocks: Gated blocks of each stream at each resolution, on the way down.
        scales: Resolutions, each half of the one before.
        mixtures: Logistics in the mixture of a pixel.
        dropout: Probability that a feature is left out in a block, in training.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1701.05517"
    likelihood: ClassVar[str] = "exact"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "pixelcnnpp-paper": {"width": 160, "blocks": 5, "dropout": 0.5, "lr": 1e-3},
    }
    prediction: str
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "width": 6, "blocks": 1, "scales": 2, "mixtures": 2}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 16, "ema": 0.9995}

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        levels: GreyLevels = 256,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        blocks: Annotated[int, Field(ge=1, le=32)] = 1,
        scales: Annotated[int, Field(ge=1, le=6)] = 3,
        mixtures: Annotated[int, Field(ge=1, le=100)] = 10,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
    ) -> None:
        super().__init__()
        colours = shape[0]
        self.shape, self.levels, self.lr = tuple(shape), levels, lr
        # for each component a logit, a mean and a scale for every colour, a coefficient for every pair of colours
        self.numbers = (1, colours, colours, colours * (colours - 1) // 2)
        self.prediction = (
            f"mixtures of {mixtures} logistics, [B, H, W, {sum(self.numbers)}, {mixtures}]: logit, means of the {colours} colours, their "
            "log-scales, couplings (arXiv:1701.05517, equations 1 to 3), in raster order"
        )
        self.net = Network(colours, width, blocks, scales, dropout, sum(self.numbers) * mixtures)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return Adam with the momenta of the published code."""
        return {"model": Adam(self.parameters(), lr=self.lr, betas=(0.95, 0.9995))}

    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    loss = raster.loss
    log_prob = raster.log_prob

    def _log_mass(self, x: Tensor) -> Tensor:
        """Return nats per image, [B]."""
        check_images(x, self.shape)
        x = self._quantized(x)
        return per_example(coupled_logistic_mixture(x.movedim(1, -1), *self._mixture(self.net(x)), self.levels))

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the mixture of every pixel given those before it, float32 [B, H, W, numbers, K] (see `prediction`), in one pass."""
        check_images(x, self.shape)
        logits, *others = self._mixture(self.net(self._quantized(x)))
        return torch.cat([logits[..., None, :], *others], -2)

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the logits [..., K], means and log-scales [..., C, K] and couplings [..., C(C-1)/2, K] of outputs [B, -1, ...]."""
        out = out if out.dtype == torch.float64 else out.float()
        # components come last because there they are neighbours in memory
        rows = out.movedim(1, -1).unflatten(-1, (sum(self.numbers), -1))
        logits, mean, log_scale, coupling = rows.split(self.numbers, -2)
        return logits.squeeze(-2), mean, log_scale.clamp(min=LEAST_LOG_SCALE), torch.tanh(coupling)

    def _quantized(self, x: Tensor) -> Tensor:
        """Return images in [-1, 1] with values on the grid of `levels` levels, float32 (or float64 where given)."""
        return level_index(x, self.levels) * (2 / (self.levels - 1)) - 1

    # ---- drawing ---------------------------------------------------------------------------------------------

    sample = raster.sample
    complete = raster.complete

    @torch.no_grad()
    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, cached: bool, chunk: int
    ) -> Tensor:
        colours, height, width = self.shape
        # numbers for each decision, by its place: known pixels and the way of computing shift nobody else's
        uniform = draws.rand(x.shape[0], height, width, 1 + colours, generator=generator, device=self.device)
        # float32 would now and then put a value on the other side of a rounding, as the batch and the cache go
        precise = torch.float32 if self.device.type == "mps" else torch.float64
        x = torch.where(known, self._quantized(x), 0).to(precise)
        with torch.autocast(self.device.type, enabled=False):
            parts = zip(x.split(chunk), known.split(chunk), uniform.to(precise).split(chunk), strict=True)
            drawn = [self._raster(*part, temperature, cached) for part in parts]
        return on_grid(torch.cat(drawn).float(), self.levels)  # the grid's values as float32 has them

    def _raster(self, x: Tensor, known: Tensor, uniform: Tensor, temperature: float, cached: bool) -> Tensor:
        _, height, width = self.shape
        given = known.all(0)[0].tolist()
        if cached and len(x):
            return self._walked(x, known, uniform, temperature, given)
        for row, col in itertools.product(range(height), range(width)):
            if not given[row][col]:
                out = self._mixture(self.net(x)[:, :, row, col])
                drawn = draw_coupled(uniform[:, row, col], *out, self.levels, temperature)
                x[:, :, row, col] = torch.where(known[:, :, row, col], x[:, :, row, col], drawn)
        return x

    def _walked(self, x: Tensor, known: Tensor, uniform: Tensor, temperature: float, given: list[list[bool]]) -> Tensor:
        _, height, width = self.shape
        some = known.any(0)[0].tolist()
        with torch.inference_mode():  # what is written is memory of our own, free of what autograd would have to know
            walk = ShiftedWalk(self.net, len(x), width, x)
            draw = PixelDraw(self.net.out, self.numbers, self.levels, LEAST_LOG_SCALE, temperature, len(x), x)
            pixels, kept = x.permute(2, 0, 3, 1).contiguous(), known.permute(2, 3, 0, 1)  # [H, B, W, C]
            chosen, noise = (part.contiguous() for part in draw.ready(uniform.permute(1, 2, 0, 3)))
            places = walk.row.unbind(1)
            for row in range(height):
                walk.begin(row)
                walk.row.copy_(pixels[row])
                for col, (place, u, z) in enumerate(
                    zip(places, chosen[row].unbind(), noise[row].unbind(), strict=True)
                ):
                    read = walk.at(col)
                    if not given[row][col]:
                        drawn = draw(read, u, z)
                        place.copy_(torch.where(kept[row, col], place, drawn) if some[row][col] else drawn)
                pixels[row] = walk.row
            return x.copy_(pixels.permute(1, 3, 0, 2))
