"""Captions: tables of file and text, one or several lines for an image, and the same as rows of numbers for a model to read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import UserError, nearest
from genzoo.core.files import folder_named
from genzoo.data.decode.forms import Rejected
from genzoo.data.formats import text_of
from genzoo.data.sources.annotations import caption_list, is_caption_list, texts_apart
from genzoo.data.sources.names import composed, stem_of
from genzoo.data.sources.trees import MAX_BYTES, Tree, slashed
from genzoo.text.vocabulary import split, to_ids

TABLES = tuple(f"{name}.{end}" for name in ("captions", "metadata") for end in ("csv", "tsv", "txt", "jsonl"))
"""Files that are tables of captions, in lower case."""
FILE_COLUMNS, TEXT_COLUMNS = (
    ("file", "file_name", "filename", "image", "image_name"),
    ("caption", "text", "captions", "comment"),
)
LABEL_COLUMNS = ("label", "class", "class_name")
SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")
TEXTS = "*.txt"
"""What the texts beside images, one each, are called together."""
_LONGEST = 2**16
_NUMBERS = re.compile(r"[\d\s.,eE+-]+")
"""What a file of boxes holds (YOLO), and a caption does not."""


@dataclass(frozen=True)
class Sentences:
    """The captions of images as numbers of words.

    Args:
        ids: Every caption, int32 [M, L], filled up with 0.
        first: Where the captions of each image begin, int64 [N + 1]: those of image i are rows first[i] to first[i + 1] - 1.
    """

    ids: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], words: Sequence[str]) -> Sentences:
        """Cut the captions of every image into words once, and number them by a vocabulary."""
        first = np.cumsum([0, *(len(t) for t in texts)]).astype(np.int64)
        return cls(to_ids([split(t) for group in texts for t in group], words), first)

    def pick(self, images: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Pick one caption of each image, int64 [n, L]: the first, or with `rng` any of them; a row of zeros where there is none."""
        start, count = self.first[images], np.diff(self.first)[images]
        chosen = start + (0 if rng is None else (rng.random(len(images)) * count).astype(np.int64))
        rows: np.ndarray = self.ids[np.minimum(chosen, max(len(self.ids) - 1, 0))].astype(np.int64)
        rows[count == 0] = 0
        return rows


class Table:
    """A table of captions outside of the images' own folder or archive.

    Args:
        text: Path of the file, or its name below $GENZOO_DATA.

    Raises:
        UserError: There is no such file.
    """

    def __init__(self, text: str) -> None:
        self.path = Path(text).expanduser()
        root = folder_named("GENZOO_DATA")
        if not self.path.is_file() and root and (root / text).is_file():
            self.path = root / text
        if not self.path.is_file():
            beside = [p.name for p in self.path.parent.iterdir()] if self.path.parent.is_dir() else []
            raise UserError(f"captions={text}: there is no such file{nearest(self.path.name, beside)}")
        if self.path.stat().st_size > MAX_BYTES:
            raise UserError(f"captions={text} is larger than {MAX_BYTES // 2**20} MiB")

    def read(self) -> bytes:
        """Read the content of the table."""
        return self.path.read_bytes()


@dataclass
class Told:
    """What tables say of images, by the name of the image in the tree.

    Args:
        captions: Captions, in the order of the tables.
        classes: Names of classes, where a table has a column of them.
        splits: What a column of parts says (train, test ...), where a table has one.
        notes: What was read in a way that somebody may not have meant.
        left: What cannot be used, with the reason.
        columns: What label= may name: columns and attributes that were seen.
        order: Names of classes in the order that a schema states.
    """

    captions: dict[str, list[str]] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    columns: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)


def read_tables(tree: Tree, tables: Sequence[str], extra: Table | None, label: str = "") -> Told:
    """Read what tables tell of the images in `tree`.

    A name in a table is looked for beside the table, and where it is not there in every folder below. A table from elsewhere may
    name folders above the images as well. Names match in any form of Unicode, and with backslashes.

    Raises:
        UserError: The table from elsewhere gives no image a caption, though others do: it would be missed by nobody.
    """
    told = Told()
    sources: list[tuple[str, str, bytes]] = []
    inside = set(tables)
    for table in tables:
        try:
            with tree.open(table) as file:
                sources.append((table, table.rpartition("/")[0], file.read()))
        except Rejected as reason:
            told.left.append((table, f"not a table of captions: {reason}"))
    if extra is not None:
        sources.append((extra.path.name, "", extra.read()))
    known = {composed(n): n for n in tree.names} if sources else {}
    by_end: dict[str, list[str]] = {}
    for name in known:
        by_end.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    for table, folder, content in sources:
        missing, used = dict[str, None](), 0
        for row in _rows(table, content, told, label):
            name, place = row.file, "" if is_caption_list(table) else composed(folder)
            beside = f"{place}/{name}" if place else name
            alike = by_end.get(name.rsplit("/", 1)[-1], [])
            here = [n for n in alike if n.endswith(f"/{name}") or (table not in inside and name.endswith(f"/{n}"))]
            files = [beside] if beside in known else [n for n in here if not place or n.startswith(f"{place}/")]
            used += len(files)
            if not files:
                missing[beside] = None
            for image in (known[n] for n in files):
                captions = told.captions.setdefault(image, []) if row.captions else []
                captions += [c for c in row.captions if c not in captions]
                if row.label:
                    told.classes[image] = row.label
                if row.split:
                    told.splits[image] = row.split
        if extra is not None and table == extra.path.name and not used and told.captions:
            why = [reason for name, reason in told.left if name == table]
            none = (
                f"none of its {len(missing)} files is among the images, the first of them '{next(iter(missing), '')}'"
            )
            raise UserError(f"captions={extra.path}: {none if missing else why[-1] if why else 'it holds no row'}")
        if len(missing) > 1 and is_caption_list(table):
            told.left.append(
                (table, f"has captions of {len(missing)} files that are not there, {next(iter(missing))} is the first")
            )
        else:
            told.left += [(name, "has a caption, but there is no such file") for name in missing]
    return told


def beside(tree: Tree, names: Sequence[str], told: Told) -> set[str]:
    """Add the captions that stand in a .txt of an image's own name, a line each, to images that no table tells of; the files read."""
    texts = {n for n in tree.names if n.endswith(".txt")}
    apart = texts_apart(tree, names)
    found: dict[str, list[str]] = {}
    used = set[str]()
    for name in names if texts else []:
        text = f"{stem_of(name)}.txt"
        text = text if text in texts else apart.get(name, text)
        if text not in texts or name in told.captions:
            continue
        used.add(text)
        try:
            with tree.open(text) as file:
                content = _text(file.read(_LONGEST))
        except Rejected as reason:
            told.left.append((text, f"no captions: {reason}"))
            continue
        lines = [" ".join(line.split()) for line in content.splitlines()]
        found[name] = [line for line in dict.fromkeys(lines) if line]
    if found and all(_NUMBERS.fullmatch(line) for lines in found.values() for line in lines):
        told.left.append((TEXTS, f"{len(found)} files of numbers beside the images: no captions"))
        return used
    told.captions |= {n: lines for n, lines in found.items() if lines}
    return used


@dataclass(frozen=True)
class _Row:
    file: str
    captions: list[str]
    label: str
    split: str


def _rows(table: str, content: bytes, told: Told, wanted: str = "") -> list[_Row]:
    """Read every usable row of a table: comma, semicolon, tab or bar between columns, JSON lines, or a published list of captions."""
    try:
        if is_caption_list(table):
            return [
                _Row(composed(slashed(f)), [c for c in texts if c], "", part)
                for f, texts, part in caption_list(table, content)
            ]
        text = _text(content)
        lines = table.lower().endswith(".jsonl")
        heads, rows, joined, torn = (*_json_lines(text), 0, 0) if lines else _csv(text)
    except Rejected as reason:
        told.left.append((table, f"not a table of captions: {reason}"))
        return []
    columns = {c.strip().lower(): c for c in heads}
    file, caption, label, part = (
        next((columns[c] for c in names if c in columns), None)
        for names in (FILE_COLUMNS, TEXT_COLUMNS, (wanted.lower(),) if wanted else LABEL_COLUMNS, SPLIT_COLUMNS)
    )
    told.columns |= set(columns.values()) - {file, caption}
    if file is None or (caption is None and label is None and part is None):
        seen = ", ".join(c for c in columns.values() if c) or "none"
        told.left.append((table, f"no columns file (or file_name) and caption (or text); its columns: {seen[:200]}"))
        return []
    if joined:
        told.notes.append(
            f"{table}: {joined} caption{'s have commas' if joined > 1 else ' has commas'} without quotes; the rest of the line is the caption"
        )
    if torn:
        told.left.append(
            (
                table,
                f"{torn} row{'s have' if torn > 1 else ' has'} more columns than the first line; quote what holds commas",
            )
        )
    found = []
    for r in rows:
        given = r.get(caption) if caption else None
        several = given if isinstance(given, list) else [given]
        captions = [c for c in (" ".join(str(g).split()) for g in several if g is not None) if c]
        name = slashed(str(r.get(file) or "").strip())
        word, of = (" ".join(str(r.get(c) if c and r.get(c) is not None else "").split()) for c in (label, part))
        found.append(_Row(composed(name), captions, composed(word), of))
    nameless, silent = sum(not r.file for r in found), sum(not r.captions for r in found) if caption else 0
    for count, what in ((nameless, "file"), (silent, "caption")):
        if count:
            told.left.append((table, f"{count} row{'s' * (count > 1)} without a {what}"))
    return [r for r in found if r.file and (r.captions or r.label or r.split)]


def _text(content: bytes) -> str:
    text = text_of(content)
    if text is None:
        raise Rejected("not text in UTF-8; save it as UTF-8")
    return text


def _csv(text: str) -> tuple[list[str], list[dict[str, Any]], int, int]:
    """Read a table of text: columns, rows, how many captions were joined again at unquoted commas, and how many rows have too many columns.

    Raises:
        Rejected: It is no CSV.
    """
    first = text.split("\n", 1)[0]
    mark = max(",;\t|", key=first.count) if first.strip() else ","
    try:
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error:
        raise Rejected("it cannot be read as CSV (a field is very long, or a quotation mark is not closed)") from None
    heads, rows, joined, torn = (read[0] if read else []), list[dict[str, Any]](), 0, 0
    open_end = bool(heads) and heads[-1].strip().lower() in TEXT_COLUMNS
    for cells in (c for c in read[1:] if c):
        if len(cells) > len(heads) and any(c.strip() for c in cells[len(heads) :]):
            if not open_end:
                torn += 1
                continue
            joined += 1
            cells = [*cells[: len(heads) - 1], mark.join(cells[len(heads) - 1 :])]
        rows.append(dict(zip(heads, cells, strict=False)))
    return heads, rows, joined, torn


def _json_lines(text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the columns and rows of a file that has an object in JSON on every line.

    Raises:
        Rejected: A line is none.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise Rejected(f'line {number} is no JSON object, such as {{"file_name": "1.png", "text": "a dog"}}')
        rows.append(row)
    return list(dict.fromkeys(k for r in rows for k in r)), rows


def why_none(where: str, tables: Sequence[str], left: list[tuple[str, str]], how: str) -> str:
    """Explain to somebody why none of the images has a caption: what stands in the way, with counts."""
    reasons = [f"{name}: {reason}" for name, reason in left if name in tables]
    missing = [name for name, reason in left if reason.startswith("has a caption")]
    if missing:
        reasons.append(f"none of the {len(missing)} files with a caption is there, the first of them '{missing[0]}'")
    return f"{where} has no captions for its images" + (f" ({'; '.join(reasons)})" if reasons else "") + f": {how}"
