"""Predicts each pixel from all pixels before it, by two stacks of gated convolutions, and can be told the class.

A vertical stack sees all rows above, a horizontal one the pixels to the left (van den Oord et al. 2016, "Conditional
Image Generation with PixelCNN Decoders", fig. 2): together they see the whole past, without the blind spot of a plain
masked stack. Each layer is gated and told the class h: y = tanh(W_f * x + V_f h) ⊙ σ(W_g * x + V_g h) (eq. 2-4).
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.autoregressive.lines import Head, Line, Point, with_ones
from genzoo.nn.autoregressive.masked import MaskedConv2d
from genzoo.nn.autoregressive.raster import Levels, draw_in_chunks, fill_in_raster_order
from genzoo.nn.checks import GreyLevels, check_images, check_label, check_temperature
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine

FIRST = 7
"""Width of the first layer's kernels."""


class VerticalConv(nn.Module):
    """A convolution whose output in a row sees whole rows: those above only (first layer), or up to its own.

    The first layer's shift by one row makes every feature of the vertical stack a function of the rows above alone.

    Args:
        above: Leave out the output's own row.
        inputs: Input features.
        outputs: Output features.
        kernel: Width of the kernel, odd; half of it, rounded down, are the rows above.
    """

    def __init__(self, above: bool, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.up, self.above = kernel // 2, above
        rows = self.up + (not above)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, rows, kernel) / math.sqrt(inputs * rows * kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H, W]."""
        x = F.pad(x[:, :, :-1] if self.above else x, (0, 0, self.up, 0))
        return F.conv2d(x, self.weight, self.bias, padding=(0, self.weight.shape[3] // 2))


class GatedLayer(nn.Module):
    """One layer of both stacks (fig. 2).

    Args:
        first: Reads the image: mask A, no residual connection in the horizontal stack.
        inputs: Input features: channels of the image, or `width`.
        width: Features p of each stack.
        kernel: Width of the kernels, odd.
        colours: Colour groups.
        classes: Classes, or 0.
    """

    def __init__(self, first: bool, inputs: int, width: int, kernel: int, colours: int, classes: int) -> None:
        super().__init__()
        self.first = first
        self.vertical = VerticalConv(first, inputs, 2 * width, kernel)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        kind: Literal["A", "B"] = "A" if first else "B"
        self.horizontal = MaskedConv2d(kind, inputs, 2 * width, kernel, colours, rows=1, copies=2)
        self.mix = MaskedConv2d("B", width, width, 1, colours)
        self.classes = nn.Embedding(classes, 4 * width) if classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, std=0.1)

    def told(self, label: Tensor | None, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return what the class adds before the gates of the two stacks, each [B, 2p] or nothing, in the precision of `like`."""
        # an embedding is float32 under autocast, and would make all that follows so
        return (0.0, 0.0) if self.classes is None else self.classes(label).to(like.dtype).chunk(2, 1)

    def across(self, h: Tensor, link: Tensor, told: Tensor | float) -> Tensor:
        """Run the horizontal stack: features [B, inputs, H, W] and the vertical stack's link [B, 2p, H, W]."""
        y = self.mix(gate(self.horizontal(h) + link + told))
        return y if self.first else h + y


def gate(y: Tensor) -> Tensor:
    """Return the tanh of the first half of the features times the sigmoid of the second (eq. 2), [B, 2p, ...] to [B, p, ...]."""
    content, open_ = (half.clone() for half in y.chunk(2, 1))  # over gaps in memory both functions take twice as long
    return torch.tanh(content) * torch.sigmoid(open_)


def spread(told: Tensor | float) -> Tensor | float:
    """Spread features [B, 2p] over all pixels, [B, 2p, 1, 1]."""
    return told[:, :, None, None] if isinstance(told, Tensor) else told


class Network(nn.Module):
    """Gated layers, the first one 7 wide, then ReLU and 1x1 twice.

    Args:
        colours: Channels of an image.
        width: Features p of each stack.
        layers: Layers.
        kernel: Width of the kernels after the first layer.
        head: Features between the two last layers.
        outputs: Output features.
        classes: Classes, or 0.
    """

    layers: Any  # a ModuleList of GatedLayers

    def __init__(
        self, colours: int, width: int, layers: int, kernel: int, head: int, outputs: int, classes: int
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GatedLayer(i == 0, width if i else colours, width, kernel if i else FIRST, colours, classes)
            for i in range(layers)
        )
        self.head = MaskedConv2d("B", width, head, 1, colours)
        self.out = MaskedConv2d("B", head, outputs, 1, colours)

    def forward(self, x: Tensor, *, label: Tensor | None = None) -> Tensor:
        """Map images [B, C, H, W] and classes [B] to outputs [B, C·K, H, W]."""
        v = h = x
        for layer in self.layers:
            features = layer.vertical(v)
            over, beside = layer.told(label, features)
            v = gate(features + spread(over))
            h = layer.across(h, layer.link(features), spread(beside))
            if layer.first:
                # a gray image fits either layout, and the first layer may pick the one that is half as fast
                v, h = (t.contiguous(memory_format=torch.channels_last) for t in (v, h))
        return self.out(torch.relu(self.head(torch.relu(h))))


class VerticalRows:
    """A `VerticalConv` and its link to the other stack over one row after another, each as one product.

    Args:
        layer: The layer that both belong to.
        batch: Images.
        width: Width of the images.
        scale: Multiplies the outputs of the link, [2p].
    """

    def __init__(self, layer: GatedLayer, batch: int, width: int, scale: Tensor) -> None:
        weight, link = layer.vertical.weight.detach(), layer.link.weight.detach()[:, :, 0, 0]
        _, inputs, rows, self.kernel = weight.shape
        self.weight, self.bias = weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), layer.vertical.bias.detach()
        assert layer.link.bias is not None
        self.link, self.link_bias = (link.T * scale).contiguous(), layer.link.bias.detach() * scale
        self.rows = [weight.new_zeros(width + self.kernel - 1, batch, inputs) for _ in range(rows)]
        self.inside = slice(self.kernel // 2, self.kernel // 2 + width)

    def push(self, row: Tensor) -> None:
        """Take in the newest row that it sees, [W, B, inputs]."""
        oldest, *newer = self.rows
        oldest[self.inside] = row
        self.rows = [*newer, oldest]

    def __call__(self) -> tuple[Tensor, Tensor]:
        """Return the features [W·B, 2p] of a row, and the link's outputs, scaled."""
        width = self.inside.stop - self.inside.start
        seen = torch.cat([each[k : k + width] for each in self.rows for k in range(self.kernel)], 2)
        features = torch.addmm(self.bias, seen.flatten(0, 1), self.weight)
        return features, torch.addmm(self.link_bias, features, self.link)


class GatedWalk:
    """The walk of a `Network` (`lines.Walk`): the vertical stack once a row, the horizontal one four operations a layer.

    The sigmoid is a tanh of half its argument, and half of what it is multiplied by is left to the weights of `mix`.

    Args:
        net: The network.
        label: The class of each image, [B], or None.
        batch: Images.
        width: Width of the images.
    """

    def __init__(self, net: Network, label: Tensor | None, batch: int, width: int) -> None:
        layers, like = list(net.layers), net.out.bias.detach()
        half = like.new_ones(2 * net.head.weight.shape[1])
        half[len(half) // 2 :] = 0.5
        self.layers, self.label, self.half = layers, label, half
        self.lines = [Line(layer.horizontal, batch, width, half) for layer in layers]
        self.row, self.head = self.lines[0].row, Head(net.head, net.out)
        self.verticals = [VerticalRows(layer, batch, width, half) for layer in layers]
        gates, (both, gated) = like.new_empty(batch, len(half)), with_ones(batch, len(half) // 2, like)
        content, open_ = gates.chunk(2, 1)
        mixes = [Point(layer.mix, ones=True, scale=0.5).weight for layer in layers]
        self.end = like.new_empty(batch, len(half) // 2)
        self.columns = []
        for col in range(width):
            places = [*(line.places[col] for line in self.lines[1:]), self.end]
            self.columns.append(
                [
                    (line.adds[col], line.windows[col], line.own, gates, content, open_, gated, both, mix, place)
                    for line, mix, place in zip(self.lines, mixes, places, strict=True)
                ]
            )

    def begin(self, row: int) -> None:
        """Take in the row above: run the vertical stack and the links along it."""
        above = self.row.transpose(0, 1)  # [W, B, C]: of no meaning in the first row, where nothing reads it
        for layer, vertical, line in zip(self.layers, self.verticals, self.lines, strict=True):
            if row or not layer.first:
                vertical.push(above)
            features, link = (part.unflatten(0, (len(above), -1)) for part in vertical())
            over, beside = layer.told(self.label, features)
            line.begin(row, link + beside * self.half if isinstance(beside, Tensor) else link)
            above = gate((features + over).flatten(0, 1)).unflatten(0, (len(above), -1))

    def at(self, col: int) -> Tensor:
        """Return the outputs at a column."""
        h: Tensor | None = None
        for add, window, own, gates, content, open_, gated, both, mix, place in self.columns[col]:
            torch.addmm(add, window, own, out=gates).tanh_()
            torch.addcmul(content, content, open_, out=gated)
            torch.mm(both, mix, out=place) if h is None else torch.addmm(h, both, mix, out=place)
            h = place
        return self.head(self.end)


class GatedPixelCNN(System):
    """An exact likelihood of discrete images that sees the whole past, given the class where there is one.

    Trained by maximum likelihood of the image given its label: the loss is nats per image. Labels are drawn uniformly:
    without a label, `log_prob` is the exact mixture over the classes, log 1/K Σ_k p(x | k), at K times the cost. There
    is no batch normalization: its statistics would let future pixels leak into the past.

    Args:
        shape: Channels, height and width of an image.
        classes: Classes that images are drawn given; 0 is without labels.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarized data), or a power of two to quantize to.
        width: Features p of each stack.
        layers: Gated layers; each widens the view by half a kernel.
        kernel: Width of the kernels after the first layer, whose kernels are 7 wide; odd.
        head: Features between the two last 1x1 layers.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1606.05328"
    likelihood: str
    """"exact", given classes the exact mixture over them."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "gated-pixelcnn-paper": {"width": 128, "layers": 15, "kernel": 5, "head": 1024, "lr": 3e-4},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "classes": 3, "width": 8, "layers": 3, "head": 8}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 8, "ema": 0.999, "warmup": 0.03}
    preset_defaults: ClassVar[dict[str, dict[str, Any]]] = {"gated-pixelcnn-paper": {"batch": 16, "warmup": 0.0}}
    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        classes: Annotated[int, Field(ge=0, le=100_000)] = 0,
        levels: GreyLevels = 256,
        width: Annotated[int, Field(ge=1, le=1024)] = 32,
        layers: Annotated[int, Field(ge=1, le=64)] = 8,
        kernel: Annotated[int, Field(ge=3, le=15)] = 3,
        head: Annotated[int, Field(ge=1, le=4096)] = 64,
        lr: Annotated[float, Field(gt=0, le=1)] = 8e-3,
    ) -> None:
        super().__init__()
        colours = shape[0]
        if kernel % 2 == 0:
            raise UserError(f"kernel={kernel} has no centre; give an odd number: 3, 5, 7")
        raster.check_features(colours, width=width, head=head)
        self.shape, self.classes, self.labels, self.lr = tuple(shape), classes, classes, lr
        self.grid = Levels(levels, colours)
        self.likelihood = f"exact, of the mixture over {classes} classes" if classes else "exact"
        self.net = Network(colours, width, layers, kernel, head, colours * self.grid.outputs, classes)

    optimizers = one_adam  # the paper: RMSProp
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per image given its class and, as a log, bits per dimension."""
        label = batch.get("label") if self.classes else None
        if self.classes and label is None:
            raise UserError(f"classes={self.classes}, but the data have no labels; give labelled data or classes=0")
        nats = -self._log_mass(batch["image"], label).flatten(1).sum(1).mean()
        return {"loss": nats, "bits_per_dim": nats.detach() / (math.prod(self.shape) * math.log(2))}

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None, label: int | None = None) -> Tensor:
        """Return log p(x) in nats, exact, [B]: of the mixture over classes, or given one.

        Args:
            x: Images [B, C, H, W] in [-1, 1].
            generator: Not used.
            label: The class; all of them, equally likely, when not given.
        """
        if self.classes and label is None:
            return self.log_prob_of_classes(x).logsumexp(1) - math.log(self.classes)
        check_label(label, self.classes)
        given = None if label is None else torch.full((x.shape[0],), label, device=x.device)
        return self._log_mass(x, given).flatten(1).sum(1)

    @torch.no_grad()
    def log_prob_of_classes(self, x: Tensor) -> Tensor:
        """Return log p(x | k) in nats for every class, [B, K]; the largest is the class that Bayes' rule chooses."""
        return torch.stack([self.log_prob(x, label=k) for k in range(self.classes)], 1)

    def _log_mass(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Return the log-probability of the level that is there, [B, H, W, C]."""
        check_images(x, self.shape)
        tokens = self.grid.tokens(x)
        return self.grid.log_mass(self.net(self._values(tokens), label=label), tokens)

    prediction: ClassVar[str] = raster.LEVELS

    @torch.no_grad()
    def predict(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p of every grey level of every pixel and colour given those before it and the class, float32 [B, C, H, W, levels].

        Args:
            x: Images [B, C, H, W] in [-1, 1].
            label: The class of each, int64 [B], for a model of classes.
        """
        check_images(x, self.shape)
        return self.grid.log_probs(self.net(self._values(self.grid.tokens(x)), label=label)).movedim(3, 1)

    _values = raster.values

    # ---- drawing ---------------------------------------------------------------------------------------------

    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        label: Annotated[int, Field(ge=0)] | None = None,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        cached: bool = True,
        chunk: Annotated[int, Field(ge=1, le=4096)] = 64,
    ) -> Tensor:
        """Draw `n` images pixel by pixel, float32 [n, C, H, W] in [-1, 1].

        Args:
            n: Number of images.
            generator: All the randomness: one uniform number per pixel and colour, whatever `cached` and `chunk` are.
            label: The class of all images; drawn for each image when not given.
            temperature: Divides the logits; below 1 likelier pixels, above 1 more varied ones.
            cached: Compute only what each pixel adds; false: a whole pass per pixel and colour (equal, and slow).
            chunk: Images drawn together; fewer need less memory.
        """
        return self._draw(*raster.nothing_known(self, n), generator, label, temperature, cached, chunk)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        generator: Generator,
        label: Annotated[int, Field(ge=0)] | None = None,
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
            label: The class; when not given it is drawn by Bayes' rule from the pixels before the first unknown one.
            temperature: As in `sample`.
            cached: As in `sample`.
            chunk: As in `sample`.
        """
        x, known = raster.some_known(self, x, known)
        return torch.where(known, x.float(), self._draw(x, known, generator, label, temperature, cached, chunk))

    @torch.no_grad()
    def _draw(
        self,
        x: Tensor,
        known: Tensor,
        generator: Generator,
        label: int | None,
        temperature: float,
        cached: bool,
        chunk: int,
    ) -> Tensor:
        check_temperature(temperature)
        check_label(label, self.classes)
        x = torch.where(known, self._values(self.grid.tokens(x)), 0)
        labels = self._labels(x, known, generator, label)

        def fill(x: Tensor, known: Tensor, uniform: Tensor, labels: Tensor) -> Tensor:
            told = labels if self.classes else None
            predict = functools.partial(self.net.forward, label=told)
            choose = functools.partial(self.grid.pick_value, temperature=temperature)
            walk = functools.partial(GatedWalk, self.net, told) if cached else None
            return fill_in_raster_order(predict, walk, choose, x, known, uniform)

        return draw_in_chunks(fill, x, known, labels, generator=generator, chunk=chunk)

    def _labels(self, x: Tensor, known: Tensor, generator: Generator, label: int | None) -> Tensor:
        """Return a class for each image, int64 [B]: the given one, or by Bayes' rule from what is known."""
        if label is not None or not self.classes:
            return torch.full((x.shape[0],), label or 0, device=x.device)
        uniform = draws.rand(x.shape[0], generator=generator, device=x.device)
        before = known.flatten(1).cumprod(1)  # pixels with all before them known: what is exact to condition on
        log_p = torch.zeros(x.shape[0], self.classes, device=x.device)
        if before.any():
            with torch.autocast(x.device.type, enabled=False):
                for k in range(self.classes):
                    each = self._log_mass(x.float(), torch.full((x.shape[0],), k, device=x.device)).sum(-1).flatten(1)
                    log_p[:, k] = (each * before).sum(1).to(log_p.dtype)
        return self.grid.pick(log_p.log_softmax(1), uniform)
