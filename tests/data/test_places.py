"""Names of folders with commas and in other forms of Unicode, and names of parts: what is meant, wherever it is asked from."""

import unicodedata

import pytest

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data, seen_from
from genzoo.data.sources.names import two_sides
from genzoo.data.sources.parts import part_of, parts_among
from tests.data_help import classes, picture, read

pytestmark = pytest.mark.usefixtures("fresh_cache")


def pairs(folder, n, sides):
    for side in sides:
        (folder / side).mkdir(parents=True)
        for i in range(n):
            picture(i).save(folder / side / f"{i}.png")


# ---- names with commas ---------------------------------------------------------------------------------------------------------------


def test_the_comma_that_divides_is_the_one_with_data_on_either_side(folder, monkeypatch):
    monkeypatch.chdir(folder)
    pairs(folder, 3, ("my photos, 2019", "winter, old", "plain"))
    assert two_sides("my photos, 2019") is None
    assert two_sides("my photos, 2019,winter, old") == ("my photos, 2019", "winter, old")
    assert two_sides("plain,my photos, 2019") == ("plain", "my photos, 2019")
    assert two_sides("digits, plain") == ("digits", "plain")
    assert two_sides("nothing, here, at all") == ("nothing", "here, at all")
    for spec in ("my photos, 2019,winter, old", "plain, my photos, 2019"):
        assert len(read(spec, kind="paired", holdout=0)) == 3
    assert len(read("my photos, 2019", holdout=0)) == 3
    with pytest.raises(UserError, match="there is no set and no path"):
        read("plain,nothing", kind="paired")


def test_runs_on_folders_with_commas_resume_and_are_evaluated_from_anywhere(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    pairs(folder, 6, ("A, 2019", "B, cold"))
    small = {"width": 4, "size": 32, "batch": 2, "steps": 2, "quiet": True}
    one = genzoo.train("dcgan", "A, 2019", name="one", **small)
    two = genzoo.train("cyclegan", "A, 2019,B, cold", name="two", blocks=1, **small)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for run, spec in ((one, "A, 2019"), (two, "A, 2019,B, cold")):
        assert f'data = "{spec}"' in (folder / run.path / "config.toml").read_text()
        settings = seen_from(DataSettings(spec), folder / run.path)
        kind = "image" if run is one else "unpaired"
        assert len(open_data(settings, kind=kind, quiet=True)) == 5
        assert genzoo.resume(folder / run.path, steps=3, quiet=True).path
    assert main(["evaluate", str(folder / "runs" / "one"), "n=2", "measures=mmd"]) in (0, 2)


def test_a_folder_is_found_in_either_form_of_unicode(folder, tmp_path, monkeypatch):
    name = unicodedata.normalize("NFD", "Été, café")
    classes(folder / name)
    monkeypatch.chdir(folder)
    assert len(read(unicodedata.normalize("NFC", name), kind="labelled", holdout=0)) == 12
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENZOO_DATA", str(folder))
    assert len(read(unicodedata.normalize("NFC", name), kind="labelled", holdout=0)) == 12


# ---- names of parts ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(
            (n, "train")
            for n in ("train", "Training", "TRAIN", "train2017", "training_set", "images-train", "TrainSet")
        ),
        *((n, "test") for n in ("test", "Testing", "test_images", "TEST")),
        *((n, "val") for n in ("val", "valid", "Validation", "dev", "eval", "val2017")),
    ],
)
def test_parts_in_every_usual_spelling(name, part):
    assert part_of(name) == (part, "")


@pytest.mark.parametrize(
    "name", ["trains", "trainer", "contest", "evaluate me", "valley", "interval", "tests", "A", "train_test", "2019"]
)
def test_other_words_are_no_parts(name):
    assert part_of(name) is None


def test_a_name_that_says_more_is_a_part_beside_one_of_its_like():
    assert parts_among(["cats_train", "cats_test", "notes"]) == {"cats_train": ("train", ""), "cats_test": ("test", "")}
    assert parts_among(["test tube", "flask"]) == {}
    assert parts_among(["DIV2K_train_HR", "DIV2K_train_LR", "DIV2K_valid_HR", "DIV2K_valid_LR"]) == {
        "DIV2K_train_HR": ("train", "HR"), "DIV2K_train_LR": ("train", "LR"),
        "DIV2K_valid_HR": ("val", "HR"), "DIV2K_valid_LR": ("val", "LR"),
    }  # fmt: skip
    assert parts_among(["trainA", "trainB", "testA"], {"a", "b"}) == {
        "trainA": ("train", "a"), "trainB": ("train", "b"), "testA": ("test", "a"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["unpaired", "paired"])
def test_one_side_that_is_there_alone_is_said_at_once(tmp_path, kind):
    """One part of one side: what names have in common was cut off without end."""
    (tmp_path / "trainA").mkdir()
    picture(0).save(tmp_path / "trainA" / "x.png")
    with pytest.raises(UserError, match="B"):
        open_data(DataSettings(str(tmp_path)), kind=kind, quiet=True)
