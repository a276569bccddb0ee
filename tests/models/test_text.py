"""Sentence encoders, prompts from Python and the command line, and retrieval."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, UserError
from genzoo.data.drawing.images import titled
from genzoo.metrics.retrieval import Matcher, draw_asked, retrieval, train_matcher
from genzoo.nn.pretrained.minilm import PIECES, MiniLM, bert, word_pieces
from genzoo.nn.pretrained.sentences import BagOfWords, Frozen, Recurrent, Sentences
from genzoo.text.vocabulary import split, to_text
from tests.data_help import pictures, table

WORDS = ("a", "red", "blue", "circle", "heart", "star")


# ---- encoders ----------------------------------------------------------------------------------------------------------------------


def test_a_bag_is_the_sum_over_the_root_of_the_count():
    bag = BagOfWords(WORDS, 3)
    ids = torch.tensor([[2, 3, 0, 0], [2, 1, 3, 3], [1, 0, 0, 0]])
    w = bag.table.weight
    assert torch.allclose(bag(ids)[0], (w[0] + w[1]) / math.sqrt(2))
    assert torch.allclose(bag(ids)[1], (w[0] + 2 * w[1]) / math.sqrt(3)), "an unknown word does not count"
    assert not bag(ids)[2].any()
    assert torch.allclose(bag.read([["a", "red"], ["qqq"]]), bag(torch.tensor([[2, 3], [0, 0]])))


def test_the_unit_ends_at_the_last_word_whatever_fills_the_row_up():
    torch.manual_seed(0)
    net = Recurrent(WORDS, 4)
    short, padded = torch.tensor([[2, 3, 4]]), torch.tensor([[2, 3, 4, 0, 0]])
    assert torch.allclose(net(short), net(padded))
    assert torch.allclose(net(padded), net.read([["a", "red", "blue"]]))
    assert not torch.allclose(net(short), net(short.flip(1)))
    states, _ = net.unit(net.table.weight[:3][None])
    assert torch.allclose(net(short), states[:, -1])
    assert not net(torch.zeros(1, 3, dtype=torch.long)).any()


def test_long_captions_are_cut_and_the_memory_is_of_one_size():
    memory = Sentences(WORDS, "words", 3, 2)
    long = torch.tensor([[2, 3, 4, 5]])
    assert torch.equal(memory(long), memory(long[:, :2]))
    memory.remember(torch.cat([long, 0 * long, long + 1]))
    assert memory.heard[:2].tolist() == [[2, 3], [3, 4]], "an image without a caption leaves nothing"
    memory.remember(long + 2)
    assert memory.heard[:3].tolist() == [[2, 3], [3, 4], [4, 5]]
    assert memory.recall(5, torch.Generator().manual_seed(0)).shape == (5, 3)


def test_words_are_cut_into_the_longest_pieces_from_the_left():
    vocabulary = {w: i for i, w in enumerate(["[UNK]", "un", "##aff", "##able", "##a", "unaff", "a"])}
    assert word_pieces("unaffable", vocabulary) == [5, 3], "not un ##aff ##able"
    assert word_pieces("aa", vocabulary) == [6, 4]
    assert word_pieces("unx", vocabulary) == [0], "the whole word is unknown where its end is"
    assert word_pieces("a" * 101, vocabulary) == [0]


LAYERS, HEADS, D, INNER = 2, 2, 6, 10


def tiny_weights():
    g = torch.Generator().manual_seed(0)
    shapes = {"embeddings.word_embeddings.weight": (9, D), "embeddings.position_embeddings.weight": (PIECES, D)}
    shapes |= {
        "embeddings.token_type_embeddings.weight": (2, D),
        "embeddings.LayerNorm.weight": (D,),
        "embeddings.LayerNorm.bias": (D,),
    }
    for i in range(LAYERS):
        for name, (o, n) in {
            "attention.self.query": (D, D), "attention.self.key": (D, D), "attention.self.value": (D, D), "attention.output.dense": (D, D),
            "intermediate.dense": (INNER, D), "output.dense": (D, INNER),
        }.items():  # fmt: skip
            shapes |= {f"encoder.layer.{i}.{name}.weight": (o, n), f"encoder.layer.{i}.{name}.bias": (o,)}
        for name in ("attention.output", "output"):
            shapes |= {f"encoder.layer.{i}.{name}.LayerNorm.{part}": (D,) for part in ("weight", "bias")}
    return {k: torch.randn(s, generator=g) for k, s in shapes.items()}


def by_hand(w, ids):
    """The same network in numpy, number by number."""
    w = {k: v.double().numpy() for k, v in w.items()}

    def norm(x, name):
        m, v = x.mean(), ((x - x.mean()) ** 2).mean()
        return (x - m) / np.sqrt(v + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x, name):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    e = "embeddings"
    words, places = w[f"{e}.word_embeddings.weight"], w[f"{e}.position_embeddings.weight"]
    kind = w[f"{e}.token_type_embeddings.weight"][0]
    xs = [norm(words[i] + places[t] + kind, f"{e}.LayerNorm") for t, i in enumerate(ids)]
    for i in range(LAYERS):
        layer, size = f"encoder.layer.{i}", D // HEADS
        q, k, v = ([dense(x, f"{layer}.attention.self.{n}") for x in xs] for n in ("query", "key", "value"))
        new = []
        for t in range(len(xs)):
            mixed = np.zeros(D)
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                p = np.exp([q[t][part] @ k[s][part] / math.sqrt(size) for s in range(len(xs))])
                mixed[part] = sum(p[s] / p.sum() * v[s][part] for s in range(len(xs)))
            x = norm(xs[t] + dense(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
            inner = [0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in dense(x, f"{layer}.intermediate.dense")]
            new.append(norm(x + dense(np.array(inner), f"{layer}.output.dense"), f"{layer}.output.LayerNorm"))
        xs = new
    return np.stack(xs)


def test_the_transformer_equals_its_definition():
    w, ids = tiny_weights(), [1, 5, 6, 5, 2]
    found = bert({k: v.double() for k, v in w.items()}, torch.tensor(ids), heads=HEADS)
    assert np.allclose(found.numpy(), by_hand(w, ids), atol=1e-10)


@pytest.fixture
def minilm(tmp_path):
    """A folder with a tiny network in MiniLM's form."""
    (tmp_path / "minilm").mkdir()
    save_file(tiny_weights(), tmp_path / "minilm" / "model.safetensors")
    (tmp_path / "minilm" / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "red", "blue", "##ish", "circle"])
    )
    return tmp_path / "minilm"


def test_a_sentence_is_the_mean_over_pieces_at_length_one(minilm):
    net = MiniLM(minilm)
    assert net.pieces(["a", "redish", "zzz"]) == [1, 4, 5, 7, 3, 2]
    assert len(net.pieces(["a"] * 1000)) == PIECES
    both = net([["a", "red"], ["a", "redish"]], torch.device("cpu"))  # so small a network has one head
    assert torch.allclose(both.norm(dim=1), torch.ones(2))
    x = bert(net._weights[torch.device("cpu")], torch.tensor([1, 4, 5, 2]), heads=1).mean(0)
    assert torch.allclose(both[0], x / x.norm())
    alone = MiniLM(minilm)([["a", "red"]], torch.device("cpu"))
    assert torch.equal(alone[0], both[0]), "no value depends on its neighbours"


def test_missing_and_damaged_weights_are_said(minilm, tmp_path, monkeypatch):
    monkeypatch.delenv("GENZOO_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"there is no minilm in .*GENZOO_WEIGHTS.*all-MiniLM-L6-v2.*folder minilm/"):
        MiniLM().load()
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path / "none"))
    (tmp_path / "none" / "minilm").mkdir(parents=True)
    with pytest.raises(UserError, match=r"none/minilm has no model\.safetensors and no vocab\.txt"):
        MiniLM().load()
    monkeypatch.setenv("GENZOO_WEIGHTS", str(tmp_path))
    assert MiniLM().load().digest
    (minilm / "vocab.txt").write_text("a\nb")
    with pytest.raises(DamagedFile, match=r"lacks \[CLS\]"):
        MiniLM().load()
    (minilm / "model.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(DamagedFile, match="does not hold the weights"):
        MiniLM().load()


def test_a_frozen_encoder_is_in_no_checkpoint_but_its_digest_is(minilm):
    torch.manual_seed(0)
    net = Frozen(("a", "red"), MiniLM(minilm))
    assert not list(net.parameters())
    ids = torch.tensor([[2, 3], [3, 0]])
    x = net.train()(ids)
    assert torch.allclose(x, net.read([["a", "red"], ["red"]]))
    assert list(net.state_dict()) == ["digest"]
    other = Frozen(("a", "red"), MiniLM(minilm)).eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(ids), x)
    changed = {**tiny_weights(), "embeddings.LayerNorm.bias": torch.zeros(D)}
    save_file(changed, minilm / "model.safetensors")
    third = Frozen(("a", "red"), MiniLM(minilm)).eval()
    third.load_state_dict(net.state_dict())
    with pytest.raises(UserError, match="not those that this model was trained with"):
        third(ids)


def test_training_with_minilm_says_what_is_missing_before_anything_is_written(folder, tmp_path):
    pictures(folder, "0.png", "1.png")
    table(folder / "captions.csv", [("0.png", "a"), ("1.png", "red")])
    with pytest.raises(UserError, match="encoder=minilm needs weights"):
        genzoo.train("gan-cls", str(folder), encoder="minilm", width=4, runs=str(tmp_path / "runs"), quiet=True)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


REAL = Path(os.environ.get("GENZOO_WEIGHTS") or "") / "minilm"


@pytest.mark.skipif(
    not (REAL / "model.safetensors").is_file(), reason="the weights of MiniLM are not in $GENZOO_WEIGHTS/minilm"
)
def test_the_published_weights_give_the_published_similarities():
    """The three sentences of the library's own first example: 0.6660, 0.1046, 0.1411."""
    said = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    x = MiniLM(REAL)([split(s) for s in said], torch.device("cpu"))
    scores = x @ x.T
    assert [scores[0, 1].item(), scores[0, 2].item(), scores[1, 2].item()] == pytest.approx(
        [0.6660, 0.1046, 0.1411], abs=2e-4
    )


# ---- prompts -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run on captioned images."""
    root = tmp_path_factory.mktemp("text")
    pictures(root / "data", *(f"{i}.png" for i in range(12)))
    words = ("red", "blue")
    table(root / "data" / "captions.csv", [(f"{i}.png", f"a {words[i % 2]} circle") for i in range(12)])
    keys = {
        "latent": 4,
        "width": 4,
        "dim": 6,
        "compressed": 5,
        "batch": 4,
        "steps": 3,
        "runs": str(root / "runs"),
        "sample_every": 1,
    }
    return genzoo.train("gan-cls", str(root / "data"), holdout=0, quiet=True, **keys)


def test_a_run_stands_alone_with_its_vocabulary(run, tmp_path):
    genzoo.export(run, tmp_path / "out")
    system = genzoo.load(tmp_path / "out")
    assert system.vocabulary == system.hparams["vocabulary"] == ("a", "circle", "blue", "red")
    assert torch.equal(
        genzoo.sample(system, prompt="a red circle", n=2), genzoo.sample(run, prompt="a red circle", n=2)
    )
    heard = {to_text(row.tolist(), system.vocabulary) for row in system.text.heard[:12]}
    assert heard == {"a red circle", "a blue circle"}
    again = genzoo.resume(run, steps=5, quiet=True)
    assert again.log()[-1]["step"] == 5


def test_several_prompts_each_begin_with_the_same_noise(run, capsys):
    both = genzoo.sample(run, prompt=["a red circle", "a blue circle"], n=3)
    assert both.shape == (6, 1, 8, 8)
    assert torch.equal(both, genzoo.sample(run, prompt="a red circle;a blue circle", n=3))
    assert torch.equal(both[3:], genzoo.sample(run, prompt="a blue circle", n=3))
    assert len(genzoo.sample(run, prompt="red")) == 8
    assert capsys.readouterr().err == ""
    genzoo.sample(run, prompt="a rde circle", n=1)
    assert "'rde' (did you mean 'red'?)" in capsys.readouterr().err


@pytest.mark.parametrize("prompt", ["", " ", ";", "red;;blue", []])
def test_an_empty_prompt_is_an_error(run, prompt):
    with pytest.raises(UserError, match="prompt is empty"):
        genzoo.sample(run, prompt=prompt)


def test_the_command_line_titles_its_picture_by_prompts(run, tmp_path, capsys):
    out = tmp_path / "grid.png"
    assert main(["sample", str(run.path), "prompt=a red heart; a blue circle", "n=3", f"out={out}"]) == 0
    told = capsys.readouterr()
    assert "'heart'" in told.err
    expected = titled(
        genzoo.sample(run, prompt=["a red heart", "a blue circle"], n=3), ["a red heart", "a blue circle"]
    )
    assert np.array_equal(np.asarray(Image.open(out)), expected)
    assert main(["sample", str(run.path), "prompt=zzz"]) == 2
    assert "no word of it was in a training caption" in capsys.readouterr().err
    assert main(["sample", str(run.path), "prompt= "]) == 2


def test_walks_lead_from_prompt_to_prompt(run, tmp_path, capsys):
    walked = genzoo.walk(run, prompts=["a red circle", "a blue circle", "circle"], rows=2, steps=4)
    assert walked.shape == (4, 4, 1, 8, 8)
    for row, (a, b) in enumerate([("a red circle", "a blue circle")] * 2 + [("a blue circle", "circle")] * 2):
        ends = [genzoo.sample(run, prompt=p, n=2)[row % 2] for p in (a, b)]
        assert torch.allclose(walked[row][[0, -1]], torch.stack(ends), atol=1e-5)
    assert (
        main(["walk", str(run.path), "prompts=a red circle; circle", "rows=1", "steps=3", f"out={tmp_path / 'w.png'}"])
        == 0
    )
    with pytest.raises(UserError, match="at least two prompts"):
        genzoo.walk(run, prompts="a red circle")
    with pytest.raises(UserError, match="cannot take prompts"):
        genzoo.walk(genzoo.create("vae", shape=(1, 8, 8), latent=2), prompts="a;b")
    capsys.readouterr()


def test_titles_stand_above_equal_parts_and_are_cut():
    images = torch.zeros(4, 3, 8, 8)
    picture = titled(images, ["short", "a title that is far too long for so narrow a picture \u4e2d"])
    rows = grid_height = (picture.shape[0] - 32) // 2
    assert grid_height == 48
    assert (picture[:16] < 200).any()
    assert (picture[16 : 16 + rows, :48] == 128).all()
    assert (picture[16 + rows : 32 + rows] < 200).any()


def test_a_prior_over_codes_takes_captions_from_the_data_and_resumes_exactly(tmp_path):
    pictures(tmp_path / "data", *(f"{i}.png" for i in range(8)))
    table(
        tmp_path / "data" / "captions.csv",
        [(f"{i}.png", f"{w} {['red', 'blue'][i % 2]}") for i in range(8) for w in ("a", "one")],
    )
    keys = {"batch": 4, "runs": str(tmp_path / "runs"), "quiet": True, "precision": "fp32"}
    tiny = {"codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1}
    first = genzoo.train("vqvae", str(tmp_path / "data"), steps=2, **tiny, **keys)
    more = {"tokenizer": str(first.path), "width": 16, "depth": 1, "heads": 2, "save_every": 2, **keys}
    whole = genzoo.train("token-prior", str(tmp_path / "data"), steps=4, name="whole", **more)
    cut = genzoo.train("token-prior", str(tmp_path / "data"), steps=4, name="cut", **more)
    max((cut.path / "state").glob("step-*.safetensors")).unlink()
    genzoo.resume(cut, quiet=True)
    a, b = genzoo.load(whole.path), genzoo.load(cut.path)
    assert set(a.vocabulary) == {"a", "one", "blue", "red"}
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert genzoo.sample(a, prompt="a red; one blue", n=2).shape == (4, 1, 8, 8)
    heard = {to_text(row.tolist(), a.vocabulary) for row in a.text.heard[: int(a.text.count)]}
    assert heard <= {f"{w} {c}" for w in ("a", "one") for c in ("red", "blue")}
    assert len(heard) > 2, "any of an image's captions"


# ---- retrieval ---------------------------------------------------------------------------------------------------------------------


def test_retrieval_of_a_perfect_and_of_a_blind_matcher():
    captions = [f"word{i}" for i in range(40)]
    net = Matcher(1, captions).eval()
    vectors = torch.eye(40)
    net.read = lambda texts: vectors[[captions.index(t) for t in texts]]
    net.see = lambda images: vectors[images[:, 0, 0, 0].long()]
    images = torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1)
    right = retrieval(net, images, captions, captions, candidates=40)
    assert (right["value"], right["first_ten"], right["median_rank"]) == (1.0, 1.0, 1.0)
    net.see = lambda images: torch.ones(len(images), 40)  # all captions fit equally well: a tie is no find
    assert retrieval(net, images, captions, captions, candidates=40)["value"] == 0
    g = torch.Generator().manual_seed(0)
    net.see = lambda images: torch.randn(len(images), 40, generator=g)
    chance = retrieval(net, images.repeat(100, 1, 1, 1), captions * 100, captions, candidates=20)
    assert chance["value"] == pytest.approx(1 / 20, abs=3 * chance["se"] + 0.005)
    with pytest.raises(UserError, match="needs as many"):
        retrieval(net, images, captions, captions, candidates=41)


def test_a_matcher_learns_to_tell_colours_and_leaves_randomness_alone():
    g = torch.Generator().manual_seed(0)
    names, levels = ("black", "grey", "white"), torch.tensor([20, 128, 235])
    label = torch.randint(3, (60,), generator=g)
    images = (
        (levels[label].view(-1, 1, 1, 1) + torch.randint(-15, 16, (60, 1, 16, 16), generator=g))
        .clamp(0, 255)
        .to(torch.uint8)
    )
    torch.manual_seed(7)
    before = torch.get_rng_state()
    net = train_matcher(images, [[f"a {names[k]} one"] for k in label], steps=25)
    assert torch.equal(before, torch.get_rng_state())
    with torch.no_grad():
        scores = net.see(images) @ net.read([f"a {n} one" for n in names]).T
    assert (scores.argmax(1) == label).float().mean() > 0.9


def test_samples_are_drawn_for_every_caption_that_can_be_read(run):
    system = genzoo.load(run.path)
    images, asked = draw_asked(system, ["a red circle", "zzz", "blue zzz"], 2, torch.Generator().manual_seed(0))
    assert asked == ["a red circle"] * 2 + ["blue zzz"] * 2
    assert images.shape == (4, 1, 8, 8)
    assert images.dtype == torch.uint8
    with pytest.raises(UserError, match="no word"):
        draw_asked(system, ["zzz"], 1, torch.Generator())


def test_evaluate_measures_retrieval(tmp_path, monkeypatch):
    pictures(tmp_path / "data", *(f"{i}.png" for i in range(40)))
    table(tmp_path / "data" / "captions.csv", [(f"{i}.png", f"thing number{i % 9}") for i in range(40)])
    keys = {
        "latent": 4,
        "width": 4,
        "dim": 6,
        "compressed": 5,
        "batch": 4,
        "steps": 1,
        "runs": str(tmp_path / "runs"),
        "quiet": True,
    }
    made = genzoo.train("gan-cls", str(tmp_path / "data"), holdout=0.5, **keys)
    monkeypatch.setattr("genzoo.metrics.retrieval.STEPS", 3)
    found = genzoo.evaluate(made, measures="retrieval", n=40)["measures"]["retrieval"]
    assert 0 <= found["value"] <= 1
    assert found["candidates"] > 4
    assert f"chance {1 / found['candidates']:.3g}" in found["protocol"]
    assert found["n"] % found["candidates"] == 0, "as many samples of each of the distinct captions"
    with pytest.raises(UserError, match="no capability 'prompted'"):
        genzoo.evaluate(genzoo.create("vae", shape=(1, 8, 8), latent=2), "digits", measures="retrieval", n=4)
