"""CIFAR-10 and CIFAR-100 for Python: batches in pickles, read as data by `decode.pickled`, which runs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from genzoo.core.errors import UserError, nearest
from genzoo.data.decode.forms import Rejected
from genzoo.data.decode.pickled import numbers_in
from genzoo.data.sources.contents import ArrayPictures, Contents
from genzoo.data.sources.layout import HOW
from genzoo.data.sources.trees import Tree

BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_LABELS = ("labels", "fine_labels", "coarse_labels")


def is_cifar(tree: Tree) -> bool:
    """Tell whether there are batches of CIFAR for Python in a tree."""
    ends = {n.rsplit("/", 1)[-1] for n in tree.names}
    return ("batches.meta" in ends and bool(ends & {*BATCHES, "test_batch"})) or {"meta", "train", "test"} <= ends


def contents(tree: Tree, where: str, structure: str, label: str) -> Contents:
    """Read the batches.

    Args:
        tree: The folder or archive.
        where: Its name, for messages.
        structure: What is asked for.
        label: coarse_labels takes CIFAR-100's twenty classes in place of its hundred.

    Raises:
        UserError: No batch can be read, or it is not asked for as images.
    """
    if structure != "image":
        raise UserError(f"{where} is a set of labelled images, not {structure} data; {HOW[structure]}")
    made = Contents({}, left=list(tree.left))
    paths = {n.rsplit("/", 1)[-1]: n for n in tree.names}
    ten = "batches.meta" in paths
    parts = {"train": BATCHES if ten else ("train",), "test": ("test_batch",) if ten else ("test",)}
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    known: set[str] = set()
    for split, batches in parts.items():
        for name in batches:
            try:
                if name not in paths:
                    raise Rejected("missing; the other batches are used")
                batch = _read(tree, paths[name])
                known |= {k for k in _LABELS if k in batch}
                found.setdefault(split, []).append((_images(batch), _numbers(batch, label)))
            except Rejected as reason:
                made.left.append((name, str(reason)))
    if label and label not in known:
        raise UserError(
            f"label={label}: {where} has no such labels{nearest(label, known) or '.'} There are: {', '.join(sorted(known))}"
        )
    if not found:
        raise UserError(
            f"{where} has no batch that can be read ({'; '.join(f'{n}: {r}' for n, r in made.left[:3])}); fetch it again"
        )
    for split, read in found.items():
        only = split if len(found) > 1 else ""
        made.pictures["image", only] = ArrayPictures(np.concatenate([i for i, _ in read]), f"{where} {split}")
        made.labels[only] = np.concatenate([n for _, n in read])
    count = 1 + max(int(v.max()) for v in made.labels.values())
    names = _names(tree, paths["batches.meta" if ten else "meta"], label, made)
    made.class_names = names if len(names) >= count else [str(k) for k in range(count)]
    return made


def _read(tree: Tree, name: str) -> dict[str, Any]:
    with tree.open(name) as file:
        data = file.read()
    try:
        found = numbers_in(data)
    except Rejected as reason:
        raise Rejected(f"no pickle of CIFAR: {reason}") from None
    if not isinstance(found, dict):
        raise Rejected("no batch of CIFAR: not a dictionary")
    return {k.decode("latin1") if isinstance(k, bytes) else str(k): v for k, v in found.items()}


def _images(batch: dict[str, Any]) -> np.ndarray:
    """Return the images of a batch, uint8 [N, 3, 32, 32]."""
    rows = batch.get("data")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8:
        raise Rejected("no batch of CIFAR: its data are no array of bytes")
    if rows.ndim != 2 or rows.shape[1] != 3072 or not len(rows):
        raise Rejected(f"no batch of CIFAR: its data are {rows.shape}, not rows of 3072 bytes")
    return np.ascontiguousarray(rows).reshape(-1, 3, 32, 32)


def _numbers(batch: dict[str, Any], label: str) -> np.ndarray:
    """Return the classes of a batch, int64 [N]."""
    key = label or next((k for k in _LABELS if k in batch), "")
    values, n = batch.get(key), len(_images(batch))
    if (
        not isinstance(values, list)
        or len(values) != n
        or not all(isinstance(v, int) and 0 <= v < 1000 for v in values)
    ):
        count = len(values) if isinstance(values, list) else "no"
        raise Rejected(f"{count} labels ({key or 'labels'}) that are numbers, for {n} images")
    return np.array(values, np.int64)


def _names(tree: Tree, name: str, label: str, made: Contents) -> list[str]:
    try:
        meta = _read(tree, name)
    except Rejected as reason:
        made.left.append((name, f"{reason}; classes are called by their numbers"))
        return []
    key = (
        "coarse_label_names"
        if label == "coarse_labels"
        else "label_names"
        if "label_names" in meta
        else "fine_label_names"
    )
    names = meta.get(key)
    return [str(n) for n in names] if isinstance(names, list) else []
