"""Draw new data from a system."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.use.source import Source, draw, generator_for, open_system, options, require

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def sample(source: Source, n: Count = 64, seed: Seed = 0, **own: Any) -> Tensor:
    """Draw `n` samples: float32 [n, C, H, W] in [-1, 1], or [n, D] for points. The same seed gives the same samples.

    Args:
        source: A run, its path, or a system.
        n: How many.
        seed: Which.
        own: Options of the system's own `sample`, such as temperature or label.

    Raises:
        UserError: The system does not sample, or has no such option.
    """
    if n < 1:
        raise UserError(f"n={n} is not allowed; give at least 1")
    system = open_system(source)
    require(system, "samples", verb="sample")
    return draw(system, n, generator_for(system, seed), options(system, "sample", own, verb="sample"))
