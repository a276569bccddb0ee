"""A folder, an archive or a single file as a source."""

from __future__ import annotations

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
from genzoo.data.sources import layout
from genzoo.data.sources.captions import Table
from genzoo.data.sources.contents import Contents, FilePictures
from genzoo.data.sources.trees import MAX_BYTES, FolderTree, TarTree, Tree, ZipTree, is_zip, stamp


class Files:
    """A folder or archive as a source.

    Args:
        path: Where it is.
        settings: How it is read: the names of two sides, what subfolders are, whether links are followed.
    """

    def __init__(self, path: Path, settings: DataSettings) -> None:
        self.path, self.name, self.settings = path, path.resolve().name or str(path), settings
        self.table: Table | None = None
        """Captions from elsewhere."""
        self._tree: Tree | None = None

    def _open(self) -> Tree:
        if self._tree is None:
            if self.path.is_dir():
                self._tree = FolderTree(self.path, links=self.settings.links)
            elif is_zip(self.path):
                self._tree = ZipTree(self.path)
            else:
                self._tree = TarTree(self.path, cache_folder("data", quiet=True))
        return self._tree

    def open_tree(self) -> Tree:
        """Open the place as a tree of the files below it."""
        return self._open()

    def identity(self) -> list[object]:
        """Return names, sizes and times for a folder, size and time of an archive, and how both are read."""
        own = [*(self._open().identity() if self.path.is_dir() else stamp(self.path)), "layout 4"]
        if self.settings.subfolders != "auto":
            own.append(f"subfolders {self.settings.subfolders}")
        return [*own, *stamp(self.table.path)] if self.table else own

    def wish(self, kind: Kind, look: layout.Look, structure: str = "") -> layout.Wish:
        """Say what is looked for in it; `look` tells of a file whether it is an example, `structure` how images are arranged."""
        told = self.settings
        return layout.Wish(structure or kind.name, look, kind.thing, kind.endings, told.sides, told.subfolders)

    def contents(self, structure: str) -> Contents:
        """Read the structure from the names."""
        tree = self._open()

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
