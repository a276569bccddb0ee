"""Write a model into a plain folder."""

from __future__ import annotations

import genzoo
from genzoo.cli.table import Command

COMMAND = Command("the model in a plain folder", "RUN to=FOLDER", place=70)


def export(run: str, to: str, overwrite: bool = False) -> None:
    """Write the model into a plain folder: model.safetensors, config.json, README.md.

    Args:
        run: A run or an exported folder.
        to: A new or empty folder.
        overwrite: Write into a folder that is not empty.
    """
    print(f"wrote {genzoo.export(run, to, overwrite=overwrite)}")
