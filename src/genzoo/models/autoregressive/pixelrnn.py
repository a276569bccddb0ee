"""Predicts each pixel from the pixels before it, by LSTMs that run over the image in rows or along its diagonals.

Van den Oord, Kalchbrenner and Kavukcuoglu 2016, section 3. An LSTM layer takes its gates from an input-to-state
convolution, masked, over the layer below and a state-to-state convolution over its own states before (eq. 3):
[o, f, i, g] = [σ, σ, σ, tanh](K_ss * h_before + K_is * x);  c = f ⊙ c_before + i ⊙ g;  h = o ⊙ tanh(c).
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.models.autoregressive._recurrence import scan
from genzoo.models.autoregressive._rnn_walks import DiagonalWalk, RowWalk
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.autoregressive.masked import MaskedConv2d
from genzoo.nn.autoregressive.raster import Levels, draw_in_chunks, fill_in_raster_order
from genzoo.nn.autoregressive.wavefront import fill_along_wavefront
from genzoo.nn.checks import GreyLevels, check_images
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine


class RowLSTM(nn.Module):
    """From row to row (section 3.1): the state of a pixel depends on three states of the row above.

    Sees a triangle above the pixel, which widens by one pixel a row on both sides.

    Args:
        inputs: Input features.
        width: Features h of the state.
        colours: Colour groups.
    """

    gates, margin = 4, 0

    def __init__(self, inputs: int, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.into = MaskedConv2d("B", inputs, 4 * width, 3, colours, rows=1, copies=4)
        self.state = nn.Parameter(torch.randn(3 * width, 4 * width) / math.sqrt(3 * width))

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Map [B, inputs, H, W] to states [B, h, H, W]; `bias` is added to the gates."""
        gates = self.into(x)
        gates = gates if bias is None else gates + bias
        with torch.autocast(x.device.type, enabled=False):  # states add up over all rows: in full precision
            return scan(gates.to(self.state.dtype)[None], self.state[None], (-1, 0, 1), False)[0]


class DiagonalBiLSTM(nn.Module):
    """Along both diagonals (section 3.2): the state of a pixel depends on those beside and above it.

    In the map that is skewed by one pixel a row, these are one column: an LSTM runs over the columns, from the left and
    (mirrored) from the right. The map from the right is shifted down by one row before it is added, so that it knows of
    no pixel to the right in the same row. Together they see the whole past, if the maps have a margin: a feature never
    knows its own pixel, so that only features beside the image, on its right, tell of the last pixel of the row above.

    Args:
        inputs: Input features.
        width: Features h of the state.
        colours: Colour groups.
    """

    gates, margin = 8, 1

    def __init__(self, inputs: int, width: int, colours: int) -> None:
        super().__init__()
        self.width = width
        self.into = MaskedConv2d("B", inputs, 8 * width, 1, colours, copies=8)
        # [direction, state above | state beside, gates]
        self.state = nn.Parameter(torch.randn(2, 2 * width, 4 * width) / math.sqrt(2 * width))

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Map [B, inputs, H, W] to states [B, h, H, W]; `bias` is added to the gates."""
        gates = self.into(x)
        gates = gates if bias is None else gates + bias
        with torch.autocast(x.device.type, enabled=False):  # states add up over all pixels: in full precision
            left, right = gates.to(self.state.dtype).chunk(2, 1)
            left, right = scan(torch.stack([left, right.flip(3)]), self.state, (-1, 0), True)
            return left + F.pad(right.flip(3), (0, 0, 1, 0))[:, :, :-1]


class Block(nn.Module):
    """An LSTM layer and its residual connection (fig. 5, right): 2h features to h states, 1x1 back to 2h.

    Args:
        layer: The LSTM layer's class.
        width: Features h.
        colours: Colour groups.
        context: Features of the map that a coarser scale conditions on, or 0.
    """

    def __init__(self, layer: type[RowLSTM | DiagonalBiLSTM], width: int, colours: int, context: int) -> None:
        super().__init__()
        self.lstm = layer(2 * width, width, colours)
        self.up = MaskedConv2d("B", width, 2 * width, 1, colours)
        self.told = nn.Conv2d(context, layer.gates * width, 1, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map [B, 2h, H, W] to its like, given the context map [B, context, H, W]."""
        bias = None if self.told is None else self.told(context)
        return x + self.up(self.lstm(x, bias))


class Network(nn.Module):
    """Table 1: a 7x7 convolution with mask A, LSTM blocks, ReLU and 1x1 twice; over a coarser image, if there is one.

    Args:
        layer: The LSTM layer's class.
        colours: Channels of an image.
        width: Features h.
        layers: LSTM blocks.
        head: Features between the two last layers.
        outputs: Output features.
        coarse: Is told an image of half the size, whose pixels are every second one of every second row (section 3.6).
    """

    def __init__(
        self,
        layer: type[RowLSTM | DiagonalBiLSTM],
        colours: int,
        width: int,
        layers: int,
        head: int,
        outputs: int,
        coarse: bool,
    ) -> None:
        super().__init__()
        self.margin = layer.margin
        self.first = MaskedConv2d("A", colours, 2 * width, 7, colours)
        self.look = nn.Conv2d(colours, 2 * width, 3, padding=1) if coarse else None
        self.enlarge = nn.ConvTranspose2d(2 * width, 2 * width, 4, 2, 1) if coarse else None
        self.blocks = nn.ModuleList(Block(layer, width, colours, 2 * width if coarse else 0) for _ in range(layers))
        self.head = MaskedConv2d("B", 2 * width, head, 1, colours)
        self.out = MaskedConv2d("B", head, outputs, 1, colours)

    def forward(self, x: Tensor, *, coarse: Tensor | None = None) -> Tensor:
        """Map images [B, C, H, W] and, if it is told one, the coarse image to outputs [B, C·K, H, W]."""
        context = self._context(coarse)
        h = self.first(F.pad(x, (0, self.margin)))
        for block in self.blocks:
            h = block(h, context)
        out = self.out(torch.relu(self.head(torch.relu(h))))
        return out[..., : x.shape[3]]

    def told(self, coarse: Tensor | None) -> list[Tensor | None]:
        """Return what the coarse image adds to the gates of each block, [B, gates, H, W + margin], if they are told one."""
        context, blocks = self._context(coarse), cast(list[Any], self.blocks)
        return [None if block.told is None else block.told(context) for block in blocks]

    def _context(self, coarse: Tensor | None) -> Tensor | None:
        """Return what the coarse image says, [B, 2h, H, W + margin]."""
        if self.look is None or self.enlarge is None:
            return None
        return F.pad(torch.relu(self.enlarge(torch.relu(self.look(coarse)))), (0, self.margin))


LAYERS: dict[str, type[RowLSTM | DiagonalBiLSTM]] = {"row": RowLSTM, "diagonal": DiagonalBiLSTM}


class PixelRNN(System):
    """An exact likelihood of discrete images, whose conditionals have a memory of their own.

    Trained by maximum likelihood: the loss is nats per image. With `scales` above 1 it is the multi-scale PixelRNN of
    section 3.6: a first network draws every second pixel of every second row (and so on, down), a second one the other
    pixels given all of those: p(x) = p(coarse) p(rest | coarse), where each pixel is predicted once. There is no batch
    normalization: its statistics would let future pixels leak into the past.

    Args:
        shape: Channels, height and width of an image.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarized data), or a power of two to quantize to.
        lstm: From row to row, which sees a triangle above the pixel; or along both diagonals, which sees the whole past.
        width: Features h of a layer's states; 2h between layers.
        layers: LSTM layers.
        head: Features between the two last 1x1 layers.
        scales: Networks, each for an image of twice the size of the one before; 1 is the plain PixelRNN.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1601.06759"
    likelihood: ClassVar[str] = "exact"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "row-lstm": {"lstm": "row"},
        "diagonal-bilstm": {"lstm": "diagonal"},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "width": 8, "layers": 2, "head": 8}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 16, "ema": 0.999, "clip": 100.0}
    nets: Any  # a ModuleList of Networks

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        levels: GreyLevels = 256,
        lstm: Literal["row", "diagonal"] = "diagonal",
        width: Annotated[int, Field(ge=1, le=1024)] = 16,
        layers: Annotated[int, Field(ge=1, le=64)] = 7,
        head: Annotated[int, Field(ge=1, le=4096)] = 64,
        scales: Annotated[int, Field(ge=1, le=6)] = 1,
        lr: Annotated[float, Field(gt=0, le=1)] = 8e-3,
    ) -> None:
        super().__init__()
        colours = shape[0]
        raster.check_features(colours, width=width, head=head)
        step = 2 ** (scales - 1)
        raster.check_divided(shape, step, f"scales={scales}")
        self.shape, self.lr = tuple(shape), lr
        if scales > 1:
            self.lacks = {"predicts": f"scales={scales} have a network each, and no one pass tells all pixels"}
        self.grid = Levels(levels, colours)
        outputs = colours * self.grid.outputs
        self.nets = nn.ModuleList(
            Network(LAYERS[lstm], colours, width, layers, head, outputs, coarse=scale > 0) for scale in range(scales)
        )
        for module in self.modules():
            if isinstance(module, RowLSTM | DiagonalBiLSTM):  # forget gates start open
                module.into.bias.data.view(-1, 4, width)[:, 1] = 1.0

    optimizers = one_adam  # the paper: RMSProp
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    loss = raster.loss
    log_prob = raster.log_prob

    def _log_mass(self, x: Tensor) -> Tensor:
        check_images(x, self.shape)
        tokens = self.grid.tokens(x)
        total = torch.zeros(x.shape[0], device=x.device)
        coarse = None
        for net, step in zip(self.nets, self._steps(), strict=True):
            part = tokens[:, :, ::step, ::step]
            each = self.grid.log_mass(self._net(net, self._values(part), coarse), part)
            if coarse is not None:  # what the coarser scale has drawn is not drawn again
                each = each * ~coarse_pixels(each.shape[1:3], x.device)[..., None]
            total = total + each.flatten(1).sum(1)
            coarse = self._values(part)
        return total

    def _net(self, net: Network, x: Tensor, coarse: Tensor | None) -> Tensor:
        return net(x) if coarse is None else net(x, coarse=coarse)

    def _steps(self) -> list[int]:
        """Return the distance between the pixels of each scale, coarsest first."""
        return [2**k for k in reversed(range(len(self.nets)))]

    prediction: ClassVar[str] = raster.LEVELS

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return log p of every grey level of every pixel and colour given those before it, float32 [B, C, H, W, levels], in one pass.

        Raises:
            UserError: There are several scales, which have an order of their own.
        """
        if "predicts" in self.lacks:
            raise UserError(self.lacks["predicts"])
        check_images(x, self.shape)
        return self.grid.log_probs(self.nets[0](self._values(self.grid.tokens(x)))).movedim(3, 1)

    _values = raster.values

    # ---- drawing ---------------------------------------------------------------------------------------------

    sample = raster.sample
    complete = raster.complete

    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, cached: bool, chunk: int
    ) -> Tensor:
        x = torch.where(known, self._values(self.grid.tokens(x)), 0)
        choose = functools.partial(self.grid.pick_value, temperature=temperature)

        def fill(x: Tensor, known: Tensor, uniform: Tensor) -> Tensor:
            coarse = None
            for net, step in zip(self.nets, self._steps(), strict=True):
                part, keep, numbers = (t[:, :, ::step, ::step].clone() for t in (x, known, uniform))
                if coarse is not None:
                    keep = keep | coarse_pixels(part.shape[2:], x.device)
                if cached and not net.margin:
                    coarse = fill_along_wavefront(functools.partial(RowWalk, net, coarse), choose, part, keep, numbers)
                else:
                    predict = functools.partial(net.forward, coarse=coarse)
                    walk = functools.partial(DiagonalWalk, net, coarse) if cached else None
                    coarse = fill_in_raster_order(predict, walk, choose, part, keep, numbers)
                x[:, :, ::step, ::step] = coarse
            return x

        return draw_in_chunks(fill, x, known, generator=generator, chunk=chunk)


def coarse_pixels(size: torch.Size, device: torch.device) -> Tensor:
    """Return the pixels of an image, bool [H, W], that are those of the image of half its size."""
    coarse = torch.zeros(size, dtype=torch.bool, device=device)
    coarse[::2, ::2] = True
    return coarse
