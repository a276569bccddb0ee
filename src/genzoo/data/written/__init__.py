"""Data sets in the forms that other programs read, one file each: what `genzoo data export to=FORM` writes.

A form is a module with `WHAT`, a line about it, `SUFFIX`, the ending of its file (empty: a folder), `PARTS`, how many parts it holds,
`check(parts)`, which refuses what it cannot hold and tells what it has no place for, and `write(path, parts, advance)`.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError, disk_full_is_said, nearest
from genzoo.core.files import replacing
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.dataset import Dataset
from genzoo.data.opening import open_data
from genzoo.data.progress import bar
from genzoo.data.settings import DataSettings

FORMS = tuple(
    sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))
)
_FEW = 256
"""Images that are encoded together."""


@dataclass(frozen=True)
class Part:
    """The training or the test part.

    Args:
        name: train or test.
        images: uint8 [N, C, H, W].
        labels: Class of each, int64 [N]; None without classes.
        class_names: Their names.
        texts: Captions of each; empty without captions.
        files: What each is called in the data; empty where they have no names.
    """

    name: str
    images: Any
    labels: np.ndarray | None = None
    class_names: Sequence[str] = ()
    texts: Sequence[Sequence[str]] = ()
    files: Sequence[str] = field(default=())

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def shards(self, size: int) -> list[int]:
        """Return how many images each shard has, of so many at most."""
        return [min(size, len(self) - start) for start in range(0, len(self), size)]

    def encoded(self, advance: Callable[[int], None]) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the PNG file of every image."""
        with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 8))) as pool:
            for start in range(0, len(self), _FEW):
                rows = np.array(self.images[start : start + _FEW])
                yield from enumerate(pool.map(png, rows), start)
                advance(len(rows))

    def file(self, i: int) -> str:
        """Return what an image is called, ending in .png; its number where it has no name."""
        return f"{PurePosixPath(self.files[i]).stem or i}.png" if self.files else f"{i:07d}.png"


def png(image: np.ndarray) -> bytes:
    """Encode an image, uint8 [C, H, W] of 1 to 4 channels, as PNG."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    out = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(out, "PNG")
    return out.getvalue()


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")


def form(name: str) -> ModuleType:
    """Return the module of a form.

    Raises:
        UserError: There is none of that name.
    """
    if name in FORMS:
        return _module(name)
    asked = f"to={name} is not known{nearest(name, FORMS) or '.'}" if name else "to= is missing."
    told = "; ".join(f"{f}, {_module(f).WHAT}" for f in FORMS)
    raise UserError(f"{asked} Forms: {told}")


def parts_of(settings: DataSettings, kind: str, split: str, *, quiet: bool) -> list[Part]:
    """Open the parts that a data set has, or the one that is wanted.

    Raises:
        UserError: There is no such data, or it is none of single images.
    """
    wanted, arrangement = kinds.declared(kind)
    if wanted.name != PLAIN.of or arrangement.two or arrangement.single:
        raise UserError(f"data export writes images, alone, with labels or with captions; kind={kind} is none of these")
    first = open_data(settings, kind=kind, split=split or "train", quiet=quiet)
    if PLAIN.of not in first.fields:
        raise UserError(f"data export writes images; {settings.data} is of {', '.join(first.fields)}")
    parts = [_part(first, first.split)]
    if not split and first.sizes[PLAIN.of].get("test") and (settings.holdout or len(first) > 1):
        parts.append(_part(open_data(settings, kind=kind, split="test", quiet=True), "test"))
    return parts


def _part(dataset: Dataset, name: str) -> Part:
    images = dataset.fields[PLAIN.of]
    if images.dtype != np.uint8:
        raise UserError(f"{dataset.name}: images of {images.dtype} are not written; leave out bits=")
    label = dataset.fields.get("label")
    texts = dataset.texts if any(dataset.texts) else []
    return Part(name, images, label, dataset.class_names, texts, dataset.names_of(PLAIN.of))


def export_data(
    settings: DataSettings, to: str, out: Path, *, kind: str = PLAIN.of, split: str = "", quiet: bool = False
) -> list[str]:
    """Write a data set in the form that another program reads; whole, or not at all.

    Args:
        settings: Which data, in what form.
        to: One of `FORMS`.
        out: The file or folder; it is made.
        kind: image, labelled or captioned.
        split: train or test; all that there is when empty.
        quiet: Say nothing on stderr.

    Returns:
        What was written, and what the form has no place for, in sentences.

    Raises:
        UserError: The data cannot be opened or are not of that form, or `out` is there and not empty.
    """
    writer = form(to)
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"out={out} is a folder with files in it; give another name")
    parts = parts_of(settings, kind, split, quiet=quiet)
    notes = list(writer.check(parts))
    parts = parts[: writer.PARTS]
    out.parent.mkdir(parents=True, exist_ok=True)
    size = sum(int(np.prod(p.images.shape)) for p in parts)
    with (
        bar(sum(map(len, parts)), f"writing {out.name}", quiet) as advance,
        disk_full_is_said(out, size),
        replacing(out) as draft,
    ):
        writer.write(draft, parts, advance)
    _, channels, height, width = parts[0].images.shape
    told = " and ".join(f"{len(p):,} for {p.name}ing" for p in parts)
    classes = f", {len(parts[0].class_names)} classes" if parts[0].labels is not None else ""
    captions = f", {sum(len(t) for p in parts for t in p.texts):,} captions" if any(p.texts for p in parts) else ""
    return [f"{told}: {height}x{width}, {channels} channel{'s' * (channels > 1)}{classes}{captions}", *notes]
