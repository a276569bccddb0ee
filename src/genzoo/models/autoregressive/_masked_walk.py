"""A masked dense network one dimension after another.

A hidden unit of degree m sees the first m dimensions, and is computed once, when they are there. Units are laid out by degree and dimensions by rank,
and the draw goes on in blocks of ranks: what is there before a block adds to all units and outputs of it in one product each, so that a unit's own
product is over what the block has drawn. What is not there yet is zero, which is what a mask makes of it. Sums are taken in another order than in a
parallel pass, so outputs are apart by rounding.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

BLOCK = 32
"""Ranks of a block."""
LARGE = 2**23
"""Numbers of a weight from which laying it out anew takes longer than all that is gained by it."""


class Source:
    """Numbers that layers read, in the order in which they come to be.

    Args:
        memory: [B, N], zero at first.
        counts: How many of them there are before step 0, 1, ..., [D + 1].
    """

    def __init__(self, memory: Tensor, counts: list[int]) -> None:
        self.memory, self.counts = memory, counts


class Layer:
    """A layer's outputs, step by step, each given what its sources hold at that step.

    Args:
        bias: By the order of the outputs, [outputs].
        ends: How many outputs there are before step 0, 1, ..., [D + 1].
        parts: Sources, and the weights from each by the orders of both, [inputs, outputs].
    """

    def __init__(self, bias: Tensor, ends: list[int], parts: list[tuple[Source, Tensor]]) -> None:
        self.bias, self.ends, self.parts = bias, ends, parts
        self.block: list[Any] = []

    def begin(self, first: int, last: int, shift: Tensor | None = None) -> None:
        """Find what is known of the outputs of a block of steps, `first` to before `last`; `shift`, [B, outputs], is added to all outputs."""
        start, stop = self.ends[first], self.ends[last]
        sizes = [b - a for a, b in itertools.pairwise(self.ends[first : last + 1])]
        known, products = self.bias[start:stop], []
        for source, weight in self.parts:
            before, after = source.counts[first], source.counts[last]
            known = torch.addmm(known, source.memory[:, :before], weight[:before, start:stop])
            products.append((source.memory[:, before:after], weight[before:after, start:stop].split(sizes, 1)))
        if shift is not None:
            known.add_(shift[:, start:stop])
        adds = known.split(sizes, 1)
        self.block = [
            (add, [(seen, each[i]) for seen, each in products]) if sizes[i] else None for i, add in enumerate(adds)
        ]

    def at(self, step: int) -> Tensor | None:
        """Return the outputs of a step counted from the block's first, [B, ...], or None where there are none."""
        found = self.block[step]
        if found is None:
            return None
        add, products = found
        for seen, weight in products:
            add = torch.addmm(add, seen, weight)
        return add


class MaskedWalk:
    """The walk of a MADE: call `go_on`, read `outputs` if they are wanted, and write the next of `places`, once for each dimension.

    Args:
        system: The network.
        order: The dimensions in the order in which they are drawn, int64 [D].
        degrees: How many dimensions each hidden unit sees, int64 [layers, width].
        batch: Examples.
        shift: Added to the outputs, by the order of the dimensions, [B, D · outputs].
    """

    def __init__(self, system: Any, order: Tensor, degrees: Tensor, batch: int, shift: Tensor | None = None) -> None:
        like, dims, outputs = system._first.weight, system.dims, system.outputs
        self.step, self.dims, self.shift = -1, dims, shift
        self.seen = like.new_zeros(batch, dims)
        """What was drawn, by the order of the dimensions."""
        self.places = self.seen.split(1, 1)
        pixels = Source(self.seen, list(range(dims + 1)))
        below, inputs = pixels, order
        self.hidden: list[tuple[Layer, list[Tensor]]] = []
        for layer, row in zip(system.hidden, degrees, strict=True):
            units = row.argsort()
            counts = [0, *row.bincount(minlength=dims).cumsum(0).tolist()]
            weight = layer.weight.detach().index_select(0, units).index_select(1, inputs).T
            found = Source(like.new_zeros(batch, len(row)), counts)
            places = list(found.memory.split([b - a for a, b in itertools.pairwise(counts)], 1))
            self.hidden.append((Layer(layer.bias.detach()[units], counts, [(below, weight)]), places))
            below, inputs = found, units
        ends = [(system.out, below, inputs)] * (system.out is not None)
        ends += [(system.direct, pixels, order)] * (system.direct is not None)
        biases = sum(layer.bias.detach() for layer, *_ in ends if layer.bias is not None).view(dims, outputs)
        weights = [layer.weight.detach().view(dims, outputs, -1) for layer, *_ in ends]
        self.last: Layer | None = None
        if sum(weight.numel() for weight in weights) < LARGE:
            parts = [
                (source, weight.index_select(0, order).flatten(0, 1).index_select(1, at).T)
                for weight, (_, source, at) in zip(weights, ends, strict=True)
            ]
            self.last = Layer(biases[order].flatten(), list(range(0, dims * outputs + 1, outputs)), parts)
        else:  # every number is read once, as it lies; what it meets is put into its order
            self.biases, self.order = biases.unbind(), order.tolist()
            self.ends = [
                (weight.mT.unbind(), source.memory, at.argsort())
                for weight, (_, source, at) in zip(weights, ends, strict=True)
            ]

    def go_on(self) -> None:
        """Begin the next dimension: compute the units that see all before it and no more."""
        self.step += 1
        now = self.step % BLOCK
        if now == 0:
            block = self.step, min(self.dims, self.step + BLOCK)
            for layer, _ in self.hidden:
                layer.begin(*block)
            if self.last is not None:
                self.last.begin(*block, self.shift)
        for layer, places in self.hidden:
            found = layer.at(now)
            if found is not None:
                torch.clamp_min(found, 0, out=places[self.step])

    def outputs(self) -> Tensor:
        """Return the outputs [B, K] of the dimension."""
        if self.last is not None:
            found = self.last.at(self.step % BLOCK)
            assert found is not None
            return found
        d = self.order[self.step]
        out = self.biases[d]
        for weights, memory, at in self.ends:
            out = torch.addmm(out, memory.index_select(1, at), weights[d])
        return out if self.shift is None else out + self.shift.unflatten(1, (self.dims, -1))[:, self.step]
