"""Captions: sentences as words and numbers, tables of them, what is missing said, and the set that is drawn."""

import math

import numpy as np
import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.data import Batches, DataSettings, open_data
from genzoo.data.sources.shapes import COLOURS, KINDS, SIDE, describe, draw
from genzoo.text.vocabulary import split, to_ids, to_text, unknown, vocabulary
from tests.data_help import pictures, read, table

# ---- words -------------------------------------------------------------------------------------------------------------------------


def test_a_sentence_is_cut_as_berts_first_step_cuts_it():
    assert split("Don't STOP\tit\u00a0now…") == ["don", "'", "t", "stop", "it", "now", "…"]
    assert split("Ünïcode \u4e2d\u6587 x2+y \u0000\ufffd?") == [
        "unicode",
        "\u4e2d",
        "\u6587",
        "x2",
        "+",
        "y",
        "\ufffd",
        "?",
    ]
    assert split(" \n ") == []


def test_words_and_numbers_go_both_ways():
    captions = ["a red circle", "a red heart", "a blue circle"]
    words = vocabulary(captions)
    assert words == ("a", "circle", "red", "blue", "heart"), "the commonest first, then by the alphabet"
    ids = to_ids([split(c) for c in captions], words)
    assert [to_text(row, words) for row in ids] == captions
    assert to_ids([["a", "green"], []], words).tolist() == [[2, 1], [0, 0]]
    assert unknown("A Green green heart", words) == ["green"]


# ---- captioned data ----------------------------------------------------------------------------------------------------------------


def test_several_captions_of_an_image_are_drawn_anew_at_every_step(folder):
    pictures(folder, "0.png", "1.png", "2.png")
    table(
        folder / "captions.csv",
        [("0.png", "one zero"), ("1.png", "one"), ("0.png", "two  zero"), ("0.png", "one zero"), ("2.png", "x")],
    )
    dataset = read(folder, kind="captioned", holdout=0)
    levels = dataset.fields["image"][:, 0, 0, 0].tolist()
    texts = {0: ["one zero", "two zero"], 1: ["one"], 2: ["x"]}
    assert dataset.texts == [texts[v] for v in levels]
    assert dataset.captions == [texts[v][0] for v in levels]
    assert dataset.facts()["vocabulary"] == dataset.vocabulary == ("one", "zero", "two", "x")
    batches, seen = Batches(dataset, 3, 0), set()
    for step in range(20):
        batch = batches.at(step)
        for level, row in zip(batch["image"][:, 0, 0, 0].tolist(), batch["caption"], strict=True):
            text = to_text(row.tolist(), dataset.vocabulary)
            assert text in texts[level]
            seen.add(text)
        assert torch.equal(batch["caption"], batches.at(step)["caption"])
    assert seen == {"one zero", "two zero", "one", "x"}
    first = batches.in_order(0)["caption"]
    assert [to_text(row.tolist(), dataset.vocabulary) for row in first] == dataset.captions


def test_ranks_share_the_captions_of_one_process(folder):
    pictures(folder, *(f"{i}.png" for i in range(6)))
    table(folder / "captions.csv", [(f"{i}.png", f"{w} {i}") for i in range(6) for w in ("a", "b", "c")])
    dataset = read(folder, kind="captioned", holdout=0)
    whole = Batches(dataset, 4, 0).at(3)["caption"]
    parts = [Batches(dataset, 4, 0, rank, 2).at(3)["caption"] for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)


def test_one_table_serves_the_folders_below_it_and_a_table_from_elsewhere(folder, tmp_path):
    pictures(folder, "x/0.png", "y/0.png", "y/1.png")
    table(folder / "captions.csv", [("0.png", "nought"), ("y/1.png", "one")])
    dataset = read(folder, kind="captioned", holdout=0)
    assert sorted(dataset.captions) == ["nought", "nought", "one"]
    assert dataset.report == []
    (folder / "captions.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(UserError, match=r"captions\.csv, metadata\.csv or metadata\.jsonl .* captions=FILE"):
        read(folder / "y", kind="captioned")
    assert sorted(read(folder / "y", kind="captioned", holdout=0, captions=str(tmp_path / "mine.csv")).captions) == [
        "nought",
        "one",
    ]
    with pytest.raises(UserError, match=r"no such file — did you mean 'mine\.csv'"):
        read(folder, kind="captioned", captions=str(tmp_path / "mien.csv"))
    with pytest.raises(UserError, match="goes with a folder or an archive"):
        read("shapes", kind="captioned", captions=str(tmp_path / "mine.csv"))
    table(tmp_path / "mine.csv", [("0.png", "zero")])
    again = read(folder / "y", kind="captioned", holdout=0, captions=str(tmp_path / "mine.csv"))
    assert again.captions == ["zero"], "a changed table is read again"


def test_the_vocabulary_is_that_of_the_training_part_in_both_parts(folder):
    pictures(folder, *(f"train/{i}.png" for i in range(3)), "test/9.png")
    table(
        folder / "captions.csv",
        [*((f"train/{i}.png", f"a thing {i}") for i in range(3)), ("test/9.png", "a new thing")],
    )
    train, test = (read(folder, kind="captioned", split=s) for s in ("train", "test"))
    assert train.vocabulary == test.vocabulary == ("a", "thing", "0", "1", "2")
    assert test.sentences.ids.tolist() == [[2, 1, 3]]


@pytest.mark.parametrize(
    ("rows", "header", "said"),
    [
        ([("0.png", "x")], ("file", "colour"), r"captions\.csv: no columns file .*; its columns: file, colour"),
        (
            [("8.png", "x"), ("9.png", "y")],
            ("file", "caption"),
            r"none of the 2 files with a caption is there, the first of them '8\.png'",
        ),
        ([("0.png", " "), ("1.png", "")], ("file", "caption"), r"captions\.csv: 2 rows without a caption"),
        ([("", "x")], ("file", "caption"), r"captions\.csv: 1 row without a file"),
        ([], ("file", "caption"), r"its columns: none|no captions"),
    ],
)
def test_a_caption_set_without_captions_says_what_stands_in_the_way(folder, rows, header, said):
    pictures(folder, "0.png", "1.png")
    table(folder / "captions.csv", rows, header)
    with pytest.raises(UserError, match=said) as caught:
        read(folder, kind="captioned")
    assert "has no captions for its images" in str(caught.value)


def test_what_is_missing_in_part_is_reported_and_the_rest_is_used(folder, capsys):
    pictures(folder, "0.png", "1.png", "2.png")
    table(folder / "captions.csv", [("0.png", "x"), ("1.png", ""), ("7.png", "seven"), ("2.png", "y")])
    dataset = open_data(DataSettings(str(folder), holdout=0), kind="captioned")
    assert sorted(dataset.captions) == ["x", "y"]
    assert dict(dataset.report) == {
        "captions.csv": "1 row without a caption",
        "7.png": "has a caption, but there is no such file",
        "1.png": "no caption",
    }
    assert "3 left out (captions.csv: 1 row without a caption; 7.png" in capsys.readouterr().err


def test_shapes_are_what_their_captions_say():
    x, y = 0.5, 0.5
    for colour, rgb in COLOURS.items():
        for kind in KINDS:
            image = draw([("large", colour, kind, x, y)])
            assert image[:, SIDE // 2, SIDE // 2].tolist() == list(rgb), "the middle of a shape has its colour"
            assert (image[:, [0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    small, large = ((draw([(s, "red", "circle", x, y)])[1] < 128).sum() for s in ("small", "large"))
    assert small == pytest.approx(math.pi * (0.13 * SIDE) ** 2, rel=0.05)
    assert large == pytest.approx(math.pi * (0.22 * SIDE) ** 2, rel=0.05)
    assert len({draw([("large", "red", k, x, y)]).tobytes() for k in KINDS}) == len(KINDS)
    a, b = ("small", "red", "circle", 0.27, 0.5), ("large", "blue", "star", 0.73, 0.5)
    assert describe([a, b]) == [
        "a small red circle left of a large blue star",
        "a large blue star right of a small red circle",
    ]
    image = draw([a, b])
    red, blue = (np.abs(image.astype(int) - np.array(COLOURS[c])[:, None, None]).sum(0) < 30 for c in ("red", "blue"))
    assert np.nonzero(red)[1].mean() < SIDE / 2 < np.nonzero(blue)[1].mean()


def test_shapes_hold_out_sentences_and_not_words():
    train, test = (read("shapes", kind="captioned", split=s) for s in ("train", "test"))
    assert (len(train), len(test)) == (2000, 200)
    assert all(len(t) == 2 for t in train.texts)
    assert not set(train.captions) & set(test.captions)
    assert test.sentences.ids.max() < len(train.vocabulary) + 2
    assert not (test.sentences.ids == 1).any()
    assert read("shapes", split="test").fields["image"].shape == (200, 3, 64, 64)
    with pytest.raises(UserError, match="not paired data"):
        read("shapes", kind="paired")
