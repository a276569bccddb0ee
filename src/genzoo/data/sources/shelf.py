"""A set in many files, each of which holds many images: shards of tar, parquet tables, LMDBs, TFRecords, as one tree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from genzoo.core.errors import DiskFull, UserError
from genzoo.data.decode.reasons import in_words
from genzoo.data.sources.captions import Told
from genzoo.data.sources.labels import in_order
from genzoo.data.sources.records import LmdbTree, ParquetTree, Records, Spool, TfRecords
from genzoo.data.sources.trees import TarTree, Tree, stamp

PARQUET, LMDB, TFRECORD = (".parquet", ".pq"), (".mdb", ".lmdb"), (".tfrecord", ".tfrecords")
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
SHARDS = (*PARQUET, *LMDB, *TFRECORD, *TARS)
"""Endings of files that hold many examples."""
MOST_OPEN = 64
"""Of more tars than these none is kept open: a process may have only so many files."""
_NUMBER = re.compile(r"[-_.]?(\d+)(-of-\d+)?(-[0-9a-f]{8,})?$")
LOCK = "lock.mdb"
"""What stands beside an LMDB, and is none."""


def is_shard(name: str) -> bool:
    """Tell whether a file's name says that it holds many examples."""
    return name.lower().endswith(SHARDS) and name.rsplit("/", 1)[-1].lower() != LOCK


def any_shard(names: Iterable[str]) -> bool:
    """Tell whether there may be a shard among many names, sooner than by asking for each."""
    joined = "\0".join(names).lower() + "\0"
    return any(f"{ending}\0" in joined for ending in SHARDS)


def is_records(path: Path) -> bool:
    """Tell whether a file's name says that it holds records, which no archive does."""
    return is_shard(path.name) and not path.name.lower().endswith(TARS)


def opened(path: Path, spool: Spool, scratch: Path, label: str = "", *, held: bool = True) -> Tree:
    """Open one shard.

    Args:
        path: The file.
        spool: Where the images of parquet tables are kept meanwhile.
        scratch: Folder for the content of a compressed tar.
        label: What tells the class of an example.
        held: Keep a tar open.

    Raises:
        UserError: It is damaged, or its reader is not installed.
    """
    name = path.name.lower()
    if name.endswith(PARQUET):
        return ParquetTree(path, spool, label)
    if name.endswith(LMDB):
        return LmdbTree(path)
    if name.endswith(TFRECORD):
        return TfRecords(path, label)
    return TarTree(path, scratch, held=held)


class Shelf:
    """Shards as one tree.

    The file 0007.jpg of data/train-00002-of-00005.tar is called data/train/00002:0007.jpg: what all shards of a part have in common is its
    folder, and the number is no folder, which would be a class. Of one shard alone the names are its own.

    Args:
        shards: The files by name.
        beside: What stands beside them, with the reason why it is not used.
        scratch: Folder for temporary files.
        label: What tells the class of an example.

    Raises:
        UserError: None of them can be read.
    """

    def __init__(
        self, shards: Mapping[str, Path], beside: list[tuple[str, str]], scratch: Path, label: str = ""
    ) -> None:
        self.names: list[str] = []
        self.left = list(beside)
        self.told = Told()
        self._spool = Spool(scratch)
        self._trees: list[Tree] = []
        self._of: dict[str, tuple[Tree, str]] = {}
        self._stamps = [stamp(p) for p in shards.values()]
        try:
            self._open(self._largest(shards), scratch, label)
        except BaseException:
            self.close()
            raise
        self.names = sorted(self._of)

    def _open(self, used: Mapping[str, Path], scratch: Path, label: str) -> None:
        """Open the shards; those that cannot be are left out."""
        first: UserError | None = None
        for shard in sorted(used):
            try:
                tree = opened(used[shard], self._spool, scratch, label, held=len(used) <= MOST_OPEN)
            except DiskFull:
                raise  # of the scratch folder: no fault of the shard
            except UserError as reason:
                first = first or reason
                self.left.append((shard, str(reason)))
                continue
            except OSError as error:
                first = first or UserError(f"{used[shard]} cannot be read: {in_words(error)}")
                self.left.append((shard, f"cannot be read: {in_words(error)}"))
                continue
            self._trees.append(tree)
            self._add(tree, shard, alone=len(used) == 1)
        if not self._trees and first is not None:
            raise first

    def _largest(self, shards: Mapping[str, Path]) -> dict[str, Path]:
        """Of ProGAN's files with the same images in several sizes (x-r02.tfrecords to x-r10.tfrecords) keep the largest."""
        found = {n: (m[1], int(m[2])) for n in shards if (m := re.match(r"(.*)-r(\d\d)\.tfrecords?$", n))}
        top = {stem: max(k for s, k in found.values() if s == stem) for stem, _ in found.values()}
        smaller = {n for n, (stem, k) in found.items() if k < top[stem]}
        if smaller:
            self.told.notes.append(
                f"the same images stand in several sizes; the largest is used, not {', '.join(sorted(smaller))}"
            )
        return {n: p for n, p in shards.items() if n not in smaller}

    def _add(self, tree: Tree, shard: str, *, alone: bool) -> None:
        before, number = ("", "") if alone else self._place(shard)
        label = {n: self._named(before, number, n) for n in tree.names}
        self._of |= {ours: (tree, theirs) for theirs, ours in label.items()}
        self.left += [(name if alone else f"{shard}: {name}", reason) for name, reason in tree.left]
        if not isinstance(tree, Records):
            return
        told = tree.told
        if isinstance(tree, TfRecords) and not told.classes:
            self._progan(tree, told)
        self.told.notes += told.notes
        self.told.columns |= told.columns
        self.told.order = self.told.order or told.order
        for mine, theirs in ((self.told.classes, told.classes), (self.told.splits, told.splits)):
            mine |= {label[n]: word for n, word in theirs.items()}
        self.told.captions |= {label[n]: texts for n, texts in told.captions.items()}

    @staticmethod
    def _place(shard: str) -> tuple[str, str]:
        """Return what all shards of a part have in common, and the number of this one."""
        path = PurePosixPath(shard)
        stem = next(
            path.name[: -len(e)] for e in sorted(SHARDS, key=len, reverse=True) if path.name.lower().endswith(e)
        )
        folder = "" if str(path.parent) == "." else str(path.parent)
        if stem.lower() == "data" and folder:  # an LMDB is a folder with a file of this name
            return folder, ""
        number = _NUMBER.search(stem)
        common = stem[: number.start()] if number else stem
        return "/".join(filter(None, (folder, common))), number[1] if number else ""

    @staticmethod
    def _named(before: str, number: str, name: str) -> str:
        folder, slash, last = name.rpartition("/")
        return "/".join(filter(None, (before, folder if slash else "", f"{number}:{last}" if number else last)))

    def _progan(self, tree: TfRecords, told: Told) -> None:
        """Read the classes that ProGAN's program writes beside its records: an array of a row for each, with a single 1."""
        path = tree.path.with_name(re.sub(r"-r\d\d\.tfrecords?$", "-rxx.labels", tree.path.name))
        if path == tree.path or not path.is_file():
            return
        try:
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            self.left.append((path.name, "not an array of labels"))
            return
        last = max((int(n[:7]) for n in tree.names), default=-1)
        if rows.ndim != 2 or len(rows) <= last or not (rows.sum(1) == 1).all() or not (rows.max(1) == 1).all():
            self.left.append(
                (path.name, f"labels {list(rows.shape)} are not a row with a single 1 for each of {last + 1} records")
            )
            return
        numbers = rows.argmax(1)
        told.classes.update({n: str(numbers[int(n[:7])]) for n in tree.names})
        told.order = in_order([str(k) for k in range(rows.shape[1])])

    def identity(self) -> list[object]:
        """Return paths, sizes and times of the shards."""
        return list(self._stamps)

    def open(self, name: str) -> BinaryIO:
        """Open one file."""
        tree, theirs = self._of[name]
        return tree.open(theirs)

    def close(self) -> None:
        """Close all shards, and drop the temporary file."""
        for tree in self._trees:
            tree.close()
        self._spool.close()


def spread(pattern: str) -> list[Path] | None:
    """Name the files of a pattern such as train-{000000..000003}.tar or train-*.tar, in order; None where the text is no pattern.

    >>> [p.name for p in spread("a-{08..10}.tar")]
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found and int(found[2]) - int(found[1]) < 100_000:
        width = len(found[1])
        numbers = range(int(found[1]), int(found[2]) + 1)
        made = [f"{pattern[: found.start()]}{k:0{width}d}{pattern[found.end() :]}" for k in numbers]
        return [p for text in made for p in (spread(text) or [Path(text).expanduser()])]
    if re.search(r"[*?]", pattern):
        path = Path(pattern).expanduser()
        parts = path.parts
        fixed = next(i for i, part in enumerate(parts) if re.search(r"[*?]", part))
        return sorted(p for p in Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))) if p.is_file())
    return None
