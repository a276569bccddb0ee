"""A study's worker is killed (SIGKILL) in every phase of its work; the next one ends with the table of a worker that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("optuna", reason="the study extra is not installed")

STUDY = """
name = "killed"
systems = ["vae", "gaussian"]
data = ["digits"]
samples = 40
[settings]
batch = 8
[settings_for.vae]
steps = 4
hidden = 8
latent = 2
save_every = 2
sample_every = 4
"""
PHASES = {
    "before anything is in the journal": ("genzoo.studies.journal", "Journal._add", "before", 1),
    "half of the trials are in the journal": ("genzoo.studies.journal", "Journal._add", "before", 2),
    "a trial is told to run": ("genzoo.studies.work", "_run", "before", 1),
    "the run folder is empty": ("genzoo.training.start", "new_run", "after", 1),
    "a file is half written": ("genzoo.core.files", "os.replace", "before", 1),
    "the first checkpoint is there": ("genzoo.saved.checkpoint", "write", "after", 1),
    "trained, and nothing says so": ("genzoo", "train", "after", 1),
    "measured, and nothing kept": ("genzoo", "evaluate", "after", 1),
    "the values are kept, the journal has none": ("genzoo.studies.work", "save_json", "after", 1),
    "the first trial is finished, the page is being drawn": ("genzoo.studies.report", "write_study_page", "before", 1),
    "the second trial is told to run": ("genzoo.studies.work", "_run", "before", 2),
}
PROGRAM = """
import importlib, json, os, signal, sys
from pathlib import Path
import genzoo, genzoo.studies, genzoo.studies.work, genzoo.studies.report, genzoo.training.start, genzoo.saved.checkpoint

def child(out, phase=None):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    if phase:
        module, path, when, count = phase
        owner = importlib.import_module(module)
        *way, name = path.split(".")
        for step in way:
            owner = getattr(owner, step)
        real, calls = getattr(owner, name), 0

        def patched(*args, **keys):
            nonlocal calls
            calls += 1
            if when == "before" and calls == count:
                os.kill(os.getpid(), signal.SIGKILL)
            found = real(*args, **keys)
            if calls == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        setattr(owner, name, patched)
    try:
        genzoo.study(sys.argv[1], out=out, quiet=True)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)

genzoo.study(sys.argv[1], out="alone", quiet=True)  # here, so that all is imported before the workers are forked
found = {"alone": Path("alone/table.csv").read_text()}
for name, phase in json.loads(sys.argv[2]).items():
    out = name.replace(" ", "-").replace(",", "")
    found[name] = [child(out, phase), child(out), Path(out, "table.csv").read_text(), Path(out, "index.html").exists()]
print(json.dumps(found))
"""


QUICK = (
    "half of the trials are in the journal",
    "the first checkpoint is there",
    "trained, and nothing says so",
    "the values are kept, the journal has none",
)
"""The phases of a quick test; all of them are the slow one."""


def check(phases, folder):
    """Kill a worker in each phase and let another go on; one process that has imported everything forks them."""
    (folder / "study.toml").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "study.toml", json.dumps(phases)],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ends = json.loads(done.stdout)
    for phase in phases:
        killed, next_one, table, page = ends[phase]
        assert killed == 9, f"{phase}: it was killed there"
        assert next_one == 0, phase
        assert page, phase
        assert table == ends["alone"], phase


def test_a_worker_killed_between_two_deeds_costs_nothing(tmp_path):
    check({phase: PHASES[phase] for phase in QUICK}, tmp_path)


@pytest.mark.slow
def test_a_worker_killed_in_any_phase_costs_nothing(tmp_path):
    check(PHASES, tmp_path)
