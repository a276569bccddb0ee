"""The transformer of token-prior position by position: keys and values of what was read lie in a place for the whole sequence."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def laid(weight: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Return a weight [outputs, inputs] as a product of few rows takes it, which is nearly twice as fast: [inputs, outputs]."""
    return (weight.detach() * scale).T.contiguous()


class BlockWalk:
    """A block of the transformer at one position after another: twelve operations on columns [B, width].

    Keys lie with their positions last, so that a query's products with them run along memory; a head's scale is left to the weights of the queries.
    GELU is x/2 (1 + erf(x / √2)), whose factors are left to the weights around it.

    Args:
        block: The block.
        batch: Sequences.
        positions: Length of a sequence.
    """

    def __init__(self, block: Any, batch: int, positions: int) -> None:
        like, width, heads = block.join.weight.detach(), block.join.weight.shape[0], block.heads
        size = width // heads
        scale = like.new_ones(3 * width, 1)
        scale[:width] = 1 / math.sqrt(size)
        self.norms = [(n.normalized_shape, n.weight, n.bias, n.eps) for n in (block.norm_1, block.norm_2)]
        self.qkv, self.qkv_bias = laid(block.qkv.weight, scale), block.qkv.bias.detach() * scale[:, 0]
        self.join, self.join_bias = laid(block.join.weight), block.join.bias.detach()
        wide, _, back = block.mlp
        self.wide, self.wide_bias = laid(wide.weight, math.sqrt(0.5)), wide.bias.detach() * math.sqrt(0.5)
        # the last row is the bias, of a feature that is one
        self.back = torch.cat([laid(back.weight, math.sqrt(0.5)), back.bias.detach()[None]])

        every = like.new_empty(batch, 3 * width)
        self.every = every
        query, self.key, self.value = every.view(batch, 3, heads, size).unbind(1)
        self.query, self.queries = query, like.new_empty(batch * heads, 1, size)
        self.queries_of = self.queries.view(batch, heads, size)
        keys, values = like.new_zeros(batch, heads, size, positions), like.new_zeros(batch, heads, positions, size)
        self.key_places, self.value_places = keys.unbind(3), values.unbind(2)
        self.keys, self.values = keys.flatten(0, 1), values.flatten(0, 1)
        self.read = like.new_empty(batch * heads, 1, size)
        self.joined = self.read.view(batch, width)
        self.hidden, self.gelu = like.new_empty(batch, 4 * width), like.new_ones(batch, 4 * width + 1)
        self.gated = self.gelu[:, :-1]

    def at(self, at: int, x: Tensor) -> None:
        """Add to the features `x` of a position, in place, whose predecessors were all read."""
        one, two = self.norms
        torch.addmm(self.qkv_bias, torch.layer_norm(x, *one), self.qkv, out=self.every)
        self.queries_of.copy_(self.query)
        self.key_places[at].copy_(self.key)
        self.value_places[at].copy_(self.value)
        seen = torch.bmm(self.queries, self.keys[:, :, : at + 1]).softmax(-1)
        torch.bmm(seen, self.values[:, : at + 1], out=self.read)
        x.add_(self.join_bias).addmm_(self.joined, self.join)
        torch.addmm(self.wide_bias, torch.layer_norm(x, *two), self.wide, out=self.hidden)
        torch.addcmul(self.hidden, self.hidden, torch.erf(self.hidden), out=self.gated)
        x.addmm_(self.gelu, self.back)


class TokenWalk:
    """A pass over sequences that computes one position at a time; the weights must not change meanwhile.

    All memory is laid out before the first position. Sums are apart by rounding from a parallel pass.

    Args:
        net: The transformer.
        batch: Sequences.
    """

    def __init__(self, net: Any, batch: int) -> None:
        self.net, self.at, self.places = net, 0, net.place.detach().unbind()
        self.blocks = [BlockWalk(block, batch, len(self.places)) for block in net.blocks]
        self.heads = [(head.bias.detach(), laid(head.weight)) for head in net.heads]
        self.tables = net.code.weight.detach().split(net.size)

    def embed(self, codes: Tensor) -> Tensor:
        """Embed codes [B] of the position that was read last, [B, width]."""
        return self.tables[self.net.level_of[self.at - 1]].index_select(0, codes)

    def next(self, x: Tensor) -> Tensor:
        """Return the logits [B, size] of the next position, given the start or the embedded code before it, [B, width]."""
        at, norm = self.at, self.net.norm
        x = x + self.places[at]
        for block in self.blocks:
            block.at(at, x)
        self.at += 1
        bias, head = self.heads[self.net.level_of[at]]
        return torch.addmm(bias, torch.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps), head)
