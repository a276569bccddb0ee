"""Video: clips of equally many frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.data.arrangements import Arrangement
from genzoo.data.drawing import STILLS
from genzoo.data.formats import FILMS
from genzoo.data.kinds import Facts, Kind, register
from genzoo.data.sources.names import MOVING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from genzoo.data.dataset import Dataset
    from genzoo.data.settings import DataSettings


class Video(Kind):
    """Clips."""

    name = "video"
    dims = 4
    thing = "clip"
    values = "float32 [B, C, T, H, W] in [-1, 1]"
    stored = "uint8 [N, C, T, H, W]"
    aliases = ("videos", "clips")
    example = "moving-digits"
    sets = tuple(MOVING)
    endings = ("gif", *(ending[1:] for ending in FILMS))
    own_settings = {("frames", "stride", "hop", "fps"): "frames=, stride=, hop= and fps= are for video"}
    mirrored = True
    sides = 2
    suffixes = (".gif", *STILLS, ".mp4", ".npz", ".npy")
    files = (".gif", ".png")
    single = ".gif"
    previews = (".gif", ".png")
    usual = 16
    colours = True
    impossible = ((1, 0, 8, 8), (1, 1, 8, 8), (1, 8, 8))
    previewed = 16
    bits_of = None
    described_by = "video statistics"

    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Cut every file into clips; whole files are held out."""
        from genzoo.data.entries.clips import open_clips

        return open_clips(self, source, settings, split, quiet=quiet)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell the shape of a clip, the classes, and the grey levels."""
        return {**super().facts(dataset), "levels": 256}

    def form_for(self, facts: Facts, trained: Facts) -> dict[str, Any]:
        """Tell the frames, the size and the channels that networks take."""
        channels, frames, *size = facts["shape"]
        return {"frames": frames, "size": tuple(size), "channels": channels}

    def noise(self, n: int, facts: Facts, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw every level."""
        import torch

        return {self.name: torch.randint(0, 256, (n, *facts["shape"]), generator=generator) / 127.5 - 1}

    def write_noise(self, folder: Path, n: int, facts: Facts) -> dict[str, Any]:
        """Write an array file."""
        import numpy as np

        levels = np.random.default_rng(0).integers(0, 256, (n, *facts["shape"]), dtype=np.uint8)
        np.save(folder / "data.npy", levels)
        return {"data": str(folder / "data.npy"), "frames": facts["shape"][1]}

    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Draw a row of frames for each; with `columns` the middle frame of each."""
        from genzoo.data.drawing.clips import strips

        return strips(samples, columns=columns)

    def frames(self, samples: Tensor, *, columns: int | None = None) -> list[np.ndarray]:
        """Show all clips at once, side by side."""
        from genzoo.data.drawing.clips import frames

        return frames(samples, columns=columns)

    def statistics(self, values: Tensor, facts: Facts) -> Tensor:
        """Describe clips by means, deviations and changes in parts of the picture."""
        from genzoo.data.statistics import of_clips

        return of_clips(values)


register(Video())
