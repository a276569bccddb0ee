"""The examples run as they stand, and the generated tables say what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(script), *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    "name", ["first_model", "own_system", "eight_couplings", pytest.param("likelihoods", marks=pytest.mark.slow)]
)
def test_examples_run(name, tmp_path):
    done = run(ROOT / "examples" / f"{name}.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


LECTURES = sorted(p.stem for p in (ROOT / "examples").glob("lecture_*.py"))


def test_there_is_a_script_for_each_lecture():
    assert [name.split("_")[1] for name in LECTURES] == [str(i) for i in range(1, 8)]


@pytest.mark.parametrize("name", [*LECTURES, "augment_scans", "augment_volumes", "ct_contrast"])
def test_long_examples_run_in_their_short_form(name, tmp_path):
    done = run(ROOT / "examples" / f"{name}.py", tmp_path, "--short", "--out", "drawn")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "drawn/" in done.stdout or "into drawn" in done.stdout, "it says where the pictures are"
    assert list((tmp_path / "drawn").glob("*.png"))
    assert {p.name for p in tmp_path.iterdir()} == {"drawn"}, "and writes nowhere else"


def test_generated_tables_are_up_to_date(tmp_path):
    done = run(ROOT / "docs" / "make_tables.py", tmp_path, "--check")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
