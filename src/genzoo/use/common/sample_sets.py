"""Samples that come from elsewhere: a folder of images or an array file, as uint8 and at their own size."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, open_data
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.decode.images import pixels, probe, quiet_decoding
from genzoo.data.sources.arrays import ArrayFile, grey_levels
from genzoo.data.sources.contents import ArrayPictures
from genzoo.metrics.held import held
from genzoo.use.common.images import image_files
from genzoo.use.common.source import Source, place_of

RUN_FILES = ("config.toml", "config.json", "model.safetensors", "model", "metrics.json")
"""What makes a folder a run, an export or an evaluation, and no folder of images."""


@dataclass(frozen=True)
class SampleSet:
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
        """Where an evaluation of them is kept; see `evaluation_of`."""
        return evaluation_of(self.path)


def evaluation_of(path: Path) -> Path:
    """Return where an evaluation of samples is kept: beside them, because a folder of samples holds samples only."""
    return path.with_name(f"{path.name}-evaluation")


def is_given(source: Source) -> bool:
    """Tell whether a source is the path of a folder of images or of an array file, and not a run, an export or a system."""
    if isinstance(source, System) or not isinstance(getattr(source, "path", source), (str, Path)):
        return False
    path = place_of(source)
    if path.is_dir():
        return not any((path / name).exists() for name in RUN_FILES)
    return path.is_file() and path.suffix.lower() in (".npz", ".npy")


def open_given(source: str | Path) -> SampleSet:
    """Read samples.

    Raises:
        UserError: There is no image, only one, or images of several sizes; or an array that holds no images.
    """
    path = Path(source).expanduser()
    given = _folder(path) if path.is_dir() else _arrays(path)
    if len(given.images) < 2:
        raise UserError(f"'{path}' holds one image; a measure of samples takes at least two")
    return given


def _arrays(path: Path) -> SampleSet:
    contents = ArrayFile(path).contents("image")
    found = [
        (p.array, grey_levels(p.array, f"{path} '{p.title}'", contents))
        for p in contents.pictures.values()
        if isinstance(p, ArrayPictures)
    ]
    if len({a.shape[1:] for a, _ in found}) > 1:
        raise UserError(
            f"'{path}' holds images of several shapes: {', '.join(str(a.shape) for a, _ in found)}; give one array of samples"
        )
    images = held(
        (torch.from_numpy(np.array(x)[None]) for a, levels in found for x in levels), sum(len(a) for a, _ in found)
    )
    return SampleSet(images, path, list(contents.notes))


def _folder(path: Path) -> SampleSet:
    forms: Counter[tuple[int, int]] = Counter()
    gray, left, usable = 0, [], []
    with quiet_decoding():
        for file, name in image_files(path):
            try:
                with open(file, "rb") as f:
                    height, width, channels = probe(f)
            except Rejected as reason:
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
        form = ImageFormat(height, width, 1 if gray == len(usable) else 3)

        def read() -> Iterator[Tensor]:
            for file in usable:
                with open(file, "rb") as f:
                    try:
                        yield torch.from_numpy(np.array(pixels(f, form))[None])
                    except Rejected as reason:
                        left.append(f"{file.name}: {reason}")

        decoded = read()
        first = next(decoded, None)
        if first is None:
            raise UserError(f"'{path}' holds no image that can be read: {left[0]}")
        images = held(itertools.chain([first], decoded), len(usable))
    notes = [f"{len(left)} files left out: {'; '.join(left[:3])}"] if left else []
    return SampleSet(images, path, notes)


Split = Literal["train", "test", "all"]
"""Which part of data is meant."""


def part_of(
    opened: Callable[..., Dataset], split: Split | None, *, own: bool, holdout: float | None
) -> tuple[Dataset, Dataset | None, str]:
    """Return the part of data that is compared with, and its training part.

    Data that a person names are the test set: their test part where they have one, and else all of them, because nobody has trained on the
    rest. Of the data that a run was trained on it is what training kept for testing.

    Args:
        opened: From `split`, and `holdout` where it is another, to that part.
        split: The part that is asked for, if any.
        own: Whether these are the data that the run was trained on.
        holdout: The share for testing that is asked for, if any.

    Returns:
        The part; training examples for floors and to find copies, where there are others than these; and a sentence, or nothing.

    Raises:
        UserError: There is no such part.
    """
    held = {} if own or holdout else {"holdout": 0.0}
    train = opened(split="train", **held) if held or split in ("train", "all") else None
    whole = bool(held) and train is not None and not all(parts["test"] for parts in train.sizes.values())
    if whole or split == "train":
        assert train is not None
        if split == "test":
            raise UserError(f"{train.name} has no test part; give split=all, or holdout=0.1 for a tenth of it")
        said = "" if split else f"{train.name} has no test part: all of its {len(train):,} examples are compared with"
        return (replace(train, split="all") if whole and split != "train" else train), None, said
    test = opened(split="test", **held)
    if split == "all":
        assert train is not None
        return joined(train, test), None, ""
    if train is None:
        try:
            train = opened(split="train", **held)
        except UserError:
            return test, None, ""
    return test, train, ""


def joined(train: Dataset, test: Dataset) -> Dataset:
    """Join both parts of data to one; of a single example, which is both, the one."""
    if train.digest == test.digest or len(train) == len(test) == 1:
        return replace(train, split="all")
    fields = {name: np.concatenate([train.fields[name], test.fields[name]]) for name in train.fields}
    return replace(
        train, fields=fields, split="all", digest=f"{train.digest} {test.digest}", sentences=None, rows={},
        captions=[*train.captions, *test.captions], texts=[*train.texts, *test.texts],
    )  # fmt: skip


def real_for(given: SampleSet, data: DataSettings, *, quiet: bool = True) -> tuple[Callable[..., Dataset], str]:
    """Choose how real data are opened to compare samples with: at their own size where that is the samples' and else brought to theirs.

    Returns:
        What opens a part of the data (see `part_of`), and a sentence on what was done to them, or nothing.
    """
    shape = tuple(given.images.shape[1:])
    dataset = open_data(data, quiet=quiet)
    note, settings = "", data
    if "image" in dataset.fields and tuple(dataset.facts()["shape"]) != shape:
        own = "x".join(map(str, dataset.facts()["shape"]))
        settings = replace(data, size=(shape[1], shape[2]), channels=shape[0], crop=None)
        note = f"real images brought from {own} to the samples' {'x'.join(map(str, shape))} ({data.resize})"

    def opened(split: str, **changes: Any) -> Dataset:
        return open_data(replace(settings, **changes), split=split, quiet=quiet)

    return opened, note
