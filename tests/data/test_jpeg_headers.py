"""The header of a plain JPEG is read without the decoder, and says what the decoder says of it."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from genzoo.data.decode import images, jpeg
from genzoo.data.decode.forms import Header, Rejected

SIDES = (56, 40)


def encoded(mode: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDES[1], SIDES[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def plain(data: bytes) -> Header | None:
    return jpeg.plain(io.BytesIO(data), images.MAX_PIXELS)


def by_decoder(data: bytes) -> Header | None:
    try:
        return images.look(io.BytesIO(data), "x")  # a name that does not say that it is a JPEG
    except Rejected:
        return None


PLAIN = {
    "colours": encoded("RGB"),
    "gray": encoded("L"),
    "progressive": encoded("RGB", progressive=True),
    "comment": encoded("L", comment=b"none", optimize=True),
    "restarts": encoded("RGB", restart_marker_blocks=2, quality=100),
}


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_plain_jpeg_is_told_as_the_decoder_tells_it(data):
    assert (
        plain(data)
        == by_decoder(data)
        == Header((*SIDES[::-1], 1 if len(Image.open(io.BytesIO(data)).getbands()) == 1 else 3), "uint8")
    )


def test_what_is_unusual_is_left_to_the_decoder():
    turned = Image.Exif()
    turned[0x0112] = 6
    data = encoded("RGB", exif=turned)
    assert plain(data) is None
    assert by_decoder(data).shape == (SIDES[0], SIDES[1], 3)
    for other in (encoded("CMYK"), encoded("RGB", icc_profile=bytes(300)), b"", b"\x89PNG\r\n\x1a\n" + bytes(99)):
        assert plain(other) is None
    assert jpeg.plain(io.BytesIO(PLAIN["gray"]), SIDES[0] * SIDES[1] - 1) is None, "too many pixels"


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_damaged_header_is_never_told_in_another_way(data):
    source, end, told = random.Random(0), data.index(b"\xff\xda") + 20, 0
    for _ in range(400):
        changed = bytearray(data)
        for _ in range(source.randrange(1, 3)):
            changed[source.randrange(end)] = source.randrange(256)
        changed = changed[: source.choice([len(data), len(data), source.randrange(end)])]
        if (found := plain(bytes(changed))) is not None:
            told += 1
            assert found == by_decoder(bytes(changed))
    assert told > 50
