"""Several processes of which one is killed, hangs or goes: the others end in time, and the end is that of the undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from genzoo.runs.folder import open_run
from tests.training_help import same_tensors

OPTIONS = [
    "width=8",
    "latent=8",
    "batch=6",
    "save_every=2",
    "sample_every=1000",
    "log_every=1",
    "device=cpu",
    "precision=fp32",
]


def launched(data, folder, *options, restarts=3):
    """Start a training of two processes under torchrun, which starts them again so often."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        f"--max-restarts={restarts}",
    ]
    command = [*torchrun, "-m", "genzoo", "train", "dcgan", f"data={data.data}", "size=8", *OPTIONS, *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TORCHELASTIC_MONITOR_INTERVAL": "0.1"}
    # into a file: a pipe that nobody reads would stop them
    with open(folder / "said.txt", "w") as said:
        return subprocess.Popen(command, cwd=folder, env=env, stderr=said)


def command_of(pid):
    """The words that a process was started with; none where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def processes(launcher):
    """Process ids of the ranks, in their order."""
    found = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return sorted(int(p) for p in found if b"genzoo" in command_of(p))


def started_again(launcher, before, seconds=120):
    """Wait for two processes of which none was there before, and return their ids in the order of their ranks."""
    end = time.monotonic() + seconds
    while len(ranks := processes(launcher)) < 2 or set(ranks) & set(before):
        assert launcher.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    return ranks


def wait_for(launcher, state, since, seconds=120):
    """Wait until there is another checkpoint than those of `since`; False where the training ended before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if launcher.poll() is not None:
            return False
        if {p.name for p in state.glob("step-*.safetensors")} - since - {"step-000000000.safetensors"}:
            return True
        time.sleep(0.01)
    launcher.kill()
    raise AssertionError("no checkpoint came")


def finished(launcher, folder, seconds=240):
    """What a training says when it has ended, and its exit code."""
    code = launcher.wait(timeout=seconds)
    return code, (folder / "said.txt").read_text()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks of a launcher are found in /proc"),
]


@pytest.fixture
def whole(tmp_path, data):
    code, said = finished(launched(data, tmp_path, "name=whole", "steps=100"), tmp_path)
    assert code == 0, said[-2000:]
    return open_run(tmp_path / "runs" / "whole")


@pytest.mark.parametrize("launches", [1, 10])
def test_ranks_that_are_killed_start_again_and_the_end_is_the_same(tmp_path, data, whole, launches):
    """Three kills a launch, which torchrun outlives: each after a new checkpoint, at any place of a step, or of the first process while it writes."""
    rng, kills, writing = np.random.default_rng(launches), 0, 0
    for k in range(launches):
        launcher = launched(data, tmp_path, f"name=killed-{k}", "steps=100")
        state, ranks = tmp_path / "runs" / f"killed-{k}" / "state", []
        for turn in range(3):
            ranks = started_again(launcher, ranks)
            assert wait_for(launcher, state, {p.name for p in state.glob("step-*.safetensors")})
            if turn == 1:
                begun = time.monotonic()
                while not (parts := list(state.glob(".step-*.part"))) and time.monotonic() - begun < 5:
                    pass
                writing += len(parts) > 0
            else:
                time.sleep(rng.random() * 0.1)
            os.kill(ranks[int(rng.integers(2)) if turn != 1 else 0], signal.SIGKILL)
            kills += 1
        code, said = finished(launcher, tmp_path)
        assert code == 0, said[-2000:]
        assert same_tensors(whole, open_run(state.parent))
        assert [line["step"] for line in open_run(state.parent).log()] == list(range(1, 101))
        assert not list(state.glob(".*.part"))
    print(f"{kills} kills, {writing} of them while a checkpoint was being written")
    assert kills == 3 * launches
    assert writing


def test_a_rank_that_hangs_ends_the_others_in_time(tmp_path, data):
    launcher = launched(data, tmp_path, "name=hung", "steps=100000", "patience=0.05", restarts=0)
    assert wait_for(launcher, tmp_path / "runs" / "hung" / "state", set())
    begun, ranks = time.monotonic(), processes(launcher)
    os.kill(ranks[1], signal.SIGSTOP)
    code, said = finished(launcher, tmp_path, 120)
    assert code != 0
    assert time.monotonic() - begun < 60, "3 s of patience, and the launcher's 30 until it ends what does not answer"
    told = [line for line in said.splitlines() if line.startswith("genzoo:")]
    assert len(told) == 1, said[-3000:]
    assert told[0].startswith(
        "genzoo: another process has not answered for 0.05 minutes (patience=), and process 0 stops; 'genzoo resume "
    )
    assert not any(Path(f"/proc/{p}").exists() for p in ranks)


TOLD = """
import os, subprocess, sys
data, other, options = sys.argv[1], sys.argv[2], sys.argv[3:]
mine = other if os.environ["RANK"] == "1" else data
raise SystemExit(subprocess.call([sys.executable, "-m", "genzoo", "train", "dcgan", f"data={mine}", *options]))
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["batch=7"], "genzoo: batch=7 cannot be shared by 2 processes; give a multiple of 2"),
        (["batch=6"], "genzoo: the processes do not train the same: the digest of the data is"),
        (["batch=6", "width=0"], "genzoo: dcgan: width=0 is not allowed"),
    ],
)
def test_what_is_wrong_is_said_once_before_a_folder_is_made(tmp_path, data, options, said):
    """Also where processes were told different things: here each has data of its own."""
    values = dict(np.load(data.data))
    np.savez(tmp_path / "other.npz", **{**values, "images": values["images"][::-1]})
    (tmp_path / "told.py").write_text(TOLD)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "told.py"]
    command = [
        *torchrun,
        data.data,
        str(tmp_path / "other.npz"),
        "size=8",
        "steps=2",
        "latent=8",
        "device=cpu",
        *options,
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("genzoo:")]
    assert len(told) == 1, done.stderr[-2000:]
    assert told[0].startswith(said)
    assert "exitcode  : 2" in done.stderr
    assert not (tmp_path / "runs").exists()
