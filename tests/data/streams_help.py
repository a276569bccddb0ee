"""What the tests of streamed sets share: a set of noise in shards, the same set on the disk, and every example by its pixels."""

import json
import shutil
import threading

import numpy as np

import genzoo
from genzoo.cli.main import main
from genzoo.data import Batches, DataSettings
from genzoo.data.streams import places
from genzoo.data.streams.writing import shard_data
from tests.data_help import picture, read
from tests.training_help import assert_same_state

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


def examples_over_a_kill(url, server, gate, cache):
    """Every example of an epoch of twelve steps, during which the server is killed and started again."""
    batches = Batches(streamed(url, holdout=0), 5, 0)
    shutil.rmtree(cache)
    seen = examples(batches, range(2))
    assert len(list((cache / "shards").glob("*/*[0-9]"))) < 20, "some are not here yet"
    server.kill()

    def again():
        gate.do("refuse")  # until what the server had in memory is there again, as it would be on a disk
        server.start()
        gate.do("")

    threading.Timer(1.0, again).start()
    return seen + examples(batches, range(2, 12))


def end_and_go_on(url, gate, folder, monkeypatch, capsys):
    """Train from a server that goes for good in the middle, hold that the run ends and goes on exactly, and return what was said."""
    monkeypatch.chdir(folder)
    whole = genzoo.train("vae", url, name="whole", quiet=True, **TRAINED)
    shutil.rmtree(folder / "cache")
    monkeypatch.setattr(places, "PAUSES", (0.05, 0.05))
    real = Batches.at

    def at(self, step):
        if step == 5:
            gate.do("refuse")
        return real(self, step)

    monkeypatch.setattr(Batches, "at", at)
    words = [f"{k}={v}" for k, v in TRAINED.items()]
    assert main(["train", "vae", f"data={url}", "name=stopped", "quiet=true", *words]) == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    saved = json.loads((folder / "runs" / "stopped" / "model" / "config.json").read_text())["step"]
    assert 0 < saved < 14
    monkeypatch.setattr(Batches, "at", real)
    gate.do("")
    assert_same_state(whole, genzoo.resume("runs/stopped", quiet=True))
    assert "cannot be read" in err
    assert "What was learned is saved, and 'genzoo resume' goes on exactly there" in err
    return err
