"""What the lectures claim: the checks hold, they can fail, and a missing matplotlib is said."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.lectures import discriminator, fits, gradients, oscillation
from genzoo.lectures.check import Check
from genzoo.losses.divergences import jensen_shannon, kl_discrete


@pytest.mark.parametrize(
    "study", [fits.study, gradients.study, oscillation.study], ids=["fits", "gradients", "oscillation"]
)
def test_every_check_holds(study):
    checks, _ = study(0)
    assert [c.claim for c in checks if not c.holds] == []


def test_the_discriminator_checks_hold_and_the_network_learns(monkeypatch):
    monkeypatch.setattr(discriminator, "STEPS", 600)
    checks, _ = discriminator.study(1)
    assert [c.claim for c in checks if not c.holds] == []
    monkeypatch.setattr(discriminator, "STEPS", 1)
    untrained, _ = discriminator.study(1)
    assert not untrained[-2].holds, "the check must be able to fail"
    assert not untrained[-1].holds


def test_a_wrong_formula_would_be_found():
    _, (p, q) = discriminator.on_grid(discriminator.Mixture((-1.0,), (1.0,)), discriminator.Mixture((1.0,), (1.0,)))
    best = discriminator.best_logits(p, q)
    value = float(discriminator.value(best, p, q))
    assert value == pytest.approx(2 * float(jensen_shannon(p, q)) - 2 * math.log(2), abs=1e-9)
    assert value != pytest.approx(2 * float(kl_discrete(p, q)) - 2 * math.log(2), abs=1e-2)
    assert float(discriminator.value(best + 0.1, p, q)) < value
    assert not Check("c", 1.0, 1.1, 0.05, "h").holds


def test_the_game_of_two_numbers_by_hand():
    """The gradients at a point away from the end: descent follows −∂L_G/∂θ and −∂L_D/∂ψ; a remedy that is not there would be seen."""
    theta, psi, s = 0.7, -0.4, 1 / (1 + math.exp(0.7 * 0.4))
    at = torch.tensor([theta, psi], dtype=torch.float64, requires_grad=True)
    plain = oscillation.descent(oscillation.players(), at)
    assert plain.tolist() == pytest.approx([psi * (1 - s), -theta * s])
    damped = oscillation.descent(oscillation.players(gamma=0.5), at)
    assert (damped - plain).tolist() == pytest.approx([0, -0.5 * psi])
    assert oscillation.eigenvalue(oscillation.players(gamma=2.0)).real == pytest.approx(-1 + math.sqrt(0.75))
    kept = oscillation.path(oscillation.players(), (1e-4, 0.0), 400, critic_steps=1).norm(dim=1)
    assert kept.max() / kept.min() < 1.2, "one after the other it neither grows nor shrinks"
    ended = oscillation.path(oscillation.players(gamma=0.5), (1e-4, 0.0), 400, critic_steps=1)
    assert ended[-1].norm() < 1e-6 * ended[0].norm()


def test_divergences_of_known_distributions():
    p, q = torch.tensor([0.5, 0.5, 0.0]).double(), torch.tensor([0.25, 0.25, 0.5]).double()
    assert float(kl_discrete(p, q)) == pytest.approx(math.log(2))
    assert float(kl_discrete(q, p)) == math.inf
    assert float(jensen_shannon(p, q)) == pytest.approx(float(jensen_shannon(q, p)))
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    assert float(jensen_shannon(*apart)) == pytest.approx(math.log(2))
    tiny = torch.tensor([[5e-324, 1.0, 0.0], [0.0, 0.0, 1.0]]).double()
    assert float(jensen_shannon(*tiny)) == pytest.approx(math.log(2)), "the smallest float is no infinity"


def test_the_command_draws_and_says_what_holds(tmp_path, capsys):
    assert main(["theory", "parts=gradients,fits", f"out={tmp_path / 'drawn'}"]) == 0
    said = capsys.readouterr().out
    assert "holds" in said
    assert "FAILS" not in said
    for part in ("gradients", "fits"):
        with Image.open(tmp_path / "drawn" / f"{part}.png") as drawn:
            assert min(drawn.size) > 200
    assert main(["theory", "parts=proofs"]) == 2
    assert "discriminator" in capsys.readouterr().err


def test_without_matplotlib_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"genzoo\[plot\]"):
        genzoo.theory(tmp_path, parts=("gradients",))
