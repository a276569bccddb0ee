"""Advice: every task has an answer that can do it, budgets change it, mistakes are answered, and torch is not needed."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys

import pytest

from genzoo.api import sort_keys
from genzoo.cli.advise import tasks
from genzoo.cli.main import main
from genzoo.cli.table import commands
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.naming import registry
from genzoo.use import advise as advising
from genzoo.use.advise import kind_of, seconds_of


def advise(*asked, **keys):
    return advising.advise(tasks(), *asked, **keys)


@pytest.fixture
def paces(monkeypatch):
    """Facts of two systems that the files do not decide."""
    known = {
        "paces.json": {
            "systems": {
                "dcgan": {"step_per_example": 0.001, "batch": 64, "steps": 1000},  # 64 s in all
                "vae": {"step_per_example": 0.01, "batch": 100, "steps": 6000},  # 6000 s in all
                "gaussian": {"fit": 0.05, "steps": None, "batch": 1000},
            }
        },
        "reached.json": {"FLD, mnist": {"dcgan": 30.0, "gan": 20.0}},
    }
    monkeypatch.setattr(advising, "facts", lambda name: known[name])


@pytest.mark.parametrize("task", tasks())
def test_every_task_is_answered_by_what_can_do_it_on_some_data(task):
    answered = 0
    for kind in {e.data for e in registry.entries().values()}:
        try:
            found = advise(task, kind)
        except UserError:
            continue
        answered += 1
        assert 1 <= len(found) <= 3
        for a in found:
            assert tasks()[task](registry.entries()[a.system])
            assert a.why
            for line in a.commands:
                assert line.split()[0] == "genzoo"
                assert line.split()[1] in commands()
    assert answered


def test_commands_with_a_need_are_tasks():
    assert {c.name for c in commands().values() if c.needs} <= set(tasks())


def test_a_task_may_be_one_of_a_systems_maps():
    assert {a.system for a in advise("colour", "photos")} <= {"colorizer", "missing-data-encoder"}
    assert advise("super-resolution", "photos")[0].commands[1] == "genzoo upscale runs/srgan IMAGE_OR_FOLDER"


def test_answers_come_from_different_families():
    families = [a.family for a in advise("sample", "images", "1h")]
    assert len(families) == len(set(families)) == 3


def test_what_is_measured_goes_before_what_is_not(paces):
    assert advise("sample", "images")[0].system == "gan", "the least FLD among the implicit ones"
    assert advise("sample", "images")[1].family != "adversarial"


def test_a_budget_makes_steps(paces):
    def command(budget, size=None):
        return next(a for a in advise("reconstruct", "images", budget, size) if a.family == "autoencoding").commands[0]

    assert command("1h") == "genzoo train vae data=digits steps=3600"
    assert command("2h") == "genzoo train vae data=digits"
    assert command("2h", 56) == "genzoo train vae data=digits size=56 steps=1800", (
        "a quarter of the steps at four times the area"
    )


def test_too_small_a_budget_puts_a_system_last_and_says_so(paces):
    found = advise("likelihood", "images", "1min")
    assert found[0].system == "gaussian"
    every = [e for e in registry.entries().values() if "density" in e.abilities]
    ranked = sorted(every, key=lambda e: advising._rank(e, tasks()["likelihood"], "image", 60, 28))
    assert ranked[-1].name == "vae"
    assert "that is little" in " ".join(
        advising._advice(ranked[-1], tasks()["likelihood"], "image", "digits", 60, 28).why
    )


def test_points_are_not_told_the_times_and_values_of_images():
    for a in advise("likelihood", "moons", "1min"):
        assert registry.entries()[a.system].points
        assert not any("mnist" in reason or "28x28" in reason for reason in a.why)
        assert "minutes=1" in a.commands[0] or any("without gradients" in reason for reason in a.why)


def test_other_words_and_kinds_of_data(tmp_path):
    assert [a.system for a in advise("inpaint", "photos")] == [a.system for a in advise("complete", "image")]
    assert advise("complete", "texture")[0].system == "efros-leung"
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainB").mkdir()
    assert kind_of(str(tmp_path)) == ("unpaired", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert kind_of(str(tmp_path / "photos"))[0] == "image"
    for name, kind in (("a.wav", "audio"), ("a.mp4", "video"), ("a.obj", "voxels"), ("captions.csv", "captioned")):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).touch()
        assert kind_of(str(tmp_path / kind))[0] == kind
    assert kind_of("shapes") == ("captioned", "shapes")
    assert kind_of("moving-mnist") == ("video", "moving-mnist")
    (tmp_path / "photos" / "cats").mkdir()
    assert kind_of(str(tmp_path / "photos"))[0] == "labelled"
    assert kind_of("moons") == ("points", "moons")
    assert advise("class", "digits")[0].commands[0].startswith("genzoo train")


@pytest.mark.parametrize(
    ("asked", "kind", "systems"),
    [
        ("texture", "exemplar", {"efros-leung"}),
        ("segmentation", "paired", {"pix2pix", "pix2pixhd"}),
        ("tabular", "points", {"gan", "realnvp", "gaussian"}),
        ("audio", "audio", {"wavenet"}),
        ("video", "video", {"video-gan"}),
        ("3d", "voxels", {"gan-3d"}),
        ("text-to-image", "captioned", {"gan-cls", "stackgan"}),
        ("anomaly", "image", None),
    ],
)
def test_words_that_say_the_task_and_the_data(asked, kind, systems):
    found = advise(asked)
    entries = registry.entries()
    assert {a.system for a in found} == systems or systems is None
    assert all(entries[a.system].data == kind or entries[a.system].points for a in found)
    assert asked != "anomaly" or all("density" in entries[a.system].abilities for a in found)


def test_a_class_is_asked_of_labelled_data(paces):
    assert registry.entries()[advise("class")[0].system].data == "labelled"


def test_few_images_go_to_what_augments_them():
    found = advise("few-images", "digits", "2d")
    assert len(found) >= 2
    for a in found:
        assert {"augment", "ada"} & set(registry.entries()[a.system].arguments)
        assert "augment=" in a.commands[0] or "-ada" in a.commands[0]


def test_times_grow_from_the_side_that_was_timed(monkeypatch):
    pace = {"step_per_example": 0.01, "batch": 1, "steps": 1000}
    known = {
        "paces.json": {
            "systems": {
                "pix2pix": {**pace, "changed": {"shape": [1, 32, 32]}},
                "pix2pixhd": {**pace, "changed": {"shape": [3, 96, 96]}},
                "gan-3d": {**pace, "changed": {"shape": [1, 32, 32, 32]}},
                "video-gan": {**pace, "changed": {"shape": [1, 16, 32, 32]}},
            }
        },
        "reached.json": {},
    }
    monkeypatch.setattr(advising, "facts", lambda name: known[name])
    minutes = {a.system: (a.minutes, a.commands[0], " ".join(a.why)) for a in advise("translate", "pairs", "1d")}
    assert minutes["pix2pix"][0] == pytest.approx(40 / 60, abs=0.01), "64x64 from 32x32"
    assert " size=64" in minutes["pix2pix"][1]
    assert "64x64" in minutes["pix2pix"][2]
    assert minutes["pix2pixhd"][0] == pytest.approx(10 / 60, abs=0.01), "as timed: it takes no smaller images"
    assert " size=96" in minutes["pix2pixhd"][1]
    (solids,) = advise("sample", "voxels", "1d", 64)
    assert solids.minutes == pytest.approx(80 / 60, abs=0.01)
    assert "64x64x64" in " ".join(solids.why)
    (clips,) = advise("sample", "video", "1d")
    assert "16x32x32" in " ".join(clips.why)
    assert clips.commands[0] == "genzoo train video-gan data=moving-digits size=32"


def examples():
    """Every training command of an answer whose data come with genzoo."""
    found = {}
    for task in tasks():
        for kind in sorted({e.data for e in registry.entries().values()} | {"points"}):
            with contextlib.suppress(UserError):
                found |= {a.commands[0]: (task, a) for a in advise(task, kind, "10min")}
    return {line: value for line, value in found.items() if not re.search(r"data=[A-Z]", line)}


def test_commands_on_data_that_come_with_genzoo_can_be_started():
    forms = {}
    for line, (task, _) in examples().items():
        name, *words = line.split()[2:]
        _, about_data, _ = sort_keys(name, dict(word.split("=", 1) for word in words))
        forms.setdefault((registry.find(name)[0].data, str(about_data)), (about_data, set()))[1].add(task)
    for (kind, _), (about_data, asked) in forms.items():
        short = {"limit": 4} | ({"frames": 2} if kind == "video" else {})
        data = open_data(DataSettings(**{**about_data, **short}), kind=kind, split="train", quiet=True)
        if asked & {"colorize", "upscale"}:
            assert data.facts()["shape"][0] == 3, "there is nothing to colour in gray images"
    assert {about_data["data"] for about_data, _ in forms.values()} == {"digits", "moons", "shapes", "moving-digits"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "inpant"}, "did you mean 'inpaint'"),
        ({"task": "sample", "data": "imags"}, "did you mean 'images'"),
        ({"task": "sample", "budget": "soon"}, "10min"),
        ({"task": "sample", "budget": "0h"}, "10min"),
        ({"task": "translate", "data": "points"}, "cyclegan"),
    ],
)
def test_mistakes_are_answered(given, said):
    with pytest.raises(UserError, match=said):
        advise(**given)


def test_times_are_read():
    assert [seconds_of(w) for w in ("10", "90 s", "1.5h", "2d")] == [600, 90, 5400, 172800]


def test_the_command_prints_tasks_words_and_json(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["advise"]) == 0
    assert "complete" in capsys.readouterr().out
    assert main(["advise", "task=inpaint", "data=images", "budget=10min"]) == 0
    said = capsys.readouterr().out
    assert "genzoo train" in said
    assert "genzoo complete runs/" in said
    assert main(["advise", "sample", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["commands"]
    assert main(["advise", "sample", "size=huge"]) == 2
    assert "size" in capsys.readouterr().err
    assert main(["advise", "sampel"]) == 2
    assert "did you mean 'sample'" in capsys.readouterr().err


def test_it_asks_a_person(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["compress", "", "30min"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    assert main(["advise"]) == 0
    assert "genzoo compress runs/" in capsys.readouterr().out


def test_it_needs_no_torch():
    code = "import sys; from genzoo.cli.main import main; main(['advise', 'sample']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_facts_are_of_systems_that_there_are():
    for file in ("paces.json", "reached.json"):
        found = advising.facts(file)
        names = set(found["systems"]) if file == "paces.json" else {n for table in found.values() for n in table}
        assert names
        assert names <= set(registry.entries())
