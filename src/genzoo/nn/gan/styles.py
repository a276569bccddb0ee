"""Styles of a style-based generator: the mapping from z to w, drawing and mixing styles, and what follows; methods are borrowed by name.

Such a system has a `Mapping` F, `layers` styles to an image, the running `mean` of w, and `_show(w, noise)`, the images of styles
[n, layers, latent] with each layer's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from genzoo.core.capabilities import Figure
from genzoo.core.errors import UserError
from genzoo.nn import draws
from genzoo.nn.gan.equalized import EqualLinear, pixel_norm
from genzoo.nn.gan.leaky import leaky_relu
from genzoo.nn.latent import draw_labels, one_hot

Noise = Callable[[Tensor, int], Tensor]
"""(a layer's fixed noise [1, 1, H, W], examples) to the noise that it adds, [examples or 1, 1, H, W]."""
Label = Annotated[int, Field(ge=0)] | None
Truncation = Annotated[float, Field(ge=-2, le=2)]
Cutoff = Annotated[int, Field(ge=0)] | None
DRAWS = 4096
"""Draws of z of which the mean of w at the start, and of each class, is taken."""
Mean = Literal["all", "class"]


class Mapping(nn.Module):
    """Normalized z (beside a normalized embedding of the class) through `depth` dense layers to w.

    Args:
        latent: Dimensions of z and w.
        depth: Dense layers.
        rate: Factor on their learning rate.
        classes: Number of classes, or 0.
        centred: Subtract the mean that w has at the start.
    """

    centre: Tensor

    def __init__(self, latent: int, depth: int, rate: float, classes: int, *, centred: bool = False) -> None:
        super().__init__()
        self.centred = centred
        if classes:
            self.embed = EqualLinear(classes, latent, gain=1.0)
        self.layers = nn.ModuleList(
            EqualLinear(latent * 2 if classes and not i else latent, latent, rate=rate) for i in range(depth)
        )
        if centred:
            self.register_buffer("centre", torch.zeros(latent))
            with torch.no_grad():
                y = torch.eye(classes)[torch.arange(DRAWS) % classes] if classes else None
                self.centre = self(torch.randn(DRAWS, latent), y).mean(0)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Return w [B, latent] of z [B, latent] and one-hot classes y."""
        x = pixel_norm(z) if y is None else torch.cat([pixel_norm(z), pixel_norm(self.embed(y).float())], 1)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x.float() - self.centre if self.centred else x.float()


# ---- training: _styles, _fresh -------------------------------------------------------------------------------------------------------


def mixed_styles(self: Any, n: int, y: Tensor | None, used: int) -> Tensor:
    """Draw w [n, layers, latent] as training does: mixed at a layer before `used` in a share of examples, and counted in the running mean."""
    first, second = self.F(self._draw(2 * n), None if y is None else y.repeat(2, 1)).chunk(2)
    self.mean.lerp_(first.detach().mean(0), 1 - self.mean_decay)
    cut = torch.randint(1, used, (n, 1, 1), device=self.device)
    cut = torch.where(torch.rand(n, 1, 1, device=self.device) < self.mixing, cut, used)
    return torch.where(torch.arange(self.layers, device=self.device)[:, None] < cut, first[:, None], second[:, None])


def fresh_noise(fixed: Tensor, n: int, generator: Generator | None = None) -> Tensor:
    """Draw noise for a layer and each of `n` examples, of the size of its `fixed` one."""
    return draws.randn(n, *fixed.shape[1:], device=fixed.device, generator=generator)


# ---- use: sample_prior, decode, sample, mix, figures --------------------------------------------------------------------------------------------


@torch.no_grad()
def sample_prior(
    self: Any,
    n: int,
    *,
    generator: Generator,
    label: Label = None,
    truncation: Truncation = 1.0,
    cutoff: Cutoff = None,
    toward: Mean = "all",
) -> Tensor:
    """Draw w: [n, latent], or a style for each layer [n, layers, latent] with a `cutoff`.

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        label: Class of all of them, where conditional; none draws a class for each, all equally likely.
        truncation: ψ of w' = mean + ψ (w - mean): 1 for all there is, below 1 for typical images, 0 for the mean one.
        cutoff: Truncate the first layers only, so many; none for all of them.
        toward: As in `sample`.
    """
    z, y = self._draw(n, generator), None
    if self.labels or label is not None:
        y = one_hot(self, draw_labels(self, n, label, generator))
    w = self.F(z, y)
    near: Tensor = (self.mean if toward == "all" else class_means(self, y)).lerp(w, truncation)
    if cutoff is None:
        return near
    return torch.where(torch.arange(self.layers, device=w.device)[:, None] < cutoff, near[:, None], w[:, None])


def class_means(self: Any, y: Tensor | None) -> Tensor:
    """Return the mean w of the class of each one-hot row y [n, labels], [n, latent], over `DRAWS` fixed draws of z.

    Raises:
        UserError: The system has no classes.
    """
    if y is None:
        raise UserError("toward=class needs a system that was trained with labels; this one has none: leave it out")
    z = self._draw(DRAWS, Generator(self.device).manual_seed(0))
    means = [self.F(z, row.expand(DRAWS, -1)).mean(0) for row in torch.eye(self.labels, device=y.device)]
    return torch.stack(means)[y.argmax(1)]


@torch.no_grad()
def decode(self: Any, z: Tensor) -> Tensor:
    """Return the images [n, C, H, W] in [-1, 1] of styles w [n, latent] or [n, layers, latent], with the noise that the system holds."""
    return _images(self, z, lambda fixed, n: fixed)


def _images(self: Any, w: Tensor, noise: Noise) -> Tensor:
    images: Tensor = self._show(w if w.ndim == 3 else w[:, None].expand(-1, self.layers, -1), noise)
    return images.clamp(-1, 1).contiguous()


@torch.no_grad()
def sample(
    self: Any,
    n: int,
    *,
    generator: Generator,
    label: Label = None,
    truncation: Truncation = 1.0,
    cutoff: Cutoff = None,
    toward: Mean = "all",
) -> Tensor:
    """Return `n` images [n, C, H, W] in [-1, 1].

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        label: Class of all of them, where conditional; none draws a class for each, all equally likely.
        truncation: ψ of w' = mean + ψ (w - mean): 1 for all there is, below 1 for typical images, 0 for the mean one.
        cutoff: Truncate the first layers only, so many; none for all of them.
        toward: The mean that truncation draws to: that of all w, or of the w of each image's own class, which keeps classes apart at a low
            truncation.
    """
    w = self.sample_prior(n, generator=generator, label=label, truncation=truncation, cutoff=cutoff, toward=toward)
    return _images(self, w, lambda fixed, n: fresh_noise(fixed, n, generator))


@torch.no_grad()
def mix(self: Any, taking: Tensor, given: Tensor, layers: Sequence[int]) -> Tensor:
    """Return the images [n, C, H, W] of styles `taking` with those of `layers` from `given`, each [n, latent] or [n, layers, latent].

    Raises:
        UserError: There are no such layers.
    """
    chosen = sorted(set(layers))
    if not chosen or not 0 <= chosen[0] <= chosen[-1] < self.layers:
        raise UserError(
            f"layers {', '.join(map(str, layers)) or 'of none'} are not possible; there are {self.layers}, counted from 0"
        )
    at = torch.zeros(self.layers, 1, dtype=torch.bool, device=taking.device)
    at[chosen] = True
    ours, theirs = (w if w.ndim == 3 else w[:, None] for w in (taking, given))
    images: Tensor = self.decode(torch.where(at, theirs, ours))
    return images


def _table(self: Any, given: Tensor, taking: Tensor, layers: Sequence[int]) -> Tensor:
    """Return the style-mixing table (figure 3), [(rows + 1) · (columns + 1), C, H, W], row by row; the corner is white."""
    inner = self.mix(taking.repeat(len(given), 1), given.repeat_interleave(len(taking), 0), layers)
    side, top = self.decode(given), self.decode(taking)
    below = torch.cat([side[:, None], inner.unflatten(0, (len(given), len(taking)))], 1).flatten(0, 1)
    return torch.cat([torch.ones_like(top[:1]), top, below])


def figures(
    self: Any,
    *,
    generator: Generator,
    rows: Annotated[int, Field(ge=1, le=64)] = 5,
    columns: Annotated[int, Field(ge=1, le=64)] = 8,
    truncation: Annotated[float, Field(ge=-2, le=2)] = 0.8,
) -> dict[str, Figure]:
    """Return tables of mixed styles (figure 3 of arXiv:1812.04948), for the coarse and for the fine layers.

    Args:
        self: The system.
        generator: Draws the images that are mixed, the same for both tables.
        rows: Images at the left, whose styles are taken.
        columns: Images at the top, which they are taken over to.
        truncation: As in `sample`.
    """
    half, found = self.layers // 2, {}
    given, taking = self.sample_prior(rows + columns, generator=generator, truncation=truncation).split([rows, columns])
    for name, first, last in (("coarse", 0, half), ("fine", half, self.layers)):
        table = _table(self, given, taking, range(first, last))
        words = (
            f"Styles of layers {first} to {last - 1} of {self.layers} from the image at the left, the others from the image at the top; "
            f"truncation {truncation:g}"
        )
        found[f"mixing-{name}"] = Figure(table, columns + 1, words)
    return found
