"""Real NVP inverts, its log-determinant is the Jacobian's, its density integrates to one, and it starts and loads as it should."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.flows.realnvp import RealNVP
from genzoo.nn.dequantize import dequantize
from genzoo.nn.flow.bijections import ActNorm, checkerboard, logit, squeeze, unlogit, unsqueeze


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=8, shape=(1, 8, 8), levels=256):
    return torch.randint(0, levels, (n, *shape), generator=gen()).float() * (2 / (levels - 1)) - 1


def stirred(shape, **kw):
    """A small flow whose every parameter is away from its start, so that no term is trivially zero."""
    torch.manual_seed(0)
    model = RealNVP(tuple(shape), **{"width": 8, "blocks": 1, "couplings": 2, **kw})
    with torch.no_grad():
        for name, p in model.named_parameters():
            if not name.endswith("gain"):
                p.add_(0.15 * torch.randn(p.shape, generator=gen(1)))
    return model.eval()


def train(model, field, x, steps):
    model.train()
    optimizer = model.optimizers()["model"]
    for _ in range(steps):
        loss = model.loss({field: x() if callable(x) else x})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


SHAPES = [
    ((1, 8, 8), {}),
    ((3, 4, 12), {"scales": 3}),
    ((2, 6, 4), {"fold": False, "widen": True}),
    ((1, 5, 7), {"scales": 1}),
]


@pytest.mark.parametrize(("shape", "kw"), SHAPES)
@torch.no_grad()
def test_inverse_undoes_forward_in_float32(shape, kw):
    model = stirred(shape, **kw)
    u = dequantize(images(16, shape), 256, gen())
    z, _ = model(u)
    assert z.shape == (16, math.prod(shape))
    assert (
        model.inverse(z) - u
    ).abs().max() < 5e-5  # 1e-5 on most processors, 1.6e-5 on one: z itself is rounded to 32 bits
    assert (model(model.inverse(z))[0] - z).abs().max() < 1e-3


@torch.no_grad()
def test_inverse_undoes_forward_for_points():
    model = stirred((3,), width=16, blocks=2)
    x = torch.randn(200, 3, generator=gen())
    assert (model.inverse(model(x)[0]) - x).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("shape", "kw"), [((1, 4, 4), {}), ((1, 4, 8), {"scales": 3}), ((3, 2, 2), {"fold": False}), ((3,), {})]
)
def test_log_det_is_the_autograd_jacobians(shape, kw):
    model = stirred(shape, **kw).double()
    u = torch.rand(2, *shape, generator=gen(), dtype=torch.float64)
    _, log_det = model(u)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: model(v)[0][0], u[i : i + 1])
        exact = torch.linalg.slogdet(jacobian.reshape(math.prod(shape), -1))[1]
        assert log_det[i].item() == pytest.approx(exact.item(), abs=1e-9)


@torch.no_grad()
def test_density_of_points_integrates_to_one():
    model = stirred((2,), width=16, blocks=2)
    line = torch.linspace(-12, 12, 301)
    grid = torch.cartesian_prod(line, line)
    assert model.log_prob(grid).exp().sum().item() * (24 / 300) ** 2 == pytest.approx(1, abs=2e-3)


@torch.no_grad()
def test_density_of_images_integrates_to_one_and_masses_sum_to_one():
    model = stirred((1, 1, 2), scales=1, levels=4)
    n = 250
    line = (torch.arange(n) + 0.5) / n
    u = torch.cartesian_prod(line, line).view(-1, 1, 1, 2)
    z, log_det = model(u)
    density = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(1) + log_det
    inside = (
        density.exp().mean().item()
    )  # the logit lets a little mass lie outside [0, 1]: a flow on [0, 1] has at most one
    assert 0.5 < inside <= 1.001
    wide = (torch.arange(600) + 0.5) / 600 * 1.1109 - 0.05545  # everything that the inverse can reach
    z, log_det = model(torch.cartesian_prod(wide, wide).view(-1, 1, 1, 2))
    density = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(1) + log_det
    assert density.exp().mean().item() * 1.1109**2 == pytest.approx(1, abs=0.01)
    x = torch.cartesian_prod(*[torch.linspace(-1, 1, 4)] * 2).view(-1, 1, 1, 2)
    draws = torch.stack([model.log_prob(x, generator=gen(i)) for i in range(100)])
    assert draws.exp().mean(0).sum().item() == pytest.approx(
        inside, abs=0.02
    )  # mean over noise of the mass is the mass
    assert draws.mean(0).exp().sum().item() <= inside + 0.02  # and the reported mean is a lower bound


def test_logit_is_finite_at_black_and_white_and_its_slope_is_exact():
    white = torch.ones(200, 1, 32, 32)
    u = dequantize(white, 256, gen())
    assert u.max() < 1
    y, slope = logit(u, 0.05)
    assert y.isfinite().all()
    assert slope.isfinite().all()
    v = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None].requires_grad_()
    y, slope = logit(v, 0.05)
    assert torch.allclose(slope, torch.autograd.grad(y.sum(), v)[0][:, 0].log(), atol=1e-12)
    assert torch.allclose(unlogit(y, 0.05), v, atol=1e-12)


def test_squeeze_and_masks():
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    y = squeeze(x)
    assert y.shape == (2, 12, 2, 3)
    assert torch.equal(unsqueeze(y), x)
    assert torch.equal(
        y[:, :6, 0], torch.cat([x[:, :, 0, 0::2], x[:, :, 0, 1::2]], 1)
    )  # first half: upper rows of the blocks
    even, odd = checkerboard(3, 4), checkerboard(3, 4, odd=True)
    assert torch.equal(even + odd, torch.ones(1, 1, 3, 4))
    assert even[0, 0, 0, :2].tolist() == [1, 0]
    assert even[0, 0, 1, :2].tolist() == [0, 1]


def test_actnorm_starts_from_the_first_training_batch_only_and_is_restored():
    torch.manual_seed(0)
    x = 5 + 3 * torch.randn(64, 4, 6, 6)
    norm = ActNorm(4).eval()
    assert torch.equal(norm(x)[0], x)
    assert not norm.initialised
    y, log_det = norm.train()(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    assert (y.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    assert log_det[0].item() == pytest.approx(
        -36 * x.double().var((0, 2, 3), correction=0).log().sum().item() / 2, rel=1e-5
    )
    state = {k: v.clone() for k, v in norm.state_dict().items()}
    norm(x * 100)
    assert all(torch.equal(v, state[k]) for k, v in norm.state_dict().items())
    other = ActNorm(4).train()
    other.load_state_dict(state)
    assert torch.equal(other(x * 100)[0], norm(x * 100)[0])  # training goes on from what was loaded


def test_actnorm_of_a_constant_channel_stays_finite():
    x = torch.randn(8, 3, 4, 4, generator=gen())
    x[:, 1] = 2.0
    y, log_det = ActNorm(3).train()(x)
    assert y.isfinite().all()
    assert log_det.abs().max() < 16 * 8


def _started(x):
    norm = ActNorm(3).train()
    norm(x)
    return norm.state_dict()


def _started_on_one_of_two(rank, x):
    return _started(x.chunk(2)[rank])


def test_actnorm_starts_equal_on_all_ranks_and_as_on_one_rank_with_the_joined_batch(two_ranks):
    x = torch.randn(32, 3, 4, 4, generator=gen()) * 2 + 1
    a, b = two_ranks(_started_on_one_of_two, x)
    for key, value in _started(x).items():
        assert torch.equal(a[key], b[key])
        assert torch.allclose(a[key].float(), value.float(), atol=1e-6)


def test_training_lowers_bits_and_single_images_score_as_in_a_batch():
    x = images(64, (1, 8, 4)).repeat_interleave(2, 3)  # neighbours are equal: much to gain beyond shift and scale
    torch.manual_seed(0)
    model = RealNVP((1, 8, 8), width=8, blocks=1, couplings=2, lr=1e-2)
    train(model, "image", x, 1)
    before = model.log_prob(x).mean()
    train(model, "image", x, 30)
    after = model.log_prob(x, generator=gen())
    assert after.mean() > before + 10
    one = model.log_density(*model(dequantize(x, 256, gen())[:1]))  # no batch statistics anywhere
    assert torch.allclose(one, after[:1], rtol=1e-5)


def test_points_are_fitted_to_better_than_a_gaussian():
    angle = torch.rand(4000, generator=gen()) * 2 * math.pi
    x = torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.1 * torch.randn(4000, 2, generator=gen(1))
    torch.manual_seed(0)
    model = RealNVP((2,), width=32, couplings=2, lr=5e-3)
    train(model, "points", lambda: x[torch.randint(4000, (256,))], 200)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    assert model.log_prob(x).mean() > gaussian + 0.5
    radius = model.sample(500, generator=gen()).norm(dim=1)
    assert ((radius - 2).abs() < 0.5).float().mean() > 0.8


@torch.no_grad()
def test_encode_decode_and_samples():
    model = stirred((3, 4, 8))
    x = images(6, (3, 4, 8))
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-6)
    a, b, c = (model.sample(5, generator=gen(s)) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.shape == (5, 3, 4, 8)
    assert a.abs().max() <= 1
    cold = model.sample(5, generator=gen(), temperature=0.0)
    assert torch.equal(cold[0], cold[1])
    assert torch.equal(model.log_prob(x), model.log_prob(x))
    assert set(capabilities(model)) >= {"samples", "density", "decodes", "encodes"}


@torch.no_grad()
def test_likelihood_keeps_full_precision_under_autocast():
    model = stirred((1, 8, 8))
    x = images()
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = model(dequantize(x, 256, gen()))
        scored = model.log_prob(x)
    assert z.dtype == log_det.dtype == scored.dtype == torch.float32
    assert (scored - model.log_prob(x)).abs().max() < 0.02 * model.log_prob(x).abs().max()


def test_jacobian_condition_gives_the_extreme_singular_values():
    model = stirred((2,), width=16)
    x = torch.randn(3, 2, generator=gen())
    extremes = model.jacobian_condition(x)
    assert extremes.shape == (3, 2)
    assert (extremes[:, 0] >= extremes[:, 1]).all()
    assert torch.allclose(
        extremes.log().sum(1), model(x)[1].detach().double(), atol=1e-4
    )  # in 2-D their product is |det|
    with pytest.raises(UserError, match="4096"):
        stirred((3, 64, 64), scales=1).jacobian_condition(torch.zeros(1, 3, 64, 64))


def test_sizes_that_do_not_fit_are_refused_with_those_that_do():
    with pytest.raises(UserError, match=r"multiples of 4, not 30x28.*size=.*scales=2"):
        RealNVP((1, 30, 28), scales=3)
    with pytest.raises(UserError, match="two dimensions"):
        RealNVP((1,))


def test_the_penalty_is_on_gains_only_and_every_parameter_has_one_owner():
    model = RealNVP((1, 8, 8), width=8)
    groups = model.optimizers()["model"].param_groups
    owned = [p for g in groups for p in g["params"]]
    assert len(owned) == len({id(p) for p in owned}) == len(list(model.parameters()))
    assert {g["weight_decay"] for g in groups} == {0, 5e-5}
    assert len(groups[1]["params"]) == sum(name.endswith("gain") for name, _ in model.named_parameters())


def test_paper_preset_fits_the_signature():
    model = RealNVP((3, 4, 4), **{**RealNVP.presets["realnvp-paper"], "width": 2, "blocks": 1})
    assert model.loss({"image": images(4, (3, 4, 4))})["loss"].isfinite()
