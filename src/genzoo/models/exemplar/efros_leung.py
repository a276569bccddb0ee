"""Texture by non-parametric sampling: every new pixel is copied from where the exemplar looks most like its surroundings."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.nn import draws
from genzoo.nn.checks import check_known
from genzoo.nn.dequantize import level_index

_CHUNK = 2**24
"""Entries of the patch matrix that are turned into float64 at a time (128 MiB); one that has no more is kept so."""


class EfrosLeung(System):
    """Efros and Leung's texture synthesis and constrained synthesis (ICCV 1999).

    A 3×3 piece of the exemplar is the seed. Layer by layer, the empty pixels that touch filled ones are visited, those with
    most filled pixels in their window first, ties at random. A visited pixel compares its window, as it is at that moment,
    with every window of the exemplar: squared differences over the filled pixels and all channels, weighted by a Gaussian of
    σ = window / 6.4 and divided by the sum of the weights. One of the windows within (1 + error_threshold) of the best is
    taken at random and its centre copied, if its error is at most a limit that starts at max_error_threshold and grows by
    1.1 after a layer without progress.

    The distances of a whole layer are two matrix products; pixels that the layer itself fills are added as they come, so the
    order of the paper is kept. Grey levels are whole numbers and the Gaussian is rounded to multiples of 2⁻¹⁶, hence every
    sum is exact in float64 and the result is the same to the last pixel as that of a plain loop, on any device.

    `complete` fills holes by the same rule and copies from the image's own fully known windows.

    Args:
        shape: (C, H, W) of the exemplar.
        window: Side of the window, odd: as large as the largest regular feature of the texture.
        error_threshold: How much worse than the best match a match may be.
        max_error_threshold: First limit on the mean squared difference of a match, pixels in [0, 1].
        index: Which image of the data is the exemplar, from 0.
    """

    paper: ClassVar[str] = "doi:10.1109/ICCV.1999.790383"
    data: ClassVar[str] = "exemplar"
    presets: ClassVar = {"efros-leung-wide": {"window": 23}}
    tiny: ClassVar = {"shape": (3, 12, 12), "window": 5}
    defaults: ClassVar = {"steps": 1, "batch": 1}
    exemplar: Tensor
    seen: Tensor
    fitted: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 64, 64),
        *,
        window: Annotated[int, Field(ge=3, le=99)] = 11,
        error_threshold: Annotated[float, Field(ge=0, le=10)] = 0.1,
        max_error_threshold: Annotated[float, Field(gt=0, le=1)] = 0.3,
        index: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__()
        if window % 2 == 0:
            raise UserError(f"efros-leung: window={window} must be odd, for example {window + 1}")
        if min(shape) < 1 or min(shape[1:]) < window:
            raise UserError(
                f"efros-leung: window={window} does not fit into shape={tuple(shape)}; give a smaller window"
            )
        self.shape, self.window, self.index = tuple(shape), window, index
        self.error_threshold, self.max_error_threshold = error_threshold, max_error_threshold
        self.register_buffer("exemplar", torch.zeros(shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    # ---- keeping the exemplar ------------------------------------------------------------------------------------------

    @property
    def converged(self) -> bool:
        """Tell whether the exemplar is kept."""
        return bool(self.fitted)

    @torch.no_grad()
    def partial_fit(self, batch: Batch) -> None:
        """Keep the image number `index` of the pass."""
        images, position = batch["image"], self.index - int(self.seen)
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(f"efros-leung: this model is of shape {self.shape}, the data are {tuple(images.shape[1:])}")
        if 0 <= position < len(images):
            self.exemplar.copy_(images[position])
        self.seen += len(images)

    @torch.no_grad()
    def finish_pass(self) -> Logs:
        """Check that there was such an image."""
        if int(self.seen) <= self.index:
            raise UserError(f"efros-leung: index={self.index}, but the data have {int(self.seen)} images; count from 0")
        self.seen.zero_()
        self.fitted.fill_(True)
        return {"windows": torch.tensor(math.prod(side - self.window + 1 for side in self.shape[1:]))}

    # ---- synthesis -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, *, generator: Generator, size: Annotated[int, Field(ge=3)] | None = None) -> Tensor:
        """Grow `n` textures from a seed in the middle.

        Args:
            n: Number of textures.
            generator: Source of all randomness.
            size: Side of the square to grow; the exemplar's own height and width by default.

        Returns:
            [n, C, H, W] in [-1, 1]; every pixel is one of the exemplar's.
        """
        channels, height, width = self.shape if size is None else (self.shape[0], size, size)
        source = _Source(self.exemplar, self.window)
        empty = torch.zeros(channels, height, width, device=self.device)
        nothing = torch.zeros(height, width, dtype=torch.bool)
        return torch.stack([self._fill(empty, nothing, source, own) for own in draws.each(generator, n)])

    @torch.no_grad()
    def complete(
        self, x: Tensor, known: Tensor, *, generator: Generator, source: Literal["image", "exemplar"] = "image"
    ) -> Tensor:
        """Fill holes by constrained synthesis; known pixels are unchanged.

        Args:
            x: Images, [B, C, H, W] in [-1, 1]; what stands in the holes is ignored.
            known: True where a pixel is kept, [B, 1, H, W] bool.
            generator: Source of all randomness.
            source: Copy from the fully known windows of the image itself, where there are any, or from the exemplar.

        Returns:
            [B, C, H, W] in [-1, 1].
        """
        if x.ndim != 4 or x.shape[1] != self.shape[0]:
            raise UserError(f"efros-leung: complete takes [B, {self.shape[0]}, H, W], not {tuple(x.shape)}")
        check_known(known, x)
        stored = _Source(self.exemplar, self.window)
        filled = []
        for image, keep, drawn in zip(x, known[:, 0], draws.each(generator, len(x)), strict=True):
            own = _Source(image, self.window, keep) if source == "image" and min(keep.shape) >= self.window else None
            usable = own if own is not None and own.count else stored
            filled.append(self._fill(image, keep, usable, drawn))
        return torch.stack(filled)

    def _fill(self, image: Tensor, known: Tensor, source: _Source, generator: Generator) -> Tensor:
        """Fill the unknown pixels of one image, [C, H, W]."""
        w, half = self.window, self.window // 2
        _, height, width = image.shape
        filled = np.pad(known.cpu().numpy(), half)
        # Grey levels with a margin of unknown pixels, and where each pixel comes from: index of the source pixel, or -1.
        levels = np.pad(level_index(image, 256).cpu().numpy(), ((0, 0), (half, half), (half, half)))
        levels = np.where(filled, levels, 0).astype(np.int64)
        origin = np.full(filled.shape, -1)
        if not filled.any():
            self._seed(levels, filled, origin, source, generator)
        windows, masks = sliding_window_view(levels, (w, w), (1, 2)), sliding_window_view(filled, (w, w))
        inside = np.zeros_like(filled)
        inside[half : half + height, half : half + width] = True
        limit = self.max_error_threshold
        while len(layer := _frontier(filled, inside, w, generator)):
            picks = torch.rand(len(layer), generator=generator, device=generator.device, dtype=torch.float64).tolist()
            corners = layer - half
            at = tuple(corners.T)
            scores, totals = source.distances(windows[:, *at].swapaxes(0, 1), masks[at])
            added, colours = np.empty_like(layer), np.empty((len(layer), len(levels)), np.float32)
            new = 0  # pixels that this layer has filled: the first rows of both
            for position, corner, score, total, pick in zip(layer, corners, scores, totals, picks, strict=True):
                offset = added[:new] - corner
                near = ((offset >= 0) & (offset < w)).all(1)
                total += source.refine(score, offset[near], colours[:new][near])
                candidates = (score <= score.min() * (1 + self.error_threshold)).nonzero()[0]
                choice = candidates[int(pick * len(candidates))]
                if score[choice] <= limit * total * len(levels) * 255**2:
                    y, x = added[new] = position
                    levels[:, y, x] = colours[new] = source.centres[choice]
                    origin[y, x], filled[y, x] = source.positions[choice], True
                    new += 1
            if not new:
                limit *= 1.1
        place = torch.from_numpy(origin[half : half + height, half : half + width]).to(image.device)
        copied = source.pixels[:, place.clamp_min(0)]
        return torch.where(place >= 0, copied, image)

    def _seed(
        self, levels: np.ndarray, filled: np.ndarray, origin: np.ndarray, source: _Source, generator: Generator
    ) -> None:
        """Copy 3×3 pixels of the exemplar into the middle (fewer where the image or the exemplar is smaller)."""
        w = source.weights.shape[0]
        rows, columns = (min(3, side - 2 * (w // 2)) for side in filled.shape)
        pick = int(torch.randint(source.count, (), generator=generator, device=generator.device))
        corner = source.positions[pick] - (
            source.width + 1
        )  # a window has at least 3×3 pixels: its centre has neighbours
        top, left = (filled.shape[0] - rows) // 2, (filled.shape[1] - columns) // 2
        block = corner + np.arange(rows)[:, None] * source.width + np.arange(columns)
        area = (slice(top, top + rows), slice(left, left + columns))
        levels[:, *area] = source.levels[:, block]
        origin[area], filled[area] = block, True


class _Source:
    """All windows to copy from, and their distances to windows that are partly filled.

    Args:
        image: [C, H, W] in [-1, 1].
        window: Side of the windows.
        known: [H, W] bool; only fully known windows are used. None: all are known.
    """

    def __init__(self, image: Tensor, window: int, known: Tensor | None = None) -> None:
        channels, height, self.width = image.shape
        half = window // 2
        self.pixels, self.device = image.reshape(channels, -1), image.device
        self.levels = level_index(self.pixels, 256).cpu().numpy().astype(np.int64)
        line = np.exp(-0.5 * ((np.arange(window) - half) / (window / 6.4)) ** 2)
        self.weights = np.maximum(1, np.rint(np.outer(line, line) * 2**16)).astype(np.int64)
        position = torch.arange(height * self.width).view(height, self.width)[
            half : height - half, half : self.width - half
        ]
        use = torch.ones(position.shape, dtype=torch.bool)
        if known is not None:
            blocked = torch.nn.functional.max_pool2d((~known.cpu())[None, None].float(), window, stride=1)
            use = blocked[0, 0] == 0
        self.positions = position[use].numpy()
        self.count = len(self.positions)
        self.centres = self.levels[:, self.positions].T.copy()
        grey = torch.from_numpy(self.levels.astype(np.uint8)).view(channels, height, self.width)
        views = grey.unfold(1, window, 1).unfold(2, window, 1)[:, use]  # [C, P, w, w]
        patches = views.permute(2, 3, 0, 1).reshape(window * window, channels, self.count)
        self.host = patches.numpy()  # [w², C, P] uint8
        self.patches = patches.to(self.device)
        columns = max(1, _CHUNK // (window * window * (channels + 1)))
        self.starts = range(0, self.count, columns)
        self.kept = self._columns(0) if len(self.starts) == 1 else None

    def _columns(self, start: int) -> Tensor:
        """Return grey levels and, summed over channels, their squares for a chunk of windows, [w²·(C + 1), P] float64."""
        e = self.patches[:, :, start : start + self.starts.step].double()
        return torch.cat([e, e.square().sum(1, keepdim=True)], 1).flatten(0, 1)

    def distances(self, levels: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compare windows, [F, C, w, w] with masks [F, w, w], with the source.

        Σ m g (e − t)² = Σ m g e² − 2 Σ m g t e + Σ m g t², all whole numbers below 2⁵³, so no order of summing matters.

        Returns:
            The weighted sums of squared differences, [F, P], and the sums of the weights, [F].
        """
        gates = (masks * self.weights).reshape(len(masks), -1, 1).astype(np.float64)  # [F, w², 1]
        targets = levels.reshape(*levels.shape[:2], -1).swapaxes(1, 2)  # [F, w², C]
        constant = (gates * targets**2).sum((1, 2))
        left = torch.from_numpy(np.concatenate([-2 * gates * targets, gates], 2)).to(self.device).flatten(1)
        parts = [left @ (self._columns(start) if self.kept is None else self.kept) for start in self.starts]
        return torch.cat(parts, 1).cpu().numpy() + constant[:, None], gates.sum((1, 2))

    def refine(self, score: np.ndarray, offsets: np.ndarray, colours: np.ndarray) -> float:
        """Add newly filled pixels to one pixel's distances, in place, and return the sum of their weights.

        Args:
            score: Distances, [P].
            offsets: Window positions of the new pixels, [M, 2].
            colours: Their grey levels, [M, C] float32, which holds their squares, and sums over 258 channels, exactly.
        """
        if not len(offsets):
            return 0.0
        rows = offsets @ (len(self.weights), 1)
        weights = self.weights.ravel()[rows].astype(np.float64)
        difference = self.host[rows] - colours[:, :, None]  # [M, C, P]
        difference *= difference
        score += weights @ difference.sum(1)
        return weights.sum()


def _frontier(filled: np.ndarray, inside: np.ndarray, window: int, generator: Generator) -> np.ndarray:
    """Return the empty pixels next to filled ones, [F, 2], those with most filled pixels in their window first, ties at random."""
    around = filled.copy()
    around[1:] |= filled[:-1]
    around[:-1] |= filled[1:]
    around[:, 1:] |= around[:, :-1].copy()
    around[:, :-1] |= around[:, 1:].copy()
    layer = np.argwhere(around & inside & ~filled)
    if not len(layer):
        return layer
    table = np.pad(filled.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    half = window // 2
    (top, left), (bottom, right) = layer.T - half, layer.T + half + 1
    count = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
    ties = torch.rand(len(layer), generator=generator, device=generator.device, dtype=torch.float64).cpu().numpy()
    return layer[np.lexsort((ties, -count))]
