"""Measures while training: exact resume, no trace in the training, the best weights, and words on when to stop."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch

from genzoo.core.errors import TrainingStopped, UserError
from genzoo.data import DataSettings
from genzoo.metrics.stopping import advice, collapse, copying, oscillation, sameness, trend, winning
from genzoo.runs import writer
from genzoo.runs.folder import newest_state, open_run
from genzoo.saved import checkpoint
from genzoo.saved.loading import load, model_file
from genzoo.training.loop import Trainer
from genzoo.training.measuring import Measuring
from genzoo.training.settings import TrainSettings
from genzoo.training.start import resume, train

TINY = {"width": 8, "latent": 8}
QUICK = {"device": "cpu", "precision": "fp32", "sample_every": 100, "log_every": 1, "ema": 0.9, "batch": 5, "steps": 9}
MEASURED = {"measure": "frechet,prdc", "measure_every": 2, "measure_n": 12}


@pytest.fixture
def data(tmp_path):
    """Images under a name that the bundled networks are made for."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "digits-like.npz", images=images)
    return DataSettings(data=str(tmp_path / "digits-like.npz"))


def stopped_at(monkeypatch, step):
    original = Trainer._one

    def one(self, batch):
        if self.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch)

    monkeypatch.setattr(Trainer, "_one", one)


def states(run):
    step, tensors, meta = newest_state(run)
    return step, tensors, {k: v for k, v in meta.items() if k not in ("seconds", "training")}


@pytest.fixture
def whole(tmp_path, data):
    return train("dcgan", data, TrainSettings(name="whole", runs=str(tmp_path), **QUICK, **MEASURED), TINY, quiet=True)


@pytest.mark.parametrize("cut", [1, 3, 4, 7])
def test_stopped_and_resumed_equals_uninterrupted_with_its_measurements(tmp_path, data, monkeypatch, whole, cut):
    with monkeypatch.context() as patch:
        stopped_at(patch, cut)
        with pytest.raises(TrainingStopped):
            train("dcgan", data, TrainSettings(name="cut", runs=str(tmp_path), **QUICK, **MEASURED), TINY, quiet=True)
    run = resume(tmp_path / "cut", quiet=True)
    (step_a, tensors_a, meta_a), (step_b, tensors_b, meta_b) = states(whole), states(run)
    assert step_a == step_b == 9
    assert meta_a == meta_b
    assert [h["step"] for h in meta_a["measured"]] == [2, 4, 6, 8, 9]
    assert {"FLD", "precision", "recall", "density", "coverage", "variety"} == set(meta_a["measured"][0]["values"])
    for name, t in tensors_a.items():
        assert torch.equal(t, tensors_b[name]), name
    best_a, best_b = (checkpoint.read(model_file(r.path / "best")) for r in (whole, run))
    assert {**best_a[1], "training": 0} == {**best_b[1], "training": 0}
    assert all(torch.equal(t, best_b[0][k]) for k, t in best_a[0].items())

    def measured(r):
        return [{k: v for k, v in line.items() if k not in ("seconds", "measured_in")} for line in r.log()]

    assert measured(whole) == measured(run)


def test_measuring_leaves_no_trace_in_the_training(tmp_path, data, whole):
    plain = train("dcgan", data, TrainSettings(name="plain", runs=str(tmp_path), **QUICK), TINY, quiet=True)
    (_, a, _), (_, b, meta) = states(whole), states(plain)
    assert all(torch.equal(t, b[k]) for k, t in a.items())
    assert "measured" not in meta
    assert not (plain.path / "best").exists()


def test_the_best_weights_are_those_of_the_step_that_they_name(tmp_path, data, whole):
    history = states(whole)[2]["measured"]
    values = [h["values"]["FLD"]["value"] for h in history]
    best = history[values.index(min(values))]
    config = json.loads((whole.path / "best" / "config.json").read_text())
    assert (config["step"], config["best"]["measure"], config["best"]["value"]) == (best["step"], "FLD", min(values))
    system = load(whole.path / "best")
    assert system.trained["step"] == best["step"]
    if best["step"] != 9:
        final = load(whole.path)
        assert any(not torch.equal(p, q) for p, q in zip(system.parameters(), final.parameters(), strict=True))
    card = (whole.path / "README.md").read_text()
    assert "## When to stop" in card
    assert f"| {history[0]['step']} |" in card


def test_a_run_that_was_killed_before_best_was_written_writes_it_when_it_resumes(tmp_path, data, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(writer, "keep_best", lambda *_: None)
        stopped_at(patch, 2)
        # the state of step 3 says that step 3 is best; best/ was never written
        settings = TrainSettings(name="k", runs=str(tmp_path), **QUICK, **{**MEASURED, "measure_every": 3})
        with pytest.raises(TrainingStopped):
            train("dcgan", data, settings, TINY, quiet=True)
    run = open_run(tmp_path / "k")
    assert not run.best.exists()
    monkeypatch.setattr(Measuring, "take", lambda *a: pytest.fail("nothing is due") if a[2] == 3 else ({}, {}, 0.0))
    resume(run.path, quiet=True)
    assert checkpoint.read(model_file(run.path / "best"))[1]["step"] == 3


def test_a_measure_that_cannot_be_taken_at_a_step_says_why(tmp_path, data, monkeypatch, capsys):
    def no(compared):
        raise UserError("these samples are no numbers")

    monkeypatch.setattr("genzoo.metrics.prdc.take", no)
    settings = TrainSettings(name="why", runs=str(tmp_path), **{**QUICK, **MEASURED, "steps": 2})
    run = train("dcgan", data, settings, TINY)
    assert "not measured: prdc: these samples are no numbers" in capsys.readouterr().err
    assert "FLD" in run.log()[-1]
    assert "recall" not in run.log()[-1]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"measure": "frechett"}, "did you mean 'frechet'"),
        ({"measure": "nll"}, "no capability 'density'"),
        ({"measure": "frechet", "measure_with": "inceptoin"}, "did you mean 'inception'"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is_written(tmp_path, data, keys, said):
    with pytest.raises(UserError, match=said):
        train("dcgan", data, TrainSettings(name="no", runs=str(tmp_path), **QUICK, **keys), TINY, quiet=True)
    assert not (tmp_path / "no").exists()


def test_a_likelihood_is_measured_of_fits_and_flows(tmp_path):
    settings = TrainSettings(
        name="g", runs=str(tmp_path), device="cpu", batch=20, measure="nll", measure_every=1, measure_n=20
    )
    run = train("gaussian", DataSettings("digits", size=8, limit=60), settings, quiet=True)
    lines = [line for line in run.log() if "NLL" in line]
    assert lines
    assert "bits/dim" in lines[0]
    assert checkpoint.read(model_file(run.path / "best"))[1]["best"]["measure"] == "NLL"


# ---- when to stop ------------------------------------------------------------------------------------------------------------------


def line(*values, name="FLD", better="lower", se=1.0):
    return [
        {"step": 100 * (i + 1), "values": {name: {"value": v, "se": se, "better": better}}}
        for i, v in enumerate(values)
    ]


def test_a_plateau_is_told_from_progress_and_from_decline_by_its_interval():
    assert "too few" in advice(line(9, 8, 7))[0]
    going = advice(line(50, 40, 30, 20, 10))[0]
    assert "still improves, by 30 ± 2.8" in going
    assert "Go on" in going
    flat = advice(line(50, 20, 19.5, 20.5, 19))[0]
    assert "plateau, within an interval of ± 2.8" in flat
    assert "19 (step 500)" in flat
    assert "become worse, by 20" in advice(line(50, 20, 40, 41, 43))[0]
    up = advice(line(0.1, 0.2, 0.3, 0.4, 0.5, name="recall", better="higher", se=0.01))[0]
    assert "still improves" in up
    assert "plateau:" in trend("x", [(i, 5.0, None) for i in range(6)], "lower")


def test_collapse_and_a_winning_discriminator_are_named():
    falling = [(100, 0.6, None), (200, 0.7, None), (300, 0.1, None)]
    assert "recall has fallen from 0.7 (step 200) to 0.1 (step 300)" in collapse("recall", falling)
    assert collapse("recall", falling[:2]) == collapse("recall", [(1, 0.01, None), (2, 0.0, None)]) == ""
    losses = [{"step": i, "d_loss": v, "d_real": 4.0, "d_fake": -5.0} for i, v in enumerate([1.4] * 10 + [0.05] * 8)]
    said = winning(losses)
    assert "d_loss is 0.05, 4 % of its greatest value" in said
    assert "4 on real and -5 on generated" in said
    assert winning(losses[:12]) == ""
    assert winning([{"d_loss": -v["d_loss"]} for v in losses]) == "", (
        "a critic's loss is negative and says no such thing"
    )
    blown_up = [{"d_loss": v, "d_real": -0.9, "d_fake": -0.6} for v in (*[1.4] * 10, 9e5, *[4.8] * 8)]
    assert winning(blown_up) == "", "a loss that has exploded makes any other one small; this D does not win"
    spike = [{"d_loss": v, "d_real": 1.0, "d_fake": -1.0} for v in (*[1.4] * 10, 9e5, *[1.0] * 8)]
    assert winning(spike) == ""
    after = winning([*spike, *({"d_loss": 0.01, "d_real": 5.0, "d_fake": -5.0} for _ in range(5))])
    assert "d_loss is 0.01, 0 % of 2 " in after
    both = advice(line(5, 4, 3, 2), losses)
    assert any("discriminator wins" in s for s in both)


def test_oscillation_is_told_from_chance_and_from_progress():
    def found(*values, se=1.0):
        return [(100 * (i + 1), v, se) for i, v in enumerate(values)]

    swings = found(50, 90, 40, 95, 45, 80)
    said = oscillation("FLD", swings)
    assert "turned 4 times over the last 6 measurements, between 40 and 95" in said
    assert "lower learning rate" in said
    assert oscillation("FLD", found(50, 90, 40, 95, 45, 80, se=40.0)) == "", "within what chance does"
    assert oscillation("FLD", found(50, 55, 49, 56, 50, 54)) == "", "by less than a quarter"
    assert oscillation("FLD", found(300, 200, 120, 80, 50, 30)) == "", "progress does not turn"
    assert oscillation("FLD", found(50, 90, 40)) == ""
    assert oscillation("FLD", swings + found(*[45] * 8)) == "", "over"
    assert any("Oscillation" in s for s in advice(line(50, 90, 40, 95, 45, 80)))


def test_samples_without_variety_and_copies_are_named():
    alike = [(i, v, None) for i, v in enumerate((0.01, 0.02, 0.03, 0.02))]
    assert "their variety is 0.02 of that of real images" in sameness(alike)
    assert sameness(alike[:3]) == "", "an untrained generator's samples are alike"
    assert sameness([*alike, (9, 0.5, None)]) == ""
    assert "only 3 % of samples are no copies" in copying("AuthPct", [(1, 90.0, 1.0), (2, 3.0, 1.0)])
    assert copying("AuthPct", [(1, 3.0, 1.0), (2, 48.0, 1.0)]) == copying("AuthPct", []) == ""
    assert copying("AuthPct", [(1, 3.0, 1.0)], [(1, 0.006, None)]) == "", (
        "one and the same sample near one example is no memory of many"
    )
    assert copying("AuthPct", [(1, 3.0, 1.0)], [(1, 0.6, None)])
    both = advice([{"step": 1, "values": {"AuthPct": {"value": 0.0, "se": 0.0, "better": None}}}])
    assert len(both) == 1
    assert "Memorization" in both[0]


def test_a_winning_discriminator_is_said_without_any_measure(tmp_path, data, monkeypatch, capsys):
    """The log is enough: the run says it and the card keeps it."""
    original = Trainer._one

    def one(self, batch):
        return {**original(self, batch), "d_loss": torch.tensor(1.4 if self.step < 10 else 0.01)}

    monkeypatch.setattr(Trainer, "_one", one)
    settings = TrainSettings(name="lost", runs=str(tmp_path), **{**QUICK, "steps": 20, "sample_every": 10})
    run = train("dcgan", data, settings, TINY)
    assert "The discriminator wins: d_loss is 0.01" in capsys.readouterr().err
    assert "The discriminator wins" in (run.path / "README.md").read_text()
