"""Weights & Biases: offline in the run folder's `wandb/`, which `wandb sync` sends; online where $WANDB_MODE says so."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.files import write_atomic
from genzoo.runs.loggers import About

PACKAGE = "wandb"


class WeightsAndBiases:
    """Writes to a run of Weights & Biases.

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
        self.run.finish()


def make(about: About) -> WeightsAndBiases:
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
    return WeightsAndBiases(module, run)
