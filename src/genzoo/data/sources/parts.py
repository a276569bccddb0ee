"""Training, test and validation parts by the names of folders, in any usual spelling, at the top or inside classes and sides."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

WORDS = {
    "train": ("train", "training", "trainset", "traindata", "trainval", "trn"),
    "test": ("test", "testing", "testset", "testdata", "tst"),
    "val": (
        *("val", "valid", "validation", "validate", "valset", "validset"),
        *("dev", "devel", "development", "devset", "eval", "evaluation", "holdout", "heldout"),
    ),
}
"""What folders of each part are called."""
_PART = {word: part for part, words in WORDS.items() for word in words}
_NEUTRAL = {"set", "sets", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split", "part"}
"""Words that may stand beside the word of a part and say nothing: train2017, training_set, images-train."""
DEPTH = 3
"""Parts are looked for in so many levels of folders."""


@dataclass(frozen=True)
class Item:
    """One example: its real name, and where it stands.

    Args:
        name: Name in the tree.
        split: train, test, val, or empty.
        parts: The path below the folder of the part.
    """

    name: str
    split: str
    parts: tuple[str, ...]

    def below(self, level: int = 0) -> Item:
        """Return the same item without its folder at a level."""
        return Item(self.name, self.split, (*self.parts[:level], *self.parts[level + 1 :]))


def part_of(name: str, tails: Collection[str] = ()) -> tuple[str, str] | None:
    """Return the part (train, test ...) that a folder's name tells, and what else it says; None where it tells none.

    >>> part_of("Validation"), part_of("train2017"), part_of("DIV2K_valid_HR"), part_of("trees")
    (('val', ''), ('train', ''), ('val', 'DIV2K HR'), None)

    Args:
        name: Name of the folder.
        tails: Names in lower case that may be joined to a word without anything between: trainphoto.
    """
    folded = name.lower()
    for word in sorted(_PART, key=len, reverse=True):
        if folded.startswith(word) and folded[len(word) :].lstrip("-_ .") in tails:
            return _PART[word], folded[len(word) :].lstrip("-_ .")
    tokens = re.findall(r"\d+|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+", name)
    found = [t for t in tokens if t.lower() in _PART]
    if len(found) != 1:
        return None
    rest = [t for t in tokens if t != found[0]]
    says = any(not t.isdigit() and t.lower() not in _NEUTRAL for t in rest)
    before, _, after = name.partition(found[0])
    return _PART[found[0].lower()], " ".join(re.findall(r"[^\W_]+", f"{before} {after}")) if says else ""


def parts_among(names: Iterable[str], tails: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """Find out which of some sibling folders are parts of one set: part and rest by name; empty without one for training.

    A name that says more than the part counts where another part has the same rest (cats_train and cats_test), or where the rest is
    one of `tails`. What all rests have in common is cut off.
    """
    found = {n: p for n in names if (p := part_of(n, tails))}
    alike: dict[str, set[str]] = {}
    for part, rest in found.values():
        alike.setdefault(rest.lower(), set()).add(part)
    found = {
        n: (part, rest)
        for n, (part, rest) in found.items()
        if not rest or rest.lower() in tails or ("train" in alike[rest.lower()] and len(alike[rest.lower()]) > 1)
    }
    if all(part != "train" for part, _ in found.values()):
        return {}
    rests = {rest for _, rest in found.values()}
    if len(rests) == 1:
        return found if rests & set(tails) else {n: (part, "") for n, (part, _) in found.items()}
    words = [rest.split() for rest in rests]
    common = next(
        (k for k, column in enumerate(zip(*words, strict=False)) if len(set(column)) > 1), min(map(len, words))
    )
    return {n: (part, " ".join(rest.split()[common:])) for n, (part, rest) in found.items()}


def divide(
    items: Sequence[Item], notes: list[str], left: list[tuple[str, str]], tails: Collection[str] = ()
) -> list[Item]:
    """Put every item into its part; all stay in one where no folders of parts are seen.

    Folders of parts stand at the top (train/cat/1.png) or at one level inside classes or sides (chair/train/1.off), where most of
    the folders of that level have one for training. What lies beside them is added to `left`.
    """
    for level in range(DEPTH):
        families: dict[tuple[str, ...], set[str]] = {}
        for i in items:
            if len(i.parts) > level + 1:
                families.setdefault(i.parts[:level], set()).add(i.parts[level])
        everything = {name for names in families.values() for name in names}
        heads = {} if level == 0 and _train_is_a_class(items, notes) else parts_among(everything, tails)
        trained = sum(any(heads.get(n, ("",))[0] == "train" for n in names) for names in families.values())
        if heads and 2 * trained > len(families):
            return _divided(items, level, heads, left)
        if everything and all(p and p[0] != "train" and not p[1] for p in map(part_of, everything)):
            if all(len(i.parts) > level + 1 for i in items):
                said = " and ".join(f"{n}/" for n in sorted(everything))
                notes.append(f"{said}: no training folder stands beside, so what there is is one set")
                return [i.below(level) for i in items]
            return list(items)
    return _by_file_names(items, notes)


def word_of(text: str) -> str:
    """Return the part that a word tells (train, test, val), or nothing: a cell of a table, or a piece of a file's name.

    >>> word_of("Training"), word_of("train2017"), word_of("tree")
    ('train', 'train', '')
    """
    return _PART.get(re.sub(r"[\W_\d]+$", "", text.strip().lower()), "")


def _by_file_names(items: Sequence[Item], notes: list[str]) -> list[Item]:
    """Put items into parts by the first or the last word of their file names (train_001.png, 7-test.png), where every one has such a word."""
    told: dict[str, str] = {}
    for i in items:
        words = re.split(r"[-_. ]+", os.path.splitext(i.parts[-1])[0])
        found = {part for w in (words[0], words[-1]) if (part := word_of(w))} if len(words) > 1 else set()
        told |= {i.name: found.pop()} if len(found) == 1 else {}
    kinds = set(told.values())
    if "train" not in kinds or len(kinds) < 2:
        return list(items)
    if len(told) < len(items):
        first = next(i.name for i in items if i.name not in told)
        notes.append(
            f"{len(told)} of {len(items)} file names tell a part ({next(iter(told))}), {first} does not: all are one set; put the parts into "
            "folders train/ and test/"
        )
        return list(items)
    count = Counter(told.values())
    notes.append(
        f"parts are told by file names ({items[0].parts[-1]} ...): "
        + ", ".join(f"{k} {n}" for k, n in sorted(count.items()))
    )
    return [Item(i.name, told[i.name], i.parts) for i in items]


def by_table(items: Sequence[Item], told: dict[str, str], notes: list[str]) -> list[Item]:
    """Put items into the parts that a table's column tells, where no folder tells one.

    Args:
        items: All examples.
        told: What stands in the column, by the name of the example; examples without a cell are not in it.
        notes: Is added what was read, or why nothing is.
    """
    if not told:
        return list(items)
    if any(i.split for i in items):
        notes.append("the parts of folders or file names are used, and not those of the table's column split")
        return list(items)
    parts = {name: word_of(cell) for name, cell in told.items()}
    odd = next((told[name] for name, part in parts.items() if not part), None)
    lacking = [i.name for i in items if i.name not in parts]
    if odd is not None or lacking or "train" not in parts.values():
        why = (
            f"it says '{odd[:30]}', which is no word for train, test or val" if odd is not None
            else f"{len(lacking)} images have none, {lacking[0]} is the first" if lacking else "it says train of no image"
        )  # fmt: skip
        notes.append(f"the table's column split is not used: {why}; all are one set")
        return list(items)
    count = Counter(parts[i.name] for i in items)
    notes.append(
        "parts are told by the table's column split: " + ", ".join(f"{k} {n}" for k, n in sorted(count.items()))
    )
    return [Item(i.name, parts[i.name], i.parts) for i in items]


def _divided(
    items: Sequence[Item], level: int, heads: dict[str, tuple[str, str]], left: list[tuple[str, str]]
) -> list[Item]:
    found, other = [], Counter[str]()
    for i in items:
        head = heads.get(i.parts[level]) if len(i.parts) > level + 1 else None
        if head is None:
            place = i.parts[: level + 1] if len(i.parts) > level + 1 else ()
            other[i.name[: len(i.name) - len("/".join(i.parts[len(place) :]))] if place else i.name] += 1
        else:
            part, rest = head
            front = (rest,) if rest else ()
            found.append(Item(i.name, part, (*front, *i.parts[:level], *i.parts[level + 1 :])))
    left += [(n, f"{c} file{'s' * (c > 1)} outside the splits {', '.join(sorted(heads))}") for n, c in other.items()]
    return found


def _train_is_a_class(items: Sequence[Item], notes: list[str]) -> bool:
    """Tell whether the folder `train` is a class, a vehicle: flat among two or more other flat folders, none of them for testing."""
    tops = {i.parts[0] for i in items if len(i.parts) > 1}
    named = [t for t in tops if part_of(t)]
    flat = {i.parts[0] for i in items if len(i.parts) == 2} - {i.parts[0] for i in items if len(i.parts) > 2}
    vehicle = len(named) == 1 and named[0].lower() == "train" and tops <= flat and len(tops) > 2
    if vehicle:
        notes.append(f"{named[0]}/ is read as a class beside the others: there is no folder for testing")
    return vehicle


def choose_test(
    items: Sequence[Item], labelled: Collection[str], notes: list[str], left: list[tuple[str, str]]
) -> list[Item]:
    """Keep one part for testing, as `test`: the test part, else the validation part.

    Where the training part has classes and only the validation part has them too, that one is taken.

    Args:
        items: All examples.
        labelled: The parts whose examples have classes.
        notes: Is added which part is used and which is not.
        left: Is added what is not used.
    """
    there = {i.split for i in items}
    if {"test", "val"} <= there:
        better = "val" in labelled and "test" not in labelled
        unused, name = ("test", "test") if better else ("val", "validation")
        why = "the validation part has classes, this one has none" if better else "there is a test part"
        names = [i.name for i in items if i.split == unused]
        notes.append(f"the {name} part ({len(names)} file{'s' * (len(names) > 1)}) is not used: {why}")
        folder = os.path.commonpath(names) if len(names) > 1 else names[0]
        left.append((f"{folder}/" if len(names) > 1 and folder else names[0], f"{name} part, not used: {why}"))
        items = [i for i in items if i.split != unused]
    return [Item(i.name, "test", i.parts) if i.split == "val" else i for i in items]
