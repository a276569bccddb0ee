"""Data with two sides: matched by name, cut out of one image, and what may be set about them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from genzoo.core.errors import UserError
from genzoo.data.settings import DataSettings
from genzoo.data.sources import layout
from genzoo.data.sources.affixes import matched
from genzoo.data.sources.contents import ArrayPictures, Contents, FilePictures, Source
from genzoo.data.sources.names import composed, stem_of
from genzoo.data.windows import resolved

_TWO = {
    "layout": ("paired",),
    "derive": ("paired",),
    "label_maps": ("paired",),
    "sides": ("paired", "unpaired"),
    "bits": ("paired", "unpaired"),
}
"""Settings of data with two sides, and the kinds that have them."""


class TwoSides:
    """Two sources as the sides of pairs or of unpaired data.

    Args:
        a: Side A.
        b: Side B.
    """

    def __init__(self, a: Source, b: Source) -> None:
        self.sides = {"a": a, "b": b}
        self.name = f"{a.name},{b.name}"

    def identity(self) -> list[object]:
        """Return what identifies both sides."""
        return [s.identity() for s in self.sides.values()]

    def contents(self, structure: str) -> Contents:
        """Return the images of both sides; labels are not kept."""
        contents = Contents({})
        for side, source in self.sides.items():
            one = source.contents("image")
            contents.left += [(f"{source.name}/{n}", r) for n, r in one.left]
            contents.notes += one.notes
            for (_, split), pictures in one.pictures.items():
                contents.pictures[side, split] = pictures
        if structure == "paired":
            match(contents, self.name)
        return contents

    def close(self) -> None:
        """Close both."""
        for source in self.sides.values():
            source.close()


def match(contents: Contents, name: str) -> None:
    """Make pairs of the two sides of a contents by their file names, or by their places where both are arrays.

    Raises:
        UserError: There is no pair.
    """
    contents.paired = True
    unmatched: dict[str, list[str]] = {}
    for split in [s for s in ("train", "test", "") if ("a", s) in contents.pictures]:
        if ("b", split) not in contents.pictures:
            del contents.pictures["a", split]
            contents.notes.append(f"side A has a {split or 'whole'} part that B has not; it is not used")
            continue
        a, b = (contents.pictures[side, split] for side in "ab")
        if isinstance(a, ArrayPictures) and isinstance(b, ArrayPictures):
            if len(a.names) != len(b.names):
                raise UserError(
                    f"{name}: side A has {len(a.names)} images and side B {len(b.names)}; arrays are pairs by their places"
                )
            continue
        if not (isinstance(a, FilePictures) and isinstance(b, FilePictures)):
            raise UserError(f"{name}: pairs are two folders or archives, or two arrays; not one of each")
        *stems, note = matched(*(layout.by_stem(_stems(p.names), contents.left) for p in (a, b)))
        contents.notes += [note] if note and note not in contents.notes else []
        common = [stem for stem in stems[0] if stem in stems[1]]
        for own, other, side in ((stems[0], stems[1], "B"), (stems[1], stems[0], "A")):
            contents.left += [
                (n, f"no file of this name on side {side}") for stem, n in own.items() if stem not in other
            ]
        unmatched = dict(zip("ab", map(sorted, stems), strict=True))
        for side, pictures, found in (("a", a, stems[0]), ("b", b, stems[1])):
            contents.pictures[side, split] = FilePictures(
                pictures.tree, [found[stem] for stem in common], pictures.half
            )
        if not common:
            del contents.pictures["a", split], contents.pictures["b", split]
    for part in [p for p in contents.pictures if p[0] == "b" and ("a", p[1]) not in contents.pictures]:
        del contents.pictures[part]
    if not contents.pictures:
        raise UserError(layout.no_common(name, unmatched.get("a", []), unmatched.get("b", [])))


def _stems(names: Sequence[str]) -> list[tuple[str, str]]:
    """Shorten names by the folders that all have in common and by their endings, and keep the whole names."""
    tops = os.path.commonpath([os.path.dirname(n) for n in names]) if names else ""
    return [(composed(stem_of(n.removeprefix(f"{tops}/") if tops else n)), n) for n in names]


def side_by_side(contents: Contents, order: str) -> Contents:
    """Cut every image of a contents into two sides: A is the left half (ab) or the right one (ba)."""
    halves = dict(zip(order, ("left", "right"), strict=True))
    cut = replace(contents, pictures={}, labels={}, captions={}, class_names=[], paired=True)
    for (_, split), pictures in contents.pictures.items():
        for side in "ab":
            if isinstance(pictures, FilePictures):
                cut.pictures[side, split] = FilePictures(pictures.tree, pictures.names, halves[side])
            elif isinstance(pictures, ArrayPictures):
                width = pictures.array.shape[3]
                if width % 2:
                    raise UserError(f"{pictures.title}: two pictures side by side have an even width, not {width}")
                where = slice(0, width // 2) if halves[side] == "left" else slice(width // 2, width)
                cut.pictures[side, split] = ArrayPictures(pictures.array[..., where], pictures.title)
    return cut


def check_sides(settings: DataSettings, kind: str) -> None:
    """Refuse settings of two sides for data that have one, and settings that contradict each other."""
    plain = DataSettings(settings.data)
    for key, kinds in _TWO.items():
        if getattr(settings, key) != getattr(plain, key) and kind not in kinds:
            raise UserError(f"{key}= is for {' and '.join(kinds)} data; this system takes {kind} data")
    if settings.derive != "none" and (settings.layout != "folders" or settings.label_maps or settings.bits == 16):
        raise UserError(
            f"derive={settings.derive} makes pairs of plain images; leave out layout=, label_maps= and bits="
        )
    resolved(settings.gray_window)
    if settings.slices is not None and settings.slices[0] > settings.slices[1]:
        first, last = settings.slices
        raise UserError(f"slices={first:g},{last:g} takes none; give the first slice first")
    if settings.bits == 16 and settings.binarize != "none":
        raise UserError("bits=16 and binarize= contradict each other")
