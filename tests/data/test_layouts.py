"""Every layout of tests/data/layouts.toml gives what stands there: classes, parts, captions, notes, what is left out, or one clear refusal."""

import io
import itertools
import json
import os
import re
import tarfile
import tomllib
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, open_data
from genzoo.data.drawing.sounds import save_wav

pytestmark = pytest.mark.usefixtures("fresh_cache")
LAYOUTS = tomllib.loads(Path(__file__).with_suffix("").with_name("layouts.toml").read_text(encoding="utf-8"))
ABOUT_FORM = ("size ", "files at ", "channels chosen", "in clips of", "there is one")
"""Notes that are not on layout."""


def spread(pattern):
    """Shell braces written out: {a,b} and {0..5}, numbers of the first one's width."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    options = []
    for i, part in enumerate(parts):
        if span := re.fullmatch(r"(\d+)\.\.(\d+)", part) if i % 2 else None:
            options.append([str(k).zfill(len(span[1])) for k in range(int(span[1]), int(span[2]) + 1)])
        else:
            options.append(part.split(",") if i % 2 else [part])
    return ["".join(chosen) for chosen in itertools.product(*options)]


def write(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    if suffix in (".png", ".jpg", ".jpeg", ".ppm"):
        Image.fromarray(np.random.default_rng(level).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    elif suffix == ".gif":
        noise = np.random.default_rng(level).integers(0, 256, (4, 8, 8), dtype=np.uint8)
        frames = [Image.fromarray(frame) for frame in noise]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    elif suffix == ".wav":
        save_wav(path, torch.rand(1, 800, generator=torch.Generator().manual_seed(level)) - 0.5, 800)
    elif suffix == ".npy":
        grid = np.zeros((8, 8, 8), bool)
        grid[2:6, 1:7, 1 + level % 5 : 6] = True
        np.save(path, grid)
    else:
        path.write_text("words\n")


def pack(folder, how):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    names = [p.relative_to(folder).as_posix() for p in files]
    if how == "tar":
        with tarfile.open(folder.with_suffix(".tar"), "w") as t:
            for file, name in zip(files, names, strict=True):
                t.add(file, name)
        return folder.with_suffix(".tar")
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as z:
        for file, name in zip(files, names, strict=True):
            member = zipfile.ZipInfo("x")
            member.filename = name.replace("/", "\\") if how == "zip-backslashes" else name
            z.writestr(member, file.read_bytes())
    return folder.with_suffix(".zip")


@pytest.fixture
def place(tmp_path):
    """Where a layout stands, and a way to write it there."""

    def lay(case):
        folder = tmp_path / "in" / "data"
        folder.mkdir(parents=True)
        for level, name in enumerate(n for pattern in case["files"] for n in spread(pattern)):
            write(folder / name, level)
        for name, text in case.get("text", {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.replace("|", "\n").encode(case.get("encoding", "utf-8")))
        for name, target in case.get("links", {}).items():
            link = Path(os.path.normpath(folder / name))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.normpath(folder / target))
        if "pack" in case:
            return pack(folder, case["pack"])
        return Path(os.path.normpath(folder / case.get("open", ".")))

    return lay


def settings_of(case):
    own = {k: tuple(v) if isinstance(v, list) else v for k, v in case.get("settings", {}).items()}
    return own | ({"seconds": 1.0} if case.get("kind") == "audio" else {})


def matched(patterns, texts, what):
    """Every pattern is found in one text, and every text is found by a pattern."""
    for pattern in patterns:
        assert any(re.search(pattern, t) for t in texts), f"{what}: nothing like {pattern!r} in {texts}"
    for text in texts:
        assert any(re.search(p, text) for p in patterns), f"{what}: {text!r} is not expected"


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name, place, capsys):
    case = LAYOUTS[name]
    path, kind = place(case), case.get("kind", "image")
    wanted = DataSettings(str(path), **settings_of(case))
    if "refused" in case:
        with pytest.raises(UserError, match=case["refused"]) as caught:
            open_data(wanted, kind=kind, quiet=True)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    train = open_data(wanted, kind=kind, quiet=True)
    sizes = list(train.sizes.values())
    assert [[s["train"], s["test"]] for s in sizes] == [case["splits"]] * len(sizes)
    assert train.class_names == case.get("classes", [])
    for split in ("train", "test") if case["splits"][1] else ("train",):
        check_labels(open_data(wanted, kind=kind, split=split, quiet=True), case)
    if "captions" in case:
        assert sorted(train.captions) == case["captions"]
    matched(case.get("notes", []), [n for n in train.notes if not any(w in n for w in ABOUT_FORM)], "notes")
    matched(case.get("left", []), [f"{n}: {r}" for n, r in train.report], "left out")
    shown(path, kind, case, capsys)


def check_labels(dataset, case):
    """The class of every image is that of its folder, or the one that the table gives for its name."""
    if "label" not in dataset.fields:
        return
    for file, label in (
        zip(dataset.names_of("image"), dataset.fields["label"], strict=True) if "image" in dataset.fields else ()
    ):
        told = [c for pattern, c in case["labels"].items() if re.search(pattern, file)] if "labels" in case else None
        parts = unicodedata.normalize("NFC", file.replace("\\", "/")).split("/")
        assert dataset.class_names[label] in (parts if told is None else told), file


def shown(path, kind, case, capsys):
    """`genzoo data show` says the same, and every note and reason."""
    words = [f"{k}={','.join(v) if isinstance(v, tuple) else str(v).lower()}" for k, v in settings_of(case).items()]
    capsys.readouterr()
    assert main(["data", "show", str(path), f"kind={kind}", "json=true", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["classes"]) == case.get("classes", [])
    for note in case.get("notes", []):
        assert any(re.search(note, n) for n in told["notes"])
    assert len(told["left_out"]) >= len(case.get("left", []))


def test_the_table_reads_braces():
    assert spread("{a,b}/x{08..10}.png") == [f"{f}/x{n}.png" for f in "ab" for n in ("08", "09", "10")]
    assert spread("plain") == ["plain"]


def test_a_zip_with_backslashes_is_written_as_one(tmp_path):
    """The zip of the table has them in its directory: a zip whose names are mended while it is written would prove nothing."""
    (tmp_path / "data" / "cat").mkdir(parents=True)
    write(tmp_path / "data" / "cat" / "0.png", 0)
    raw = pack(tmp_path / "data", "zip-backslashes").read_bytes()
    assert b"cat\\0.png" in raw
    assert b"cat/0.png" not in raw
    assert zipfile.ZipFile(io.BytesIO(raw)).namelist() == ["cat\\0.png"]
