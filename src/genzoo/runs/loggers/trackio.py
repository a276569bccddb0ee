"""Trackio: a database on this machine, where `trackio show --project genzoo` finds it ($TRACKIO_DIR, or Trackio's own folder)."""

from __future__ import annotations

import contextlib
import sys

from genzoo.runs.loggers import About
from genzoo.runs.loggers._by_run import ByRun

PACKAGE = "trackio"


def make(about: About) -> ByRun:
    """Open a run, the same one when training is resumed."""
    import trackio as module

    with contextlib.redirect_stdout(sys.stderr):  # it says where it writes
        run = module.init(project="genzoo", name=about.name, resume="allow", config=about.settings(), embed=False)
    return ByRun(module, run)
