"""One of two processes goes before the first step: the other says so, and what to do, instead of an error of torch's connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from genzoo.cli.main import main
from genzoo.core.errors import TrainingStopped
from genzoo.ranks import attempts
from genzoo.ranks.attempts import attempt
from genzoo.ranks.launch import cannot_share, lost_is_said
from tests.conftest import data_for

LEAVES = """
import os, sys
from genzoo.cli.main import main
from genzoo.training import start
setattr(start, sys.argv[1], lambda *_, **__: os._exit(9))
main(sys.argv[2:])
"""
AGAIN, RESUME = "start all of them again", "'genzoo resume runs/lost' goes on from the last checkpoint"


@pytest.mark.parametrize(
    ("at", "then"),
    [
        pytest.param("", AGAIN, marks=pytest.mark.slow),
        pytest.param("noted_run", AGAIN, marks=pytest.mark.slow),
        pytest.param("same_everywhere", AGAIN, marks=pytest.mark.slow),
        ("same_weights", RESUME),
        pytest.param("barrier", RESUME, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_goes_before_the_first_step(tmp_path, at, then):
    """It goes where the others meet (it never comes), look for a run, compare what they were told, get the first one's weights, or restore."""
    data = data_for("dcgan", tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["train", "dcgan", f"data={data.data}", "size=8", "steps=2", "batch=4", "width=8", "latent=8", "name=lost"]
    words += ["device=cpu", "precision=fp32", f"patience={1 if at else 0.05}"]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    commands = [["-m", "genzoo", *words], ["-c", LEAVES, at, *words]][: 2 if at else 1]
    started = [
        subprocess.Popen(
            [sys.executable, *command], cwd=tmp_path, env={**env, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank, command in enumerate(commands)
    ]
    said = started[0].communicate(timeout=120)[1]
    assert [s.wait(60) for s in started] == [1, 9][: len(started)]
    for s in started:
        s.stderr.close()
    what = "has gone" if at else "has not answered for 0.05 minutes (patience=)"
    told = [line for line in said.splitlines() if line.startswith("genzoo:")]
    assert told == [f"genzoo: another process {what}, and process 0 stops; {then}"], said[-3000:]
    assert "Traceback" not in said


def test_an_attempt_has_a_name_that_none_before_it_had():
    """Whatever an earlier attempt has left in the launcher's store, and in whichever order the processes come."""
    served = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    served.set("asks/1", "one that is dead")

    def named(world, rank):
        own = dist.TCPStore("127.0.0.1", served.port, is_master=False, wait_for_workers=False)
        return attempt(own, rank, world, timedelta(seconds=30))

    names = []
    for world in (3, 3, 2, 1):
        with ThreadPoolExecutor(world) as pool:
            found = [pool.submit(named, world, rank) for rank in reversed(range(world))]
            same = {f.result() for f in found}
        assert len(same) == 1
        names += same
    assert len(set(names)) == 4
    with pytest.raises(RuntimeError, match="timed out: 1 of 2 processes have not come"):
        attempt(served, 0, 2, timedelta(seconds=0.2))


class Between:
    """A store in which another process does all of its own between two calls of this one."""

    def __init__(self, other):
        """Keep what the other one does."""
        self.counts, self.other = {}, other

    def add(self, key, n):
        self.counts[key] = self.counts.get(key, 0) + n
        found, other, self.other = self.counts[key], self.other, None
        if other:
            other()
        return found


def test_one_of_two_says_what_both_have_to_say_and_never_again(monkeypatch):
    """However their calls to the store fall: where both counted what was said first, each took it for said by the other, and nobody spoke."""
    other = []
    store = Between(lambda: other.append(attempts.speaks("batch=7 cannot be shared", 2)))
    monkeypatch.setattr(attempts, "kept_store", lambda quickly: store)
    assert [attempts.speaks("batch=7 cannot be shared", 2), *other] == [True, False]
    monkeypatch.setattr(attempts, "_NAMED", ["a later attempt"])
    assert not attempts.speaks("batch=7 cannot be shared", 2)
    monkeypatch.setattr(attempts, "_NAMED", ["one more"])
    assert attempts.speaks("another process has gone", 1)


def test_a_mistake_that_is_found_before_torch_is_imported_is_said_once_too(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(attempts, "speaks", lambda message, code: False)
    monkeypatch.delitem(sys.modules, "torch")
    assert main(["nonsense"]) == 2
    assert capsys.readouterr().err == ""


def test_other_errors_are_not_taken_for_a_lost_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), TrainingStopped("said already, gloo")):
        with pytest.raises(type(error)) as seen, lost_is_said():
            raise error
        assert seen.value is error
    with (
        pytest.raises(TrainingStopped, match="another process has gone, and process 1 stops; start all of them again"),
        lost_is_said(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(RuntimeError, match="gloo"), lost_is_said():
        raise RuntimeError("gloo was not built")


@pytest.mark.parametrize(
    ("batch", "processes", "said"),
    [
        (7, 2, "go on with 1 or 7 processes"),
        (1, 2, "go on with one process"),
        (64, 3, "go on with 1, 2, 4, 8, 16 or 32 processes"),
    ],
)
def test_who_can_share_a_batch(batch, processes, said):
    assert cannot_share(batch, processes).endswith(said)


FULL = """
import os, resource, sys
if os.environ["RANK"] == "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from genzoo.cli.main import main
from genzoo.ranks.launch import leave
leave(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="files may be limited on POSIX systems")
def test_a_disk_that_is_full_ends_all_processes(tmp_path):
    """The first one's thread finds out, in the middle of steps; all say the same, once, and nobody waits for another."""
    data = data_for("dcgan", tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "train",
        "dcgan",
        f"data={data.data}",
        "size=8",
        "steps=100000",
        "batch=4",
        "width=8",
        "latent=8",
        "name=full",
    ]
    words += ["device=cpu", "precision=fp32", "save_every=50000", "threads=1", "sample_every=100000"]
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FULL, *words],
            cwd=tmp_path,
            env={**env, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [s.communicate(timeout=200)[1] for s in started]
    assert [s.returncode for s in started] == [1, 1], said
    told = [line for text in said for line in text.splitlines() if line.startswith("genzoo:")]
    assert len(told) == 1
    assert told[0].startswith("genzoo: process 0 of 2: no room to write ")
    assert told[0].endswith(
        "files may not be that large here. What was there before is untouched; make room and try again with 'genzoo resume runs/full'"
    )
    assert not list((tmp_path / "runs" / "full").glob("*/.*.part"))
