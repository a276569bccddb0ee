"""What strangers send: bad files, each answered by a sentence, requests that a fuzzer makes up, and thousands of them without growing."""

from __future__ import annotations

import contextlib
import gc
import io
import resource
import struct
import zlib

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from genzoo.server.app import server
from genzoo.testing import case_of
from tests.serving import live


def png(size=(8, 8), mode="L"):
    buffer = io.BytesIO()
    Image.new(mode, size, 100).save(buffer, "PNG")
    return buffer.getvalue()


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


def bad_files(count=300):
    """Files that are no use: cut off, changed, empty, of other kinds, of other sizes, with names that are no names; the same ones every time."""
    import random

    rng = random.Random(17)
    good = [
        png(),
        png(mode="RGBA"),
        npy(np.zeros((1, 8, 8), np.float32)),
        b"gzo" + bytes(40),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(24),
    ]
    huge = struct.pack(">II", 60_000, 60_000) + bytes([8, 0, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + huge + struct.pack(">I", zlib.crc32(b"IHDR" + huge))
    made = [
        *(
            b"",
            b"\0",
            b"hello",
            b"<script>alert(1)</script>",
            b"%PDF-1.4",
            b"GIF89a",
            b"\xff\xd8\xff",
            b"PK\x03\x04",
            bomb,
        ),
        *(npy(np.full((1, 8, 8), v, np.float32)) for v in (np.nan, np.inf, 1e30, 7)),
        *(
            npy(np.zeros(shape, np.float32))
            for shape in ((0,), (), (3,), (2, 3, 5), (1, 9, 9, 9, 9), (0, 1, 8, 8), (100_000, 1))
        ),
        *(npy(np.array(v)) for v in ("text", [1j], [True, False])),
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.zeros((1, 8, 8), np.float32)).replace(b"(1, 8, 8)", b"(10**9,) "),
        npy(np.zeros((1, 8, 8), np.float32)).replace(b"'fortran", b"'fortram"),
    ]
    names = [
        "a.png",
        "../../etc/passwd",
        "a\0b.png",
        "x" * 3000 + ".png",
        "<script>.png",
        "",
        ".npy",
        "b.gzoo",
        "é\n\r.png",
        "C:\\a.png",
    ]
    while len(made) < count:
        data = rng.choice(good)
        at = rng.randrange(len(data))
        made.append(
            rng.choice(
                [
                    data[:at],
                    data[:at] + rng.randbytes(9) + data[at + 9 :],
                    data[at:],
                    rng.randbytes(rng.randrange(1, 400)),
                ]
            )
        )
    return [(names[i % len(names)], data) for i, data in enumerate(made)]


@pytest.mark.parametrize("name", ["vae", "gated-pixelcnn", "srgan", "wavenet", "gmm"])
def test_every_bad_file_gets_a_sentence(name, capsys, caplog):
    """300 files at every endpoint that takes some: a sentence with a client's status, or an answer where the file is good enough; never a 5xx."""
    asked = TestClient(server(case_of(name).ready()), base_url="http://localhost", raise_server_exceptions=False)
    told = asked.get("/openapi.json").json()["paths"]
    takers = [
        p
        for p, m in told.items()
        if "multipart/form-data" in m.get("post", {}).get("requestBody", {}).get("content", {})
    ]
    assert takers
    refused = 0
    with asked:
        for i, (file, data) in enumerate(bad_files()):
            path = takers[i % len(takers)]
            for field in (
                ("files", "file")
                if i % 50 == 0
                else ("files" if path in ("/encode", "/reconstruct", "/log_prob", "/compress") else "file",)
            ):
                answer = asked.post(path, files={field: (file, data, "application/octet-stream")})
                assert answer.status_code in (200, 413, 415, 422), (path, file, data[:60], answer.text)
                if answer.status_code != 200:
                    refused += 1
                    said = answer.json()["error"]
                    assert 5 < len(said) < 1200
                    assert "\n" not in said
                    assert not any(w in said for w in ("Traceback", "object at 0x", "Error(", 'File "', "/tmp/")), said
        assert asked.post(takers[0]).status_code == 422
        assert asked.get("/health").json()["running"] == 0
    assert refused > 200
    assert not caplog.records
    capsys.readouterr()


@pytest.mark.parametrize("name", ["cgan", "gated-pixelcnn", "pix2pix"])
def test_a_fuzzer_finds_no_error(name):
    """schemathesis: requests made from the server's own description, right and wrong; no 5xx, and what is promised is what comes."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode

    app = server(case_of(name).ready())
    described = schemathesis.openapi.from_dict(app.openapi())
    how = settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    seen = set()
    with live(app) as base:
        for operation in described.get_all_operations():
            for right in (True, False):
                mode = GenerationMode.POSITIVE if right else GenerationMode.NEGATIVE

                @how
                @given(case=operation.ok().as_strategy(generation_mode=mode))
                def go(case):
                    answer = case.call(base_url=base)
                    seen.add((case.path, answer.status_code))
                    assert answer.status_code < 500, answer.content
                    assert b"Traceback" not in answer.content
                    if answer.status_code >= 400:
                        assert answer.json()["error"]

                with contextlib.suppress(Unsatisfiable):  # there is nothing wrong that could be sent to /health
                    go()
    assert {path for path, _ in seen} == set(app.openapi()["paths"])
    assert {200, 422} <= {status for _, status in seen}


@pytest.mark.slow
def test_memory_is_flat_over_two_thousand_requests():
    """Samples, latents, bad bodies and files: the resident memory after 2,000 of them is what it was after the first 300."""
    with TestClient(
        server(case_of("vae").ready()), base_url="http://localhost", raise_server_exceptions=False
    ) as asked:
        sizes = []
        for i in range(2000):
            if i % 4 == 0:
                assert asked.post("/sample", json={"n": 16, "seed": i}).status_code == 200
            elif i % 4 == 1:
                assert asked.post("/encode", files=[("files", ("a.png", png()))] * 4).status_code == 200
            elif i % 4 == 2:
                assert asked.post("/encode", files={"files": ("a.png", png()[: i % 40])}).status_code == 422
            else:
                assert asked.post("/sample", json={"n": -1}).status_code == 422
            if i % 100 == 99:
                gc.collect()
                sizes.append(resident())
        print(f"resident MiB after each hundred: {[round(s / 2**20, 1) for s in sizes]}")
        assert sizes[-1] - sizes[2] < 8 * 2**20


def resident():
    """Bytes of memory that this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
