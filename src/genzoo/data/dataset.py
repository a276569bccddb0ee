"""A data set in memory-mapped arrays, what it is called, and what was left out of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.data.kinds.image import NAMES
from genzoo.data.settings import DataSettings
from genzoo.data.sources.captions import Sentences


@dataclass
class Dataset:
    """One split of a data set.

    Args:
        fields: "image" (or "a" and "b") uint8 [N, C, H, W]; "label" int64 [N]; "points" float32 [N, D]; "audio" int16
            [N, 1, T]; "video" uint8 [N, C, T, H, W]; "voxels" uint8 [N, 1, D, H, W], 0 and 255.
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
        words: Words of the training captions, the commonest first.
        sentences: The captions as numbers of these words.
        instances: True where the last channel of "a" numbers instances.
        columns: Names of the columns of points; empty where they have none.
        rows: Of every field the stored one that it is made of, and which of its rows.
        former: Digest that earlier versions gave it; empty where that is the same.
    """

    fields: dict[str, np.ndarray]
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
    words: tuple[str, ...] = ()
    sentences: Sentences | None = None
    instances: bool = False
    columns: list[str] = field(default_factory=list)
    rows: dict[str, tuple[str, range | np.ndarray]] = field(default_factory=dict)
    former: str = ""

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests that checkpoints may know it by: its own, and the one that earlier versions gave it."""
        return (self.digest, self.former) if self.former else (self.digest,)

    def names_of(self, name: str) -> list[str]:
        """The names of a field's examples as the data has them: paths in the folder or archive, places in an array; empty where unknown."""
        if self.folder is None or name not in self.rows:
            return []
        stored, rows = self.rows[name]
        known = json.loads((self.folder / NAMES).read_text(encoding="ascii"))[stored]
        return [known[i] for i in rows]

    def __len__(self) -> int:
        """Examples of the largest group."""
        return max(len(a) for a in self.fields.values())

    def group_of(self, name: str) -> str:
        """The group of a field: fields of one group have the i-th example in common. Unpaired sides are two groups."""
        return name if name in ("a", "b") and not self.paired else "all"

    @property
    def groups(self) -> dict[str, int]:
        """Number of examples of every group."""
        return {self.group_of(f): len(a) for f, a in self.fields.items()}

    def facts(self) -> dict[str, Any]:
        """What a system's constructor asks of the data: shape, classes, levels, words; of sound shape, classes, rate."""
        order = ("b",) if self.paired else ("image", "a", "points", "audio", "video", "voxels")
        main = next(self.fields[f] for f in order if f in self.fields)
        shape = tuple(main.shape[1:])
        if self.rate is not None:
            return {"shape": shape, "classes": len(self.class_names), "rate": self.rate}
        if self.settings.crop and len(shape) == 3:
            shape = (shape[0], self.settings.crop, self.settings.crop)
        pairs = {"inputs": int(self.fields["a"].shape[1]), "instances": self.instances} if self.paired else {}
        return {
            "shape": shape,
            **pairs,
            "classes": len(self.class_names),
            "levels": 256 if self.settings.binarize == "none" and "voxels" not in self.fields else 2,
            **({"words": self.words} if self.words else {}),
        }


def describe(dataset: Dataset) -> dict[str, Any]:
    """What a set holds, in plain values."""
    facts = dataset.facts()
    label = dataset.fields.get("label")
    counts = np.bincount(label, minlength=len(dataset.class_names)) if label is not None else []
    return {
        "name": dataset.name,
        "split": dataset.split,
        "examples": dataset.sizes,
        "shape": list(facts["shape"]),
        **{k: facts[k] for k in ("levels", "rate", "inputs", "instances") if k in facts},
        **({"columns": dataset.columns} if dataset.columns else {}),
        "classes": {n: int(c) for n, c in zip(dataset.class_names, counts, strict=True)},
        "captions": sum(map(len, dataset.texts)),
        **(
            {"words": len(dataset.words), "first_captions": [t[0] for t in dataset.texts[:5] if t]}
            if dataset.texts
            else {}
        ),
        "left_out": [list(item) for item in dataset.report],
        "notes": list(dataset.notes),
        "digest": dataset.digest,
        "cache": str(dataset.folder) if dataset.folder else None,
    }


def contact_sheet(dataset: Dataset, n: int = 32) -> Tensor:
    """The first `n` examples, float32 in [-1, 1] [n, C, H, W]; sides A and B alternate; points [n, D], sounds [n, 1, T].

    Clips are [n, C, T, H, W], voxels [n, 1, D, H, W].
    """
    if "audio" in dataset.fields:
        return torch.from_numpy(np.array(dataset.fields["audio"][:n])).float().div_(32768)
    if "points" in dataset.fields:
        return torch.from_numpy(np.array(dataset.fields["points"][:n]))
    moving = next((f for f in ("video", "voxels") if f in dataset.fields), None)
    if moving:
        return torch.from_numpy(np.array(dataset.fields[moving][:n])).float().div_(127.5).sub_(1)
    sides = [shown(dataset, f) for f in ("image", "a", "b") if f in dataset.fields]
    each = [np.array(a[: -(-n // len(sides))]) for a in sides]
    shortest, channels = min(len(a) for a in each), max(a.shape[1] for a in each)
    floats = [torch.from_numpy(a[:shortest]) for a in each]
    floats = [(x if len(x) == 0 or x.shape[1] == channels else x.expand(-1, channels, -1, -1)) for x in floats]
    return torch.stack(floats, 1).reshape(-1, channels, *each[0].shape[2:])[:n]


def shown(dataset: Dataset, name: str, n: int = 32) -> np.ndarray:
    """The first `n` images of a field as people see them, float32 [n, 1, 3 or 4, H, W] in [-1, 1].

    Maps of numbers are spread over the gray values, and the channel of instances is left out; other numbers of channels show the first.
    """
    rows = np.array(dataset.fields[name][:n])
    rows = rows[:, :-1] if dataset.instances and name == "a" else rows
    top = 65535.0 if rows.dtype == np.uint16 else 255.0
    if dataset.settings.label_maps and name == "a":
        top = max(float(rows.max(initial=0)), 1.0)
    rows = rows if rows.shape[1] in (1, 3, 4) else rows[:, :1]
    return (rows.astype(np.float32) / top * 2 - 1).astype(np.float32)
