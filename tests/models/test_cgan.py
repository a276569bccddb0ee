"""Conditional GAN: the label reaches both players, and only a match counts as real."""

import pytest
import torch
from torch import nn

import genzoo
from genzoo.core.errors import UserError
from genzoo.metrics.drawing import EACH
from genzoo.models.conditional.cgan import CGAN
from genzoo.naming.registry import create
from genzoo.nn.gan.maxout import Maxout
from tests.adversaries import gen, play

TINY = CGAN.tiny
NETS = pytest.mark.parametrize("nets", ["conv", "dense"])


def test_the_papers_nets():
    system = create("cgan-dense", shape=(1, 28, 28))
    sizes = {k: (m.in_features, m.out_features) for k, m in system.G.named_modules() if isinstance(m, nn.Linear)}
    assert sizes == {"noise": (100, 200), "label": (10, 1000), "joint": (1200, 1200), "out": (1200, 784)}
    maxout = {
        k: (m.linear.out_features // m.pieces, m.pieces) for k, m in system.D.named_modules() if isinstance(m, Maxout)
    }
    assert maxout == {"image": (240, 5), "label": (50, 5), "joint": (240, 4)}


@NETS
def test_both_players_depend_on_the_label(nets):
    torch.manual_seed(0)
    system = CGAN(**TINY, nets=nets).eval()
    z, x = torch.randn(1, 4).expand(3, 4), torch.rand(1, 1, 8, 8).expand(3, 1, 8, 8)
    y = system._one_hot(torch.arange(3))
    images = system.G(z, y)
    assert not torch.allclose(images[0], images[1])
    assert len(set(system.D(x, y).tolist())) == 3


@NETS
def test_each_loss_moves_only_its_player(nets):
    update, logs = play(CGAN(**TINY, nets=nets), steps=2)
    assert update.calls == ["d", "g", "d", "g"]
    assert {k.split(".")[0] for k in update.moved["d"]} == {"D"}
    assert {k.split(".")[0] for k in update.moved["g"]} == {"G"}
    assert set(logs) == {"d_loss", "g_loss", "d_real", "d_fake"}


def test_generated_images_are_judged_with_the_labels_they_were_made_from():
    system, seen = CGAN(**TINY), {"G": [], "D": []}
    for player in seen:
        getattr(system, player).register_forward_pre_hook(lambda _, args, p=player: seen[p].append(args[1].argmax(1)))
    play(system, data=lambda: {"image": torch.rand(6, 1, 8, 8), "label": torch.tensor([5, 5, 2, 9, 0, 2])})
    assert all(y.tolist() == [5, 5, 2, 9, 0, 2] for player in seen.values() for y in player)


def test_the_penalty_is_on_the_image_and_never_on_the_label():
    """With D(x, y) linear in x alone of slope w the penalty is r1 / 2 |w|², whatever the label adds."""
    weight = torch.randn(64)

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.v = nn.Parameter(weight.clone()), nn.Parameter(torch.randn(10))

        def forward(self, x, y):
            return x.flatten(1) @ self.w + 100 * (y @ self.v)

    losses = []
    for r1 in (0.0, 4.0):
        torch.manual_seed(1)
        system = CGAN(**TINY, r1=r1)
        system.D = Linear()
        losses.append(
            play(system, data=lambda: {"image": torch.zeros(3, 1, 8, 8), "label": torch.arange(3)})[1]["d_loss"]
        )
    assert (losses[1] - losses[0]).item() == pytest.approx(2 * weight.square().sum().item(), rel=1e-4)


def test_without_a_label_every_class_is_equally_likely():
    system, seen = CGAN(**TINY, classes=4), []
    system.G.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    system.sample(4000, generator=gen())
    assert seen[0].sum(1).eq(1).all()
    assert seen[0].mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    system.sample(5, generator=gen(), label=2)
    assert seen[1].argmax(1).tolist() == [2] * 5


def test_data_without_labels_are_refused():
    with pytest.raises(UserError, match="subfolder"):
        CGAN(classes=0)


def test_it_learns_which_class_looks_how():
    """Three classes are three grey levels: after a few steps each label has the grey of its class."""
    torch.manual_seed(0)
    system, levels = CGAN(**TINY, classes=3, lr=3e-3), torch.tensor([-0.8, 0.0, 0.8])

    def data():
        label = torch.randint(3, (32,))
        return {"image": levels[label].view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 8, 8), "label": label}

    play(system, steps=250, data=data)
    system.eval()
    means = [system.sample(64, generator=gen(), label=k).mean().item() for k in range(3)]
    assert means == pytest.approx(levels.tolist(), abs=0.3)


def test_a_run_draws_a_row_for_each_class_and_knows_their_names(runs, tmp_path):
    run = runs("cgan")
    drawn = genzoo.sample(run)
    assert len(drawn) == 3 * EACH  # the tiny data have three classes
    second = genzoo.sample(run, n=3, label=1)
    assert torch.equal(second, genzoo.sample(run, n=3, label="1"))
    system = genzoo.load(run.path)
    system.trained["class_names"] = ["cat", "dog", "owl"]
    assert torch.equal(second, genzoo.sample(system, n=3, label="dog"))
    with pytest.raises(UserError, match="label=dgo"):
        genzoo.sample(system, n=3, label="dgo")
    with pytest.raises(UserError, match="0 to 2"):
        genzoo.sample(run, n=1, label=3)
    assert len(genzoo.sample(run, n=5)) == 5
