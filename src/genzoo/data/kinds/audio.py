"""Sounds: windows of equal length and rate, in mono."""

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


class Audio(Kind):
    """Sounds."""

    name = "audio"
    dims = 2
    thing = "sound"
    values = "float32 [B, 1, T] in [-1, 1]"
    stored = "int16 [N, 1, T]"
    aliases = ("sound", "sounds", "speech", "music")
    example = "SOUNDS/"
    endings = ("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "caf", "w64")
    own_settings = {("seconds",): "seconds= is the length of a window of sound"}
    suffixes = (".wav", *STILLS, ".npy")
    files = (".wav", ".png")
    single = ".wav"
    previews = (".wav", ".png")
    previewed = 4
    impossible = ((2, 64), (1, 0), (1, 8, 8))
    sequential = True
    bits_of = "sample"
    described_by = "log-mel statistics"

    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Cut every file into windows; whole files are held out."""
        from genzoo.data.entries.sounds import open_sounds

        return open_sounds(self, source, settings, split, quiet=quiet)

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell the length of a window, the classes, and the samples per second."""
        return {**super().facts(dataset), "rate": dataset.rate}

    def to_float(self, values: Tensor, layout: torch.memory_format) -> Tensor:
        """Divide 16-bit samples by 32768."""
        return values if values.is_floating_point() else values.float().div_(32768)

    def form_for(self, facts: Facts, trained: Facts) -> dict[str, Any]:
        """Tell the seconds of a window."""
        return {"seconds": facts["shape"][1] / facts["rate"]}

    def noise(self, n: int, facts: Facts, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw every sample, and one of three labels."""
        import torch

        pcm = torch.randint(-32768, 32768, (n, *facts["shape"]), generator=generator)
        return {self.name: pcm / 32768, "label": torch.randint(0, 3, (n,), generator=generator)}

    def write_noise(self, folder: Path, n: int, facts: Facts) -> dict[str, Any]:
        """Write short noises in three subfolders, one window or a little more each."""
        import numpy as np
        import torch

        from genzoo.data.drawing.sounds import save_wav

        rng, length, rate = np.random.default_rng(0), facts["shape"][1], facts["rate"]
        for i in range(n):
            sound = torch.from_numpy(rng.uniform(-1, 1, (1, length + i))).float()
            save_wav(folder / f"speaker-{i % 3}" / f"{i}.wav", sound, rate)
        return {"data": str(folder), "seconds": length / rate}

    def misfit(self, dataset: Dataset, facts: Facts) -> str:
        """Say that the rates differ."""
        if dataset.rate in (None, facts["rate"]):
            return ""
        return f"{dataset.name} has {dataset.rate} samples per second, this model {facts['rate']}; convert it first"

    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Draw the waveform of each over its spectrogram."""
        from genzoo.data.drawing.sounds import panels

        return panels(samples, columns=columns)

    def write(self, path: Path, samples: Tensor, facts: Facts, *, columns: int | None = None) -> Path:
        """Write them one after another as WAV, or as every kind is written."""
        from genzoo.data.drawing.sounds import save_wav

        if path.suffix.lower() == ".wav":
            return save_wav(path, samples, facts["rate"])
        return super().write(path, samples, facts, columns=columns)

    def statistics(self, values: Tensor, facts: Facts) -> Tensor:
        """Describe sounds by the mean, the deviation and the change of every band of their log-mel spectrogram."""
        from genzoo.data.statistics import of_sounds

        return of_sounds(values, rate=float(facts["rate"]))


register(Audio())
