"""Servers for tests: an application in a thread of the test's own process, or `genzoo serve` in one of its own; and a browser."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
"""Chromium asks nobody for anything but what the page asks for."""


@contextmanager
def live(app: Any, port: int = 0) -> Iterator[str]:
    """Serve an application, and yield its address without a slash at its end."""
    import uvicorn

    from genzoo.web.running import listen

    taken = listen("127.0.0.1", port)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", access_log=False, lifespan="on", ws="none", timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, args=([taken],), daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until, "the server does not start"
        assert thread.is_alive(), "the server has ended"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        taken.close()


class Started:
    """`genzoo serve` in a process of its own, which has answered with its first line.

    Args:
        words: What it serves, and options.
    """

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "genzoo", "serve", *words, "port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout
        assert self.process.stderr
        self.line = self.process.stdout.readline()
        found = re.search(r"http://[^:/]+:(\d+)/", self.line)
        assert found, (self.line, self.process.stderr.read())
        self.port = int(found[1])

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, bytes]:
        """Send one request over a connection of its own: status and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data

    def end(self) -> tuple[int, str, str]:
        """End it by SIGTERM: exit status, and what it has printed to stdout and stderr since its first line."""
        self.process.terminate()
        try:
            return (self.process.wait(60), *self.process.communicate())
        finally:
            self.process.kill()


def wait_for(what: Any, seconds: float = 90.0) -> Any:
    """Wait until something is true, and return it; to look takes a small part of the time, so that what is waited for has the rest."""
    until = time.monotonic() + seconds
    while True:
        looked = time.monotonic()
        if found := what():
            return found
        now = time.monotonic()
        assert now < until, "it does not come true"
        time.sleep(min(max(0.02, 5 * (now - looked)), 0.5))


def program() -> str:
    """Return the browser of the machine; skip the test where there is none, or nothing to drive it with."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("there is no browser: chromium is not installed")
    return found
