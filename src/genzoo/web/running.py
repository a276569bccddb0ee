"""Start an application at an address of this machine, say where it is, and end it cleanly on SIGTERM and Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
from collections.abc import Callable
from typing import Any

from genzoo.core.errors import UserError
from genzoo.web.guard import Rules, is_loopback, new_token

LEAST_TOKEN = 16
"""Characters of a token that somebody chooses, at least."""
GRACE = 30
"""Seconds that requests which are being answered have when the server ends."""


def rules_for(host: str, token: str, **more: Any) -> Rules:
    """Make the rules for an address: loopback is open to this machine, any other one needs a token, which is made where none is given.

    Raises:
        UserError: The token is too short, or holds what no header can.
    """
    if token and (
        len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or set(token) & set(' ",;\\')
    ):
        raise UserError(
            f"token= has to have at least {LEAST_TOKEN} letters, digits or signs, without blanks; leave it out and one is made and printed"
        )
    if not token and not is_loopback(host):
        token = new_token()
    return Rules(host=host, token=token, **more)


def listen(host: str, port: int) -> socket.socket:
    """Take a port, before anything is loaded; port 0 takes one that is free.

    Raises:
        UserError: It is taken, or the address is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        # The protocol is said: asyncio turns Nagle's algorithm off only for sockets that say it, and answers would wait 40 ms without.
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):
        raise UserError(
            f"host={host} is no address of this machine; give 127.0.0.1, or 0.0.0.0 for all of them"
        ) from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port={port} is taken by another program; give another one, or port=0 for any that is free"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(f"port={port} is not for everybody; give one above 1023") from None
        raise UserError(
            f"host={host} is no address of this machine; give 127.0.0.1, or 0.0.0.0 for all of them"
        ) from None
    return found


def address(rules: Rules, taken: socket.socket) -> str:
    """Return the address to open, with the token where one is needed."""
    host = f"[{rules.host}]" if ":" in rules.host else rules.host
    return f"http://{host}:{taken.getsockname()[1]}/" + (f"?token={rules.token}" if rules.token else "")


def run(app: Any, taken: socket.socket, *, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C: no new request is taken then, and those that are being answered are finished.

    Args:
        app: The application.
        taken: The port, from `listen`.
        ready: Called when requests are answered.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        http="h11",  # httptools, which is taken where it is installed, sets no bound to the headers of a request
        ws="none",
        lifespan="on",
        proxy_headers=False,  # a client does not say who it is
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=10,
        h11_max_incomplete_event_size=64 << 10,
    )
    # uvicorn ends at the signal, cleanly, and raises it again afterwards: that is not to end the process in another way.
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            Server(config).run([taken])
    finally:
        signal.signal(signal.SIGTERM, before)
        taken.close()
