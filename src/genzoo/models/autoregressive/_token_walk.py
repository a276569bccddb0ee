"""The transformer of token-prior position by position: keys and values of what was read lie in a place for the whole sequence."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def laid(weight: Tensor) -> Tensor:
    """Return a weight [outputs, inputs] as a product of few rows takes it, which is nearly twice as fast: [inputs, outputs]."""
    return weight.T.contiguous()


class TokenWalk:
    """A pass over sequences that computes one position at a time; the weights must not change meanwhile.

    Positions are columns [B, width]; a head's scale is left to the weights of its queries, so sums are apart by rounding from a parallel pass.

    Args:
        net: The transformer.
        batch: Sequences.
    """

    def __init__(self, net: Any, batch: int) -> None:
        width, positions = net.place.shape[1], len(net.place)
        heads = net.blocks[0].heads
        like = net.place.detach()
        self.net, self.at, self.place = net, 0, like
        self.blocks = []
        for block in net.blocks:
            scale = like.new_ones(3 * width)
            scale[:width] = 1 / math.sqrt(width // heads)
            keys, values = like.new_zeros(2, batch * heads, positions, width // heads)
            first, _, second = block.mlp
            self.blocks.append(
                (
                    block.norm_1, laid(block.qkv.weight * scale[:, None]), block.qkv.bias * scale, keys, values, laid(block.join.weight),
                    block.join.bias, block.norm_2, laid(first.weight), first.bias, laid(second.weight), second.bias,
                )
            )  # fmt: skip
        self.shape = batch * heads, 1, width // heads
        self.tables = net.code.weight.detach().split(net.size)

    def embed(self, codes: Tensor) -> Tensor:
        """Embed codes [B] of the position that was read last, [B, width]."""
        return self.tables[self.net.level_of[self.at - 1]][codes]

    def next(self, x: Tensor) -> Tensor:
        """Return the logits [B, size] of the next position, given the start or the embedded code before it, [B, width]."""
        at = self.at
        x = x + self.place[at]
        for (
            norm_1,
            qkv,
            qkv_bias,
            keys,
            values,
            join,
            join_bias,
            norm_2,
            wide,
            wide_bias,
            back,
            back_bias,
        ) in self.blocks:
            h = F.layer_norm(x, norm_1.normalized_shape, norm_1.weight, norm_1.bias, norm_1.eps)
            q, k, v = torch.addmm(qkv_bias, h, qkv).view(len(x), 3, -1).unbind(1)
            keys[:, at : at + 1] = k.reshape(self.shape)
            values[:, at : at + 1] = v.reshape(self.shape)
            seen = torch.bmm(q.reshape(self.shape), keys[:, : at + 1].mT).softmax(-1)
            a = torch.bmm(seen, values[:, : at + 1]).view(len(x), -1)
            x = x + torch.addmm(join_bias, a, join)
            h = F.layer_norm(x, norm_2.normalized_shape, norm_2.weight, norm_2.bias, norm_2.eps)
            x = x + torch.addmm(back_bias, F.gelu(torch.addmm(wide_bias, h, wide)), back)
        self.at += 1
        logits: Tensor = self.net.heads[self.net.level_of[at]](self.net.norm(x))
        return logits
