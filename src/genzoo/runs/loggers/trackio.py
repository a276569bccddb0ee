"""Trackio: a database on this machine, where `trackio show --project genzoo` finds it ($TRACKIO_DIR, or Trackio's own folder)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.runs.loggers import About

PACKAGE = "trackio"


class Trackio:
    """Writes to a run of Trackio.

    Args:
        module: The package.
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
        """Finish the run."""
        with contextlib.redirect_stdout(sys.stderr):
            self.run.finish()


def make(about: About) -> Trackio:
    """Open a run, the same one when training is resumed."""
    import trackio as module

    with contextlib.redirect_stdout(sys.stderr):  # it says where it writes, and stdout is the command's
        run = module.init(project="genzoo", name=about.name, resume="allow", config=about.settings(), embed=False)
    return Trackio(module, run)
