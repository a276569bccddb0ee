"""Shards of tar, parquet tables, LMDBs and TFRecords of images: what is in them, and what is damaged."""

import errno
import io
import struct
import tempfile

import numpy as np
import pytest

from genzoo.core.errors import DiskFull, UserError
from genzoo.data import DataSettings, seen_from
from genzoo.data.sources.records import ParquetTree
from tests.data.published_help import encoded, lmdb_file, parquet, record, samples, tar
from tests.data_help import read

pytestmark = pytest.mark.usefixtures("fresh_cache")


def by_level(dataset):
    """What is told of every image, by its level."""
    names = dataset.class_names
    levels = dataset.fields["image"][:, 0, 0, 0].tolist()
    labels = dataset.fields.get("label")
    return {
        v: (names[labels[i]] if labels is not None else None, dataset.texts[i] if dataset.texts else [])
        for i, v in enumerate(levels)
    }


def levels(dataset):
    return sorted(dataset.fields["image"][:, 0, 0, 0].tolist())


# ---- shards of tar ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path):
    told = {"cls": lambda v: str(v % 2).encode(), "txt": lambda v: f"level {v}".encode()}
    for k in range(3):
        tar(tmp_path / "w" / f"train-{k:06d}.tar", samples(10 * k, 4, **told))
    tar(tmp_path / "w" / "val-000000.tar", samples(100, 2, **told))
    return tmp_path / "w"


def test_shards_are_one_set_whose_parts_are_told_by_their_names(shards):
    train, test = read(shards, kind="captioned"), read(shards, kind="captioned", split="test")
    assert levels(train) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    assert by_level(train)[21] == ("1", ["level 21"])
    assert by_level(test) == {100: ("0", ["level 100"]), 101: ("1", ["level 101"])}
    assert train.report == []
    assert "train/000002:0001.png" in train.names_of("image")


@pytest.mark.parametrize("pattern", ["train-{000000..000002}.tar", "train-*.tar", "tr?in-00000?.tar"])
def test_a_pattern_names_shards(shards, pattern):
    assert len(read(shards / pattern, holdout=0)) == 12


def test_what_a_pattern_names_and_is_not_there_is_told(shards):
    train = read(shards / "train-{000000..000003}.tar", holdout=0)
    assert len(train) == 12
    assert ("train-000003.tar", "there is no such file") in train.report
    with pytest.raises(UserError, match=r"none of the 2 files of this pattern is there, .*x-7\.tar is the first"):
        read(shards / "x-{7..8}.tar")


def test_many_shards_are_not_kept_open(shards, monkeypatch):
    monkeypatch.setattr("genzoo.data.sources.shelf.MOST_OPEN", 2)
    assert levels(read(shards)) == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]


def test_a_run_finds_its_pattern_from_another_folder(shards, tmp_path, monkeypatch):
    run = tmp_path / "runs/r"
    run.mkdir(parents=True)
    (run / "config.toml").write_text("")
    monkeypatch.chdir(shards)
    pattern = "w/train-{000000..000002}.tar"
    assert seen_from(DataSettings(pattern), run).data == str(tmp_path / pattern)
    assert seen_from(DataSettings("w/none-*.tar"), run).data == "w/none-*.tar"


def test_label_is_refused_where_classes_are_as_they_are(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4))
    for data in ("digits", tmp_path / "a.npz"):
        with pytest.raises(UserError, match="label= goes with lists, tables or records"):
            read(data, label="x")


def test_a_shard_that_is_cut_off_is_used_as_far_as_it_goes(shards):
    path = shards / "train-000001.tar"
    path.write_bytes(path.read_bytes()[: 512 * 13])  # two whole samples of three members, each a header and a block
    (shards / "train-000002.tar").write_bytes(b"no tar at all" * 100)
    train = read(shards)
    assert levels(train) == [0, 1, 2, 3, 10, 11]
    told = dict(train.report)
    assert any("train-000001.tar" in name for name in told)
    assert "cannot be read as a tar file" in told["train-000002.tar"]


def test_compressed_shards_and_a_number_alone(tmp_path):
    tmp_path /= "shards"
    tar(tmp_path / "00000.tar.gz", samples(0, 3))
    tar(tmp_path / "00001.tar.gz", samples(50, 3))
    dataset = read(tmp_path, holdout=0)
    assert levels(dataset) == [0, 1, 2, 50, 51, 52]
    assert dataset.class_names == []


def test_the_key_of_a_sample_ends_at_the_first_dot(tmp_path):
    path = tar(
        tmp_path / "a.tar", samples(0, 4, cls=lambda v: str(v // 2).encode(), **{"seg.png": lambda v: encoded(200)})
    )
    dataset = read(path, kind="labelled", holdout=0)
    assert levels(dataset) == [0, 1, 2, 3]
    assert by_level(dataset)[3] == ("1", [])
    assert dataset.report == [("*.seg.png", "4 further images of samples that have one")]


def test_json_of_samples_tells_classes_and_captions(tmp_path):
    told = {"json": lambda v: b'{"caption": "no %d", "label": "%s", "mood": "m%d"}' % (v, b"ab"[v % 2 :][:1], v // 2)}
    path = tar(tmp_path / "a.tar", samples(0, 4, **told))
    assert by_level(read(path, kind="captioned", holdout=0))[3] == ("b", ["no 3"])
    assert by_level(read(path, label="mood", holdout=0))[3] == ("m1", ["no 3"])
    with pytest.raises(UserError, match=r"label=mod: no list .* did you mean 'mood'.*There are: caption, label, mood"):
        read(path, label="mod")


def test_the_same_member_twice_and_other_json(tmp_path):
    path = tar(tmp_path / "a.tar", [*samples(0, 2, json=lambda v: b"[1"), ("0001.png", encoded(9))])
    dataset = read(path, holdout=0)
    assert levels(dataset) == [0, 9]
    told = dict(dataset.report)
    assert told["0001.png"] == "a second member of this name: the last one is used"
    assert told["0000.json"] == "no valid JSON; 2 of 2 such files are not read"


# ---- parquet ----------------------------------------------------------------------------------------------------------------------

ANIMALS = {"image": {"_type": "Image"}, "animal": {"_type": "ClassLabel", "names": ["zebra", "ant", "mole"]}}


def test_a_parquet_table_has_the_schemas_classes_in_its_order(tmp_path):
    path = parquet(
        tmp_path / "a.parquet",
        [5, 6, 7, 8, 9],
        features=ANIMALS,
        animal=[0, 1, 2, 0, 1],
        caption=["a", "b", "c", "d", "e"],
    )
    dataset = read(path, kind="labelled", holdout=0)
    assert dataset.class_names == ["zebra", "ant", "mole"]
    assert by_level(dataset)[9] == ("ant", ["e"])
    assert read(path, kind="captioned", holdout=0).vocabulary == tuple("abcde")


def test_parquet_in_the_hubs_folders(tmp_path):
    tmp_path /= "hub"
    for part, start in (("train", 0), ("test", 100)):
        for k in range(2):
            first = start + 10 * k
            parquet(
                tmp_path / f"data/{part}-0000{k}-of-00002.parquet", [first, first + 1], features=ANIMALS, animal=[0, 1]
            )
    (tmp_path / "README.md").write_text("---\n")
    train, test = read(tmp_path, kind="labelled"), read(tmp_path, kind="labelled", split="test")
    assert (levels(train), levels(test)) == ([0, 1, 10, 11], [100, 101, 110, 111])
    assert by_level(test)[111] == ("ant", [])
    assert train.report == [("README.md", "beside shards")]


def test_a_picture_beside_tables_is_not_the_set_and_an_archive_beside_pictures_is_not(tmp_path):
    parquet(tmp_path / "hub/data/a-0.parquet", range(40))
    (tmp_path / "hub/logo.png").write_bytes(encoded(99))
    dataset = read(tmp_path / "hub", holdout=0)
    assert len(dataset) == 40
    assert dataset.report == [("logo.png", "beside shards")]
    tar(tmp_path / "photos/backup.tar", samples(0, 30))
    (tmp_path / "photos/1.png").write_bytes(encoded(1))
    (tmp_path / "photos/2.png").write_bytes(encoded(2))
    dataset = read(tmp_path / "photos", holdout=0)
    assert levels(dataset) == [1, 2]
    assert "backup.tar" in dict(dataset.report)


def test_rows_without_an_image_or_a_class(tmp_path):
    elsewhere = {"bytes": None, "path": "/somewhere/1.png"}
    path = parquet(
        tmp_path / "a.parquet",
        [5, None, elsewhere, {"bytes": b"words", "path": None}, 6],
        features=ANIMALS,
        animal=[0, 1, 1, 1, -1],
    )
    dataset = read(path, holdout=0)
    assert levels(dataset) == [5, 6]
    assert "label" not in dataset.fields
    assert any("no labels: 1 images have none" in n for n in dataset.notes)
    told = dict(dataset.report)
    assert told["row 1"] == "no image in this row"
    assert told["row 2"] == "the image is not in the table, only its path"
    assert "text" in told["0000003"]


def test_a_parquet_table_of_numbers_is_still_points_and_one_of_words_no_image(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [0.0, 1.0, 2.0], "y": [1.0, 2.0, 4.0]}), tmp_path / "p.parquet")
    assert read(tmp_path / "p.parquet", kind="points", holdout=0).fields["points"].shape == (3, 2)
    (tmp_path / "w").mkdir()
    pq.write_table(pa.table({"x": ["a"]}), tmp_path / "w/w.parquet")
    with pytest.raises(UserError, match=r"w\.parquet has no column of images \(columns: x\)"):
        read(tmp_path / "w")


def test_a_fault_of_ours_is_no_damage_of_the_table(tmp_path, monkeypatch):
    path = parquet(tmp_path / "a.parquet", range(4))

    def fault(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(ParquetTree, "_take", fault)
    with pytest.raises(ZeroDivisionError):
        read(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_full_disk_is_no_damage_of_a_shard(tmp_path, monkeypatch, packed):
    for k in range(2):
        if packed:
            tar(tmp_path / f"d/a-{k:06d}.tar.gz", samples(10 * k, 4))
        else:
            parquet(tmp_path / f"d/a-{k}.parquet", range(4))

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(DiskFull, match="no room to write"):
        read(tmp_path / "d")


def test_parquet_that_is_cut_off_or_damaged_inside(tmp_path):
    path = parquet(tmp_path / "d/a-0.parquet", range(40), group=10)
    parquet(tmp_path / "d/a-1.parquet", range(100, 104))
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    dataset = read(tmp_path / "d", holdout=0)
    assert levels(dataset) == [100, 101, 102, 103]
    assert "cannot be read as a Parquet table" in dict(dataset.report)["a-0.parquet"]
    at = whole.index(encoded(25))  # in the third row group
    path.write_bytes(whole[: at - 300] + bytes(300) + whole[at:])
    dataset = read(tmp_path / "d", holdout=0)
    assert set(levels(dataset)) >= {*range(20), 100}
    assert len(dataset) < 44
    assert dataset.report


def test_parquet_that_expands_too_much_is_refused_before_it_is_read(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"bytes": bytes(10**6), "path": None}] * 50
    table = pa.table({"image": pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="zstd")
    monkeypatch.setattr("genzoo.data.sources.records._rows_of", None)
    with pytest.raises(UserError, match=r"a\.parquet expands more than 200 times"):
        read(tmp_path / "a.parquet")


# ---- LMDB -------------------------------------------------------------------------------------------------------------------------

lmdb = pytest.importorskip("lmdb", reason="pip install 'genzoo[lmdb]'")


def test_lmdbs_of_scenes_are_parts_and_classes(tmp_path):
    tmp_path /= "lsun"
    tmp_path.mkdir()
    for k, (scene, part, n) in enumerate(
        [("church", "train", 4), ("church", "val", 2), ("tower", "train", 3), ("tower", "val", 2)]
    ):
        values = {f"{k}{i:039d}": encoded(50 * k + i, ending="WEBP", mode="RGB") for i in range(n)}
        lmdb_file(tmp_path / f"{scene}_outdoor_{part}_lmdb", values)
    train, test = read(tmp_path, kind="labelled"), read(tmp_path, kind="labelled", split="test")
    assert (len(train), len(test)) == (7, 4)
    assert train.class_names == ["church outdoor lmdb", "tower outdoor lmdb"]
    alone = read(tmp_path / "church_outdoor_train_lmdb", holdout=0)
    assert len(alone) == 4
    assert alone.report == []
    assert alone.names_of("image")[0].endswith(".webp")


def test_of_several_sizes_in_an_lmdb_the_largest_is_read(tmp_path):
    values = {f"{s}-{i:05d}": encoded(i, side=s) for s in (8, 16) for i in range(3)}
    dataset = read(lmdb_file(tmp_path / "l", {**values, "length": b"3"}), holdout=0)
    assert dataset.fields["image"].shape == (3, 1, 16, 16)
    assert any("has every image in several sizes; 16 is used, not 8" in n for n in dataset.notes)
    assert dataset.report == [("length", "not a picture")]


def test_an_lmdb_that_is_cut_off_is_refused_and_the_process_lives(tmp_path):
    tmp_path /= "lsun"
    tmp_path.mkdir()
    good, bad = (
        lmdb_file(tmp_path / "a", {"k": encoded(1)}),
        lmdb_file(tmp_path / "b", {str(i): encoded(i, side=64) * 20 for i in range(40)}),
    )
    data = (bad / "data.mdb").read_bytes()
    (bad / "data.mdb").write_bytes(data[: len(data) // 2 // 4096 * 4096])
    with pytest.raises(UserError, match=r"data\.mdb is cut off: [\d,]+ bytes of [\d,]+; fetch it again"):
        read(bad)
    dataset = read(tmp_path, holdout=0)
    assert len(dataset) == 1
    assert "cut off" in dict(dataset.report)["b/data.mdb"]
    (good / "data.mdb").write_bytes(b"x" * 9000)
    with pytest.raises(UserError, match=r"data\.mdb cannot be read as an LMDB"):
        read(good)


def test_an_lmdb_without_pictures(tmp_path):
    with pytest.raises(UserError, match=r"has no usable image: 1 file seen .*length: not a picture"):
        read(lmdb_file(tmp_path / "a", {"length": b"0"}))
    with pytest.raises(UserError, match="has no images: no files were seen"):
        read(lmdb_file(tmp_path / "b", {}))


# ---- TFRecord ---------------------------------------------------------------------------------------------------------------------

pytest.importorskip("tfrecord", reason="pip install 'genzoo[tfrecord]'")


def raw(level, side=8):
    pixels = np.full((3, side, side), level, np.uint8)
    return record(shape=[3, side, side], data=pixels.tobytes())


def test_progans_records_the_largest_size_with_the_labels_beside(tmp_path):
    tmp_path /= "cats"
    tmp_path.mkdir()
    for k in (2, 3):
        (tmp_path / f"cats-r0{k}.tfrecords").write_bytes(b"".join(raw(10 * i, 2**k) for i in range(4)))
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32)[[2, 0, 0, 2]])
    (tmp_path / "x.npy").rename(tmp_path / "cats-rxx.labels")
    dataset = read(tmp_path, kind="labelled", holdout=0)
    assert dataset.fields["image"].shape == (4, 3, 8, 8)
    assert {v: c for v, (c, _) in by_level(dataset).items()} == {0: "2", 10: "0", 20: "0", 30: "2"}
    assert any("the largest is used, not cats-r02.tfrecords" in n for n in dataset.notes)


def test_encoded_pictures_with_labels(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(
        b"".join(
            record(image__encoded=encoded(i), label=i % 2, image__class__text=b"ab"[i % 2 :][:1]) for i in range(4)
        )
    )
    assert by_level(read(path, kind="labelled", holdout=0)) == {0: ("a", []), 1: ("b", []), 2: ("a", []), 3: ("b", [])}
    assert read(path, label="label", holdout=0).class_names == ["0", "1"]


def test_damaged_records_are_told_and_the_rest_is_used(tmp_path):
    records = [raw(i) for i in range(5)]
    flipped = records[2][:-40] + bytes([records[2][-40] ^ 1]) + records[2][-39:]
    odd = record(shape=[3, 10**6, 10**6], data=b"123")
    words = record(text=b"hello")
    path = tmp_path / "a.tfrecords"
    path.write_bytes(b"".join([*records[:2], flipped, odd, words, *records[3:]])[:-7])
    dataset = read(path, holdout=0)
    assert levels(dataset) == [0, 1, 3]
    told = dict(dataset.report)
    assert told["record 2"] == "damaged: its checksum is another"
    assert told["record 3"] == "shape [3, 1000000, 1000000] and 3 bytes of pixels contradict each other"
    assert told["record 4"] == "no image among its features text"
    assert "cut off or damaged at byte" in told["a.tfrecords"]


def test_a_record_of_an_absurd_size_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(struct.pack("<Q", 2**60) + b"abcd" + bytes(100))
    with pytest.raises(
        UserError, match=r"a\.tfrecord has no image that can be read \(a\.tfrecord: cut off or damaged at byte 0"
    ):
        read(path)
