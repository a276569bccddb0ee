"""A logger for programs that have a run with `log(values, step=)` and `finish()`, and images of their own: W&B's form, which others follow."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class ByRun:
    """Writes to such a run.

    Args:
        module: The package, which has `Image`.
        run: What its `init` returned.
    """

    def __init__(self, module: Any, run: Any) -> None:
        self.module, self.run = module, run

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        self.run.log(dict(values), step=step)

    def picture(self, step: int, name: str, path: Path) -> None:
        """Log an image."""
        self.run.log({name: self.module.Image(str(path))}, step=step)

    def close(self) -> None:
        """Finish the run; what the package says of it goes to stderr, since stdout is the command's."""
        with contextlib.redirect_stdout(sys.stderr):
            self.run.finish()
