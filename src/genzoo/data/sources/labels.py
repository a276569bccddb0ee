"""Classes that are told beside the images: StyleGAN's dataset.json, a column of a table, one .cls an image; and folders that are none."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from genzoo.data.decode.forms import Rejected
from genzoo.data.sources.names import composed, key_of, stem_of
from genzoo.data.sources.parts import Item
from genzoo.data.sources.trees import Tree

LIST = "dataset.json"
"""The list of labels that StyleGAN's tools write into a folder or a zip."""
_MARK = ".cls"
_HEX = re.compile(r"[0-9a-f]{2,3}")


def told(
    tree: Tree, names: Sequence[str], rows: dict[str, str], notes: list[str], left: list[tuple[str, str]]
) -> dict[str, str] | None:
    """Find the class of every image that one is told for, by its name; None where nothing tells of classes.

    Args:
        tree: Where the images are.
        names: The images.
        rows: Classes that tables have in a column, by the name of the image.
        notes: Is added what was read.
        left: Is added what cannot be used, with the reason.
    """
    known = {composed(n): n for n in names}
    found: dict[str, str] = dict(rows)
    silent = False
    for table in [n for n in tree.names if n.rsplit("/", 1)[-1].lower() == LIST]:
        try:
            given = _dataset_json(tree, table)
        except Rejected as reason:
            left.append((table, str(reason)))
            continue
        if not given:
            silent = True
            notes.append(f"{table} has no labels: no image has a class")
            continue
        folder = table.rpartition("/")[0]
        missing = 0
        for name, word in given:
            path = composed(f"{folder}/{name}" if folder else name)
            missing += path not in known
            if path in known:
                found[known[path]] = word
        if missing:
            left.append((table, f"has labels of {missing} files that are not there"))
    for mark, name in marks(tree.names, names).items():
        if name not in found and (word := _first_line(tree, mark)):
            found[name] = word
    return found if found or silent else None


def vectors(
    tree: Tree, names: Sequence[str], place: str, left: list[tuple[str, str]]
) -> tuple[dict[str, str], set[str]]:
    """Find what stands at one place of the vectors that StyleGAN's lists have as labels, and the places that they have.

    Args:
        tree: Where the images are.
        names: The images.
        place: Which, counted from 0; nothing is read where it is no number.
        left: Is added what cannot be used, with the reason.

    Returns:
        The class of every image that has a vector, by its name, and all places as words.
    """
    known = {composed(n): n for n in names}
    found, places = dict[str, str](), set[str]()
    for table in [n for n in tree.names if n.rsplit("/", 1)[-1].lower() == LIST] if place.isdecimal() else []:
        try:
            given = [(name, label) for name, label in _entries(tree, table) if isinstance(label, list)]
            folder = table.rpartition("/")[0]
            places |= {str(i) for _, label in given for i in range(len(label))}
            for name, label in given:
                path = composed(f"{folder}/{name}" if folder else name)
                if path in known and int(place) < len(label):
                    found[known[path]] = _word(label[int(place)])
        except Rejected as reason:
            left.append((table, str(reason)))
    return found, places


def _dataset_json(tree: Tree, table: str) -> list[tuple[str, str]]:
    """Name and class of every entry; empty where there are no labels.

    Raises:
        Rejected: It is no list of labels, or its labels are no classes.
    """
    return [(name, _word(label)) for name, label in _entries(tree, table)]


def _entries(tree: Tree, table: str) -> list[tuple[str, Any]]:
    """Name and label of every entry that has one; empty where there are no labels.

    Raises:
        Rejected: It is no list of labels.
    """
    with tree.open(table) as file:
        raw = file.read()
    try:
        content: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise Rejected("not a list of labels: no valid JSON") from None
    if not isinstance(content, dict) or "labels" not in content:
        raise Rejected('not a list of labels: it has no "labels"')
    labels = content["labels"]
    if labels is None:
        return []
    entries = list(labels.items()) if isinstance(labels, dict) else labels
    if not isinstance(entries, list) or not all(
        isinstance(e, (list, tuple)) and len(e) == 2 and isinstance(e[0], str) for e in entries
    ):
        raise Rejected('not a list of labels: "labels" is [[file, class], ...] or null')
    return [(str(PurePosixPath(name.replace("\\", "/"))), label) for name, label in entries if label is not None]


def _word(label: Any) -> str:
    """Return the name of a class: a number, a word, or the place of the 1 in a vector.

    Raises:
        Rejected: The label is no class.
    """
    if isinstance(label, str) and label.strip():
        return composed(" ".join(label.split()))
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if isinstance(label, list) and label.count(1) == 1 and label.count(0) == len(label) - 1:
        return str(label.index(1))
    if isinstance(label, list):
        raise Rejected(
            f"labels that are vectors of {len(label)} values are no classes; a class is a number, a word or a vector with a single 1; "
            f"label=0 to label={len(label) - 1} takes one place of them as the class"
        )
    raise Rejected(f"a label is {json.dumps(label)[:40]}; a class is a number, a word or a vector with a single 1")


def marks(files: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Find the files that may tell the class of an image, and the image: those of its name, or of its sample, that end in .cls."""
    there = {stem_of(n): n for n in files if n.endswith(_MARK)}
    pairs = ((n, next((there[s] for s in (stem_of(n), key_of(n)[0]) if s in there), "")) for n in images if there)
    return {mark: n for n, mark in pairs if mark}


def _first_line(tree: Tree, mark: str) -> str:
    """Read the class from an image's .cls file, as shards of the WebDataset kind have them; empty without one."""
    try:
        with tree.open(mark) as file:
            return composed(" ".join(file.read(200).decode("utf-8").split()))
    except (Rejected, UnicodeDecodeError):
        return ""


def only_used(info: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Take the classes of which no example could be read out of the facts and labels of a cache entry; one class alone is none."""
    if not info["class_names"]:
        return
    stored = np.asarray(arrays["label"])
    used = np.unique(stored[stored >= 0])
    if len(used) < 2:
        info["notes"] = [*info["notes"], "no labels: all examples that can be read are of one class"]
        info["class_names"] = []
    elif len(used) < len(info["class_names"]):
        info["class_names"] = [info["class_names"][k] for k in used]
        arrays["label"] = np.where(stored < 0, -1, np.searchsorted(used, stored))


def in_order(words: Sequence[str]) -> list[str]:
    """Sort the different names of classes: numbers by their value, else by the alphabet."""
    names = set(words)
    return sorted(names, key=lambda n: (int(n), n)) if all(_is_number(n) for n in names) else sorted(names)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", text) is not None


def shards(items: Sequence[Item]) -> str | None:
    """Say why the top folders of `items` are shards of one set and no classes; None where they may be classes.

    Shards have numbers of equal width, four digits or more, and their files are numbered on from folder to folder, or have the
    folder's number at their end (1004321.jpg in 4321/); or they have two or three hexadecimal digits, with which every file's name of
    eight such digits or more begins. Classes with such names (0000/, 0001/) number their files anew in each, or not at all.
    """
    folders: dict[str, list[str]] = {}
    for i in items:
        if len(i.parts) > 1:
            folders.setdefault(i.parts[0], []).append(PurePosixPath(i.parts[-1]).stem)
    names = sorted(folders)
    if len(names) < 2 or len({len(n) for n in names}) > 1:
        return None
    if all(re.fullmatch(r"[0-9]{4,}", n) for n in names):
        ends = {n: [re.search(r"[0-9]+$", s) for s in stems] for n, stems in folders.items()}
        if any(e is None for found in ends.values() for e in found):
            return None
        numbers = {n: [int(e.group()) for e in found if e] for n, found in ends.items()}
        if all(max(numbers[a]) < min(numbers[b]) for a, b in itertools.pairwise(names)):
            return "their files are numbered on from folder to folder"
        size = 10 ** len(names[0])
        if all(k % size == int(n) and k >= size for n, found in numbers.items() for k in found):
            return "their files' numbers end with the folder's"
        return None
    lower = {n.lower(): [s.lower() for s in stems] for n, stems in folders.items()}
    hashed = all(_HEX.fullmatch(n) for n in lower) and all(
        s.startswith(n) and re.fullmatch(r"[0-9a-f]{8,}", s) for n, stems in lower.items() for s in stems
    )
    return "their files' names begin with the folder's" if hashed else None


def shelves(items: Sequence[Item]) -> bool:
    """Tell whether the top folders are letters and every folder below begins with its letter (Places365: a/abbey, b/bakery)."""
    deep = [i.parts for i in items if len(i.parts) > 2]
    tops = {i.parts[0] for i in items}
    return (
        len(deep) == len(items)
        and len(tops) > 1
        and all(len(t) == 1 and t.isalpha() for t in tops)
        and all(p[1].lower().startswith(p[0].lower()) for p in deep)
    )
