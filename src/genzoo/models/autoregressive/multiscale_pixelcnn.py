"""Draws a small image pixel by pixel and doubles it again and again, a third of the new pixels at once.

Reed et al. 2017, "Parallel Multiscale Autoregressive Density Estimation". The pixels of every 2x2 block form four groups:
the top left ones are the image of half the size; the top right, the bottom left and the bottom right ones are drawn in
turn, each group in parallel given the groups before it (fig. 2): an image of N pixels takes O(log N) network passes.
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.autoregressive.masked import MaskedConv2d, MaskedStack
from genzoo.nn.autoregressive.raster import Levels, draw_in_chunks, fill_in_raster_order
from genzoo.nn.autoregressive.wavefront import StackWalk, fill_along_wavefront
from genzoo.nn.checks import GreyLevels, check_images
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Row and column in a 2x2 block of each group, in the order in which they are drawn; the first is the smaller image."""


class Residual(nn.Module):
    """ReLU and 3x3 convolution twice, added to the input; nothing is masked, for all that it sees is known."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, width, H, W] to its like."""
        return x + self.two(torch.relu(self.one(torch.relu(x))))


class GroupNetwork(nn.Module):
    """Predicts one group of pixels from the groups before it; within a pixel, each colour from those before it.

    Args:
        groups: How many groups are known: 1, 2 or 3.
        colours: Channels of an image.
        width: Features.
        blocks: Residual blocks.
        head: Features between the two last layers.
        outputs: Output features, in one group for each colour.
    """

    def __init__(self, groups: int, colours: int, width: int, blocks: int, head: int, outputs: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(groups * colours, width, 5, padding=2)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.known = nn.Conv2d(width, head, 1)
        self.own = MaskedConv2d("A", colours, head, 1, colours)
        self.out = MaskedConv2d("B", head, outputs, 1, colours)

    def features(self, known: Tensor) -> Tensor:
        """Return what the known groups, [B, groups·C, h, w], say of this one, [B, head, h, w]."""
        return self.known(torch.relu(self.blocks(self.look(known))))

    def outputs(self, features: Tensor, group: Tensor) -> Tensor:
        """Return the outputs [B, C·K, h, w] given the features and the group itself, [B, C, h, w], of which colours before are seen."""
        return self.out(torch.relu(features + self.own(group)))

    def forward(self, known: Tensor, group: Tensor) -> Tensor:
        """Map the known groups and the group itself to the outputs of its pixels."""
        return self.outputs(self.features(known), group)


class MultiscalePixelCNN(System):
    """An exact likelihood of discrete images that takes few passes to draw from.

    The pixels of one group are taken to be independent given the groups before it, which makes them parallel and costs
    some likelihood. The smallest image is drawn by a plain PixelCNN. Trained by maximum likelihood: the loss is nats per
    image. There is no batch normalization: its statistics would let one image's pixels into another's conditionals.

    Args:
        shape: Channels, height and width of an image.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarized data), or a power of two to quantize to.
        doublings: How often the smallest image is doubled; height and width are multiples of 2^doublings.
        width: Features of the networks that double; the smallest image's PixelCNN has as many, 2h = width.
        blocks: Residual blocks of each network; each widens the view by two pixels.
        head: Features between the two last layers.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1703.03664"
    likelihood: ClassVar[str] = "exact"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "multiscale-pixelcnn-paper": {"doublings": 3, "width": 128, "blocks": 12, "head": 512, "lr": 1e-4},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "width": 8, "blocks": 1, "head": 8}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 32, "ema": 0.999}
    doubling: Any  # a ModuleList of three GroupNetworks for each doubling

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        *,
        levels: GreyLevels = 256,
        doublings: Annotated[int, Field(ge=1, le=10)] = 2,
        width: Annotated[int, Field(ge=2, le=1024)] = 48,
        blocks: Annotated[int, Field(ge=0, le=64)] = 4,
        head: Annotated[int, Field(ge=1, le=4096)] = 64,
        lr: Annotated[float, Field(gt=0, le=1)] = 2e-3,
    ) -> None:
        super().__init__()
        colours = shape[0]
        if min(width // 2, head) < colours:
            raise UserError(
                f"width={width} and head={head} must be at least {2 * colours} and {colours}, for images of {colours} "
                "channels: every colour needs a feature of its own"
            )
        step = 2**doublings
        raster.check_divided(shape, step, f"doublings={doublings}")
        self.shape, self.lr = tuple(shape), lr
        self.steps = [2**k for k in reversed(range(doublings))]
        self.grid = Levels(levels, colours)
        outputs = colours * self.grid.outputs
        self.base = MaskedStack(colours, width // 2, blocks, head, outputs)
        self.doubling = nn.ModuleList(
            nn.ModuleList(GroupNetwork(groups, colours, width, blocks, head, outputs) for groups in (1, 2, 3))
            for _ in range(doublings)
        )

    optimizers = one_adam  # the paper: RMSProp
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per image and, as logs, those of the smallest image alone and bits per dimension."""
        parts = self._log_mass(batch["image"])
        nats = -parts.sum(0).mean()
        return {
            "loss": nats,
            "base_nats": -parts[0].detach().mean(),
            "bits_per_dim": nats.detach() / (math.prod(self.shape) * math.log(2)),
        }

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return log p(x) in nats, exact, [B], of images [B, C, H, W] in [-1, 1]; `generator` is not used."""
        return self._log_mass(x).sum(0)

    def _log_mass(self, x: Tensor) -> Tensor:
        """Return nats of the smallest image and of every group after it, in the order in which they are drawn, [1 + 3·doublings, B]."""
        check_images(x, self.shape)
        tokens = self.grid.tokens(x)
        small = tokens[:, :, :: 2 * self.steps[0], :: 2 * self.steps[0]]
        found = [self._nats(self.base(self._values(small)), small)]
        for step, nets in zip(self.steps, self.doubling, strict=True):
            groups = corners(tokens[:, :, ::step, ::step])
            seen = [self._values(g) for g in groups]
            for i, net in enumerate(nets, 1):
                found.append(self._nats(net(torch.cat(seen[:i], 1), seen[i]), groups[i]))
        return torch.stack(found)

    def _nats(self, out: Tensor, tokens: Tensor) -> Tensor:
        return self.grid.log_mass(out, tokens).flatten(1).sum(1)

    _values = raster.values

    # ---- drawing ---------------------------------------------------------------------------------------------

    sample = raster.sample
    complete = raster.complete

    def _draw(
        self, x: Tensor, known: Tensor, generator: Generator, temperature: float, cached: bool, chunk: int
    ) -> Tensor:
        x = torch.where(known, self._values(self.grid.tokens(x)), 0)
        fill = functools.partial(self._fill, temperature=temperature, cached=cached)
        return draw_in_chunks(fill, x, known, generator=generator, chunk=chunk)

    def _fill(self, x: Tensor, known: Tensor, uniform: Tensor, *, temperature: float, cached: bool) -> Tensor:
        step = 2 * self.steps[0]
        parts = (t[:, :, ::step, ::step].clone() for t in (x, known, uniform))
        choose = functools.partial(self.grid.pick_value, temperature=temperature)
        if cached:
            small = fill_along_wavefront(functools.partial(StackWalk, self.base), choose, *parts)
        else:
            small = fill_in_raster_order(self.base.forward, None, choose, *parts)
        for step, nets in zip(self.steps, self.doubling, strict=True):
            groups, keep, numbers = (corners(t[:, :, ::step, ::step]) for t in (x, known, uniform))
            groups = [small, *groups[1:]]
            for i, net in enumerate(nets, 1):
                groups[i] = self._group(net, groups[:i], groups[i], keep[i], numbers[i], temperature, cached)
            small = joined(groups)
        return small

    def _group(
        self,
        net: GroupNetwork,
        before: list[Tensor],
        group: Tensor,
        known: Tensor,
        uniform: Tensor,
        temperature: float,
        cached: bool,
    ) -> Tensor:
        """Draw a group's unknown pixels [B, C, h, w] at once, colour by colour."""
        seen = torch.cat(before, 1)
        features = net.features(seen) if cached else None
        for c in range(group.shape[1]):
            out = net(seen, group) if features is None else net.outputs(features, group)
            log_p = self.grid.log_probs(out)[..., c, :]
            drawn = self.grid.values(self.grid.pick(log_p, uniform[:, c], temperature), group.dtype)
            own = torch.where(known[:, 0], group[:, c], drawn)
            group = torch.cat([group[:, :c], own[:, None], group[:, c + 1 :]], 1)
        return group


def corners(x: Tensor) -> list[Tensor]:
    """Return the four groups of images [B, C, 2h, 2w], each [B, C, h, w]."""
    return [x[:, :, row::2, col::2] for row, col in CORNERS]


def joined(groups: list[Tensor]) -> Tensor:
    """Undo `corners`."""
    b, c, h, w = groups[0].shape
    return torch.stack(groups, 2).view(b, c, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c, 2 * h, 2 * w)
