"""Points of a file or of a definition: small enough to be read anew every time, so that they have no cache entry."""

from __future__ import annotations

import hashlib

import numpy as np

from genzoo.data.cache import digest_of
from genzoo.data.dataset import Dataset
from genzoo.data.kinds import Kind
from genzoo.data.order import other_than, split_rows, take
from genzoo.data.settings import DataSettings
from genzoo.data.sources import planar
from genzoo.data.sources.arrays import ArrayFile
from genzoo.data.sources.tables import Points, TableFile


def drawn(kind: Kind, source: planar.Planar, settings: DataSettings, split: str) -> Dataset:
    """Draw one split of a set in the plane by its definition."""
    n = settings.limit or planar.SIZE
    fields = {kind.name: planar.draw(source.name, n, seed=source.seed, split=split)}
    digest = digest_of([kind.name, source.name, n, source.seed, split])
    return Dataset(fields, source.name, split, digest, settings, sizes={kind.name: {"train": n, "test": n}})


def read(kind: Kind, source: ArrayFile | TableFile, found: Points, settings: DataSettings, split: str) -> Dataset:
    """Open one split of the points of a file: its own splits, or the last share in a fixed random order for testing."""
    parts = found.checked(str(source.path))
    parts = parts if "train" in parts else {"": next(iter(parts.values()))}
    order = list(parts.values())
    if "test" not in parts:
        order = [order[0][np.random.default_rng([planar.SIZE, len(order[0])]).permutation(len(order[0]))]]
    sections = {s: len(a) for s, a in zip(parts, order, strict=True)} if "test" in parts else {"": len(order[0])}
    notes = list(found.notes)
    rows, other = split_rows(sections, settings, split, notes, thing=kind.thing)
    values = np.ascontiguousarray(take(np.concatenate(order), rows))
    used = [split, settings.limit, settings.holdout]
    content = hashlib.sha256(values.tobytes()).hexdigest()
    return Dataset(
        {kind.name: values}, source.name, split, digest_of([content, values.shape, *used]), settings,
        notes=notes, sizes={kind.name: {split: len(rows), other_than(split): other}}, columns=found.columns,
        former=digest_of([source.identity(), *used]),
    )  # fmt: skip
