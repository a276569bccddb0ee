"""`genzoo serve` as it is started: what it prints, that it answers a program, who is refused, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import threading
import time

import numpy as np
import pytest

from genzoo.cli.main import main
from genzoo.saved.loading import load
from tests.serving import Started


@pytest.fixture
def start():
    begun = []

    def started(*words):
        begun.append(Started(*words))
        return begun[-1]

    yield started
    for server in begun:
        server.process.kill()
        server.process.communicate()


def test_a_server_begins_answers_and_ends(runs, start, tmp_path):
    run = runs("dcgan")
    server = start(str(run.path))
    assert re.fullmatch(
        rf"serving {re.escape(str(run.path))}: http://127.0.0.1:\d+/  \(ready after [\d.]+ s; Ctrl-C stops it\)\n",
        server.line,
    )
    asked = {"accept": "application/x-npy", "content-type": "application/json"}
    status, data = server.ask("POST", "/sample", json.dumps({"n": 3, "seed": 7}), **asked)
    assert status == 200
    (tmp_path / "served.npy").write_bytes(data)
    assert main(["sample", str(run.path), "n=3", "seed=7", f"out={tmp_path}/drawn.npy"]) == 0
    served, drawn = np.load(tmp_path / "served.npy"), np.load(tmp_path / "drawn.npy")
    np.testing.assert_allclose(served, drawn, atol=1e-5)
    assert server.ask("GET", "/health", host="evil.example")[0] == 421
    code, out, err = server.end()
    assert (code, out, err) == (0, "stopped\n", "")


def test_what_is_being_answered_is_finished(runs, start):
    """SIGTERM while a slow request runs: it gets its answer, and the process ends by itself."""
    run = runs("gated-pixelcnn")
    load(run.path)
    server = start(str(run.path))
    answers = []
    body = json.dumps({"n": 64, "cached": False})
    asking = threading.Thread(
        target=lambda: answers.append(server.ask("POST", "/sample", body, **{"content-type": "application/json"}))
    )
    asking.start()
    until = time.monotonic() + 30
    while b'"running":1' not in server.ask("GET", "/health")[1]:
        assert time.monotonic() < until
        assert not answers, "the request is to be slower than this"
    server.process.send_signal(signal.SIGTERM)
    code, out, err = server.process.wait(60), *server.process.communicate()
    asking.join(30)
    assert answers[0][0] == 200
    assert answers[0][1].startswith(b"\x89PNG")
    assert (code, out, err) == (0, "stopped\n", "")


def test_a_client_that_goes_frees_the_model(runs, start):
    """Its request is stopped inside the system's own loop, long before it would be done."""
    server = start(str(runs("gated-pixelcnn").path))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps({"n": 128, "cached": False, "chunk": 1})
    connection.request("POST", "/sample", body, {"content-type": "application/json"})
    until = time.monotonic() + 30
    while b'"running":1' not in server.ask("GET", "/health")[1]:
        assert time.monotonic() < until
    connection.sock.close()
    left = time.monotonic()
    while b'"running":0' not in server.ask("GET", "/health")[1]:
        assert time.monotonic() < left + 5, "it goes on for nobody"
    assert 'path="/sample",status="499"' in server.ask("GET", "/metrics")[1].decode()


def test_others_need_the_token_that_is_printed(runs, start):
    server = start(str(runs("dcgan").path), "host=0.0.0.0")
    token = re.search(r"\?token=(\S+)", server.line)[1]
    assert server.ask("GET", "/")[0] == 401
    assert server.ask("GET", "/", authorization=f"Bearer {token}")[0] == 200
    with contextlib.suppress(ConnectionError):  # some answers are not read to their end by who still sends
        assert server.ask("GET", "/health", cookie="a" * 1_000_000)[0] == 400, "headers have a bound"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no/such/run"], "there is no run at"),
        (["RUN", "port=99999"], "at most 65535"),
        (["RUN", "host=300.1.1.1"], "is no address of this machine"),
        (["RUN", "host=0.0.0.0", "token=short"], "at least 16"),
        (["RUN", "prot=1"], "did you mean 'port'"),
        (["zoo:unicorns"], "there is no 'unicorns'"),
    ],
)
def test_a_server_that_cannot_begin_says_why(runs, words, said, capsys):
    run = str(runs("dcgan").path)
    assert main(["serve", *[run if w == "RUN" else w for w in words]]) == 2
    assert said in capsys.readouterr().err
