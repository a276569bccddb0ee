"""Let other programs use a trained system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from genzoo.cli.serving import start
from genzoo.cli.table import Command

if TYPE_CHECKING:
    from genzoo.web.guard import Rules

COMMAND = Command(
    "a trained system for other programs: HTTP with OpenAPI",
    "RUN [port=8000 host= token=]",
    place=61,
    device=True,
)


def serve(
    run: str,
    port: Annotated[int, Field(ge=0, le=65535)] = 8000,
    host: str = "127.0.0.1",
    token: str = "",
    names: tuple[str, ...] = (),
    waiting: Annotated[int, Field(ge=1, le=10_000)] = 64,
    together: Annotated[int, Field(ge=1, le=4096)] = 256,
    upload: Annotated[int, Field(ge=1, le=1024)] = 32,
) -> None:
    """Answer other programs until Ctrl-C or SIGTERM, which let what runs end. It needs the extra: pip install 'genzoo[studio]'.

    Args:
        run: A run or an exported folder; zoo:NAME or hf:OWNER/NAME.
        port: Port; 0 takes one that is free.
        host: Address to listen at. This machine alone reaches 127.0.0.1; any other one, such as 0.0.0.0, needs a token.
        token: What has to be shown where others can reach the server; made and printed when not given.
        names: Further names that it is reached by, such as that of a proxy: names=models.example.org,localhost.
        waiting: Requests that may wait; more are answered by 503 with Retry-After.
        together: Examples of waiting requests that are computed at once; 1 joins none.
        upload: Largest body in MiB; larger ones are answered by 413.
    """

    def made(rules: Rules, device: str) -> Any:
        from genzoo.server.app import server

        return server(run, rules=rules, device=device, waiting=waiting, together=together)

    start(made, host=host, port=port, token=token, names=names, upload=upload, what=f"serving {run}")
