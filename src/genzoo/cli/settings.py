"""Show the settings of a signature, as a table for people and as a JSON schema for programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from genzoo.core.schema import FROM_DATA, form, settings, written
from genzoo.text.keys import spoken


def table(target: Callable[..., Any]) -> list[tuple[str, str, str, str]]:
    """List the rows of a settings table: name, default, what is allowed, what it does."""
    return [
        (
            spoken(s.name),
            "from the data" if s.name in FROM_DATA else "required" if s.required else written(s.default),
            s.allowed,
            s.doc,
        )
        for s in settings(target).values()
    ]


def json_schema(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the JSON schema of a signature, with the `Args:` lines as descriptions: what a web form is drawn from."""
    schema = form(target).model_json_schema()
    for name, s in settings(target).items():
        schema["properties"][name]["description"] = s.doc
    return schema
