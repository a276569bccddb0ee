"""InfoGAN: the bound is a bound, its gradient reaches G and Q and not D's score, and codes can be read back."""

import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.adversarial.infogan import InfoGAN, shared_information
from genzoo.naming.registry import create
from genzoo.nn.gan.augment import affine
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
    z = InfoGAN(**TINY).sample_prior(3000, generator=gen())
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


def test_shared_information_by_hand():
    """Independent readings share 0 nats, equal and certain ones ln K; a noisy channel shares its known information."""
    sure = torch.eye(4).repeat(10, 1)
    assert shared_information(sure, sure).item() == pytest.approx(math.log(4), abs=1e-5)
    assert shared_information(sure, torch.full((40, 4), 0.25)).item() == pytest.approx(0, abs=1e-5)
    assert shared_information(sure, sure[:, [1, 0, 2, 3]][:4].repeat(10, 1)).item() == pytest.approx(
        math.log(4), abs=1e-5
    )
    assert shared_information(sure[:1].expand(9, 4), sure[:1].expand(9, 4)).item() == pytest.approx(0, abs=1e-5)
    channel = torch.full((3, 3), 0.1).fill_diagonal_(0.8)
    expected = math.log(3) + (channel[0] * channel[0].log()).sum().item()
    assert shared_information(torch.eye(3), channel).item() == pytest.approx(expected, abs=1e-5)


def test_what_real_images_share_counts_for_the_beginning_only_where_that_is_asked():
    """At half of `real_until` the term has half of its weight, from there on none."""
    system, seen = InfoGAN(**TINY, real_weight=2.0, real_until=0.5, numbers=0), {}
    real = torch.rand(16, 1, 8, 8) * 2 - 1

    class At:
        step, steps = 0, 8

        def __init__(self, progress):
            self.progress = progress

        def __call__(self, name, loss):
            seen[self.progress, name] = loss.item()

    logs = {}
    for progress in (0.0, 0.25, 0.5, 0.75):
        torch.manual_seed(0)
        logs[progress] = system.training_step({"image": real}, At(progress))
    assert [("mi_real" in logs[p]) for p in logs] == [True, True, False, False]
    whole, half, none = (seen[p, "d"] for p in (0.0, 0.25, 0.5))
    assert none - half == pytest.approx((none - whole) / 2, rel=1e-3)
    assert seen[0.75, "d"] == none


def test_what_real_images_share_moves_q_and_neither_g_nor_the_score():
    system, seen = InfoGAN(**TINY, real_weight=2.0, jitter=0.2, numbers=0), {}

    class Recorded:
        step, steps, progress = 0, 1, 0.0

        def __call__(self, name, loss):
            seen[name] = loss

    with torch.no_grad():
        system.Q[2].weight.mul_(20)  # of readings that are all alike the information has no gradient
    real = torch.rand(16, 1, 8, 8) * 2 - 1
    torch.manual_seed(0)
    logs = system.training_step({"image": real}, Recorded())
    torch.manual_seed(0)
    system.real_weight = 0.0
    with_it = seen["d"]
    assert "mi_real" not in system.training_step({"image": real}, Recorded())
    assert (with_it - seen["d"]).item() == pytest.approx(-2 * logs["mi_real"].item(), abs=1e-5)
    names = dict(system.named_parameters())
    pairs = (torch.autograd.grad(loss, list(names.values()), allow_unused=True) for loss in (with_it, seen["d"]))
    moved = {
        name for name, a, b in zip(names, *pairs, strict=True) if a is not None and not torch.allclose(a, b, atol=1e-7)
    }
    assert {"Q.0.weight", "Q.2.weight", "D.blocks.0.0.weight"} <= moved
    assert moved <= {n for n in names if n.startswith(("Q.", "D.blocks"))}


def test_affine_changes():
    x = torch.rand(5, 2, 16, 12) * 2 - 1
    assert torch.allclose(affine(x, 0.0), x, atol=1e-5)
    wide = affine(x, 0.5)
    assert wide.shape == x.shape
    assert wide.min() >= -1
    assert wide.max() <= 1
    assert torch.allclose(affine(torch.full_like(x, -1), 0.5), torch.full_like(x, -1), atol=1e-5)
    dots = torch.full((400, 1, 33, 33), -1.0)
    dots[:, :, 15:18, 15:18] = 1.0
    at = affine(dots, 0.2).flatten(1).argmax(1)
    off = torch.stack([at // 33, at % 33], 1) - 16
    assert (
        off.abs().max() <= math.ceil(0.1 * 16.5 / 0.6) + 1
    )  # t is half the strength of half a side; A shrinks by 0.6 at most
    assert off.unique(dim=0).shape[0] > 10


def test_noise_has_the_stated_law():
    uniform = InfoGAN(**TINY, prior="uniform", noise_scale=0.5).sample_prior(4000, generator=gen())[:, :4]
    assert uniform.abs().max() <= 0.5
    assert uniform.std().item() == pytest.approx(0.5 * 3**-0.5, rel=0.03)
    normal = InfoGAN(**TINY, noise_scale=0.1).sample_prior(4000, generator=gen())[:, :4]
    assert normal.std().item() == pytest.approx(0.1, rel=0.03)


def test_the_papers_nets_and_rates():
    """Table 1 of the appendix: 64 and 128 filters, 1,024 units, 128 for Q with batch norm, rates 2e-4 and 1e-3."""
    system = InfoGAN(**InfoGAN.presets["infogan-paper"])
    assert [b[0].out_channels for b in system.D.blocks] == [64, 128]
    assert (system.D.score.in_features, system.G.start) == (1024, (7, 7, 128))
    assert [type(m).__name__ for m in system.Q] == ["Linear", "BatchNorm1d", "LeakyReLU", "Linear"]
    rates = {k: (o.param_groups[0]["lr"], o.param_groups[0]["betas"]) for k, o in system.optimizers().items()}
    assert rates == {"d": (2e-4, (0.5, 0.999)), "g": (1e-3, (0.5, 0.999))}
    assert (system.noise, system.categories, system.numbers, system.weights) == (62, 10, 2, (1.0, 1.0))


def test_what_does_not_go_together_is_refused():
    with pytest.raises(UserError, match="r1=0"):
        InfoGAN(**TINY, d_norm="batch")


def test_parameters_are_those_of_the_authors_program_but_for_what_batch_norm_makes_idle():
    """openai/InfoGAN on MNIST: 6,652,481 in G, 6,559,169 in D and 133,004 in Q, biases before batch norm included."""
    system = create("infogan-paper")
    generator, critic, reader = (sum(p.numel() for p in m.parameters()) for m in (system.G, system.D, system.Q))
    # G's batch norm after the second dense layer is here one for each of 128 maps, there one for each of 6,272 values.
    assert generator == 6_652_481 - (1024 + 6272 + 64) - 2 * (6272 - 128)
    assert critic == 6_559_169 - (128 + 1024)
    assert reader == 133_004
