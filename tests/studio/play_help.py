"""A person at the play page: asks, waits for jobs, downloads files, and types the command that stands beside them."""

from __future__ import annotations

import io
import shlex
import time
from pathlib import Path

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from genzoo.cli.main import main
from genzoo.studio.app import studio


class Person:
    """Plays with the runs of a folder.

    Args:
        folder: The folder of runs.
    """

    def __init__(self, folder: Path) -> None:
        self.client = TestClient(studio(folder), base_url="http://localhost")

    def get(self, path: str, status: int = 200):
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text[:500]
        return answer.json()

    def post(self, path: str, body: object = None, status: int = 200):
        answer = self.client.post(path, json={} if body is None else body)
        assert answer.status_code == status, answer.text[:500]
        return answer.json()

    def job(self, path: str, body: object = None, seconds: float = 120.0):
        """Ask for a job and return what it has found; a sentence where it failed."""
        job = self.post(path, body)
        until = time.monotonic() + seconds
        while job["state"] in ("waiting", "running"):
            assert time.monotonic() < until, job
            time.sleep(0.02)
            job = self.get(f"/api/jobs/{job['id']}")
        return self.get(f"/api/play/jobs/{job['id']}") if job["state"] == "done" else job["error"]

    def send(self, *files: tuple[str, bytes]) -> list[str]:
        """Send pictures, and return their ids."""
        answer = self.client.post("/api/play/pictures", files=[("files", f) for f in files])
        assert answer.status_code == 200, answer.text
        return [p["id"] for p in answer.json()]

    def file(self, found: dict, name: str) -> bytes:
        answer = self.client.get(f"/api/play/results/{found['id']}/{name}")
        assert answer.status_code == 200, answer.text
        return answer.content

    def repeats(self, found: dict, folder: Path, monkeypatch, files: dict[str, bytes] | None = None) -> int:
        """Type the command of every file of a result beside what it reads, and hold what it writes against the download."""
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        for name in found["needs"]:
            Path(name).write_bytes(self.file(found, name))
        for name, data in (files or {}).items():
            Path(name).write_bytes(data)
        compared = 0
        for file in found["files"]:
            if file["command"]:
                word, *words = shlex.split(file["command"])
                assert word == "genzoo"
                assert main(words) in (0, None)
                assert Path(file["name"]).read_bytes() == self.file(found, file["name"]), file
                compared += 1
        return compared


def png(pixels: np.ndarray) -> bytes:
    """Write pixels as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo(height: int = 40, width: int = 56, channels: int = 3, seed: int = 0) -> bytes:
    """A picture of soft blobs."""
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    bands = [127 + 100 * np.sin(x / 7 + rng.normal()) * np.cos(y / 5 + rng.normal()) for _ in range(channels)]
    pixels = np.stack(bands, -1).astype(np.uint8)
    return png(pixels[..., 0] if channels == 1 else pixels)


def hole(height: int, width: int, rows: slice, columns: slice) -> bytes:
    """A mask: white is drawn anew."""
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = 255
    return png(mask)
