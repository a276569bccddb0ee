"""A linear autoencoder finds what principal component analysis finds; one with hidden layers does better where the data is curved."""

from __future__ import annotations

import pytest
import torch

from genzoo.core.capabilities import capabilities
from genzoo.models.autoencoding.autoencoder import Autoencoder, CodeStatistics


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def trained(x, steps, **kw):
    torch.manual_seed(0)
    model = Autoencoder(tuple(x.shape[1:]), **kw)
    optimizer = model.optimizers()["model"]
    for _ in range(steps):
        logs = model.loss({"image": x})
        optimizer.zero_grad()
        logs["loss"].backward()
        optimizer.step()
    return model.eval()


def raw_error(model, x):
    """Without the clamp of `decode`."""
    with torch.no_grad():
        return float((model.decoder(model.encoder(x)) - x).square().mean())


def pca(x, k):
    """Error of the projection onto k components, and the components [D, k]."""
    flat = x.flatten(1).double()
    centred = flat - flat.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(flat))
    return float(values[:-k].sum() / flat.shape[1]), vectors[:, -k:]


def test_the_linear_autoencoder_is_pca():
    """Baldi & Hornik 1989: the error of the best linear code is the sum of the eigenvalues left out, its span the leading components."""
    mixing = torch.randn(9, 9, generator=gen()) * torch.tensor([1.0, 0.8, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    x = (0.3 * torch.randn(400, 9, generator=gen(1)) @ mixing.T + 0.2).view(400, 1, 3, 3)
    model = trained(x, 1500, depth=0, latent=3, lr=1e-2)
    best, components = pca(x, 3)
    error = raw_error(model, x)
    assert best * (1 - 1e-4) <= error <= best * 1.01, "never below the optimum, and at it"
    span, _ = torch.linalg.qr(model.decoder[0].weight.detach().double())
    cosines = torch.linalg.svdvals(span.T @ components)
    assert cosines.min() > 0.999


def test_hidden_layers_follow_a_curve_that_no_plane_holds():
    """A circle has one dimension: the best line keeps half of it, a code of one number behind hidden layers nearly all."""
    t = torch.rand(256, generator=gen()) * 4.5  # not quite closed: a circle cannot be cut without a tear
    x = torch.stack([t.cos(), t.sin()], 1).view(256, 1, 1, 2) * 0.8
    best, _ = pca(x, 1)
    assert raw_error(trained(x, 1000, depth=2, hidden=32, latent=1, lr=1e-2), x) < best / 10


def test_the_target_is_clean_and_the_input_noisy():
    torch.manual_seed(0)
    model, seen = Autoencoder((1, 4, 4), latent=2, hidden=8, noise=0.5), []
    model.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.nn.init.zeros_(model.decoder[-2].weight)  # gives 0 whatever the code
    x = torch.rand(500, 1, 4, 4, generator=gen()) * 2 - 1
    assert model.loss({"image": x})["loss"].item() == pytest.approx(x.square().mean().item(), rel=1e-5)
    assert (seen[0] - x).std().item() == pytest.approx(0.5, abs=0.02)
    model.error = "l1"
    assert model.loss({"image": x})["loss"].item() == pytest.approx(x.abs().mean().item(), rel=1e-5)


def test_psnr_of_the_log_is_of_values_two_apart():
    model = Autoencoder((1, 4, 4), latent=2, hidden=8)
    torch.nn.init.zeros_(model.decoder[-2].weight)
    logs = model.loss({"image": torch.full((2, 1, 4, 4), 0.2)})
    assert logs["psnr"].item() == pytest.approx(20.0, abs=1e-3)


def test_it_has_no_prior_and_says_so_by_not_sampling():
    assert set(capabilities(Autoencoder)) == {"encodes", "decodes"}


def test_code_statistics_are_those_of_the_codes():
    statistics = CodeStatistics(3, window=200)
    mixing = torch.tensor([[1.0, 0, 0], [0.8, 0.3, 0], [0, 0, 0.0]])
    z = 2 + torch.randn(60, 50, 3, generator=gen()) @ mixing.T
    for part in z:
        statistics.update(part)
    flat = z.flatten(0, 1)
    torch.testing.assert_close(statistics.mean, flat.mean(0))
    torch.testing.assert_close(statistics.moment, flat.T @ flat / len(flat))
    drawn = statistics.draw(20000, gen(1))
    torch.testing.assert_close(drawn.mean(0), flat.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), flat.T.cov(), atol=0.05, rtol=0)
    assert drawn[:, 2].std() < 1e-3, "a direction that no code uses is not drawn from"
    before = statistics.mean.clone()
    statistics.eval().update(z[0] + 100)
    assert torch.equal(before, statistics.mean)


def test_old_codes_are_forgotten():
    statistics = CodeStatistics(1, window=10)
    for step in range(100):
        statistics.update(torch.full((4, 1), 0.0 if step < 50 else 1.0))
    assert statistics.mean.item() > 0.99
