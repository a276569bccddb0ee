"""One process at a time, also where a mount has no locks, and whatever becomes of the process that holds one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from genzoo.core import files
from genzoo.core.errors import UserError
from genzoo.data import locks
from genzoo.data.locks import Busy, locked

CODES = [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.fixture(params=["flock", *dict.fromkeys(CODES)])
def kind(request, monkeypatch):
    """Real locks, and each way in which a mount says that it has none."""
    monkeypatch.setattr(files, "_said", set())
    if request.param != "flock":
        monkeypatch.setattr(fcntl, "flock", refusing(request.param))
    return request.param


def refusing(code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    return flock


@pytest.fixture
def none(monkeypatch):
    """A mount without locks."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))


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
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / "x"):
        pass
    assert not (tmp_path / "x.held").exists()


COUNT = """
import errno, fcntl, os, sys, time
from pathlib import Path
from genzoo.data import locks
def flock(*a): raise OSError(errno.ENOLCK, "No locks available")
if sys.argv[2] == "none": fcntl.flock = flock
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
import errno, fcntl, sys, time
from pathlib import Path
from genzoo.data import locks
def flock(*a): raise OSError(errno.ENOLCK, "No locks available")
if sys.argv[2] == "none": fcntl.flock = flock
with locks.locked(Path(sys.argv[1]), wait=False, quiet=True):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("real", ["flock", "none"])
def test_a_process_that_was_killed_holds_nobody_up(tmp_path, monkeypatch, real):
    if real == "none":
        monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "x"), real], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=rf"pid {child.pid}"), locked(tmp_path / "x", wait=False, quiet=True):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert (tmp_path / "x.held").exists() == (real == "none")
    with locked(tmp_path / "x", wait=False, quiet=True):
        pass
    assert not list(tmp_path.glob("*.held*"))


@pytest.mark.parametrize("real", ["flock", "none"])
def test_who_holds_a_lock_is_told_without_taking_it(tmp_path, monkeypatch, real):
    if real == "none":
        monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    assert locks.held_by(tmp_path / "x") is None
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "x"), real], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert locks.held_by(tmp_path / "x") == child.pid
    assert locks.held_by(tmp_path / "x") == child.pid, "looking does not let go"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert locks.held_by(tmp_path / "x") is None


def test_a_number_of_a_living_process_that_holds_nothing_is_nobody(tmp_path):
    (tmp_path / "x").write_text(f"\npid {os.getpid()}")
    assert locks.held_by(tmp_path / "x") is None
    (tmp_path / "x").write_text("\npid 99999999999999999999")
    assert locks.held_by(tmp_path / "x") is None
    (tmp_path / "x.held").write_text(f"{os.getpid()}\n{socket.gethostname()}\n17\n")
    assert locks.held_by(tmp_path / "x") is None, "it began at another time than the file says"


def test_a_number_given_to_another_process_is_not_its_holder(tmp_path, none):
    old = f"{os.getpid()}\n{socket.gethostname()}\n17\n"
    (tmp_path / "x.held").write_text(old)
    with locked(tmp_path / "x", wait=False, quiet=True):
        assert (tmp_path / "x.held").read_text() != old, "it is this process's own now"
    assert not list(tmp_path.glob("*.held*"))


@pytest.mark.parametrize("holder", ["1\nelsewhere\n5\n", "", "what no lock writes"])
def test_of_another_machine_the_file_to_remove_is_named(tmp_path, monkeypatch, none, holder):
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


def test_waiting_ends_when_the_other_lets_go(tmp_path, none):
    with contextlib.ExitStack() as first:
        first.enter_context(locked(tmp_path / "x", quiet=True))
        with locked(tmp_path / "x", waiting=first.close, quiet=True):
            assert (tmp_path / "x.held").exists()
    assert not (tmp_path / "x.held").exists()


def test_a_file_of_another_user_can_be_locked(tmp_path):
    (tmp_path / "x").touch(mode=0o444)
    opened = os.open

    def denied(path, flags, *mode):
        if flags & os.O_RDWR and not os.path.basename(path).endswith(".held"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, flags, *mode)

    with pytest.MonkeyPatch.context() as patch:  # root may write whatever the mode says
        patch.setattr(locks.os, "open", denied)
        with locked(tmp_path / "x", wait=False), pytest.raises(Busy), locked(tmp_path / "x", wait=False):
            pass
