"""NICE keeps volumes but for its diagonal, draws from the prior that it scores, and couples every dimension with every other."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.losses.likelihoods import standard_logistic
from genzoo.models.flows.nice import NICE
from genzoo.nn.flow.bijections import AdditiveCoupling
from tests.models.test_flows import gen, images, stirred


@pytest.mark.parametrize("dims", [2, 3, 7])
@pytest.mark.parametrize("odd", [False, True])
def test_an_additive_coupling_keeps_half_and_moves_the_other_by_a_function_of_it(dims, odd):
    torch.manual_seed(0)
    kept, moved = ((dims + 1) // 2, dims // 2)[:: -1 if odd else 1]
    layer = AdditiveCoupling(torch.nn.Sequential(torch.nn.Linear(kept, moved), torch.nn.Tanh()), odd=odd).double()
    x = torch.randn(4, dims, generator=gen(), dtype=torch.float64)
    before = x.clone()
    y, log_det = layer(x)
    assert torch.equal(x, before)
    assert torch.equal(y[:, int(odd) :: 2], x[:, int(odd) :: 2])
    assert not torch.isclose(y[:, 1 - int(odd) :: 2], x[:, 1 - int(odd) :: 2]).any()
    assert torch.equal(log_det, torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(layer.inverse(y), x, atol=1e-12)


def test_the_determinant_is_that_of_the_two_scalings_at_every_point():
    model = stirred("nice", (6,), 0.3)
    x = torch.randn(50, 6, generator=gen())
    log_det = model(x)[1]
    assert torch.allclose(log_det, log_det[:1].expand(50))
    assert log_det[0].item() == pytest.approx((model.log_scale.sum() + model.flow[0].log_scale.sum()).item(), abs=1e-5)


def test_the_logistic_density_is_scipys_and_integrates_to_one():
    stats = pytest.importorskip("scipy.stats")
    x = torch.linspace(-40, 40, 4001, dtype=torch.float64)
    ours = standard_logistic(x)
    assert torch.allclose(ours, torch.from_numpy(stats.logistic.logpdf(x.numpy())), atol=1e-12)
    assert ours.exp().sum().item() * 0.02 == pytest.approx(1, abs=1e-9)
    assert standard_logistic(torch.tensor([-1e4, 1e4])).isfinite().all()


@pytest.mark.parametrize(("prior", "variance"), [("logistic", math.pi**2 / 3), ("normal", 1.0)])
def test_latents_are_drawn_from_the_prior_that_is_scored(prior, variance):
    """Trained with a logistic prior and drawn from a normal one, samples would be of another model."""
    model = NICE((2,), prior=prior, width=8)
    z = model.sample_prior(100_000, generator=gen()).double()
    assert z.isfinite().all()
    assert z.var().item() == pytest.approx(variance, rel=0.02)
    assert (z**4).mean().item() / variance**2 == pytest.approx(4.2 if prior == "logistic" else 3.0, rel=0.05)
    power = model.train().loss({"points": torch.randn(1000, 2, generator=gen())})["latent_power"]
    assert power.item() == pytest.approx(1 / variance, rel=0.05), "unit variances, over the prior's"


def test_four_couplings_let_every_dimension_depend_on_every_other():
    model = stirred("nice", (6,), 0.5, width=32).double()
    x = torch.randn(1, 6, generator=gen(), dtype=torch.float64)
    reached = torch.autograd.functional.jacobian(lambda v: model(v)[0][0], x)[:, 0] != 0
    assert reached.all()


def test_training_lowers_bits_on_images_of_constant_and_of_copied_pixels():
    x = images(64, (1, 8, 4)).repeat_interleave(
        2, 3
    )  # neighbours are equal: a shift by the neighbour removes one of them
    x[..., 0, :] = -1
    torch.manual_seed(0)
    model = NICE((1, 8, 8), width=32, depth=1, lr=1e-2).train()
    optimizer = model.optimizers()["model"]
    start = None
    for _ in range(120):
        optimizer.zero_grad()
        model.loss({"image": x})["loss"].backward()
        optimizer.step()
        if start is None:
            start = model.log_prob(x).mean()
    assert model.eval().log_prob(x).mean() > start + 10


@pytest.mark.parametrize("preset", NICE.presets)
def test_the_papers_nets(preset):
    model = NICE((1, 4, 4), **NICE.presets[preset])
    width, depth = NICE.presets[preset]["width"], NICE.presets[preset]["depth"]
    nets = [layer.net for layer in model.flow if isinstance(layer, AdditiveCoupling)]
    assert len(nets) == 4
    for net in nets:
        linear = [m for m in net if isinstance(m, torch.nn.Linear)]
        assert [m.out_features for m in linear] == [width] * depth + [8]
        assert sum(isinstance(m, torch.nn.ReLU) for m in net) == depth


def test_one_dimension_is_refused():
    with pytest.raises(UserError, match="two dimensions"):
        NICE((1,))
    with pytest.raises(UserError, match="two dimensions"):
        NICE((1, 1, 1))
