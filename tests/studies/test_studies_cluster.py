"""The script of the docs that starts a study's workers through submitit, by its executor for one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import genzoo
from genzoo.studies.journal import Journal
from genzoo.studies.plan import read_plan
from tests.studies.test_studies_database import STUDY

pytest.importorskip("optuna", reason="the study extra is not installed")
pytest.importorskip("submitit", reason="the cluster extra is not installed")
SCRIPT = Path(__file__).parents[2] / "examples" / "studies" / "on_slurm.py"


@pytest.mark.slow
def test_workers_that_submitit_starts_share_a_study(tmp_path):
    file = tmp_path / "shared.toml"
    file.write_text(STUDY + "seeds = 2\n")
    storage = f"sqlite:///{tmp_path}/study.db"
    words = [str(file), "--workers", "2", "--cluster", "local", "--storage", storage, "--out", str(tmp_path / "out"), "--beat", "5"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("of 4 trials finished, 0 failed") == 2, "both workers came to their end"
    assert "4 of 4 trials finished" in done.stdout, "the last one saw all of them"
    alone = genzoo.study(file, out=tmp_path / "alone", quiet=True)
    assert (tmp_path / "out" / "table.csv").read_bytes() == (alone.path / "table.csv").read_bytes()
    path, plan = read_plan(file, tmp_path / "out")
    journal = Journal(path, plan, storage)
    assert all(len(entries) == 1 for entries in journal._by_trial().values()), "no trial was worked on twice"
