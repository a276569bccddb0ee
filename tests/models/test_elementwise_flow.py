"""Elementwise maps rise, invert and keep their tails; alone they fit every margin and no dependence."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.models.flows._monotone import SigmoidMixture, Spline
from genzoo.models.flows.elementwise_flow import ElementwiseFlow
from tests.models.test_flows import gen

MAPS = [lambda: Spline(3, 7, 3.0), lambda: SigmoidMixture(3, 5, 3.0)]


def bent(make, amount=1.5):
    torch.manual_seed(0)
    layer = make().double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(amount * torch.randn(p.shape, generator=gen(), dtype=p.dtype))
    return layer


def train(model, x, steps, lr):
    model.train()
    optimizer = model.optimizers()["model"]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * model.lr_scale(step / steps)
        optimizer.zero_grad()
        model.loss({"points": x})["loss"].backward()
        optimizer.step()
    return model.eval()


@pytest.mark.parametrize("make", MAPS)
def test_maps_rise_everywhere_and_invert(make):
    layer = bent(make)
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None].expand(-1, 3).contiguous()
    y, log_det = layer(x)
    assert (y.diff(dim=0) > 0).all()
    assert torch.allclose(layer.inverse(y), x, atol=1e-9)
    assert torch.allclose(layer(layer.inverse(x))[0], x, atol=1e-8)
    assert log_det.isfinite().all()


@pytest.mark.parametrize("make", MAPS)
def test_slopes_are_the_derivatives(make):
    layer = bent(make)
    x = (torch.rand(500, 3, generator=gen(), dtype=torch.float64) * 8 - 4).requires_grad_()
    y, log_det = layer(x)
    slopes = torch.autograd.grad(y.sum(), x)[0]
    assert torch.allclose(log_det, slopes.log().sum(1), atol=1e-10)


def test_the_spline_is_the_identity_at_first_and_outside_its_box_always():
    x = torch.linspace(-6, 6, 1001)[:, None].expand(-1, 3).contiguous()
    y, log_det = Spline(3, 7, 3.0)(x)
    assert torch.allclose(y, x, atol=1e-5)
    assert log_det.abs().max() < 1e-4
    layer = bent(lambda: Spline(3, 7, 3.0)).float()
    y, log_det = layer(x)
    outside = x[:, 0].abs() >= 3
    assert torch.equal(y[outside], x[outside])
    assert torch.equal(log_det[outside], torch.zeros(int(outside.sum())))
    assert torch.equal(layer.inverse(y)[outside], x[outside])
    edge = torch.full((1, 3), 3.0)
    assert torch.allclose(layer(edge - 1e-5)[0], edge, atol=1e-3), "no jump at the edge of the box"


def test_values_far_outside_leave_the_splines_gradients_as_they_are():
    """They are clipped before the spline is evaluated: what they would overflow to passes as NaN through a choice."""
    layer = bent(lambda: Spline(3, 7, 3.0)).float()
    inside = torch.linspace(-2.9, 2.9, 12).view(4, 3)

    def gradients(x):
        y, log_det = layer(x)
        return torch.autograd.grad(y[:4].sum() + log_det.sum(), list(layer.parameters()))

    alone = gradients(inside)
    beside = gradients(torch.cat([inside, torch.tensor([[1e20, -1e25, 1e30]])]))
    for a, b in zip(alone, beside, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("make", MAPS)
def test_far_outside_values_and_gradients_are_finite(make):
    layer = bent(make).float()
    x = torch.tensor([[-1e6, -300.0, -3.0], [3.0, 1e4, 1e6], [0.0, 3.0, -3.0]], requires_grad=True)
    y, log_det = layer(x)
    (y.sum() + log_det.sum()).backward()
    for t in (y, log_det, x.grad, *(p.grad for p in layer.parameters())):
        assert t.isfinite().all()
    assert layer.inverse(y.detach()).isfinite().all()


def test_knots_stay_apart_however_extreme_the_parameters():
    layer = Spline(2, 5, 3.0)
    with torch.no_grad():
        layer.widths[:, 0], layer.heights[:, 1], layer.slopes[:, 2] = 60.0, 60.0, -60.0
    x = torch.linspace(-2.999, 2.999, 997)[:, None].expand(-1, 2).contiguous()
    y, log_det = layer(x)
    assert log_det.isfinite().all()
    assert (y.diff(dim=0) >= 0).all()
    assert y.abs().max() <= 3
    assert (layer(layer.inverse(y))[0] - y).abs().max() < 1e-3


@pytest.mark.parametrize("curve", ["sigmoid-mixture", "spline"])
def test_margins_are_fitted_and_dependence_is_not(curve):
    side = torch.randint(0, 2, (1500, 2), generator=gen()) * 2.0 - 1
    noise = 0.25 * torch.randn(1500, 2, generator=gen(1))
    free, bound = (
        side + noise,
        side[:, :1] + noise,
    )  # two margins of two humps: independent, and always on the same side
    entropy = 1.0 * (
        math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.25**2)
    )  # humps four deviations out hardly overlap
    torch.manual_seed(0)
    model = train(ElementwiseFlow((2,), curve=curve, parts=8), free, 100, 0.1)
    assert -model.log_prob(free).mean().item() == pytest.approx(2 * entropy, abs=0.06)
    diagonal = train(ElementwiseFlow((2,), curve="affine"), free, 20, 0.01)
    assert model.log_prob(free).mean() > diagonal.log_prob(free).mean() + 0.5
    again = train(ElementwiseFlow((2,), curve=curve, parts=8), bound, 160, 0.1)
    assert -again.log_prob(bound).mean().item() == pytest.approx(2 * entropy, abs=0.06), (
        "ln 2 nats are lost, and stay so"
    )
    off = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    assert (again.log_prob(off)[0] - again.log_prob(off)[1]).abs() < 0.5, "as likely where no data are"


def test_affine_is_the_diagonal_gaussian_after_one_batch():
    x = torch.randn(500, 3, generator=gen()) * torch.tensor([1.0, 2.0, 5.0]) + 4
    model = ElementwiseFlow((3,), curve="affine").train()
    model(x)
    model.eval()
    normal = torch.distributions.Normal(x.mean(0), x.std(0, correction=0))
    assert torch.allclose(model.log_prob(x), normal.log_prob(x).sum(1), atol=1e-4)


def test_shapes_that_are_neither_images_nor_points_are_refused():
    with pytest.raises(UserError, match="points"):
        ElementwiseFlow((3, 4))
