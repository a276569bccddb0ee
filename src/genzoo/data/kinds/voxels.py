"""Voxels: shapes as cubes of cells that are occupied or empty."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.data.arrangements import Arrangement
from genzoo.data.drawing import STILLS
from genzoo.data.kinds import Facts, Kind, register

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from genzoo.data.dataset import Dataset
    from genzoo.data.settings import DataSettings


class Voxels(Kind):
    """Shapes."""

    name = "voxels"
    dims = 4
    thing = "shape"
    values = (
        "float32 [B, 1, D, H, W], 1 where occupied and -1 where empty, of scans grey values between; H points upwards"
    )
    stored = "uint8 [N, 1, D, H, W], 0 and 255, of scans levels between"
    aliases = ("3d", "solids")
    example = "SOLIDS/"
    endings = ("npy", "npz", "mat", "binvox", "obj", "stl", "ply", "off", "glb", "gltf")
    own_settings = {
        ("up",): "up= is the upward axis of shapes",
        ("inside",): "inside= says what of grids of shapes is occupied",
        ("holes",): "holes= is for meshes of shapes",
    }
    mirrored = True
    sides = 3
    models = (".glb", ".stl", ".binvox")
    suffixes = (".gif", *STILLS, ".mp4", ".npz", ".npy", *models)
    files = (".gif", ".png")
    single = ".gif"
    usual = 16
    impossible = ((1, 0, 8, 8), (2, 8, 8, 8), (1, 8, 8), (1, 12, 12, 12))
    previewed = 16
    bits_of = None
    described_by = "voxel statistics"

    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Read grids, fill meshes, and bring whole scans to cubes of grey values."""
        from genzoo.data.entries.shapes import open_shapes
        from genzoo.data.entries.volumes import holds_scans, open_volumes

        if holds_scans(source, self):
            return open_volumes(self, source, settings, split, quiet=quiet)
        return open_shapes(self, source, settings, split, quiet=quiet)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell the shape of a grid, the classes, and that a cell has two levels, of scans 256."""
        return {**super().facts(dataset), "levels": 256 if dataset.window else 2}

    def form_for(self, facts: Facts, trained: Facts) -> dict[str, Any]:
        """Tell the side of the cube that networks take."""
        return {"size": facts["shape"][1]}

    def noise(self, n: int, facts: Facts, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw every cell."""
        import torch

        return {self.name: torch.randint(0, 2, (n, *facts["shape"]), generator=generator) * 2.0 - 1}

    def write_noise(self, folder: Path, n: int, facts: Facts) -> dict[str, Any]:
        """Write an array file."""
        import numpy as np

        cells = np.random.default_rng(0).integers(0, 2, (n, *facts["shape"]), dtype=np.uint8)
        np.save(folder / "data.npy", cells)
        return {"data": str(folder / "data.npy")}

    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Draw one view of each in a grid."""
        from genzoo.data.drawing.shapes import views

        return views(samples, columns=columns)

    def frames(self, samples: Tensor, *, columns: int | None = None) -> list[np.ndarray]:
        """Go once around all of them, side by side."""
        from genzoo.data.drawing.shapes import turn

        return turn(samples, columns=columns)

    def write(self, path: Path, samples: Tensor, facts: Facts, *, columns: int | None = None) -> Path:
        """Write the faces of occupied cells as .glb or .stl, a grid as .binvox, or as every kind is written."""
        if path.suffix.lower() in self.models:
            from genzoo.data.drawing.solids import save_model

            return save_model(path, samples, columns=columns)
        return super().write(path, samples, facts, columns=columns)

    def statistics(self, values: Tensor, facts: Facts) -> Tensor:
        """Describe shapes by place, extent, surface and slabs: as many as the side allows, 8 at most."""
        from genzoo.data.statistics import of_shapes

        return of_shapes(values, threshold=0.0, rings=max(1, min(8, min(values.shape[2:]) // 2)))


register(Voxels())
