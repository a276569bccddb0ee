"""Who may ask: what a page of another site, a rebound name, somebody without the token or somebody with a huge body gets."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from genzoo.core.errors import UserError
from genzoo.web.app import application
from genzoo.web.guard import HEADERS, Rules, host_of
from genzoo.web.running import address, listen, rules_for

TOKEN = "a-token-that-is-long-enough"


def app_with(rules: Rules | None = None) -> FastAPI:
    app = application(rules=rules)

    @app.post("/take")
    async def take(request: Request) -> int:
        return len(await request.body())

    return app


def client(rules: Rules | None = None, base: str = "http://localhost:8000") -> TestClient:
    return TestClient(app_with(rules), base_url=base, raise_server_exceptions=False)


def test_this_machine_may_ask():
    asked = client()
    for base in ("http://localhost:8000", "http://127.0.0.1:1", "http://[::1]:8000", "http://LOCALHOST"):
        assert asked.get(f"{base}/health").status_code == 200
    answered = asked.get("/health")
    assert {k: answered.headers[k] for k in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["content-security-policy"]


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.9", "8.8.8.8:80", ""),
        *("localhost:80:90", "localhost@evil.example", "evil.example/localhost", "localhost:x", "[::2]"),
    ],
)
def test_a_rebound_name_is_refused(host):
    answered = client().get("/health", headers={"host": host})
    assert answered.status_code == 421
    assert "Host" in answered.json()["error"]
    assert answered.headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_the_name_of_a_host():
    assert host_of("a.b:80") == "a.b"
    assert host_of("[::1]") == "::1"
    assert host_of("[::1]:8000") == "::1"
    assert host_of("a b") is host_of("") is host_of(":80") is host_of("a/b") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8001"},
        {"origin": "https://localhost:8000"},
        {"origin": "http://localhost.evil.example:8000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:8000"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_a_page_of_another_site_changes_nothing(headers):
    answered = client().post("/take", content=b"x", headers=headers)
    assert answered.status_code == 403
    assert "another site" in answered.json()["error"]


def test_a_page_of_its_own_and_a_program_may_post():
    asked = client()
    assert asked.post("/take", content=b"x").json() == 1
    own = {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
    assert asked.post("/take", content=b"xy", headers=own).json() == 2


def test_a_proxy_may_speak_tls():
    asked = client(Rules(names=("models.example.org",)), "http://models.example.org")
    assert asked.post("/take", content=b"x", headers={"origin": "https://models.example.org"}).json() == 1
    assert asked.post("/take", content=b"x", headers={"origin": "https://example.org"}).status_code == 403
    assert client(Rules(names=("models.example.org",))).get("/health").status_code == 200


def test_another_site_can_link_to_a_page_but_not_have_it_work():
    asked = client()
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert asked.get("/health", headers=link).status_code == 200
    image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert asked.get("/health", headers=image).status_code == 403
    frame = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert asked.get("/health", headers=frame).status_code == 403


def test_others_need_the_token():
    asked = client(Rules(host="0.0.0.0", token=TOKEN), "http://192.168.1.5:8000")
    assert asked.get("/health").status_code == 200, "that it lives is no secret"
    assert asked.get("/openapi.json").status_code == 401
    for wrong in (
        {"authorization": "Bearer wrong"},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"token={TOKEN}"},
    ):
        answered = asked.get("/openapi.json", headers=wrong)
        assert answered.status_code == 401
        assert TOKEN not in answered.text
        assert answered.headers["www-authenticate"] == "Bearer"
    right = {"authorization": f"Bearer {TOKEN}"}
    assert asked.get("/openapi.json", headers=right).status_code == 200
    assert asked.post("/take", content=b"x", headers=right).json() == 1
    assert asked.get("/openapi.json", headers={**right, "host": "evil.example"}).status_code == 421


def test_a_page_is_opened_with_the_token_once():
    asked = client(Rules(host="0.0.0.0", token=TOKEN), "http://192.168.1.5:8000")
    opened = asked.get(f"/openapi.json?a=1&token={TOKEN}", follow_redirects=False)
    assert (opened.status_code, opened.headers["location"]) == (303, "/openapi.json?a=1")
    assert "HttpOnly; SameSite=Strict" in opened.headers["set-cookie"]
    assert asked.get("/openapi.json").status_code == 200, "the cookie is enough from then on"
    for path in ("//evil.example/x", "/%5C%5Cevil.example/x", "///evil.example/x"):
        away = asked.get(f"http://192.168.1.5:8000{path}?token={TOKEN}", follow_redirects=False)
        assert away.headers["location"] == "/evil.example/x", "nobody is sent to another site"
    split = asked.get(f"/a%0d%0aset-cookie:x=y?token={TOKEN}", follow_redirects=False)
    assert split.headers["location"] == "/a%0D%0Aset-cookie%3Ax%3Dy", "a path adds no header"


@pytest.mark.parametrize("size", [99, 100, 101, 500, 100_000])
@pytest.mark.parametrize("said", [True, False], ids=["length said", "in parts"])
def test_a_body_is_counted(size, said):
    asked = client(Rules(most=100))
    body = b"x" * size
    answered = asked.post("/take", content=body if said else iter([body[:60], body[60:]]))
    if size <= 100:
        assert answered.json() == size
    else:
        assert answered.status_code == 413
        assert "100 bytes" in answered.json()["error"]


def test_what_nobody_foresaw_is_a_sentence(caplog):
    app = application()

    @app.get("/broken")
    async def broken() -> None:
        raise KeyError("/secret/path")

    @app.get("/mistake")
    async def mistake() -> None:
        raise UserError("give n=, at least 1")

    asked = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answered = asked.get("/broken")
    assert answered.status_code == 500
    assert "secret" not in answered.text
    assert "Traceback" not in answered.text
    assert "secret" in caplog.text, "whoever runs the server finds it"
    assert asked.get("/mistake").json() == {"error": "give n=, at least 1"}
    assert asked.get("/mistake").status_code == 422
    assert asked.get("/none").json() == {"error": "there is nothing at this address"}
    refused = asked.delete("/mistake")
    assert (refused.status_code, refused.json()["error"]) == (405, "this address does not take DELETE; it takes GET")


def test_other_addresses_make_a_token():
    assert rules_for("127.0.0.1", "").token == ""
    assert len(rules_for("0.0.0.0", "").token) >= 32
    assert rules_for("0.0.0.0", "").token != rules_for("0.0.0.0", "").token
    for short in ("abc", "with a blank in the middle", 'with"quotes"in-the-middle'):
        with pytest.raises(UserError, match="at least 16"):
            rules_for("0.0.0.0", short)
    with pytest.raises(AssertionError):
        Rules(host="0.0.0.0")


def test_answers_do_not_wait_for_an_acknowledgement():
    """asyncio turns Nagle's algorithm off for sockets that say that they are TCP; without, every answer is 40 ms late."""
    for host in ("127.0.0.1", "localhost"):
        with listen(host, 0) as taken:
            assert taken.proto == socket.IPPROTO_TCP


def test_a_port_that_is_taken_is_said():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address(Rules(), taken) == f"http://127.0.0.1:{port}/"
        with pytest.raises(UserError, match=f"port={port} is taken"):
            listen("127.0.0.1", port)
    for host in ("no.such.host.example.invalid", "203.0.113.7", "a b"):
        with pytest.raises(UserError, match="no address of this machine"):
            listen(host, 0)
