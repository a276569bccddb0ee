"""Points: rows of numbers, in the plane or of a table, in their own units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import UserError
from genzoo.data.arrangements import Arrangement
from genzoo.data.kinds import Facts, Kind, register
from genzoo.data.sources.names import POINTS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from genzoo.data.dataset import Dataset
    from genzoo.data.settings import DataSettings


class Points(Kind):
    """Points."""

    name = "points"
    dims = 1
    thing = "point"
    values = "float32 [B, D] in the data's own units"
    stored = "float32 [N, D]"
    bounds = None
    words = ("2d", "tabular", "table")
    example = "moons"
    sets = tuple(POINTS)
    stands_for = ("image",)

    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Read them from a table or an array, or draw them by their definition."""
        found = self._found(source, settings, split, asked=True)
        if found is None:
            raise UserError(
                f"{settings.data} holds images; points are {', '.join(POINTS)}, a table (.csv, .parquet), or an .npy file [N, D] of floats"
            )
        return found

    def offered(self, source: Any, settings: DataSettings, split: str) -> Dataset | None:
        """Read them where a file holds no images, for systems that take both."""
        return self._found(source, settings, split, asked=False)

    def _found(self, source: Any, settings: DataSettings, split: str, *, asked: bool) -> Dataset | None:
        from genzoo.data.entries import tables
        from genzoo.data.sources.arrays import ArrayFile
        from genzoo.data.sources.planar import Planar
        from genzoo.data.sources.tables import TableFile

        if isinstance(source, Planar):
            return tables.drawn(self, source, settings, split)
        found = source.points(asked=asked) if isinstance(source, (ArrayFile, TableFile)) else None
        return None if found is None else tables.read(self, source, found, settings, split)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell the number of columns; levels are those of images, for systems that take both."""
        return {**super().facts(dataset), "levels": 256 if dataset.settings.binarize == "none" else 2}

    def noise(self, n: int, facts: Facts, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw from a Gaussian."""
        import torch

        return {self.name: torch.randn(n, *facts["shape"], generator=generator)}

    def write_noise(self, folder: Path, n: int, facts: Facts) -> dict[str, Any]:
        """Name a set that is drawn."""
        return {"data": self.example}

    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Scatter them in the plane of their first two columns."""
        from genzoo.data.drawing.points import scatter

        return scatter(samples)


register(Points())
