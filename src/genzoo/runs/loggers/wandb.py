"""Weights & Biases: offline in the run folder's `wandb/`, which `wandb sync` sends; online where $WANDB_MODE says so."""

from __future__ import annotations

import os
import secrets

from genzoo.core.files import write_atomic
from genzoo.runs.loggers import About
from genzoo.runs.loggers._by_run import ByRun

PACKAGE = "wandb"


def make(about: About) -> ByRun:
    """Open a run, the same one when training is resumed: its id is kept in `wandb/id`."""
    import wandb as module

    (about.folder / "wandb").mkdir(exist_ok=True)
    kept = about.folder / "wandb" / "id"
    if not kept.exists():
        write_atomic(kept, secrets.token_hex(8).encode())
    run = module.init(
        project=os.environ.get("WANDB_PROJECT", "genzoo"), name=about.name, id=kept.read_text(encoding="utf-8"), resume="allow",
        dir=str(about.folder), mode=os.environ.get("WANDB_MODE", "offline"), config=about.settings(), reinit="create_new",
        settings=module.Settings(silent=True, console="off"),
    )  # fmt: skip
    return ByRun(module, run)
