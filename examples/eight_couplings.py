"""How many affine couplings does a linear map take? Eight reproduce one; for a random matrix four do already, and three do not.

A coupling leaves half of its input alone, so one of them is far from general. Here chains of couplings whose nets are linear
(a constant scale, a linear shift) are fitted to a random 6 x 6 matrix of determinant 1, by L-BFGS in float64. One coupling has 12 free
numbers and the matrix 35: two cannot do it by counting, three could and do not. With eight the error is rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.nn.flow.bijections import Chain, MaskedCoupling

DIMS = 6


class LinearNet(nn.Module):
    """What a coupling asks of its net: log-scales that depend on nothing, and shifts that are linear."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(DIMS))
        self.shift = nn.Parameter(0.1 * torch.randn(DIMS, DIMS))

    def forward(self, kept: Tensor) -> Tensor:
        """[B, D] to scales and shifts, [B, 2D]."""
        return torch.cat([self.scale.expand(len(kept), DIMS), kept @ self.shift], 1)


def chain(couplings: int) -> Chain:
    """Couplings that keep the first and the second half in turn."""
    half = (torch.arange(DIMS) < DIMS // 2).double()
    parts = [MaskedCoupling(LinearNet(), (half if i % 2 else 1 - half)[None], DIMS) for i in range(couplings)]
    return Chain(*parts).double()


def error(couplings: int, target: Tensor) -> float:
    """The smallest relative error that two starts of the optimizer reach."""
    found = []
    for seed in range(2):
        torch.manual_seed(seed)
        flow, x = chain(couplings), torch.eye(DIMS, dtype=torch.float64)
        optimizer = torch.optim.LBFGS(
            flow.parameters(), max_iter=400, history_size=50, tolerance_grad=1e-12, tolerance_change=1e-16,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure(flow: Chain = flow, x: Tensor = x, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = (flow(x)[0] - target).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            found.append(float((flow(x)[0] - target).norm() / target.norm()))
    return min(found)


torch.manual_seed(1)
matrix = torch.linalg.qr(torch.randn(DIMS, DIMS, dtype=torch.float64))[0] + 0.5 * torch.randn(DIMS, DIMS).double()
# Scales are positive, so every chain of couplings has a positive determinant; a flow in front may flip a sign, a scale sets its size.
matrix[0] *= torch.linalg.det(matrix).sign()
matrix /= torch.linalg.det(matrix) ** (1 / DIMS)
errors = {k: error(k, matrix) for k in (1, 2, 3, 4, 8)}
for k, value in errors.items():
    print(f"{k} couplings: relative error {value:.1e}")
assert errors[8] < 1e-5 < errors[3]
