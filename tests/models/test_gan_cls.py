"""GAN-CLS: three kinds of pairs with their weights, sentences between sentences, and who moves the encoder."""

import math

import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.models.conditional.gan_cls import GANCLS
from genzoo.saved.loading import build
from tests.adversaries import gen, play

TINY = GANCLS.tiny
SOFTPLUS_1 = math.log(1 + math.e)


def batch(n=4, seed=0, words=4):
    g = torch.Generator().manual_seed(seed)
    caption = torch.stack([torch.arange(n) % words + 2, torch.zeros(n, dtype=torch.long)], 1)
    return {"image": torch.rand(n, 1, 8, 8, generator=g) * 2 - 1, "caption": caption}


def losses(logits, given=None, **settings):
    """Losses of one step whose D says `logits` = (real with right, generated, real with wrong), in the order of the step."""
    system, said = GANCLS(**{**TINY, **settings, "r1": 0.0}), []
    plain = system.D.match

    def match(seen, sentence):
        said.append(sentence.detach().clone())
        return plain(seen, sentence) * 0 + logits[min(len(said) - 1, 2) if len(said) <= 3 else 1]

    system.D.match = match
    torch.manual_seed(0)
    _, logs = play(system, data=lambda: given or batch())
    return logs, said, system


def test_golden_values():
    """Knowing nothing: ln 2 + ½ (ln 2 + ln 2) for D, ln 2 for G; with INT another ln 2."""
    logs, _, _ = losses((0.0, 0.0, 0.0))
    assert logs["d_loss"].item() == pytest.approx(2 * math.log(2), abs=1e-6)
    assert logs["g_loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    assert losses((0.0, 0.0, 0.0), interpolate=0.5)[0]["g_loss"].item() == pytest.approx(1.5 * math.log(2), abs=1e-6)


def test_each_kind_of_pair_has_its_weight_and_its_direction():
    level = 2 * math.log(2)
    for place, settings, weight in (
        (0, {}, -1.0), (1, {}, 0.5), (2, {}, 0.5), (2, {"mismatch": 0.0}, 0.0), (1, {"mismatch": 0.0}, 1.0), (2, {"mismatch": 0.75}, 0.75),
    ):  # fmt: skip
        logits = [0.0, 0.0, 0.0]
        logits[place] = 1.0
        gain = (SOFTPLUS_1 - math.log(2)) if weight > 0 else (math.log(2) - math.log(1 + math.exp(-1)))
        found = losses(logits, **settings)[0]["d_loss"].item()
        assert found == pytest.approx(level + weight * gain, abs=1e-5), (place, settings)
    assert losses((0.0, 2.0, 0.0))[0]["g_loss"] < math.log(2) - 0.3 < losses((0.0, -2.0, 0.0))[0]["g_loss"]


def test_wrong_sentences_are_those_of_other_images():
    _, said, _ = losses((0.0, 0.0, 0.0))
    right, generated, wrong, for_g = said
    assert torch.equal(right, generated)
    assert torch.equal(right, for_g)
    assert torch.equal(wrong, right.roll(1, 0))
    assert (wrong != right).any(1).all()


def test_a_wrong_sentence_that_is_right_is_passed_over():
    same = batch()
    same["caption"][:] = same["caption"][:1]
    assert losses((0.0, 0.0, 5.0), same)[0]["d_loss"].item() == pytest.approx(1.5 * math.log(2), abs=1e-6)
    half = batch()
    half["caption"][1] = half["caption"][0]  # the wrong sentence of the second image is the first one's
    assert losses((0.0, 0.0, 1.0), half)[0]["d_loss"].item() == pytest.approx(
        1.5 * math.log(2) + 0.5 * SOFTPLUS_1, abs=1e-5
    )


def test_sentences_between_sentences_go_to_both_players():
    torch.manual_seed(0)
    system, asked, judged = GANCLS(**TINY, interpolate=1.0), [], []
    system.G.register_forward_pre_hook(lambda _, args: asked.append(args[1].detach().clone()))
    system.D.register_forward_pre_hook(lambda _, args: judged.append(args[1].detach().clone()))
    play(system, data=batch)
    own, between = asked
    assert torch.allclose(between, (own + own.roll(1, 0)) / 2)
    assert torch.equal(judged[-1], between)


def test_the_encoder_learns_with_the_discriminator_alone():
    for encoder in ("words", "gru"):
        torch.manual_seed(0)
        system = GANCLS(**{**TINY, "encoder": encoder})
        update, _ = play(system, steps=3, data=batch)
        assert update.calls == ["d", "g"] * 3
        assert {k.split(".")[0] for k in update.moved["d"]} == {"D", "text"}
        assert {k.split(".")[0] for k in update.moved["g"]} == {"G"}
        assert "text.encoder.table.weight" in update.moved["d"]


def test_the_players_see_the_sentence():
    torch.manual_seed(0)
    system, x = GANCLS(**TINY), torch.rand(4, 1, 8, 8)
    h = torch.randn(4, 6, requires_grad=True)
    for out in (system.D(x, h), system.G(torch.randn(4, 4), h)):
        (gradient,) = torch.autograd.grad(out.square().sum(), h)
        assert (gradient.abs().sum(1) > 0).all()


def test_captions_are_kept_for_samples_without_a_prompt():
    system = GANCLS(**TINY)
    play(system, steps=3, data=batch)
    heard = system.text.heard
    assert torch.equal(heard[:4, :2].long(), batch()["caption"])
    assert torch.equal(heard[8:12, :2].long(), batch()["caption"])
    assert heard.shape[1] == TINY["length"]
    told = system.state_dict()
    assert "text.heard" in told
    many = batch(1500)
    play(system, data=lambda: many)
    assert torch.equal(system.text.heard[:, :2].long().sort(0).values, many["caption"][-1024:].sort(0).values)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UserError, match=r"captions\.csv"):
        GANCLS(shape=(1, 8, 8))
    with pytest.raises(UserError, match="8 to 1024"):
        GANCLS((1, 4, 8), vocabulary=("a",))
    system = GANCLS(**TINY).eval()
    with pytest.raises(UserError, match=r"'rde' \(did you mean 'red'\?\)"):
        system.sample(1, generator=gen(), prompt="rde")


def test_order_counts_for_the_unit_and_not_for_the_bag():
    for encoder, same in (("words", True), ("gru", False)):
        torch.manual_seed(0)
        system = GANCLS(**{**TINY, "encoder": encoder, "length": 8}).eval()
        a, b = (system.sample_prior(1, generator=gen(), prompt=p) for p in ("red circle a blue", "blue a circle red"))
        assert torch.allclose(a, b, atol=1e-6) == same


def test_it_learns_which_word_looks_how():
    torch.manual_seed(0)
    system, levels = GANCLS(**{**TINY, "dim": 8}, lr=3e-3), torch.tensor([-0.8, 0.0, 0.8])

    def data():
        label = torch.randint(3, (32,))
        caption = torch.stack([torch.full((32,), 2), label + 3], 1)
        return {"image": levels[label].view(-1, 1, 1, 1) + 0.05 * torch.randn(32, 1, 8, 8), "caption": caption}

    play(system, steps=600, data=data)  # by 300 it depends on the processor whether it has learned
    system.eval()
    means = [system.sample(64, generator=gen(), prompt=f"a {w}").mean().item() for w in TINY["vocabulary"][1:]]
    assert means == pytest.approx(levels.tolist(), abs=0.3)


def test_a_file_that_calls_the_vocabulary_words_is_read():
    described = {
        "system": "gan-cls",
        "hparams": {**{k: v for k, v in TINY.items() if k != "vocabulary"}, "words": ["a", "red"]},
    }
    assert build(described).vocabulary == ("a", "red")
    with pytest.raises(UserError, match=r"no setting 'words'.* Settings: .*vocabulary"):
        GANCLS(**TINY, words=("a",))
