"""Draw the figures that a system's paper shows of it: a table of mixed styles, a traversal of codes, a manifold."""

from __future__ import annotations

from typing import Any

from genzoo.core.capabilities import Figures
from genzoo.core.figures import Figure
from genzoo.use.common.source import Source, generator_for, open_system, options, require
from genzoo.use.sample import Seed


def figures(source: Source, seed: Seed = 0, **own: Any) -> dict[str, Figure]:
    """Draw the figures of a system's paper: name -> images, columns and words. The same seed gives the same figures.

    Args:
        source: A run, its path, or a system.
        seed: Which draws they are of.
        own: Options of the system's own `figures`, such as rows or truncation.

    Raises:
        UserError: The system has no figures of its own, or has no such option.
    """
    system = open_system(source)
    drawing = require(system, Figures, verb="figures")
    given = options(system, "figures", own, verb="figures")
    return drawing.figures(generator=generator_for(system, seed), **given)
