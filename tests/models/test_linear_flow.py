"""The linear flow is a Gaussian: its density, its maximum and its matrix are those of one."""

import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.models.flows.linear_flow import LinearFlow
from genzoo.nn.dequantize import dequantize
from genzoo.nn.flow.bijections import LULinear
from tests.models.test_flows import gen, images, stirred


def climb(model, x, rounds=1):
    """Full-batch L-BFGS on the likelihood of continuous data, in float64."""
    model.double().train()
    model(x)  # the start from the data's moments
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=80, tolerance_grad=1e-9, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = -model.log_density(*model(x)).mean()
        loss.backward()
        return loss

    for _ in range(rounds):
        optimizer.step(closure)
    return model.eval()


def gaussian_log_prob(x):
    mean, covariance = x.mean(0), x.mT.cov(correction=0).view(x.shape[1], x.shape[1])
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)


@pytest.mark.parametrize("dims", [1, 2, 6])
def test_the_optimum_is_the_full_gaussians_density(dims):
    g = gen()
    mix = torch.randn(dims, dims, generator=g, dtype=torch.float64)
    x = torch.randn(500, dims, generator=g, dtype=torch.float64).exp() @ mix + 3
    torch.manual_seed(0)
    model = climb(LinearFlow((dims,)), x)
    assert torch.allclose(model.log_prob(x), gaussian_log_prob(x), atol=1e-3)
    w = model.matrix()
    assert torch.allclose((w.mT @ w).inverse(), x.mT.cov(correction=0).view(dims, dims), rtol=1e-2, atol=1e-3)


def test_the_optimum_on_images_is_the_gaussians_of_the_same_dequantized_images():
    base = torch.randint(0, 128, (600, 1, 4, 1), generator=gen())
    x = (base + torch.randint(0, 128, (600, 1, 4, 3), generator=gen(1))).float() / 127.5 - 1
    u = dequantize(x, 256, gen(2)).double()
    model = climb(LinearFlow((1, 4, 3)), u)
    nats = model.log_density(*model(u)).mean() + 12 * torch.tensor(256.0).log()
    assert nats.item() == pytest.approx(gaussian_log_prob(u.flatten(1)).mean().item(), abs=1e-4)
    closed = genzoo.create("gaussian", shape=(1, 4, 3))
    closed.partial_fit({"image": x})
    closed.finish_pass()
    assert -model.float().log_prob(x).mean() == pytest.approx(-closed.log_prob(x).mean().item(), rel=0.01)


def test_steps_of_the_trainer_reach_it_too():
    g = gen()
    x = torch.randn(2000, 2, generator=g) @ torch.tensor([[1.0, 2.0], [0.0, 0.4]])
    torch.manual_seed(0)
    model = LinearFlow((2,)).train()
    optimizer = model.optimizers()["model"]
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.02 * model.lr_scale(step / 300)
        optimizer.zero_grad()
        model.loss({"points": x})["loss"].backward()
        optimizer.step()
    assert model.log_prob(x).mean().item() == pytest.approx(gaussian_log_prob(x).mean().item(), abs=1e-3)


@torch.no_grad()
def test_the_matrix_is_the_jacobian_everywhere_and_its_condition_is_the_flows():
    model = stirred("linear-flow", (6,), 0.3)
    x, y = torch.randn(2, 5, 6, generator=gen())
    w = model.matrix()
    assert torch.allclose(model(x)[0] - model(y)[0], (x - y) @ w.mT, atol=1e-4)
    values = torch.linalg.svdvals(w.double())
    assert torch.allclose(model.jacobian_condition(x), values[[0, -1]].expand(5, 2), rtol=1e-4)


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_lu_log_det_is_the_determinants_and_the_inverse_is_the_inverse(channels, rotate):
    torch.manual_seed(3)
    layer = LULinear(channels, rotate=rotate)
    start = layer(torch.eye(channels))[0].mT
    assert torch.allclose(start @ start.mT, torch.eye(channels), atol=1e-5), "starts as a rotation"
    assert rotate or torch.equal(start, torch.eye(channels))
    with torch.no_grad():
        layer.packed.add_(0.3 * torch.randn(channels, channels, generator=gen()))
    layer.double()
    w = layer(torch.eye(channels, dtype=torch.float64))[0].mT
    x = torch.randn(3, channels, 4, 5, generator=gen(), dtype=torch.float64)
    y, log_det = layer(x)
    assert torch.allclose(y, torch.einsum("ij,bjhw->bihw", w, x))
    assert torch.allclose(log_det, 20 * torch.linalg.slogdet(w)[1].expand(3))
    assert torch.allclose(layer.inverse(y), x)
    flat = torch.randn(6, channels, generator=gen(), dtype=torch.float64)
    y, log_det = layer(flat)
    assert torch.allclose(y, flat @ w.mT)
    assert torch.allclose(log_det, torch.linalg.slogdet(w)[1].expand(6))
    assert torch.allclose(layer.inverse(y), flat)


def test_a_matrix_that_is_too_large_is_refused_with_the_limit():
    with pytest.raises(UserError, match=r"12288.*4096"):
        LinearFlow((3, 64, 64))
    with pytest.raises(UserError, match="points"):
        LinearFlow((3, 4))


def test_images_of_constant_pixels_start_finite():
    model = LinearFlow((1, 4, 4)).train()
    assert model.loss({"image": -torch.ones(16, 1, 4, 4)})["loss"].isfinite()
    assert model.loss({"image": images(16, (1, 4, 4))})["loss"].isfinite()
