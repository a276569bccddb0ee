"""The structure of a folder or archive, read from names and from what stands beside the examples: parts, classes, two sides, captions.

An example is a file of the wanted kind: by its ending, and where that says nothing by its content. Everything else (a README, XML of
annotations, lists) neither makes a class nor takes one away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.arrangements import PLAIN
from genzoo.data.decode.forms import Rejected
from genzoo.data.sources import cityscapes, labels, samples
from genzoo.data.sources.affixes import masked, matched
from genzoo.data.sources.annotations import Lists, check_label, is_caption_list
from genzoo.data.sources.captions import TABLES, TEXTS, Table, Told, beside, read_tables, why_none
from genzoo.data.sources.contents import Contents, FilePictures
from genzoo.data.sources.names import FILES, composed, stem_of
from genzoo.data.sources.parts import Item, by_table, choose_test, divide, part_of
from genzoo.data.sources.trees import Tree

HOW_PAIRED = (
    "paired data is two subfolders A and B with equal file names (also below train/ and test/; sides= if they have other names), "
    "data=FOLDER_A,FOLDER_B, one image with both side by side (layout=ab), or plain images and derive=gray, edges, masked, low or labels"
)
HOW_UNPAIRED = "unpaired data is subfolders trainA and trainB (and testA, testB), or A and B, or data=FOLDER_A,FOLDER_B"
HOW_CAPTIONED = (
    "captions stand in captions.csv, metadata.csv or metadata.jsonl with columns file,caption, in a .txt of each image's name, or in the "
    "table captions=FILE"
)
HOW = {"paired": HOW_PAIRED, "unpaired": HOW_UNPAIRED, "captioned": HOW_CAPTIONED}
"""How each structure is laid out, for the message to somebody whose data have another."""
PICTURES = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos"}
NOTES = {
    *(
        "annotations",
        "annotation",
        "labels",
        "label",
        "masks",
        "mask",
        "trimaps",
        "segmentations",
        "segmentation",
        "segmentationclass",
    ),
    *(
        "segmentationobject",
        "groundtruth",
        "ground_truth",
        "gt",
        "attributes",
        "parts",
        "bboxes",
        "imagesets",
        "keypoints",
        "depth",
    ),
}
"""Folders of pictures that are no examples where a folder of PICTURES stands beside them."""
_INSTANCES = ("instance", "instances", "inst")
Subfolders = Literal["auto", "classes", "ignore"]
Look = Callable[[str], object]
"""Reads a file far enough to see that it is an example, by its name in the tree.

Raises:
    Rejected: It is none.
"""


@dataclass(frozen=True)
class Wish:
    """What is looked for in a tree.

    Args:
        structure: image, captioned, paired or unpaired; for another kind of data its name.
        look: Says of a file whether it is an example.
        thing: What an example is called.
        endings: Endings, without the dot, that make a file an example; of any other file the content decides.
        sides: Names of the folders of two domains.
        subfolders: What folders are: classes, nothing, or what their names and files say.
        label: What tells the class of an example: a column of a table, an attribute of a list; a usual name when empty.
    """

    structure: str
    look: Look
    thing: str
    endings: tuple[str, ...]
    sides: tuple[str, str]
    subfolders: Subfolders
    label: str = ""

    @property
    def two(self) -> bool:
        """True for two domains."""
        return self.structure in ("paired", "unpaired")


def arrange(tree: Tree, wish: Wish, where: str, table: Table | None = None) -> Contents:
    """Read the structure of `tree`; `table` has captions from elsewhere.

    Raises:
        UserError: There is no example, or the structure is another.
    """
    contents = Contents({}, left=list(tree.left))
    tables = [n for n in tree.names if n.rsplit("/", 1)[-1].lower() in TABLES or is_caption_list(n)]
    told = read_tables(tree, tables, table, wish.label)
    tabled = set(tables)
    examples, others = _sort_out([n for n in tree.names if n not in tabled], wish)
    texts = beside(tree, examples, told) if wish.structure == "captioned" else set[str]()
    examples, own = samples.told(tree, examples, told, wish.label)
    examples, lists_used = _listed(tree, examples, told, wish, where)
    texts |= own | lists_used
    lists = [n for n in others if n.rsplit("/", 1)[-1].lower() == labels.LIST]
    classes = told.classes if wish.label else labels.told(tree, examples, told.classes, told.notes, told.left)
    contents.left += told.left
    if not examples:
        raise UserError(no_images(where, [*contents.left, *others.items()], what=wish.thing))
    used = {*texts, *lists, *([] if classes is None else labels.marks(others, examples))}
    contents.left += _said({n: r for n, r in others.items() if n not in used}, examples, wish)
    items = [Item(n, "", _parts(n)) for n in examples]
    names = tuple(composed(s).lower() for s in wish.sides)
    items = cityscapes.arranged(
        _inside(items, wish, contents), wish.structure, wish.sides, contents.notes, contents.left
    )
    items = divide(items, contents.notes, contents.left, {*names, *_INSTANCES})
    items = by_table(items, told.splits, contents.notes)
    if wish.two:
        items = choose_test(items, (), contents.notes, contents.left)
        return _sides(tree, items, wish, where, contents)
    contents.notes += told.notes
    if wish.structure == "image" and (note := masked([i.name for i in items])):
        contents.notes.append(note)
    items = _classes(items, classes, wish, contents, told.order)
    for split in dict.fromkeys(i.split for i in items):
        chosen = [i for i in items if i.split == split]
        if wish.structure == "captioned":
            contents.left += [(i.name, "no caption") for i in chosen if i.name not in told.captions]
            chosen = [i for i in chosen if i.name in told.captions]
        if told.captions:
            contents.captions[split] = ["\n".join(told.captions.get(i.name, [])) for i in chosen]
        contents.pictures["image", split] = FilePictures(tree, [i.name for i in chosen])
        if contents.class_names:
            number = {name: k for k, name in enumerate(contents.class_names)}
            contents.labels[split] = np.array([number.get(i.parts[0], -1) for i in chosen], dtype=np.int64)
    if wish.structure == "captioned" and not any(len(p.names) for p in contents.pictures.values()):
        raise UserError(
            why_none(where, [*tables, TEXTS, *([table.path.name] if table else [])], contents.left, HOW_CAPTIONED)
        )
    return contents


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders of a name, and the file's own."""
    parts = tuple(name.split("/"))
    return PurePosixPath(name).parts if "" in parts or "." in parts else parts


def _listed(tree: Tree, examples: list[str], told: Told, wish: Wish, where: str) -> tuple[list[str], set[str]]:
    """Add what records and published lists tell to what tables do; the examples that are left, and the files that were read."""
    own = getattr(tree, "told", None)
    lists = Lists(tree, examples, wish.label, captioned=wish.structure == "captioned")
    if isinstance(own, Told):
        told.captions, told.classes, told.splits = (
            own.captions | told.captions,
            own.classes | told.classes,
            own.splits | told.splits,
        )
        told.order, told.columns = own.order, told.columns | own.columns
        told.notes += own.notes
    at, places = labels.vectors(tree, examples, wish.label, told.left)
    told.classes |= lists.classes | at
    told.order = lists.order or told.order
    told.splits = lists.parts | told.splits
    told.notes += lists.notes
    told.left += lists.left
    check_label(wish.label, told.columns | lists.columns | places, where)
    if lists.outside:
        first = printable(min(lists.outside))
        told.left.append((first, f"{len(lists.outside)} images like this one are in none of the lists of parts"))
    return [n for n in examples if n not in lists.outside], lists.used


def _sort_out(names: Sequence[str], wish: Wish) -> tuple[list[str], dict[str, str]]:
    """Separate the examples from the rest, which gets reasons."""
    endings = tuple(f".{e}" for e in wish.endings)
    examples, others = [], dict[str, str]()
    for name in names:
        if name.lower().endswith(endings) or (reason := _why_not(name, wish)) is None:
            examples.append(name)
        else:
            others[name] = reason
    return examples, others


def _why_not(name: str, wish: Wish) -> str | None:
    try:
        wish.look(name)
    except Rejected as reason:
        return str(reason)
    return None


def _said(others: dict[str, str], examples: Sequence[str], wish: Wish) -> list[tuple[str, str]]:
    """Say what was found beside the examples: one line for the notes of many examples, and for a folder without any."""
    if not others:
        return []
    stems = {stem_of(n) for n in examples}
    folders = {str(p) for n in examples for p in PurePosixPath(n).parents}
    said, groups = [], dict[tuple[str, str], list[str]]()
    for name, reason in others.items():
        path = PurePosixPath(name)
        if stem_of(name) in stems:
            groups.setdefault((f"*{path.suffix}", ""), []).append(name)
        elif str(path.parent) not in folders:
            top = next(p for p in reversed(path.parents) if str(p) not in folders)
            groups.setdefault((f"{top}/", reason), []).append(name)
        else:
            said.append((name, reason))
    for (place, reason), found in groups.items():
        if len(found) == 1:
            said.append((found[0], others[found[0]]))
        elif reason:
            said.append(
                (place, f"{len(found)} files, no {wish.thing} among them ({PurePosixPath(found[0]).name}: {reason})")
            )
        else:
            more = "; kind=captioned reads captions" if place == TEXTS and wish.structure == "image" else ""
            said.append((place, f"{len(found)} files beside {wish.thing}s of the same names{more}"))
    return said


def _inside(items: list[Item], wish: Wish, contents: Contents) -> list[Item]:
    """Drop folders that hold everything (an archive's own name), unless they mean something; and annotations beside the images."""
    names = {composed(s).lower() for s in wish.sides}
    while items and all(len(i.parts) > 1 for i in items):
        tops = {i.parts[0] for i in items}
        if wish.structure in ("image", "captioned") and len(tops) > 1:
            real = {t for t in tops if t.lower() in PICTURES}
            if len(real) == 1 and all(t in real or t.lower() in NOTES for t in tops):
                count = Counter(i.parts[0] for i in items if i.parts[0] not in real)
                kept = next(iter(real))
                contents.left += [
                    (
                        f"{t}/",
                        f"{n} pictures beside {kept}/: taken for annotations (kind=paired sides={t},{kept} takes both)",
                    )
                    for t, n in sorted(count.items())
                ]
                items, tops = [i for i in items if i.parts[0] in real], real
        top = next(iter(tops))
        if len(tops) > 1 or part_of(top, names) or (wish.two and composed(top).lower() in names):
            break
        items = [i.below() for i in items]
    return items


def no_images(where: str, left: list[tuple[str, str]], *, what: str = "image") -> str:
    """Explain why a place has no usable image: how many files were seen, and what was wrong with the first."""
    if not left:
        return f"{where} has no {what}s: no files were seen"
    first = "; ".join(f"{printable(name)}: {printable(reason)}" for name, reason in left[:3])
    said = (
        f"{where} has no usable {what}: {len(left)} file{'s' * (len(left) > 1)} seen ({first}{'; …' * (len(left) > 3)})"
    )
    seen = {name.rpartition("/")[2].removesuffix(".gz") for name, _ in left}
    if sets := [name for name, files in FILES.items() if not seen.isdisjoint(files)]:
        said += (
            f"; these are files of {' or '.join(sets)}: put them into $GENZOO_DATA/{sets[0]}/ and say data={sets[0]}"
        )
    return said


def printable(text: str) -> str:
    """Escape what a hostile file name could do to a terminal or a report."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _classes(
    items: list[Item], told: dict[str, str] | None, wish: Wish, contents: Contents, order: Sequence[str] = ()
) -> list[Item]:
    """Name the class of every example as the first of its `parts`, and choose the part for testing.

    Classes are those of the training part, told by a list or else its subfolders, where every example is in one and there are two or
    more. Examples of the test part without such a class are left out; a whole part of them stays, without classes, for images.
    """
    training = [i for i in items if i.split in ("train", "")]
    if told is not None and (missing := [i.name for i in training if i.name not in told]):
        if told:
            contents.notes.append(
                f"no labels: {len(missing)} {wish.thing}s have none in the list of labels, {printable(missing[0])} is the first"
            )
        told = {}
    if told is not None:
        words = {i.name: told.get(i.name, "") for i in items}
        names = labels.in_order([words[i.name] for i in training]) if told else []
        names = [n for n in order if n in names] if set(names) <= set(order) else names
    else:
        items = _first_folders(items, wish, contents)
        words = {i.name: composed(i.parts[0]) if len(i.parts) > 1 else "" for i in items}
        names = _folders_as_classes([i for i in items if i.split in ("train", "")], wish, contents)
    if len(names) < 2:
        return choose_test(items, (), contents.notes, contents.left)
    contents.class_names = names
    known = set(names)
    with_classes = {i.split for i in items if words[i.name] in known}
    items = choose_test(items, with_classes, contents.notes, contents.left)
    items = [Item(i.name, i.split, (words[i.name], i.parts[-1])) for i in items]
    test = [i for i in items if i.split == "test"]
    strange = [i for i in test if i.parts[0] not in known]
    if strange and (wish.thing != PLAIN.of or (wish.structure == "image" and len(strange) < len(test))):
        count = Counter(i.parts[0] for i in strange)
        contents.left += [
            (f"test: {c}" if c else "test", f"{n} {wish.thing}{'s' * (n > 1)}, no class of the training part")
            for c, n in count.items()
        ]
        left = {i.name for i in strange}
        return [i for i in items if i.name not in left]
    if strange:
        folders = sorted({i.parts[0] for i in strange} - {""})
        unknown = (
            f" ({', '.join(folders[:4])}{', …' * (len(folders) > 4)}: no class of the training part)" if folders else ""
        )
        contents.notes.append(
            f"the test part ({len(test)} images) has no labels{unknown}: it is no test part for systems with classes"
        )
    return items


def _first_folders(items: list[Item], wish: Wish, contents: Contents) -> list[Item]:
    """Bring the folders that could be classes to the top of every part."""
    for split in sorted({i.split for i in items}, key=("train", "", "test", "val").index):
        classes = {i.parts[0] for i in items if i.split in ("train", "") and len(i.parts) > 1}
        while True:
            part = [i for i in items if i.split == split]
            tops = {i.parts[0] for i in part}
            if any(len(i.parts) < 2 for i in part) or len(tops) > 1 or (split in ("test", "val") and tops <= classes):
                break
            items = [i.below() if i.split == split else i for i in items]
            if split in ("train", ""):
                classes = {i.parts[0] for i in items if i.split == split and len(i.parts) > 1}
    if wish.subfolders == "auto" and labels.shelves(items):
        contents.notes.append(
            "the folders of single letters hold what begins with them: the folders in them are the classes"
        )
        return [i.below() for i in items]
    return items


def _folders_as_classes(training: list[Item], wish: Wish, contents: Contents) -> list[str]:
    """Return the subfolders of the training part as classes in order, none where they are something else; a note says so."""
    tops = sorted({i.parts[0] for i in training if len(i.parts) > 1})
    if len(tops) < 2 or wish.subfolders == "ignore":
        return []
    loose = [i for i in training if len(i.parts) == 1]
    broken = {i.name: r for i in loose if (r := _why_not(i.name, wish)) is not None}
    loose = [i for i in loose if i.name not in broken]
    if loose:
        one = len(loose) == 1
        contents.notes.append(
            f"no labels: {len(loose)} {wish.thing}{'' if one else 's'} ({printable(loose[0].name)}{'' if one else ' …'}) "
            f"stand{'s' * one} beside the {len(tops)} subfolders; move {'it' if one else 'them'} away, or into a subfolder"
        )
        return []
    why = labels.shards(training) if wish.subfolders == "auto" else None
    if why:
        contents.notes.append(
            f"no labels: {tops[0]}/ … {tops[-1]}/ are read as numbered shards of one set and not as classes, for {why}; "
            "subfolders=classes makes them classes"
        )
        return []
    return sorted({composed(t) for t in tops})


def _sides(tree: Tree, items: list[Item], wish: Wish, where: str, contents: Contents) -> Contents:
    """Find two domains: subfolders A and B, and for pairs perhaps one of instance maps."""
    names, paired = wish.sides, wish.structure == "paired"
    fields = dict(zip((composed(n).lower() for n in names), "ab", strict=True)) | (
        dict.fromkeys(_INSTANCES, "instance") if paired else {}
    )
    sides: dict[tuple[str, str], list[Item]] = {}
    other = Counter[str]()
    for i in items:
        side = fields.get(composed(i.parts[0]).lower()) if len(i.parts) > 1 else None
        if side:
            sides.setdefault((side, i.split), []).append(i)
        elif len(i.parts) > 1:
            other[i.name[: -len("/".join(i.parts[1:]))]] += 1
        else:
            contents.left.append((i.name, f"not below {names[0]} or {names[1]}"))
    contents.left += [
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
        beside = masked([i.name for i in items]) if paired else ""
        raise UserError(
            f"{where} has no two sides{half}. {f'{beside}. ' if beside else ''}{HOW_PAIRED if paired else HOW_UNPAIRED}"
        )
    if not paired:
        for (side, split), members in sides.items():
            contents.pictures[side, split] = FilePictures(tree, [i.name for i in members])
        return contents
    contents.paired = True
    told = {"a": names[0], "b": names[1], "instance": "the folder of instances"}
    known = [f for f in ("a", "b", "instance") if any(side == f for side, _ in sides)]
    for split in splits:
        files = {f: by_stem(((_stem(i), i.name) for i in sides.get((f, split), [])), contents.left) for f in known}
        files["a"], files["b"], note = matched(files["a"], files["b"])
        contents.notes += [note] if note and note not in contents.notes else []
        common = [stem for stem in files["a"] if all(stem in files[f] for f in known)]
        for f in known:
            for stem, name in files[f].items():
                if missing := [told[o] for o in known if stem not in files[o]]:
                    contents.left.append((name, f"no file of this name in {' and '.join(missing)}"))
        if common:
            for f in known:
                contents.pictures[f, split] = FilePictures(tree, [files[f][stem] for stem in common])
    if not contents.pictures:
        raise UserError(no_common(where, *(sorted(_stem(i) for i in sides[f, splits[0]]) for f in "ab")))
    return contents


def by_stem(found: Iterable[tuple[str, str]], left: list[tuple[str, str]]) -> dict[str, str]:
    """Return names by what pairs are matched by; of several the first, and the others are added to `left`."""
    names: dict[str, str] = {}
    for stem, name in found:
        if names.setdefault(stem, name) != name:
            left.append((name, f"{PurePosixPath(names[stem]).name} has the same name but for the ending and is used"))
    return names


def no_common(where: str, a: list[str], b: list[str]) -> str:
    """Explain that no file of one side has a partner on the other."""
    first = "; ".join(
        f"{s} has {', '.join(map(printable, n[:3]))}{', …' * (len(n) > 3)}" for s, n in (("A", a), ("B", b))
    )
    return (
        f"{where}: no file name stands on both sides of the pairs ({first}). {HOW_PAIRED}. Two folders that are no pairs are kind=unpaired: "
        "'genzoo list task=translate' says which systems learn from them (cyclegan, discogan)"
    )


def _stem(item: Item) -> str:
    return composed(str(PurePosixPath(*item.parts[1:]).with_suffix("")))
