"""A data set in memory-mapped arrays, what it is called, and what was left out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.data.kinds import Kind
from genzoo.data.settings import DataSettings
from genzoo.data.sources.captions import Sentences

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.data.streams.stream import Stream

NAMES = "names.json"
"""File of a cache entry: by field, the names of the examples as the data has them, in the stored order."""


@dataclass
class Dataset:
    """One split of a data set.

    Args:
        fields: Examples as they are stored, [N, ...], under the name of their kind (images also as "a" and "b"), as `Kind.stored` says;
            "label" int64 [N].
        name: What it is called.
        split: train or test.
        digest: Hex digest of content and settings.
        settings: How it was opened.
        class_names: Names of the classes; empty without labels.
        captions: The first caption of every image; empty without captions.
        report: What was left out: (name, reason).
        notes: What was chosen for the person, in sentences.
        sizes: Number of examples of every split and field.
        folder: The cache entry; None for points.
        paired: True where the i-th of "a" belongs to the i-th of "b".
        rate: Samples per second of sound.
        texts: All captions of every image; empty without captions.
        vocabulary: Words of the training captions, the commonest first.
        sentences: The captions as numbers of these words.
        instances: True where the last channel of "a" numbers instances.
        columns: Names of the columns of points; empty where they have none.
        rows: Of every field the stored one that it is made of, and which of its rows.
        window: Values of scans that are black and white, as set or as chosen; None for pictures.
        former: Digest that earlier versions gave it; empty where that is the same.
        stream: Where examples come from and in which order they are shown, of a set that is streamed; None where all of it is on this disk.
    """

    fields: dict[str, Any]
    name: str
    split: str
    digest: str
    settings: DataSettings
    class_names: list[str] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    report: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    folder: Path | None = None
    paired: bool = False
    rate: int | None = None
    texts: list[list[str]] = field(default_factory=list)
    vocabulary: tuple[str, ...] = ()
    sentences: Sentences | None = None
    instances: bool = False
    columns: list[str] = field(default_factory=list)
    rows: dict[str, tuple[str, range | np.ndarray]] = field(default_factory=dict)
    window: tuple[float, float] | None = None
    former: str = ""
    stream: Stream | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests that checkpoints may know it by: its own, and the one that earlier versions gave it."""
        return (self.digest, self.former) if self.former else (self.digest,)

    def names_of(self, name: str) -> list[str]:
        """Return the names of a field's examples as the data has them: paths in the folder or archive, places in an array; empty where unknown."""
        if self.folder is None or name not in self.rows:
            return []
        stored, rows = self.rows[name]
        known = json.loads((self.folder / NAMES).read_text(encoding="ascii"))[stored]
        return [known[i] for i in rows]

    def __len__(self) -> int:
        """Count the examples of the largest group."""
        return max(len(a) for a in self.fields.values())

    def group_of(self, name: str) -> str:
        """Return the group of a field: fields of one group have the i-th example in common. Unpaired sides are two groups."""
        return name if name in ("a", "b") and not self.paired else "all"

    @property
    def groups(self) -> dict[str, int]:
        """Number of examples of every group."""
        return {self.group_of(f): len(a) for f, a in self.fields.items()}

    @property
    def kind(self) -> Kind:
        """What its examples are.

        Raises:
            UserError: They have been prepared, and are of no kind.
        """
        field = kinds.field_of(self.fields)
        kind = kinds.of_field(field) if field else None
        if kind is None:
            raise UserError(f"{self.name} has no examples of a known kind, only {', '.join(self.fields)}")
        return kind

    @property
    def examples(self) -> np.ndarray:
        """What is learned from, [N, ...]; of two sides the first."""
        found: np.ndarray = self.fields[kinds.field_of(self.fields) or ""]
        return found

    def kept(self) -> dict[str, Any]:
        """Tell what a checkpoint keeps of it: classes, digest, and of scans the values that are black and white."""
        window = {"window": list(self.window)} if self.window else {}
        return {"class_names": self.class_names, "digest": self.digest, **window}

    def facts(self) -> dict[str, Any]:
        """Tell what a system's constructor asks of the data: shape, classes; of images levels and vocabulary, of sounds the rate."""
        return self.kind.facts(self)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Tell what a set holds, in plain values."""
    facts = dataset.facts()
    label = dataset.fields.get("label")
    counts = np.bincount(label, minlength=len(dataset.class_names)).tolist() if isinstance(label, np.ndarray) else []
    return {
        "name": dataset.name,
        "split": dataset.split,
        "examples": dataset.sizes,
        "shape": list(facts["shape"]),
        **{k: facts[k] for k in ("levels", "rate", "inputs", "instances") if k in facts},
        **({"columns": dataset.columns} if dataset.columns else {}),
        "classes": {n: int(c) for n, c in zip(dataset.class_names, counts, strict=True)}
        if counts
        else dataset.class_names,
        "captions": sum(map(len, dataset.texts)),
        **(
            {"words": len(dataset.vocabulary), "first_captions": [t[0] for t in dataset.texts[:5] if t]}
            if dataset.texts
            else {}
        ),
        "left_out": [list(item) for item in dataset.report],
        "notes": list(dataset.notes),
        "digest": dataset.digest,
        "cache": str(dataset.folder) if dataset.folder else None,
    }


def contact_sheet(dataset: Dataset, n: int = 32) -> Tensor:
    """Return the first `n` examples as `genzoo.data.kinds.picture` takes them, [n, ...]; of images with two sides A and B alternate."""
    return dataset.kind.shown(dataset, n)
