"""Pictures of another size or color than a system takes: what becomes of them is said, once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import genzoo
from genzoo.cli.inputs import tell_changed


def picture(path, width, height, color=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(levels if color else levels[..., 0]).save(path)
    return path


@pytest.fixture
def gray():
    return genzoo.create("gaussian", shape=(1, 16, 16))


def told(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("note")]


def test_one_picture_is_named_with_what_becomes_of_it(tmp_path, gray, capsys):
    wide = picture(tmp_path / "wide.png", 40, 20)
    tell_changed(gray, [wide], (16, 16))
    assert told(capsys) == [
        f"note: '{wide}' is 40x20 in color, and gaussian takes 16x16 in gray: it is scaled and cut to its middle, made gray"
    ]
    tell_changed(gray, [picture(tmp_path / "large.png", 64, 64, color=False)], (16, 16))
    assert told(capsys)[0].endswith("is 64x64 in gray, and gaussian takes 16x16 in gray: it is scaled")
    tell_changed(genzoo.create("gaussian", shape=(3, 20, 40)), [wide], (20, 40))
    tell_changed(gray, [picture(tmp_path / "same.png", 16, 16, color=False)], (16, 16))
    assert not told(capsys)


def test_of_several_one_sentence_counts_them(tmp_path, gray, capsys):
    files = [picture(tmp_path / f"{i}.png", 16 + 16 * (i > 0), 16, color=i == 2) for i in range(3)]
    (tmp_path / "notes.txt").write_text("no picture")
    tell_changed(gray, [*files, tmp_path / "notes.txt"], (16, 16))
    (line,) = told(capsys)
    assert line == (
        f"note: 2 of 3 pictures are others than the 16x16 in gray that gaussian takes ('{files[1]}' is 32x16 in gray): they are scaled and cut to "
        "their middle, made gray"
    )


def test_commands_say_it(tmp_path, capsys):
    """Each by its own way to its pictures: a file, several, a folder as data."""
    from genzoo.cli.main import main

    run = genzoo.train("vae", "digits", size=16, limit=60, steps=2, batch=8, runs=str(tmp_path / "runs"), quiet=True)
    folder = tmp_path / "photos"
    for i in range(3):
        picture(folder / f"{i}.png", 40, 20)
    out = f"out={tmp_path / 'x.png'}"
    capsys.readouterr()
    assert main(["reconstruct", str(run.path), f"data={folder}", "n=2", out]) == 0
    (line,) = told(capsys)
    assert "3 of 3 pictures are others than the 16x16 in gray that vae takes" in line
    assert main(["reconstruct", str(run.path), "n=2", out]) == 0
    assert not told(capsys)
