"""The size at which a picture meets a system: brought to it on request, and said where it is far from that of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UserError
from genzoo.use.common.files import Photo
from genzoo.use.common.scale import at_size, sides, teller, trained_side


def ramp(h, w, c=3, dtype=np.uint8):
    top = 1.0 if np.dtype(dtype) == np.float32 else np.iinfo(dtype).max
    return np.repeat(np.linspace(0, top, w)[None, :, None], h, 0).repeat(c, 2).astype(dtype)


def test_the_shorter_side_has_the_size_and_proportions_stay():
    assert sides(64, 480, 640) == (64, 85)
    assert sides(64, 640, 480) == (85, 64)
    assert sides((48, 64), 480, 480) == (48, 64)
    assert sides(64, 1000, 1) == (64000, 64)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_every_depth_is_brought_to_a_size(dtype):
    pixels = ramp(40, 80, 1, dtype)
    small = at_size(Photo(pixels), 10).pixels
    assert (small.shape, small.dtype) == ((10, 20, 1), np.dtype(dtype))
    expected = pixels.astype(np.float64).reshape(10, 4, 20, 4).mean((1, 3))
    assert np.abs(small[..., 0] - expected).max() < 0.03 * pixels.max()
    assert at_size(Photo(pixels), 40).pixels is pixels


def test_maps_of_classes_get_no_classes_between():
    pixels = np.zeros((8, 8, 1), np.uint8)
    pixels[:, 4:] = 7
    assert set(np.unique(at_size(Photo(pixels), 5, numbers=True).pixels)) == {0, 7}


def test_transparency_follows(runs, tmp_path):
    rgba = np.concatenate([ramp(40, 80), np.full((40, 80, 1), 128, np.uint8)], 2)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert (
        main(["translate", str(runs("cyclegan").path), str(tmp_path / "a.png"), f"out={tmp_path}/b.png", "size=16"])
        == 0
    )
    with Image.open(tmp_path / "b.png") as image:
        assert (image.mode, image.size) == ("RGBA", (32, 16))
        assert set(np.unique(np.asarray(image)[..., 3])) == {128}


def test_a_picture_at_another_scale_is_told_once_with_what_to_type(runs, tmp_path, capsys):
    run = runs("cyclegan")
    side = trained_side(genzoo.load(run))
    for name, n in (("large", 8 * side), ("larger", 9 * side)):
        Image.fromarray(ramp(n, 2 * n)).save(tmp_path / f"{name}.png")
    words = ["translate", str(run.path), str(tmp_path / "*.png"), f"out={tmp_path}/out"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.count("note:") == 1
    assert f"was trained on pictures whose shorter side was {side}" in said
    assert f"about 8 times as large as in those; size={side} brings it to their scale" in said
    assert main([*words, f"size={side}"]) == 0
    assert "note:" not in capsys.readouterr().err


@pytest.mark.parametrize(("side", "said"), [(8, "2 times as small"), (9, ""), (31, ""), (32, "2 times as large")])
def test_half_and_double_are_far(side, said, capsys):
    system = genzoo.create("cyclegan", shape=(3, 16, 16), width=4, blocks=1, layers=1)
    teller(system)("a.png", side, 100)
    assert said in capsys.readouterr().err


def test_what_was_trained_on_pieces_goes_by_the_size_of_the_whole():
    system = genzoo.create("cyclegan", shape=(3, 16, 16), width=4, blocks=1, layers=1)
    assert trained_side(system) == 16
    system.trained = {"data": {"data": "x", "size": [64, 96], "crop": 16}}
    assert trained_side(system) == 64
    system.trained = {"data": {"data": "x", "crop": 16}}
    assert trained_side(system) is None
    restorer = genzoo.create("srgan", shape=(3, 16, 16), scale=2, width=4, blocks=1, d_width=4, content="mse")
    assert trained_side(restorer) is None, "it sees a neighbourhood at any scale"


def test_in_python(runs):
    run, x = runs("cyclegan"), torch.rand(2, 3, 40, 48) * 2 - 1
    assert genzoo.translate(run, x, size=20).shape == (2, 3, 20, 24)
    assert genzoo.translate(run, [x[0], x[1, :, :30]], size=(16, 24))[1].shape == (3, 16, 24)
    for wrong in (0, "64", 1.5, (1, 2, 3), True):
        with pytest.raises(UserError, match="give the shorter side in pixels"):
            genzoo.translate(run, x, size=wrong)


def test_completing_takes_a_size_where_any_is_possible(runs, tmp_path, capsys):
    Image.fromarray(ramp(20, 40)).save(tmp_path / "a.png")
    texture = str(runs("efros-leung").path)
    words = [str(tmp_path / "a.png"), "n=1", "box=2,2,2,2", f"out={tmp_path}/b.npy"]
    assert main(["complete", texture, *words, "size=8"]) == 0
    assert np.load(tmp_path / "b.npy").shape[-2:] == (8, 16)
    capsys.readouterr()
    assert main(["complete", str(runs("context-encoder").path), *words, "size=8"]) == 2
    assert "was trained at" in capsys.readouterr().err
