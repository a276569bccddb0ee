"""InfoGAN: the bound is a bound, its gradient reaches G and Q and not D's score, and codes can be read back."""

import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.adversarial.infogan import InfoGAN
from tests.adversaries import Update, gen, play

TINY = InfoGAN.tiny


def codes(n, categories=3, numbers=2):
    which = F.one_hot(torch.randint(categories, (n,)), categories).float()
    return torch.cat([which, torch.rand(n, numbers) * 2 - 1], 1)


def test_the_bound_by_hand():
    """Reading nothing gives 0 nats, reading everything gives H(c) = ln K; a softmax before the cross-entropy would not."""
    torch.manual_seed(0)
    system, c = InfoGAN(**TINY), codes(500)
    nothing = system.bound((torch.zeros(500, 3), torch.zeros(500, 2)), c)[0]
    everything = system.bound((50 * c[:, :3], c[:, 3:]), c)
    assert nothing.item() == pytest.approx(0, abs=1e-6)
    assert everything[0].item() == pytest.approx(math.log(3), abs=1e-6)
    # numbers: E log N(c; c, 1) + H(U) = 2 (ln 2 - ½ ln 2π)
    assert everything[1].item() == pytest.approx(2 * (math.log(2) - 0.5 * math.log(2 * math.pi)), abs=1e-6)
    half = torch.tensor([[1.0, 0, 0, 0.5, 0.5]])
    logits, mean = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.0, 0.0]])
    first, second = system.bound((logits, mean), half)
    assert first.item() == pytest.approx(math.log(3) + 1 - math.log(math.e + 1 + 1 / math.e), abs=1e-6)
    assert second.item() == pytest.approx(2 * (math.log(2) - 0.5 * math.log(2 * math.pi)) - 0.25, abs=1e-6)


def test_the_bound_never_exceeds_the_information():
    """On a noisy channel of known information (each category kept with 0.8, else one of the others) the best Q attains it."""
    channel = torch.full((3, 3), 0.1).fill_diagonal_(0.8)
    information = math.log(3) + (channel[0] * channel[0].log()).sum().item()
    system, which = InfoGAN(**TINY), torch.arange(3).repeat_interleave(1000)
    heard = torch.cat([torch.repeat_interleave(torch.arange(3), (1000 * channel[k]).round().long()) for k in range(3)])
    c = torch.cat([F.one_hot(which, 3).float(), torch.zeros(3000, 2)], 1)
    best = channel[heard].log()
    assert system.bound((best, torch.zeros(3000, 2)), c)[0].item() == pytest.approx(information, abs=1e-4)
    for _ in range(5):
        other = best + torch.randn(3, 3)[heard]
        assert system.bound((other, torch.zeros(3000, 2)), c)[0].item() < information


def test_the_gradient_of_the_bound_reaches_g_and_q_and_not_the_score():
    """A bound that is made of numbers in place of tensors teaches nobody."""
    torch.manual_seed(0)
    system = InfoGAN(**TINY)
    drawn = system._draw(8)
    _, *reading = system.judge(system.G(drawn))
    category, numbers = system.bound(tuple(reading), drawn[:, 4:])
    names = dict(system.named_parameters())
    for term in (category, numbers):
        grads = torch.autograd.grad(term, list(names.values()), retain_graph=True, allow_unused=True)
        reached = {n for n, g in zip(names, grads, strict=True) if g is not None and g.abs().sum() > 0}
        assert not any(n.startswith("D.score") for n in reached)
        assert {"Q.0.weight", "Q.2.weight", "G.project.weight", "D.blocks.0.0.weight"} <= reached
        assert reached <= {n for n in names if n.startswith(("G.", "Q.", "D.blocks"))}


def test_the_step():
    """The bound is in both updates: Q moves with D, G with its own; without weights Q stays where it is."""
    update, logs = play(InfoGAN(**TINY), steps=2)
    assert update.calls == ["d", "g", "d", "g"]
    assert {k.split(".")[0] for k in update.moved["d"]} == {"D", "Q"}
    assert {k.split(".")[0] for k in update.moved["g"]} == {"G"}
    assert set(logs) == {"d_loss", "g_loss", "mi_category", "number_error"}
    still, _ = play(InfoGAN(**TINY, category_weight=0.0, number_weight=0.0))
    assert {k.split(".")[0] for k in still.moved["d"]} == {"D"}


def test_the_losses_of_both_updates_hold_the_bound_with_its_gradient():
    """The generator's as well: Q stands still in its step, but the gradient goes through Q."""
    torch.manual_seed(0)
    system, reached = InfoGAN(**TINY).train(), {}

    class Watched(Update):
        def __call__(self, name, loss):
            grads = torch.autograd.grad(loss, list(system.Q.parameters()), retain_graph=True, allow_unused=True)
            reached[name] = any(g is not None and g.abs().sum() > 0 for g in grads)
            super().__call__(name, loss)

    system.training_step({"image": torch.rand(4, *system.hparams["shape"]) * 2 - 1}, Watched(system))
    assert reached == {"d": True, "g": True}


def test_codes_have_the_stated_laws():
    z = InfoGAN(**TINY).latent(3000, generator=gen())
    noise, which, numbers = z[:, :4], z[:, 4:7], z[:, 7:]
    assert noise.std().item() == pytest.approx(1, rel=0.03)
    assert which.sum(1).eq(1).all()
    assert which.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert numbers.abs().max() <= 1
    assert numbers.std().item() == pytest.approx(3**-0.5, rel=0.03)


def test_a_category_can_be_asked_for():
    system, seen = InfoGAN(**TINY), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    system.sample(5, generator=gen(), category=2)
    system.sample(5, generator=gen())
    assert seen[0][:, 4:7].argmax(1).tolist() == [2] * 5
    assert torch.equal(seen[0][:, :4], seen[1][:, :4])  # the same noise: only the code is another
    with pytest.raises(UserError, match="0 to 2"):
        system.sample(1, generator=gen(), category=3)


def test_a_traversal_changes_one_number_and_the_category():
    system, seen = InfoGAN(**TINY), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    table = system.traversal(1, 5, generator=gen())
    assert table.shape == (15, 1, 8, 8)
    z = seen[0]
    assert (z[:, :4] == z[0, :4]).all()
    assert (z[:, 7] == z[0, 7]).all()
    assert torch.allclose(z[:5, 8], torch.linspace(-2, 2, 5))
    assert z[:, 4:7].argmax(1).tolist() == [0] * 5 + [1] * 5 + [2] * 5
    with pytest.raises(UserError, match="2 continuous codes"):
        system.traversal(2, 5, generator=gen())


def test_the_category_finds_the_classes_of_the_data():
    """Data of three grey levels, no labels: the images of a category are alike, and Q reads the code back."""
    torch.manual_seed(0)
    system, levels = InfoGAN(**TINY, lr=3e-3, numbers=0), torch.tensor([-0.8, 0.0, 0.8])

    def data():
        return {"image": levels[torch.randint(3, (32,))].view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 8, 8)}

    _, logs = play(system, steps=300, data=data)
    assert logs["mi_category"] > 0.8 * math.log(3)
    system.eval()
    right = [
        (system.read(system.sample(50, generator=gen(), category=k))[0].argmax(1) == k).float().mean() for k in range(3)
    ]
    assert min(right) > 0.9
