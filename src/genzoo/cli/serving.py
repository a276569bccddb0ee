"""Start a server from a command: the port is taken first, then the model is loaded, and one line says where it is."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import UserError
from genzoo.use.common.source import DEVICE

if TYPE_CHECKING:
    from genzoo.web.guard import Rules

NEEDED = ("fastapi", "uvicorn", "python_multipart")


def start(
    make: Callable[[Rules, str], Any],
    *,
    host: str,
    port: int,
    token: str,
    what: str,
    names: tuple[str, ...] = (),
    upload: int = 32,
) -> None:
    """Serve an application until it is stopped.

    Args:
        make: Makes it, given who may ask, and the device for its models.
        host: Address to listen at.
        port: Port; 0 takes one that is free.
        token: What has to be shown where others can reach it; made when not given and needed.
        what: What is served, in a few words.
        names: Further names that it is reached by.
        upload: Largest body in MiB.

    Raises:
        UserError: The extra is not installed, or the address cannot be had.
    """
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise UserError("pages and servers need the extra: pip install 'genzoo[studio]'")
    from genzoo.web.running import address, listen, rules_for, run

    begun = time.monotonic()
    rules = rules_for(host, token, names=names, most=upload << 20)
    taken = listen(host, port)
    try:
        app = make(rules, DEVICE.get())
    except BaseException:
        taken.close()
        raise
    where = address(rules, taken)

    def ready() -> None:
        print(f"{what}: {where}  (ready after {time.monotonic() - begun:.1f} s; Ctrl-C stops it)", flush=True)

    run(app, taken, ready=ready)
    print("stopped", flush=True)
