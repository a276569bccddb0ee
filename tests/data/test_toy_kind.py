"""A sixth kind of data in one file: it trains, samples, previews and is evaluated, and no other file knows of it."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import DataSettings, contact_sheet, describe, kinds, open_data
from genzoo.data.cache import digest_of, entry
from genzoo.data.kinds import Kind
from genzoo.data.order import give, opened, split_rows

LENGTH = 12


class Series(Kind):
    """Series of numbers: a .json file each, all of one length."""

    name = "series"
    dims = 1
    thing = "series"
    values = "float32 [B, T], whatever their unit"
    stored = "float32 [N, T]"
    bounds = None
    words = ("curves",)
    example = "SERIES/"
    endings = ("json",)
    suffixes = (".png", ".csv", ".npy")
    previews = (".png", ".csv")
    previewed = 5
    described_by = "moments of series"

    def open(self, source, settings, split, arrangement, *, quiet):
        tree = source.open_tree()

        def make(draft):
            names = sorted(n for n in tree.names if n.endswith(self.endings))
            rows = draft.rows(self.name, (LENGTH,), np.float32)
            for name in names:
                with tree.open(name) as file:
                    rows.append(np.array(json.load(file), np.float32))
            return {
                "sections": {self.name: {"": len(names)}},
                "class_names": [],
                "captions": [],
                "left": [],
                "notes": [],
            }

        info, arrays, folder = entry(digest_of([self.name, source.identity()])[:32], make, quiet=quiet)
        dataset = opened(source.name, info, folder, settings, split, [split, settings.limit, settings.holdout])
        rows, others = split_rows(info["sections"][self.name], settings, split, dataset.notes, thing=self.thing)
        give(dataset, self.name, arrays, rows, others)
        return dataset

    def picture(self, samples, *, columns=None):
        height = 16
        canvas = np.full((len(samples) * height, LENGTH, 3), 255, np.uint8)
        levels = ((samples.clamp(-4, 4) + 4) / 8 * (height - 1)).round().int()
        for i, row in enumerate(levels.tolist()):
            for t, level in enumerate(row):
                canvas[(i + 1) * height - 1 - level, t] = 0
        return canvas

    def write(self, path, samples, facts, *, columns=None):
        if path.suffix == ".csv":
            np.savetxt(path, samples.numpy(), delimiter=",")
            return path
        return super().write(path, samples, facts, columns=columns)

    def statistics(self, values, facts):
        return torch.stack([values.mean(1), values.std(1), values[:, -1] - values[:, 0]], 1)


class Drift(System):
    """Draw every number of a series from a Gaussian of its own.

    Args:
        shape: Length of a series.
        classes: Ignored.
    """

    data = "series"
    likelihood = "exact"

    def __init__(self, shape: tuple[int] = (LENGTH,), classes: int = 0) -> None:
        super().__init__()
        self.mean, self.log_std = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(shape))

    def optimizers(self):
        return {"model": torch.optim.Adam(self.parameters(), 0.05)}

    def log_prob(self, x, *, generator=None):
        z = (x - self.mean) / self.log_std.exp()
        return (-0.5 * z.square() - self.log_std - 0.5 * math.log(2 * math.pi)).sum(1)

    def loss(self, batch):
        return {"loss": -self.log_prob(batch["series"]).mean()}

    @torch.no_grad()
    def sample(self, n, *, generator):
        noise = torch.randn(n, len(self.mean), generator=generator, device=generator.device)
        return self.mean + self.log_std.exp() * noise


@pytest.fixture
def here(tmp_path, monkeypatch, fresh_cache):
    """A folder of series that rise from 0 to 2, in a process that knows of their kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kinds, "_KINDS", dict(kinds.every()))
    kinds.register(Series())
    (tmp_path / "many").mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        values = np.linspace(0, 2, LENGTH) + 0.1 * rng.standard_normal(LENGTH)
        (tmp_path / f"many/{i:02d}.json").write_text(json.dumps(values.tolist()))
    return tmp_path


def test_it_is_read_and_described(here):
    dataset = open_data(DataSettings("many"), kind="series", quiet=True)
    assert (dataset.kind.name, dataset.facts()["shape"], len(dataset)) == ("series", (LENGTH,), 54)
    assert describe(dataset)["examples"] == {"series": {"train": 54, "test": 6}}
    assert contact_sheet(dataset, 3).shape == (3, LENGTH)


def test_it_is_known_by_its_words_and_endings(here, capsys):
    assert kinds.told_by(["a.json", "b.json", "notes.txt"]).name == "series"
    assert kinds.spoken()["curves"] == "series"
    assert main(["data", "show", "many", "out=page.png"]) == 0
    assert "series" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean 'series'"):
        open_data(DataSettings("many"), kind="serie", quiet=True)


def test_a_system_of_it_trains_samples_previews_and_is_evaluated(here, capsys):
    run = genzoo.train(Drift, "many", steps=200, batch=16, name="drift", quiet=True)
    shown = sorted(p.name for p in (run.path / "samples").iterdir())
    assert {"step_000000200.png", "step_000000200.csv"} <= set(shown)
    assert np.loadtxt(run.path / "samples/step_000000200.csv", delimiter=",").shape == (Series.previewed, LENGTH)

    drawn = genzoo.sample(run.path, n=400)
    assert drawn.shape == (400, LENGTH)
    torch.testing.assert_close(drawn.mean(0), torch.linspace(0, 2, LENGTH), atol=0.15, rtol=0)
    assert main(["sample", "runs/drift", "n=4", "out=few.csv"]) == 0
    assert np.loadtxt("few.csv", delimiter=",").shape == (4, LENGTH)
    assert main(["sample", "runs/drift", "n=3"]) == 0
    with Image.open(here / "runs/drift/outputs/sample.png") as picture:
        assert picture.size == (LENGTH, 48)

    found = genzoo.evaluate(run.path, measures="nll,statistics", n=6)["measures"]
    assert found["NLL"]["value"] < -LENGTH * 0.2, "nats of a series within 0.1 of its mean"
    assert found["Fréchet distance of moments of series"]["value"] < 1
    assert main(["evaluate", "runs/drift", "n=6"]) == 0
    assert (run.path / "outputs/evaluate.png").exists()


def test_settings_of_other_kinds_are_refused(here):
    with pytest.raises(UserError, match="seconds= is the length of a window of sound; this system takes series data"):
        open_data(DataSettings("many", seconds=1.0), kind="series", quiet=True)


def test_no_other_file_names_a_kind():
    """Points are a word of mathematics as well; models say what they learn from, and nn holds what models share."""
    root = Path(genzoo.__file__).parent
    for path in root.rglob("*.py"):
        part = path.relative_to(root).as_posix()
        if not part.startswith(("data/kinds/", "models/", "nn/")):
            texts = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
            assert not texts & {"audio", "video", "voxels"}, part
