"""A PostgreSQL server of a test's own: found, started and stopped here."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(p) for p in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if not found:
        pytest.skip(f"PostgreSQL is not installed: there is no {name} on PATH or below /usr/lib/postgresql")
    return found


def _as_somebody(words: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: its own user runs it then."""
    if os.geteuid():
        return words
    try:
        pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' to run it as")
    if not shutil.which("runuser"):
        pytest.skip("PostgreSQL does not run as root, and there is no 'runuser' to run it as its own user")
    return ["runuser", "-u", "postgres", "--", *words]


class Server:
    """A server on loopback, without a password."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.control = folder, _program("pg_ctl")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run([_program("initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "genzoo", "--no-sync"])
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://genzoo@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self.folder}"
        log = str(self.folder / "log")
        self._run([self.control, "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start"])

    def stop(self) -> None:
        """Drop every connection at once, as a crash does."""
        self._run([self.control, "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop"])

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            _as_somebody(words), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Run a server while the test does; its folder is one that its user may enter."""
    pytest.importorskip("psycopg", reason="the cluster extra is not installed")
    folder = Path(tempfile.mkdtemp(prefix="genzoo-postgres-"))
    try:
        if not os.geteuid():
            with contextlib.suppress(KeyError):
                shutil.chown(folder, "postgres")
        server = Server(folder)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test has stopped it
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
