"""AC-GAN: L_S and L_C as the paper has them, on logits; only the generator is told the class."""

import math

import pytest
import torch
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.conditional.acgan import ACGAN
from tests.adversaries import gen, play

TINY = ACGAN.tiny


def losses(classes=3, source=(0.0, 0.0), right=0.0, **settings):
    """Losses of one step on a frozen D: source logits of (real, fake), and the logit of the right class over the others."""
    system = ACGAN(**TINY, classes=classes, r1=0.0, **settings)
    real, label = torch.full((6, 1, 8, 8), 0.5), torch.arange(6) % classes
    told = []
    system.G.register_forward_pre_hook(lambda _, args: told.append(args[0][:, 4:].argmax(1)))
    plain, passes = system.D.forward, []

    def judge(x):
        is_real = not passes
        passes.append(x)
        y = label if is_real else told[0]
        out = plain(x) * 0 + 0  # keeps the graph, so that both updates have something to send back
        out = out + F.pad(right * F.one_hot(y, classes).float(), (1, 0))
        out[:, 0] = out[:, 0] + source[0 if is_real else 1]
        return out

    system.D.forward = judge
    return play(system, data=lambda: {"image": real, "label": label})[1]


def test_golden_values():
    """Knowing nothing: 2 ln 2 + 2 ln K for D, ln 2 + ln K for G."""
    logs = losses()
    assert logs["d_loss"].item() == pytest.approx(2 * math.log(2) + 2 * math.log(3), abs=1e-5)
    assert logs["g_loss"].item() == pytest.approx(math.log(2) + math.log(3), abs=1e-5)
    assert logs["class_real"].item() == pytest.approx(math.log(3), abs=1e-5)


def test_both_players_gain_where_the_class_is_named_right():
    wrong, level, right = (losses(right=v) for v in (-3.0, 0.0, 3.0))
    for key in ("d_loss", "g_loss"):
        assert right[key] < level[key] - 0.5
        assert wrong[key] > level[key] + 0.5
    # cross-entropy of logits: ln(1 + 2 e^-3), not that of a second softmax (ln(e + 2) - 1 at the very best)
    assert right["class_real"].item() == pytest.approx(math.log(1 + 2 * math.exp(-3)), abs=1e-5)


def test_the_players_disagree_about_the_source():
    fooled, right = losses(source=(-2.0, 2.0)), losses(source=(2.0, -2.0))
    assert fooled["d_loss"] > right["d_loss"] + 2
    assert fooled["g_loss"] < right["g_loss"] - 1


def test_the_weight_of_the_class():
    none, twice = losses(class_weight=0.0), losses(class_weight=2.0)
    assert (twice["d_loss"] - none["d_loss"]).item() == pytest.approx(4 * math.log(3), abs=1e-4)
    assert (twice["g_loss"] - none["g_loss"]).item() == pytest.approx(2 * math.log(3), abs=1e-4)


def test_only_the_generator_is_told_the_class():
    system, seen = ACGAN(**TINY), []
    system.D.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    update, _ = play(system, steps=2)
    assert {tuple(s) for s in seen} == {(4, 1, 8, 8)}
    assert update.calls == ["d", "g", "d", "g"]
    assert {k.split(".")[0] for k in update.moved["d"]} == {"D"}
    assert {k.split(".")[0] for k in update.moved["g"]} == {"G"}


def test_classes_of_generated_images_are_drawn_evenly():
    system, seen = ACGAN(**TINY, classes=3), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 4:]))
    blank = {"image": torch.zeros(3000, 1, 8, 8), "label": torch.zeros(3000, dtype=torch.long)}
    play(system, data=lambda: blank)
    assert seen[0].mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)


def test_data_without_labels_are_refused():
    with pytest.raises(UserError, match="subfolder"):
        ACGAN(classes=0)


def test_it_learns_which_class_looks_how():
    torch.manual_seed(0)
    system, levels = ACGAN(**TINY, classes=3, lr=3e-3), torch.tensor([-0.8, 0.0, 0.8])

    def data():
        label = torch.randint(3, (32,))
        return {"image": levels[label].view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 8, 8), "label": label}

    play(system, steps=250, data=data)
    system.eval()
    means = [system.sample(64, generator=gen(), label=k).mean().item() for k in range(3)]
    assert means == pytest.approx(levels.tolist(), abs=0.3)
