"""The bounds of the VAE are bounds, tighten as they should and are refused where they would not be a likelihood."""

import math

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.models.autoencoding.vae import VAE


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def binary(n=16, shape=(1, 4, 4), seed=0):
    return 2 * torch.randint(0, 2, (n, *shape), generator=gen(seed)).float() - 1


def small(**kw):
    torch.manual_seed(0)
    return VAE(**{"shape": (1, 4, 4), "levels": 2, "latent": 1, "hidden": 8, "depth": 1, **kw})


def train(model, x, steps=60):
    optimizer = model.optimizers()["model"]
    for _ in range(steps):
        logs = model.loss({"image": x})
        optimizer.zero_grad()
        logs["loss"].backward()
        optimizer.step()
    return model.eval(), logs


def by_quadrature(model, x):
    """log p(x) of a model with one latent, integrated on a fine grid."""
    z = torch.linspace(-8, 8, 4001)[:, None]
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z[:, 0])
    likelihood = model._log_likelihood_of_many(model._target(x, gen()), z[:, None].expand(-1, len(x), 1))
    return (likelihood + prior[:, None] + math.log(16 / 4000)).logsumexp(0)


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized-logistic"])
@torch.no_grad()
def test_log_prob_approaches_the_integral_from_below(likelihood):
    x = binary(4, (1, 2, 2))
    with torch.enable_grad():
        model, _ = train(
            small(
                shape=(1, 2, 2),
                likelihood=likelihood,
                spread="channel" if likelihood != "bernoulli" else "auto",
                lr=1e-2,
            ),
            x,
        )
    exact = by_quadrature(model, x)
    many = model.log_prob(x, generator=gen(), samples=20000)
    assert (many - exact).abs().max() < 0.02
    copies = x.repeat(2000, 1, 1, 1)
    elbo = model.elbo(copies, generator=gen()).view(2000, 4).mean(0)
    few = model.log_prob(copies, generator=gen(), samples=5).view(2000, 4).mean(0)
    assert (elbo < few + 0.01).all()
    assert (few < exact + 0.01).all()


@pytest.mark.parametrize("likelihood", ["bernoulli", "discretized-logistic"])
@torch.no_grad()
def test_probabilities_of_all_images_sum_to_one(likelihood):
    levels = 2 if likelihood == "bernoulli" else 3
    line = torch.linspace(-1, 1, levels)
    images = torch.cartesian_prod(line, line, line).view(-1, 1, 1, 3)
    with torch.enable_grad():  # a posterior that fits: far from it the estimate needs more draws than a test has
        model, _ = train(small(shape=(1, 1, 3), levels=levels, likelihood=likelihood, lr=1e-2), images, 100)
    assert model.log_prob(images, samples=20000).exp().sum().item() == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_log_prob_does_not_depend_on_how_it_is_cut():
    x = binary(300)  # more than one part of 256
    with torch.enable_grad():
        model, _ = train(small(latent=2, lr=1e-2), x)
    model.decoder[-1].register_forward_hook(lambda *_: sizes.append(len(_[2])))
    sizes = []
    whole = model.log_prob(x, samples=1000)
    assert len(sizes) > 2  # the draws were taken in parts
    assert sum(sizes) == 300 * 1000, "as many as were asked for"
    one_by_one = torch.cat([model.log_prob(part, generator=gen(1), samples=1000) for part in x.split(10)])
    assert (whole - one_by_one).abs().mean() < 0.05
    sizes.clear()
    assert model.log_prob(x[:2], samples=1).shape == (2,)
    assert sum(sizes) == 2


def test_importance_weighted_loss_with_one_term_is_the_sampled_bound():
    model = small(latent=3, importance_samples=3)
    x = binary()
    torch.manual_seed(3)
    loss = model.loss({"image": x})["loss"].item()
    torch.manual_seed(3)
    torch.randint(2**62, ())
    mean, log_std = model.posterior(x)
    noise = torch.randn(3, *mean.shape)
    z = mean + log_std.exp() * noise
    normal = torch.distributions.Normal
    target = (x + 1) / 2
    likelihood = torch.stack(
        [torch.distributions.Bernoulli(logits=model.decoder(v)).log_prob(target).flatten(1).sum(1) for v in z]
    )
    weights = likelihood + normal(0, 1).log_prob(z).sum(2) - normal(mean, log_std.exp()).log_prob(z).sum(2)
    assert loss == pytest.approx(-(weights.logsumexp(0) - math.log(3)).mean().item(), rel=1e-5)


def test_beta_weighs_the_kl_term():
    logs = {}
    for beta in (0.0, 1.0, 4.0):
        model = small(latent=3, beta=beta)
        torch.manual_seed(1)
        logs[beta] = model.loss({"image": binary()})
    kl = logs[1.0]["kl"].item()
    assert logs[1.0]["loss"].item() - logs[0.0]["loss"].item() == pytest.approx(kl, rel=1e-3)
    assert logs[4.0]["loss"].item() - logs[0.0]["loss"].item() == pytest.approx(4 * kl, rel=1e-3)
    with pytest.raises(UserError, match="importance_samples"):
        small(beta=4.0, importance_samples=5)


def test_bernoulli_on_grey_images_trains_but_is_no_likelihood():
    model = small(levels=256, likelihood="bernoulli")
    assert model.loss({"image": torch.rand(4, 1, 4, 4)})["loss"].isfinite()
    for score in (model.log_prob, model.elbo):
        with pytest.raises(UserError, match="binarize"):
            score(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("likelihood", ["gaussian", "discretized-logistic"])
def test_grey_likelihoods_learn_and_score_in_the_same_units(likelihood):
    x = (
        torch.randint(100, 140, (64, 1, 4, 4), generator=gen()).float() / 127.5
    ) - 1  # about 40 of 256 levels: 5.3 bits
    model, _ = train(small(levels=256, likelihood=likelihood, lr=2e-2), x, 300)
    bits = -model.log_prob(x).mean().item() / (16 * math.log(2))
    assert 5.2 < bits < 5.8


@torch.no_grad()
def test_a_predicted_scale_is_the_distributions_and_depends_on_z():
    model = small(shape=(3, 4, 6), levels=256, latent=2, likelihood="discretized-logistic")
    assert model.log_scale is None
    assert not any("log_scale" in name for name in model.state_dict())
    z = torch.tensor([[0.0, 0.0], [1.5, -1.0]])
    out = model.decoder(z)
    assert out.shape == (2, 6, 4, 6)
    mean, scale = out[:, :3], (out[:, 3:] - 1).exp()  # the log-scale starts around -1
    assert torch.allclose(scale[0].log(), torch.tensor(-1.0), atol=0.5)
    assert (scale[0] - scale[1]).abs().max() > 1e-3
    assert torch.equal(model.decode(z), mean.clamp(-1, 1))
    x = torch.randint(1, 255, (2, 3, 4, 6), generator=gen()).double() / 127.5 - 1  # the end levels reach to infinity
    edges = [torch.sigmoid((x + side / 255 - mean) / scale) for side in (1, -1)]
    exact = (edges[0] - edges[1]).log().flatten(1).sum(1)
    assert torch.allclose(model.log_given(x.float(), z).double(), exact, atol=1e-3)
    model.decoder[-2].bias.view(6, 4, 6)[3:] = -2.0  # narrow, so that little is clamped to [-1, 1]
    mean, scale = model.decoder(z[:1])[0].chunk(2)
    scale = (scale - 1).exp()
    drawn = model.sample_given(z[:1].expand(4000, 2), generator=gen())
    inside = mean.abs() + 12 * scale < 1
    assert inside.any()
    assert torch.allclose(drawn.std(0)[inside], scale[inside] * math.pi / math.sqrt(3), rtol=0.08)


@torch.no_grad()
def test_a_predicted_scale_of_a_gaussian_is_its_standard_deviation():
    model = small(levels=256, latent=2, likelihood="gaussian", spread="value")
    z, x = torch.randn(3, 2, generator=gen()), torch.rand(3, 1, 4, 4, generator=gen()) * 2 - 1
    mean, raw = model.decoder(z).chunk(2, 1)
    target = model._target(x, gen())
    exact = torch.distributions.Normal(mean, (raw - 1).exp()).log_prob(target).flatten(1).sum(1) + 16 * math.log(
        2 / 256
    )
    assert torch.allclose(model._log_likelihood(target, model.decoder(z)), exact, atol=1e-3)


def test_what_has_no_scale_predicts_none_and_older_files_have_one_for_each_channel():
    for kw in ({"likelihood": "bernoulli"}, {"levels": 256, "sigma": 0.1}):
        assert not small(**kw).predicts_scale
        assert not small(**kw, spread="channel").predicts_scale  # what an older file says of any of them
        with pytest.raises(UserError, match="spread=value"):
            small(**kw, spread="value")
    assert VAE.formerly == {"upsample": "transposed", "spread": "channel"}
    assert [small(shape=(c, 4, 4), levels=256).predicts_scale for c in (1, 3)] == [False, True]
    assert small(levels=256, spread="channel").log_scale.shape == (1, 1, 1)


def test_fixed_sigma_is_not_learned_and_makes_the_loss_a_squared_error():
    model = small(levels=256, likelihood="gaussian", sigma=1.0)
    assert not any("log_scale" in name for name, _ in model.named_parameters())
    assert float(model.log_scale) == 0


def test_encode_decode_and_samples():
    model = small(shape=(3, 7, 5), levels=256, architecture="conv", width=4, depth=3, latent=6).eval()
    x = torch.rand(5, 3, 7, 5) * 2 - 1
    assert torch.equal(model.encode(x), model.encode(x))
    assert model.decode(model.encode(x)).shape == x.shape
    assert model.sample_prior(4, generator=gen()).shape == (4, 6)
    for likelihood, levels in (("bernoulli", 2), ("gaussian", 256), ("discretized-logistic", 256)):
        model = small(levels=levels, likelihood=likelihood).eval()
        state = torch.random.get_rng_state()
        for mean in (True, False):
            a, b, c = (model.sample(9, generator=gen(s), mean=mean) for s in (0, 0, 1))
            assert torch.equal(a, b)
            assert not torch.equal(a, c)
            assert a.shape == (9, 1, 4, 4)
            assert a.dtype == torch.float32
            assert a.abs().max() <= 1
        grid = (a + 1) / 2 * (levels - 1)
        assert torch.allclose(grid, grid.round(), atol=1e-4)  # drawn pixels lie on grey levels
        assert torch.equal(state, torch.random.get_rng_state())
    assert set(capabilities(model)) >= {"samples", "density", "decodes", "encodes"}


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "discretized-logistic"])
def test_drawn_pixels_have_the_decoders_mean(likelihood):
    model = small(levels=2 if likelihood == "bernoulli" else 256, likelihood=likelihood, sigma=0.05, latent=2).eval()
    drawn = model.sample(4000, generator=gen(), mean=False, temperature=0.0).mean(0)
    assert (drawn - model.sample(1, generator=gen(), temperature=0.0)[0]).abs().max() < 0.06


def test_manifold_orders_the_plane_and_wants_two_latents():
    model = small(latent=2).eval()
    picture = model.manifold(5)
    assert picture.shape == (25, 1, 4, 4)
    q = torch.special.ndtri(torch.tensor([0.1, 0.9]))
    corner = model.decode(torch.stack([q[0], q[1]])[None])  # left (first latent small), top (second latent large)
    assert torch.allclose(picture[0], corner[0], atol=1e-6)
    with pytest.raises(UserError, match="vae-2d"):
        small(latent=3).manifold()


def test_schedule_of_the_iwae_paper():
    model = small(schedule="iwae-paper")
    assert model.lr_scale(0) == 1
    for passes, stage in ((0.5, 0), (1.0, 1), (3.99, 1), (4.0, 2), (1093.0, 7), (3279, 7)):
        assert model.lr_scale(passes / 3280) == pytest.approx(10 ** (-stage / 7))
    assert small(schedule="cosine").lr_scale(0.5) == pytest.approx(0.5)
    assert small(schedule="constant").lr_scale(0.9) == 1


def test_presets_fit_the_signature():
    for name, preset in VAE.presets.items():
        logs = VAE(**{"shape": (1, 8, 8), "levels": 2, **preset}).loss({"image": binary(3, (1, 8, 8))})
        assert logs["loss"].isfinite(), name
        assert not any(v.requires_grad for k, v in logs.items() if k != "loss")
