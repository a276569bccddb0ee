"""A folder, an archive or a single file as a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from genzoo.core.errors import UserError
from genzoo.core.files import cache_folder
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.decode import stills
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.scans import format_of
from genzoo.data.kinds import Kind
from genzoo.data.settings import DataSettings
from genzoo.data.sources import cifar, layout
from genzoo.data.sources.captions import Table
from genzoo.data.sources.contents import Contents, FilePictures
from genzoo.data.sources.folder import FolderTree
from genzoo.data.sources.shelf import LOCK, Shelf, any_shard, is_records, is_shard
from genzoo.data.sources.trees import MAX_BYTES, TarTree, Tree, ZipTree, is_zip, stamp


class Files:
    """A folder or archive as a source.

    Args:
        path: Where it is.
        settings: How it is read: the names of two sides, what subfolders are, whether links are followed.
        shards: The files that a pattern names, where `path` is one.
    """

    def __init__(self, path: Path, settings: DataSettings, shards: Sequence[Path] = ()) -> None:
        self.path, self.name, self.settings, self.shards = path, path.resolve().name or str(path), settings, shards
        self.table: Table | None = None
        """Captions from elsewhere."""
        self._tree: Tree | None = None

    def _open(self) -> Tree:
        if self._tree is None:
            self._tree = self._opened()
        return self._tree

    def _opened(self) -> Tree:
        scratch, label = cache_folder("data", quiet=True), self.settings.label or ""
        if self.shards:
            gone = [(p.name, "there is no such file") for p in self.shards if not p.is_file()]
            return Shelf({p.name: p for p in self.shards if p.is_file()}, gone, scratch, label)
        if not self.path.is_dir():
            if is_zip(self.path):
                return ZipTree(self.path)
            return (
                Shelf({self.path.name: self.path}, [], scratch, label)
                if is_records(self.path)
                else TarTree(self.path, scratch)
            )
        folder = FolderTree(self.path, links=self.settings.links, whole=is_shard)
        shards = self._shards(folder)
        if not shards:
            return folder
        rest = [(n, "beside shards") for n in folder.names if n not in shards and not n.endswith(LOCK)]
        return Shelf({n: folder.path(n) for n in shards}, [*folder.left, *rest], scratch, label)

    def _shards(self, folder: FolderTree) -> list[str]:
        """Name the shards that are the set: of records those that outweigh the pictures beside them, of archives those with none beside them."""
        shards = [n for n in folder.names if is_shard(n)] if any_shard(folder.names) else []
        pictures = sum(folder.size(n) for n in folder.names if self._pictures(n)) if shards else 0
        records = [n for n in shards if is_records(folder.path(n))]
        return shards if not pictures or sum(map(folder.size, records)) > pictures else []

    @staticmethod
    def _pictures(name: str) -> bool:
        """Tell whether a file is an example of some kind by its ending."""
        return any(name.lower().endswith(f".{e}") for kind in kinds.every().values() for e in kind.endings)

    def open_tree(self) -> Tree:
        """Open the place as a tree of the files below it."""
        return self._open()

    def identity(self) -> list[object]:
        """Return names, sizes and times for a folder, size and time of an archive, and how both are read."""
        whole = self.path.is_dir() or self.shards
        own = [*(self._open().identity() if whole else stamp(self.path)), "layout 6"]
        if self.settings.label:
            own.append(f"label {self.settings.label}")
        if self.settings.subfolders != "auto":
            own.append(f"subfolders {self.settings.subfolders}")
        return [*own, *stamp(self.table.path)] if self.table else own

    def wish(self, kind: Kind, look: layout.Look, structure: str = "") -> layout.Wish:
        """Say what is looked for in it; `look` tells of a file whether it is an example, `structure` how images are arranged."""
        told = self.settings
        return layout.Wish(
            structure or kind.name, look, kind.thing, kind.endings, told.sides, told.subfolders, told.label or ""
        )

    def contents(self, structure: str) -> Contents:
        """Read the structure from the names."""
        tree = self._open()
        if cifar.is_cifar(tree):
            return cifar.contents(tree, str(self.path), structure, self.settings.label or "")

        def look(name: str) -> None:
            with tree.open(name) as file:
                if not format_of(file, name):
                    stills.look(file)

        wish = self.wish(kinds.get(PLAIN.of), look, structure)
        return layout.arrange(tree, wish, str(self.path), self.table)

    def close(self) -> None:
        """Close the archive."""
        if self._tree is not None:
            self._tree.close()
            self._tree = None


class OneFile:
    """A single file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def identity(self) -> list[object]:
        """Return path, size and time of the file, which change when it does."""
        return stamp(self.path)

    def contents(self, structure: str) -> Contents:
        """Return the file as the one picture that it is."""
        if structure != "image":
            raise UserError(f"{self.path} is one file, not {structure} data; {layout.HOW[structure]}")
        return Contents({("image", ""): FilePictures(self, [self.name])})

    def open_tree(self) -> None:
        """Return None: a single file is no tree of files."""

    def open(self, name: str) -> BinaryIO:
        """Open it."""
        if self.path.stat().st_size > MAX_BYTES:
            raise Rejected(f"larger than {MAX_BYTES // 2**20} MiB")
        return open(self.path, "rb")

    def close(self) -> None:
        """Do nothing: no file is held open."""
