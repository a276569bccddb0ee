"""The cache of models and the shelf of runs: bounds, freshness, and that no word of a client becomes a path."""

from __future__ import annotations

import os

import pytest

from genzoo.core.errors import UserError
from genzoo.foreign import taking
from genzoo.web import models as module
from genzoo.web.errors import NotFound, Refused
from genzoo.web.models import Models, Shelf


def test_a_model_is_loaded_once_and_again_when_its_file_changes(runs):
    models, path = Models(), runs("dcgan").path
    first = models.get(path)
    assert models.get(str(path)) is first
    assert "samples" in first.able
    assert not first.system.training
    file = path / "model" / "model.safetensors"
    os.utime(file, ns=(1, 1))
    assert models.get(path) is not first


def test_the_cache_is_bounded(runs):
    models = Models(most=2)
    paths = [str(runs(n).path) for n in ("dcgan", "vae", "nice")]
    for path in paths:
        models.get(path)
    assert models.loaded() == paths[1:]
    models.get(paths[1])
    models.get(paths[0])
    assert models.loaded() == [paths[1], paths[0]], "what was used last stays"
    small = Models(room=1)
    small.get(paths[0])
    small.get(paths[1])
    assert small.loaded() == [paths[1]], "the newest one stays, however large"


def test_a_model_that_has_no_room_is_said(runs, monkeypatch):
    monkeypatch.setattr(module, "free_memory", lambda: 10)
    with pytest.raises(
        Refused, match=r"too large for this machine: it takes about .* and 10 bytes are free"
    ) as refused:
        Models().get(runs("dcgan").path)
    assert refused.value.status == 507


def test_what_is_no_model_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no run"):
        Models().get(tmp_path / "none")
    with pytest.raises(UserError, match="there is no 'unicorns' in the zoo"):
        Models().get("zoo:unicorns")


def test_a_model_of_the_zoo_is_taken_in_once(runs, monkeypatch, tmp_path):
    import shutil

    taken = []

    def import_run(place, *, runs, name, quiet):
        taken.append(place)
        shutil.copytree(source, runs / name)

    source = runs("dcgan").path
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "import_run", import_run)
    assert taking.import_run is not import_run
    models = Models()
    assert models.get("zoo:faces") is models.get("zoo:faces")
    assert taken == ["zoo:faces"]
    assert models.loaded() == ["zoo:faces"]


def test_runs_are_found_in_their_list(runs, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "config.toml").write_text("x = 1\n")
    folder = tmp_path / "runs"
    for name in ("a", "<script>alert(1)</script>", ".hidden", "no run"):
        (folder / name.replace("/", "∕")).mkdir(parents=True)
        if name != "no run":
            (folder / name.replace("/", "∕") / "config.toml").write_text("x = 1\n")
    shelf = Shelf(folder)
    assert set(shelf.runs()) == {"a", "<script>alert(1)<∕script>"}
    assert shelf.find("a") == folder / "a"
    for word in (
        "../secret",
        "..",
        ".",
        "",
        "/",
        "a/../../secret",
        str(tmp_path / "secret"),
        ".hidden",
        "a\0",
        "no run",
    ):
        with pytest.raises(NotFound, match="there is no run"):
            shelf.find(word)
    with pytest.raises(NotFound, match="did you mean 'a'") as refused:
        shelf.find("A")
    assert refused.value.status == 404
    with pytest.raises(NotFound) as refused:
        shelf.find("x\ny" * 200)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    assert shelf.place("zoo:faces") == "zoo:faces"
    with pytest.raises(NotFound, match="in the zoo"):
        shelf.place("zoo:../x")
    assert Shelf(tmp_path / "none").runs() == {}
