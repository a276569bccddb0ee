"""Loggers: everything in order, one run over a resume, and none that fails stops a training."""

import importlib.util
import json
import sqlite3

import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.runs import loggers

KEYS = {"data": "digits", "size": 8, "limit": 64, "batch": 16, "width": 4, "log_every": 2, "sample_every": 4}


def train(tmp_path, **keys):
    return genzoo.train("dcgan", **{**KEYS, "steps": 8, "runs": str(tmp_path), "quiet": True, **keys})


class Kept:
    """Keeps what it is given."""

    def __init__(self, about, breaks=()):
        self.about, self.given, self.breaks = about, [], breaks
        self.settings = about.settings()

    def _take(self, what, step, value):
        if what in self.breaks:
            raise ConnectionError("the server is away\nand more")
        self.given.append((what, step, value))

    def log(self, step, values):
        self._take("log", step, dict(values))

    def picture(self, step, name, path):
        assert path.read_bytes().startswith(b"\x89PNG")
        self._take("picture", step, name)

    def close(self):
        self._take("close", None, None)


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(loggers, "_given", {})
    made = []

    def register(name, **keys):
        genzoo.register_logger(name, lambda about: made.append(Kept(about, **keys)) or made[-1])

    register("mine")
    register("broken", breaks=("log",))
    return made


def test_a_logger_gets_what_is_logged_measured_and_drawn(kept, tmp_path):
    run = train(tmp_path, loggers="mine", measure="frechet", measure_every=8, measure_n=20)
    (log,) = kept
    assert [(w, s) for w, s, _ in log.given if w != "log"] == [("picture", 4), ("picture", 8), ("close", None)]
    lines = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert [s for w, s, _ in log.given if w == "log"] == [line["step"] for line in lines] == [2, 4, 6, 8, 8]
    first = next(v for w, _, v in log.given if w == "log")
    assert first["d_loss"] == pytest.approx(lines[0]["d_loss"], rel=1e-5)
    assert any(w == "log" and "FLD" in v for w, _, v in log.given)
    assert log.settings["system"] == "dcgan"
    assert log.settings["system/width"] == 4
    assert log.settings["training/steps"] == 8
    assert log.about.step == 0
    genzoo.resume(run, steps=10, quiet=True)
    assert (kept[1].about.step, kept[1].about.name) == (8, "dcgan")
    assert [s for w, s, _ in kept[1].given if w == "log"][:1] == [10]


def test_a_logger_that_fails_stops_nothing_and_changes_nothing(kept, tmp_path, capsys):
    plain = train(tmp_path, name="plain")
    run = train(tmp_path, loggers="broken,mine", quiet=False)
    said = capsys.readouterr().err
    assert (
        said.count("the logger broken failed (ConnectionError: the server is away); the training goes on without it")
        == 1
    )
    assert [w for w, _, _ in kept[-1].given].count("log") == 4, "the other one goes on"
    weights = (genzoo.load(r).state_dict().values() for r in (run, plain))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_what_is_not_there_is_refused_before_a_run_and_said_of_one_that_goes_on(kept, tmp_path, capsys, monkeypatch):
    with pytest.raises(
        UserError, match=r"loggers=mnie: there is no logger of this name.*did you mean 'mine'.*tensorboard"
    ):
        train(tmp_path, loggers="mnie")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, extra in (("wandb", "wandb"), ("mlflow", "mlflow"), ("trackio", "trackio"), ("tensorboard", "track")):
        with pytest.raises(UserError, match=rf"loggers={name} needs the extra: pip install 'genzoo\[{extra}\]'"):
            train(tmp_path, loggers=name)
    assert not list(tmp_path.iterdir()), "no run was begun"
    monkeypatch.undo()
    monkeypatch.setattr(loggers, "_given", {"mine": Kept})
    run = train(tmp_path, loggers="mine")
    loggers._given.clear()
    capsys.readouterr()
    assert main(["resume", str(run.path), "steps=10"]) == 0
    assert "the logger mine could not be opened (loggers=mine: there is no logger" in capsys.readouterr().err
    assert genzoo.load(run).trained["step"] == 10


def test_one_that_cannot_be_opened_refuses_a_new_run(kept, tmp_path):
    genzoo.register_logger("shut", lambda about: 1 / 0)
    with pytest.raises(UserError, match="loggers=shut could not be opened: ZeroDivisionError: division by zero"):
        train(tmp_path, loggers="mine,shut")
    assert [w for w, _, _ in kept[0].given] == ["close"]


def test_whatever_can_be_called_is_a_logger(kept, tmp_path):
    made = []
    exec(
        "def plain(about): made.append(about); return kind(about)",
        space := {"made": made, "kind": Kept, "__name__": "gone"},
    )
    genzoo.register_logger("plain", space["plain"])
    train(tmp_path, loggers="plain", steps=2)
    assert len(made) == 1, "though its module cannot be looked up"


def test_an_installed_package_brings_a_logger(tmp_path, monkeypatch):
    told = tmp_path / "site" / "logs-1.0.dist-info"
    told.mkdir(parents=True)
    (tmp_path / "site" / "logs_of_mine.py").write_text(
        "class Log:\n    def log(self, step, values): print('step', step)\n    def picture(self, *a): pass\n    def close(self): pass\n"
        "def make(about): return Log()\n"
    )
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: logs\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[genzoo.loggers]\nprinted = logs_of_mine:make\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "printed" in loggers.known()
    loggers.check(["printed"])
    assert type(loggers._maker("printed")(None)).__name__ == "Log"


def test_every_file_of_a_logger_can_be_asked_for():
    assert {"tensorboard", "wandb", "mlflow", "trackio"} == set(loggers.known()) - set(loggers._given)
    for name in ("tensorboard", "wandb", "mlflow", "trackio"):
        assert loggers._maker(name).__name__ == "make"


# ---- the programs themselves ---------------------------------------------------------------------------------------------------------


def test_tensorboard_has_numbers_and_pictures_of_one_run_over_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tmp_path, tensorboard=True)
    genzoo.resume(run, steps=10, quiet=True)
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("d_loss")] == [2, 4, 6, 8, 10]
    assert [e.step for e in events.Images("samples")] == [4, 8, 10]
    lines = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert [e.value for e in events.Scalars("d_loss")] == pytest.approx([line["d_loss"] for line in lines], rel=1e-5)


def test_wandb_keeps_an_offline_run_that_can_be_sent(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = train(tmp_path, loggers="wandb")
    genzoo.resume(run, steps=10, quiet=True)
    kept = sorted((run.path / "wandb").glob("offline-run-*"))
    own = (run.path / "wandb" / "id").read_text()
    assert len(kept) == 2
    assert all(k.name.endswith(own) for k in kept), "both are one run"
    assert len(list(kept[0].glob("files/media/images/samples_*.png"))) == 2


@pytest.mark.filterwarnings("ignore")  # of its own database layer
def test_mlflow_has_one_run_in_the_run_folder(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = train(tmp_path, loggers="mlflow")
    genzoo.resume(run, steps=10, quiet=True)
    with sqlite3.connect(run.path / "mlflow.db") as db:
        assert db.execute("select status, name from runs").fetchall() == [("FINISHED", "dcgan")]
        assert [r[0] for r in db.execute("select step from metrics where key = 'd_loss' order by step")] == [
            2,
            4,
            6,
            8,
            10,
        ]
        assert ("4",) in db.execute("select value from params where key = 'system/width'").fetchall()
    assert len(list((run.path / "mlflow").rglob("step_*.png"))) == 3


def test_trackio_has_one_run(tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="trackio is not installed")
    run = train(tmp_path, loggers="trackio", name="of-a-test")
    genzoo.resume(run, steps=10, quiet=True)
    from trackio.utils import TRACKIO_DIR

    with sqlite3.connect(TRACKIO_DIR / "genzoo.db") as db:
        found = db.execute("select step, metrics from metrics where run_name = 'of-a-test' order by step").fetchall()
    assert {step for step, values in found if b"d_loss" in bytes(values)} == {2, 4, 6, 8, 10}
