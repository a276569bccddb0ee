"""What the tests of streamed sets share: a set of noise in shards, the same set on the disk, and every example by its pixels."""

import numpy as np

from genzoo.data import Batches, DataSettings
from genzoo.data.streams.writing import shard_data
from tests.data_help import picture, read

NAMES = ("auk", "jay", "owl")


def photos(folder, n=60, size=(8, 8)):
    """Images of three classes, no two alike."""
    for i in range(n):
        place = folder / NAMES[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture(i, size).save(place / f"{i:03d}.png")
    return folder


def sharded(folder, to, per=10, **settings):
    shard_data(DataSettings(str(folder), holdout=0, **settings), str(to), per=per, kind="labelled", quiet=True)
    return to


def streamed(to, split="train", kind="labelled", **settings):
    return read(to, kind=kind, split=split, **{"cache_gb": 0.1, "shuffle_shards": 2, **settings})


def examples(batches, steps):
    """Pixels and class of every example of some steps."""
    found = []
    for step in steps:
        batch = batches.at(step)
        found += [(i.numpy().tobytes(), int(k)) for i, k in zip(batch["image"], batch["label"], strict=True)]
    return found


def all_of(dataset):
    """Pixels and class of every example of a set, sorted."""
    images, labels = np.array(dataset.fields["image"]), np.array(dataset.fields["label"])
    return sorted((i.tobytes(), int(k)) for i, k in zip(images, labels, strict=True))


def epoch(dataset, batch=5, seed=0, rank=0, world=1):
    batches = Batches(dataset, batch, seed, rank, world)
    return examples(batches, range(len(dataset) // batch))


TRAINED = {
    "steps": 14,
    "batch": 6,
    "hidden": 8,
    "latent": 2,
    "width": 4,
    "log_every": 1,
    "precision": "fp32",
    "cache_gb": 0.1,
    "shuffle_shards": 2,
}
"""Settings of a training that a test interrupts."""
