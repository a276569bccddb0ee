"""Streamed sets: the order is arithmetic, what is read is what was written, the cache keeps its bound, and what goes wrong is one sentence."""

import contextlib
import json
import os
import shutil
import tarfile
import threading

import numpy as np
import pytest
import torch

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import DamagedFile, NoSuchData, UserError
from genzoo.data import Batches, DataSettings, describe
from genzoo.data.streams import places
from genzoo.data.streams.order import Order
from genzoo.data.streams.stream import MOST
from genzoo.data.streams.writing import shard_data
from tests.data.streams_help import NAMES, TRAINED, all_of, epoch, examples, photos, sharded, streamed
from tests.data_help import picture, read
from tests.training_help import assert_same_state

pytestmark = pytest.mark.usefixtures("fresh_cache")
COUNTS = np.array([100, 37, 64, 1, 90, 55, 70, 33, 20, 48])


@pytest.fixture
def birds(tmp_path):
    return photos(tmp_path / "birds")


@pytest.fixture
def shards(birds, tmp_path):
    """60 images in six tars with an index."""
    return sharded(birds, tmp_path / "shards")


# ---- the order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 4, 16])
@pytest.mark.parametrize("batch", [1, 16, 33, 600])
def test_every_epoch_shows_every_example_once_in_an_order_of_its_own(window, batch):
    order, n = Order(COUNTS, window, 3, batch), int(COUNTS.sum())
    places = np.concatenate([order.at(step) for step in range(-(-3 * n // batch))])
    epochs = [places[k * n : (k + 1) * n] for k in range(3)]
    for shown in epochs:
        assert sorted(shown) == list(range(n))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(
        epochs[0], np.concatenate([Order(COUNTS, window, 4, batch).at(s) for s in range(-(-n // batch))])[:n]
    )
    for step in (0, 1, len(places) // batch - 1):
        assert np.array_equal(Order(COUNTS, window, 3, batch).at(step), places[step * batch : (step + 1) * batch]), (
            "a step is known without those before it"
        )


def test_a_block_mixes_its_shards_and_touches_no_other():
    order = Order(np.full(40, 50), 8, 0, 32)
    first = np.concatenate([order.at(step) for step in range(8 * 50 // 32)])
    assert len(order.shards_of(first)) == 8
    assert len(order.shards_of(order.at(0))) == 8, "already the first batch has examples of all of them"
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.2


@pytest.mark.parametrize("world", [2, 4, 8])
def test_processes_read_shards_of_their_own(world):
    """So that a machine fetches a part of a set, and the batch is the same as one process has."""
    order = Order(np.full(64, 50), 16, 0, 64)
    shares = [slice(r * 64 // world, (r + 1) * 64 // world) for r in range(world)]
    needed = [set(order.shards_at(0, share)[0]) for share in shares]
    assert set.union(*needed) == set(order.block_of(0).shards)
    for mine in needed:
        assert len(mine) <= 16 // world + 2
    for step in range(16 * 50 // 64):
        for share, mine in zip(shares, needed, strict=True):
            assert set(order.shards_of(order.at(step)[share])) <= mine


# ---- what is read --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["webdataset", "parquet", "mds"])
def test_what_was_written_is_streamed(birds, tmp_path, form):
    place = tmp_path / form
    wanted = DataSettings(str(birds), holdout=0)
    assert (
        "60 for training: 6 shards" in shard_data(wanted, str(place), how=form, per=10, kind="labelled", quiet=True)[0]
    )
    plain, dataset = read(birds, kind="labelled", holdout=0), streamed(place, holdout=0)
    assert dataset.class_names == list(NAMES)
    assert all_of(dataset) == all_of(plain)
    assert sorted(epoch(dataset)) == all_of(plain)
    assert describe(dataset)["shape"] == [3, 8, 8]
    assert dataset.sizes == {"image": {"train": 60, "test": 0}}


def test_both_parts_of_a_set_are_streamed(tmp_path):
    photos(tmp_path / "set" / "train", 30)
    photos(tmp_path / "set" / "test", 12)
    sharded(tmp_path / "set", tmp_path / "shards")
    for split, n in (("train", 30), ("test", 12)):
        dataset = streamed(tmp_path / "shards", split)
        assert len(dataset) == n
        assert all_of(dataset) == all_of(read(tmp_path / "set", kind="labelled", split=split))


def test_without_parts_whole_shards_are_held_out(shards):
    train, test = streamed(shards), streamed(shards, "test")
    assert (len(train), len(test)) == (50, 10)
    assert not set(all_of(train)) & set(all_of(test))
    assert any("1 of 6 shards are held out" in n for n in train.notes)
    assert len(streamed(shards, limit=17)) == 17


def test_shards_without_an_index_are_passed_over_once(shards, capsys):
    (shards / "index.json").unlink()
    with_index = sorted(p.name for p in shards.iterdir())
    from genzoo.data import open_data

    first = open_data(DataSettings(str(shards), cache_gb=0.1, holdout=0), kind="labelled")
    assert "once: it has no index.json" in capsys.readouterr().err
    assert (len(first), first.class_names) == (60, list(NAMES))
    again = open_data(DataSettings(str(shards), cache_gb=0.1, holdout=0), kind="labelled")
    assert "once:" not in capsys.readouterr().err, "what was found out is kept"
    assert again.digest == first.digest
    assert sorted(p.name for p in shards.iterdir()) == with_index, "nothing is written beside the shards"


def test_tables_without_an_index_are_known_by_their_ends(birds, tmp_path, monkeypatch):
    place = tmp_path / "tables"
    shard_data(DataSettings(str(birds), holdout=0), str(place), how="parquet", per=10, kind="labelled", quiet=True)
    (place / "index.json").unlink()
    monkeypatch.setattr(
        "genzoo.data.streams.index._passed", lambda *words, **more: pytest.fail("all of them were read")
    )
    dataset = streamed(place, holdout=0, size=8, channels=3)
    assert dataset.class_names == list(NAMES)
    assert all_of(dataset) == all_of(read(birds, kind="labelled", holdout=0))
    table = place / "train-000002.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"train-000002\.parquet is no parquet table, or is cut off"):
        streamed(place, size=8, channels=3)


def test_a_pattern_names_shards(shards):
    assert len(streamed(shards / "train-{000000..000002}.tar", holdout=0)) == 30
    assert len(streamed(shards / "train-*4.tar", holdout=0)) == 10


def test_images_are_brought_to_the_size_that_is_asked_for(shards):
    dataset = streamed(shards, size=4, channels=1, flip=True, crop=3)
    batch = Batches(dataset, 4, 0).at(0)
    assert batch["image"].shape == (4, 1, 3, 3)
    assert dataset.facts()["shape"] == (1, 3, 3)
    black = streamed(shards, binarize="threshold", shuffle_shards=1)
    assert set(np.unique(black.fields["image"][:5])) == {0, 255}


@pytest.mark.parametrize("settings", [{}, {"flip": True, "crop": 6}, {"binarize": "dynamic"}])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_what_one_sees(shards, world, settings):
    for step in (0, 3, 17):
        whole = Batches(streamed(shards, **settings), 12, 7).at(step)
        parts = [Batches(streamed(shards, **settings), 12, 7, rank, world).at(step) for rank in range(world)]
        for name, values in whole.items():
            assert torch.equal(torch.cat([p[name] for p in parts]), values)


def test_a_process_fetches_no_shard_that_only_others_need(tmp_path, monkeypatch):
    from genzoo.data.streams.store import Store

    place = sharded(photos(tmp_path / "birds", 96), tmp_path / "shards", per=6)
    fetched, real = set(), Store._load
    monkeypatch.setattr(Store, "_load", lambda self, number: fetched.add(number) or real(self, number))
    batches = Batches(streamed(place, shuffle_shards=8, holdout=0), 8, 0, 0, 4)
    for step in range(6):  # the first block, of two
        batches.at(step)
    assert len(fetched) <= 2 * (8 // 4 + 2) < 16


def test_rows_are_taken_as_numpy_takes_them(shards):
    field = streamed(shards).fields["image"]
    plain = np.array(field)
    mask = np.zeros(50, bool)
    mask[[3, 40]] = True
    for index in (
        7,
        -1,
        slice(3, 33, 4),
        slice(48, 99),
        np.array([49, 0, 49]),
        [],
        mask,
        (slice(0, 12), 0),
        (5, slice(1, 2)),
    ):
        assert np.array_equal(field[index], plain[np.asarray(index, int) if isinstance(index, list) else index])
    with pytest.raises(IndexError):
        field[50]


def part_of_batches(rank, place, cache):
    """What one of two processes reads, which fetch into one cache at once."""
    before = os.environ.get("GENZOO_CACHE")
    os.environ["GENZOO_CACHE"] = cache
    try:
        batches = Batches(streamed(place, flip=True), 12, 7, rank, 2)
        return [batches.at(step) for step in range(10)]
    finally:
        os.environ.pop("GENZOO_CACHE") if before is None else os.environ.update(GENZOO_CACHE=before)


def test_two_processes_share_a_cache_and_read_what_one_reads(shards, tmp_path, two_ranks):
    halves = two_ranks(part_of_batches, str(shards), str(tmp_path / "shared"))
    one = Batches(streamed(shards, flip=True), 12, 7)
    for step in range(10):
        for name, values in one.at(step).items():
            assert torch.equal(torch.cat([half[step][name] for half in halves]), values)
    assert not list((tmp_path / "shared" / "shards").glob("*/.*.part"))


# ---- the cache -----------------------------------------------------------------------------------------------------------


def test_the_cache_keeps_its_bound_and_every_example_comes_all_the_same(shards, tmp_path):
    one = 10 * (3 * 8 * 8 + 8)
    room = 4.5 * one
    dataset = streamed(shards, cache_gb=room / 1e9, holdout=0)
    cache, most, seen = tmp_path / "cache" / "shards", 0, []
    batches = Batches(dataset, 5, 0)
    for step in range(36):
        seen += examples(batches, [step])
        with contextlib.suppress(FileNotFoundError):  # one has made room for another while they were counted
            most = max(most, sum(np.load(f, mmap_mode="r").nbytes for f in cache.glob("*/0*/*.npy")))
    for k in range(3):
        assert sorted(seen[60 * k : 60 * (k + 1)]) == all_of(streamed(shards, holdout=0))
    assert one < most <= room


def test_a_cache_that_is_too_small_is_told_before_anything_is_read(shards, capsys):
    words = ["train", "vae", f"data={shards}", "cache_gb=0.000005", "shuffle_shards=2"]
    assert main(words) == 2
    err = capsys.readouterr().err.strip()
    assert "cache_gb=5e-06 is too small" in err
    assert "give cache_gb=" in err
    assert "shuffle_shards=1" in err
    assert len(err.splitlines()) == 1
    assert not list((shards.parent / "cache").glob("shards/*/0*"))


def test_a_disk_that_is_full_is_one_sentence(shards, monkeypatch):
    import errno

    from genzoo.core.errors import DiskFull
    from genzoo.data.cache import Rows

    def full(self, row):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Rows, "append", full)
    with pytest.raises(DiskFull, match="make room"):
        Batches(streamed(shards), 5, 0).at(0)


def test_threads_and_runs_that_share_a_cache_get_the_same(shards):
    dataset, found = streamed(shards, holdout=0), {}
    batches, others = Batches(dataset, 6, 0), Batches(streamed(shards, holdout=0), 6, 0)
    threads = [
        threading.Thread(target=lambda k=k: found.update({k: (batches if k % 2 else others).at(k % 5)}))
        for k in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, batch in found.items():
        assert torch.equal(batch["image"], Batches(dataset, 6, 0).at(k % 5)["image"])


def test_a_cache_entry_that_is_damaged_is_made_anew(shards, tmp_path):
    whole = all_of(streamed(shards, holdout=0))
    entry = next((tmp_path / "cache" / "shards").glob("*/000002"))
    (entry / "image.npy").write_bytes((entry / "image.npy").read_bytes()[:300])
    shutil.rmtree(next((tmp_path / "cache" / "shards").glob("*/000004")))
    assert all_of(streamed(shards, holdout=0)) == whole


# ---- going on ------------------------------------------------------------------------------------------------------------


def test_a_shard_that_is_gone_stops_the_run_which_goes_on_exactly_when_it_is_back(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = genzoo.train("vae", str(shards), name="whole", quiet=True, **TRAINED)
    shutil.rmtree(tmp_path / "cache")
    gone = tmp_path / "gone"
    gone.mkdir()
    order = Order(np.full(5, 10), 2, 0, 6)
    later = order.block_of(25).shards[0]  # of the block that steps 4 to 6 are of
    kept = streamed(shards).stream.spans[int(later)].shard
    name = f"train-{kept:06d}.tar"
    shutil.move(shards / name, gone / name)
    with pytest.raises(
        NoSuchData, match=rf"{name} is not there.*What was learned is saved, and 'genzoo resume' goes on exactly there"
    ):
        genzoo.train("vae", str(shards), name="stopped", quiet=True, **TRAINED)
    saved = json.loads((tmp_path / "runs" / "stopped" / "model" / "config.json").read_text())["step"]
    assert 1 < saved < 7
    shutil.move(gone / name, shards / name)
    stopped = genzoo.resume("runs/stopped", quiet=True)
    assert_same_state(whole, stopped)
    log = [[line["loss"] for line in run.log() if "loss" in line] for run in (whole, stopped)]
    assert log[0] == log[1], "nothing was replayed and nothing left out"


def test_resuming_with_another_set_is_refused(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genzoo.train("vae", str(shards), name="a", quiet=True, **{**TRAINED, "steps": 2})
    index = json.loads((shards / "index.json").read_text())
    index["shardlist"] = index["shardlist"][:-1]
    (shards / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="data"):
        genzoo.resume("runs/a", steps=4, quiet=True)


# ---- what goes wrong -----------------------------------------------------------------------------------------------------


def first_shard(shards):
    return shards / "train-000000.tar"


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, file in files.items():
            tar.add(file, name)


def test_a_shard_that_is_cut_off_or_changed_is_damaged(shards):
    whole = first_shard(shards).read_bytes()
    first_shard(shards).write_bytes(whole[:-4096])
    with pytest.raises(
        DamagedFile, match=r"train-000000.tar has [\d,]+ bytes, and its index says [\d,]+: it is damaged"
    ):
        all_of(streamed(shards, holdout=0))
    # One byte between two images as well, which decodes as ever.
    for changed in (whole[:2000] + bytes(4000) + whole[6000:], whole[:-1] + b"X"):
        first_shard(shards).write_bytes(changed)
        with pytest.raises(DamagedFile, match=r"train-000000\.tar is damaged: its content is not what its index says"):
            all_of(streamed(shards, holdout=0))


def test_a_shard_that_cannot_be_read_is_one_sentence(shards, monkeypatch):
    from genzoo.data.streams import reading

    def denied(*words, **more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading, "opened", denied)
    with pytest.raises(UserError, match=r"train-\d+\.tar cannot be read: permission denied"):
        Batches(streamed(shards), 5, 0).at(0)


def test_a_number_in_a_name_is_no_answer_of_a_server(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (0.01,))

    def reset():
        raise ConnectionResetError(
            "http://127.0.0.1:40301/train-000403.tar: connection reset, status code 401 it is not"
        )

    with pytest.raises(UserError, match="tried 2 times"):
        places.Place(str(tmp_path)).tried(reset, "read", "train-000403.tar")


def test_an_image_that_cannot_be_decoded_names_its_shard(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for i in range(3):
        picture(i, (8, 8)).save(tmp_path / f"{i}.png")
    tar_of(
        tmp_path / "shards" / "a.tar",
        {f"{i}.png": tmp_path / f"{i}.png" for i in range(3)} | {"9.png": tmp_path / "bad.png"},
    )
    with pytest.raises(DamagedFile, match=r"a\.tar is damaged: 9\.png: .*a stream leaves no example out"):
        streamed(tmp_path / "shards", kind="image", size=8, channels=3, holdout=0)
    (tmp_path / "shards" / "index.json").write_text('{"shardlist": [{"url": "a.tar", "nsamples": 4}]}')
    dataset = streamed(tmp_path / "shards", kind="image", size=8, channels=3, holdout=0)
    with pytest.raises(DamagedFile, match=r"a\.tar is damaged: 9\.png: .*a stream leaves no example out"):
        np.array(dataset.fields["image"])
    (tmp_path / "shards" / "index.json").write_text('{"shardlist": [{"url": "a.tar", "nsamples": 5}]}')
    with pytest.raises(DamagedFile, match=r"a\.tar holds 4 images that can be used, and 5 are expected"):
        np.array(streamed(tmp_path / "shards", kind="image", size=8, channels=3, holdout=0).fields["image"])


def test_what_is_no_set_in_shards_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    picture().save(tmp_path / "photos" / "a.png")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "index.json").write_text('{"version": 2}')
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.json").write_text('{"shardlist": [{"url": "../x.tar", "nsamples": 3}]}')
    for name, said in (
        ("empty", "holds no shards"),
        ("photos", r"holds no shards \(tar, parquet or MDS\); it holds a.png"),
        ("odd", "is no index of shards"),
        ("out", "which is not beside it"),
        ("none", "is not there|holds no shards"),
    ):
        with pytest.raises(UserError, match=said):
            streamed(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("captioned", {}, "this system takes captioned data"),
        ("audio", {}, "this system takes audio data"),
        ("paired", {}, "this system takes paired data"),
        ("image", {"bits": 16}, "bits= is not for data that are streamed"),
        ("image", {"captions": "a.csv"}, "captions= is not for data that are streamed"),
        ("image", {"crop": 9}, "crop=9 is larger than the images"),
    ],
)
def test_what_a_stream_cannot_do_is_told(shards, kind, settings, said):
    with pytest.raises(UserError, match=said):
        streamed(shards, kind=kind, **settings)


def test_shards_without_classes_are_no_labelled_set(tmp_path):
    (tmp_path / "shards").mkdir()
    for i in range(4):
        picture(i, (8, 8)).save(tmp_path / f"{i}.png")
    tar_of(tmp_path / "shards" / "a.tar", {f"{i}.png": tmp_path / f"{i}.png" for i in range(4)})
    with pytest.raises(UserError, match="neither its index nor its shards name classes"):
        streamed(tmp_path / "shards")


def test_more_than_memory_holds_is_not_asked_for(shards, monkeypatch):
    monkeypatch.setattr("genzoo.data.streams.stream.MOST", 1000)
    assert MOST == 2**30
    with pytest.raises(UserError, match=r"is streamed, and this asks for 50 examples at once .*give limit="):
        np.array(streamed(shards).fields["image"])


def test_shards_are_not_written_over_a_set(shards, birds, capsys):
    assert main(["data", "shard", str(birds), f"to={shards}"]) == 2
    assert "holds a set in shards already (index.json)" in capsys.readouterr().err
    assert main(["data", "shard", str(birds)]) == 2
    assert "to= is missing" in capsys.readouterr().err


def test_the_command_writes_shards_and_says_how_to_train_on_them(birds, tmp_path, capsys):
    to = tmp_path / "made"
    assert main(["data", "shard", str(birds), f"to={to}", "per=25", "kind=labelled", "size=4"]) in (0, None)
    out = capsys.readouterr().out
    assert "60 for training: 3 shards of webdataset" in out
    assert f"genzoo train dcgan data={to} cache_gb=10" in out
    assert streamed(to).facts()["shape"] == (3, 4, 4)
