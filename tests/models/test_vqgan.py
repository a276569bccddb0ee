"""VQGAN: the adaptive weight by hand, who learns when, what is asked of whom."""

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.models.autoencoding.vqgan import VQGAN, Net, adaptive_weight, decoder, encoder

SMALL = {
    "shape": (3, 16, 16),
    "codes": 16,
    "dim": 4,
    "width": 8,
    "blocks": 1,
    "halvings": 2,
    "d_width": 8,
    "d_layers": 2,
}


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


class Watched:
    """An update that applies losses by plain Adam and says who was called."""

    def __init__(self, system, progress):
        self.system, self.progress, self.step, self.steps, self.calls = system, progress, int(progress * 100), 100, {}

    def __call__(self, name, loss):
        self.calls[name] = loss.detach()
        params = [p for g in self.system.optimizers()[name].param_groups for p in g["params"]]
        loss.backward(inputs=params)
        for p in params:
            p.data.sub_(1e-3 * p.grad)
            p.grad = None


def step(system, progress, seed=0):
    update = Watched(system, progress)
    x = torch.rand(4, *system.hparams["shape"], generator=gen(seed)) * 2 - 1
    return system.train().training_step({"image": x}, update), update.calls


def test_adaptive_weight_is_the_quotient_of_gradient_norms_at_the_last_layer():
    torch.manual_seed(0)
    last, x = torch.randn(3, 3, requires_grad=True), torch.randn(5, 3)
    y = x @ last
    r, a = y.square().mean(), 0.01 * y.abs().sum()
    (gr,), (ga,) = torch.autograd.grad(r, last, retain_graph=True), torch.autograd.grad(a, last, retain_graph=True)
    found = adaptive_weight(r, a, last)
    assert torch.allclose(found, gr.norm() / (ga.norm() + 1e-4))
    assert not found.requires_grad
    assert adaptive_weight(r, a * 0, last) == 1e4 or adaptive_weight(r, a * 0, last) == gr.norm() / 1e-4
    assert adaptive_weight(1e6 * r, a * 0, last) == 1e4


def test_with_the_weight_both_losses_pull_equally_at_the_last_layer():
    torch.manual_seed(0)
    system = VQGAN(**SMALL, adversarial_weight=1.0).train()
    x = torch.rand(4, 3, 16, 16, generator=gen()) * 2 - 1
    fake = system.decoder(system.quantiser(system.encoder(x)).z)
    r, a, last = (fake - x).abs().mean(), -system.D(fake).mean(), system.decoder[-1].weight
    weight = adaptive_weight(r, a, last)
    pull = torch.autograd.grad(weight * a, last, retain_graph=True)[0].norm()
    assert torch.allclose(pull, torch.autograd.grad(r, last)[0].norm(), rtol=0.05)


def test_the_discriminator_learns_alone_before_it_counts():
    """A discriminator that has learnt nothing when it begins to count ruins what the autoencoder has learnt."""
    torch.manual_seed(0)
    system = VQGAN(**SMALL, adversarial_from=0.5, warm=0.2)
    for progress, players, counts in (
        (0.0, {"ae"}, False),
        (0.29, {"ae"}, False),
        (0.3, {"ae", "d"}, False),
        (0.5, {"ae", "d"}, True),
    ):
        logs, calls = step(system, progress)
        assert set(calls) == players
        assert ("g_loss" in logs) is counts


def test_before_it_counts_the_discriminator_has_no_say_in_the_autoencoder():
    found = []
    for seed in (1, 2):
        torch.manual_seed(0)
        system = VQGAN(**SMALL, adversarial_from=0.5, warm=0.5)
        torch.manual_seed(seed)
        for p in system.D.parameters():
            p.data.normal_()
        torch.manual_seed(3)
        step(system, 0.2)
        found.append([p.detach().clone() for m in (system.encoder, system.decoder) for p in m.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_discriminators_step_sends_nothing_to_the_autoencoder():
    torch.manual_seed(0)
    system = VQGAN(**SMALL)
    losses = {}

    def update(name, loss):
        losses[name] = loss

    update.progress, update.step, update.steps = 0.9, 90, 100
    x = torch.rand(4, 3, 16, 16, generator=gen()) * 2 - 1
    system.train().training_step({"image": x}, update)
    grads = torch.autograd.grad(losses["d"], list(system.decoder.parameters()), allow_unused=True)
    assert all(g is None for g in grads)
    d = torch.autograd.grad(losses["d"], list(system.D.parameters()))
    assert any(g.abs().sum() > 0 for g in d)


def test_without_an_adversary_there_is_no_discriminator():
    system = VQGAN(**{**SMALL, "adversarial_weight": 0.0, "pixels": "l2"})
    assert system.D is None
    assert set(system.optimizers()) == {"ae"}
    logs, calls = step(system, 0.9)
    assert set(calls) == {"ae"}
    assert torch.allclose(calls["ae"], logs["pixels"] + logs["commitment"])


def test_perception_without_weights_is_refused_before_the_first_step_and_needed_only_there(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    system = VQGAN(**{**SMALL, "shape": (3, 32, 32), "perceptual": "vgg16"})
    with pytest.raises(UserError, match="vgg16"):
        system.optimizers()
    x = torch.rand(2, 3, 32, 32, generator=gen()) * 2 - 1
    assert system.eval().detokenize(system.tokenize(x)).shape == x.shape
    assert not any("perception" in name for name in system.state_dict())


def test_a_decoder_without_likelihood_says_so():
    system = VQGAN(**SMALL).eval()
    with pytest.raises(UserError, match="likelihood"):
        system.log_likelihood(torch.zeros(1, 3, 16, 16), torch.zeros(1, 16, dtype=torch.long))


def test_small_or_odd_images_are_refused_with_what_works():
    with pytest.raises(UserError, match="multiple of 4"):
        VQGAN(**{**SMALL, "shape": (3, 18, 16)})
    with pytest.raises(UserError, match="at least 12"):
        VQGAN(**{**SMALL, "shape": (3, 8, 8)})
    with pytest.raises(UserError, match="channels"):
        VQGAN(**{**SMALL, "shape": (4, 16, 16), "perceptual": "alexnet"})
    with pytest.raises(UserError, match=r"16x16 are too small for perceptual=alexnet .*at least 31.*perceptual=none"):
        VQGAN(**{**SMALL, "shape": (3, 16, 16), "perceptual": "alexnet"})


def test_encoder_and_decoder_mirror_each_other():
    x = torch.randn(2, 3, 16, 24)
    net = Net(3, 5, (8, 16, 32, 32), 2)
    z = encoder(net)(x)
    assert z.shape == (2, 5, 2, 3)
    assert decoder(net)(z).shape == x.shape
