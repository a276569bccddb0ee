"""Layers that work on channels-last maps as they are: the same values and derivatives as PyTorch's own, in the layout that came in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from genzoo.nn import thin
from genzoo.nn.gan.resnet_generator import ResnetGenerator
from genzoo.nn.instance_norm import InstanceNorm2d


def lying(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()


def derivatives(net: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, its gradients, and those of the gradient's length."""
    y = net(x)
    over = [x, *net.parameters()]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    first = torch.autograd.grad((y**2 * weights).sum(), over, create_graph=True)
    second = torch.autograd.grad(first[0].pow(2).sum(), over, allow_unused=True)
    return [y, *first, *(g for g in second if g is not None)]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("examples", [1, 3])
def test_instance_norm_is_pytorchs_and_keeps_the_layout(affine: bool, examples: int) -> None:
    ours, theirs = InstanceNorm2d(4, affine=affine).double(), nn.InstanceNorm2d(4, affine=affine).double()
    if affine:
        for net in (ours, theirs):
            nn.init.constant_(net.weight, 1.5)
            nn.init.constant_(net.bias, -0.5)
    x = lying(examples, 4, 5, 6)
    for a, b in zip(derivatives(ours, x), derivatives(theirs, x), strict=True):
        torch.testing.assert_close(a, b)
    y = ours(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y._is_view(), "an activation in place would copy it"


def test_instance_norm_refuses_a_single_pixel_as_pytorch_does() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        InstanceNorm2d(4)(lying(2, 4, 1, 1))


@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_to_few_channels_is_pytorchs(bias: bool) -> None:
    ours, theirs = thin.Conv2d(12, 3, (7, 5), bias=bias).double(), nn.Conv2d(12, 3, (7, 5), bias=bias).double()
    theirs.load_state_dict(ours.state_dict())
    x = lying(2, 12, 11, 9)
    assert "Convolution" not in type(ours(x).grad_fn).__name__, "it was not taken apart"
    for a, b in zip(derivatives(ours, x), derivatives(theirs, x), strict=True):
        torch.testing.assert_close(a, b)
    assert ours(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("inputs", "outputs", "side"), [(12, 9, 7), (8, 3, 7), (12, 3, 3)])
def test_only_what_gains_is_taken_apart(inputs: int, outputs: int, side: int) -> None:
    x = lying(1, inputs, 8, 8, dtype=torch.float32)
    assert "Convolution" in type(thin.Conv2d(inputs, outputs, side)(x).grad_fn).__name__


def test_a_generator_gives_the_same_in_both_layouts() -> None:
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 12, 1, upsample="resize")
    x = torch.randn(2, 3, 16, 16)
    last = x.to(memory_format=torch.channels_last)
    apart = (net(x) - net.to(memory_format=torch.channels_last)(last)).abs().max()
    assert apart < 1e-5
