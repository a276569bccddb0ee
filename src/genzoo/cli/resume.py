"""Go on with a run that was stopped."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import genzoo
from genzoo.cli.next_steps import tell_next_steps
from genzoo.cli.table import Command

COMMAND = Command("go on with a run that was stopped, exactly", "RUN [steps=40000 device=cpu data=PATH]", place=31)


def resume(
    run: str,
    steps: Annotated[int, Field(ge=1)] | None = None,
    device: str = "",
    data: str = "",
    shard: bool | None = None,
) -> None:
    """Go on with a run.

    Args:
        run: The run's folder.
        steps: A new total, to train a finished run longer.
        device: Another device than the run's own: auto, cpu, cuda, cuda:1, mps ...; kept from then on.
        data: Where the run's data are now, if they have moved; other data are refused.
        shard: Under torchrun, whether each process keeps 1/N of the weights alone; as the run has it when not given, and kept from then on.
    """
    tell_next_steps(genzoo.resume(run, steps=steps, device=device or None, data=data or None, shard=shard).path)
