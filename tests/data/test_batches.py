"""Batches are a pure function of the step: permutations, resume, ranks, augmentation, range."""

import numpy as np
import pytest
import torch

from genzoo.core.errors import UserError
from genzoo.data import Batches, Dataset, DataSettings, to_float


def images(n, size=6, channels=1, start=0):
    """The i-th image is i + start at its corner, and a ramp elsewhere."""
    ramp = np.arange(size * size, dtype=np.uint8).reshape(size, size)
    array = np.broadcast_to(ramp, (n, channels, size, size)).copy()
    array[:, :, 0, 0] = (np.arange(n) + start)[:, None]
    return array


def dataset(n=10, fields=None, paired=False, captions=(), **settings):
    fields = fields or {"image": images(n), "label": np.arange(n, dtype=np.int64)}
    made = Dataset(fields, "made", "train", "00", DataSettings("made", **settings), captions=list(captions))
    made.paired = paired
    return made


def stream(batches, steps, field="label"):
    return torch.cat([batches.at(s)[field] for s in range(steps)]).tolist()


@pytest.mark.parametrize(("n", "batch"), [(10, 5), (10, 4), (10, 10), (3, 8), (1, 4), (7, 3)])
def test_every_epoch_is_a_permutation(n, batch):
    indices = stream(Batches(dataset(n), batch, seed=1), 6 * n)
    epochs = [indices[i : i + n] for i in range(0, len(indices), n)]
    assert all(sorted(e) == list(range(n)) for e in epochs)
    if n == 10:
        assert len({tuple(e) for e in epochs}) > 5


def test_fields_stay_together():
    batch = Batches(dataset(50), 16, seed=0).at(3)
    assert torch.equal(batch["image"][:, 0, 0, 0].long(), batch["label"])
    assert (batch["image"].dtype, batch["label"].dtype) == (torch.uint8, torch.int64)


def test_seeds_differ():
    assert stream(Batches(dataset(50), 10, 0), 5) != stream(Batches(dataset(50), 10, 1), 5)


@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"crop": 4, "flip": True}, {"binarize": "dynamic"}])
def test_resume_needs_no_replay(settings):
    run = Batches(dataset(20, **settings), 6, seed=3)
    seen = [run.at(s) for s in range(12)]
    for step in (11, 0, 7, 7, 3):
        again = Batches(dataset(20, **settings), 6, seed=3).at(step)
        assert all(torch.equal(again[k], seen[step][k]) for k in again)
        again = run.at(step)
        assert all(torch.equal(again[k], seen[step][k]) for k in again)


@pytest.mark.parametrize("settings", [{}, {"flip": True}, {"crop": 4}, {"binarize": "dynamic"}])
@pytest.mark.parametrize(("batch", "world"), [(6, 2), (7, 3), (5, 5)])
def test_ranks_share_the_batch(settings, batch, world):
    whole = Batches(dataset(20, **settings), batch, seed=3)
    ranks = [Batches(dataset(20, **settings), batch, seed=3, rank=r, world=world) for r in range(world)]
    for step in (0, 4, 5):
        parts = [r.at(step) for r in ranks]
        for field, value in whole.at(step).items():
            assert torch.equal(torch.cat([p[field] for p in parts]), value)
    inside = [torch.cat([r.in_order(s)["label"] for r in ranks]) for s in range(whole.pass_length())]
    assert torch.cat(inside).tolist() == list(range(20))


def test_batch_smaller_than_the_ranks():
    with pytest.raises(UserError, match="at least 4"):
        Batches(dataset(), 3, 0, rank=0, world=4)
    with pytest.raises(UserError, match="at least 1"):
        Batches(dataset(), 0, 0)


def test_pass_in_order():
    batches = Batches(dataset(10, flip=True, crop=4), 4, seed=0)
    assert batches.pass_length() == 3
    parts = [batches.in_order(s) for s in range(4)]
    assert [len(p["label"]) for p in parts] == [4, 4, 2, 0]
    assert torch.cat([p["label"] for p in parts]).tolist() == list(range(10))
    ramp = torch.arange(36, dtype=torch.uint8).view(6, 6)[1:5, 1:5]
    assert all(torch.equal(i[0], ramp) for p in parts for i in p["image"])


def test_unpaired_groups_have_streams_of_their_own():
    data = dataset(fields={"a": images(8), "b": images(5, start=100)})
    batches = Batches(data, 4, seed=0)
    a, b = (torch.cat([batches.at(s)[f][:, 0, 0, 0] for s in range(10)]).tolist() for f in "ab")
    assert [sorted(a[i : i + 8]) for i in range(0, 40, 8)] == [list(range(8))] * 5
    assert [sorted(b[i : i + 5]) for i in range(0, 40, 5)] == [list(range(100, 105))] * 8
    assert batches.pass_length() == 2
    assert [len(batches.in_order(1)[f]) for f in "ab"] == [4, 1]
    equal = Batches(dataset(fields={"a": images(8), "b": images(8)}), 8, seed=0).at(0)
    assert not torch.equal(equal["a"], equal["b"]), "sides of one length are not in step"


def test_flips_and_crops_are_what_they_say():
    ramp = torch.arange(36, dtype=torch.uint8).view(6, 6)
    flips = Batches(dataset(40, flip=True), 40, seed=0).at(0)["image"]
    mirrored = sum(torch.equal(i[0, 1:], ramp[1:].flip(1)) for i in flips)
    plain = sum(torch.equal(i[0, 1:], ramp[1:]) for i in flips)
    assert mirrored + plain == 40
    assert 8 < mirrored < 32
    places = set()
    for i in Batches(dataset(40, crop=4), 40, seed=0).at(0)["image"]:
        y, x = divmod(int(i[0, 3, 3]), 6)
        assert torch.equal(i[0, 1:], ramp[y - 3 : y + 1, x - 3 : x + 1][1:])
        places.add((y, x))
    assert len(places) == 9


def test_captions_are_found_by_index():
    data = dataset(10, captions=[str(i) for i in range(10)])
    batch = Batches(data, 4, 0).at(1)
    assert torch.equal(batch["index"], batch["label"])


def test_data_are_never_changed():
    data = dataset(10, flip=True, binarize="dynamic")
    before = data.fields["image"].copy()
    data.fields["image"].setflags(write=False)
    batches = Batches(data, 10, 0)
    batches.at(0)["image"].zero_()
    batches.in_order(0)["image"].zero_()
    assert np.array_equal(data.fields["image"], before)


@pytest.mark.parametrize("layout", [None, torch.channels_last])
def test_floats(layout):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 4, 8, 8)
    batch = to_float({"image": levels, "label": torch.tensor([3]), "points": torch.tensor([[2.5, 1.0]])}, "cpu", layout)
    x = batch["image"]
    assert (x.dtype, x.min().item(), x.max().item()) == (torch.float32, -1.0, 1.0)
    assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), levels)
    assert x.is_contiguous(memory_format=layout or torch.contiguous_format)
    assert batch["label"].dtype == torch.int64
    assert batch["points"].tolist() == [[2.5, 1.0]]


def test_points_in_batches():
    points = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    data = dataset(fields={"points": points})
    assert data.facts() == {"shape": (2,), "classes": 0, "levels": 256}
    assert sorted(stream(Batches(data, 3, 0), 3, "points")) == sorted(points.tolist())
