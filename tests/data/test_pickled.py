"""Pickles of numbers: read as they are meant, and nothing in them is run."""

from __future__ import annotations

import collections
import os
import pickle
import random
import sys

import numpy as np
import pytest

from genzoo.core.errors import DamagedFile
from genzoo.data.decode.pickled import read_numbers

VALUES = {
    "grid": np.arange(6.0).reshape(2, 3), "columns": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)), "big-endian": np.ones(2, ">i4"),
    "scalar": np.float64(3.5), "texts": np.array(["ab", "c"]), "list": [None, "x", b"y", True], "tuple": (1, 2.5), "long": 2**70,
}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read(data):
        (tmp_path / "x.pkl").write_bytes(data)
        return read_numbers(tmp_path / "x.pkl")

    return read


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_come_back_as_they_were_written(read, protocol):
    got = read(pickle.dumps(VALUES, protocol))
    assert list(got) == list(VALUES)
    for key in ("grid", "columns", "big-endian", "texts"):
        assert np.array_equal(got[key], VALUES[key])
        assert got[key].dtype.newbyteorder("=") == VALUES[key].dtype.newbyteorder("=")
    assert [got[k] for k in ("scalar", "list", "tuple", "long")] == [
        VALUES[k] for k in ("scalar", "list", "tuple", "long")
    ]


def test_a_pickle_of_python_2_and_of_numpy_1_is_read(read):
    """Names of modules are those of their time; bytes were texts in latin-1."""
    old = (
        b"\x80\x02}q\x00U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01K\x02K\x02\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\xff\x00tbs."
    )
    assert read(old)["data"].tolist() == [[1, 2], [255, 0]]


class Runs:
    """What would make a file when a pickle is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_run_and_other_things_are_named(read, tmp_path):
    with pytest.raises(DamagedFile, match=r"it holds (posix|nt)\.mkdir, which is no array of numbers"):
        read(pickle.dumps({"raw_mean": Runs(tmp_path / "made")}))
    assert not (tmp_path / "made").exists()
    for other, said in (
        (collections.Counter("a"), "collections.Counter"),
        (np.array([object()]), "no numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "no numbers"),
        (np.zeros(2, [("a", "f4")]), "no numbers|records"),
    ):
        with pytest.raises(DamagedFile, match=said):
            read(pickle.dumps({"x": other}))


def test_sizes_that_are_not_there_are_refused_before_memory_is_taken(read):
    made = pickle.dumps({"x": np.zeros((3, 3))}, 2)
    with pytest.raises(DamagedFile, match=r"an array of 3x2000000000 float64 with 72 bytes"):
        read(made.replace(b"K\x03K\x03\x86", b"K\x03J\x00\x945w\x86", 1))
    with pytest.raises(DamagedFile):
        read(b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.")  # bytes of 4 exabytes
    with pytest.raises(DamagedFile):
        read(b"\x80\x02Nr\xff\xff\xff\xff" * 2)  # an entry of the memo far away takes no room for those before it


def test_a_cut_or_changed_pickle_is_refused_and_never_crashes(read):
    whole = pickle.dumps(VALUES)
    for end in range(0, len(whole), 7):
        with pytest.raises(DamagedFile, match=r"x\.pkl' cannot be read as a pickle of arrays"):
            read(whole[:end])
    rng = random.Random(0)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 5)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        try:
            read(bytes(changed))
        except DamagedFile:
            continue
    with pytest.raises(DamagedFile, match=r"nested too deeply|ends early|more than it has"):
        read(b"\x80\x02" + b"]" * (sys.getrecursionlimit() * 3) + b"a" * (sys.getrecursionlimit() * 3 - 1) + b".")
