"""The structure of a folder or archive, read from names alone: splits, classes, two sides, captions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.captions import TABLES, Table, read_captions, why_none
from genzoo.data.stock import FilePictures, Stock
from genzoo.data.trees import Tree

HOW_PAIRED = (
    "paired data is two subfolders A and B with equal file names (also below train/ and test/; sides= if they have other names), "
    "data=FOLDER_A,FOLDER_B, one image with both side by side (layout=ab), or plain images and derive=gray, edges, masked, low or labels"
)
HOW_UNPAIRED = "unpaired data is subfolders trainA and trainB (and testA, testB), or A and B, or data=FOLDER_A,FOLDER_B"
HOW_CAPTIONED = (
    "captions stand in captions.csv or metadata.csv with columns file,caption, or in the table captions=FILE"
)
HOW = {"paired": HOW_PAIRED, "unpaired": HOW_UNPAIRED, "captioned": HOW_CAPTIONED}
"""How each structure is laid out, for the message to somebody whose data have another."""
THINGS = {"audio": "sound", "video": "clip", "voxels": "shape"}
"""What an example is called where it is no image."""
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
_INSTANCES = ("instance", "instances", "inst")


@dataclass(frozen=True)
class Item:
    """One file: its real name, and where it stands.

    Args:
        name: Name in the tree.
        split: train, test, or empty.
        parts: The path below the split.
    """

    name: str
    split: str
    parts: tuple[str, ...]


def arrange(
    tree: Tree, structure: str, where: str, table: Table | None = None, sides: tuple[str, str] = ("A", "B")
) -> Stock:
    """Read the structure of `tree` ("image", "captioned", "paired", "unpaired", "audio", "video" or "voxels").

    `table` has captions from elsewhere; `sides` are the folders of two domains.
    """
    stock = Stock({}, left=list(tree.left))
    tables = [n for n in tree.names if n.rsplit("/", 1)[-1].lower() in TABLES]
    captions = read_captions(tree, tables, table, stock.left)
    names = (sides[0].lower(), sides[1].lower())
    items = _split(
        _strip([n for n in tree.names if n not in tables], names), stock, names, structure in ("paired", "unpaired")
    )
    if not items:
        raise UserError(no_images(where, stock.left, what=THINGS.get(structure, "image")))
    if structure in ("paired", "unpaired"):
        return _sides(tree, items, structure, where, stock, sides)
    for split in dict.fromkeys(i.split for i in items):
        chosen = [i for i in items if i.split == split]
        if structure == "captioned":
            stock.left += [(i.name, "no caption") for i in chosen if i.name not in captions]
            chosen = [i for i in chosen if i.name in captions]
        if captions:
            stock.captions[split] = ["\n".join(captions.get(i.name, [])) for i in chosen]
        stock.pictures["image", split] = FilePictures(tree, [i.name for i in chosen])
    if structure == "captioned" and not any(len(p.names) for p in stock.pictures.values()):
        raise UserError(why_none(where, [*tables, *([table.path.name] if table else [])], stock.left, HOW_CAPTIONED))
    _classes(items, stock)
    return stock


def no_images(where: str, left: list[tuple[str, str]], *, what: str = "image") -> str:
    """The message for a place without a usable image: how many files were seen, and what was wrong with the first."""
    if not left:
        return f"{where} has no {what}s: no files were seen"
    first = "; ".join(f"{printable(name)}: {printable(reason)}" for name, reason in left[:3])
    return (
        f"{where} has no usable {what}: {len(left)} file{'s' * (len(left) > 1)} seen ({first}{'; …' * (len(left) > 3)})"
    )


def printable(text: str) -> str:
    """Escape what a hostile file name could do to a terminal or a report."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _strip(names: list[str], sides: tuple[str, str]) -> list[Item]:
    """Drop folders that hold everything (an archive's own name), unless they mean something."""
    items = [Item(n, "", PurePosixPath(n).parts) for n in names]
    while items and all(len(i.parts) > 1 for i in items):
        tops = {i.parts[0] for i in items}
        if len(tops) > 1 or tops.pop().lower() in (*_TRAIN, *_TEST, *sides, *(f"train{side}" for side in sides)):
            break
        items = [Item(i.name, "", i.parts[1:]) for i in items]
    return items


def _split(items: list[Item], stock: Stock, names: tuple[str, str], two: bool) -> list[Item]:
    """Put train/, test/ (or val/), trainA/ ... into the `split`; without a training folder there are no splits.

    Where `two` sides are wanted, one of trainA/ and trainB/ is enough to see that they are meant, and the other is missed later.
    """
    tops = {i.parts[0].lower() for i in items if len(i.parts) > 1}
    wanted = {f"train{name}" for name in names}
    sides = bool(wanted & tops) if two else wanted <= tops
    train = next((t for t in _TRAIN if t in tops), None)
    test = next((t for t in _TEST if t in tops), None)
    if sides:
        more = (x for x in _INSTANCES if f"train{x}" in tops)
        heads = {f"{s}{x}": (s, (x,)) for s in ("train", "test") for x in (*names, *more)}
    elif train:
        heads = {train: ("train", ()), **({test: ("test", ())} if test else {})}
    else:
        return items
    found, other = [], Counter[str]()
    for i in items:
        head = i.parts[0].lower() if len(i.parts) > 1 else ""
        if head in heads:
            split, front = heads[head]
            found.append(Item(i.name, split, (*front, *i.parts[1:])))
        else:
            other[f"{i.parts[0]}/" if len(i.parts) > 1 else i.name] += 1
    stock.left += [(n, f"{c} file{'s' * (c > 1)} outside the splits {', '.join(heads)}") for n, c in other.items()]
    return found


def _classes(items: list[Item], stock: Stock) -> None:
    """Class subfolders become labels, if every image is in one and there are two or more."""
    tops = sorted({i.parts[0] for i in items if len(i.parts) > 1})
    if len(tops) < 2:
        return
    loose = sum(len(i.parts) == 1 for i in items)
    if loose:
        stock.notes.append(f"no labels: {loose} images stand beside the {len(tops)} subfolders")
        return
    number = {name: k for k, name in enumerate(tops)}
    where = {i.name: number[i.parts[0]] for i in items}
    stock.class_names = tops
    for (_, split), pictures in stock.pictures.items():
        stock.labels[split] = np.array([where[n] for n in pictures.names], dtype=np.int64)


def _sides(tree: Tree, items: list[Item], structure: str, where: str, stock: Stock, names: tuple[str, str]) -> Stock:
    """Two domains: subfolders A and B, and for pairs perhaps one of instance maps."""
    fields = dict(zip((n.lower() for n in names), "ab", strict=True)) | (
        dict.fromkeys(_INSTANCES, "instance") if structure == "paired" else {}
    )
    sides: dict[tuple[str, str], list[Item]] = {}
    other = Counter[str]()
    for i in items:
        side = fields.get(i.parts[0].lower()) if len(i.parts) > 1 else None
        if side:
            sides.setdefault((side, i.split), []).append(i)
        elif len(i.parts) > 1:
            other[i.name[: -len("/".join(i.parts[1:]))]] += 1
        else:
            stock.left.append((i.name, f"not below {names[0]} or {names[1]}"))
    stock.left += [
        (folder, f"{n} file{'s' * (n > 1)} not below {names[0]} or {names[1]}") for folder, n in other.items()
    ]
    splits = [s for s in ("train", "test", "") if ("a", s) in sides and ("b", s) in sides]
    if not splits or (len(splits) == 1 and splits[0] == "test"):
        there = {side for side, _ in sides if side != "instance"}
        half = (
            f": {names[0 if 'a' in there else 1]} has images, {names[1 if 'a' in there else 0]} has none"
            if len(there) == 1
            else ""
        )
        raise UserError(f"{where} has no two sides{half}. {HOW_PAIRED if structure == 'paired' else HOW_UNPAIRED}")
    if structure == "unpaired":
        for (side, split), members in sides.items():
            stock.pictures[side, split] = FilePictures(tree, [i.name for i in members])
        return stock
    stock.paired = True
    told = {"a": names[0], "b": names[1], "instance": "the folder of instances"}
    known = [f for f in ("a", "b", "instance") if any(side == f for side, _ in sides)]
    for split in splits:
        files = {f: {_stem(i): i.name for i in sides.get((f, split), [])} for f in known}
        common = [stem for stem in files["a"] if all(stem in files[f] for f in known)]
        for f in known:
            for stem, name in files[f].items():
                if missing := [told[o] for o in known if stem not in files[o]]:
                    stock.left.append((name, f"no file of this name in {' and '.join(missing)}"))
        if common:
            for f in known:
                stock.pictures[f, split] = FilePictures(tree, [files[f][stem] for stem in common])
    if not stock.pictures:
        raise UserError(no_common(where, *(sorted(_stem(i) for i in sides[f, splits[0]]) for f in "ab")))
    return stock


def no_common(where: str, a: list[str], b: list[str]) -> str:
    """The message where no file of one side has a partner on the other."""
    first = "; ".join(
        f"{s} has {', '.join(map(printable, n[:3]))}{', …' * (len(n) > 3)}" for s, n in (("A", a), ("B", b))
    )
    return f"{where}: no file name stands on both sides of the pairs ({first}). {HOW_PAIRED}"


def _stem(item: Item) -> str:
    return str(PurePosixPath(*item.parts[1:]).with_suffix(""))
