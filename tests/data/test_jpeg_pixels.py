"""The short way to a plain JPEG gives the pixels of the careful one, and leaves everything else to it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genzoo.data.cache import Rows
from genzoo.data.decode import images, jpeg, ranges
from genzoo.data.decode.forms import ImageFormat, Rejected
from genzoo.data.sources import folder
from genzoo.data.sources.folder import FolderTree

PLAIN = (("uint8", ranges.BITS_8),)


def encoded(mode: str, size: tuple[int, int] = (150, 90), **options: object) -> bytes:
    source, file = np.random.default_rng(3), io.BytesIO()
    rough = Image.fromarray(source.integers(0, 256, (9, 15, 3), dtype=np.uint8))
    rough.resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def turned(by: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = by
    return found


def several() -> bytes:
    file = io.BytesIO()
    first, second = (Image.open(io.BytesIO(encoded("RGB"))) for _ in range(2))
    first.save(file, "MPO", save_all=True, append_images=[second])
    return file.getvalue()


FILES = {
    "colours": encoded("RGB"),
    "gray": encoded("L"),
    "progressive": encoded("RGB", progressive=True, quality=95),
    "tall": encoded("RGB", (64, 200), subsampling=0),
    "of the size": encoded("RGB", (24, 20)),
}
LEFT = {
    "turned": encoded("RGB", exif=turned(6)),
    "turned by XMP": encoded("RGB", xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="3"/>'),
    "CMYK": encoded("CMYK"),
    "several": several(),
    "cut short": encoded("RGB")[:-900],
    "no JPEG": b"GIF89a" + bytes(40),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("way", ["cover", "fit", "stretch"])
@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_pixels_are_those_of_the_careful_way(
    data: bytes, way: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = ImageFormat(20, 24, channels, way, ends=PLAIN)
    found = jpeg.pixels(io.BytesIO(data), form, images.MAX_PIXELS)
    assert found is not None
    assert found.flags.c_contiguous
    monkeypatch.setattr(jpeg, "pixels", lambda *_: None)
    np.testing.assert_array_equal(found, images.pixels(io.BytesIO(data), form))


@pytest.mark.parametrize("data", LEFT.values(), ids=LEFT)
def test_what_is_not_plain_is_left_to_the_careful_way(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def careful() -> np.ndarray | str:
        try:
            return images.pixels(io.BytesIO(data), form)
        except Rejected as reason:
            return str(reason)

    form = ImageFormat(20, 24, 3, ends=PLAIN)
    assert jpeg.pixels(io.BytesIO(data), form, images.MAX_PIXELS) is None
    first = careful()
    monkeypatch.setattr(jpeg, "pixels", lambda *_: None)
    np.testing.assert_array_equal(first, careful())


@pytest.mark.parametrize(
    "form",
    [
        ImageFormat(20, 24, 4, ends=PLAIN),
        ImageFormat(20, 24, 3, bits=16, ends=PLAIN),
        ImageFormat(20, 24, 1, window=(10, 200), ends=PLAIN),
        ImageFormat(20, 24, 1, kind="labels", ends=PLAIN),
        ImageFormat(20, 24, 3, ends=(("uint8", (0.0, 1.0)),)),
    ],
)
def test_what_asks_for_more_than_colours_of_8_bits_is_left_to_the_careful_way(form: ImageFormat) -> None:
    assert jpeg.pixels(io.BytesIO(FILES["colours"]), form, images.MAX_PIXELS) is None


def test_too_many_pixels_are_left_to_the_careful_way() -> None:
    assert jpeg.pixels(io.BytesIO(FILES["gray"]), ImageFormat(9, 9, 1, ends=PLAIN), 150 * 90 - 1) is None


def test_small_and_large_files_of_a_folder_are_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "SMALL", 100)
    contents = {"large.bin": bytes(range(101)), "small.bin": bytes(range(100))}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    tree = FolderTree(tmp_path)
    for name, content in contents.items():
        with tree.open(name) as file:
            assert (file.read(3), file.seek(0), file.read()) == (content[:3], 0, content)
    (tmp_path / "small.bin").unlink()
    with pytest.raises(Rejected, match="No such file"):
        tree.open("small.bin")


@pytest.mark.parametrize("together", [1, 100, 10**6])
def test_rows_written_together_are_those_written_one_after_the_other(
    tmp_path: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genzoo.data.cache._TOGETHER", together)
    values = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), np.uint8)
    rows = Rows(tmp_path / "rows.npy", (3, 4, 5), np.uint8, 9)
    rows.append(values[0])
    rows.extend(list(values[1:]))
    rows.extend([])
    rows.extend([v.transpose(2, 0, 1) for v in np.ascontiguousarray(values[:2].transpose(0, 2, 3, 1))])
    rows.close()
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.concatenate([values, values[:2]]))
