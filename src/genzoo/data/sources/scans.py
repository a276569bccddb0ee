"""Scans among the pictures of a source: files become slices, and slices remember whose they are, so that no patient is on both sides of a split."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.decode import images as decode
from genzoo.data.decode import ranges
from genzoo.data.decode.forms import ImageFormat, Rejected, Shape, finite, integers, plane
from genzoo.data.decode.scans import format_of, may_be, series
from genzoo.data.decode.scans.dicom import Header
from genzoo.data.decode.scans.planes import tilt
from genzoo.data.decode.scans.readers import READERS
from genzoo.data.decode.scans.volume import Cut, Volume, cuts
from genzoo.data.progress import bar
from genzoo.data.settings import DataSettings
from genzoo.data.short import in_order
from genzoo.data.sources.contents import Contents, FilePictures, Pictures

TOLD = {
    "inverted": "{files} say that the least value is white (MONOCHROME1): turned round after the window",
    "two matrices": "{files} have an sform and a qform that differ: the sform is taken (ITK and what is built on it take the qform)",
    "no matrix": "{files} do not say how the patient lies: their slices are as they are stored",
    "no place": "{files} do not say where their slices lie: in the order of their numbers",
    "no rescale": "{files} are CT without RescaleIntercept: what is stored was taken for Hounsfield units",
    "no spacing": "{files} do not say how large a pixel is: 1 mm was assumed",
    "tilted": "{files} are tilted by more than 10 degrees: not turned, their slices are those that lie nearest",
}
"""What is said of the volumes of a set."""
TILTED = 10.0
"""Degrees."""
WHOLE = 1e-3
"""How far a stored number of a class may be off a whole number: what a file keeps with a slope comes back so."""


class ScanPictures:
    """Slices of scans, and pictures beside them.

    Args:
        items: Slices, and places of names among `plain`.
        plain: Pictures that are no scans.
        ids: What identifies each item where two sides are matched.
    """

    def __init__(self, items: Sequence[Cut | int], plain: FilePictures, ids: Sequence[tuple[int, int, int]]) -> None:
        self.items, self.plain, self.ids = list(items), plain, list(ids)
        self.holes: dict[str, int] = {}
        """See `FilePictures`."""

    @property
    def names(self) -> Sequence[str]:
        """A name for every picture."""
        return [self.plain.names[i] if isinstance(i, int) else i.name for i in self.items]

    @property
    def cuts(self) -> list[Cut]:
        """Those that are slices of scans."""
        return [i for i in self.items if isinstance(i, Cut)]

    def probe(self, pool: Executor) -> list[Shape | Rejected]:
        """Tell shapes, with square pixels; scans have been looked at."""
        known = self.plain.probe(pool)
        return [known[i] if isinstance(i, int) else (*i.square, 3 if i.volume.colour else 1) for i in self.items]

    def kinds(self) -> set[str]:
        """Name the types of number that pictures are stored as; gray scans are `scan`."""
        return {"uint8" if c.volume.colour else "scan" for c in self.cuts} | self.plain.kinds()

    def stated(self) -> list[ranges.Ends]:
        """Return the windows that scans state."""
        volumes = {id(c.volume): c.volume for c in self.cuts if not c.volume.colour}
        return [w for v in volumes.values() for w in v.windows]

    def extents(self, kind: str, pool: Executor) -> Iterator[ranges.Ends]:
        """Yield the least and the largest value of each picture that is stored as `kind`."""
        wanted = [c for c in self.cuts if (kind == "scan") != c.volume.colour]
        if kind in ("scan", "uint8"):
            for start in range(0, len(wanted), 8):
                yield from (e for e in pool.map(_extent, wanted[start : start + 8]) if e is not None)
        yield from self.plain.extents(kind, pool)

    def block(self, indices: Sequence[int], form: ImageFormat, pool: Executor) -> Iterator[np.ndarray | Rejected]:
        """Decode them, in threads where that takes long."""

        def one(i: int) -> np.ndarray | Rejected:
            item, holes = self.items[i], list[int]()
            if isinstance(item, int):
                return self.plain.picture(item, form)
            try:
                found = to_form(item, form, holes)
            except Rejected as reason:
                return reason
            if holes:
                self.holes[item.name] = sum(holes)
            return found

        return in_order(pool, one, indices)

    def chosen(self, rows: Sequence[int]) -> ScanPictures:
        """Return some of them."""
        return ScanPictures([self.items[i] for i in rows], self.plain, [self.ids[i] for i in rows])

    def patients(self) -> list[str]:
        """Tell whose each picture is, by a digest: no number of a patient is kept."""
        named = (self.plain.names[i] if isinstance(i, int) else i.volume.patient for i in self.items)
        return [hashlib.sha256(n.encode()).hexdigest()[:16] for n in named]


def _extent(cut: Cut) -> ranges.Ends | None:
    try:
        return ranges.extent(cut.read().values)
    except Rejected:  # the reason is found again where it is decoded for good
        return None


def to_form(cut: Cut, form: ImageFormat, holes: list[int] | None = None) -> np.ndarray:
    """Read a slice and bring it to a form, uint8 or uint16 [C, H, W].

    Raises:
        Rejected: It is damaged, or no map of classes where one is wanted.
    """
    found = cut.read()
    if form.kind != "colours":
        return _numbers(found.values, form)
    if cut.volume.colour:
        return decode.array_to_form(np.ascontiguousarray(found.stored.transpose(2, 0, 1)), form, holes)
    ends = form.of("scan")
    assert ends is not None, "black and white of scans are chosen before one is read"
    if found.stored.dtype.kind == "f":
        found = dataclasses.replace(found, stored=finite(found.stored, holes))
    rows, columns = cut.square
    if cut.size == (rows, columns) == (form.height, form.width):
        whole = found.shares(ends, 255 if form.bits == 8 else 65535)[None]
        return whole if form.channels == 1 else np.repeat(whole, form.channels, 0)
    values = found.shares(ends, out=_lent(found.stored.shape))
    if cut.size != (rows, columns):
        image = Image.fromarray(np.ascontiguousarray(values))
        values = np.asarray(image.resize((columns, rows), Image.Resampling.BICUBIC))
    whole = integers(plane(values, form)[None], form)
    return whole if form.channels == 1 else np.repeat(whole, form.channels, 0)


_LENT = threading.local()
"""Memory of each thread for slices that are resized: to fetch a megabyte anew for each takes as long as to fill it."""


def _lent(shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 memory of a shape, which is good until this thread asks again."""
    if getattr(_LENT, "shape", None) != shape:
        _LENT.shape, _LENT.floats = shape, np.empty(shape, np.float32)
    floats: np.ndarray = _LENT.floats
    return floats


def _numbers(values: np.ndarray, form: ImageFormat) -> np.ndarray:
    whole = np.rint(values)
    if values.ndim != 2 or not np.abs(values - whole).max() <= WHOLE:  # what is no number is none either
        raise Rejected("a map of classes has one whole number for a pixel")
    return decode.array_to_form(whole.astype(np.int32)[None], form)


def sliced(contents: Contents, settings: DataSettings, *, quiet: bool) -> Contents:
    """Replace the scans among the pictures of a contents by their slices; pictures that are no scans stay.

    Raises:
        UserError: plane= or slices= is given, and there is no scan.
    """
    endings = kinds.get(PLAIN.of).endings
    made: dict[tuple[str, str], ScanPictures] = {}
    for part, pictures in contents.pictures.items():
        if not isinstance(pictures, FilePictures):
            continue
        if found := _scans_among(pictures, endings):
            made[part] = _part(pictures, found, settings, contents, quiet=quiet)
    if not made:
        if settings.plane or settings.slices:
            raise UserError(f"plane= and slices= are for scans (DICOM, NIfTI, NRRD), of which {settings.data} has none")
        return contents
    for part, part_pictures in made.items():
        _spread(contents, part, part_pictures)
    if contents.paired:
        _matched(contents)
    if settings.subfolders == "auto":
        _without_patients(contents, made)
    _say(contents)
    return contents


def _scans_among(pictures: FilePictures, endings: tuple[str, ...]) -> dict[int, str]:
    """Find which files are scans, and of which format."""
    found: dict[int, str] = {}
    for i, name in enumerate(pictures.names):
        if not may_be(name, endings):
            continue
        try:
            with pictures.tree.open(name) as file:
                if told := format_of(file, name):
                    found[i] = told
        except Rejected:  # the reason is found again where it is read
            continue
    return found


def _part(
    pictures: FilePictures, scans: dict[int, str], settings: DataSettings, contents: Contents, *, quiet: bool
) -> ScanPictures:
    """Look at the scans of one part, and cut them."""
    tree, names = pictures.tree, pictures.names
    plain = FilePictures(tree, [n for i, n in enumerate(names) if i not in scans], pictures.half)
    place = {n: i for i, n in enumerate(plain.names)}
    headers: list[tuple[int, Header]] = []
    volumes: list[tuple[int, Volume]] = []

    def look(i: int) -> Header | Volume | Rejected:
        try:
            return READERS[scans[i]](tree, names[i])
        except Rejected as reason:
            return reason

    with (
        ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, 16))) as pool, decode.quiet_decoding(),
        bar(len(scans), "looking at scans", quiet, "files") as advance,
    ):  # fmt: skip
        for i, found in zip(scans, in_order(pool, look, list(scans)), strict=True):
            advance(1)
            if isinstance(found, Rejected):
                contents.left.append((names[i], str(found)))
            elif isinstance(found, Header):
                headers.append((i, found))
            else:
                volumes.append((i, found))
        joined = series.volumes(tree, headers, contents.left, contents.notes)
    items: list[tuple[tuple[int, int, int], Cut | int]] = [
        ((i, 0, 0), place[n]) for i, n in enumerate(names) if i not in scans
    ]
    for one in joined:
        items += _of_series(one, settings, contents)
    for i, volume in volumes:
        try:
            items += [((i, c.index, c.time), c) for c in cuts(volume, i, settings.plane, settings.slices)]
        except Rejected as reason:
            contents.left.append((volume.name, str(reason)))
    items.sort(key=lambda item: item[0])
    return ScanPictures([item for _, item in items], plain, [key for key, _ in items])


def _of_series(
    volume: series.Series, settings: DataSettings, contents: Contents
) -> list[tuple[tuple[int, int, int], Cut | int]]:
    """Cut a series; its own slices stand at the places of their files."""
    try:
        found = cuts(volume, 0, settings.plane, settings.slices)
    except Rejected as reason:
        contents.left.append((volume.name, f"{volume.shape[2] * volume.times} slices of one series: {reason}"))
        return []
    if found and found[0].view.axis != 2:
        first = min(s for row in volume.sources for s in row)
        return [((first, c.index, c.time), c) for c in found]
    placed = [(volume.sources[c.time][c.cell], volume.parts[c.time][c.cell][1], c) for c in found]
    return [((source, number, 0), Cut(c.volume, c.view, c.index, c.time, source)) for source, number, c in placed]


def _spread(contents: Contents, part: tuple[str, str], pictures: ScanPictures) -> None:
    """Give every slice what its file has: a class, captions."""
    contents.pictures[part] = pictures
    field, split = part
    if field != PLAIN.of:
        return
    rows = [source for source, _, _ in pictures.ids]
    if split in contents.labels:
        contents.labels[split] = contents.labels[split][rows]
    if split in contents.captions:
        contents.captions[split] = [contents.captions[split][i] for i in rows]


def _without_patients(contents: Contents, made: dict[tuple[str, str], ScanPictures]) -> None:
    """Take folders for no classes where each of them is one patient."""
    pairs = {
        (int(label), patient)
        for (_, split), pictures in made.items() if split in contents.labels
        for label, patient in zip(contents.labels[split], pictures.patients(), strict=True)
    }  # fmt: skip
    if pairs and len(pairs) == len({label for label, _ in pairs}) == len({patient for _, patient in pairs}):
        contents.labels, contents.class_names = {}, []
        contents.notes.append(
            f"no labels: each of the {len(pairs)} folders is one patient; subfolders=classes makes them classes"
        )


def _matched(contents: Contents) -> None:
    """Keep of two sides the slices that both have."""
    for split in contents.splits("a"):
        fields = [f for f, s in contents.pictures if s == split]
        parts = [contents.pictures[f, split] for f in fields]
        if not all(isinstance(p, ScanPictures) for p in parts):
            if any(isinstance(p, ScanPictures) for p in parts):
                raise UserError(
                    "one side of the pairs is scans and the other is pictures: save both as scans, or both as pictures"
                )
            continue
        found: list[dict[tuple[int, int, int], int]] = [
            {key: i for i, key in enumerate(p.ids)} for p in parts if isinstance(p, ScanPictures)
        ]
        common = {key: None for key in found[0] if all(key in f for f in found[1:])}  # in order
        for f, own, p in zip(fields, found, parts, strict=True):
            assert isinstance(p, ScanPictures)
            names = p.names
            alone = [names[i] for key, i in own.items() if key not in common]
            contents.left += [(n, "no slice of this number on the other side") for n in alone]
            contents.pictures[f, split] = p.chosen([own[key] for key in common])


def _say(contents: Contents) -> None:
    """Say in sentences what was noticed of the volumes, and what was taken of them."""
    all_cuts = [c for p in contents.pictures.values() if isinstance(p, ScanPictures) for c in p.cuts]
    volumes = {id(c.volume): c.volume for c in all_cuts}
    planes = Counter[str]()
    for cut in all_cuts:
        planes[cut.view.plane or "as stored"] += 1
    count = f"{len(volumes)} scan{'s' * (len(volumes) > 1)}"
    slices = ", ".join(f"{n:,} {plane}" for plane, n in planes.most_common())
    contents.notes.append(
        f"{count}: {slices} slices" + ("; plane= takes one way of cutting" if len(planes) > 1 else "")
    )
    stretched = sum(c.square != c.size for c in all_cuts)
    if stretched:
        contents.notes.append(
            f"{stretched:,} slices have pixels that are not square: brought to square ones, the finer spacing counts"
        )
    contents.notes += noticed(list(volumes.values()))


def noticed(volumes: Sequence[Volume]) -> list[str]:
    """Say in sentences what was noticed of volumes."""
    told, count = Counter[str](), f"{len(volumes)} scan{'s' * (len(volumes) > 1)}"
    for volume in volumes:
        told.update({k: 1 for k, n in volume.told.items() if n})
        told["inverted"] += volume.inverted
        told["tilted"] += volume.affine is not None and tilt(volume.affine) > TILTED
    return [words.format(files=f"{told[key]} of {count}") for key, words in TOLD.items() if told[key]]


def patients_of(pictures: Pictures) -> list[str] | None:
    """Tell whose each picture is; None where nobody says."""
    return pictures.patients() if isinstance(pictures, ScanPictures) else None


def shared(patients: dict[str, dict[str, list[tuple[str, int]]]]) -> list[str]:
    """Note patients of whom there are slices in the training and in the test part that a source names."""
    for parts in patients.values():
        both = {p for p, _ in parts.get("train", [])} & {p for p, _ in parts.get("test", [])}
        if both:
            are = "patients are" if len(both) > 1 else "patient is"
            return [
                f"{len(both)} {are} in both the training and the test folder: measures on the test part say too much"
            ]
    return []


def merged(left: list[tuple[str, str]], contents: Contents) -> list[tuple[str, str]]:
    """Say of the slices of one file that are left out for one reason that the file is."""
    scans = {c.volume.name for p in contents.pictures.values() if isinstance(p, ScanPictures) for c in p.cuts}
    found: dict[tuple[str, str], list[str]] = {}
    for name, reason in left:
        file = name.rpartition("[")[0]
        found.setdefault((file if file in scans else name, reason), []).append(name)
    return [(names[0] if len(names) == 1 else file, reason) for (file, reason), names in found.items()]


def _gray(contents: Contents, forms: dict[str, ImageFormat]) -> list[ScanPictures]:
    """Collect the parts of fields of colours in which there are gray scans."""
    return [
        p for (f, _), p in contents.pictures.items()
        if isinstance(p, ScanPictures) and f in forms and forms[f].kind == "colours" and "scan" in p.kinds()
    ]  # fmt: skip


def ends_of_scans(
    forms: dict[str, ImageFormat], contents: Contents, window: ranges.Ends | None, pool: Executor, notes: list[str]
) -> tuple[tuple[str, ranges.Ends], ...]:
    """Choose the values that are black and white in all gray scans of a contents, both sides alike, and say what was chosen.

    They are those that are set; else the middle one of the windows that the files state; else the least and the largest value.
    """
    parts = _gray(contents, forms)
    if not parts or window:
        return (("scan", window),) if parts and window else ()
    stated = [w for p in parts for w in p.stated()]
    if stated:
        low, high = (float(np.median([w[i] for w in stated])) for i in (0, 1))
        alike = all(w == stated[0] for w in stated)
        said = (
            "the window that the files state"
            if alike
            else f"the middle of {len(set(stated))} windows that the files state"
        )
    else:
        found = [e for p in parts for e in p.extents("scan", pool)]
        low, high = (min(e[0] for e in found), max(e[1] for e in found)) if found else (0.0, 1.0)
        said = "the least and the largest value of all, for the files state no window"
    high = high if high > low else low + 1
    notes.append(
        f"values from {low:g} (black) to {high:g} (white) of scans are seen: {said}; gray_window= sets others, such as soft, lung or bone for CT"
    )
    return (("scan", (low, high)),)


def window_of(contents: Contents, forms: dict[str, ImageFormat]) -> ranges.Ends | None:
    """Return the values that are black and white in the gray scans of a contents, once chosen; None where there are none."""
    if not _gray(contents, forms):
        return None
    return next((e for f in forms.values() if f.kind == "colours" and (e := f.of("scan"))), None)
