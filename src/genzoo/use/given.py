"""Samples that come from elsewhere: a folder of images or an array file, as uint8 and at their own size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, open_data
from genzoo.data.arrays import ArrayFile, _grey_levels
from genzoo.data.decode import Form, Refused, pixels, probe, quiet_decoding
from genzoo.use.images import image_files
from genzoo.use.source import Source

RUN_FILES = ("config.toml", "config.json", "model.safetensors", "model", "metrics.json")
"""What makes a folder a run, an export or an evaluation, and no folder of images."""


@dataclass(frozen=True)
class Given:
    """Samples of unknown origin.

    Args:
        images: uint8 [N, C, H, W].
        path: Where they were found.
        notes: What was chosen or left out, in sentences.
    """

    images: Tensor
    path: Path
    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where an evaluation of them is kept: beside them, because a folder of samples holds samples only."""
        return self.path.with_name(f"{self.path.name}-evaluation")


def is_given(source: Source) -> bool:
    """True for the path of a folder of images or of an array file; False for runs, exports and systems."""
    if isinstance(source, System) or not isinstance(getattr(source, "path", source), (str, Path)):
        return False
    path = Path(getattr(source, "path", source)).expanduser()
    if path.is_dir():
        return not any((path / name).exists() for name in RUN_FILES)
    return path.is_file() and path.suffix.lower() in (".npz", ".npy")


def open_given(source: str | Path) -> Given:
    """Read samples.

    Raises:
        UserError: There is no image, only one, or images of several sizes; or an array that holds no images.
    """
    path = Path(source).expanduser()
    given = _folder(path) if path.is_dir() else _arrays(path)
    if len(given.images) < 2:
        raise UserError(f"'{path}' holds one image; a measure of samples takes at least two")
    return given


def _arrays(path: Path) -> Given:
    stock = ArrayFile(path).stock("image")
    found: list[Any] = [
        _grey_levels(p.array, f"{path} '{p.title}'", stock)  # type: ignore[attr-defined]
        for p in stock.pictures.values()
    ]
    if len({a.shape[1:] for a in found}) > 1:
        raise UserError(
            f"'{path}' holds images of several shapes: {', '.join(str(a.shape) for a in found)}; give one array of samples"
        )
    return Given(torch.from_numpy(np.array(np.concatenate(found))), path, list(stock.notes))


def _folder(path: Path) -> Given:
    forms: Counter[tuple[int, int]] = Counter()
    gray, left, usable = 0, [], []
    with quiet_decoding():
        for file, name in image_files(path):
            try:
                with open(file, "rb") as f:
                    height, width, channels = probe(f)
            except Refused as reason:
                left.append(f"{name}: {reason}")
                continue
            forms[height, width] += 1
            gray += channels == 1
            usable.append(file)
        if not usable:
            why = f" (left out: {'; '.join(left[:3])})" if left else ""
            raise UserError(f"'{path}' is neither a run nor a folder of images{why}")
        if len(forms) > 1:
            seen = ", ".join(f"{n} of {h}x{w}" for (h, w), n in forms.most_common(3))
            raise UserError(
                f"'{path}' holds images of {len(forms)} sizes ({seen}); a measure of them would measure their resizing. "
                "Bring them to one size first"
            )
        ((height, width),) = forms
        form = Form(height, width, 1 if gray == len(usable) else 3)
        images = []
        for file in usable:
            with open(file, "rb") as f:
                try:
                    images.append(pixels(f, form))
                except Refused as reason:
                    left.append(f"{file.name}: {reason}")
    if not images:
        raise UserError(f"'{path}' holds no image that can be read: {left[0]}")
    notes = [f"{len(left)} files left out: {'; '.join(left[:3])}"] if left else []
    return Given(torch.from_numpy(np.stack(images)), path, notes)


def real_for(given: Given, data: DataSettings, split: str, *, quiet: bool = True) -> tuple[Dataset, str]:
    """Open real data to compare samples with, at its own size where that is the samples' and else brought to theirs.

    Returns:
        The data, and a sentence on what was done to them, or nothing.
    """
    shape = tuple(given.images.shape[1:])
    dataset = open_data(data, split=split, quiet=quiet)
    if "image" not in dataset.fields or tuple(dataset.facts()["shape"]) == shape:
        return dataset, ""
    own = "x".join(map(str, dataset.facts()["shape"]))
    changed = {**data.__dict__, "size": tuple(shape[1:]), "channels": shape[0], "crop": None}
    dataset = open_data(DataSettings(**changed), split=split, quiet=quiet)
    return dataset, f"real images brought from {own} to the samples' {'x'.join(map(str, shape))} ({data.resize})"
