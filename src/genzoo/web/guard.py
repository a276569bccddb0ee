"""Who may ask: the Host and the Origin of every request are checked, and a token where others than this machine can reach the server.

A page of anywhere else can have a browser send requests to a server on this machine. Three things stand against that: a name that an attacker
has pointed to this machine is no Host of ours (DNS rebinding); what a browser sends for another page says so in Origin or Sec-Fetch-Site; and
no answer may be shown inside another page.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from genzoo.web.errors import TooLargeBody, answer

Scope = Any
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
MOST = 32 << 20
"""Bytes of a body that are taken."""
PATIENCE = 30.0
"""Seconds to wait for the next part of a body."""
OPEN = ("/health",)
"""Paths that need no token: that the server lives is no secret."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Nothing is loaded from anywhere else, and no script or style stands inside a page."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every answer that does not set them itself."""


def is_loopback(host: str) -> bool:
    """Tell whether a server at this address is reached from this machine alone.

    >>> [is_loopback(h) for h in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "192.168.1.5")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Rules:
    """Who may ask for what.

    Args:
        host: The address that the server listens at.
        token: What has to be shown where that is not loopback; empty: nothing.
        names: Further names that the server is reached by: the Host of a proxy.
        most: Bytes of a body that are taken.
    """

    host: str = "127.0.0.1"
    token: str = ""
    names: tuple[str, ...] = ()
    most: int = MOST

    def __post_init__(self) -> None:
        assert self.token or is_loopback(self.host), "an address that others reach needs a token"

    @cached_property
    def known(self) -> frozenset[str]:
        """Names that this server is called by."""
        own = () if is_loopback(self.host) else (socket.gethostname().lower(), self.host.lower())
        return frozenset([*LOOPBACK, *own, *(n.lower() for n in self.names)])

    def knows(self, host: str) -> bool:
        """Tell whether the Host of a request (with or without a port) is this server's: a rebound name is not.

        An address in digits is no name that anybody could rebind, and is let pass where the server listens to others.
        """
        name = host_of(host)
        if name is None:
            return False
        if name in self.known:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not is_loopback(self.host)


def new_token() -> str:
    """Make a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def host_of(value: str) -> str | None:
    """Return the name in a Host header, without its port, in lower case; None where it is none.

    >>> host_of("Localhost:8000"), host_of("[::1]:80"), host_of("a b"), host_of("localhost:x")
    ('localhost', '::1', None, None)
    """
    value = value.strip().lower()
    name, _, port = value.rpartition(":") if value.rpartition(":")[1] and not value.endswith("]") else (value, "", "")
    if port and not (port.isascii() and port.isdigit()):
        return None
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return name if name and not set(name) & set(" []/\\@?#:") else None


class Guard:
    """Refuse what the rules refuse, before anything else looks at it, and put the headers on every answer.

    Args:
        app: The application.
        rules: Who may ask.
    """

    def __init__(self, app: Any, rules: Rules) -> None:
        self.app, self.rules = app, rules
        self.cookie = f"genzoo_{secrets.token_hex(4)}"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope["headers"])

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", ())}
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in there]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        if refusal := self.refused(scope, headers):
            await refusal(scope, receive, sent)
            return
        body = _Body(receive, self.rules.most)
        if (given := headers.get("content-length", "")).isdigit() and int(given) > body.most:
            await body.drain()
            error = TooLargeBody(body.most)
            await answer(413, error.detail)(scope, receive, sent)
            return
        await self.app(scope, body.receive, sent)

    def refused(self, scope: Scope, headers: Mapping[str, str]) -> Any:
        """Return the answer that refuses a request, or None where it may pass."""
        host = headers.get("host", "")
        if not self.rules.knows(host):
            return answer(
                421, "this server is not called by the name in the request's Host; open the address that it printed"
            )
        if said := self._elsewhere(scope, headers, host):
            return answer(403, said)
        if not self.rules.token or scope["path"] in OPEN:
            return None
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if any(k == "token" and self._fits(v) for k, v in query) and scope["method"] in SAFE:
            return self._welcome(scope["path"], [(k, v) for k, v in query if k != "token"])
        if any(self._fits(given) for given in self._shown(headers)):
            return None
        words = "a token is needed: send the header 'Authorization: Bearer TOKEN', or open the address with ?token= that the server printed"
        return answer(401, words, {"www-authenticate": "Bearer"})

    def _elsewhere(self, scope: Scope, headers: Mapping[str, str], host: str) -> str:
        """Say that a browser sends this for a page of somewhere else; empty where it does not."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        said = "this request comes from a page of another site, and is refused"
        schemes = ("http", "https") if self.rules.names else (scope["scheme"],)  # a proxy may speak TLS
        own = {f"{scheme}://{host.lower()}" for scheme in schemes}
        if scope["method"] not in SAFE and origin is not None and origin.lower() not in own:
            return said
        opened = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        opened = opened and headers.get("sec-fetch-dest") == "document"
        return said if site not in ("same-origin", "none") and not opened else ""

    def _shown(self, headers: Mapping[str, str]) -> Iterable[str]:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            yield value.strip()
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            found = None
        if found is not None:
            yield found.value

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.rules.token.encode())  # in constant time

    def _welcome(self, path: str, query: list[tuple[str, str]]) -> Any:
        """Keep the token in a cookie that no script reads, and open the page again without it in its address."""
        where = "/" + quote(path.lstrip("/\\")) + (f"?{urlencode(query)}" if query else "")
        cookie = f"{self.cookie}={self.rules.token}; HttpOnly; SameSite=Strict; Path=/"
        return answer(303, "go on", {"location": where, "set-cookie": cookie})


class _Body:
    """A body that is counted as it comes."""

    def __init__(self, receive: Any, most: int) -> None:
        self._receive, self.most, self.got, self.whole = receive, most, 0, False

    async def receive(self) -> Any:
        """Receive the next part.

        Raises:
            TooLargeBody: There is more than is taken.
        """
        if self.whole:
            return await self._receive()  # what comes now is that the client has gone
        message = await self._next()
        if self.got > self.most:
            await self.drain()
            raise TooLargeBody(self.most)
        return message

    async def drain(self) -> None:
        """Read on for a while and keep nothing, so that the client has ended its sending and sees the answer."""
        while not self.whole and self.got < 8 * self.most:
            await self._next()

    async def _next(self) -> Any:
        """Receive and count the next part; who sends nothing for too long has gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                message = await self._receive()
        except TimeoutError:
            message = {"type": "http.disconnect"}
        self.got += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        return message


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by name; of one that stands twice both values, so that no check looks at one and the application at another."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
