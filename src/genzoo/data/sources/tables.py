"""Points in tables: .csv, .tsv and .parquet files of numbers, and what is checked of every set of points, whatever it is from.

| in a table | treatment |
|---|---|
| first row without a number | names of the columns |
| separated by comma, semicolon, tab or spaces | seen from the first rows; with semicolons 1,5 is a number too |
| a column of texts or dates | left out, with a note |
| a first column without a name that counts the rows | left out, with a note |
| a column called id, index, customer_id ... of different whole numbers | left out, with a note: it names the rows |
| a column called split (subset, partition ...) of train, test, val | tells the parts |
| a cell that is empty or no number, in a column of numbers | refused: its row and column are named |
| a column with one value | refused: no density over it is finite |
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode.reasons import in_words
from genzoo.data.formats import HEAD, text_of, what_is
from genzoo.data.sources.captions import SPLIT_COLUMNS
from genzoo.data.sources.contents import Contents
from genzoo.data.sources.layout import HOW, printable
from genzoo.data.sources.parts import word_of
from genzoo.data.sources.trees import MAX_BYTES, stamp

MOST_COLUMNS = 64
"""Columns that a set of points may have."""
ENDINGS = (".csv", ".tsv", ".parquet", ".pq")
_MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?", ".")


@dataclass
class Points:
    """Points as they were found.

    Args:
        parts: By split (train and test, or "" for one part), numbers [N, D].
        columns: Names of the columns; empty where they have none.
        notes: What was chosen.
        rows: The number of the first row, as people count the file's rows.
    """

    parts: dict[str, np.ndarray]
    columns: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0

    def checked(self, where: str) -> dict[str, np.ndarray]:
        """Check that the parts can be learned from, and return them as float32.

        Raises:
            UserError: A number is missing or not finite, or a column has one value; the message names the place.
        """
        made = {}
        for split, table in self.parts.items():
            told = f"{where} ({split})" if split else where
            with np.errstate(over="ignore"):
                values = np.ascontiguousarray(table, dtype=np.float32)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                row, column = (int(v) for v in bad[0])
                what = "too large for float32" if np.isfinite(float(table[row, column])) else "no finite number"
                count = len(np.unique(bad[:, 0]))
                raise UserError(
                    f"{told}: {count} of {len(values)} points are not finite numbers; the first is {what}, in row {row + self.rows}, "
                    f"column {self._column(column)}: fill these cells, or leave the rows out"
                )
            if split != "test" and len(values) > 1:
                same = [c for c in range(values.shape[1]) if (values[:, c] == values[0, c]).all()]
                for c in same:
                    if (table[:, c] != table[0, c]).any():
                        low, high = float(table[:, c].min()), float(table[:, c].max())
                        raise UserError(
                            f"{told}: column {self._column(c)} varies by {high - low:g} around {low:g}, which float32 does not tell apart; "
                            f"subtract {low:g} from it first"
                        )
                if same:
                    names = ", ".join(self._column(c) for c in same)
                    raise UserError(
                        f"{told}: column {names} is {table[0, same[0]]:g} in every row; no density over it is finite: leave it out"
                    )
            made[split] = values
        return made

    def _column(self, index: int) -> str:
        return f"'{self.columns[index]}'" if self.columns else f"{index} (from 0)"


class TableFile:
    """A table of numbers in a .csv, .tsv or .parquet file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def identity(self) -> list[object]:
        """Return path, size and time of the file, which change when it does."""
        return ["table", *stamp(self.path)]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def contents(self, structure: str) -> Contents:
        """Refuse: the set has no images, only numbers."""
        raise UserError(
            f"{self.path} is a table, which holds points, not {structure} data; {HOW.get(structure, 'give a folder of images')}"
        )

    def points(self, *, asked: bool = True) -> Points:
        """Read the table's columns of numbers.

        Raises:
            UserError: It is no table, has no column of numbers, or a number is missing.
        """
        try:
            with open(self.path, "rb") as file:
                head = file.read(HEAD)
            parquet = head.startswith(b"PAR1") or self.path.suffix.lower() in (".parquet", ".pq")
            names, columns, first, notes = _parquet(self.path) if parquet else _text(self.path, head)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {in_words(error)}") from None
        parts = _parts(names, columns, notes)
        columns = [_unless_id(n, c, len(names)) for n, c in zip(names, columns, strict=True)]
        kept, left = [], []
        for name, values in zip(names, columns, strict=True):
            if not isinstance(values, np.ndarray):
                left.append(f"'{printable(name)}' ({values.why if isinstance(values, Texts) else values})")
            else:
                kept.append((printable(name), values))
        if not kept:
            raise UserError(f"{self.path} has no column of numbers; its columns: {', '.join(left)[:200] or 'none'}")
        if len(kept) > MOST_COLUMNS:
            raise UserError(
                f"{self.path} has {len(kept)} columns of numbers; points have 1 to {MOST_COLUMNS}: leave some out"
            )
        if left:
            notes.append(f"left out: column{'s' * (len(left) > 1)} {', '.join(left[:8])}{', …' * (len(left) > 8)}")
        table = np.stack([v for _, v in kept], 1)
        if not len(table):
            raise UserError(f"{self.path} has no rows")
        notes.insert(0, f"{len(kept)} column{'s' * (len(kept) > 1)}: {', '.join(n for n, _ in kept)}")
        split = (
            {"": table} if parts is None else {p: table[parts == p] for p in ("train", "test") if (parts == p).any()}
        )
        return Points(split, [n for n, _ in kept], notes, first)


@dataclass(frozen=True)
class Texts:
    """A column of words.

    Args:
        cells: What stands in it.
        why: The reason why it is left out.
    """

    cells: list[str]
    why: str


Column = np.ndarray | str | Texts
"""float64 [N], or the reason why the column is left out, with its words where they may tell of parts."""
_ID = re.compile(r"(.*[_\W])?(id|idx|index|uuid|guid|rowid|row_number|#)|.*[a-z]I[dD]", re.ASCII)


def _unless_id(name: str, column: Column, count: int) -> Column:
    """Leave out a column whose name and numbers say that it names the rows."""
    if (
        not isinstance(column, np.ndarray)
        or count < 2
        or not (_ID.fullmatch(name.strip()) or _ID.fullmatch(name.strip().lower()))
    ):
        return column
    whole = len(column) > 1 and bool((column == np.rint(column)).all()) and len(np.unique(column)) == len(column)
    return "it names the rows; call it otherwise to learn from it" if whole else column


def _parts(names: list[str], columns: list[Column], notes: list[str]) -> np.ndarray | None:
    """Return the part of every row, train, test or empty (not used), where a column tells it."""
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        if name.strip().lower() not in SPLIT_COLUMNS or not isinstance(column, Texts):
            continue
        found = np.array([word_of(c) for c in column.cells])
        odd = next((c for c, part in zip(column.cells, found, strict=True) if not part), None)
        if odd is not None or "train" not in found:
            why = (
                f"it says '{printable(odd)[:30]}', which is no word for train, test or val"
                if odd is not None
                else "it says train of no row"
            )
            columns[i] = f"not read as parts: {why}"
            return None
        columns[i] = "it tells the parts"
        if "test" not in found:
            found[found == "val"] = "test"
        elif unused := int((found == "val").sum()):
            notes.append(f"the validation part ({unused} rows) is not used: there is a test part")
        return found
    return None


def _text(path: Path, head: bytes) -> tuple[list[str], list[Column], int, list[str]]:
    """Read the head of a text table: names, columns, number of the first row in the file, and notes."""
    what = what_is(head)
    if what and (what.group not in ("text", "table") or not head.strip()):
        raise UserError(f"{path} is {'an ' * (not head)}{what.what}, no table of numbers")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES // 2**20} MiB; save it as .npy, an array [N,D] of floats")
    text = text_of(path.read_bytes())
    if text is None:
        raise UserError(f"{path} is no table of numbers: it is not text in UTF-8; save it as UTF-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise UserError(f"{path} has no rows")
    first = next((i for i, line in enumerate(text.splitlines()) if line.strip() and not line.startswith("#")), 0)
    mark = next((m for m in (";", "\t", ",") if m in lines[0]), " ")
    try:
        rows = (
            [line.split() for line in lines]
            if mark == " "
            else list(csv.reader(io.StringIO("\n".join(lines)), delimiter=mark))
        )
    except csv.Error:
        raise UserError(f"{path} is no table: a quotation mark is not closed") from None
    comma = mark == ";"
    numbers = [_number(c, comma) for c in rows[0]]
    headed = all(n is None for n in numbers)
    width = len(rows[0])
    names = [c.strip() or f"column {i}" for i, c in enumerate(rows[0])] if headed else [str(i) for i in range(width)]
    body = rows[1:] if headed else rows
    start = first + 1 + headed
    odd = next((i for i, r in enumerate(body) if len(r) != width), None)
    if odd is not None:
        raise UserError(
            f"{path}: row {odd + start} has {len(body[odd])} cells, and the first row {width}; give every row as many"
        )
    columns = [_column(path, names[c], [r[c] for r in body], start, comma) for c in range(width)]
    index = columns[0]
    if (
        headed
        and not rows[0][0].strip()
        and width > 1
        and isinstance(index, np.ndarray)
        and len(index) > 1
        and (np.diff(index) == 1).all()
    ):
        columns[0] = "it counts the rows"
    return names, columns, start, [] if headed else ["no names of columns: the first row is numbers, and read as data"]


def _number(cell: str, comma: bool) -> float | None:
    text = cell.strip()
    if comma and re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def _column(path: Path, name: str, cells: list[str], start: int, comma: bool) -> Column:
    values = [_number(c, comma) for c in cells]
    bad = [i for i, (v, c) in enumerate(zip(values, cells, strict=True)) if v is None or c.strip().lower() in _MISSING]
    if not bad:
        return np.array(values, dtype=np.float64)
    gaps = [i for i in bad if cells[i].strip().lower() in _MISSING]
    if len(bad) == len(cells) or len(bad) > len(cells) / 2 > len(gaps):
        texts = (cells[i].strip() for i in bad if i not in gaps)
        return Texts(cells, next((f"no numbers: '{printable(t)[:40]}'" for t in texts), "empty"))
    first = bad[0]
    said = f"'{printable(cells[first].strip())}'" if cells[first].strip() else "empty"
    raise UserError(
        f"{path}: {len(bad)} of {len(cells)} cells of column '{printable(name)}' are no numbers, the first in row {first + start} ({said}); "
        "fill them, or leave these rows or the column out"
    )


def parquet_file(path: Path) -> Any:
    """Open a Parquet table.

    Raises:
        UserError: It is none, or the reader is not installed.
    """
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{path} is a Parquet table, which needs the extra: pip install 'genzoo[tables]' (or save it as .csv)"
        ) from None
    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except Exception as error:  # whatever the parser throws at a damaged file; nothing of ours is called here
        raise UserError(f"{path} cannot be read as a Parquet table: {in_words(error)}; fetch it again") from None


def _parquet(path: Path) -> tuple[list[str], list[Column], int, list[str]]:
    file = parquet_file(path)
    from pyarrow import types

    try:
        table = file.read()
    except Exception as error:  # as above
        raise UserError(f"{path} cannot be read as a Parquet table: {in_words(error)}; fetch it again") from None
    names: list[str] = []
    columns: list[Column] = []
    for name in table.column_names:
        column: Any = table[name]
        kind = column.type
        names.append(name)
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)):
            words = types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind)
            columns.append(Texts([str(v) for v in column.to_pylist()], "no numbers") if words else "no numbers")
            continue
        if name.startswith("__index_level_"):
            columns.append("it counts the rows")
            continue
        empty = column.null_count
        if empty:
            first = next(i for i, v in enumerate(column) if not v.is_valid)
            raise UserError(
                f"{path}: {empty} of {len(column)} cells of column '{printable(name)}' are empty, the first in row {first}; "
                "fill them, or leave these rows or the column out"
            )
        columns.append(
            np.array([float(v) for v in column.to_pylist()])
            if types.is_decimal(kind)
            else np.asarray(column.to_numpy(), np.float64)
        )
    return names, columns, 0, []
