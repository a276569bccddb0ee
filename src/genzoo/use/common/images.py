"""Images and data that a verb works on: files at their own size, or batches in the form that a run was trained on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import NoSuchData, UserError, nearest
from genzoo.core.schema import build, check
from genzoo.core.system import Batch, System
from genzoo.data import Batches, Dataset, DataSettings, kinds, open_data, seen_from, to_float
from genzoo.data.decode import sounds as sound
from genzoo.data.decode import stills
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.formats import unusable
from genzoo.data.windows import resolved
from genzoo.saved.published import is_published


def channels_of(system: System) -> int:
    """Count the channels of the images that a system takes; 3 where it does not say."""
    shape = system.hparams.get("shape", ())
    return int(shape[0]) if len(shape) in (3, 4) else 3


def size_of(system: System) -> tuple[int, int] | None:
    """Return height and width of the images, or of the frames, that a system takes; None where they may have any."""
    shape = system.hparams.get("shape", ())
    if len(shape) not in (3, 4) or kinds.declared(system.data)[1].single:
        return None
    return int(shape[-2]), int(shape[-1])


def channels_in(system: System, direction: str) -> int:
    """Count the channels of the images that a translator takes in a direction: side A may have others than side B."""
    inputs = system.hparams.get("inputs")
    return int(inputs) if inputs and direction.startswith("a") else channels_of(system)


def window_of(system: System) -> tuple[float, float] | None:
    """Return the gray values that are black and white to a system which was trained with `gray_window=`, or on scans."""
    chosen = getattr(system, "trained", {}).get("window")
    given = chosen or resolved(trained_on(system).get("gray_window"))
    return (float(given[0]), float(given[1])) if given else None


def trained_on(system: System) -> dict[str, Any]:
    """Return the settings of the data that a system was trained on; empty where it does not know them.

    Raises:
        UserError: What its file says of them is not possible.
    """
    kept = getattr(system, "trained", {}).get("data")
    return check(DataSettings, kept, label=f"{system.origin}: data") if kept else {}


def read_image(
    path: str | os.PathLike[str],
    channels: int,
    *,
    size: tuple[int, int] | None = None,
    window: tuple[float, float] | None = None,
) -> Tensor:
    """Read an image as [C, H, W] in [-1, 1], at its own size or scaled and cut to `size`.

    Args:
        path: The file.
        channels: 1 gray, 3 RGB; 2 and 4 with transparency.
        size: Height and width.
        window: Gray values that become -1 and 1, see `window_of`; 16 bits of them are read.

    Raises:
        UserError: There is no such file, or it is no image; the message says why.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    try:
        with open(path, "rb") as file:
            header = stills.look(file, path.name)
            ends, notes = stills.alone(file, header) if window is None else ((), [])
            file.seek(0)
            bits = 8 if window is None else 16
            form = ImageFormat(*(size or header.shape[:2]), channels, bits=bits, window=window, ends=ends)
            array = stills.pixels(file, form)
    except Rejected as reason:
        raise UserError(unusable(str(path), reason)) from None
    for note in notes:
        print(f"'{path}': {note}", file=sys.stderr)
    return torch.from_numpy(array.astype(np.float32)).div(127.5 if bits == 8 else 32767.5).sub(1)


def read_sound(path: str | os.PathLike[str], rate: int) -> Tensor:
    """Read a sound as [1, T] in [-1, 1], mono: several channels are averaged, another rate is brought to `rate`, and said.

    Raises:
        UserError: There is no such file, or it is no sound.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, beside)}")
    try:
        with open(path, "rb") as file:
            said = sound.probe(file, path.name)
            scale = sound.scale_of([sound.peak(file, path.name)]) if said.floats else 1.0
            values = sound.mono(sound.samples(file, scale, path.name).values)
    except Rejected as reason:
        raise UserError(f"'{path}' is no usable sound: {reason}") from None
    if said.rate != rate:
        print(f"'{path}' has {said.rate} samples per second and is resampled to the model's {rate}", file=sys.stderr)
        values = sound.at_rate(values, said.rate, rate)
    return torch.from_numpy(values.copy()).float().div(32768)[None]


def image_files(path: str | os.PathLike[str]) -> Iterator[tuple[Path, Path]]:
    """Yield the file at `path`, or the files below it, each with its path relative to the start.

    Raises:
        UserError: There is nothing at `path`.
    """
    path = Path(path).expanduser()
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file or folder '{path}'{nearest(path.name, beside)}")
    if path.is_file():
        yield path, Path(path.name)
        return
    for found in sorted(path.rglob("*")):
        if found.is_file() and not found.name.startswith("."):
            yield found, found.relative_to(path)


def data_settings(system: System, data: str | None, **changes: Any) -> DataSettings:
    """Return the settings of the data that a run was trained on, or of other data in the same form.

    Raises:
        UserError: The system does not know its data and `data` is not given.
    """
    trained = trained_on(system)
    if not trained and data is None:
        raise UserError("this system does not know what it was trained on; give data=")
    if data is not None and data != trained.get("data"):
        # Other data comes in the form that the networks take, whatever its own size.
        window = {"gray_window": window_of(system)} if getattr(system, "trained", {}).get("window") else {}
        trained |= {"data": data, "limit": None, **window, **kinds.of(system).form_for(system.hparams, trained)}
    settings = build(DataSettings, {**trained, "flip": False, **changes}, label="data")
    return seen_from(settings, Path(system.origin)) if system.origin and data is None else settings


def open_for(
    system: System, data: str | None = None, *, split: str = "test", quiet: bool = True, **changes: Any
) -> Dataset:
    """Open a split of the run's own data, or of other data in the same form."""
    seed = getattr(system, "trained", {}).get("training", {}).get("seed", 0)
    if not isinstance(seed, int) or seed < 0:
        raise UserError(
            f"{system.origin}: seed={seed!r} of the training is not allowed; a whole number, at least 0, is expected"
        )
    settings = data_settings(system, data, **changes)
    try:
        dataset = open_data(settings, kind=system.data, split=split, seed=seed, quiet=quiet)
    except NoSuchData as error:
        if data is not None or not system.origin:
            raise
        if is_published(system.origin):
            raise NoSuchData(
                f"what {system.origin} was trained on (data={settings.data}) is not here; give an image, or other data with data="
            ) from error
        raise NoSuchData(
            f"what {system.origin} was trained on (data={settings.data}) is not there any more; if it has moved, "
            f"'genzoo resume {quote(system.origin)} data=PATH' says where it is, or give other data with data="
        ) from error
    if misfit := dataset.kind.misfit(dataset, system.hparams):
        raise UserError(misfit)
    return dataset


def first_batch(system: System, dataset: Dataset, n: int, *, seed: int = 0) -> Batch:
    """Return the first `n` examples in the data's fixed order, on the CPU: images in [-1, 1]."""
    batches = Batches(dataset, min(n, len(dataset)), seed)
    return to_float(batches.in_order(0), torch.device("cpu"))
