"""Planes made much smaller by products, against Pillow's filter."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from genzoo.data.decode import forms
from genzoo.data.decode.forms import ImageFormat
from genzoo.data.decode.shrink import cubic, shrunk, worth


@pytest.mark.parametrize(
    ("size", "box", "target"),
    [
        ((512, 512), (0, 0, 512, 512), (64, 64)),
        ((517, 301), (100.5, 0, 401.5, 301), (64, 64)),
        ((99, 100), (0, 0, 99, 100), (7, 30)),
        ((1000, 700), (13.25, 20.75, 900.1, 650.3), (65, 50)),
        ((40, 40), (0, 0, 40, 40), (1, 1)),
        ((90, 33), (0, 0, 90, 33), (30, 11)),
    ],
)
def test_the_numbers_are_those_of_pillow(
    size: tuple[int, int], box: tuple[float, float, float, float], target: tuple[int, int]
) -> None:
    values = np.random.default_rng(0).normal(0.5, 1, size[::-1]).astype(np.float32)
    theirs = np.asarray(Image.fromarray(values).resize(target, Image.Resampling.BICUBIC, box=box))
    np.testing.assert_array_equal(shrunk(values, box, target), theirs)


def test_a_constant_stays_and_the_cubic_sums_to_one() -> None:
    assert np.allclose(cubic(np.arange(-2, 3)[:, None] + np.linspace(0, 1, 9)).sum(0), 1)
    np.testing.assert_allclose(shrunk(np.full((50, 60), 0.3, np.float32), (0, 0, 60, 50), (9, 8)), 0.3, rtol=1e-7)


@pytest.mark.parametrize("way", ["cover", "stretch", "fit"])
@pytest.mark.parametrize("size", [(96, 96), (97, 301), (200, 60), (50, 50), (301, 302)])
def test_every_way_of_resizing_gives_what_pillow_gives(
    way: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    form = ImageFormat(24, 16, 1, way, bits=16)
    values = np.random.default_rng(1).random(size, np.float32)
    found = forms.plane(values, form)
    monkeypatch.setattr(forms, "worth", lambda *_: False)
    np.testing.assert_array_equal(found, forms.plane(values, form))


def test_products_are_taken_where_they_are_worth_it() -> None:
    assert worth((0, 0, 96, 96), (16, 24))
    assert worth((10, 0, 110, 96), (16, 32))
    assert not worth((0, 0, 96, 71), (16, 24))
    assert not worth((0, 0, 96, 100), (16, 24)), "taller than wide"
