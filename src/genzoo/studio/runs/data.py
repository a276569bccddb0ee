"""A look into a data set before it is trained on: what is in it, what was left out and why, and a sheet of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from genzoo.core import schema
from genzoo.core.errors import UserError
from genzoo.data import DataSettings, contact_sheet, describe, open_data
from genzoo.studio.runs.forms import named
from genzoo.text.keys import in_python

MOST = 500
"""Files that were left out, in a page."""
SHEET = 32
"""Examples in a sheet, where a kind has no number of its own."""


def look(system: str, values: Mapping[str, str]) -> tuple[dict[str, Any], np.ndarray]:
    """Open what a system would be trained on, and describe it.

    Args:
        system: System or preset: it says what kind of data it takes.
        values: What was filled in; settings of the data among them count.

    Returns:
        What `genzoo data show` says, with at most `MOST` files that were left out and their number, and the sheet, uint8 [H, W, C].

    Raises:
        UserError: There are no such data, or they are of another kind.
    """
    entry, _ = named(system)
    known = schema.settings(DataSettings)
    given = {in_python(k): v.strip() for k, v in values.items() if in_python(k) in known and v.strip()}
    if "data" not in given:
        raise UserError("data is missing; type the name of a set, or the path of a folder or a file")
    dataset = open_data(schema.build(DataSettings, given, label="data"), kind=entry.data, quiet=True)
    told = describe(dataset)
    left = told.pop("left_out")
    sheet = contact_sheet(dataset, dataset.kind.usual or SHEET)
    told |= {"left_out": left[:MOST], "left_out_count": len(left), "training": len(dataset), "kind": entry.data}
    return told, dataset.kind.picture(sheet, columns=8)
