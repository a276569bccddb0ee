"""Every source that `data=` takes as a folder, an archive or an array file."""

import csv
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.data import Batches, describe
from tests.data_help import classes, picture, read

pytestmark = pytest.mark.usefixtures("fresh_cache")

# ---- folders --------------------------------------------------------------------------------------------------------


def test_class_folders_are_labels(folder):
    classes(folder)
    dataset = read(folder, kind="labelled", holdout=0)
    assert dataset.class_names == ["cat", "dog"]
    assert np.array_equal(dataset.fields["label"], dataset.fields["image"][:, 0, 0, 0] // 100)
    assert dataset.facts()["classes"] == 2
    assert describe(dataset)["classes"] == {"cat": 6, "dog": 6}


def test_no_classes_is_an_error_for_labelled_only(folder):
    picture().save(folder / "a.png")
    assert "label" not in read(folder).fields
    with pytest.raises(UserError, match="subfolder"):
        read(folder, kind="labelled")


def test_split_folders(folder):
    classes(folder, prefix="train")
    classes(folder, prefix="val", n=2)
    (folder / "notes").mkdir()
    picture().save(folder / "notes" / "x.png")
    train, test = read(folder, kind="labelled"), read(folder, kind="labelled", split="test")
    assert (len(train), len(test)) == (12, 4)
    assert test.class_names == ["cat", "dog"]
    assert "outside the splits" in dict(train.report)["notes/"]


def test_holdout_never_overlaps(folder):
    for i in range(20):
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    for holdout, held in ((0.1, 2), (0.001, 1), (0.5, 10), (0.99, 19)):
        parts = [read(folder, split=s, holdout=holdout).fields["image"][:, 0, 0, 0] for s in ("train", "test")]
        assert len(parts[1]) == held
        assert sorted(np.concatenate(parts).tolist()) == list(range(20))
    with pytest.raises(UserError, match="holdout"):
        read(folder, split="test", holdout=0)
    limited = read(folder, limit=5).fields["image"][:, 0, 0, 0]
    assert len(limited) == 5
    assert set(limited) <= set(parts[0]) | set(read(folder).fields["image"][:, 0, 0, 0])


def test_one_image_is_both_parts(folder):
    picture().save(folder / "a.png")
    assert len(read(folder)) == len(read(folder, split="test")) == 1
    assert "both" in read(folder).notes[0]


def test_captions(folder):
    for i in range(4):
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    with open(folder / "metadata.csv", "w", newline="") as f:
        csv.writer(f).writerows(
            [["file_name", "text"], ["0.png", "none, or nothing"], ["2.png", "two"], ["9.png", "nine"]]
        )
    dataset = read(folder, kind="captioned", holdout=0)
    spoken = {0: "none, or nothing", 2: "two"}
    levels = dataset.fields["image"][:, 0, 0, 0]
    assert dataset.captions == [spoken[v] for v in levels]
    assert dict(dataset.report) == {
        "1.png": "no caption",
        "3.png": "no caption",
        "9.png": "has a caption, but there is no such file",
    }
    batch = Batches(dataset, 2, 0).at(0)
    assert [dataset.captions[i] for i in batch["index"]] == [spoken[int(v)] for v in batch["image"][:, 0, 0, 0]]
    (folder / "metadata.csv").unlink()
    with pytest.raises(UserError, match=r"captions\.csv"):
        read(folder, kind="captioned")


def test_pairs_stay_together(folder):
    for i in range(8):
        for side, shift in (("A", 0), ("B", 100)):
            (folder / side).mkdir(exist_ok=True)
            Image.new("L", (4, 4), i + shift).save(folder / side / f"{i}.png")
    (folder / "A" / "3.png").write_bytes(b"\x89PNG broken")
    (folder / "B" / "5.png").rename(folder / "B" / "55.png")
    dataset = read(folder, kind="paired", holdout=0.3)
    batch = Batches(dataset, 4, 0).at(1)
    assert torch.equal(batch["a"] + 100, batch["b"])
    assert len(dataset) + len(read(folder, kind="paired", holdout=0.3, split="test")) == 6
    assert {n for n, _ in dataset.report} == {"A/3.png", "A/5.png", "B/55.png"}


def test_pairs_share_crop_and_flip(folder):
    for side in "AB":
        (folder / side).mkdir()
        for i in range(4):
            picture(i, (8, 8)).save(folder / side / f"{i}.png")
    batch = Batches(read(folder, kind="paired", holdout=0, crop=5, flip=True), 4, 0).at(0)
    assert torch.equal(batch["a"], batch["b"])


def test_unpaired_sides_have_their_own_length(folder):
    for side, n in (("trainA", 5), ("trainB", 3), ("testA", 2), ("testB", 1)):
        (folder / side).mkdir()
        for i in range(n):
            picture(i, mode="L" if side.endswith("A") else "RGB").save(folder / side / f"{i}.png")
    dataset = read(folder, kind="unpaired")
    assert dataset.sizes == {"a": {"train": 5, "test": 2}, "b": {"train": 3, "test": 1}}
    assert dataset.facts()["shape"] == (3, 10, 12), "the larger number of channels"
    assert (dataset.group_of("a"), dataset.group_of("b"), len(dataset)) == ("a", "b", 5)
    batch = Batches(dataset, 4, 0).at(0)
    assert batch["a"].shape == batch["b"].shape == (4, 3, 10, 12)


def test_two_folders_as_sides(tmp_path):
    for name, mode in (("first", "L"), ("second", "RGB")):
        (tmp_path / name).mkdir()
        for i in range(4):
            picture(i, mode=mode).save(tmp_path / name / f"{i}.png")
    spec = f"{tmp_path / 'first'},{tmp_path / 'second'}"
    dataset = read(spec, kind="unpaired", holdout=0.25)
    assert dataset.fields["a"].shape == dataset.fields["b"].shape == (3, 3, 10, 12)
    with pytest.raises(UserError, match="two sides"):
        read(spec)


@pytest.mark.parametrize(("kind", "word"), [("unpaired", "trainA"), ("paired", "subfolders A and B")])
def test_wrong_kind_says_how_to_lay_out(folder, kind, word):
    picture().save(folder / "a.png")
    with pytest.raises(UserError, match=word):
        read(folder, kind=kind)
    with pytest.raises(UserError, match="points are moons"):
        read(folder, kind="points")
    with pytest.raises(UserError, match="points in the plane"):
        read("moons", kind=kind)


# ---- archives, arrays, files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.xz"])
def test_archives_have_the_same_structures(tmp_path, folder, suffix):
    classes(folder, prefix="set")
    path = tmp_path / f"set.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as z:
            for f in sorted(folder.rglob("*.png")):
                z.write(f, f.relative_to(folder))
    else:
        with tarfile.open(path, f"w:{suffix[4:]}") as t:
            t.add(folder / "set", "set")
    plain, packed = read(folder, kind="labelled"), read(path, kind="labelled")
    assert packed.class_names == ["cat", "dog"]
    assert np.array_equal(plain.fields["image"], packed.fields["image"])
    assert np.array_equal(plain.fields["label"], packed.fields["label"])


def as_set(array):
    return sorted(a.tobytes() for a in array)


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
def test_array_layouts(tmp_path, layout):
    base = np.random.default_rng(0).integers(0, 256, (6, 1 if layout == "NHW" else 3, 8, 9), dtype=np.uint8)
    array = {"NHW": base[:, 0], "NHWC": base.transpose(0, 2, 3, 1), "NCHW": base}[layout]
    np.save(tmp_path / "a.npy", array)
    assert as_set(read(tmp_path / "a.npy", holdout=0).fields["image"]) == as_set(base)


@pytest.mark.parametrize(
    ("values", "levels", "note"),
    [
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255], "[0, 1]"),
        (np.array([-1.0, 0.0, 1.0], np.float64), [0, 128, 255], "[-1, 1]"),
        (np.array([False, False, True]), [0, 0, 255], ""),
        (np.array([0, 257, 65535], np.uint16), [0, 1, 255], "257"),
        (np.array([0, 3, 255], np.int64), [0, 3, 255], ""),
    ],
)
def test_array_types(tmp_path, values, levels, note):
    np.save(tmp_path / "a.npy", np.broadcast_to(values, (2, 3, 3)))
    dataset = read(tmp_path / "a.npy", holdout=0)
    assert dataset.fields["image"][0, 0, 0].tolist() == levels
    assert note in " ".join(dataset.notes)


@pytest.mark.parametrize("values", [np.array([0.0, 300.0]), np.array([-5, 7]), np.array([0.0, np.nan])])
def test_array_of_unknown_range_is_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", np.broadcast_to(values, (2, 4, 2)))
    with pytest.raises(UserError, match="pixels"):
        read(tmp_path / "a.npy")


def test_npz_with_labels_and_splits(tmp_path):
    images = np.arange(10, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    np.savez_compressed(tmp_path / "a.npz", images=images, labels=np.arange(10) % 3 * 5)
    dataset = read(tmp_path / "a.npz", kind="labelled", holdout=0)
    assert dataset.class_names == ["0", "5", "10"]
    assert np.array_equal(dataset.fields["label"], dataset.fields["image"][:, 0, 0, 0] % 3)
    np.savez(
        tmp_path / "b.npz", x_train=images[:7], y_train=np.arange(7) % 2, x_test=images[7:], y_test=np.arange(7, 10) % 2
    )
    for split, n in (("train", 7), ("test", 3)):
        part = read(tmp_path / "b.npz", kind="labelled", split=split)
        assert len(part) == n
        assert np.array_equal(part.fields["label"], part.fields["image"][:, 0, 0, 0] % 2)


def test_points_of_a_file(tmp_path):
    np.save(tmp_path / "p.npy", np.random.default_rng(0).normal(size=(50, 3)))
    train, test = read(tmp_path / "p.npy", kind="points"), read(tmp_path / "p.npy", kind="image", split="test")
    assert (train.fields["points"].shape, len(test)) == ((45, 3), 5)
    assert not {r.tobytes() for r in train.fields["points"]} & {r.tobytes() for r in test.fields["points"]}
    np.save(tmp_path / "bad.npy", np.array([[0.0, np.inf]]))
    with pytest.raises(UserError, match="finite"):
        read(tmp_path / "bad.npy", kind="points")


def test_exemplar_takes_one_file_and_holds_nothing_back(tmp_path, folder):
    picture().save(tmp_path / "brick.png")
    assert read(tmp_path / "brick.png", kind="exemplar").fields["image"].shape == (1, 3, 10, 12)
    for i in range(3):
        picture(i).save(folder / f"{i}.png")
    assert len(read(folder, kind="exemplar")) == len(read(folder, kind="exemplar", split="test")) == 3


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(9) % 3, r"labels int64 \[9\]"),
        (np.array(["cat", "dog"] * 5), r"labels <U3 \[10\]"),
        (np.linspace(0, 1, 10), r"labels float64 \[10\]"),
    ],
)
def test_labels_that_cannot_be_used_are_said(tmp_path, labels, said):
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 6, 6), np.uint8), labels=labels)
    dataset = read(tmp_path / "a.npz")
    assert dataset.class_names == []
    (note,) = [n for n in dataset.notes if "no labels" in n]
    assert re.search(said + ".* for each of 10 examples", note)


def test_labels_of_clips_and_of_voxels_that_cannot_be_used_are_said(tmp_path):
    cells = np.random.default_rng(0).random((10, 8, 8, 8)) < 0.5
    np.savez(tmp_path / "a.npz", voxels=cells, labels=np.array(["a"] * 10))
    assert any("no labels: labels <U1" in n for n in read(tmp_path / "a.npz", kind="voxels").notes)
    np.savez(tmp_path / "b.npz", clips=cells.astype(np.uint8) * 255, labels=np.arange(4))
    assert any("no labels: labels int64 [4]" in n for n in read(tmp_path / "b.npz", kind="video", frames=8).notes)


def test_a_validation_array_beside_a_test_array_is_said(tmp_path):
    parts = {f"x_{w}": np.zeros((n, 6, 6), np.uint8) for w, n in (("train", 8), ("val", 3), ("test", 4))}
    np.savez(tmp_path / "a.npz", **parts)
    dataset = read(tmp_path / "a.npz")
    assert dataset.sizes["image"] == {"train": 8, "test": 4}
    assert "x_val uint8 [3,6,6] is not used: there is a test part" in dataset.notes
    del parts["x_test"]
    np.savez(tmp_path / "b.npz", **parts)
    assert read(tmp_path / "b.npz").sizes["image"] == {"train": 8, "test": 3}
    assert not any("not used" in n for n in read(tmp_path / "b.npz").notes)


@pytest.mark.parametrize(("file", "name"), [("train-images-idx3-ubyte.gz", "mnist"), ("data_batch_1.bin", "cifar10")])
def test_a_folder_of_a_standard_set_as_it_was_fetched_is_told_its_place(tmp_path, file, name):
    (tmp_path / file).write_bytes(b"\0\0\x08\x03" + b"\1" * 200)
    (tmp_path / "readme").write_text("words")
    with pytest.raises(
        UserError, match=rf"these are files of {name}.*: put them into \$GENZOO_DATA/{name}/ and say data={name}$"
    ):
        read(tmp_path)
