"""What a run is doing, told from its files and processes; commands that outlive whoever started them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from genzoo.core.errors import UserError
from genzoo.runs.folder import Run
from genzoo.studio.runs import processes, state, wall
from genzoo.studio.runs.curves import curves, thinned
from tests.serving import wait_for

STARTED: list[subprocess.Popen[bytes]] = []
SLEEP = "import time; print('here', flush=True); time.sleep(60)"


def a_run(root, name="one", *, steps=10, done=4, **files):
    """A folder that looks like a run, without a network."""
    folder = root / name
    (folder / "state").mkdir(parents=True)
    (folder / "samples").mkdir()
    told = f'name = "vae"\n[system]\n[data]\ndata = "digits"\n[training]\nsteps = {steps}\n'
    (folder / "config.toml").write_text(files.pop("config", told))
    lines = [json.dumps({"step": s, "seconds": 0.5 * s, "loss": 9.0 - s}) for s in range(1, done + 1)]
    (folder / "log.jsonl").write_text("".join(line + "\n" for line in lines))
    (folder / "state" / f"step-{done:09d}.safetensors").write_bytes(b"")
    for file, text in files.items():
        (folder / file.replace("__", ".")).write_text(text)
    return Run(folder)


def standing(root, name):
    return state.standing(root, name, processes.training(root, name))


def test_states_are_told_from_files(tmp_path):
    a_run(tmp_path, "stopped")
    a_run(tmp_path, "finished", done=10)
    a_run(tmp_path, "damaged", config="name = ")
    a_run(tmp_path, "fitted", steps='"none"', README__md="card")
    a_run(tmp_path, "unfitted", steps='"none"')
    found = {n: standing(tmp_path, n).state for n in state.names(tmp_path)}
    assert found == {
        "stopped": "stopped", "finished": "finished", "damaged": "damaged", "fitted": "finished", "unfitted": "stopped"
    }  # fmt: skip
    at = standing(tmp_path, "stopped")
    assert (at.step, at.steps, at.seconds) == (4, 10, 2.0)
    (tmp_path / "stopped" / "state" / "step-000000003.safetensors").touch()
    (tmp_path / "stopped" / "state" / "step-000000004.safetensors").unlink()
    assert standing(tmp_path, "stopped").step == 3, "it was killed, and goes on from there"
    assert "damaged" not in wall.card(tmp_path, "stopped")["damage"]
    assert "is not TOML" in wall.card(tmp_path, "damaged")["why"]


def test_a_log_that_is_cut_off_tells_its_last_whole_line(tmp_path):
    run = a_run(tmp_path)
    with open(run.path / "log.jsonl", "a") as file:
        file.write('{"step": 5, "sec')
    assert state.last_line(run)["step"] == 4
    (run.path / "log.jsonl").write_bytes(b"\xff\xfe not a log\n[1]\n")
    assert state.last_line(run) == {}


def test_who_trains_is_told_and_can_be_stopped(tmp_path, monkeypatch):
    """A training of a terminal: nobody here started it, and its lock names it."""
    run = a_run(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from genzoo.data.locks import locked\n"
        "with locked(Path(sys.argv[1]), wait=False):\n    print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path / "state/.lock")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    at = standing(tmp_path, "one")
    assert (at.state, at.process) == ("training", child.pid)
    assert at.left == pytest.approx(3.0), "six steps of half a second"
    processes.stop(tmp_path, "one")
    assert child.wait(10) == -15
    child.stdout.close()
    assert standing(tmp_path, "one").state == "stopped"
    with pytest.raises(UserError, match="no training is running"):
        processes.stop(tmp_path, "one")


def fake(monkeypatch, code):
    """Have `genzoo ...` be a program of ours."""
    real = subprocess.Popen

    def started(words, **how):
        STARTED.append(real([sys.executable, "-c", code], **how))
        return STARTED[-1]

    monkeypatch.setattr(processes.subprocess, "Popen", started)


def test_a_command_goes_on_without_who_started_it(tmp_path, monkeypatch):
    fake(monkeypatch, SLEEP)
    told = processes.start(tmp_path, "new", ["train", "vae", "data=my digits"])
    assert told.line == "genzoo train vae 'data=my digits'"
    assert os.getsid(told.process) == told.process, "what ends the studio's session does not end it"
    with pytest.raises(UserError, match="running already"):
        processes.start(tmp_path, "new", ["train", "vae"])
    monkeypatch.setattr(processes, "_MINE", {})  # another studio, started later
    assert processes.running(tmp_path, "new", "train") == told.process
    assert state.names(tmp_path) == ["new"]
    assert standing(tmp_path, "new").state == "starting"
    wait_for(lambda: processes.printed(tmp_path, "new", "train") == ["here"])
    processes.stop(tmp_path, "new")
    STARTED[-1].wait(10)
    assert processes.running(tmp_path, "new", "train") is None


def test_a_number_that_another_process_has_now_is_not_ours(tmp_path, monkeypatch):
    fake(monkeypatch, SLEEP)
    told = processes.start(tmp_path, "new", ["train", "vae"])
    monkeypatch.setattr(processes, "_MINE", {})
    file = tmp_path / ".studio" / "new.train.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "began": "some boot 17"}))
    assert processes.running(tmp_path, "new", "train") is None
    with pytest.raises(UserError, match="no training"):
        processes.stop(tmp_path, "new")
    os.kill(told.process, 9)
    STARTED[-1].wait(10)


@pytest.mark.parametrize(
    ("code", "expected", "why"),
    [
        ("print('genzoo: vae: lr=x is not allowed')", "failed", "vae: lr=x is not allowed"),
        ("raise KeyError('no such thing')", "failed", "KeyError: 'no such thing'"),
        ("print('genzoo: no room to write x')", "failed", "no room to write x"),
        ("pass", "failed", "it ended before it had a run, stopped or killed; the last that it said: nothing"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path, monkeypatch, code, expected, why):
    fake(monkeypatch, code)
    processes.start(tmp_path, "new", ["train", "vae", "data=digits"])
    wait_for(lambda: processes.running(tmp_path, "new", "train") is None)
    at = standing(tmp_path, "new")
    assert at.state == expected
    assert why in at.why
    assert wall.card(tmp_path, "new")["system"] == "vae"
    processes.forget(tmp_path, "new")
    assert state.names(tmp_path) == []


def test_a_clean_stop_is_no_failure(tmp_path, monkeypatch):
    a_run(tmp_path)
    fake(monkeypatch, "print('genzoo: SIGTERM: saved at step 4; ... goes on exactly here')")
    processes.start(tmp_path, "one", ["resume", "one"])
    wait_for(lambda: processes.running(tmp_path, "one", "resume") is None)
    assert standing(tmp_path, "one").state == "stopped"


def test_what_was_said_of_a_run_that_is_gone_is_not_said_of_another(tmp_path, monkeypatch):
    a_run(tmp_path)
    fake(monkeypatch, "print('genzoo: something went wrong')")
    processes.start(tmp_path, "one", ["train", "vae", "data=digits"])
    wait_for(lambda: processes.running(tmp_path, "one", "train") is None)
    assert standing(tmp_path, "one").state == "failed"
    assert "how it was started" in wall.page(tmp_path, "one")["lines"]
    processes.start(tmp_path, "one", ["evaluate", "one"])
    wait_for(lambda: processes.running(tmp_path, "one", "evaluate") is None)
    assert set(wall.page(tmp_path, "one")["commands"]) == {"train", "evaluate"}
    later = time.time() + 60  # made anew in a terminal since
    os.utime(tmp_path / "one" / "config.toml", (later, later))
    assert standing(tmp_path, "one").state == "stopped"
    assert wall.page(tmp_path, "one")["commands"] == {}
    assert "how it was started" not in wall.page(tmp_path, "one")["lines"]


def test_runs_are_found_by_name_in_the_listing_alone(tmp_path):
    a_run(tmp_path / "runs", "one")
    a_run(tmp_path, "secret")
    for name in ("../secret", "/etc", ".", "..", "one/..", "one/../../secret", "", ".studio", "one\0"):
        with pytest.raises(UserError, match="there is no run"):
            wall.find(tmp_path / "runs", name)
    assert wall.find(tmp_path / "runs", "one").name == "one"


def test_spikes_stay_in_a_curve():
    points = [(i, 1.0) for i in range(100_000)]
    points[54_321] = (54_321, 99.0)
    kept = thinned(points)
    assert len(kept) <= 600
    assert (54_321, 99.0) in kept
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert kept == sorted(kept)


def test_curves_of_a_log(tmp_path):
    log = [
        {"step": 1, "seconds": 1.0, "d_loss": 2.0, "lr": 0.1, "KID": None},
        {"step": 2, "KID": 3.0, "measured_in": 1},
    ]
    taken = [{"step": 2, "values": {"KID": {"value": 3.0, "se": 0.1, "better": "lower"}}}]
    found = curves(log, taken)
    assert [(c["name"], c["kind"], c["points"]) for c in found] == [
        ("KID", "measure", [(2, 3.0)]), ("d_loss", "loss", [(1, 2.0)]), ("lr", "rate", [(1, 0.1)]),
    ]  # fmt: skip


def test_a_page_of_a_damaged_run_says_what_is_damaged(tmp_path):
    a_run(tmp_path, "one", metrics__json='{"a": 3}', log__jsonl="no log\n")
    told = wall.page(tmp_path, "one")
    assert "is damaged" in told["damage"]
    assert told["curves"] == []


def test_a_file_that_cannot_be_read_is_said_in_our_words(tmp_path, monkeypatch):
    a_run(tmp_path)

    def denied(*args, **how):
        raise PermissionError(13, "Permission denied", "whatever it is called there")

    monkeypatch.setattr(state, "read_toml", denied)
    monkeypatch.setattr(Run, "metrics", denied)
    told = wall.card(tmp_path, "one")
    assert told["why"] == f"{tmp_path / 'one' / 'config.toml'} cannot be read: permission denied"
    assert told["damage"] == f"{tmp_path / 'one' / 'metrics.json'} cannot be read: permission denied"


def test_whether_a_run_is_of_single_images(tmp_path):
    """Of what can be judged image by image: also with labels or captions, and no pairs, sounds or single pictures."""
    known = {
        "vae": True,
        "acgan": True,
        "cyclegan": False,
        "wavenet": False,
        "efros-leung": False,
        "no-such-system": False,
    }
    for name in known:
        a_run(tmp_path, name, config=f'name = "{name}"\n')
    assert {name: wall.card(tmp_path, name)["images"] for name in known} == known
