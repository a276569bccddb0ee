"""What every flow owes, held against autograd and against sums over grids: inverse, log-determinant, mass, exact codes."""

import importlib
import math

import pytest
import torch

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.nn.dequantize import dequantize
from genzoo.nn.flow.jacobian import extreme_singular_values, jacobian
from tests.conftest import build

FLOWS = [
    pytest.param(e.name, kw, id=" ".join([e.name, *map(str, kw.values())]))
    for e in registry.entries().values()
    if e.family == "flows"
    for kw in (
        [{"curve": c} for c in ("affine", "sigmoid-mixture", "spline")]
        if e.name == "elementwise-flow"
        else [{"prior": p} for p in ("logistic", "normal")]
        if e.name == "nice"
        else [{}]
    )
]
every_flow = pytest.mark.parametrize(("name", "kw"), FLOWS)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=8, shape=(1, 8, 8), levels=256, seed=0):
    return torch.randint(0, levels, (n, *shape), generator=gen(seed)).float() * (2 / (levels - 1)) - 1


def stirred(name, shape, amount=0.1, **kw):
    """A small flow whose every parameter is away from its start, so that no term is trivially zero."""
    torch.manual_seed(0)
    model = build(name, shape=shape, **kw)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if not key.endswith("gain"):
                p.add_(amount * torch.randn(p.shape, generator=gen(1)))
    return model.eval()


def odd_shape(name):
    """A wide shape with an odd side, where the flow takes one."""
    return {"realnvp": (3, 4, 6), "glow": (3, 4, 12)}.get(name, (3, 3, 5))


@every_flow
@torch.no_grad()
def test_inverse_undoes_forward_and_forward_undoes_inverse_in_float32(name, kw):
    for shape in ((1, 8, 8), odd_shape(name)):
        model = stirred(name, shape, **kw)
        u = dequantize(images(16, shape), 256, gen())
        z, _ = model(u)
        assert z.shape == (16, math.prod(shape))
        assert (model.inverse(z) - u).abs().max() < 1e-5
        assert (model(model.inverse(z))[0] - z).abs().max() < 2e-3
    for dims in (2, 3, 5):
        model = stirred(name, (dims,), **kw)
        x = torch.randn(200, dims, generator=gen())
        z = model(x)[0]
        assert (model.inverse(z) - x).abs().max() < 2e-5
        assert (model(model.inverse(z))[0] - z).abs().max() < 1e-4
        drawn = 1.5 * model.sample_prior(200, generator=gen())
        assert (model(model.inverse(drawn))[0] - drawn).abs().max() < 1e-3


@every_flow
def test_log_det_is_the_autograd_jacobians_in_float64(name, kw):
    for shape in ((1, 4, 4), (2, 4, 8), (5,)):
        model = stirred(name, shape, **kw).double()
        u = torch.rand(2, *shape, generator=gen(), dtype=torch.float64)
        log_det = model(u)[1]
        for i in range(2):
            exact = torch.autograd.functional.jacobian(lambda v, m=model: m(v)[0][0], u[i : i + 1])
            exact = exact.reshape(math.prod(shape), -1)
            assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(exact)[1].item(), abs=1e-9)
            ours = jacobian(lambda v, m=model: m(v)[0], u[i : i + 1])
            assert torch.allclose(ours, exact, atol=1e-12)


@every_flow
@torch.no_grad()
def test_density_of_points_integrates_to_one(name, kw):
    model = stirred(name, (2,), 0.15, **kw)
    line = torch.linspace(-15, 15, 601)
    mass = model.log_prob(torch.cartesian_prod(line, line)).double().exp().sum().item() * 0.05**2
    assert mass == pytest.approx(1, abs=4e-3)


@every_flow
@torch.no_grad()
def test_masses_of_the_discrete_images_sum_to_at_most_one(name, kw):
    model = stirred(name, (1, 2, 2), levels=2, **{**kw, **({"scales": 1} if name in ("glow", "realnvp") else {})})
    x = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4).view(-1, 1, 2, 2)
    draws = torch.stack([model.log_prob(x, generator=gen(i)) for i in range(100)]).double()
    mass = draws.exp().mean(0).sum().item()  # of the cells inside [0, 1]; the prior reaches beyond them
    assert 1e-4 < mass < 1.05
    assert draws.mean(0).exp().sum().item() <= mass + 1e-3  # the mean of the logs is a lower bound


@every_flow
@torch.no_grad()
def test_dequantized_white_is_never_one_and_scores_are_finite(name, kw):
    white = torch.ones(300, 1, 16, 16)
    assert dequantize(white, 256, gen()).max() < 1
    model = stirred(name, (1, 16, 16), **kw)
    for x in (white, -white, white * torch.randint(0, 2, white.shape, generator=gen()).mul(2).sub(1)):
        assert model.log_prob(x, generator=gen(3)).isfinite().all()


@every_flow
@torch.no_grad()
def test_codes_of_images_are_exact_repeatable_and_of_the_middle_of_each_level(name, kw):
    shape = odd_shape(name)
    model = stirred(name, shape, **kw)
    x = images(32, shape)
    z = model.encode(x)
    assert torch.equal(z, model.encode(x))
    assert torch.allclose(model.decode(z), x, atol=1e-6)
    middle = ((x + 1) * 127.5).round().add(0.5).div(256)
    assert torch.equal(z, model(middle)[0])


@every_flow
@torch.no_grad()
def test_temperature_scales_the_latents_and_zero_draws_one_thing(name, kw):
    model = stirred(name, (1, 8, 8), **kw)
    warm = model.sample(4, generator=gen(), temperature=0.5)
    assert torch.equal(warm, model.decode(0.5 * model.sample_prior(4, generator=gen())))
    cold = model.sample(3, generator=gen(), temperature=0)
    assert torch.equal(cold[0], cold[2])


@every_flow
def test_scores_stay_in_float32_under_autocast(name, kw):
    model = stirred(name, (1, 8, 8), **kw)
    x = images()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        z, log_det = model(dequantize(x, 256, gen()))
        scored = model.log_prob(x)
    assert z.dtype == log_det.dtype == scored.dtype == torch.float32
    plain = model.log_prob(x)
    assert (scored - plain).abs().max() < 0.03 * plain.abs().max()


@every_flow
def test_jacobian_condition_is_the_extreme_singular_values(name, kw):
    model = stirred(name, (2,), 0.3, **kw)
    x = torch.randn(3, 2, generator=gen())
    extremes = model.jacobian_condition(x)
    assert extremes.shape == (3, 2)
    assert extremes.dtype == torch.float64
    assert (extremes[:, 0] >= extremes[:, 1]).all()
    # in two dimensions their product is |det|
    assert torch.allclose(extremes.log().sum(1), model(x)[1].detach().double(), atol=1e-4)
    with pytest.raises(UserError, match="4096"):
        build(name, shape=(3, 64, 64), **kw).jacobian_condition(torch.zeros(1, 3, 64, 64))


def test_the_jacobian_of_a_known_map_is_known_beyond_one_pass():
    g = gen()
    w = torch.randn(300, 300, generator=g, dtype=torch.float64)
    u = torch.randn(1, 3, 10, 10, generator=g, dtype=torch.float64)
    assert torch.allclose(jacobian(lambda v: v.flatten(1) @ w.mT, u), w)
    values = torch.linalg.svdvals(w)
    assert torch.allclose(extreme_singular_values(lambda v: v.flatten(1) @ w.mT, u)[0], values[[0, -1]])


@every_flow
def test_every_flow_samples_scores_encodes_and_decodes(name, kw):
    assert set(capabilities(build(name, **kw))) >= {"samples", "density", "decodes", "encodes", "inverts"}


def test_an_evaluation_reports_the_condition_or_says_why_not(runs, monkeypatch):
    run = runs("linear-flow")
    name = "condition of the Jacobian"
    found = genzoo.evaluate(run, n=4)
    largest, smallest = genzoo.load(run.path).jacobian_condition(images(1))[0].tolist()
    assert found["measures"][name]["value"] == pytest.approx(math.log10(largest / smallest))
    assert found["measures"][name]["unit"] == "log10"
    monkeypatch.setattr(importlib.import_module("genzoo.metrics.condition"), "LARGEST", 10)
    found = genzoo.evaluate(run, n=4)
    assert "64 dimensions" in found["not_measured"]["condition"]
    assert name not in found["measures"]
