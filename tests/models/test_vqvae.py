"""VQ-VAE: round trips, its bound by hand, codebooks that stay alive, sizes; and VQ-VAE-2's order and hierarchy."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.models.autoencoding.vqvae import VQVAE
from genzoo.models.autoencoding.vqvae2 import VQVAE2

SMALL = {"shape": (1, 8, 8), "codes": 16, "dim": 4, "width": 16, "blocks": 1, "halvings": 1}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=16, shape=(1, 8, 8), seed=0):
    """Smooth pictures: something to learn."""
    x = torch.rand(n, *shape, generator=gen(seed))
    for _ in range(2):
        x = (x + x.roll(1, 2) + x.roll(1, 3) + x.roll(-1, 3)) / 4
    return (x * 255).round() / 127.5 - 1


def fit(model, steps, shape=(1, 8, 8)):
    optimizer = model.optimizers()["model"]
    for step in range(steps):
        logs = model.train().loss({"image": images(16, shape, seed=step % 8)})
        optimizer.zero_grad()
        logs["loss"].backward()
        optimizer.step()
    return logs


@pytest.mark.parametrize("cls", [VQVAE, VQVAE2])
def test_codes_survive_being_looked_up_and_found_again(cls):
    torch.manual_seed(0)
    model = cls(**SMALL)
    fit(model, 3)
    model.eval()
    codes = model.tokenize(images())
    quantisers = [model.quantiser] if cls is VQVAE else reversed(model.quantisers)
    vectors = model._vectors(codes)
    again = [
        q.nearest(z.movedim(1, -1).flatten(0, -2)).view(len(codes), -1)
        for q, z in zip(quantisers, [vectors] if cls is VQVAE else vectors, strict=True)
    ]
    assert torch.equal(torch.cat(again, 1), codes)
    assert torch.allclose(model.detokenize(codes), model.decode(model.encode(images())), atol=1e-5)


@pytest.mark.parametrize("cls", [VQVAE, VQVAE2])
def test_the_bound_is_the_decoders_mass_minus_a_uniform_prior(cls):
    torch.manual_seed(0)
    model = cls(**SMALL).eval()
    x, codes = images(3), model.tokenize(images(3))
    levels = torch.arange(256) / 127.5 - 1
    # one pixel through all its levels: its masses sum to one, so the sum over pixels is a log-probability of the image
    every = x[:1].repeat(256, 1, 1, 1)
    every[:, 0, 2, 3] = levels
    nats = model.log_likelihood(every, codes[:1].repeat(256, 1)).double()
    rest = x[:1].clone()
    here = int(((x[0, 0, 2, 3] + 1) * 127.5).round())
    one = model.log_likelihood(rest, codes[:1]).double()
    assert math.isclose(
        float((nats - nats.logsumexp(0))[here].exp()), float((one - nats.logsumexp(0)).exp()), rel_tol=1e-4
    )
    scale, mean = (
        model.log_scale.exp(),
        (model.decoder(model._vectors(codes)) if cls is VQVAE else model._decoded(model._vectors(codes))),
    )
    inner = 1 / (1 + torch.exp(-(x + 1 / 255 - mean) / scale)) - 1 / (1 + torch.exp(-(x - 1 / 255 - mean) / scale))
    by_hand = inner.double().log().flatten(1).sum(1)
    assert torch.allclose(model.log_likelihood(x, codes).double(), by_hand, atol=0.05)
    assert torch.allclose(model.log_prob(x), model.log_likelihood(x, codes) - codes.shape[1] * math.log(16))


@pytest.mark.parametrize("codebook", ["ema", "gradient"])
def test_learns_and_keeps_its_codebook_alive(codebook):
    torch.manual_seed(0)
    model = VQVAE(**SMALL, codebook=codebook, code_decay=0.9, lr=3e-3)
    first = fit(model, 1)
    last = fit(model, 80)
    assert last["reconstruction"] < first["reconstruction"] - 0.5
    assert last["usage"] >= 0.9
    assert last["perplexity"] > 8


def test_without_restarts_and_a_bad_start_codes_die():
    torch.manual_seed(0)
    model = VQVAE(**SMALL, code_decay=0.9, restart=0.0, lr=3e-3)
    model.quantiser.started.fill_(True)  # random codes in place of k-means
    model.quantiser.codebook.mul_(100)
    model.quantiser.total.mul_(100)
    assert fit(model, 40)["usage"] < 0.5


def test_several_codes_at_a_place_share_the_codebook():
    torch.manual_seed(0)
    model = VQVAE(**SMALL, per_place=3)
    fit(model, 2)
    model.eval()
    codes = model.tokenize(images())
    assert model.code_grids == ((4, 4, 3),)
    assert codes.shape == (16, 48)
    other = codes.clone()
    other[:, 3:6] = (codes[:, 3:6] + 1) % 16  # the second place of the first row
    changed = (model.detokenize(codes) - model.detokenize(other)).abs().sum((0, 1))
    assert changed[:2, 2:4].min() > 0
    assert changed[-1, 0] == 0


def test_squared_error_is_over_the_variance_and_is_no_likelihood():
    torch.manual_seed(0)
    model = VQVAE(**SMALL, reconstruction="mse")
    x = images()
    logs = model.train().loss({"image": x})
    assert torch.allclose(logs["reconstruction"], logs["mse"] / x.var())
    with pytest.raises(UserError, match="logistic"):
        model.eval().log_prob(x)


@pytest.mark.parametrize(("cls", "keys"), [(VQVAE, {"halvings": 2}), (VQVAE2, {"halvings": 1, "scales": 3})])
def test_sizes_that_cannot_be_halved_are_refused_with_those_that_can(cls, keys):
    with pytest.raises(UserError, match=r"multiple of [48]"):
        cls(shape=(1, 10, 8), **keys)


def test_levels_are_told_coarse_to_fine_and_a_coarse_code_reaches_further():
    torch.manual_seed(0)
    model = VQVAE2(**{**SMALL, "shape": (1, 16, 16)}, scales=3)
    fit(model, 2, (1, 16, 16))
    model.eval()
    assert model.code_grids == ((2, 2), (4, 4), (8, 8))
    x = images(4, (1, 16, 16))
    codes = model.tokenize(x)
    assert codes.shape == (4, 4 + 16 + 64)
    reach = []
    for position in (0, 4, 20):
        other = codes.clone()
        other[:, position] = (codes[:, position] + 1) % 16
        reach.append(int(((model.detokenize(codes) - model.detokenize(other)).abs().sum((0, 1)) > 0).sum()))
    assert reach[0] > reach[1] > reach[2] > 0


def test_a_finer_grid_is_quantized_knowing_the_coarser_codes():
    torch.manual_seed(0)
    model = VQVAE2(**SMALL)
    fit(model, 3)
    model.eval()
    x = images(8)
    before = model.tokenize(x)
    coarse = math.prod(model.code_grids[0])
    with torch.no_grad():
        model.quantisers[1].codebook.copy_(model.quantisers[1].codebook.flip(0) * 3)
    assert not torch.equal(model.tokenize(x)[:, coarse:], before[:, coarse:])


def test_every_part_of_the_hierarchy_gets_a_gradient():
    model = VQVAE2(**SMALL).train()
    model.loss({"image": images()})["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
