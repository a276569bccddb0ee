"""The programs whose checkpoints are taken in: one file each in `tables/`, which declares `UPSTREAM` and the functions `knows` and `take`.

`knows(piece)` tells whether a piece is of that program. `take(pieces, given)` returns the arguments of our system that follow from the
shapes of those pieces, and an account of every tensor (`Keys`). Everything else is done by `taking`, for all of them alike.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from genzoo.foreign.keys import Keys
from genzoo.foreign.reading import Piece


@dataclass(frozen=True)
class Upstream:
    """A program whose checkpoints are taken in.

    Args:
        line: What it is, in one line.
        system: Our system that it becomes.
        files: Files that are given, as their program calls them.
        address: Where it is published.
        licence: Of the program; what weights may be used for is said where they are published.
        needs: Parts of our system without which it is of no use.
        learns: Parts that only learning needs: where there are none in the files, fresh ones are put in and said to be.
        notes: What is not taken over, or differs.
        name: The name of its file. Left to who reads the file.
        module: The file. Left to who reads it.
    """

    line: str
    system: str
    files: str
    address: str
    licence: str
    needs: tuple[str, ...]
    learns: tuple[str, ...] = ()
    notes: str = ""
    name: str = ""
    module: ModuleType | None = None

    def knows(self, piece: Piece) -> bool:
        """Tell whether a piece is of this program."""
        known: bool = self.module.knows(piece)  # type: ignore[union-attr]
        return known

    def take(self, pieces: Sequence[Piece], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Keys]]:
        """Return the arguments that follow from the pieces, and the account of their tensors."""
        taken: tuple[dict[str, Any], list[Keys]] = self.module.take(pieces, given)  # type: ignore[union-attr]
        return taken


@functools.cache
def upstreams() -> dict[str, Upstream]:
    """Every program by name."""
    found = {}
    for path in sorted((Path(__file__).parent / "tables").glob("*.py")):
        if not path.name.startswith("_"):
            module, name = importlib.import_module(f"genzoo.foreign.tables.{path.stem}"), path.stem.replace("_", "-")
            found[name] = replace(module.UPSTREAM, name=name, module=module)
    return found
