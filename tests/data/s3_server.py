"""A real S3 server on loopback (moto's), which a test kills and starts again, behind a gate that is slow, refuses or cuts connections."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BUCKET = "shards"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """moto_server: it keeps objects in memory, so that what was there is put back when it is started again."""

    program = "moto_server"
    install = "it needs an environment of its own (its python-dateutil is older): pipx install 'moto[server]'"

    def __init__(self) -> None:
        if not shutil.which(self.program):
            pytest.skip(f"there is no {self.program} on PATH; {self.install}")
        self.port, self.objects = free_port(), dict[str, bytes]()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def words(self) -> list[str]:
        return [self.program, "-H", "127.0.0.1", "-p", str(self.port)]

    def start(self) -> None:
        self.process = subprocess.Popen(self.words(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            try:
                self._put("")
                break
            except OSError:
                assert time.monotonic() < until, f"{self.program} does not answer"
                time.sleep(0.1)
        for name, data in self.objects.items():
            self._put(name, data)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def put(self, name: str, data: bytes) -> None:
        self.objects[name] = data
        self._put(name, data)

    def upload(self, folder: Path, under: str) -> None:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{under}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def delete(self, name: str) -> None:
        self.objects.pop(name)
        self._store().delete(name)

    def _put(self, name: str, data: bytes = b"") -> None:
        if name:
            self._store().put(name, data)
            return
        asked = urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(asked, timeout=20) as answer:
            answer.read()

    def _store(self) -> Any:
        from obstore.store import S3Store

        return S3Store(
            BUCKET, endpoint=self.url, access_key_id="key", secret_access_key="secret", region="us-east-1", client_options={"allow_http": True}
        )  # fmt: skip


class Gate:
    """Passes connections on to a server, or does to them what `deed` says: "", "refuse", "cut", "503", or "slow"."""

    def __init__(self, port: int) -> None:
        self.behind, self.deed, self.times, self.seen = port, "", 10**9, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def do(self, deed: str, times: int = 10**9) -> None:
        self.deed, self.times, self.seen = deed, times, 0

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        deed = self.deed if self.seen < self.times else ""
        self.seen += bool(self.deed)
        with contextlib.suppress(OSError), client:
            if deed == "refuse":
                return
            if deed == "503":
                client.recv(65536)
                client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.behind), timeout=20) as server:
                asked = client.recv(65536)
                server.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                client.settimeout(0.2)
                threading.Thread(target=self._rest, args=(client, server), daemon=True).start()
                passed = 0
                while block := server.recv(4096):
                    if deed == "slow":
                        time.sleep(0.02)
                    if deed == "cut" and passed > 6000:
                        return
                    client.sendall(block)
                    passed += len(block)

    @staticmethod
    def _rest(client: socket.socket, server: socket.socket) -> None:
        """Pass on the rest of what is asked, such as a long body."""
        with contextlib.suppress(OSError):
            while True:
                try:
                    block = client.recv(65536)
                except TimeoutError:
                    continue
                if not block:
                    return
                server.sendall(block)

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def running(kind: type[Server] = Server) -> Iterator[Server]:
    server = kind()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
