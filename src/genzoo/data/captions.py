"""Captions: tables of file and text, one or several lines for an image, and the same as rows of numbers for a model to read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genzoo.core.errors import UserError, nearest
from genzoo.core.words import split, to_ids
from genzoo.data.decode import Refused
from genzoo.data.trees import MAX_BYTES, Tree

TABLES = ("captions.csv", "metadata.csv")
FILE_COLUMNS, TEXT_COLUMNS = ("file", "file_name", "filename", "image"), ("caption", "text")


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
        """One caption of each image, int64 [n, L]: the first, or with `rng` any of them; a row of zeros where there is none."""
        start, count = self.first[images], np.diff(self.first)[images]
        chosen = start + (0 if rng is None else (rng.random(len(images)) * count).astype(np.int64))
        rows = self.ids[np.minimum(chosen, max(len(self.ids) - 1, 0))].astype(np.int64)
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
        root = os.environ.get("GENZOO_DATA")
        if not self.path.is_file() and root and (Path(root).expanduser() / text).is_file():
            self.path = Path(root).expanduser() / text
        if not self.path.is_file():
            beside = [p.name for p in self.path.parent.iterdir()] if self.path.parent.is_dir() else []
            raise UserError(f"captions={text}: there is no such file{nearest(self.path.name, beside)}")
        if self.path.stat().st_size > MAX_BYTES:
            raise UserError(f"captions={text} is larger than {MAX_BYTES // 2**20} MiB")

    def read(self) -> bytes:
        """Its content."""
        return self.path.read_bytes()


def read_captions(
    tree: Tree, tables: Sequence[str], extra: Table | None, left: list[tuple[str, str]]
) -> dict[str, list[str]]:
    """Captions by name of the image in `tree`, in the order of the tables; what cannot be used is added to `left` with the reason.

    A name in a table is looked for beside the table, and where it is not there in every folder below. A table from elsewhere may
    name folders above the images as well.

    Raises:
        UserError: The table from elsewhere gives no image a caption, though others do: it would be missed by nobody.
    """
    sources: list[tuple[str, str, bytes]] = []
    inside = set(tables)
    for table in tables:
        try:
            with tree.open(table) as file:
                sources.append((table, table.rpartition("/")[0], file.read()))
        except Refused as reason:
            left.append((table, f"not a table of captions: {reason}"))
    if extra is not None:
        sources.append((extra.path.name, "", extra.read()))
    by_end: dict[str, list[str]] = {}
    for name in tree.names:
        by_end.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    known, found = set(tree.names), dict[str, list[str]]()
    for table, folder, content in sources:
        missing, used = dict[str, None](), 0
        for name, caption in _rows(table, content, left):
            beside = f"{folder}/{name}" if folder else name
            alike = by_end.get(name.rsplit("/", 1)[-1], [])
            here = [n for n in alike if n.endswith(f"/{name}") or (table not in inside and name.endswith(f"/{n}"))]
            files = [beside] if beside in known else [n for n in here if not folder or n.startswith(f"{folder}/")]
            used += len(files)
            if not files:
                missing[beside] = None
            for file in files:
                captions = found.setdefault(file, [])
                captions += [caption] if caption not in captions else []
        if extra is not None and table == extra.path.name and not used and found:
            why = [reason for name, reason in left if name == table]
            none = (
                f"none of its {len(missing)} files is among the images, the first of them '{next(iter(missing), '')}'"
            )
            raise UserError(f"captions={extra.path}: {none if missing else why[-1] if why else 'it holds no row'}")
        left += [(name, "has a caption, but there is no such file") for name in missing]
    return found


def _rows(table: str, content: bytes, left: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """File and caption of every usable row."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        rows, heads = list(reader), reader.fieldnames or []
    except (UnicodeDecodeError, csv.Error) as error:
        left.append((table, f"not a table of captions: {error}"))
        return []
    columns = {str(c).strip().lower(): c for c in heads}
    file, text = (next((columns[c] for c in names if c in columns), None) for names in (FILE_COLUMNS, TEXT_COLUMNS))
    if file is None or text is None:
        seen = ", ".join(str(c) for c in columns.values() if c) or "none"
        left.append((table, f"no columns file (or file_name) and caption (or text); its columns: {seen[:200]}"))
        return []
    pairs = [((r[file] or "").strip(), " ".join((r[text] or "").split())) for r in rows]
    for count, what in ((sum(not n for n, _ in pairs), "file"), (sum(not c for _, c in pairs), "caption")):
        if count:
            left.append((table, f"{count} row{'s' * (count > 1)} without a {what}"))
    return [(n, c) for n, c in pairs if n and c]


def why_none(where: str, tables: Sequence[str], left: list[tuple[str, str]], how: str) -> str:
    """The message to somebody whose images have no captions: what stands in the way, with counts."""
    reasons = [f"{name}: {reason}" for name, reason in left if name in tables]
    missing = [name for name, reason in left if reason.startswith("has a caption")]
    if missing:
        reasons.append(f"none of the {len(missing)} files with a caption is there, the first of them '{missing[0]}'")
    return f"{where} has no captions for its images" + (f" ({'; '.join(reasons)})" if reasons else "") + f": {how}"
