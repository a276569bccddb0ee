"""Parts that are written for speed are the functions that they stand for, and so are their gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.losses.penalties import gradient_penalty, r1_of, r1_penalty
from genzoo.models.translation import _few_pixels as few_pixels
from genzoo.nn.autoregressive import raster
from genzoo.nn.autoregressive.raster import Levels
from genzoo.nn.gan.equalized import minibatch_std
from genzoo.nn.gan.leaky import LeakyReLU, leaky_relu


def test_the_leaky_rectifier_has_all_derivatives():
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(leaky_relu(x), F.leaky_relu(x, 0.2))
    assert torch.autograd.gradcheck(leaky_relu, x)
    assert torch.autograd.gradgradcheck(leaky_relu, x)
    assert torch.equal(torch.func.vmap(leaky_relu)(x), leaky_relu(x))


def test_no_zeros_go_back_below_the_leaky_rectifier():
    """The gradient of a gradient does not depend on where the rectifier was, so that nothing below is asked again."""
    asked = []
    for rectify in (lambda v: F.leaky_relu(v, 0.2), leaky_relu):
        x = torch.randn(4, 3, requires_grad=True)
        weight = torch.randn(3, 3, requires_grad=True)
        h = x @ weight
        (gradient,) = torch.autograd.grad(rectify(h).sum(), x, create_graph=True)
        (back,) = torch.autograd.grad(gradient.square().sum(), h, allow_unused=True)
        asked.append(back)
    assert asked[0] is not None
    assert not asked[0].any()
    assert asked[1] is None


def test_penalties_through_either_rectifier_are_equal():
    torch.manual_seed(0)

    def net(act):
        return nn.Sequential(
            nn.Conv2d(2, 4, 4, 2, 1), act(0.2), nn.Conv2d(4, 4, 3), act(0.2), nn.Flatten(), nn.LazyLinear(1)
        )

    ours, theirs = net(LeakyReLU), net(nn.LeakyReLU)
    real, fake = torch.randn(2, 6, 2, 8, 8)
    ours(real), theirs(real)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for critic in (ours, theirs):
        torch.manual_seed(1)
        loss = gradient_penalty(critic, real, fake) + r1_penalty(critic, real, 3.0) + critic(real).square().mean()
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in critic.parameters() if p.grad is not None)])
    assert len(found[0]) == 7  # the loss and every parameter
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("view", [False, True])
def test_the_leaky_rectifier_in_place(view):
    weight = torch.randn(6, 4, requires_grad=True)
    results = []
    for act in (lambda v: leaky_relu(v, inplace=True), lambda v: F.leaky_relu(v, 0.2)):
        x = torch.ones(3, 6, requires_grad=True)
        h = x @ weight
        h = act(h.view(3, 2, 2).permute(0, 2, 1) if view else h)
        (slope,) = torch.autograd.grad(h.square().sum(), x, create_graph=True)
        results.append([h, slope, *torch.autograd.grad(slope.square().sum(), weight)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_r1_of_scores_is_r1():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1))
    x = torch.randn(3, 2, 2, 2).requires_grad_()
    assert torch.equal(r1_of(critic(x), x, 2.5), r1_penalty(critic, x, 2.5))


@pytest.mark.parametrize("n", [4, 6, 7, 8])
def test_batches_beside_each_other_keep_their_own_deviation(n):
    one, two = torch.randn(2, n, 3, 2, 2)
    together = minibatch_std(torch.cat([one, two]), batches=2)
    assert torch.equal(together, torch.cat([minibatch_std(one), minibatch_std(two)]))


@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (3, 1, 1), (3, 2, 0), (1, 1, 0)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolutions_of_few_pixels(kind, kernel, stride, padding, layout):
    torch.manual_seed(0)
    arguments = (64, 48, kernel, stride, padding)
    ours, theirs = getattr(few_pixels, kind)(*arguments), getattr(nn, kind)(*arguments)
    theirs.load_state_dict(ours.state_dict())
    ours, theirs = ours.to(memory_format=layout), theirs.to(memory_format=layout)
    for sides in ((3, 3), (2, 4) if kernel != 3 or padding else (4, 3)):
        x = torch.randn(1, 64, *sides).to(memory_format=layout)
        results = []
        for net in (ours, theirs):
            given = x.clone().requires_grad_()
            y = net(given)
            slopes = torch.autograd.grad(
                (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum(), [given, *net.parameters()]
            )
            results.append([y, *slopes])
        assert all(torch.allclose(a, b, atol=2e-5, rtol=1e-4) for a, b in zip(*results, strict=True))


def test_when_pixels_are_few(monkeypatch):
    """Many pixels take PyTorch's convolution; few do not."""
    asked = []
    monkeypatch.setattr(
        nn.Conv2d, "forward", lambda self, x: asked.append(x.shape) or F.conv2d(x, self.weight, stride=2, padding=1)
    )
    conv = few_pixels.Conv2d(4, 32, 4, 2, 1, bias=False)
    conv(torch.randn(1, 4, 4, 4))
    assert not asked
    conv(torch.randn(1, 4, 8, 8))
    conv(torch.randn(2, 4, 4, 4))
    assert len(asked) == 2


def test_few_pixels_are_float32_under_autocast():
    conv = few_pixels.Conv2d(64, 64, 4, 2, 1)
    x = torch.randn(1, 64, 2, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, conv(x.float()).bfloat16())


def plain_log_mass(logits, tokens):
    return logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]


@pytest.mark.parametrize("cached", [1, 40, 2**18])
def test_the_log_probability_of_a_level_in_parts_is_that_of_the_whole(cached, monkeypatch):
    """Whatever fits into a part: one row, two and a rest, all of them."""
    monkeypatch.setattr(raster, "CACHED", cached)
    torch.manual_seed(0)
    tokens = torch.randint(0, 16, (3, 5, 2))
    logits = torch.randn(3, 5, 2, 16, dtype=torch.float64, requires_grad=True)
    assert torch.equal(Levels(16).select(logits, tokens), plain_log_mass(logits, tokens))
    assert torch.autograd.gradcheck(lambda x: Levels(16).select(x, tokens), logits)
    channels_last = torch.randn(3, 2 * 16, 4, 5).contiguous(memory_format=torch.channels_last)
    tokens, weight = torch.randint(0, 16, (3, 2, 4, 5)), torch.randn(3, 4, 5, 2)
    for dtype, near in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        found = []
        for whole in (False, True):
            out = channels_last.to(dtype).detach().requires_grad_()
            rows = out.movedim(1, -1).unflatten(-1, (2, 16))
            log_p = (
                plain_log_mass(rows.float(), tokens.movedim(1, -1)) if whole else Levels(16, 2).log_mass(out, tokens)
            )
            (log_p * weight).sum().backward()
            assert log_p.dtype == torch.float32
            assert out.grad.dtype == dtype
            found.append((log_p, out.grad.float()))
        torch.testing.assert_close(*found, rtol=near, atol=near)
