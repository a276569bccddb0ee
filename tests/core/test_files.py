"""Files that processes and users share: whole or not at all, and weights by one rule."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genzoo.core.errors import UserError
from genzoo.core.files import find_weights, replacing, sweep, weights_lacking, write_atomic


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    file = write_atomic(tmp_path / "new" / "x", b"old")

    def half(part):
        part.write_bytes(b"half")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), replacing(file, durable=True) as part:
        half(part)
    assert file.read_bytes() == b"old"
    assert [p.name for p in file.parent.iterdir()] == ["x"]


def test_files_and_folders_take_their_place_with_the_usual_rights(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    with replacing(tmp_path / "x", durable=True) as part:
        part.write_bytes(b"new")
    with replacing(tmp_path / "folder", durable=True) as part:
        part.mkdir()
        (part / "inner").write_bytes(b"1")
    assert (tmp_path / "x").stat().st_mode == plain.stat().st_mode
    assert (tmp_path / "folder" / "inner").read_bytes() == b"1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "plain", "x"]


KILLED = """
import os, signal, sys
from pathlib import Path
from genzoo.core.files import replacing
with replacing(Path(sys.argv[1])) as part:
    part.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).write_bytes(b"old")
        assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)]).returncode == -signal.SIGKILL
    (tmp_path / ".z.17.part").write_bytes(b"a file that an earlier version left")
    assert len(list(tmp_path.iterdir())) == 5
    sweep(tmp_path, "x")
    assert len(list(tmp_path.iterdir())) == 4
    sweep(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"x": b"old", "y": b"old"}


@pytest.mark.parametrize("there", ["variable", "cache", "both", "home", "none"])
def test_weights_are_found_by_one_rule(tmp_path, monkeypatch, there):
    """What measures, perceptual losses, frozen networks and sentence encoders say is there is the same, and so is what is not."""
    from genzoo.metrics.features.networks import available
    from genzoo.nn.pretrained.frozen import FrozenMaps
    from genzoo.nn.pretrained.minilm import MiniLM
    from genzoo.nn.pretrained.perceptual import FeatureNet

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENZOO_CACHE", "~/cache")
    given, cached = tmp_path / "home" / "given", tmp_path / "home" / "cache" / "weights"
    folders = {
        "variable": [given],
        "cache": [cached],
        "both": [given, cached],
        "home": [tmp_path / "home/.cache/genzoo/weights"],
    }
    monkeypatch.setenv("GENZOO_WEIGHTS", "~/given") if there in ("variable", "both") else monkeypatch.delenv(
        "GENZOO_WEIGHTS", raising=False
    )
    names = ("vgg16.safetensors", "efficientnet-lite0.safetensors", "minilm/model.safetensors", "minilm/vocab.txt")
    for file in [folder / name for folder in folders.get(there, []) for name in names]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights of " + str(file.parent).encode())
    found = find_weights("vgg16.safetensors")
    assert found == (None if there == "none" else folders[there][0] / "vgg16.safetensors")
    assert available()["vgg16"] == available()["efficientnet-lite0"] == (found is not None)
    asks = (FeatureNet("vgg16", ("relu1_1",)), FrozenMaps("vgg16"), FrozenMaps("efficientnet-lite0"), MiniLM())
    for ask in asks:
        with pytest.raises(UserError) as said:
            ask.load()
        assert (str(cached) in str(said.value) and "there is no" in str(said.value)) == (found is None), said.value
        assert found is None or str(found.parent) in str(said.value), "the file that was found is read, and is damaged"


def test_what_is_lacking_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENZOO_WEIGHTS", "~/mine")
    monkeypatch.setenv("GENZOO_CACHE", "~/cache")
    own = Path("~/.cache/genzoo/weights").expanduser()
    assert weights_lacking("x.pt") == (
        f"there is no x.pt in {tmp_path}/mine, {tmp_path}/cache/weights or {own}; set GENZOO_WEIGHTS to the folder that has it"
    )
