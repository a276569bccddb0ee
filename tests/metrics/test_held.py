"""Samples are held in a file once they are many: the same tensor, the same values, and memory that their number does not fill."""

import errno
import gc
import io
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import DiskFull
from genzoo.metrics import held as module
from genzoo.metrics.comparison import Comparison, pixel_points
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.held import held, let_go, parts
from genzoo.metrics.maths.moments import PART, Moments
from genzoo.metrics.maths.neighbours import nearest


@pytest.fixture
def in_files(monkeypatch, tmp_path):
    """Everything goes to a file, in a cache of its own."""
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    return tmp_path


def some(n=50, side=9, seed=0):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def resident(x):
    """Which pages of a held tensor are in this process's memory, in KiB, by the system's own table."""
    at, found = x.untyped_storage().data_ptr(), 0
    with open("/proc/self/smaps") as f:
        for line in f:
            if "-" in line.split()[0]:
                first, last = (int(a, 16) for a in line.split()[0].split("-"))
            elif line.startswith("Rss:") and first <= at < last:
                found = int(line.split()[1])
    return found


def test_what_is_held_in_a_file_is_what_was_given(in_files):
    x = some()
    y = held(x.split(7), 60)
    assert torch.equal(y, x), "fewer than were announced are all there are"
    assert torch.equal(torch.cat(list(parts(y, 8))), x)
    assert torch.equal(y[[3, 1]], x[[3, 1]])
    y[5] = 0
    let_go(y)
    assert not y[5].any(), "what is written stays written"
    assert not list((in_files / "held").iterdir()), "the file has no name: it is gone with the process"


@pytest.mark.skipif(not module.mmap.__dict__.get("MADV_DONTNEED"), reason="this system cannot give pages back")
def test_what_was_looked_at_does_not_stay(in_files):
    big = held((some(8, 64, k) for k in range(40)), 320)
    assert resident(big) < 100
    big.float().sum()
    assert resident(big) > 3000, "looked at as a whole, it is in memory"
    for part in parts(big, 16):
        assert part.float().mean() > 0
    assert resident(big) < 100
    pixel_points(big)
    assert resident(big) < 100
    extractor("random")(big)
    assert resident(big) < 100


def test_a_file_goes_when_nobody_holds_it(in_files):
    y = held([some()], 50)
    known = weakref.ref(module._mapped[y.untyped_storage().data_ptr()])
    view = y[3:]
    del y
    gc.collect()
    assert known() is not None, "a part of it is still in use"
    del view
    gc.collect()
    assert known() is None


def test_no_room_is_said(in_files, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", lambda dir: Full())
    with pytest.raises(DiskFull, match="no room to write"):
        held([some()], 50)


def measured(run, tmp, measures):
    found = genzoo.evaluate(run, measures=measures, n=60, extractor="random", out=tmp, split="test")
    values = {name: (m["value"], m["se"], m["floor"]) for name, m in found["measures"].items()}
    return values, {name: Path(path).read_bytes() for name, path in found["pictures"].items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("held")
    made = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 3), dtype=np.uint8)
    np.savez(place / "images.npz", train=made[:80], test=made[80:])
    settings = {"size": 16, "width": 4, "precision": "fp32", "runs": str(place), "name": "run", "quiet": True}
    return genzoo.train("dcgan", str(place / "images.npz"), steps=2, batch=8, **settings).path


def test_every_measure_and_picture_is_the_same_whether_samples_are_in_memory_or_in_a_file(run, tmp_path, monkeypatch):
    """Of a run and of its samples in a folder."""
    wanted = "frechet,kid,prdc,swd,diversity,memorization"
    plain = measured(run, tmp_path / "a", wanted)
    monkeypatch.setattr(module, "IN_MEMORY", 0)
    kept = measured(run, tmp_path / "b", wanted)
    assert len(plain[0]) == 9
    assert set(plain[1]) == {"samples", "neighbours"}
    assert kept == plain


def test_an_evaluation_of_features_holds_no_sample(run, monkeypatch):
    """Its samples are described chunk by chunk: at no time are there two chunks, let alone all."""
    alive, most = weakref.WeakSet(), [0]
    real = Comparison._drawing

    def counted(self):
        for part in real(self):
            alive.add(part)
            most[0] = max(most[0], len(alive))
            yield part
            del part

    monkeypatch.setattr(Comparison, "_drawing", counted)
    system = genzoo.load(run)
    for n in (300, 1500):
        compared = Comparison(test=None, net=extractor("random"), system=system, n=n, kept=False)
        assert compared.fake_features.shape == (n, 64)
    assert most[0] <= 2


def test_large_samples_are_drawn_in_smaller_chunks():
    torch.manual_seed(0)
    system = genzoo.create("dcgan", shape=(3, 256, 256), width=4).eval()
    sizes = [len(part) for part in Comparison(test=None, system=system, n=40)._drawing()]
    assert sizes == [16, 16, 8]


def test_moments_of_many_rows_are_those_of_all_at_once():
    x = torch.randn(2 * PART + 100, 12, generator=torch.Generator().manual_seed(0)) + 100
    got, want = Moments.of(x), x.double()
    torch.testing.assert_close(got.mean, want.mean(0), rtol=1e-13, atol=0)
    torch.testing.assert_close(got.covariance, want.T.cov(), rtol=1e-10, atol=1e-12)


def test_neighbours_do_not_depend_on_chunks():
    samples, reference = some(30, 5, 1), torch.cat([some(20, 5, 1), some(40, 5, 2)])
    want = nearest(samples, reference, k=3)
    got = nearest(samples, reference.numpy(), k=3, chunk=7)
    assert torch.equal(want[0], got[0])
    assert torch.equal(want[1], got[1])
    assert want[0][:20, 0].max() == 0
