"""Open the zoo as a page on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from genzoo.cli.table import Command
from genzoo.core.errors import UserError

if TYPE_CHECKING:
    from genzoo.web.guard import Rules

COMMAND = Command(
    "the zoo as a page on this machine: runs live, play, train, compare",
    "[FOLDER] [port=8600 host= token=]",
    place=60,
    device=True,
)


def studio(
    folder: str = "runs",
    port: Annotated[int, Field(ge=0, le=65535)] = 8600,
    host: str = "127.0.0.1",
    token: str = "",
) -> None:
    """Open the zoo as a page on this machine. It needs the extra: pip install 'genzoo[studio]'.

    Args:
        folder: Folder of the runs.
        port: Port of the page; 0 takes one that is free.
        host: Address to listen at. This machine alone reaches 127.0.0.1; any other one needs a token.
        token: What has to be shown where others can reach the page; made and printed when not given.
    """
    if not Path(folder).expanduser().is_dir() and folder != "runs":
        raise UserError(f"there is no folder '{folder}'; give the folder of your runs")
    from genzoo.cli.serving import start

    def made(rules: Rules, device: str) -> Any:
        from genzoo.studio.app import studio as make

        return make(folder, rules=rules, device=device)

    start(made, host=host, port=port, token=token, what=f"studio of {folder}")
