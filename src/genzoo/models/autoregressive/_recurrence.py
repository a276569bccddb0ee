"""LSTM recursions over the rows or the diagonals of a map (van den Oord et al. 2016, eq. 3), in one differentiable operation.

[o, f, i, g] = [σ, σ, σ, tanh](gates + weight · h_before);  c = f ⊙ c_before + i ⊙ g;  h = o ⊙ tanh(c).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Do one step: gates [B, 4h] before their nonlinearities and cells [B, h] to (hidden states, cells)."""
    o, f, i, g = gates.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class Scan(torch.autograd.Function):
    """An LSTM over a whole map (see `scan`), with the gradients written out, which is faster than leaving a thousand steps to autograd."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, taps: tuple[int, ...], diagonal: bool) -> Tensor:
        """Run the recursion, keeping the gates after their nonlinearities and the cells."""
        lines = Lines(gates.shape, diagonal)
        gates = lines.lay(gates)  # [T, N, 4h, B, L]: every gate of every step is one stretch of memory
        n, four, batch, length = gates.shape[1:]
        states, cells = (gates.new_empty(gates.shape[0], n, four // 4, batch, length) for _ in range(2))
        mapped = weight.transpose(1, 2).contiguous()
        for t, gate in enumerate(gates):
            if t:
                gate.flatten(2).baddbmm_(mapped, tapped(states[t - 1], taps).flatten(2))
            o, f, i, g = gate.chunk(4, 1)
            gate[:, : 3 * four // 4].sigmoid_()
            g.tanh_()
            torch.mul(i, g, out=cells[t])
            if t:
                cells[t].addcmul_(f, cells[t - 1])
            torch.tanh(cells[t], out=states[t]).mul_(o)
        ctx.save_for_backward(gates, states, cells, weight)
        ctx.taps, ctx.lines = taps, lines
        return lines.lift(states)

    @staticmethod
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Run it backwards: the gates' gradients are also those of what goes in."""
        gates, states, cells, weight = ctx.saved_tensors
        d_states = ctx.lines.lay(d_states)
        d_gates, d_weight, three = torch.empty_like(gates), torch.zeros_like(weight), 3 * states.shape[2]
        dc = torch.zeros_like(states[0])
        for t in reversed(range(gates.shape[0])):
            o, f, i, g = gates[t].chunk(4, 1)
            d_o, d_f, d_i, d_g = d_gates[t].chunk(4, 1)
            dh, tanh_c = d_states[t], torch.tanh(cells[t])
            dc.addcmul_(dh * o, 1 - tanh_c.square())
            torch.mul(dh, tanh_c, out=d_o)
            torch.mul(dc, cells[t - 1], out=d_f) if t else d_f.zero_()
            torch.mul(dc, g, out=d_i)
            torch.mul(dc, i, out=d_g)
            opened = gates[t][:, :three]
            d_gates[t][:, :three].mul_(opened * (1 - opened))
            d_g.mul_(1 - g.square())
            dc.mul_(f)
            if t:
                flat = d_gates[t].flatten(2)
                before = tapped(states[t - 1], ctx.taps).flatten(2)
                d_weight.baddbmm_(before, flat.transpose(1, 2))
                d_before = torch.bmm(weight, flat).view(weight.shape[0], -1, *dh.shape[2:])
                untap(d_states[t - 1], d_before, ctx.taps)
        return ctx.lines.lift(d_gates), d_weight, None, None


def scan(gates: Tensor, weight: Tensor, taps: tuple[int, ...], diagonal: bool) -> Tensor:
    """Run an LSTM over rows, from the top, or over the columns of the map whose row i is shifted by i to the right (`diagonal`).

    Args:
        gates: Gates before the state-to-state part, [N, B, 4h, H, W]; N recursions run side by side.
        weight: Weights of what comes from the states of the line before, [N, taps·h, 4h].
        taps: Where those states are: columns (`diagonal`: rows), counted from a state's own.
        diagonal: Go over the shifted columns.

    Returns:
        States [N, B, h, H, W].
    """
    if torch.compiler.is_exporting():
        return unrolled(gates, weight, taps, diagonal)
    states: Tensor = Scan.apply(gates, weight, taps, diagonal)  # type: ignore[no-untyped-call]  # torch gives `apply` no types
    return states


def unrolled(gates: Tensor, weight: Tensor, taps: tuple[int, ...], diagonal: bool) -> Tensor:
    """Do what `scan` does, as a chain of plain operations, one for each line: what a graph for another program can hold."""
    height, width = gates.shape[3:]
    if diagonal:
        rows = [F.pad(gates[:, :, :, i], (i, height - 1 - i)) for i in range(height)]
        lines = list(torch.stack(rows, 3).transpose(1, 2).unbind(4))  # [N, 4h, B, L] each
    else:
        lines = list(gates.transpose(1, 2).unbind(3))
    states: list[Tensor] = []
    c = torch.zeros_like(lines[0].chunk(4, 1)[0])
    for line in lines:
        gate = line
        if states:
            came = torch.bmm(weight.transpose(1, 2), tapped(states[-1], taps).flatten(2))
            gate = gate + came.unflatten(2, line.shape[2:])
        h, c = cell(gate, c)
        states.append(h)
    if not diagonal:
        return torch.stack(states, 3).transpose(1, 2)
    skewed = torch.stack(states, 4)
    return torch.stack([skewed[..., i, i : i + width] for i in range(height)], 3).transpose(1, 2)


class Lines:
    """How maps [N, B, F, H, W] lie as the lines [T, N, F, B, L] that a recursion runs over: rows, or skewed columns.

    Args:
        shape: Shape of the map.
        diagonal: Row i is shifted by i to the right, and the lines are the columns, W + H - 1 of them.
    """

    def __init__(self, shape: tuple[int, ...], diagonal: bool) -> None:
        self.height, self.width, self.diagonal = shape[3], shape[4], diagonal

    def lay(self, x: Tensor) -> Tensor:
        """Lay out a map, anew in memory; beside the rows of a skewed map all is zero, and stays so until a row begins."""
        n, b, f, height, width = x.shape
        if not self.diagonal:
            return x.permute(3, 0, 2, 1, 4).clone(memory_format=torch.contiguous_format)
        lines = x.new_zeros(width + height - 1, n, f, b, height)
        self._places(lines).copy_(x)
        return lines

    def lift(self, lines: Tensor) -> Tensor:
        """Undo `lay`."""
        return self._places(lines).contiguous() if self.diagonal else lines.permute(1, 3, 2, 0, 4).contiguous()

    def _places(self, lines: Tensor) -> Tensor:
        """Return where the map is among the skewed lines: a view [N, B, F, H, W]."""
        _, n, f, b, _ = lines.shape
        line, *inner, one = lines.stride()
        return lines.as_strided((n, b, f, self.height, self.width), (inner[0], inner[2], inner[1], line + one, line))


def tapped(h: Tensor, taps: tuple[int, ...]) -> Tensor:
    """Return the states [N, h, B, L] at each offset along L, zero beyond the ends, one set after the other: [N, taps·h, B, L]."""
    padded = F.pad(h, (1, 1))
    return torch.cat([padded[..., 1 + tap : 1 + tap + h.shape[-1]] for tap in taps], 1)


def untap(into: Tensor, d: Tensor, taps: tuple[int, ...]) -> None:
    """Add to `into`, [N, h, B, L], the gradient of `tapped` given that of its output."""
    length = into.shape[-1]
    for tap, part in zip(taps, d.chunk(len(taps), 1), strict=True):
        low, high = max(0, tap), length + min(0, tap)
        into[..., low:high] += part[..., low - tap : high - tap]
