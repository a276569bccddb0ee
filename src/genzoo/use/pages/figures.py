"""Charts, through matplotlib: an empty drawing, and a drawing as a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic


def new_figure(columns: int, rows: int = 1) -> tuple[Any, Any]:
    """Make an empty drawing with its axes.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("drawings need matplotlib, which is not installed: pip install 'genzoo[plot]'") from None
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns)


def save_figure(figure: Any, path: Path) -> Path:
    """Write a drawing as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return write_atomic(path, buffer.getvalue())
