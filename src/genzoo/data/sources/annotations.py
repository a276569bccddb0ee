"""Lists that published sets have beside their images, in forms of their own: captions, attributes, parts.

| list | what it tells |
|---|---|
| COCO: `captions_train2017.json`; Karpathy's `dataset_coco.json` | captions; the latter also parts |
| Flickr: `results_20130124.token`, `Flickr8k.token.txt`, `Flickr_8k.trainImages.txt` | captions; parts |
| CelebA: `list_attr_celeba.txt`, `list_eval_partition.txt`, also as .csv | a class, of the attribute that label= names; parts |
| CUB: `text_c10/CLASS/NAME.txt`, `train_test_split.txt`, `trainvalclasses.txt` | captions; parts |
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from genzoo.core.errors import UserError, nearest
from genzoo.data.decode.forms import Rejected
from genzoo.data.formats import text_of
from genzoo.data.sources.names import composed, stem_of
from genzoo.data.sources.trees import Tree

_CAPTIONS = re.compile(r"captions[\w.-]*\.json|dataset_\w+\.json|.*\.token(\.txt)?")
_FLICKR_PART = re.compile(r"flickr_?\d+k\.(train|dev|val|test)images\.txt")
_PARTITION = {"0": "train", "1": "val", "2": "test"}
Entry = tuple[str, list[str], str]
"""Of an image: its file, its captions, its part."""


def is_caption_list(name: str) -> bool:
    """Tell whether a file is called as published lists of captions are; they stand anywhere beside the images."""
    return _CAPTIONS.fullmatch(name.rsplit("/", 1)[-1].lower()) is not None


def caption_list(name: str, content: bytes) -> list[Entry]:
    """Read a published list of captions.

    Raises:
        Rejected: It is none.
    """
    if not name.lower().endswith(".json"):
        return _tokens(content)
    try:
        told: Any = json.loads(content)
    except (ValueError, RecursionError):
        raise Rejected("no valid JSON: damaged or cut off") from None
    images = told.get("images") if isinstance(told, dict) else None
    if not isinstance(images, list) or not all(isinstance(i, dict) for i in images):
        raise Rejected('no captions in the form of COCO: it has no list "images"')
    if any("sentences" in i for i in images):
        return [
            (str(i.get("filename", "")), [_line(s.get("raw")) for s in i.get("sentences", []) if isinstance(s, dict)], _part(i.get("split")))
            for i in images
        ]  # fmt: skip
    notes = told.get("annotations")
    if not isinstance(notes, list) or not all(isinstance(n, dict) for n in notes):
        raise Rejected('no captions in the form of COCO: it has no list "annotations"')
    files = {i.get("id"): str(i.get("file_name", "")) for i in images}
    captions: dict[str, list[str]] = {}
    orphans = 0
    for note in notes:
        file = files.get(note.get("image_id"), "")
        orphans += not file
        if file and isinstance(note.get("caption"), str):
            captions.setdefault(file, []).append(_line(note["caption"]))
    if not captions:
        why = (
            f"none of its {len(notes)} annotations is a caption of an image that it lists"
            if notes
            else "it has no annotations"
        )
        raise Rejected(f"no captions: {why}")
    return [(f, c, "") for f, c in captions.items()]


def _line(text: Any) -> str:
    return " ".join(str(text or "").split())


def _part(word: Any) -> str:
    """Return Karpathy's parts: restval is what of the validation part may be trained on."""
    return "train" if word == "restval" else str(word or "")


def _tokens(content: bytes) -> list[Entry]:
    """Read lines NAME.jpg#0, tab, caption.

    Raises:
        Rejected: There is none.
    """
    captions: dict[str, list[str]] = {}
    for line in _lines(content):
        head, _, text = line.partition("\t")
        file = head.rpartition("#")[0] if re.search(r"#\d+$", head) else head
        if file and text.strip():
            captions.setdefault(file.strip(), []).append(_line(text))
    if not captions:
        raise Rejected("no line of the form NAME.jpg#0, tab, caption")
    return [(f, c, "") for f, c in captions.items()]


def _lines(content: bytes) -> list[str]:
    text = text_of(content)
    if text is None:
        raise Rejected("not text in UTF-8; save it as UTF-8")
    return [line for line in text.splitlines() if line.strip()]


class Lists:
    """What the lists beside images tell of attributes and parts.

    Args:
        tree: Where they are.
        examples: Names of the images.
        label: The attribute that is wanted as class; none when empty.
        captioned: Captions are wanted: of two divisions of birds, the one by species is taken.
    """

    def __init__(self, tree: Tree, examples: Sequence[str], label: str, *, captioned: bool) -> None:
        self.tree, self.label, self.captioned = tree, label, captioned
        self.classes: dict[str, str] = {}
        self.parts: dict[str, str] = {}
        self.used: set[str] = set()
        self.notes: list[str] = []
        self.left: list[tuple[str, str]] = []
        self.columns: set[str] = set()
        self.order: list[str] = []
        self.outside: set[str] = set()
        """Images that no list of parts has, where there are such lists."""
        lists = {n.rsplit("/", 1)[-1].lower(): n for n in tree.names if n.lower().endswith((".txt", ".csv"))}
        wanted = [k for k in lists if k in _READERS or _FLICKR_PART.fullmatch(k)]
        self._by_end: dict[str, list[str]] = {}
        for name in examples if wanted else []:
            self._by_end.setdefault(composed(name.rsplit("/", 1)[-1]), []).append(name)
        for key in wanted:
            try:
                reader = _READERS.get(key, Lists._flickr)
                reader(self, lists[key], lists)
            except Rejected as reason:
                self.left.append((lists[key], str(reason)))
            self.used.add(lists[key])
        if self.parts:
            self.outside = {n for n in examples if n not in self.parts}

    def _read(self, name: str) -> list[str]:
        with self.tree.open(name) as file:
            return _lines(file.read())

    def _named(self, file: str) -> list[str]:
        """Find the images that a list means, by the end of their paths."""
        file = composed(file.strip().replace("\\", "/"))
        found = self._by_end.get(file.rsplit("/", 1)[-1], [])
        return [n for n in found if n == file or n.endswith(f"/{file}")] if "/" in file else found

    def _missing(self, name: str, missing: Iterable[str]) -> None:
        if gone := list(missing):
            self.left.append((name, f"tells of {len(gone)} files that are not there, {gone[0]} is the first"))

    def _attributes(self, name: str, lists: dict[str, str]) -> None:
        """Read CelebA's list: a count, the names of the attributes, and a line of 1 and -1 for each image."""
        comma = name.lower().endswith(".csv")
        rows = [[c.strip() for c in line.split(",")] if comma else line.split() for line in self._read(name)]
        if not comma and rows and len(rows[0]) == 1:
            rows = rows[1:]
        if len(rows) < 2:
            raise Rejected("no list of attributes: it has no line for an image")
        names = rows[0][1:] if comma else rows[0]
        self.columns |= set(names)
        if not self.label:
            self.notes.append(f"{name} has {len(names)} attributes: label={names[0]} makes one of them the class")
            return
        at = next((i for i, n in enumerate(names) if n.lower() == self.label.lower()), None)
        if at is None:
            return
        self.order = [f"not {names[at]}", names[at]]
        torn, missing = 0, []
        for row in rows[1:]:
            if len(row) != len(names) + 1 or row[at + 1] not in ("1", "-1", "0"):
                torn += 1
                continue
            found = self._named(row[0])
            missing += [] if found else [row[0]]
            self.classes |= dict.fromkeys(found, names[at] if row[at + 1] == "1" else f"not {names[at]}")
        if torn:
            self.left.append((name, f"{torn} lines have not {len(names)} attributes of 1 and -1"))
        self._missing(name, missing)

    def _partition(self, name: str, lists: dict[str, str]) -> None:
        """Read CelebA's list of parts: 0 is for training, 1 for validation, 2 for testing."""
        pairs = [re.split(r"[\s,]+", line.strip())[:2] for line in self._read(name)]
        told = {p[0]: _PARTITION[p[1]] for p in pairs if len(p) == 2 and p[1] in _PARTITION}
        if not told:
            raise Rejected("no list of parts: no line has a file and 0, 1 or 2")
        self._give(name, told)

    def _give(self, name: str, told: dict[str, str]) -> None:
        missing = []
        for file, part in told.items():
            found = self._named(file)
            missing += [] if found else [file]
            self.parts |= dict.fromkeys(found, part)
        self._missing(name, missing)

    def _flickr(self, name: str, lists: dict[str, str]) -> None:
        """Read the names of the images of one part."""
        found = _FLICKR_PART.fullmatch(name.rsplit("/", 1)[-1].lower())
        assert found is not None
        self._give(name, dict.fromkeys(self._read(name), found[1]))

    def _birds(self, name: str, lists: dict[str, str]) -> None:
        """Read CUB's division of the images of every species: a number and 1 for training; images.txt has the files."""
        if "images.txt" not in lists:
            raise Rejected("images.txt, which says what its numbers are, is not beside it")
        if self.captioned and "trainvalclasses.txt" in lists:
            return
        numbered = dict(line.split(maxsplit=1) for line in self._read(lists["images.txt"]) if len(line.split()) > 1)
        self.used.add(lists["images.txt"])
        told = {}
        for line in self._read(name):
            number, *rest = line.split()
            if number in numbered and rest in (["0"], ["1"]):
                told[numbered[number]] = "train" if rest == ["1"] else "test"
        self._give(name, told)

    def _species(self, name: str, lists: dict[str, str]) -> None:
        """Read the species of one part: text-to-image systems are tested on birds that they have not seen."""
        if not self.captioned:
            return
        part = "test" if "test" in name.rsplit("/", 1)[-1].lower() else "train"
        species = set(self._read(name))
        self.parts |= {
            n: part
            for names in self._by_end.values()
            for n in names
            if n.split("/")[-2:-1] and n.split("/")[-2] in species
        }


_READERS = {
    "list_attr_celeba.txt": Lists._attributes, "list_attr_celeba.csv": Lists._attributes,
    "list_eval_partition.txt": Lists._partition, "list_eval_partition.csv": Lists._partition,
    "train_test_split.txt": Lists._birds, "trainvalclasses.txt": Lists._species, "testclasses.txt": Lists._species,
}  # fmt: skip


def texts_apart(tree: Tree, examples: Sequence[str]) -> dict[str, str]:
    """Find the texts of images in a folder text..., by class and name: text_c10/001.Albatross/1.txt is of images/001.Albatross/1.jpg."""
    texts = {
        "/".join(stem_of(n).split("/")[-2:]): n
        for n in tree.names
        if n.endswith(".txt") and any(part.lower().startswith("text") for part in n.split("/")[:-2])
    }
    return {n: texts[key] for n in examples if texts and (key := "/".join(stem_of(n).split("/")[-2:])) in texts}


def check_label(label: str, columns: set[str], where: str) -> None:
    """Refuse a label= that nothing beside the images is called.

    Raises:
        UserError: It is none of `columns`.
    """
    if label and label.lower() not in {c.lower() for c in columns}:
        there = ", ".join(sorted(columns)[:45]) or "none"
        raise UserError(
            f"label={label}: no list beside the images of {where} tells it{nearest(label, columns) or '.'} There are: {there}"
        )
