"""Models that are named and not pointed at: `hf:OWNER/NAME` of the hub, `zoo:NAME` of the package genzoo-zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from genzoo.naming.published import HUB, PUBLISHED


def is_published(place: Any) -> TypeGuard[str]:
    """Tell whether a place is the name of a published model: nothing is looked for in runs/, and nothing is written to it."""
    return isinstance(place, str) and place.startswith(PUBLISHED)


def folder_of(place: str) -> Path:
    """Return the folder of a published model; what is of the hub is fetched first.

    Raises:
        UserError: There is no such model, or what it needs is not installed.
    """
    if place.startswith(HUB):
        from genzoo.saved import hub

        return hub.fetched(place)
    from genzoo.saved import zoo

    return zoo.folder_of(place)
