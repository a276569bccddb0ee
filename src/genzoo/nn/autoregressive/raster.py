"""Discrete images, level by level: what a network reads, the probability that it states, and drawing in raster order.

Shapes: images are [B, C, H, W]; *tokens* are the level of each pixel and colour, int64 in 0..levels-1; a *column* is all
features of one pixel, [B, C].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from genzoo.losses.likelihoods import pick
from genzoo.nn import draws
from genzoo.nn.autoregressive.lines import Walk

CACHED = 2**18
"""Numbers that a processor's core keeps near: softmaxes are taken over so many at a time."""


class _Chosen(torch.autograd.Function):
    """The log-probability of one level under logits, without a tensor of the size of the logits in float32.

    Of 256 levels such tensors are the largest of a step, and on a CPU they would take most of its time. So a part is normalized at a time, and
    once more on the way back, where the gradient is the chosen level's one minus the probabilities.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor) -> Tensor:
        """Return log p(token), [...], of logits [..., levels] and tokens [...]."""
        ctx.save_for_backward(logits, tokens)
        parts = (log_p.gather(-1, one) for log_p, one in _parts(logits, tokens))
        return torch.cat(list(parts)).view(tokens.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the logits, in their type and layout."""
        logits, tokens = ctx.saved_tensors
        found, rows = torch.empty_like(logits, memory_format=torch.contiguous_format), grad.reshape(-1, 1)
        into, at = found.view(-1, logits.shape[-1]), 0
        for log_p, one in _parts(logits, tokens):
            end = at + log_p.shape[0]
            p = log_p.exp_().mul_(-rows[at:end])
            into[at:end] = p.scatter_add_(-1, one, rows[at:end])
            at = end
        return found, None


def _parts(logits: Tensor, tokens: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Go over log-probabilities [n, levels] and tokens [n, 1] in parts, whose memory may be written to."""
    rows, chosen = logits.reshape(-1, logits.shape[-1]), tokens.reshape(-1, 1)
    size = max(1, CACHED // rows.shape[1]) if logits.device.type == "cpu" else max(1, rows.shape[0])
    for part, one in zip(rows.split(size), chosen.split(size), strict=True):
        yield (part if part.dtype == torch.float64 else part.float()).log_softmax(-1), one


@dataclass(frozen=True)
class Levels:
    """The grid of grey levels: an independent softmax over it for each pixel and colour.

    Args:
        levels: Number of grey levels, a power of two of at most 256.
        colours: Channels of an image.
    """

    levels: int
    colours: int = 1

    @property
    def outputs(self) -> int:
        """Return the network outputs for one pixel's colour: two levels need one logit only; the other's is fixed at zero."""
        return 1 if self.levels == 2 else self.levels

    def tokens(self, x: Tensor) -> Tensor:
        """Return the level of each pixel and colour, int64 in 0..levels-1, from values in [-1, 1]."""
        grey = ((x.float() + 1) * 127.5).round().clamp(0, 255)
        return (grey * (self.levels / 256)).floor().long()

    def values(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the value in [-1, 1] of each level: what a network reads."""
        return (tokens * (2 / (self.levels - 1)) - 1).to(dtype)

    def normalize(self, logits: Tensor) -> Tensor:
        """Return log-probabilities [..., levels] from logits [..., outputs], in float32 under any autocast."""
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.levels == 2:
            logits = torch.cat([torch.zeros_like(logits), logits], -1)
        return logits.log_softmax(-1)

    def log_probs(self, out: Tensor) -> Tensor:
        """Return log-probabilities [B, ..., C, levels] from network outputs [B, C·outputs, ...]."""
        # levels come last because there they are neighbours in memory: over another axis the softmax takes twice as long
        return self.normalize(out.movedim(1, -1).unflatten(-1, (self.colours, self.outputs)))

    def select(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Return the log-probability of tokens [...] under logits [..., outputs], in float32 under any autocast."""
        if self.levels == 2:  # log σ(±logit): the same as the softmax over two, and several times as fast
            logits = logits[..., 0] if logits.dtype == torch.float64 else logits[..., 0].float()
            return F.logsigmoid(logits * (2 * tokens - 1))
        found: Tensor = _Chosen.apply(logits, tokens)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
        return found

    def log_mass(self, out: Tensor, tokens: Tensor) -> Tensor:
        """Return the log-probability of each token, [B, H, W, C], from outputs [B, C·outputs, H, W] and tokens [B, C, H, W]."""
        return self.select(out.movedim(1, -1).unflatten(-1, (self.colours, self.outputs)), tokens.movedim(1, -1))

    def pick(self, log_p: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the token at which the cumulative distribution of log-probabilities [..., levels] passes `uniform` [...]."""
        return pick(uniform, log_p, temperature)

    def draw(self, logits: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the values drawn from logits [..., outputs] by uniform numbers [...]: `values` of `pick`."""
        if self.levels == 2:  # the softmax over two is σ, and a third of the operations
            logit = logits[..., 0] if temperature == 1 else logits[..., 0] / temperature
            return (uniform >= torch.sigmoid(-logit)).to(logit.dtype) * 2 - 1
        return self.values(self.pick(self.normalize(logits), uniform, temperature))

    def pick_value(self, out: Tensor, colour: int, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """Return the value drawn for one colour, [B], from one pixel's outputs [B, C·outputs]."""
        first = colour * self.outputs
        return self.draw(out[:, first : first + self.outputs], uniform, temperature)


Fill = Callable[..., Tensor]
"""Takes images, known pixels, uniform numbers (and whatever else goes with each image) and returns the filled images."""


@torch.no_grad()
def draw_in_chunks(fill: Fill, x: Tensor, known: Tensor, *more: Tensor, generator: Generator, chunk: int) -> Tensor:
    """Fill the unknown pixels of `x`, `chunk` images at a time, float32 like `x`; autocast is off.

    One uniform number is drawn for each decision, by its place: neither known pixels, nor the chunk, nor the way of
    computing shift anybody else's.

    Args:
        fill: What fills a part.
        x: Images [B, C, H, W]; zero where not known.
        known: bool [B, 1, H, W].
        more: Further tensors with one row for each image.
        generator: All the randomness.
        chunk: Images filled together.
    """
    uniform = draws.rand(*x.shape, generator=generator, device=x.device)
    with torch.autocast(x.device.type, enabled=False):
        parts = zip(*(t.split(chunk) for t in (x, known, uniform, *more)), strict=True)
        return torch.cat([fill(*part) for part in parts]).float()


def fill_in_raster_order(
    predict: Callable[[Tensor], Tensor],
    walk: Callable[[int, int], Walk] | None,
    choose: Callable[[Tensor, int, Tensor], Tensor],
    x: Tensor,
    known: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Draw the unknown pixels of `x` in place, row by row, pixel by pixel, colour by colour; return `x`.

    Args:
        predict: Maps images [B, C, H, W] to outputs [B, C·K, H, W].
        walk: Makes a walk over so many images of this width, which computes what `predict` does; None: a whole pass for every pixel and colour.
        choose: Maps one pixel's outputs [B, C·K], the colour and uniform numbers [B] to values [B].
        x: Images [B, C, H, W].
        known: Pixels to keep, bool [B, 1, H, W].
        uniform: One number for each pixel and colour, like `x`.
    """
    if not len(x):
        return x
    colours, height, width = x.shape[1:]
    given, some = known.all(0)[0].tolist(), known.any(0)[0].tolist()
    # what is written is memory of our own: only inside is it free of what autograd would have to know
    with torch.inference_mode():
        pixels = x.permute(2, 0, 3, 1).contiguous()  # [H, B, W, C]
        numbers = uniform.permute(2, 3, 1, 0).flatten(0, 2).contiguous().unbind()
        kept = known[:, 0].permute(1, 2, 0)
        on = walk(x.shape[0], width) if walk is not None else None
        for row in range(height):
            if on is not None:
                on.begin(row)
                on.row[:, :width] = pixels[row]
            line = on.row if on is not None else pixels[row]
            values = line[:, :width].permute(1, 2, 0).flatten(0, 1).unbind()
            for col in range(width):
                for c in range(colours):
                    if given[row][col]:
                        break
                    out = on.at(col) if on is not None else predict(pixels.permute(1, 3, 0, 2))[:, :, row, col]
                    value, at = values[col * colours + c], (row * width + col) * colours + c
                    drawn = choose(out, c, numbers[at])
                    value.copy_(torch.where(kept[row, col], value, drawn) if some[row][col] else drawn)
                if on is not None and given[row][col]:
                    on.at(col)
            pixels[row] = line[:, :width]
    return x.copy_(pixels.permute(1, 3, 0, 2))
