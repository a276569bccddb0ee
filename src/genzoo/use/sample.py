"""Draw new data from a system."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.training.preview import EACH, rows_by_label, takes_labels
from genzoo.use.source import Source, draw, generator_for, open_system, options, require

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


USUAL = 64
"""Samples where no number is given."""


def sample(source: Source, n: Count | None = None, seed: Seed = 0, **own: Any) -> Tensor:
    """Draw `n` samples: float32 [n, C, H, W] in [-1, 1], or [n, D] for points. The same seed gives the same samples.

    Args:
        source: A run, its path, or a system.
        n: How many; when not given 64, or 8 of each class, class by class, from a system that takes a label and is given none.
        seed: Which.
        own: Options of the system's own `sample`, such as temperature or label. A label may be a class's name.

    Raises:
        UserError: The system does not sample, or has no such option.
    """
    if n is not None and n < 1:
        raise UserError(f"n={n} is not allowed; give at least 1")
    system = open_system(source)
    require(system, "samples", verb="sample")
    if "label" in own:
        own["label"] = _class_of(system, own["label"])
    given, generator = options(system, "sample", own, verb="sample"), generator_for(system, seed)
    if columns_of(system, n, given):
        return rows_by_label(system, generator, **given).cpu()
    return draw(system, n or USUAL, generator, given)


def columns_of(system: System, n: int | None, given: dict[str, Any]) -> int | None:
    """Images in a row where `sample` draws a row for each class; None where it does not."""
    return EACH if n is None and "label" not in given and takes_labels(system) else None


def _class_of(system: System, label: Any) -> Any:
    """The number of the class that is called `label`; anything that is no class's name is left as it is."""
    names = getattr(system, "trained", {}).get("class_names", [])
    return names.index(str(label)) if str(label) in names else label
