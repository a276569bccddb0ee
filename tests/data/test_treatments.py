"""Each row of the table in the docstring of genzoo.data."""

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.data import Batches
from tests.data_help import one, picture, read

pytestmark = pytest.mark.usefixtures("fresh_cache")

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


# ---- binarization ---------------------------------------------------------------------------------------------------


def test_binarization(folder):
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
