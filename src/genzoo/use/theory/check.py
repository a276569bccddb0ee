"""What a part of the theory returns: numbers from a formula beside the same numbers computed another way, and a drawing."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.core.pictures import write_atomic


@dataclass(frozen=True)
class Check:
    """One claim and how it came out.

    Args:
        claim: What is claimed, with the formula.
        formula: The value from the formula.
        found: The value computed another way.
        tolerance: The largest difference that still agrees, absolute; it says how exact the other way is.
        how: That other way, in words.
    """

    claim: str
    formula: float
    found: float
    tolerance: float
    how: str

    @property
    def holds(self) -> bool:
        """The two values agree within the tolerance."""
        return abs(self.formula - self.found) <= self.tolerance


def new_figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    """An empty drawing with its axes.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawings need matplotlib, which is not installed: pip install 'genzoo[plot]'") from None
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns)


def save(figure: Any, path: Path) -> Path:
    """Write a drawing as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return write_atomic(path, buffer.getvalue())
