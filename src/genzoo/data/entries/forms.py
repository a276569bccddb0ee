"""The one form that all images of a set are brought to: chosen from what they have in common, with what there is to say of it."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import replace
from typing import Literal

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode import ranges
from genzoo.data.decode.forms import Header, ImageFormat, Rejected, Shape
from genzoo.data.settings import DataSettings
from genzoo.data.sources.contents import ArrayPictures, Contents, FilePictures
from genzoo.data.sources.layout import printable
from genzoo.data.sources.scans import ends_of_scans
from genzoo.data.windows import resolved

NATIVE = 256
"""Largest common side that is kept as it is where no size is set."""
DEFAULT = 64
"""Size where images differ and no size is set."""


def common_form(shapes: list[Shape], settings: DataSettings, notes: list[str]) -> ImageFormat:
    """Choose the form of all images of these shapes: as set, or what they have in common."""
    height, width = _size(shapes, settings, notes)
    channels = _channels(shapes, settings, notes)
    return ImageFormat(
        height, width, channels, settings.resize, bits=settings.bits, window=resolved(settings.gray_window)
    )


def forms_of(
    shapes: dict[tuple[str, str], list[Shape | Rejected]], settings: DataSettings, contents: Contents, notes: list[str]
) -> dict[str, ImageFormat]:
    """Choose the form of every field: one for all; but the two sides of pairs may differ in channels, and maps of numbers have one."""
    fields: dict[str, list[Shape]] = {}
    for (name, _), probed in shapes.items():
        fields.setdefault(name, []).extend(s for s in probed if not isinstance(s, Rejected))
    everything = [s for found in fields.values() for s in found]
    height, width = _size(everything, settings, notes)
    forms = {}
    for name, found in fields.items():
        if name == "instance" or (name == "a" and settings.label_maps):
            kind: Literal["labels", "instances"] = "labels" if name == "a" else "instances"
            forms[name] = ImageFormat(height, width, 1, settings.resize, kind)
        elif forms and not contents.paired:
            forms[name] = next(iter(forms.values()))
        elif not contents.paired:
            forms[name] = common_form(everything, replace(settings, size=(height, width)), notes)
        else:
            channels, window = (
                _channels(found, settings, notes, f"side {name.upper()}: "),
                resolved(settings.gray_window),
            )
            forms[name] = ImageFormat(height, width, channels, settings.resize, bits=settings.bits, window=window)
    return forms


def unlike(contents: Contents, shapes: dict[tuple[str, str], list[Shape | Rejected]]) -> list[str]:
    """Note pairs whose sides differ in size."""
    found = []
    for split in contents.splits("a"):
        names = contents.pictures["a", split].names
        for name, a, b in zip(names, shapes["a", split], shapes["b", split], strict=True):
            if not isinstance(a, Rejected) and not isinstance(b, Rejected) and a[:2] != b[:2]:
                apart = a[0] * b[1] != a[1] * b[0]
                found.append(f"{printable(name)} {a[1]}x{a[0]} and {b[1]}x{b[0]}" + " (another shape)" * apart)
    if not found:
        return []
    count = "1 pair differs" if len(found) == 1 else f"{len(found)} pairs differ"
    return [f"{count} in size: {'; '.join(found[:3])}{'; …' * (len(found) > 3)}; both sides are brought to one"]


def ranged(
    forms: dict[str, ImageFormat], contents: Contents, settings: DataSettings, pool: Executor, notes: list[str]
) -> dict[str, ImageFormat]:
    """Complete the forms: find which values of every field of colours are black and white."""
    made = dict(forms)
    stated = ends_of_scans(forms, contents, resolved(settings.gray_window), pool, notes)
    for name, form in forms.items():
        if form.kind != "colours":
            continue
        parts = [p for (f, _), p in contents.pictures.items() if f == name]
        where = f"side {name.upper()}: " if len(forms) > 1 else ""
        ends, said = ranges.decide(
            parts, pool, window=resolved(settings.gray_window), gray=form.channels == 1, where=where
        )
        if name == "a" and contents.paired and any("than a tenth" in n or "masks" in n for n in said):
            said.append(f"{where}label_maps=true where its numbers are classes")
        made[name] = replace(form, ends=(*ends, *stated))
        notes += said
    return made


def _files(contents: Contents) -> dict[str, Header]:
    """Collect the headers of all files that were probed; a file that holds both sides counts once."""
    files = [p for p in contents.pictures.values() if isinstance(p, FilePictures)]
    return {n: p.headers[n] for p in files for n in p.names if n in p.headers}


def shallow(contents: Contents, settings: DataSettings) -> list[str]:
    """Note files with 16 bits of which 8 are kept: of a scan whose values fill a part of the range little is left then."""
    if settings.bits == 16 or settings.gray_window is not None:
        return []
    numbers = ("instance", "a") if settings.label_maps else ("instance",)
    files = {n for (f, _), p in contents.pictures.items() if f not in numbers for n in p.names}
    deep = [n for n, h in _files(contents).items() if h.deep and n in files]
    arrays = [p for (f, _), p in contents.pictures.items() if isinstance(p, ArrayPictures) and f not in numbers]
    notes = [
        f"{p.title}: 16-bit pixels divided by 257; gray_window=LOW,HIGH says which gray values count, bits=16 (for translation) keeps all"
        for p in arrays
        if p.array.dtype == np.uint16
    ]
    if not deep:
        return notes
    one = len(deep) == 1
    return [
        *notes,
        f"{len(deep)} image{'' if one else 's'} ({printable(deep[0])}{'' if one else ' …'}) ha{'s' if one else 've'} more than 8 bits, of which 8 "
        "are kept: gray_window=LOW,HIGH says which gray values count, bits=16 (for translation) keeps all",
    ]


def pages(contents: Contents) -> list[str]:
    """Note files with several pages or frames, of which the first is used."""
    many = {n: h.pages for n, h in _files(contents).items() if h.pages > 1}
    if not many:
        return []
    one = len(many) == 1
    return [
        f"{len(many)} file{'' if one else 's'} ({printable(next(iter(many)))}{'' if one else ' …'}) hold{'s' if one else ''} {sum(many.values())} "
        f"pages or frames, of which the first {'' if one else 'of each '}is used: systems for video read them all (kind=video); as images, save "
        "every page as a file of its own"
    ]


def filled(contents: Contents) -> list[str]:
    """Note images with pixels that were no finite number."""
    holes = {n: k for p in contents.pictures.values() for n, k in getattr(p, "holes", {}).items()}
    if not holes:
        return []
    named = printable(next(iter(holes))) + " …" * (len(holes) > 1)
    return [
        f"{len(holes)} image{'s' * (len(holes) > 1)} ({named}) with {sum(holes.values()):,} pixels that are no finite numbers (no data): they "
        "have the value of the nearest pixels that are"
    ]


def _size(shapes: list[Shape], settings: DataSettings, notes: list[str]) -> tuple[int, int]:
    """Choose height and width: as set, or the common one, or 64."""
    if settings.size is not None:
        return settings.size if isinstance(settings.size, tuple) else (settings.size, settings.size)
    sizes = {(h, w) for h, w, _ in shapes}
    if len(sizes) == 1 and max(next(iter(sizes))) <= NATIVE:
        return next(iter(sizes))
    seen = f"{len(sizes)} different sizes" if len(sizes) > 1 else f"all {next(iter(sizes))[0]}x{next(iter(sizes))[1]}"
    notes.append(f"size {DEFAULT}x{DEFAULT} chosen (the images have {seen}); set size= for another")
    return DEFAULT, DEFAULT


def _channels(shapes: list[Shape], settings: DataSettings, notes: list[str], where: str = "") -> int:
    """Choose the number of channels: as set, or 1 where all images are gray."""
    gray = sum(c == 1 for _, _, c in shapes)
    channels = settings.channels or (1 if gray == len(shapes) else 3)
    if settings.channels is None and 0 < gray < len(shapes):
        notes.append(f"{where}3 channels chosen ({gray} of {len(shapes)} images are gray); channels=1 makes all gray")
    if settings.gray_window and channels != 1:
        raise UserError("gray_window= is for gray images; these have colours: channels=1 makes all gray")
    if settings.bits == 16 and channels not in (1, 3):
        raise UserError(f"bits=16 is for gray and RGB images (channels=1 or 3), not for {channels} channels")
    return channels
