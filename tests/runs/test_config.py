"""config.toml says what was set, and says it again when it is read."""

from __future__ import annotations

import dataclasses

import pytest

from genzoo.core.errors import UserError
from genzoo.data import DataSettings
from genzoo.runs.config import read_config, write_config
from genzoo.runs.folder import Run
from genzoo.training.settings import TrainSettings


def system(
    shape: tuple[int, ...] = (1, 28, 28),
    lr: float = 1e-5,
    words: tuple[str, ...] = (),
    prior: object = None,
    inner: object = None,
    note: str = "",
) -> None:
    """Stands for a system: its arguments are what can be set.

    Args:
        shape: A tuple.
        lr: A number.
        words: Text.
        prior: A system from a file.
        inner: A system from no file.
        note: Text.
    """


HPARAMS = {
    "shape": [3, 64, 64],
    "lr": 1e-5,
    "words": ["a b", '"', "]", "[ x", "ä"],
    "prior": {"name": "vqvae", "hparams": {"codes": 8}, "origin": "runs/vqvae"},
    "inner": {"name": "vqvae", "hparams": {"codes": 8, "shape": [1, 8, 8]}},
    "note": "two\nlines # and no remark",
}


@pytest.fixture
def run(tmp_path):
    meta = {
        "name": "it",
        "hparams": HPARAMS,
        "data": dataclasses.asdict(DataSettings("a 'set'", size=8)),
        "training": dataclasses.asdict(TrainSettings()),
    }
    found = Run(tmp_path)
    write_config(found, meta, system=system, data=DataSettings, training=TrainSettings)
    return found


def test_what_is_written_is_read(run):
    config = read_config(run)
    assert config["name"] == "it"
    assert config["system"] == HPARAMS | {"prior": "runs/vqvae"}
    assert config["data"]["data"] == "a 'set'"
    assert config["data"]["size"] == 8
    assert config["training"]["steps"] == "none", "TOML has no null"
    assert set(config["training"]) == {f.name for f in dataclasses.fields(TrainSettings)}


def test_what_differs_from_its_default_says_so(run):
    lines = (run.path / "config.toml").read_text().splitlines()
    assert "shape = [3, 64, 64]  # default [1, 28, 28]" in lines
    assert "lr = 1e-05" in lines
    assert 'size = 8  # default "none"' in lines


def test_files_of_earlier_versions_keep_their_meaning(run):
    """They were written by hand-made code: lists and inner systems on one line."""
    (run.path / "config.toml").write_text(
        '# All settings\nname = "it"\n\n[system]\nshape = [3, 64, 64]  # default [1, 28, 28]\nlr = 1e-05\n'
        'words = ["a b", "\\"", "]", "[ x", "\\u00e4"]\nprior = "runs/vqvae"\n'
        'inner = { "name" = "vqvae", "hparams" = { "codes" = 8, "shape" = [1, 8, 8] } }\nnote = "two\\nlines # and no remark"\n'
        "\n[data]\n\n[training]\n"
    )
    assert read_config(run)["system"] == HPARAMS | {"prior": "runs/vqvae"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 1", "'name' is a number, not text; put back"),
        ('name = "x"\nsystem = []', "'system' is a list, not an object"),
        ('name = "x"', "no 'system' any more"),
        ("name", "is not TOML"),
    ],
)
def test_what_was_changed_is_said(run, text, said):
    (run.path / "config.toml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_config(run)
