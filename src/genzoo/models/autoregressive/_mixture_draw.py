"""Pixels drawn from mixtures of logistics in few operations, for walks that draw one at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genzoo.models.autoregressive._shifted_walk import laid, of


class PixelDraw:
    """The last layer, and pixels drawn from its mixtures as `losses.likelihoods.draw_coupled` draws them, in few operations.

    Values are counted in levels from the lowest, so that a colour is rounded and bounded in two operations; what that asks of means is left to the
    layer's weights.

    Args:
        layer: The last layer.
        numbers: Numbers of a component: logits, means, log-scales, couplings.
        levels: Grey levels.
        least: Least log-scale.
        temperature: Divides the logits and multiplies the scales.
        batch: Images.
        like: Device and precision.
    """

    def __init__(
        self,
        layer: Any,
        numbers: tuple[int, int, int, int],
        levels: int,
        least: float,
        temperature: float,
        batch: int,
        like: Tensor,
    ) -> None:
        _, colours, _, pairs = numbers
        self.top, self.half, self.least, self.temperature = levels - 1, (levels - 1) / 2, least, temperature
        kernel, bias = of(layer, like)
        # component by component, [features + bias, K, numbers]
        weight = torch.cat([kernel[:, :, 0, 0].T, bias[None]]).unflatten(1, (sum(numbers), -1)).transpose(1, 2)
        logits, mean, log_scale, coupling = (part.clone() for part in weight.split(numbers, 2))
        mean[-1] += 1
        every = torch.cat([logits / temperature, mean * self.half, log_scale, coupling], 2).flatten(1)
        self.weight, self.bias = laid(every[:-1]), every[-1].contiguous()
        self.outputs = like.new_empty(batch, len(self.bias))
        mixture = self.outputs.view(batch, -1, sum(numbers))
        self.components, self.logits, self.last = mixture.flatten(0, 1), mixture[..., 0], mixture.shape[1] - 1
        # log of the sum of the first components' probabilities: one is chosen where a number passes it
        self.sums = torch.empty_like(self.logits, memory_format=torch.contiguous_format)
        self.end = self.sums[:, -1:]
        self.found = like.new_empty(batch, sum(numbers))
        _, self.mean, self.log_scale, self.coupling = self.found.split(numbers, 1)
        self.first = torch.arange(batch, device=like.device)[:, None] * mixture.shape[1]
        # couplings act on values around the middle
        self.centre, first = like.new_zeros(pairs, colours), 0
        for c in range(colours):
            self.centre[first : first + c, c] = -self.half
            first += c
        self.at = like.new_empty(batch, colours)
        columns, pairs_left = self.at.unbind(1), iter(self.coupling.unbind(1))
        self.colours = [
            (column, [(next(pairs_left), before) for before in columns[:c]]) for c, column in enumerate(columns)
        ]
        self.lowest = like.new_full((), -1.0)

    def ready(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Turn uniform numbers [..., 1 + C] into what draws read: of the component [..., 1], and of each colour [..., C]."""
        chosen, colours = uniform.split((1, uniform.shape[-1] - 1), -1)
        return chosen.log(), torch.logit(colours) * (self.temperature * self.half)

    def __call__(self, read: Tensor, chosen: Tensor, noise: Tensor) -> Tensor:
        """Return pixels [B, C] in [-1, 1] from what the layer reads, [B, width], and numbers from `ready`."""
        torch.addmm(self.bias, read, self.weight, out=self.outputs)
        torch.logcumsumexp(self.logits, 1, out=self.sums)
        # bounded, since in float32 the largest number may be that of the end
        component = torch.searchsorted(self.sums, chosen + self.end, right=True).clamp_(max=self.last)
        torch.index_select(self.components, 0, component.add_(self.first).view(-1), out=self.found)
        torch.addmm(self.mean, self.coupling.tanh_(), self.centre, out=self.at)
        self.at.addcmul_(self.log_scale.clamp_min_(self.least).exp_(), noise)
        for colour, couplings in self.colours:
            for coupling, before in couplings:
                colour.addcmul_(coupling, before)
            colour.round_().clamp_(0, self.top)
        return torch.add(self.lowest, self.at, alpha=1 / self.half)
