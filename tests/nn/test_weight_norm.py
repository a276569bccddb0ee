"""Weight normalization: a kernel's length is its gain, its direction's length changes nothing but how fast it turns, and it starts at 1."""

import math

import pytest
import torch

from genzoo.models.flows.realnvp import RealNVP
from genzoo.nn.dequantize import dequantize
from genzoo.nn.flow.bijections import logit
from genzoo.nn.flow.residual import ResidualNet, WeightNormConv2d
from genzoo.nn.weight_norm import normalized, start_direction


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("outputs", [0, 1])
@torch.no_grad()
def test_a_kernel_is_as_long_as_its_gain_however_long_its_direction(outputs):
    torch.manual_seed(0)
    direction, gain = start_direction((5, 4, 3, 2), outputs), torch.tensor([1.0, 2.0, 0.5, 3.0, 4.0])
    gain = gain[: direction.shape[outputs]]
    kernel = normalized(direction, gain, outputs)
    assert torch.allclose(kernel.transpose(0, outputs).flatten(1).norm(dim=1), gain)
    assert torch.allclose(kernel, normalized(direction * 7, gain, outputs), atol=1e-6)
    along = (kernel * direction).transpose(0, outputs).flatten(1).sum(1)
    assert torch.allclose(along, gain * direction.transpose(0, outputs).flatten(1).norm(dim=1), rtol=1e-5)


def test_the_gradient_is_orthogonal_to_the_direction_and_falls_with_its_length():
    torch.manual_seed(0)
    short = start_direction((6, 8, 3, 3))
    x, conv = torch.randn(4, 8, 5, 5, generator=gen()), WeightNormConv2d(8, 6)
    grads = []
    for length in (1, 10):
        conv.direction.data.copy_(short.data * length)
        conv.zero_grad()
        conv(x).square().sum().backward()
        grads.append(conv.direction.grad.clone())
        inner = (conv.direction.grad * conv.direction).flatten(1).sum(1)
        scale = conv.direction.grad.flatten(1).norm(dim=1) * conv.direction.flatten(1).norm(dim=1)
        assert (inner.abs() < 1e-5 * scale).all()
    assert torch.allclose(grads[0], 10 * grads[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("shape", "outputs"), [((64, 32, 3, 3), 0), ((32, 64, 2, 3), 1), ((64, 200, 1, 1), 0)])
def test_every_direction_starts_with_a_length_of_about_one(shape, outputs):
    torch.manual_seed(0)
    lengths = start_direction(shape, outputs).transpose(0, outputs).flatten(1).square().sum(1)
    assert lengths.mean().item() == pytest.approx(1, abs=0.05)
    assert ((lengths - 1).abs() < 0.6).all()


def test_a_step_of_adam_turns_it_as_it_turns_a_plain_layer():
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(32, 16, 3)
    torch.nn.init.normal_(plain.weight, std=1 / math.sqrt(32 * 9))
    ours, lr, x = WeightNormConv2d(32, 16), 1e-3, torch.randn(2, 32, 6, 6, generator=gen())
    for conv, weight in ((plain, plain.weight), (ours, ours.direction)):
        before = weight.detach().clone().flatten(1)
        conv(x).square().mean().backward()
        torch.optim.Adam(conv.parameters(), lr=lr).step()
        cosine = torch.cosine_similarity(before, weight.detach().flatten(1))
        assert torch.allclose(cosine.arccos(), torch.tensor(lr * math.sqrt(32 * 9)), rtol=0.15)


@torch.no_grad()
def test_signals_keep_their_size_through_a_residual_net_at_the_start():
    torch.manual_seed(0)
    net, sizes = ResidualNet(6, 4, 64, 8), []
    net.head.register_forward_hook(lambda _, given, __: sizes.append(given[0].square().mean().item()))
    assert net(torch.randn(16, 6, 12, 12, generator=gen())).abs().max() == 0
    assert 0.3 < sizes[0] < 6


@pytest.mark.parametrize("kw", [{"fold": True}, {"fold": False, "widen": True}])
@torch.no_grad()
def test_an_untrained_real_nvp_is_the_logit_and_a_permutation(kw):
    torch.manual_seed(0)
    model = RealNVP((3, 8, 8), width=8, blocks=2, couplings=2, **kw).eval()
    u = dequantize(torch.randint(0, 256, (4, 3, 8, 8), generator=gen()).float() / 127.5 - 1, 256, gen())
    y, slope = logit(u.double(), model.alpha)
    z, log_det = model(u)
    assert torch.allclose(z.sort(1).values, y.flatten(1).sort(1).values.float(), atol=1e-5)
    assert torch.allclose(log_det, slope.float(), rtol=1e-5)
