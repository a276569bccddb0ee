"""Train a system on data."""

from __future__ import annotations

from typing import Any

import genzoo
from genzoo.cli.next_steps import tell_next_steps
from genzoo.cli.table import Command

COMMAND = Command(
    "train a system on data",
    "NAME data=DATA [steps=20000 size=64 lr=1e-4 config=mine.toml ...]",
    place=30,
    open="system",
)


def train(system: str, data: str = "", config: str = "", own: dict[str, Any] | None = None) -> None:
    """Train a system on data.

    Args:
        system: System or preset; `genzoo list` shows them.
        data: What to train on: a name, a folder, an archive, an array file; `genzoo data` lists names and forms.
        config: A TOML file of keys, such as a run's config.toml; keys on the command line win.
        own: Settings of the system, of the data, of the training.
    """
    run = genzoo.train(system, data or None, config=config or None, **(own or {}))
    tell_next_steps(run.path)
