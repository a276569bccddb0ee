"""Locks, and places without them: one helper for runs, trials, journals and the cache."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys

import pytest

from genzoo.core import locks, places
from genzoo.core.errors import UserError
from genzoo.core.locks import Busy, locked

CODES = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.fixture(params=["flock", *dict.fromkeys(CODES), "no module"])
def kind(request, monkeypatch):
    """Real locks; each way in which a mount says that it has none; a system without the module."""
    monkeypatch.setattr(places, "_said", set())
    if request.param == "no module":
        monkeypatch.setattr(locks, "fcntl", None)
    elif request.param != "flock":

        def flock(*_):
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(locks.fcntl, "flock", flock)
    return request.param


def test_one_at_a_time(tmp_path, kind, capsys):
    with locked(tmp_path / "x", wait=False):
        with pytest.raises(Busy, match=rf"pid {os.getpid()}") as busy, locked(tmp_path / "x", wait=False):
            pass
        assert busy.value.remove == (None if kind == "flock" else tmp_path / "x.held")
        with locked(tmp_path / "y", wait=False):
            pass
    with locked(tmp_path / "x", wait=False):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "y"]
    said = capsys.readouterr().err
    assert said.count("\n") == (0 if kind == "flock" else 1), "said once"
    assert kind == "flock" or f"note: {tmp_path} has no file locks" in said


def test_quiet_says_nothing(tmp_path, kind, capsys):
    with locked(tmp_path / "x", quiet=True):
        pass
    assert capsys.readouterr().err == ""


def test_another_error_is_no_lack_of_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / "x"):
        pass
    assert not (tmp_path / "x.held").exists()


COUNT = """
import errno, os, sys, time
from pathlib import Path
from genzoo.core import locks
def flock(*a): raise OSError(errno.ENOLCK, "No locks available")
if sys.argv[2] == "none": locks.fcntl.flock = flock
locks.PAUSE = 0.001
folder = Path(sys.argv[1])
for _ in range(40):
    with locks.locked(folder / "lock", quiet=True):
        n = int((folder / "n").read_text())
        time.sleep(0.001)
        (folder / "n").write_text(str(n + 1))
"""


@pytest.mark.parametrize("real", ["flock", "none"])
def test_processes_take_turns(tmp_path, real):
    (tmp_path / "n").write_text("0")
    workers = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path), real]) for _ in range(3)]
    assert [w.wait(timeout=60) for w in workers] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "120"
    assert not list(tmp_path.glob("*.held*"))


HOLD = """
import errno, sys, time
from pathlib import Path
from genzoo.core import locks
def flock(*a): raise OSError(errno.ENOLCK, "No locks available")
locks.fcntl.flock = flock
with locks.locked(Path(sys.argv[1]), wait=False, quiet=True):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_was_killed_holds_nobody_up(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=rf"pid {child.pid}"), locked(tmp_path / "x", wait=False, quiet=True):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert (tmp_path / "x.held").exists()
    with locked(tmp_path / "x", wait=False, quiet=True):
        pass
    assert not list(tmp_path.glob("*.held*"))


def test_a_number_given_to_another_process_is_not_its_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    host = locks.socket.gethostname()
    (tmp_path / "x.held").write_text(f"{host} pid {os.getpid()} 17")
    with locked(tmp_path / "x", wait=False, quiet=True):
        assert not (tmp_path / "x.held").read_text().endswith(f" {os.getpid()} 17"), "it is this process's own now"
    assert not list(tmp_path.glob("*.held*"))


@pytest.mark.parametrize("holder", ["elsewhere pid 1 5", "", "elsewhere pid x"])
def test_of_another_machine_the_file_to_remove_is_named(tmp_path, monkeypatch, holder):
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "PATIENCE", 0.02)
    monkeypatch.setattr(locks, "PAUSE", 0.01)
    (tmp_path / "x.held").write_text(holder)
    with pytest.raises(Busy) as busy, locked(tmp_path / "x", wait=False, quiet=True):
        pass
    assert busy.value.remove == tmp_path / "x.held"
    waits = []
    with (
        pytest.raises(UserError, match=r"x\.held has been held .*remove the file"),
        locked(tmp_path / "x", waiting=lambda: waits.append(1), quiet=True),
    ):
        pass
    assert waits == [1]


def test_a_lock_that_was_taken_in_the_meantime_is_put_back(tmp_path):
    """Two processes find the file of a dead one; the slower of them must not break the lock of the faster."""
    file = tmp_path / "x.held"
    file.write_text("the faster")
    locks._remove(file, "the dead one")
    assert file.read_text() == "the faster"
    assert [p.name for p in tmp_path.iterdir()] == ["x.held"]


def test_waiting_ends_when_the_other_lets_go(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with contextlib.ExitStack() as first:
        first.enter_context(locked(tmp_path / "x", quiet=True))
        with locked(tmp_path / "x", waiting=first.close, quiet=True):
            assert (tmp_path / "x.held").exists()
    assert not (tmp_path / "x.held").exists()
