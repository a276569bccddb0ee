"""Image sets of the Hugging Face hub, through the `datasets` package (extra `hub`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, BinaryIO

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.reasons import in_words
from genzoo.data.sources.contents import Contents, FilePictures
from genzoo.data.sources.parts import parts_among


class _Rows:
    """Rows of a table as files by number, undecoded: the package's own decoder is used."""

    def __init__(self, table: Any, column: str) -> None:
        self.table, self.column = table, column
        self.names = [str(i) for i in range(len(table))]

    def open(self, name: str) -> BinaryIO:
        cell = self.table[int(name)][self.column]
        if cell.get("bytes"):
            return io.BytesIO(cell["bytes"])
        if not cell.get("path"):
            raise Rejected("no image in this row")
        try:
            return open(cell["path"], "rb")
        except OSError as error:
            raise Rejected(f"cannot be read: {error.strerror}") from None


class _RowPictures(FilePictures):
    """Rows one after another: arrow tables are not read from several threads."""

    def block(self, indices: Sequence[int], form: Any, pool: Executor) -> list[np.ndarray | Rejected]:
        return super().block(indices, form, _InLine())  # type: ignore[arg-type]

    def probe(self, pool: Executor) -> list[Any]:
        return super().probe(_InLine())  # type: ignore[arg-type]


class _InLine:
    map = staticmethod(map)


def _rank(parts: dict[str, tuple[str, str]], key: str) -> int:
    """Rank training before test before validation, of which the second stands for the first where it is missing."""
    return ("train", "test", "val", "").index(parts.get(key, ("",))[0])


class Hub:
    """hf:NAME or hf:NAME/CONFIG as `datasets.load_dataset` takes it.

    Args:
        name: Name on the hub.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        try:
            import datasets
        except ImportError:
            raise UserError("data=hf:… needs the extra: pip install 'genzoo[hub]'") from None
        try:
            self._sets = datasets.load_dataset(name)
        except Exception as error:
            raise UserError(
                f"hf:{name} cannot be loaded ({in_words(error)}); see that the name is right, that the hub can be reached, and that nobody has to "
                f"ask for access: https://huggingface.co/datasets/{name}"
            ) from None
        self._image = datasets.Image

    def identity(self) -> list[object]:
        """Return the fingerprints of the set's tables, which change when the content does."""
        return ["hf", self.name, sorted((k, getattr(t, "_fingerprint", len(t))) for k, t in self._sets.items())]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def contents(self, structure: str) -> Contents:
        """Find the image column, and labels or captions beside it."""
        if structure in ("paired", "unpaired"):
            raise UserError(f"hf:{self.name} is read as images; {structure} data comes from folders")
        contents = Contents({})
        parts = parts_among(self._sets)
        for key, table in sorted(self._sets.items(), key=lambda item: (_rank(parts, item[0]), item[0])):
            split = "" if not parts else "train" if _rank(parts, key) == 0 else "test"
            if (parts and key not in parts) or ("image", split) in contents.pictures:
                contents.left.append((key, "split not used"))
                continue
            column = next((c for c, f in table.features.items() if isinstance(f, self._image)), None)
            if column is None:
                raise UserError(f"hf:{self.name} has no column of images (columns: {', '.join(table.features)})")
            rows = _Rows(table.cast_column(column, self._image(decode=False)), column)
            contents.pictures["image", split] = _RowPictures(rows, rows.names)
            self._texts(table, split, contents)
        if len(contents.labels) < len(contents.pictures):
            contents.labels, contents.class_names = {}, []
        return contents

    def _texts(self, table: Any, split: str, contents: Contents) -> None:
        for column, feature in table.features.items():
            if hasattr(feature, "names") and split not in contents.labels:
                labels = np.asarray(table[column], dtype=np.int64)
                if len(labels) and labels.min() >= 0:  # -1 marks an unlabelled part
                    contents.class_names, contents.labels[split] = list(feature.names), labels
            elif column in ("caption", "text") and split not in contents.captions:
                several = [t if isinstance(t, list) else [t] for t in table[column]]
                contents.captions[split] = ["\n".join(" ".join(str(t).split()) for t in ts) for ts in several]
