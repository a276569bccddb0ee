"""Three losses, each with its own gradient: what reaches E, G and D is what algorithm 1 says, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.capabilities import capabilities
from genzoo.models.autoencoding.vae_gan import VAEGAN
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**kw):
    torch.manual_seed(0)
    return VAEGAN(**{"shape": (1, 8, 8), "latent": 3, "width": 4, **kw}).train()


def images(n=6, shape=(1, 8, 8)):
    return torch.rand(n, *shape, generator=gen()) * 2 - 1


class Spy:
    """Moves nothing; keeps every loss and its gradient for each of the three networks, None where there is no path."""

    step, steps, progress = 0, 10, 0.0

    def __init__(self, system):
        self.system, self.losses, self.gradients = system, {}, {}

    def __call__(self, name, loss):
        self.losses[name] = loss.detach()
        for net in "EGD":
            params = list(getattr(self.system, net).parameters())
            found = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
            self.gradients[name, net] = None if all(g is None for g in found) else found


def spied(**kw):
    system = small(**kw)
    torch.manual_seed(1)
    spy = Spy(system)
    return system, spy, system.training_step({"image": images()}, spy)


def test_the_adversarial_loss_does_not_reach_the_encoder_nor_the_other_way():
    _, spy, _ = spied()
    assert spy.gradients["g", "E"] is None
    assert spy.gradients["d", "E"] is None
    assert spy.gradients["d", "G"] is None, "the discriminator sees detached images"
    assert spy.gradients["e", "E"] is not None


def test_the_reconstruction_does_not_teach_the_discriminator():
    """D's gradient is that of its own loss on the same images, with features compared or without."""
    _, with_features, _ = spied(gamma=50.0)
    _, without, _ = spied(gamma=0.0)
    for a, b in zip(with_features.gradients["d", "D"], without.gradients["d", "D"], strict=True):
        assert torch.equal(a, b)
    # and the updater sends it to D only when D's own loss comes
    system = small(gamma=50.0)
    update, moved = Updater(system, Runtime(torch.device("cpu"), "fp32")), {}
    update.begin(0, 10)

    class Watched(Spy):
        def __call__(self, name, loss):
            before = [p.detach().clone() for p in system.D.parameters()]
            update(name, loss)
            moved[name] = any(not torch.equal(a, b) for a, b in zip(before, system.D.parameters(), strict=True))

    system.training_step({"image": images()}, Watched(system))
    assert moved == {"e": False, "g": False, "d": True}


def test_all_three_losses_are_taken_at_the_same_weights():
    _, spy, _ = spied()
    system = small()
    torch.manual_seed(1)
    update = Updater(system, Runtime(torch.device("cpu"), "fp32"))
    update.begin(0, 10)
    seen = {}

    class Stepping(Spy):
        def __call__(self, name, loss):
            seen[name] = loss.detach().clone()
            update(name, loss)

    system.training_step({"image": images()}, Stepping(system))
    for name, loss in spy.losses.items():
        torch.testing.assert_close(seen[name], loss)


def test_the_encoder_minimizes_kl_and_half_the_squared_distance_of_features():
    system, spy, logs = spied(beta=3.0)
    torch.manual_seed(1)
    x = images()
    again = small(beta=3.0)
    torch.manual_seed(1)
    wanted = again.features(x)
    mean, log_std = again.posterior(x)
    z = mean + log_std.exp() * torch.randn_like(mean)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, log_std.exp()), normal(0.0, 1.0)).sum(1).mean()
    likelihood = normal(again.features(again.G(z)), 1.0).log_prob(wanted) - normal(wanted, 1.0).log_prob(wanted)
    assert logs["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    assert spy.losses["e"].item() == pytest.approx((3 * kl - likelihood.flatten(1).sum(1).mean()).item(), rel=1e-3)
    assert logs["feature_error"].item() >= 0
    assert system.reconstruction_error(x, system.eval().features(x)).item() == pytest.approx(0, abs=1e-6)


def test_vae_dis_trains_the_generator_on_features_alone():
    for adversarial in (True, False):
        system, spy, _ = spied(adversarial=adversarial)
        head = len(list(system.D[-1].parameters()))
        reaches_head = [g is not None for g in spy.gradients["g", "D"]][-head:]
        assert any(reaches_head) == adversarial, "the generator's loss has gone through D's score"
        assert spy.gradients["d", "D"] is not None, "D goes on learning"


def test_the_objectives_are_the_papers():
    _, spy, logs = spied(gamma=2.0)
    assert logs["d_loss"].item() == pytest.approx(spy.losses["d"].item())
    x, again = images(), small(gamma=2.0)
    torch.manual_seed(1)
    wanted = again.features(x).detach()
    mean, log_std = again.posterior(x)
    z = mean + log_std.exp() * torch.randn_like(mean)
    z_prior = torch.randn_like(z)
    rebuilt, drawn = again.G(z), again.G(z_prior)
    scores = [again.judge(v) for v in (x, rebuilt, drawn)]
    d_loss = -(
        F.logsigmoid(scores[0]).mean() + 0.5 * F.logsigmoid(-scores[1]).mean() + 0.5 * F.logsigmoid(-scores[2]).mean()
    )
    g_loss = -0.5 * F.logsigmoid(scores[1]).mean() - 0.5 * F.logsigmoid(scores[2]).mean()
    g_loss = g_loss + 2.0 * 0.5 * (again.features(rebuilt) - wanted).square().mean()
    assert spy.losses["d"].item() == pytest.approx(d_loss.item(), rel=1e-4)
    assert spy.losses["g"].item() == pytest.approx(g_loss.item(), rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (1, 28, 28), (3, 15, 40)])
def test_any_size_comes_back(shape):
    system = small(shape=shape, feature_layer=8)
    x = images(2, shape)
    assert system.decode(system.encode(x)).shape == x.shape
    assert system.judge(x).shape == (2,)
    assert min(system.features(x).shape[2:]) >= 4
    first = small(shape=shape, feature_layer=1).features(x)
    assert first.shape[2:] == (-(-shape[1] // 2), -(-shape[2] // 2))


def test_embedding_is_deterministic_and_there_is_no_likelihood():
    system = small().eval()
    x = images()
    assert torch.equal(system.encode(x), system.encode(x))
    assert set(capabilities(VAEGAN)) == {"samples", "encodes", "decodes"}
    cold = system.sample(3, generator=gen(), temperature=0.0)
    torch.testing.assert_close(cold[0], cold[1])
