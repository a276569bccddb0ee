"""The one stored order of a data set, and its parts: what is trained on and what is held out is a property of the data, not of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genzoo.core.errors import UserError
from genzoo.data.cache import digest_of
from genzoo.data.dataset import Dataset
from genzoo.data.seeds import ORDER_SEED
from genzoo.data.settings import DataSettings

Rows = range | np.ndarray
"""Stored rows of a split: a range where they stand side by side."""


def other_than(split: str) -> str:
    """Return the name of the other split.

    >>> other_than("train"), other_than("test")
    ('test', 'train')
    """
    return "test" if split == "train" else "train"


def take(array: np.ndarray, rows: Rows) -> np.ndarray:
    """Return rows of an array, without copying them where they stand side by side."""
    return array[rows.start : rows.stop] if isinstance(rows, range) else array[rows]


def split_rows(
    sections: dict[str, int],
    settings: DataSettings,
    split: str,
    notes: list[str],
    *,
    whole: bool = False,
    thing: str = "image",
) -> tuple[range, int]:
    """Choose the stored rows of one split of a field, and count those of the other.

    Rows stand in one fixed random order, training part first, so that any part is a slice.

    Args:
        sections: Rows by the part that the source names; "" where it names none.
        settings: `limit` and `holdout`.
        split: train or test.
        notes: Receives what was chosen.
        whole: Both splits are all that there is: an exemplar.
        thing: What an example is called.

    Raises:
        UserError: The split is empty.
    """
    n = sum(sections.values())
    if sections.get("train") and sections.get("test"):
        parts = {"train": range(sections["train"]), "test": range(sections["train"], n)}
    elif n == 1 or whole:
        parts = {"train": range(n), "test": range(n)}
        if n == 1 and not whole:
            notes.append(f"there is one {thing}: it is both the training and the test part")
    else:
        held = min(max(round(n * settings.holdout), 1), n - 1) if settings.holdout else 0
        parts = {"train": range(n - held), "test": range(n - held, n)}
    if settings.limit:
        parts = {s: r[: settings.limit] for s, r in parts.items()}
    if not len(parts[split]):
        raise UserError(f"{settings.data} has no test part, and holdout=0 keeps none; give holdout=0.1")
    return parts[split], len(parts[other_than(split)])


def split_patients(
    patients: dict[str, list[tuple[str, int]]],
    field: str,
    settings: DataSettings,
    split: str,
    notes: list[str],
    *,
    thing: str = "image",
) -> tuple[Rows, int]:
    """Choose the stored rows of one split of scans, and count those of the other: no patient is in both, of two sides neither.

    The patients that are held out are the last ones in the order of their digests, over all fields together: a split depends on nothing else. A side
    that has none of them gives its own last one, and one that has them alone keeps its first for training; the other side does the same with these.

    Args:
        patients: By field, whose the stored rows are, one patient after another in that order: digest and number of rows.
        field: Which.
        settings: `limit` and `holdout`.
        split: train or test.
        notes: Receives what was chosen.
        thing: What an example is called.

    Raises:
        UserError: The split is empty.
    """
    own, everybody = patients[field], sorted({p for rows in patients.values() for p, _ in rows})
    n, side = sum(count for _, count in own), f"side {field.upper()}: " if len(patients) > 1 else ""
    if len(own) == 1 and n > 1:
        notes.append(
            f"{side}all {n:,} {thing}s are of one patient: they are both the training and the test part; put others into a folder test/"
        )
    rows: dict[str, Rows] = {"train": range(n), "test": range(n)}
    if len(own) > 1:
        held = min(max(round(len(everybody) * settings.holdout), 1), len(everybody) - 1) if settings.holdout else 0
        last = set(everybody[len(everybody) - held :])
        for side_rows in patients.values() if held else ():
            names = [p for p, _ in side_rows]
            if len(names) > 1 and last.isdisjoint(names):
                last.add(names[-1])
            elif len(names) > 1 and last.issuperset(names):
                last.discard(names[0])
        testing = np.repeat([p in last for p, _ in own], [count for _, count in own])
        rows = {"train": _together(~testing), "test": _together(testing)}
        few = sum(p in last for p, _ in own)
        notes.append(
            f"{side}split by patient: {len(own) - few} with {len(rows['train']):,} {thing}s for training, "
            f"{few} with {len(rows['test']):,} for testing"
        )
    found: dict[str, Rows] = {}
    for name, there in rows.items():
        mixed = np.asarray(there)[np.random.default_rng([ORDER_SEED, 4, len(there)]).permutation(len(there))]
        limit = settings.limit or n
        found[name] = there if name == "train" and limit >= len(there) else mixed[:limit]
    if not len(found[split]):
        raise UserError(f"{settings.data} has no test part, and holdout=0 keeps none; give holdout=0.1")
    return found[split], len(found[other_than(split)])


def _together(chosen: np.ndarray) -> Rows:
    """Return the places that are chosen, bool [N], as a slice where they stand together."""
    places = np.flatnonzero(chosen)
    whole = len(places) and places[-1] - places[0] + 1 == len(places)
    return range(int(places[0]), int(places[-1]) + 1) if whole else places


def split_files(file: np.ndarray, cut: int, after: int, settings: DataSettings) -> dict[str, Rows]:
    """Divide examples that were cut out of files: training rows are a slice; test rows are in a random order, so that the first few are fair.

    Args:
        file: Number of the file of every stored row.
        cut: Rows before it are for training.
        after: Rows from it on are for testing.
        settings: `limit`.
    """
    n = len(file)
    test = after + np.random.default_rng([ORDER_SEED, 3, n - after]).permutation(n - after)
    limit = settings.limit or n
    return {"train": range(min(cut, limit)), "test": test[:limit]}


def opened(
    name: str, info: dict[str, Any], folder: Any, settings: DataSettings, split: str, used: Sequence[object]
) -> Dataset:
    """Begin a split of a cache entry: its facts, without examples yet.

    Args:
        name: What the source is called.
        info: The facts of the entry.
        folder: The entry.
        settings: How it was opened.
        split: train or test.
        used: What the digest depends on beside the content.
    """
    report = [(str(n), str(r)) for n, r in info["left"]]
    digest = digest_of([info["digest"], *used])
    window = (info["window"][0], info["window"][1]) if info.get("window") else None
    notes = list(info["notes"])
    return Dataset({}, name, split, digest, settings, report=report, notes=notes, folder=folder, window=window)


def give_labels(dataset: Dataset, info: dict[str, Any], arrays: dict[str, np.ndarray], rows: Rows) -> None:
    """Give a split its labels, if all of its examples have one: the test part may have none."""
    labels = np.array(take(arrays["label"], rows)) if info["class_names"] else np.empty(0, np.int64)
    if len(labels) and labels.min() >= 0:
        dataset.fields["label"], dataset.class_names = labels, list(info["class_names"])


def give(dataset: Dataset, field: str, arrays: dict[str, np.ndarray], rows: Rows, others: int) -> None:
    """Give a split its examples of one field.

    Args:
        dataset: The split.
        field: The field.
        arrays: All that is stored.
        rows: The rows of this split.
        others: How many rows the other split has.
    """
    dataset.sizes[field] = {dataset.split: len(rows), other_than(dataset.split): others}
    dataset.fields[field] = take(arrays[field], rows)
