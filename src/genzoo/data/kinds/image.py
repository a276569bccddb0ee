"""From a source to a cache entry: choose the common form, decode every image once, write it row by row."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.cache import CacheWriter
from genzoo.data.decode import ranges
from genzoo.data.decode.images import Form, Header, Refused, quiet_decoding
from genzoo.data.settings import DataSettings
from genzoo.data.sources.layout import no_images, printable
from genzoo.data.sources.stock import ArrayPictures, FilePictures, Shape, Stock

NATIVE = 256
"""Largest common side that is kept as it is where no size is set."""
DEFAULT = 64
"""Size where images differ and no size is set."""
ORDER_SEED = 20_140_610
"""Seed of the one stored order: a split is a property of the data, not of a run."""
_CHUNK = 256
NAMES = "names.json"
"""File of a cache entry: by field, the names of the examples as the data has them, in the stored order."""


def build(stock: Stock, settings: DataSettings, name: str, draft: CacheWriter, *, quiet: bool) -> dict[str, Any]:
    """Decode all of `stock` into `draft`; returns the facts of the entry."""
    left, notes = list(stock.left), list(stock.notes)
    total = sum(len(p.names) for p in stock.pictures.values())
    with (
        ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 16))) as pool,
        quiet_decoding(),
        bar(total, f"reading {name}", quiet) as advance,
    ):
        shapes = {part: p.probe(pool) for part, p in stock.pictures.items()}
        good = [s for found in shapes.values() for s in found if not isinstance(s, Refused)]
        if not good:
            for part, found in shapes.items():
                left += [(n, str(r)) for n, r in zip(stock.pictures[part].names, found, strict=True)]
            raise UserError(no_images(name, left))
        forms = _forms(shapes, settings, stock, notes)
        if stock.paired:
            notes += _unlike(stock, shapes)
        forms = _ranged(forms, stock, settings, pool, notes)
        notes += _shallow(stock, settings) + _pages(stock)
        draft.reserve(
            sum(
                f.height * f.width * f.channels * f.bits // 8 * len(shapes[part])
                for part in shapes
                for f in [forms[part[0]]]
            )
        )
        sections: dict[str, dict[str, int]] = {}
        kept: dict[tuple[str, str], list[int]] = {}
        names: dict[str, list[str]] = {}
        for fields in stock.groups:
            writer = _Group(fields, stock, forms, settings, draft, pool, left)
            for split in stock.splits(fields[0]):
                kept[fields[0], split] = writer.write(split, shapes, advance)
                for f in writer.rows:
                    sections.setdefault(f, {})[split] = len(kept[fields[0], split])
                    own = stock.pictures[f, split].names
                    names.setdefault(f, []).extend(own[i] for i in kept[fields[0], split])
            if not writer.rows[fields[0]].count:
                raise UserError(no_images(name, left))
    notes += _filled(stock)
    (draft.folder / NAMES).write_text(json.dumps(names), encoding="ascii")
    captions = []
    if stock.labels:
        rows = draft.rows("label", (), np.int64)
        for split in stock.splits("image"):
            for i in kept["image", split]:
                rows.append(np.asarray(stock.labels[split][i], dtype=np.int64))
    for split in stock.splits("image") if stock.captions else []:
        captions += [stock.captions[split][i] if split in stock.captions else "" for i in kept["image", split]]
    return {
        "sections": sections,
        "class_names": stock.class_names,
        "captions": captions,
        "left": [(printable(name), printable(reason)) for name, reason in left],
        "notes": notes,
        **({"instances": True} if any(f == "instance" for f, _ in stock.pictures) else {}),
    }


class _Group:
    """Writes the fields of one group; an example of which one field cannot be read is left out of all."""

    def __init__(
        self,
        fields: tuple[str, ...],
        stock: Stock,
        forms: dict[str, Form],
        settings: DataSettings,
        draft: CacheWriter,
        pool: Executor,
        left: list[tuple[str, str]],
    ) -> None:
        self.fields, self.stock, self.forms, self.pool, self.left = fields, stock, forms, pool, left
        self.binarize = settings.binarize
        # Numbers of instances are the last channel of side A.
        self.more = "instance" in fields
        self.rows = {}
        for name in (f for f in fields if f != "instance"):
            form = forms[name]
            shape = (form.channels + (self.more and name == "a"), form.height, form.width)
            self.rows[name] = draft.rows(name, shape, np.uint8 if form.bits == 8 else np.uint16)
        self.rng = np.random.default_rng([ORDER_SEED, 1])

    def write(
        self, split: str, shapes: dict[tuple[str, str], list[Shape | Refused]], advance: Callable[[int], None]
    ) -> list[int]:
        """Write one split in the stored order; returns the indices that were kept."""
        parts = [self.stock.pictures[f, split] for f in self.fields]
        names = [p.names for p in parts]
        found = [shapes[f, split] for f in self.fields]
        usable = []
        for i, row in enumerate(zip(*found, strict=True)):
            bad = [(n[i], str(s)) for n, s in zip(names, row, strict=True) if isinstance(s, Refused)]
            self.left.extend(bad)
            if bad:
                advance(len(parts))
            else:
                usable.append(i)
        order = np.random.default_rng([ORDER_SEED, 0, len(usable)]).permutation(len(usable))
        kept = []
        for chunk in _chunks([usable[k] for k in order]):
            blocks = [p.block(chunk, self.forms[f], self.pool) for f, p in zip(self.fields, parts, strict=True)]
            for i, *images in zip(chunk, *blocks, strict=True):
                bad = [(n[i], str(a)) for n, a in zip(names, images, strict=True) if isinstance(a, Refused)]
                self.left.extend(bad)
                if not bad:
                    kept.append(i)
                    found_here = dict(zip(self.fields, images, strict=True))
                    if self.more:
                        found_here["a"] = np.concatenate([found_here["a"], found_here.pop("instance")])
                    for f, a in found_here.items():
                        self.rows[f].append(self._binary(a))
            advance(len(chunk) * len(parts))
        return kept

    def _binary(self, image: np.ndarray) -> np.ndarray:
        if self.binarize == "threshold":
            return np.where(image > 127, 255, 0).astype(np.uint8)
        if self.binarize == "static":
            return bernoulli(image, self.rng)
        return image


def bernoulli(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each pixel white (255) with probability level / 255, else black."""
    return (rng.integers(0, 255, image.shape, dtype=np.uint8) < image).astype(np.uint8) * np.uint8(255)


def _chunks(order: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), _CHUNK):
        yield order[start : start + _CHUNK]


def common_form(shapes: list[Shape], settings: DataSettings, notes: list[str]) -> Form:
    """The form of all images of these shapes: as set, or what they have in common."""
    height, width = _size(shapes, settings, notes)
    channels = _channels(shapes, settings, notes)
    return Form(height, width, channels, settings.resize, bits=settings.bits, window=settings.gray_window)


def _forms(
    shapes: dict[tuple[str, str], list[Shape | Refused]], settings: DataSettings, stock: Stock, notes: list[str]
) -> dict[str, Form]:
    """The form of every field: one for all; but the two sides of pairs may differ in channels, and maps of numbers have one."""
    fields: dict[str, list[Shape]] = {}
    for (name, _), found in shapes.items():
        fields.setdefault(name, []).extend(s for s in found if not isinstance(s, Refused))
    everything = [s for found in fields.values() for s in found]
    height, width = _size(everything, settings, notes)
    forms = {}
    for name, found in fields.items():
        if name == "instance" or (name == "a" and settings.label_maps):
            kind: Literal["labels", "instances"] = "labels" if name == "a" else "instances"
            forms[name] = Form(height, width, 1, settings.resize, kind)
        elif forms and not stock.paired:
            forms[name] = next(iter(forms.values()))
        elif not stock.paired:
            forms[name] = common_form(everything, replace(settings, size=(height, width)), notes)
        else:
            channels, window = _channels(found, settings, notes, f"side {name.upper()}: "), settings.gray_window
            forms[name] = Form(height, width, channels, settings.resize, bits=settings.bits, window=window)
    return forms


def _unlike(stock: Stock, shapes: dict[tuple[str, str], list[Shape | Refused]]) -> list[str]:
    """A note on pairs whose sides differ in size."""
    found = []
    for split in stock.splits("a"):
        names = stock.pictures["a", split].names
        for name, a, b in zip(names, shapes["a", split], shapes["b", split], strict=True):
            if not isinstance(a, Refused) and not isinstance(b, Refused) and a[:2] != b[:2]:
                apart = a[0] * b[1] != a[1] * b[0]
                found.append(f"{printable(name)} {a[1]}x{a[0]} and {b[1]}x{b[0]}" + " (another shape)" * apart)
    if not found:
        return []
    count = "1 pair differs" if len(found) == 1 else f"{len(found)} pairs differ"
    return [f"{count} in size: {'; '.join(found[:3])}{'; …' * (len(found) > 3)}; both sides are brought to one"]


def _ranged(
    forms: dict[str, Form], stock: Stock, settings: DataSettings, pool: Executor, notes: list[str]
) -> dict[str, Form]:
    """The forms, after it was seen which values of every field of colours are black and white."""
    made = dict(forms)
    for name, form in forms.items():
        if form.kind != "colours":
            continue
        parts = [p for (f, _), p in stock.pictures.items() if f == name]
        where = f"side {name.upper()}: " if len(forms) > 1 else ""
        ends, said = ranges.decide(parts, pool, window=settings.gray_window, gray=form.channels == 1, where=where)
        if name == "a" and stock.paired and any("than a tenth" in n or "masks" in n for n in said):
            said.append(f"{where}label_maps=true where its numbers are classes")
        made[name] = replace(form, ends=ends)
        notes += said
    return made


def _files(stock: Stock) -> dict[str, Header]:
    """The headers of all files that were probed; a file that holds both sides counts once."""
    files = [p for p in stock.pictures.values() if isinstance(p, FilePictures)]
    return {n: p.headers[n] for p in files for n in p.names if n in p.headers}


def _shallow(stock: Stock, settings: DataSettings) -> list[str]:
    """A note on files with 16 bits of which 8 are kept: of a scan whose values fill a part of the range little is left then."""
    if settings.bits == 16 or settings.gray_window is not None:
        return []
    numbers = ("instance", "a") if settings.label_maps else ("instance",)
    files = {n for (f, _), p in stock.pictures.items() if f not in numbers for n in p.names}
    deep = [n for n, h in _files(stock).items() if h.deep and n in files]
    arrays = [p for (f, _), p in stock.pictures.items() if isinstance(p, ArrayPictures) and f not in numbers]
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


def _pages(stock: Stock) -> list[str]:
    """A note on files with several pages or frames, of which the first is used."""
    many = {n: h.pages for n, h in _files(stock).items() if h.pages > 1}
    if not many:
        return []
    one = len(many) == 1
    return [
        f"{len(many)} file{'' if one else 's'} ({printable(next(iter(many)))}{'' if one else ' …'}) hold{'s' if one else ''} {sum(many.values())} "
        f"pages or frames, of which the first {'' if one else 'of each '}is used: systems for video read them all (kind=video); as images, save "
        "every page as a file of its own"
    ]


def _filled(stock: Stock) -> list[str]:
    """A note on images with pixels that were no finite number."""
    holes = {n: k for p in stock.pictures.values() for n, k in getattr(p, "holes", {}).items()}
    if not holes:
        return []
    named = printable(next(iter(holes))) + " …" * (len(holes) > 1)
    return [
        f"{len(holes)} image{'s' * (len(holes) > 1)} ({named}) with {sum(holes.values()):,} pixels that are no finite numbers (no data): they "
        "have the value of the nearest pixels that are"
    ]


def _size(shapes: list[Shape], settings: DataSettings, notes: list[str]) -> tuple[int, int]:
    """Height and width: as set, or the common one, or 64."""
    if settings.size is not None:
        return settings.size if isinstance(settings.size, tuple) else (settings.size, settings.size)
    sizes = {(h, w) for h, w, _ in shapes}
    if len(sizes) == 1 and max(next(iter(sizes))) <= NATIVE:
        return next(iter(sizes))
    seen = f"{len(sizes)} different sizes" if len(sizes) > 1 else f"all {next(iter(sizes))[0]}x{next(iter(sizes))[1]}"
    notes.append(f"size {DEFAULT}x{DEFAULT} chosen (the images have {seen}); set size= for another")
    return DEFAULT, DEFAULT


def _channels(shapes: list[Shape], settings: DataSettings, notes: list[str], where: str = "") -> int:
    """Channels: as set, or 1 where all images are gray."""
    gray = sum(c == 1 for _, _, c in shapes)
    channels = settings.channels or (1 if gray == len(shapes) else 3)
    if settings.channels is None and 0 < gray < len(shapes):
        notes.append(f"{where}3 channels chosen ({gray} of {len(shapes)} images are gray); channels=1 makes all gray")
    if settings.gray_window and channels != 1:
        raise UserError("gray_window= is for gray images; these have colours: channels=1 makes all gray")
    if settings.bits == 16 and channels not in (1, 3):
        raise UserError(f"bits=16 is for gray and RGB images (channels=1 or 3), not for {channels} channels")
    return channels


@contextmanager
def bar(total: int, text: str, quiet: bool, things: str = "images") -> Iterator[Callable[[int], None]]:
    """A progress bar with the time left on a terminal, else one line at the end of what took long."""
    if quiet or total < 2:
        yield lambda n: None
        return
    start = time.monotonic()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(text, total=total)
            yield lambda n: progress.advance(task, n)
    else:
        print(f"{text}: {total} {things}", file=sys.stderr, flush=True)
        done, said = 0, start

        def advance(n: int) -> None:
            nonlocal done, said
            done += n
            if time.monotonic() - said > 10:
                said = time.monotonic()
                wait = (said - start) / done * (total - done)
                print(f"{text}: {done} of {total}, about {wait:.0f} s left", file=sys.stderr, flush=True)

        yield advance
