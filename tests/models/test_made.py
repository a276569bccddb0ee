"""The numerical truths of made: masks, orders, a normalized likelihood, logistic regressions, and a draw of one pass."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.metrics.nll import evaluate_density
from genzoo.models.autoregressive import _masked_walk
from genzoo.models.autoregressive.made import MADE
from genzoo.training.choices import facts


def build(shape=(1, 5, 4), std=0.4, **settings):
    torch.manual_seed(0)
    system = MADE(shape, **{"levels": 2, "width": 23, "layers": 2, "direct": True, **settings})
    for p in system.parameters():
        torch.nn.init.normal_(p, std=std)
    return system.eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def states(levels, shape):
    return torch.cartesian_prod(*[torch.arange(levels)] * math.prod(shape)).view(-1, *shape)


def images(system, n, seed=0):
    tokens = torch.randint(0, system.grid.levels, (n, *system.shape), generator=seeded(seed))
    return system.grid.values(tokens)


KINDS = {
    "fvsbn": {"layers": 0},
    "one layer": {"layers": 1, "direct": False},
    "two layers": {"layers": 2},
    "orders": {"order": "random", "masks": 3},
}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

# ---- likelihood ------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(("shape", "levels"), [((1, 3, 4), 2), ((3, 2, 1), 4)])
def test_probabilities_of_all_4096_images_sum_to_one(kind, shape, levels):
    system = build(shape, levels=levels, **kind)
    x = system.grid.values(states(levels, shape))
    assert len(x) == 4096
    log_p = system.log_prob(x)
    assert log_p.std() > 0.3, "a uniform model would prove little"
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=2e-5)


def test_fvsbn_is_one_logistic_regression_of_each_pixel_on_those_before():
    system = build((2, 3, 3), layers=0)
    x = images(system, 7)
    raster = x.permute(0, 2, 3, 1).flatten(1)  # rows, then pixels, then the colours of a pixel
    place = torch.arange(18).view(2, 9).T.flatten()  # where the t-th of that order stands in [C, H, W]
    total = torch.zeros(7)
    for t in range(18):
        w, b = system.direct.weight[place[t]][place[:t]], system.direct.bias[place[t]]
        logit = raster[:, :t] @ w + b
        total -= F.binary_cross_entropy_with_logits(logit, (raster[:, t] > 0).float(), reduction="none")
    torch.testing.assert_close(system.log_prob(x), total)


def test_fitting_fvsbn_reaches_the_optimum_of_each_logistic_regression():
    """The likelihood is concave: gradient ascent and scikit-learn end at the same nats."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    torch.manual_seed(0)
    x = (torch.randn(300, 1, 2, 3).cumsum(3) > 0).float() * 2 - 1
    system = MADE((1, 2, 3), levels=2, layers=0, direct=True)
    optimizer = torch.optim.LBFGS(system.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = system.loss({"image": x})["loss"]
        loss.backward()
        return loss

    optimizer.step(closure)
    flat, total = x.flatten(1).numpy(), 0.0
    for t in range(6):
        inputs = flat[:, :t] if t else 0 * flat[:, :1]
        fitted = linear_model.LogisticRegression(C=1e6, max_iter=1000).fit(inputs, flat[:, t])
        p = fitted.predict_proba(inputs)[range(300), (flat[:, t] > 0).astype(int)]
        total -= math.fsum(map(math.log, p)) / 300
    assert system.loss({"image": x})["loss"].item() == pytest.approx(total, abs=1e-3)


def test_the_mixture_over_mask_sets_is_the_mean_of_their_probabilities():
    system = build(masks=4, order="random")
    x = images(system, 5)
    each = torch.stack([system._log_mass(system._inputs(x), m) for m in range(4)]).double()
    assert each.std(0).min() > 0.01
    torch.testing.assert_close(system.log_prob(x).double(), each.exp().mean(0).log())
    assert system.likelihood == "exact, of the mixture over 4 mask sets"
    torch.manual_seed(0)
    losses = {round(system.loss({"image": x})["loss"].item(), 4) for _ in range(40)}
    assert losses == {round(-v.item(), 4) for v in each.mean(1)}, "a step uses one mask set, and each has its turn"


@pytest.mark.parametrize("components", [1, 3])
@pytest.mark.parametrize("layers", [0, 2])
def test_density_of_points_integrates_to_one(components, layers):
    system = build((2,), components=components, layers=layers, std=0.3)
    side = torch.linspace(-12, 12, 301)
    x = torch.cartesian_prod(side, side)
    total = system.log_prob(x).double().exp().sum() * (24 / 300) ** 2
    assert total.item() == pytest.approx(1, abs=1e-3)


def test_gaussian_conditionals_without_hidden_layers_are_linear_regressions():
    system = build((3,), layers=0)
    x = torch.randn(6, 3)
    w, b = (
        system.direct.weight.view(3, 3, 3),
        system.direct.bias.view(3, 3),
    )  # [dimension, mean | log std | weight, input]
    total = torch.zeros(6)
    for d in range(3):
        mean, log_std = (x[:, :d] @ w[d, k, :d] + b[d, k] for k in (0, 1))
        total += torch.distributions.Normal(mean, log_std.exp()).log_prob(x[:, d])
    torch.testing.assert_close(system.log_prob(x), total)


def test_the_log_is_in_nats_and_bits():
    system = build((3, 4, 4), levels=16)
    for p in system.parameters():
        torch.nn.init.zeros_(p)
    logs = system.loss({"image": images(system, 3)})
    assert logs["loss"].item() == pytest.approx(48 * math.log(16), rel=1e-6)
    assert logs["bits_per_dim"].item() == pytest.approx(4)


def test_autocast_keeps_the_likelihood_in_float32():
    system = build(levels=256)
    x = images(system, 4)
    with torch.autocast("cpu", torch.bfloat16):
        log_p = system.log_prob(x)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, system.log_prob(x), rtol=0.02, atol=0)


# ---- order -----------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("shape", [(1, 4, 3), (3, 2, 2)])
def test_each_output_sees_all_that_is_before_it_in_the_order_and_nothing_else(kind, mode, shape):
    system = build(shape, width=400, **kind).double().train(mode == "train")
    x = system._inputs(images(system, 4)).requires_grad_()
    for m in range(system.masks):
        out = system(x, system.masks_of(system.ranks[m], system.degrees[m]))
        for d in range(system.dims):
            (grad,) = torch.autograd.grad(out[:, d].sin().sum(), x, retain_graph=True)
            seen = grad.abs().sum(0) > 0
            assert torch.equal(seen, system.ranks[m] < system.ranks[m, d])


def test_raster_order_has_the_colours_of_a_pixel_in_turn():
    ranks = build((3, 2, 2), order="raster").ranks[0].view(3, 2, 2)
    assert ranks[:, 0, 0].tolist() == [1, 2, 3]
    assert ranks[:, 0, 1].tolist() == [4, 5, 6]
    assert ranks[:, 1, 0].tolist() == [7, 8, 9]


def test_orders_are_permutations_and_degrees_rise_through_the_layers():
    system = build((1, 6, 6), order="random", masks=5, layers=3)
    assert torch.equal(system.ranks.sort(1).values, torch.arange(1, 37).expand(5, -1))
    assert len({tuple(r) for r in system.ranks.tolist()}) == 5
    assert system.degrees.min() >= 1
    assert system.degrees.max() <= 35
    assert (system.degrees[:, 1:].min(2).values >= system.degrees[:, :-1].min(2).values).all()
    assert len(build(masks=2).ranks.unique(dim=0)) == 1, "mask sets of the raster order differ in their degrees only"
    assert {"ranks", "degrees"} <= set(system.state_dict())


def test_kept_masks_follow_a_loaded_checkpoint_and_another_precision():
    one, other = build(order="random"), MADE((1, 5, 4), levels=2, width=23, direct=True, order="random")
    x = images(one, 3)
    before = other.log_prob(x)
    other.load_state_dict(one.state_dict())
    assert not torch.equal(other.log_prob(x), before)
    assert torch.equal(other.log_prob(x), one.log_prob(x))
    torch.testing.assert_close(other.double().log_prob(x), one.log_prob(x).double())


def test_training_never_writes_the_mask_into_the_weights():
    system = build().train()
    before = system.hidden[0].weight.detach().clone()
    mask = system.degrees[0, 0][:, None] >= system.ranks[0][None]
    system.loss({"image": images(system, 3)})["loss"].backward()
    system.optimizers()["model"].step()
    assert torch.equal(system.hidden[0].weight[~mask], before[~mask])
    assert not torch.equal(system.hidden[0].weight[mask], before[mask])


# ---- drawing ---------------------------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(("shape", "levels"), [((1, 5, 4), 2), ((3, 3, 2), 16), ((1, 4, 3), 256)])
@pytest.mark.parametrize("seed", [0, 1])
def test_cached_sampling_equals_naive_token_for_token(kind, shape, levels, seed):
    system = build(shape, levels=levels, **kind)
    cached = system.sample(7, generator=seeded(seed), temperature=0.9)
    assert torch.equal(cached, system.sample(7, generator=seeded(seed), temperature=0.9, cached=False))
    assert torch.equal(system.grid.values(system.grid.tokens(cached)), cached)
    assert cached.dtype == torch.float32


@kinds
@pytest.mark.parametrize(("shape", "levels"), [((1, 7, 11), 2), ((3, 4, 5), 4), ((1, 1, 33), 2), ((1, 1, 1), 2)])
@pytest.mark.parametrize("large", [1, _masked_walk.LARGE])
def test_draws_over_several_blocks_equal_naive_ones_however_large_the_last_layer_is(
    kind, shape, levels, large, monkeypatch
):
    monkeypatch.setattr(_masked_walk, "LARGE", large)
    system = build(shape, levels=levels, **kind)
    cached, naive = (system.sample(3, generator=seeded(4), temperature=0.9, cached=c) for c in (True, False))
    assert torch.equal(cached, naive)
    x, known = images(system, 3), torch.rand(3, 1, *shape[1:], generator=seeded(2)) < 0.5
    cached, naive = (system.complete(x, known, generator=seeded(5), cached=c) for c in (True, False))
    assert torch.equal(cached, naive)


@pytest.mark.parametrize("components", [1, 4])
def test_cached_sampling_of_points_equals_naive(components):
    system = build((4,), components=components, masks=2, order="random")
    cached, naive = (system.sample(50, generator=seeded(1), cached=c) for c in (True, False))
    torch.testing.assert_close(cached, naive)
    assert system.sample(3, generator=seeded()).shape == (3, 4)


@pytest.mark.parametrize("kind", [{"order": "raster"}, {"order": "random", "masks": 2}])
def test_samples_follow_the_distribution_that_log_prob_states(kind):
    system = build((1, 2, 2), **kind)
    p = system.log_prob(system.grid.values(states(2, (1, 2, 2)))).double().exp()
    n = 40000
    drawn = system.grid.tokens(system.sample(n, generator=seeded(5))).flatten(1)
    counts = (drawn * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    chi2 = ((counts - n * p).square() / (n * p)).sum().item()
    assert chi2 < 37.7, "15 degrees of freedom: beyond this once in a thousand"  # and the seed is fixed


def test_points_have_the_moments_of_their_density():
    system = build((2,), components=3, std=0.3)
    drawn = system.sample(40000, generator=seeded())
    side = torch.linspace(-12, 12, 301)
    grid = torch.cartesian_prod(side, side)
    p = system.log_prob(grid).double().softmax(0)
    torch.testing.assert_close(drawn.mean(0).double(), (p[:, None] * grid).sum(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.square().mean(0).double(), (p[:, None] * grid**2).sum(0), atol=0.08, rtol=0.03)


@kinds
@pytest.mark.parametrize("cached", [True, False])
def test_complete_keeps_known_pixels_and_the_cache_changes_nothing(kind, cached):
    system = build((3, 4, 3), levels=8, **kind)
    x = torch.rand(4, 3, 4, 3, generator=seeded(1)) * 2 - 1  # off the grid of levels: kept all the same
    known = torch.rand(4, 1, 4, 3, generator=seeded(2)) < 0.5
    known[1:3] = known[0]  # several images of one mask are drawn together
    filled = system.complete(x, known, generator=seeded(3), cached=cached)
    keep = known.expand_as(x)
    assert torch.equal(filled[keep], x[keep])
    assert not torch.equal(filled[~keep], x[~keep])
    assert torch.equal(filled, system.complete(x, known, generator=seeded(3), cached=not cached))
    assert torch.equal(filled, system.complete(torch.where(keep, x, 0.3), known, generator=seeded(3)))


@pytest.mark.parametrize("order", ["raster", "random"])
def test_only_a_random_order_lets_completion_see_known_pixels_that_come_later(order):
    system = build((1, 1, 2), order=order, layers=0)
    with torch.no_grad():  # both pixels are alike, whichever is drawn first
        system.direct.weight.fill_(20.0)
        system.direct.bias.zero_()
    known = torch.tensor([False, True]).view(1, 1, 1, 2).expand(64, -1, -1, -1)
    x = torch.cat([-torch.ones(32, 1, 1, 2), torch.ones(32, 1, 1, 2)])
    agree = (system.complete(x, known, generator=seeded()) == x)[..., 0].float().mean()
    assert agree == 1 if order == "random" else agree < 0.8


# ---- data and settings -----------------------------------------------------------------------------------------------


def test_binarization_is_a_property_of_the_data_that_travels_with_the_number():
    for kind in ("static", "dynamic"):
        data = open_data(DataSettings("digits", binarize=kind), split="test", quiet=True)
        shape = facts(MADE, data)["shape"]
        assert facts(MADE, data)["levels"] == 2, "the data answer how many levels there are"
        first, again = (to_float(Batches(data, 50, 0).at(step), "cpu")["image"] for step in (0, 0))
        assert set(first.unique().tolist()) == {-1.0, 1.0}
        assert torch.equal(first, again)
        record = evaluate_density(MADE(shape, levels=2, layers=0, direct=True), data, n=20)
        assert f"binarised ({kind})" in record["protocol"]


def test_learns_two_images_almost_by_heart():
    torch.manual_seed(0)
    system = MADE((1, 8, 8), levels=2, width=64, lr=1e-2)
    x = images(system, 2, seed=7)
    optimizer = system.optimizers()["model"]
    for _ in range(100):
        optimizer.zero_grad()
        system.loss({"image": x})["loss"].backward()
        optimizer.step()
    assert math.log(2) * 0.95 < system.loss({"image": x})["loss"].item() < 4


def test_refusals_say_what_to_do():
    with pytest.raises(UserError, match=r"levels=.* is not allowed; give 2 \| 4 \| 8"):
        MADE((1, 8, 8), levels=10)
    with pytest.raises(UserError, match="direct=true"):
        MADE((1, 8, 8), layers=0, direct=False)
    with pytest.raises(UserError, match="not shape"):
        MADE((1, 8))
    with pytest.raises(UserError, match=r"takes \[B, 1, 5, 4\]"):
        build().log_prob(torch.zeros(2, 3, 5, 4))
    points = build((2,))
    with pytest.raises(UserError, match=r"takes \[B, 2\]"):
        points.log_prob(torch.zeros(2, 3))
    with pytest.raises(UserError, match="images only"):
        points.complete(torch.zeros(2, 2), torch.ones(2, 2), generator=seeded())
    with pytest.raises(UserError, match="temperature"):
        build().sample(1, generator=seeded(), temperature=0)
    with pytest.raises(UserError, match="True keeps"):
        build().complete(torch.zeros(2, 1, 5, 4), torch.ones(2, 1, 5, 4), generator=seeded())


def test_one_dimension_alone_is_a_distribution_too():
    for shape in ((1, 1, 1), (1,)):
        system = build(shape)
        assert system.sample(3, generator=seeded()).shape == (3, *shape)
    both = build((1, 1, 1)).log_prob(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
    assert both.exp().sum().item() == pytest.approx(1)


def test_capabilities_and_presets():
    assert capabilities(MADE) == ("samples", "density", "completes", "predicts", "calibrates")
    for overrides, layers in itertools.product(MADE.presets.values(), (0, 1)):
        MADE(**{**overrides, "shape": (1, 4, 4), "layers": layers, "direct": True, "width": 8})
