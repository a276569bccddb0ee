"""Each row of the table in the docstring of genzoo.data, and every source that `data=` takes."""

import csv
import io
import json
import struct
import sys
import tarfile
import types
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import DamagedFile, UserError
from genzoo.data import Batches, DataSettings, available, contact_sheet, describe, open_data, standard


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENZOO_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    return path


def picture(seed=0, size=(12, 10), mode="RGB"):
    bands = len(Image.new(mode, (1, 1)).getbands())
    array = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    return Image.fromarray(array[..., 0] if bands == 1 else array)


def read(path, kind="image", split="train", **settings):
    return open_data(DataSettings(str(path), **settings), kind=kind, split=split, quiet=True)


def one(path, **settings):
    """The single image of a path, uint8 [C, H, W]."""
    dataset = read(path, **settings)
    assert dataset.report == []
    assert len(dataset) == 1
    return dataset.fields["image"][0]


# ---- pixels ---------------------------------------------------------------------------------------------------------


def test_gray_stays_one_channel_and_pixels_are_unchanged(folder):
    image = picture(mode="L")
    image.save(folder / "a.png")
    assert np.array_equal(one(folder), np.asarray(image)[None])


def test_one_colour_image_makes_all_rgb(folder):
    picture(1, mode="L").save(folder / "a.png")
    picture(2).save(folder / "b.png")
    dataset = read(folder, holdout=0)
    assert dataset.facts()["shape"] == (3, 10, 12)
    assert any("3 channels" in n for n in dataset.notes)
    gray = next(i for i in dataset.fields["image"] if (i == i[:1]).all())
    assert np.array_equal(gray[0], np.asarray(picture(1, mode="L")))
    assert read(folder, channels=1, holdout=0).facts()["shape"] == (1, 10, 12)


def test_rgb_as_gray_is_luma(folder):
    Image.new("RGB", (4, 4), (200, 100, 50)).save(folder / "a.png")
    assert one(folder, channels=1)[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_alpha_is_composited_on_white_or_kept(folder):
    array = np.zeros((4, 4, 4), np.uint8)
    array[..., 0], array[:2, :, 3], array[2:, :, 3] = 200, 0, 255
    Image.fromarray(array).save(folder / "a.png")
    plain = one(folder)
    assert plain[:, 0, 0].tolist() == [255, 255, 255]
    assert plain[:, 3, 0].tolist() == [200, 0, 0]
    assert one(folder, channels=4)[:, 0, 0].tolist() == [200, 0, 0, 0]


def test_gray_alpha_on_white(folder):
    Image.fromarray(np.dstack([np.full((4, 4), 10, np.uint8), np.full((4, 4), 0, np.uint8)])).save(folder / "a.png")
    assert one(folder).tolist() == [[[255] * 4] * 4]


def test_transparent_palette_on_white(folder):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((0, 0), 1)
    image.save(folder / "a.png", transparency=1)
    result = one(folder)
    assert result[:, 0, 0].tolist() == [255, 255, 255]
    assert result[:, 1, 1].tolist() == [10, 20, 30]


def test_gray_palette_is_gray(folder):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([7, 7, 7, 99, 99, 99])
    image.save(folder / "a.png")
    assert one(folder).tolist() == [[[99] * 4] * 4]


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(folder, suffix):
    values = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    Image.fromarray(values).save(folder / f"a.{suffix}")
    assert one(folder)[0, 0].tolist() == [0, 1, 128, 255]


def test_sixteen_bits_big_endian_tiff(folder):
    data = struct.pack(">4H", 0, 257, 32768, 65535)
    tags = [
        (256, 4, 4),
        (257, 4, 1),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, 1),
        (279, 4, 8),
    ]
    entries = b"".join(
        struct.pack(">HHI", t, k, 1) + (struct.pack(">HH", v, 0) if k == 3 else struct.pack(">I", v))
        for t, k, v in tags
    )
    head = b"MM\x00*" + struct.pack(">I", 16) + data
    (folder / "a.tif").write_bytes(head + struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0))
    assert one(folder)[0, 0].tolist() == [0, 1, 128, 255]


def test_thirty_two_bits(folder):
    Image.fromarray(np.array([[0, 65535]], np.int32)).save(folder / "a.tif")
    assert one(folder)[0, 0].tolist() == [0, 255]
    Image.fromarray(np.array([[-1, 70000]], np.int32)).save(folder / "b.tif")
    Image.fromarray(np.array([[0.0, 1.0]], np.float32)).save(folder / "c.tif")
    report = dict(read(folder).report)
    assert "0..65535" in report["b.tif"]
    assert "float" in report["c.tif"]


def test_one_bit(folder):
    Image.fromarray(np.array([[True, False]])).save(folder / "a.png")
    assert one(folder)[0, 0].tolist() == [255, 0]


def test_cmyk_is_rgb(folder):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(folder / "a.jpg", quality=100)
    assert np.abs(one(folder)[:, 5, 5].astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(folder, orientation):
    upright = np.zeros((4, 6), np.uint8)
    upright[0, 0], upright[0, 5], upright[3, 0] = 200, 120, 60
    undo = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T}
    undo |= {6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    stored.save(folder / "a.png", exif=exif)
    assert np.array_equal(one(folder)[0], upright)
    stored.resize((stored.width * 8, stored.height * 8), Image.Resampling.NEAREST).save(folder / "a.png", exif=exif)
    stored.resize((stored.width * 8, stored.height * 8), Image.Resampling.NEAREST).save(
        folder / "a.jpg", exif=exif, quality=95
    )
    both = read(folder, holdout=0).fields["image"]
    assert both.shape[2:] == (32, 48)
    assert (np.abs(both[:, 0, 4, 4].astype(int) - 200) < 8).all()


def test_damaged_exif_costs_only_the_rotation(folder):
    picture().save(folder / "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff" + b"\xff" * 20)
    assert one(folder).shape == (3, 10, 12)


def test_animation_is_its_first_frame(folder):
    frames = [Image.new("L", (8, 8), v) for v in (50, 200)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    assert one(folder).tolist() == [[[50] * 8] * 8]


@pytest.mark.parametrize(("resize", "edges"), [("cover", (100, 100)), ("fit", (255, 255)), ("stretch", (0, 200))])
def test_another_shape(folder, resize, edges):
    wide = np.full((8, 32), 100, np.uint8)
    wide[:, :8], wide[:, 24:] = 0, 200
    Image.fromarray(wide).save(folder / "a.png")
    result = one(folder, size=8, resize=resize)
    assert result.shape == (1, 8, 8)
    column = (result[0, 0] if resize == "fit" else result[0, 4]).astype(int)
    assert (column[0], column[7]) == pytest.approx(edges, abs=20)
    if resize == "fit":
        assert result[0, 3:5].min() < 30, "the picture is in the middle"


def test_default_sizes(folder):
    picture(size=(300, 300)).save(folder / "a.png")
    dataset = read(folder)
    assert dataset.facts()["shape"] == (3, 64, 64)
    assert "64x64" in dataset.notes[0]
    assert read(folder, size=(20, 30)).facts()["shape"] == (3, 20, 30)
    picture(size=(20, 10)).save(folder / "a.png")
    assert read(folder).facts()["shape"] == (3, 10, 20)


def test_reduced_jpeg_decoding_matches_full_decoding(folder):
    x = np.linspace(0, 255, 1024)
    image = Image.fromarray(np.add.outer(x, x).astype(np.float32).__truediv__(2).astype(np.uint8))
    image.save(folder / "a.jpg", quality=95)
    image.save(folder / "b.png")
    a, b = (i.astype(int) for i in read(folder, size=32, holdout=0).fields["image"])
    assert np.abs(a - b).max() < 6


def test_wrong_extension_is_no_matter(folder):
    picture().save(folder / "a.png")
    (folder / "a.png").rename(folder / "a.jpg")
    assert one(folder).shape == (3, 10, 12)


# ---- binarisation ---------------------------------------------------------------------------------------------------


def test_binarisation(folder):
    for i, level in enumerate((0, 64, 128, 255)):
        Image.new("L", (32, 32), level).save(folder / f"{i}.png")
    grey = read(folder, holdout=0).fields["image"]
    hard = read(folder, holdout=0, binarize="threshold")
    assert hard.facts()["levels"] == 2
    assert np.array_equal(hard.fields["image"], np.where(grey > 127, 255, 0))
    static = read(folder, holdout=0, binarize="static")
    assert set(np.unique(static.fields["image"])) == {0, 255}
    for image, level in zip(static.fields["image"], grey[:, 0, 0, 0], strict=True):
        assert (image == 255).mean() == pytest.approx(level / 255, abs=0.05)
    first, again = Batches(static, 4, 0).at(0)["image"], Batches(static, 4, 0).at(0)["image"]
    assert torch.equal(first, again)
    dynamic = Batches(read(folder, holdout=0, binarize="dynamic"), 4, 0)
    order = [torch.equal(dynamic.at(s)["image"], dynamic.at(s + 1)["image"]) for s in range(3)]
    assert not any(order)
    assert set(dynamic.at(0)["image"].unique().tolist()) == {0, 255}
    assert torch.equal(dynamic.in_order(0)["image"], dynamic.in_order(0)["image"])
    assert set(dynamic.in_order(0)["image"].unique().tolist()) == {0, 255}


# ---- folders --------------------------------------------------------------------------------------------------------


def classes(folder, names=("cat", "dog"), n=6, prefix=""):
    for k, name in enumerate(names):
        (folder / prefix / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.new("L", (6, 6), 100 * k + i).save(folder / prefix / name / f"{i}.png")


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


# ---- named sets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "counts"), [("digits", (1, 32, 32), (1497, 300)), ("garments", (1, 28, 28), (5000, 1000))]
)
def test_embedded(name, shape, counts):
    train, test = read(name, kind="labelled"), read(name, kind="labelled", split="test")
    assert (len(train), len(test)) == counts
    assert train.facts() == {"shape": shape, "classes": 10, "levels": 256}
    assert not {i.tobytes() for i in train.fields["image"][:500]} & {i.tobytes() for i in test.fields["image"]}
    assert np.bincount(test.fields["label"]).tolist() == [counts[1] // 10] * 10
    assert len(np.unique(train.fields["label"][:100])) == 10, "the stored order is mixed"
    means = np.stack([train.fields["image"][train.fields["label"] == c].mean(0).ravel() for c in range(10)])
    distance = ((test.fields["image"].reshape(len(test), -1)[:, None].astype(np.float32) - means) ** 2).sum(-1)
    assert (distance.argmin(1) == test.fields["label"]).mean() > 0.6, "labels belong to their images"


def test_embedded_digits_agree_with_their_source():
    sklearn = pytest.importorskip("sklearn.datasets")
    source = sklearn.load_digits()
    small = {
        np.rint(i * 255 / 16).astype(np.uint8).tobytes(): int(t)
        for i, t in zip(source.images, source.target, strict=True)
    }
    from genzoo.data.embedded import Embedded

    stock = Embedded("digits").stock("image")
    assert sum(len(p.array) for p in stock.pictures.values()) == 1797
    sheet = np.asarray(Image.open(io.BytesIO((sys.modules["genzoo.data.embedded"].FOLDER / "digits.png").read_bytes())))
    first = sheet[:8, :8].tobytes()
    assert small[first] == stock.labels["train"][0] == 0


@pytest.mark.parametrize("name", ["moons", "ring", "grid", "spiral"])
def test_points_follow_their_definition(name):
    one, two = read(name, kind="points"), read(name, kind="points")
    assert np.array_equal(one.fields["points"], two.fields["points"])
    other = open_data(DataSettings(name, limit=2000), kind="image", seed=1, quiet=True).fields["points"]
    assert other.shape == (2000, 2)
    assert other.dtype == np.float32
    test = read(name, kind="points", split="test").fields["points"]
    assert not np.array_equal(one.fields["points"], test)
    x, y = one.fields["points"].astype(np.float64).T
    if name == "ring":
        assert np.hypot(x, y) == pytest.approx(np.ones(len(x)), abs=0.06)
        angle = (np.arctan2(y, x) / (2 * np.pi) * 8) % 1
        assert np.minimum(angle, 1 - angle).max() < 0.08
        assert np.hypot(x, y).std() == pytest.approx(0.01, rel=0.05)
    elif name == "grid":
        nearest = np.stack([np.round(x / 2) * 2, np.round(y / 2) * 2])
        assert len(np.unique(nearest, axis=1).T) == 25
        assert (x - nearest[0]).std() == pytest.approx(0.05, rel=0.05)
    elif name == "moons":
        upper = np.hypot(x / 2 + 0.5, y / 2 + 0.25) - 1
        lower = np.hypot(x / 2 - 0.5, y / 2 - 0.25) - 1
        assert np.abs(np.where(np.abs(upper) < np.abs(lower), upper, lower)).max() < 0.3
    else:
        turn = np.linspace(0, 3 * np.pi, 2000)
        arm = np.stack([turn * np.cos(turn), turn * np.sin(turn)], 1) / 3
        points = np.stack([x, y], 1)[:300, None]
        away = np.minimum(np.hypot(*(points - arm).T).min(0), np.hypot(*(points + arm).T).min(0))
        assert away.max() < 0.45
        assert np.median(away) == pytest.approx(0.0674, rel=0.2), "the median of |N(0, 0.1)|"


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", s) for s in array.shape) + array.tobytes()


@pytest.fixture
def small_standard(monkeypatch):
    """The two formats with a handful of images, and their digests."""
    import hashlib

    rng = np.random.default_rng(0)
    mnist = {}
    for prefix, n in (("train", 7), ("t10k", 3)):
        mnist[f"{prefix}-images-idx3-ubyte"] = idx_bytes(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8))
        mnist[f"{prefix}-labels-idx1-ubyte"] = idx_bytes((np.arange(n) % 10).astype(np.uint8))
    cifar = {f: rng.integers(0, 10, (4, 3073), dtype=np.uint8).tobytes() for f in standard.BINS}
    for name, files in (("mnist", mnist), ("cifar10", cifar)):
        monkeypatch.setitem(
            standard.SHA256, name, tuple(hashlib.sha256(files[f]).hexdigest() for f in standard.FILES[name])
        )
    return {"mnist": mnist, "cifar10": cifar}


def gzipped(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files(tmp_path, monkeypatch, small_standard, packed):
    home = tmp_path / "home" / "mnist" / "MNIST" / "raw"
    home.mkdir(parents=True)
    for name, data in small_standard["mnist"].items():
        (home / (f"{name}.gz" if packed else name)).write_bytes(gzipped(data) if packed else data)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    train, test = read("mnist", kind="labelled"), read("MNIST", split="test")
    assert (len(train), len(test), train.facts()["shape"]) == (7, 3, (1, 28, 28))
    raw = np.frombuffer(small_standard["mnist"]["train-images-idx3-ubyte"][16:], np.uint8).reshape(7, 28, 28)
    for image, label in zip(train.fields["image"], train.fields["label"], strict=True):
        assert np.array_equal(image[0], raw[label])
    monkeypatch.delenv("GENZOO_DATA")
    assert len(read("mnist")) == 7, "the cache does not need the files again"


def test_cifar_files(tmp_path, monkeypatch, small_standard):
    home = tmp_path / "home" / "cifar10" / "cifar-10-batches-bin"
    home.mkdir(parents=True)
    for name, data in small_standard["cifar10"].items():
        (home / name).write_bytes(data)
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    dataset = read("cifar10", kind="labelled")
    assert dataset.fields["image"].shape == (20, 3, 32, 32)
    records = {
        r[1:].tobytes(): r[0]
        for f in standard.BINS
        for r in np.frombuffer(small_standard["cifar10"][f], np.uint8).reshape(4, -1)
    }
    assert [records[i.tobytes()] for i in dataset.fields["image"]] == dataset.fields["label"].tolist()


def test_altered_standard_file_is_refused_by_name(tmp_path, monkeypatch, small_standard):
    home = tmp_path / "home" / "mnist"
    home.mkdir(parents=True)
    for name, data in small_standard["mnist"].items():
        (home / name).write_bytes(data[:-1] + b"\x07")
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path / "home"))
    with pytest.raises(DamagedFile, match="train-images-idx3-ubyte is not the official file"):
        read("mnist")


def serve(monkeypatch, answers):
    asked = []

    def urlopen(address, timeout):
        asked.append(address)
        return io.BytesIO(answers[address.rsplit("/", 1)[-1]])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return asked


def test_fetching_checks_digests(tmp_path, monkeypatch, small_standard):
    good = {f"{n}.gz": gzipped(d) for n, d in small_standard["mnist"].items()}
    serve(monkeypatch, {**good, "t10k-images-idx3-ubyte.gz": gzipped(b"something else")})
    with pytest.raises(DamagedFile, match="did not send the official file"):
        read("mnist")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz"):
        pass
    serve(monkeypatch, {standard.TARBALL: tar.getvalue()})
    with pytest.raises(DamagedFile, match="did not send the official file"):
        read("cifar10")
    asked = serve(monkeypatch, good)
    assert len(read("mnist")) == 7
    assert asked[0].startswith("https://")
    assert {a.rsplit("/", 1)[-1] for a in asked} == {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}, (
        "the rest was there"
    )


def test_fetching_cifar(monkeypatch, small_standard):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in small_standard["cifar10"].items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    serve(monkeypatch, {standard.TARBALL: buffer.getvalue()})
    assert len(read("cifar10")) == 20
    assert len(read("cifar10", split="test")) == 4


def test_no_network_says_where_to_put_the_files(monkeypatch):
    def urlopen(address, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    with pytest.raises(UserError, match=r"no route to host.*GENZOO_DATA/fashion-mnist/") as caught:
        read("fashion-mnist")
    assert "\n" not in str(caught.value)


def test_folder_below_genzoo_data(tmp_path, monkeypatch, folder):
    picture().save(folder / "a.png")
    monkeypatch.setenv("GENZOO_DATA", str(tmp_path))
    assert len(read("pictures")) == 1


# ---- the hub, and what is not there ---------------------------------------------------------------------------------


def test_hub(monkeypatch):
    class FakeImage:
        def __init__(self, decode=True):
            self.decode = decode

    class Table:
        def __init__(self, rows):
            self.rows, self.features = rows, {"img": FakeImage(), "label": types.SimpleNamespace(names=["no", "yes"])}

        def __len__(self):
            return len(self.rows)

        def cast_column(self, column, feature):
            assert feature.decode is False
            return self

        def __getitem__(self, key):
            return [r[key] for r in self.rows] if isinstance(key, str) else self.rows[key]

    def row(i, label):
        buffer = io.BytesIO()
        Image.new("L", (4, 4), i).save(buffer, "PNG")
        return {"img": {"bytes": buffer.getvalue(), "path": None}, "label": label}

    rows = [row(i, i % 2) for i in range(5)] + [{"img": {"bytes": b"junk", "path": None}, "label": 0}]
    tables = {"train": Table(rows), "validation": Table([row(9, 1)])}
    fake = types.SimpleNamespace(load_dataset=lambda name: tables, Image=FakeImage)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    dataset = read("hf:someone/some", kind="labelled")
    assert np.array_equal(dataset.fields["label"], dataset.fields["image"][:, 0, 0, 0] % 2)
    assert (len(dataset), dataset.class_names, len(dataset.report)) == (5, ["no", "yes"], 1)
    assert len(read("hf:someone/some", split="test")) == 1
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"genzoo\[hub\]"):
        read("hf:someone/some")


@pytest.mark.parametrize(("given", "meant"), [("mnits", "mnist"), ("garmets", "garments")])
def test_unknown_name_gives_the_nearest(given, meant):
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        read(given)


def test_missing_path_gives_the_sibling(tmp_path, folder):
    with pytest.raises(UserError, match="did you mean 'pictures'"):
        read(tmp_path / "picturs")


@pytest.mark.parametrize(
    "settings",
    [{"size": 0}, {"channels": 5}, {"holdout": 1.0}, {"resize": "squash"}, {"limit": 0}, {"binarize": "yes"}],
)
def test_settings_are_checked(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        read("digits", **settings)


def test_crop_larger_than_the_image(folder):
    picture().save(folder / "a.png")
    with pytest.raises(UserError, match="at most 10"):
        read(folder, crop=11)
    assert read(folder, crop=7).facts()["shape"] == (3, 7, 7)


def test_unknown_split_and_kind():
    with pytest.raises(UserError, match="train or test"):
        read("digits", split="middle")
    with pytest.raises(UserError, match="audio"):
        read("digits", kind="audio")


def test_description_and_contact_sheet(folder):
    classes(folder)
    (folder / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    dataset = read(folder)
    plain = describe(dataset)
    json.dumps(plain)
    assert plain["examples"] == {"image": {"train": 11, "test": 1}}
    assert plain["left_out"][0][0] == "cat/broken.png"
    sheet = contact_sheet(dataset, 4)
    assert (sheet.shape, sheet.dtype) == ((4, 1, 6, 6), torch.float32)
    assert torch.equal(sheet, torch.from_numpy(dataset.fields["image"][:4].copy()).float() / 127.5 - 1)
    assert contact_sheet(read("moons", kind="points"), 3).shape == (3, 2)
    assert set(available()) >= {"digits", "mnist", "moons"}


def test_names_are_known_without_torch():
    import subprocess

    code = "import sys; from genzoo.data.names import available; available(); from genzoo.data import DataSettings; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
