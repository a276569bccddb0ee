"""Which values are black and white: masks of 0 and 1, narrow ranges, holes, types, pages; the same for files, arrays and sides of pairs."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from genzoo.data.decode import ranges
from genzoo.use.common.files import read_photo, save_photo
from genzoo.use.common.images import read_image
from genzoo.use.common.tiles import tiled
from genzoo.use.translate import in_window
from tests.data_help import read

pytestmark = pytest.mark.usefixtures("fresh_cache")


def draw(seed, high, shape=(16, 16), dtype=np.uint8, low=0):
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def write(folder, arrays, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, array in enumerate(arrays):
        path = folder / f"{i}.{suffix}"
        np.save(path, array) if suffix == "npy" else Image.fromarray(array).save(path)
    return folder


def tiff(array, *, bits=16, photometric=1, order="<", tile=0, strip=0, form=1, orientation=1):
    """A gray TIFF as bytes: whole, in strips of some rows, or in tiles."""
    h, w = array.shape
    kind = {1: "u", 2: "i", 3: "f"}[form]
    raw = array.astype(f"{order}{kind}{bits // 8}") if bits != 12 else array
    if tile:
        padded = np.pad(raw, ((0, -h % tile), (0, -w % tile)))
        blocks = [padded[y : y + tile, x : x + tile] for y in range(0, h, tile) for x in range(0, w, tile)]
    else:
        blocks = [raw[y : y + (strip or h)] for y in range(0, h, strip or h)]
    packed = [b.tobytes() if bits != 12 else twelve(b) for b in blocks]
    at, places = 8, []
    for p in packed:
        places.append(at)
        at += len(p)
    extra, tags = b"", [(256, 4, [w]), (257, 4, [h]), (258, 3, [bits]), (259, 3, [1]), (262, 3, [photometric])]
    tags += [(273, 4, places), (279, 4, [len(p) for p in packed]), (278, 4, [strip or h])] if not tile else []
    tags += [(322, 3, [tile]), (323, 3, [tile]), (324, 4, places), (325, 4, [len(p) for p in packed])] if tile else []
    tags += [(274, 3, [orientation]), (277, 3, [1]), (339, 3, [form])]
    entries = b""
    for tag, kind, values in sorted(tags):
        data = b"".join(struct.pack(order + ("H" if kind == 3 else "I"), v) for v in values)
        if len(data) > 4:
            entries += struct.pack(order + "HHII", tag, kind, len(values), at + len(extra))
            extra += data
        else:
            entries += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at + len(extra))
    return head + b"".join(packed) + extra + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def twelve(block):
    out = b""
    for row in block:
        for a, b in row.reshape(-1, 2):
            out += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    return out


# ---- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "shape", "dtype"),
    [
        ("png", (16, 16), np.uint8),
        ("png", (16, 16, 3), np.uint8),
        ("png", (16, 16), np.uint16),
        ("tif", (16, 16), np.uint16),
        ("tif", (16, 16), np.int32),
        ("npy", (16, 16), np.uint8),
        ("npy", (3, 16, 16), np.int64),
        ("npy", (16, 16), np.uint16),
    ],
)
def test_a_folder_of_zeros_and_ones_is_masks(tmp_path, suffix, shape, dtype):
    arrays = [draw(i, 2, shape, dtype) for i in range(4)]
    dataset = read(write(tmp_path / "m", arrays, suffix), holdout=0)
    assert set(np.unique(dataset.fields["image"])) == {0, 255}
    assert any("masks" in n for n in dataset.notes)
    whole = sorted(int((i // 255).sum()) for i in dataset.fields["image"])
    assert whole == sorted(int(a.sum()) for a in arrays)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_an_array_of_zeros_and_ones_is_masks(tmp_path, dtype):
    np.save(tmp_path / "a.npy", draw(0, 2, (6, 8, 8), dtype))
    dataset = read(tmp_path / "a.npy", holdout=0)
    assert set(np.unique(dataset.fields["image"])) == {0, 255}
    assert any("masks" in n for n in dataset.notes)
    assert read(tmp_path / "a.npy", holdout=0, gray_window=(0, 255)).fields["image"].max() <= 1


def test_one_image_with_more_makes_none_of_them_masks(tmp_path):
    arrays = [draw(i, 2) for i in range(20)]
    arrays[17][0, 0] = 2
    dataset = read(write(tmp_path / "m", arrays), holdout=0)
    assert dataset.fields["image"].max() == 2
    assert any("less than a tenth" in n and "nearly black" in n for n in dataset.notes)


def test_sides_of_pairs_are_judged_apart_and_label_maps_are_left_alone(tmp_path):
    write(tmp_path / "p" / "A", [draw(i, 2) for i in range(4)])
    write(tmp_path / "p" / "B", [draw(i, 256) for i in range(4)])
    plain = read(tmp_path / "p", kind="paired", holdout=0)
    assert set(np.unique(plain.fields["a"])) == {0, 255}
    assert any(n.startswith("side A: ") and "masks" in n for n in plain.notes)
    assert any("label_maps=true" in n for n in plain.notes)
    assert not any("side B" in n for n in plain.notes)
    numbers = read(tmp_path / "p", kind="paired", holdout=0, label_maps=True)
    assert set(np.unique(numbers.fields["a"])) == {0, 1}
    assert numbers.notes == []
    unpaired = read(tmp_path / "p", kind="unpaired", holdout=0)
    assert unpaired.fields["a"].max() == 255


def test_halves_of_one_image_are_judged_apart(tmp_path):
    arrays = [np.concatenate([draw(i, 2), draw(i, 256)], 1) for i in range(4)]
    dataset = read(write(tmp_path / "m", arrays), kind="paired", holdout=0, layout="ab")
    assert set(np.unique(dataset.fields["a"])) == {0, 255}
    assert dataset.fields["b"].max() > 200


def test_masks_keep_what_they_are_with_sixteen_bits_and_at_use(tmp_path):
    write(tmp_path / "p" / "A", [draw(i, 2, dtype=np.uint16) for i in range(4)])
    write(tmp_path / "p" / "B", [draw(i, 65536, dtype=np.uint16) for i in range(4)])
    deep = read(tmp_path / "p", kind="paired", holdout=0, bits=16)
    assert set(np.unique(deep.fields["a"])) == {0, 65535}
    for dtype in (np.uint8, np.uint16):
        Image.fromarray(draw(1, 2, dtype=dtype)).save(tmp_path / "one.png")
        top = np.iinfo(dtype).max
        assert np.array_equal(read_photo(tmp_path / "one.png", 1).pixels[..., 0], draw(1, 2, dtype=dtype) * top)
        assert np.array_equal(read_image(tmp_path / "one.png", 1)[0].numpy(), draw(1, 2) * 2.0 - 1)


# ---- ranges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "dtype", "said"),
    [
        (0, 20, np.uint8, "of 0 to 255"),
        (240, 256, np.uint8, "nearly white"),
        (0, 4096, np.uint16, "of 0 to 65535"),
        (0, 255, np.uint8, ""),
        (100, 140, np.uint8, ""),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_values_that_fill_less_than_a_tenth_are_said(tmp_path, low, high, dtype, said, suffix):
    arrays = [draw(i, high, (32, 32), dtype, low) for i in range(3)]
    dataset = read(write(tmp_path / "m", arrays, suffix), holdout=0)
    found = [n for n in dataset.notes if "less than a tenth" in n]
    assert len(found) == bool(said)
    assert said in " ".join(found)
    if said:
        assert f"gray_window={min(a.min() for a in arrays)},{max(a.max() for a in arrays)}" in found[0]


def test_a_window_that_is_hardly_filled_is_said(tmp_path):
    write(tmp_path / "m", [draw(i, 100, dtype=np.uint16) for i in range(3)])
    assert any("of 0 to 4095" in n for n in read(tmp_path / "m", holdout=0, gray_window=(0, 4095)).notes)
    assert read(tmp_path / "m", holdout=0, gray_window=(0, 99)).notes == []


def test_whole_numbers_and_floats_are_decided_over_the_folder(tmp_path):
    dark, light = np.full((8, 8), 200, np.int64), np.full((8, 8), 60000, np.int64)
    wide = read(write(tmp_path / "i", [dark, light], "npy"), holdout=0)
    assert sorted(wide.fields["image"][:, 0, 0, 0].tolist()) == [1, 233]
    zero, minus = np.zeros((8, 8), np.float32), np.full((8, 8), -1, np.float32)
    signed = read(write(tmp_path / "f", [zero, minus], "npy"), holdout=0)
    assert sorted(signed.fields["image"][:, 0, 0, 0].tolist()) == [0, 128]
    assert any("[-1, 1]" in n for n in signed.notes)


def test_files_of_arrays_are_read_in_every_order_of_their_sides(tmp_path):
    base = draw(0, 256, (3, 9, 7))
    for name, array in {"a": base, "b": base.transpose(1, 2, 0), "c": base[None]}.items():
        folder = tmp_path / name
        dataset = read(write(folder, [array, array], "npy"), holdout=0)
        assert np.array_equal(dataset.fields["image"][0], base)
    write(tmp_path / "d", [base, draw(1, 256, (2, 3, 4, 5)), draw(1, 256, (9,))], "npy")
    reasons = dict(read(tmp_path / "d", holdout=0).report)
    assert "2x3x4x5" in reasons["1.npy"]
    assert "is no picture" in reasons["2.npy"]


def test_an_array_is_a_photo_too(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16))
    assert np.array_equal(read_photo(tmp_path / "a.npy", 1).pixels[..., 0].ravel(), np.arange(256))


def test_windows_and_sixteen_bits_of_arrays(tmp_path):
    np.save(tmp_path / "a.npy", draw(0, 4096, (6, 8, 8), np.uint16))
    levels = read(tmp_path / "a.npy", holdout=0, gray_window=(0, 4095)).fields["image"]
    assert levels.max() > 250
    pairs = {"kind": "unpaired", "holdout": 0, "bits": 16}
    deep = read(f"{tmp_path / 'a.npy'},{tmp_path / 'a.npy'}", **pairs).fields["a"]
    assert deep.dtype == np.uint16
    assert {d.tobytes() for d in deep[:, 0]} == {a.tobytes() for a in np.load(tmp_path / "a.npy")}


# ---- what is no number ----------------------------------------------------------------------------------------------


def test_holes_are_filled_from_beside_and_said(tmp_path):
    images = [np.random.default_rng(i).uniform(0.5, 1, (16, 16)).astype(np.float32) for i in range(4)]
    for image in images[1:]:
        image[2, 3] = np.nan
        image[9, 9] = np.inf
    images[0][:] = np.nan
    for suffix in ("tif", "npy"):
        dataset = read(write(tmp_path / suffix, images, suffix), holdout=0, size=8, gray_window=(0, 1))
        assert len(dataset) == 3
        assert dataset.fields["image"].min() >= 110
        assert "256 of 256 pixels" in dict(dataset.report)[f"0.{suffix}"]
        assert any("3 images" in n and "6 pixels" in n for n in dataset.notes)
    np.save(tmp_path / "a.npy", np.stack(images))
    dataset = read(tmp_path / "a.npy", holdout=0)
    assert len(dataset) == 3
    assert dataset.fields["image"].min() >= 126


def test_filling_keeps_what_is_known():
    values = np.random.default_rng(0).random((13, 17))
    holed = values.copy()
    holed[4:7, 5:9] = np.nan
    whole, holes = ranges.filled(holed)
    assert holes == 12
    known = np.isfinite(holed)
    assert np.array_equal(whole[known], values[known])
    assert values.min() <= whole[~known].min() <= whole[~known].max() <= values.max()
    flat = np.full((8, 8), 0.25)
    flat[0, 0] = np.inf
    assert (ranges.filled(flat)[0] == 0.25).all()


# ---- TIFF -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [{}, {"strip": 3}, {"tile": 16}, {"orientation": 6}])
@pytest.mark.parametrize("photometric", [0, 1])
def test_sixteen_bits_where_the_least_is_white(tmp_path, layout, photometric):
    values = draw(0, 65536, (20, 24), np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(values, photometric=photometric, **layout))
    shown = values if photometric else 65535 - values
    shown = np.rot90(shown, -1) if layout.get("orientation") else shown
    assert np.array_equal(read(tmp_path / "a.tif").fields["image"][0, 0], (shown.astype(int) + 128) // 257)
    assert np.array_equal(read_photo(tmp_path / "a.tif", 1).pixels[..., 0], shown)
    windowed = read(tmp_path / "a.tif", gray_window=(0, 65535)).fields["image"][0, 0]
    assert np.abs(windowed.astype(int) - shown / 257).max() <= 0.51
    eight = Image.open(io.BytesIO(tiff(values >> 8, bits=8, photometric=photometric)))
    assert np.array_equal(np.asarray(eight), (values >> 8) if photometric else 255 - (values >> 8))


def test_twelve_bits_fill_the_range(tmp_path):
    values = draw(0, 4096, (10, 12), np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(values, bits=12))
    assert np.abs(read(tmp_path / "a.tif").fields["image"][0, 0] - values / 4095 * 255).max() <= 1
    kept = read(tmp_path / "a.tif", gray_window=(0, 4095)).fields["image"][0, 0]
    assert np.abs(kept - values / 4095 * 255).max() <= 0.51


@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_heights_say_what_they_are_and_are_read_in_a_window(tmp_path, order):
    values = draw(0, 2500, (16, 16), np.int16, low=-400)
    (tmp_path / "a.tif").write_bytes(tiff(values, order=order, form=2))
    with pytest.raises(
        Exception, match=rf"signed .* from {values.min()} to {values.max()}.*gray_window=LOW,HIGH.* in all images"
    ):
        read(tmp_path / "a.tif")
    levels = read(tmp_path / "a.tif", gray_window=(-400, 2500)).fields["image"][0, 0]
    assert np.abs(levels - (values + 400) / 2900 * 255).max() <= 0.51


def test_floats_of_a_file_say_what_they_are(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(np.linspace(0.5, 9, 64).reshape(8, 8), bits=32, form=3))
    with pytest.raises(Exception, match=r"32-bit float pixels from 0\.5 to 9, .*gray_window=LOW,HIGH"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_pages_and_frames_beyond_the_first_are_counted(tmp_path, suffix, capsys):
    for k in range(3):
        frames = [Image.fromarray(draw(10 * k + i, 256)) for i in range(4)]
        frames[0].save(tmp_path / f"{k}.{suffix}", save_all=True, append_images=frames[1:])
    Image.fromarray(draw(0, 256)).save(tmp_path / "one.png")
    (note,) = [n for n in read(tmp_path, holdout=0).notes if "frames" in n]
    assert note.startswith("3 files (0.")
    assert "12 pages or frames" in note
    assert "kind=video" in note
    read_photo(tmp_path / f"1.{suffix}", 1)
    assert "4 pages or frames; the first is used" in capsys.readouterr().err


# ---- large pictures at use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_window_is_the_same_in_tiles_and_in_one_piece(dtype):
    image = draw(0, 3000, (90, 70, 1), dtype)

    def change(x):
        return 0.3 - x

    def before(pixels, own=change):
        return tiled(own, pixels, tile=32, overlap=8)

    inside = tiled(change, image, tile=32, overlap=8, window=(100, 2000))
    assert inside.dtype == dtype
    assert np.array_equal(inside, in_window(before, (100, 2000))(image))
    whole = tiled(change, image, tile=1000, window=(100, 2000))
    assert np.abs(inside.astype(np.float64) - whole).max() <= 1

    def coloured(x):
        return change(x).expand(-1, 3, -1, -1)

    colours = tiled(coloured, image, tile=32, overlap=8, window=(100, 2000))
    assert colours.dtype == np.uint8
    assert np.array_equal(colours, in_window(lambda p: before(p, coloured), (100, 2000))(image))


def test_the_limit_of_training_data_is_not_that_of_use(tmp_path, monkeypatch):
    from genzoo.data.decode import images as decode
    from genzoo.use.common import files

    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    Image.fromarray(draw(0, 256, (30, 30))).save(tmp_path / "a.png")
    with pytest.raises(Exception, match="30x30: more than"):
        read(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png", 1).pixels.shape == (30, 30, 1)
    with pytest.raises(Exception, match=r"megapixels; megapixels= reads larger ones"):
        read_photo(tmp_path / "a.png", 1, megapixels=0.0008)
    monkeypatch.setattr(files, "MANY", 0)
    monkeypatch.setattr(files, "free_memory", lambda: 1000)
    with pytest.raises(Exception, match="GB of memory"):
        read_photo(tmp_path / "a.png", 1)


def test_a_picture_that_pillow_takes_for_a_bomb_is_read_at_use(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(draw(0, 256, (30, 30))).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png", 1).pixels.shape == (30, 30, 1)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_sixteen_bits_are_packed_in_bands(tmp_path):
    from genzoo.use.common.files import Photo

    deep = draw(0, 65536, (600, 5, 3), np.uint16)
    save_photo(tmp_path / "a.png", Photo(deep))
    assert np.array_equal(read_photo(tmp_path / "a.png", 3).pixels, deep)
