"""Predicts every dimension from those before it in an order, by one dense network with masked weights.

The chain rule in any order d of the dimensions (Germain et al. 2015, eq. 6): p(x) = Π_t p(x_{d_t} | x_{d_1} ... x_{d_t-1}).
Every unit k of a hidden layer is given a degree m(k), the number of leading dimensions that it may see, and a weight is
kept where degrees do not fall: m(k') >= m(k) into a hidden unit, t > m(k) into the output of rank t (eq. 13-14).
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import pick
from genzoo.models.autoregressive._masked_walk import MaskedWalk
from genzoo.nn import draws
from genzoo.nn.autoregressive import methods as raster
from genzoo.nn.autoregressive.raster import Levels
from genzoo.nn.checks import GreyLevels, check_data, check_images, check_known, check_temperature
from genzoo.nn.optimizers import one_adam
from genzoo.nn.schedules import half_cosine
from genzoo.nn.whitening import calibrate_points, finish_points_calibration, points_unscaled, scale_for

NARROWEST = -7.0
"""Least log standard deviation of a Gaussian conditional, in units of the data's."""


class MaskedLinear(nn.Module):
    """A dense layer whose mask is given at every use and never written into the weight.

    Args:
        inputs: Input features.
        outputs: Output features.
        bias: Add one.
        gain: Standard deviation of the weights at the start, times the square root of `inputs`.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain / math.sqrt(inputs))
        self.bias: Any = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map [B, inputs] to [B, outputs] through the weights where `mask`, [outputs, inputs], is one."""
        return F.linear(x, self.weight * mask, self.bias)


class MADE(System):
    """The exact likelihood of a dense network that is masked to be a product of conditionals.

    Without hidden layers (`layers=0`, preset `fvsbn`) it is the fully visible sigmoid belief network (Neal 1992; Frey
    1998): one logistic regression of each pixel on those before it. Several `masks` with `order=random` are the paper's
    connectivity-agnostic and order-agnostic training: a step picks one at random, and the model is their equal mixture.
    Points get Gaussian conditionals: `components` means and widths for every coordinate, in units of the training set's standard
    deviations.

    Args:
        shape: Channels, height and width of an image, or the dimensions of points.
        levels: Grey levels of a pixel: 256, 2 (Bernoulli, for binarized data), or a power of two to quantize to.
        layers: Hidden layers; 0 is a logistic (points: linear) regression.
        width: Units of a hidden layer.
        direct: Connect inputs and outputs directly as well; needed without hidden layers.
        order: Rows from the top, pixels from the left, colours R < G < B; or at random, another order for each mask set.
        masks: Mask sets: degrees of the hidden units and, if random, orders.
        components: Gaussians of a conditional; for points only.
        lr: Learning rate of Adam, at the start; it falls to zero along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:1502.03509"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "fvsbn": {"layers": 0, "direct": True, "lr": 1.5e-2},
        "made-agnostic": {"order": "random", "masks": 32},
    }
    tiny: ClassVar[dict[str, Any]] = {"shape": (1, 8, 8), "layers": 2, "width": 24, "masks": 2}
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 128, "ema": 0.999}
    hidden: Any  # a ModuleList of MaskedLinears
    ranks: Tensor
    degrees: Tensor

    likelihood: str
    """"exact", or the exact likelihood of the mixture over mask sets."""

    def __init__(
        self,
        shape: tuple[int, ...] = (1, 28, 28),
        *,
        levels: GreyLevels = 256,
        layers: Annotated[int, Field(ge=0, le=16)] = 2,
        width: Annotated[int, Field(ge=1, le=65536)] = 1000,
        direct: bool = False,
        order: Literal["raster", "random"] = "raster",
        masks: Annotated[int, Field(ge=1, le=1024)] = 1,
        components: Annotated[int, Field(ge=1, le=256)] = 1,
        lr: Annotated[float, Field(gt=0, le=1)] = 4e-3,
    ) -> None:
        super().__init__()
        check_data(shape, "made")
        if not layers and not direct:
            raise UserError("layers=0 needs direct=true: else nothing connects inputs and outputs")
        self.shape, self.order, self.masks, self.lr = tuple(shape), order, masks, lr
        self.is_image, self.dims = len(shape) == 3, math.prod(shape)
        if not self.is_image:
            self.lacks = {
                "completes": "this model was trained on points; it completes images only",
                "predicts": "this model was trained on points; it tells the levels of images only",
            }
        elif masks > 1 or order == "random":
            self.lacks = {"predicts": "pixels have no one order here; train with order=raster and masks=1"}
        self.grid = Levels(levels)
        self.scale = scale_for(self.shape)
        self.likelihood = "exact" if masks == 1 else f"exact, of the mixture over {masks} mask sets"
        self.outputs = self.grid.outputs if self.is_image else 3 * components
        sizes = [self.dims, *[width] * layers]
        self.hidden = nn.ModuleList(MaskedLinear(a, b, gain=math.sqrt(2)) for a, b in itertools.pairwise(sizes))
        self.out = MaskedLinear(sizes[-1], self.dims * self.outputs) if layers else None
        self.direct = MaskedLinear(self.dims, self.dims * self.outputs, bias=not layers, gain=0.1) if direct else None
        self._draw_masks(layers, width)
        self._kept: tuple[object, list[Tensor]] = (None, [])

    def _draw_masks(self, layers: int, width: int) -> None:
        """Set the rank of each dimension, 1..D, and the degree of each hidden unit, at most D-1, for every mask set."""
        if self.order == "random":
            ranks = torch.stack([torch.randperm(self.dims) + 1 for _ in range(self.masks)])
        else:
            place = torch.arange(self.dims).view(-1, self.shape[0] if self.is_image else 1)  # a pixel's colours in turn
            ranks = (place.T.flatten() + 1).expand(self.masks, -1).clone()
        degrees = torch.zeros(self.masks, layers, width, dtype=torch.long)
        most = self.dims - 1
        for of_set in degrees:
            least = min(1, most)
            for row in of_set:
                row.copy_(torch.randint(least, most + 1, (width,)))
                least = int(row.min())
        # kept in the checkpoint: a model is worth nothing under other masks than it was trained with
        self.register_buffer("ranks", ranks)
        self.register_buffer("degrees", degrees)

    calibrating = property(points_unscaled)
    calibrate = calibrate_points
    finish_calibration = finish_points_calibration

    optimizers = one_adam  # the paper: Adagrad or Adadelta
    lr_scale = half_cosine

    # ---- the density -----------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Logs:
        """Return nats per example under one mask set, picked at random; for images also bits per dimension."""
        x = self._inputs(batch["image" if self.is_image else "points"])
        which = int(torch.randint(self.masks, ())) if self.masks > 1 else 0
        nats = -self._log_mass(x, which).mean()
        if not self.is_image:
            return {"loss": nats}
        return {"loss": nats, "bits_per_dim": nats.detach() / (self.dims * math.log(2))}

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return log p(x) in nats, exact, [B]: the mass of images in [-1, 1], the density of points; `generator` is not used.

        With several mask sets it is that of their equal mixture, log 1/M Σ_m p_m(x).
        """
        x = self._inputs(x)
        every = torch.stack([self._log_mass(x, which) for which in range(self.masks)])
        return every.logsumexp(0) - math.log(self.masks)

    prediction: ClassVar[str] = raster.LEVELS

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return log p of every grey level of every pixel and colour given those before it, float32 [B, C, H, W, levels], in one pass.

        Raises:
            UserError: The model is of points, or of several orders.
        """
        if "predicts" in self.lacks:
            raise UserError(self.lacks["predicts"])
        return self.grid.normalize(self(self._inputs(x), self._masks(0))).unflatten(1, self.shape)

    def forward(self, x: Tensor, masks: list[Tensor]) -> Tensor:
        """Map inputs [B, D], values in [-1, 1] or scaled coordinates, to the outputs of every conditional, [B, D, K]."""
        h = x
        for layer, mask in zip(self.hidden, masks, strict=False):
            h = torch.relu(layer(h, mask))
        out: Any = self.out(h, masks[len(self.hidden)]) if self.out is not None else 0
        if self.direct is not None:
            out = out + self.direct(x, masks[-1])
        return out.unflatten(1, (self.dims, self.outputs))

    def masks_of(self, ranks: Tensor, degrees: Tensor) -> list[Tensor]:
        """Return the masks of the hidden layers, of the output layer and of the direct connections, as far as there are any.

        Args:
            ranks: Place in the order of each dimension, 1..D, int64 [D].
            degrees: How many leading dimensions each hidden unit may see, int64 [layers, width].
        """
        found, seen, dtype = [], ranks, self._first.weight.dtype
        for degree in degrees:
            found.append((degree[:, None] >= seen[None]).to(dtype))
            seen = degree
        rows = ranks.repeat_interleave(self.outputs)[:, None]
        ends = [seen] * (self.out is not None) + [ranks] * (self.direct is not None)
        return found + [(rows > end[None]).to(dtype) for end in ends]

    def _masks(self, which: int) -> list[Tensor]:
        """Return the masks of a mask set. Of a single set they are kept: making them anew would take a third of a step."""
        weight = self._first.weight
        key = (which, self.ranks._version, self.degrees._version, weight.device, weight.dtype)
        if self._kept[0] != key or self.masks > 1:  # loading a checkpoint writes other degrees, with a new version
            self._kept = key, self.masks_of(self.ranks[which], self.degrees[which])
        return self._kept[1]

    def _log_mass(self, x: Tensor, which: int) -> Tensor:
        out = self(x, self._masks(which))
        if not self.is_image:
            mean, log_std, log_weight = self._gaussians(out)
            z = (x[..., None] - mean) * torch.exp(-log_std)
            each = log_weight - log_std - 0.5 * z.square() - 0.5 * math.log(2 * math.pi)
            return each.logsumexp(-1).sum(1) + self.scale.log_det()
        return self.grid.select(out, self.grid.tokens(x)).sum(1)

    def _gaussians(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the means, log standard deviations and log-weights, each [..., components], in float32 under any autocast."""
        mean, log_std, weight = (out if out.dtype == torch.float64 else out.float()).chunk(3, -1)
        return mean, log_std.clamp(min=NARROWEST), weight.log_softmax(-1)

    def _inputs(self, x: Tensor) -> Tensor:
        """Return what the network reads, [B, D]: the values of an image's levels, or the coordinates in units of their deviations."""
        if self.is_image:
            check_images(x, self.shape)
            x = self.grid.values(self.grid.tokens(x))
        elif x.ndim != 2 or x.shape[1] != self.dims:
            raise UserError(f"points of shape {tuple(x.shape)} were given; this model takes [B, {self.dims}]")
        return self.scale(x.flatten(1))[0].to(self._first.weight.dtype)

    @property
    def _first(self) -> MaskedLinear:
        first: MaskedLinear = [*self.hidden, self.direct][0]
        return first

    # ---- drawing ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Draw `n` examples, dimension by dimension, each under a mask set that is drawn as well.

        Args:
            n: How many.
            generator: All the randomness.
            temperature: Divides the logits (points: multiplies the widths); below 1 likelier, above 1 more varied.
            cached: Compute each hidden unit once, when what it sees is complete; false: a whole pass for every dimension.
        """
        x = torch.zeros(n, self.dims, device=self.device, dtype=self._first.weight.dtype)
        which = draws.randint(self.masks, n, generator=generator, device=self.device)
        uniform = draws.rand(*x.shape, 2, generator=generator, device=x.device)
        known = torch.zeros_like(x, dtype=torch.bool)
        for m in which.unique().tolist():
            rows = which == m
            orders = self.ranks[m], self.degrees[m]
            x[rows] = self._ancestral(x[rows], known[rows], *orders, uniform[rows], temperature, cached)
        return self.scale.inverse(x).view(n, *self.shape).float()

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        generator: Generator,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Draw the pixels where `known` is False; known ones stay.

        With `order=random` a new order is drawn in which the known pixels come first, so that every drawn pixel sees all
        of them wherever they are: what order-agnostic training is for (section 4.2). With `order=raster` a drawn pixel
        sees the known pixels before it only. One mask set is drawn for each image.

        Args:
            x: Images [B, C, H, W] in [-1, 1]; what stands at unknown pixels is not read.
            known: Which pixels to keep, bool [B, 1, H, W].
            generator: All the randomness.
            temperature: As in `sample`.
            cached: As in `sample`.
        """
        if "completes" in self.lacks:
            raise UserError(f"complete: {self.lacks['completes']}")
        check_images(x, self.shape)
        check_known(known, x)
        x, known = x.to(self.device), known.to(self.device)
        keep = known.expand_as(x).flatten(1)
        filled = torch.where(keep, self._inputs(x), 0)
        which = draws.randint(self.masks, x.shape[0], generator=generator, device=self.device)
        tie = torch.rand(self.dims, generator=generator, device=self.device)
        uniform = draws.rand(*keep.shape, 2, generator=generator, device=self.device)
        kinds, kind = torch.unique(keep, dim=0, return_inverse=True)
        for m, k in torch.stack([which, kind], 1).unique(dim=0).tolist():
            rows = (which == m) & (kind == k)
            ranks = self.ranks[m]
            if self.order == "random":
                ranks = (tie + ~kinds[k]).argsort().argsort() + 1
            orders = ranks, self.degrees[m]
            filled[rows] = self._ancestral(filled[rows], keep[rows], *orders, uniform[rows], temperature, cached)
        return torch.where(known, x.float(), filled.view(x.shape).float())

    def _ancestral(
        self,
        x: Tensor,
        known: Tensor,
        ranks: Tensor,
        degrees: Tensor,
        uniform: Tensor,
        temperature: float,
        cached: bool,
    ) -> Tensor:
        """Fill in the unknown values of `x` [B, D] in the order of `ranks`, under one mask set, by uniform numbers [B, D, 2]."""
        check_temperature(temperature)
        order = ranks.argsort()
        given, some = (at.tolist() for at in (known.all(0)[order], known.any(0)[order]))
        with torch.autocast(x.device.type, enabled=False), torch.inference_mode():
            if cached:
                return self._walked(x, known, order, degrees, uniform, temperature, given, some)
            masks = self.masks_of(ranks, degrees)
            for t, d in enumerate(order.tolist()):
                if not given[t]:
                    drawn = self._choose(self(x, masks)[:, d], uniform[:, d], temperature)
                    x[:, d] = torch.where(known[:, d], x[:, d], drawn) if some[t] else drawn
        return x

    def _walked(
        self,
        x: Tensor,
        known: Tensor,
        order: Tensor,
        degrees: Tensor,
        uniform: Tensor,
        temperature: float,
        given: list[bool],
        some: list[bool],
    ) -> Tensor:
        columns, kept = (each[:, order].T[..., None] for each in (x, known))
        numbers, shift = uniform[:, order].transpose(0, 1).contiguous(), None
        binary, one = self.is_image and self.grid.levels == 2, x.new_ones(())
        if binary:  # of a logit z: u >= σ(-z / T) where z + T · log(u / (1 - u)) >= 0
            shift = (torch.logit(numbers[..., 0]) * temperature).to(x.dtype).T
        walk = MaskedWalk(self, order, degrees, len(x), shift)
        for t, place in enumerate(walk.places):
            walk.go_on()
            if given[t]:
                place.copy_(columns[t])
                continue
            out = walk.outputs()
            if binary and not some[t]:
                torch.copysign(one, out, out=place)
                continue
            drawn = torch.copysign(one, out) if binary else self._choose(out, numbers[t], temperature)[:, None]
            place.copy_(torch.where(kept[t], columns[t], drawn) if some[t] else drawn)
        return x.index_copy_(1, order, walk.seen)

    def _choose(self, out: Tensor, uniform: Tensor, temperature: float) -> Tensor:
        """Return a draw, [B], from conditionals with outputs [B, K], by uniform numbers [B, 2]."""
        if self.is_image:
            return self.grid.draw(out, uniform[:, 0], temperature)
        mean, log_std, log_weight = self._gaussians(out)
        one = pick(uniform[:, 0], log_weight)[:, None]
        noise = torch.special.ndtri(uniform[:, 1:].clamp(1e-7, 1 - 1e-7)) * temperature
        return (mean.gather(-1, one) + noise * log_std.gather(-1, one).exp()).squeeze(-1)
