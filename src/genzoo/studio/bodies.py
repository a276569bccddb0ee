"""What pages send: the parts that the routes share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from genzoo.core.errors import UserError

Seed = Annotated[int, Field(ge=0, lt=2**53)]
"""A seed, which a page can hold as a number."""
Options = Annotated[dict[str, Any], Field(max_length=20)]
"""Options of a system's own method."""


class Body(BaseModel):
    """What a page sends: nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class Own(Body):
    """A picture (or a sound) that was sent before."""

    picture: Annotated[str, Field(max_length=40)]


def plain(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out the options that are not set.

    Raises:
        UserError: An option is a list or a table.
    """
    for key, value in options.items():
        if isinstance(value, (list, dict)):
            raise UserError(f"{key[:40]} takes a word or a number")
    return {k: v for k, v in options.items() if v is not None and v != ""}
