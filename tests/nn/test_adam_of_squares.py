"""Adam without a mean over steps is Adam with β1 = 0, and keeps one number less for each weight."""

from copy import deepcopy

import pytest
import torch
from torch.optim import Adam

from genzoo.nn.optimizers import AdamOfSquares


@pytest.mark.parametrize("fused", [True, False])
def test_its_steps_are_adams_to_the_bit_and_states_can_be_taken_over(fused):
    torch.manual_seed(0)
    start, gradients = torch.randn(37, 5), torch.randn(6, 37, 5)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    squares = AdamOfSquares([ours], lr=0.1, betas=(0.0, 0.9), fused=fused)
    adam = Adam([theirs], lr=0.1, betas=(0.0, 0.9), fused=fused)
    for i, gradient in enumerate(gradients):
        if i == 3:
            squares = AdamOfSquares([ours], lr=0.1, betas=(0.0, 0.9), fused=fused)
            squares.load_state_dict(deepcopy(adam.state_dict()))  # as a checkpoint of an earlier version has it
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        squares.step()
        adam.step()
        assert torch.equal(ours, theirs)
        assert set(squares.state[ours]) == {"step", "exp_avg_sq"}
