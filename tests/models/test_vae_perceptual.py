"""A VAE that reconstructs features: the term is right, the network is no part of it, and it never claims a likelihood."""

from __future__ import annotations

import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.models.autoencoding.vae import VAE
from genzoo.nn.pretrained.perceptual import FeatureNet
from tests.conftest import build


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**kw):
    torch.manual_seed(0)
    return VAE(
        **{"shape": (3, 8, 8), "latent": 3, "hidden": 16, "perceptual": "vgg16-random", "perceptual_layers": 2, **kw}
    )


def images(n=4, shape=(3, 8, 8)):
    return torch.rand(n, *shape, generator=gen()) * 2 - 1


def test_the_term_by_hand():
    model, x = small(perceptual_weight=2.5), images()
    torch.manual_seed(1)
    logs = model.loss({"image": x})
    torch.manual_seed(1)
    torch.randint(2**62, ())
    mean, log_std = model.posterior(x)
    y = model.decoder(mean + log_std.exp() * torch.randn_like(mean))
    net = FeatureNet("vgg16-random", ["relu1_2", "relu2_2"])
    terms = [((a - b) ** 2).sum((1, 2, 3)) / (b**2).sum((1, 2, 3)) for a, b in zip(net(y), net(x), strict=True)]
    wanted = 2.5 * 3 * 8 * 8 * (terms[0] + terms[1]) / 2
    assert logs["reconstruction"].item() == pytest.approx(wanted.mean().item(), rel=1e-4)
    assert logs["loss"].item() == pytest.approx(logs["reconstruction"].item() + logs["kl"].item(), rel=1e-5)


def test_equal_images_cost_nothing_and_training_lowers_the_distance():
    model, x = small(lr=5e-3), images()
    assert model._log_likelihood(x, x).tolist() == [0, 0, 0, 0]
    optimizer = model.optimizers()["model"]
    losses = []
    for _ in range(40):
        logs = model.loss({"image": x})
        optimizer.zero_grad()
        logs["loss"].backward()
        optimizer.step()
        losses.append(logs["reconstruction"].item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_network_is_not_in_the_checkpoint_and_not_needed_for_use(monkeypatch):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    model = small(perceptual="vgg16")
    assert not any("features" in name for name in model.state_dict())
    assert {id(p) for p in model.parameters()} == {
        id(p) for n in (model.encoder, model.decoder) for p in n.parameters()
    }
    model.load_state_dict(small().state_dict())
    assert model.eval().decode(model.encode(images())).shape == (4, 3, 8, 8)
    assert model.sample(2, generator=gen()).shape == (2, 3, 8, 8)
    with pytest.raises(UserError, match="weights of vgg16 are missing"):
        model.optimizers()  # asked for before the first step


def test_missing_weights_are_said_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    keys = {"perceptual": "vgg16", "hidden": 8, "steps": 1, "runs": str(tmp_path / "runs"), "quiet": True, "limit": 20}
    with pytest.raises(UserError, match=r"vgg16\.safetensors.*GENZOO_WEIGHTS"):
        genzoo.train("vae", "garments", **keys)
    assert not (tmp_path / "runs").exists()


def test_it_never_claims_a_likelihood():
    model = small().eval()
    for score in (model.log_prob, model.elbo):
        with pytest.raises(UserError, match="gives no likelihood"):
            score(images())
    with pytest.raises(UserError, match="mean=false"):
        model.sample(1, generator=gen(), mean=False)


def test_what_does_not_go_together_is_refused():
    for other in ({"likelihood": "gaussian"}, {"sigma": 0.1}, {"importance_samples": 5}):
        with pytest.raises(UserError, match="takes the place"):
            small(**other)
    with pytest.raises(UserError, match=r"at least 4.*a smaller perceptual_layers="):
        small(shape=(3, 3, 8), perceptual_layers=3)
    assert build("vae", perceptual="vgg16-random", perceptual_layers=1).decoder_likelihood == "features"
