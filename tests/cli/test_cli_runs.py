"""The commands on runs: what every system allows works, and the others say why."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli import main as cli
from genzoo.cli.table import commands
from genzoo.core.capabilities import capabilities
from genzoo.naming import registry
from genzoo.use.translate import scale_of
from tests.cli.test_cli import able, mistake

main = cli.main


def test_train_resume_sample(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gaussian", "data=digits", "size=8", "limit=40"]) == 0
    assert "genzoo sample runs/gaussian" in capsys.readouterr().out
    assert main(["train", "gaussian", "digits", "--size", "8", "--limit", "40", "--name", "two"]) == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["gaussian", "two"]
    assert "two" in mistake(capsys, "train", "gaussian", "data=digits", "size=8", "limit=40", "name=two").replace(
        "reading", ""
    )
    assert main(["sample", "two", "n=3"]) == 0
    assert capsys.readouterr().out == "wrote runs/two/outputs/sample.png\n"
    assert main(["sample", "runs/two", "n=3", "out=mine.png"]) == 0
    assert main(["sample", "runs/two", "n=3", "out=mine.png"]) == 0
    assert "wrote mine-2.png (mine.png was there already; overwrite=true replaces it)" in capsys.readouterr().out
    before = (tmp_path / "mine-2.png").stat().st_mtime_ns
    assert main(["sample", "runs/two", "n=3", "out=mine.png", "--overwrite"]) == 0
    assert (tmp_path / "mine-2.png").stat().st_mtime_ns == before
    assert main(["sample", "runs/two", "n=3", "out=each/"]) == 0
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == ["0.png", "1.png", "2.png"]
    assert "mine.tiff cannot be written" in mistake(capsys, "sample", "runs/two", "out=mine.tiff")
    assert "did you mean 'runs/two'" in mistake(capsys, "sample", "runs/tow")
    (tmp_path / "mine.toml").write_text("limit = 20\nsize = 8\n")
    assert main(["train", "gaussian", "data=digits", "config=mine.toml", "name=three"]) == 0
    assert main(["export", "three", "to=exported"]) == 0
    assert main(["sample", "exported", "n=2"]) == 0
    assert main(["evaluate", "three", "n=40", "--json"]) == 0
    last = capsys.readouterr().out
    assert json.loads(last[last.index("{") :])["measures"]["NLL"]["unit"] == "nats"
    assert main(["evaluate", "three", "n=40"]) == 0
    assert "bits/dim" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(registry.entries()))
def test_every_command_that_a_system_allows_works_and_the_others_say_why(name, runs, capsys, tmp_path):
    run = runs(name)
    system = genzoo.load(run.path)
    shape = system.hparams["shape"]
    image = tmp_path / "in" / "one.png"
    image.parent.mkdir()
    Image.new("RGB", (13, 11), "teal").save(image)
    before = image.read_bytes()
    extra = {
        "translate": [str(image.parent)],
        "sample": ["n=4"],
        "walk": ["rows=2", "steps=3"],
        "decode": ["at=s0; s1"],
        "directions": ["rows=2", "columns=3"],
        "complete": ["n=2"],
        "compress": ["n=2"],
        "reconstruct": ["n=3"],
        "arithmetic": ["plus=1", "n=2"],
        "animate": [str(image)],
        "figures": [],
    }
    for command in (c for c in commands().values() if c.needs):
        words = [command.name, str(run.path), *extra.get(command.name, [])]
        if reasons := [f"{command.name}: {why}" for ability, why in system.lacks.items() if ability in command.needs]:
            assert reasons[0] in mistake(capsys, *words)
            continue
        if set(command.needs) <= set(capabilities(system)) and not (command.name == "complete" and len(shape) == 1):
            capsys.readouterr()
            assert main(words) == 0, command.name
            written = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote ")]
            assert written
            assert all("outputs" in line for line in written)
        else:
            assert f"{command.name}: {name} cannot" in mistake(capsys, *words)
    assert image.read_bytes() == before


@pytest.mark.parametrize("name", able("translates"))
def test_translate_keeps_sizes_and_originals(name, runs, capsys, tmp_path):
    run, folder = runs(name), tmp_path / "photos"
    system = genzoo.load(run.path)
    scale, directions = scale_of(system), system.directions
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (21, 17), "orange").save(folder / "a.png")
    Image.new("L", (30, 12), 40).save(folder / "deep" / "b.jpg")
    (folder / "notes.txt").write_text("hello")
    before = (folder / "a.png").read_bytes()
    assert main(["translate", str(run.path), str(folder), f"out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr()
    assert "wrote 2 images" in said.out
    assert "notes.txt" in said.err
    for path, size in (("a.png", (21, 17)), ("deep/b.png", (30, 12))):
        with Image.open(tmp_path / "out" / path) as image:
            assert image.size == (scale * size[0], scale * size[1])
    assert main(["translate", str(run.path), str(folder), f"out={folder}", "overwrite=true"]) == 0
    assert (folder / "a.png").read_bytes() == before, "an original is not replaced, whatever is asked"
    assert (folder / "a-2.png").exists()
    assert "no file or folder" in mistake(capsys, "translate", str(run.path), str(tmp_path / "phoots"))
    assert f"There {'is' if len(directions) == 1 else 'are'} {' and '.join(directions)}" in mistake(
        capsys, "translate", str(run.path), str(folder / "a.png"), "direction=ab2"
    )
    assert "is no usable image" in mistake(capsys, "translate", str(run.path), str(folder / "notes.txt"))


@pytest.mark.parametrize("name", [n for n in able("completes") if registry.entries()[n].data != "audio"])
def test_complete_takes_a_box_or_a_mask(name, runs, capsys, tmp_path):
    run = runs(name)
    c, h, w = genzoo.load(run.path).hparams["shape"]
    Image.new("RGB" if c == 3 else "L", (w, h), "white").save(tmp_path / "x.png")
    mask = Image.new("L", (w, h), 0)
    mask.paste(255, (0, 0, 2, 2))
    mask.save(tmp_path / "mask.png")
    words = ["complete", str(run.path), str(tmp_path / "x.png"), "n=2"]
    assert main([*words, "box=1,1,2,3", f"out={tmp_path / 'box.npy'}"]) == 0
    assert main([*words, f"mask={tmp_path / 'mask.png'}", f"out={tmp_path / 'mask.npy'}"]) == 0
    filled = torch.from_numpy(np.load(tmp_path / "mask.npy"))
    assert filled.shape == (2, c, h, w)
    assert (filled[..., 2:, :] == 1).all()
    assert (filled[..., 2:] == 1).all()
    assert "not both" in mistake(capsys, *words, "box=1,1,2,3", f"mask={tmp_path / 'mask.png'}")
    assert "does not lie inside" in mistake(capsys, *words, "box=1,1,99,3")
    assert "4 integers" in mistake(capsys, *words, "box=1,1,99")


def test_a_walk_takes_files_or_data_and_arithmetic_any_class(runs, capsys, tmp_path):
    name = next(n for n in able("encodes") if n in able("decodes"))
    run = str(runs(name).path)
    c, h, w = genzoo.load(run).hparams["shape"]
    files = []
    (tmp_path / "in").mkdir()
    for level in (20, 120, 220):
        files.append(str(tmp_path / "in" / f"{level}.png"))
        Image.new("L", (w, h), level).save(files[-1])
    out = tmp_path / "walk.npy"
    assert main(["walk", run, f"images={files[0]},{files[2]}", "steps=4", f"out={out}"]) == 0
    assert np.load(out).shape == (1, 4, c, h, w)
    data = genzoo.load(run).trained["data"]["data"]
    assert main(["walk", run, f"data={data}", "rows=1", "steps=3", f"out={out}", "overwrite=true"]) == 0
    assert np.load(out).shape == (1, 3, c, h, w)
    assert "give one of images=, data= and prompts=" in mistake(
        capsys, "walk", run, f"images={files[0]}", "data=digits"
    )
    assert "two ends" in mistake(capsys, "walk", run, f"images={files[0]}")
    moved = tmp_path / "moved.npy"
    words = ["arithmetic", run, "plus=1", "amounts=0,1", f"out={moved}", "overwrite=true"]
    assert main([*words, "n=1"]) == 0
    assert np.load(moved).shape == (1, 2, c, h, w)
    assert main([*words, "minus=0", f"images={tmp_path / 'in'}"]) == 0
    assert np.load(moved).shape == (3, 2, c, h, w)
    assert main([*words, f"images={files[1]}"]) == 0
    assert np.load(moved).shape == (1, 2, c, h, w)
    assert "plus= is missing; the classes" in mistake(capsys, "arithmetic", run)
    assert "no class '9'" in mistake(capsys, "arithmetic", run, "plus=9")


def test_runs_that_were_not_evaluated_are_no_empty_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        assert main(["train", "gaussian", "data=digits", "size=8", "limit=40", f"name={name}"]) == 0
    said = mistake(capsys, "compare", "runs/a", "runs/b")
    assert "there is nothing to compare; a has no measures yet: genzoo evaluate runs/a" in said
    assert not (tmp_path / "compare").exists()


def test_who_looks_for_where_a_run_is_written_is_told(capsys):
    said = mistake(capsys, "train", "gaussian", "data=digits", "out=here")
    assert "gaussian has no setting 'out' — a run is written to the folder name= in the folder runs=" in said


def test_what_is_drawn_anew_is_said_and_one_answer_is_shown_once(runs, capsys, tmp_path):
    """Eight pictures of a system without chance were the same one, and which part was drawn was left to be guessed."""
    image = tmp_path / "one.png"
    Image.new("RGB", (16, 16), "teal").save(image)
    widths = {}
    for name in ("context-encoder", "made"):
        assert main(["complete", str(runs(name).path), str(image), "n=4", f"out={tmp_path / name}.png"]) == 0
        assert "the lower half was drawn anew, box=0," in capsys.readouterr().out
        with Image.open(tmp_path / f"{name}.png") as page:
            widths[name] = page.size
    assert widths["context-encoder"] != widths["made"]
