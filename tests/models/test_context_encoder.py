"""Context encoder: holes, weights, the channel-wise layer, the joint objective, and completion."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import genzoo
from genzoo.cli import main
from genzoo.core.errors import UserError
from genzoo.models.translation.context_encoder import FILL, ChannelwiseLinear, ContextEncoder, cut
from genzoo.naming.registry import create
from genzoo.use.complete import surroundings as window
from tests.models.test_srgan import Update, photo

TINY = {"shape": (3, 16, 16), "width": 4, "d_width": 4, "overlap": 1}
CPU = torch.device("cpu")


def known_box(n=2, side=16, box=(4, 12)):
    known = torch.ones(n, 1, side, side, dtype=torch.bool)
    known[..., box[0] : box[1], box[0] : box[1]] = False
    return known


def test_the_central_hole_is_a_quarter_of_the_area():
    hole = ContextEncoder(**TINY).holes(3, CPU)
    assert torch.equal(hole, ~known_box(3))
    assert hole.float().mean() == 0.25


def test_random_blocks_are_up_to_a_quarter_and_everywhere():
    torch.manual_seed(0)
    hole = ContextEncoder(**TINY, hole="block").holes(2000, CPU)
    share = hole.flatten(1).float().mean(1)
    assert share.max() == 0.25
    assert share.min() >= 1 / 16
    assert (hole.float().mean(0) > 0).all(), "every pixel is missing at some time"
    assert len(share.unique()) > 20


def test_random_shapes_cover_a_quarter_in_blobs():
    torch.manual_seed(0)
    hole = ContextEncoder(**{**TINY, "shape": (3, 32, 32)}, hole="shape").holes(50, CPU)
    share = hole.flatten(1).float().mean(1)
    assert ((share > 0.24) & (share <= 0.25)).all()
    edges = (hole[..., 1:] != hole[..., :-1]).float().mean()
    assert edges < 0.15, "scattered pixels would have 0.375"
    assert not torch.equal(hole[0], hole[1])


def test_holes_are_drawn_from_torchs_randomness():
    system = ContextEncoder(**TINY, hole="block")
    torch.manual_seed(3)
    first = system.holes(4, CPU)
    torch.manual_seed(3)
    assert torch.equal(first, system.holes(4, CPU))


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_the_band_around_a_hole_weighs_ten_times_as_much(overlap):
    system = ContextEncoder(**{**TINY, "overlap": overlap})
    w = system.weights(system.holes(1, CPU))[0, 0]
    wanted = torch.zeros(16, 16)
    wanted[4 - overlap : 12 + overlap, 4 - overlap : 12 + overlap] = 10
    wanted[4:12, 4:12] = 1
    assert torch.equal(w, wanted)


def test_holes_are_filled_with_the_mean_colour():
    x, known = photo(), known_box()
    y = cut(x, ~known)
    assert torch.equal(y[:, :, :4], x[:, :, :4])
    assert torch.allclose(y[0, :, 8, 8], torch.tensor(FILL))
    assert cut(x[:, :1], ~known).shape == (2, 1, 16, 16)


def test_channelwise_layer_is_one_matrix_for_every_map():
    torch.manual_seed(0)
    layer, x = ChannelwiseLinear(3, 6), torch.randn(2, 3, 2, 3)
    torch.nn.init.normal_(layer.bias)
    y = layer(x)
    for c in range(3):
        wanted = x[:, c].flatten(1) @ layer.weight[c].T + layer.bias[c, :, 0]
        assert torch.allclose(y[:, c].flatten(1), wanted, atol=1e-5)
    assert sum(p.numel() for p in layer.parameters()) == 3 * 36 + 3 * 6
    x.requires_grad_()
    layer(x)[:, 0].sum().backward()
    assert (x.grad[:, 0] != 0).all()
    assert (x.grad[:, 1:] == 0).all(), "maps do not mix here"


def test_what_is_filled_in_depends_on_far_away_pixels_and_not_on_what_was_there():
    torch.manual_seed(0)
    system = ContextEncoder(**TINY).eval()
    x, known = photo(), known_box()
    y = system.complete(x, known, generator=torch.Generator())
    other = torch.where(known, x, torch.randn_like(x).clamp(-1, 1))
    assert torch.equal(
        system.complete(other, known, generator=torch.Generator())[~known.expand_as(x)], y[~known.expand_as(x)]
    )
    corner = x.clone()
    corner[:, :, 15, 15] = -corner[:, :, 15, 15].sign()
    far = system.complete(corner, known, generator=torch.Generator())
    assert not torch.equal(far[:, :, 4, 4], y[:, :, 4, 4])
    assert torch.equal(y[known.expand_as(x)], x[known.expand_as(x)])


def test_joint_objective_by_hand():
    torch.manual_seed(0)
    system = ContextEncoder(**TINY, adversarial=0.25).eval()
    x, update = photo(), Update(system)
    hole = system.holes(2, CPU)
    with torch.no_grad():
        y = system.G(cut(x, hole))
        window = (slice(None), slice(None), slice(3, 13), slice(3, 13))
        error = (y - x).square()[window]
        weight = torch.full((10, 10), 10.0)
        weight[1:9, 1:9] = 1
        error = (weight * error).mean()
        d = F.softplus(-system.D(x[window])).mean() + F.softplus(system.D(y[window])).mean()
    logs = system.training_step({"image": x}, update)
    assert [name for name, _ in update.calls] == ["d", "g"]
    assert update.calls[0][1] == pytest.approx(d.item(), rel=1e-4)
    assert logs["reconstruction"] == pytest.approx(error.item(), rel=1e-4)
    assert update.calls[1][1] == pytest.approx((0.75 * error + 0.25 * logs["g_adversarial"]).item(), rel=1e-4)


def test_l2_only_has_no_discriminator_and_learns():
    torch.manual_seed(0)
    system = create("context-encoder-l2", **TINY)
    assert system.D is None
    update = Update(system)
    for i in range(60):
        system.training_step({"image": photo(i % 3, n=8)}, update)
    losses = [value for _, value in update.calls]
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])


def test_the_generator_learns_ten_times_as_fast():
    rates = {name: o.param_groups[0]["lr"] for name, o in ContextEncoder(**TINY).optimizers().items()}
    assert rates == {"g": pytest.approx(2e-3), "d": pytest.approx(2e-4)}


def test_masks_that_cannot_be_used_are_refused():
    system = ContextEncoder(**TINY).eval()
    x = photo()
    with pytest.raises(UserError, match="the mask is 8x8 and the image 16x16"):
        genzoo.complete(system, x, torch.ones(8, 8, dtype=torch.bool))
    with pytest.raises(UserError, match="keeps every pixel"):
        genzoo.complete(system, x, torch.ones(16, 16, dtype=torch.bool))
    with pytest.raises(UserError, match="covers the whole image"):
        genzoo.complete(system, x, torch.zeros(16, 16, dtype=torch.bool))
    with pytest.raises(UserError, match="takes \\[B, 3, 16, 16\\]"):
        system.complete(photo(shape=(3, 32, 32)), known_box(side=32), generator=torch.Generator())


def test_a_photograph_is_completed_at_its_own_size(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    genzoo.export(ContextEncoder(**TINY), "model")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    hole = np.zeros((60, 90), bool)
    hole[10:25, 40:70] = True
    words = ["complete", "model", "photo.png", "--full"]
    assert main.main([*words, "box=40,10,30,15", "-o", "box.png"]) == 0
    Image.fromarray((hole * 255).astype(np.uint8)).save("mask.png")
    assert main.main([*words, "mask=mask.png", "-o", "masked.png"]) == 0
    with Image.open("box.png") as a, Image.open("masked.png") as b:
        a, b = np.array(a), np.array(b)
    assert np.array_equal(a, b)
    assert np.array_equal(a[~hole], pixels[~hole]), "every other pixel is what it was"
    assert not np.array_equal(a[hole], pixels[hole])
    assert main.main([*words, "box=40,10,30,15", "out=photo.png", "overwrite=true"]) == 0
    assert (tmp_path / "photo.png").read_bytes() == before
    for size, said in (((8, 8), "the mask is 8x8 and the image 90x60"), ((90, 60), "keeps every pixel")):
        Image.new("L", size).save("wrong.png")
        assert main.main([*words, "mask=wrong.png"]) == 2
        assert said in capsys.readouterr().err
    Image.new("L", (90, 60), 255).save("wrong.png")
    assert main.main([*words, "mask=wrong.png"]) == 2
    assert "covers the whole image" in capsys.readouterr().err
    assert main.main(words) == 2
    assert "takes an image and box= or mask=" in capsys.readouterr().err


def test_the_window_around_a_hole():
    hole = torch.zeros(100, 200, dtype=torch.bool)
    hole[40:60, 90:110] = True
    assert window(hole, (16, 16)) == (slice(30, 70), slice(80, 120))
    assert window(hole, (64, 64)) == (slice(18, 82), slice(68, 132)), "never smaller than the system's size"
    hole[0:100, 0:1] = True
    assert window(hole, (16, 16)) == (slice(0, 100), slice(0, 200))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shape": (3, 8, 8)}, "sides that are multiples of 4, from 16 on"),
        ({"shape": (3, 36, 40)}, "multiples of 8"),
        ({"overlap": 5}, "give 4 at most"),
    ],
)
def test_what_is_not_possible_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        ContextEncoder(**{**TINY, **keys})


def test_a_scan_is_completed_in_the_values_of_its_file(tmp_path):
    """With a window of intensities, at the system's size and at the file's own; every known pixel is what it was, to the last bit."""
    from genzoo.cli.main import main

    rng = np.random.default_rng(0)
    (tmp_path / "scans").mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(900, 2100, (24, 24), dtype=np.uint16)).save(tmp_path / "scans" / f"{i}.png")
    keys = {"width": 4, "d_width": 4, "overlap": 1, "steps": 2, "batch": 2, "runs": str(tmp_path), "quiet": True}
    run = genzoo.train("context-encoder", str(tmp_path / "scans"), size=16, gray_window=(1000, 2000), **keys)
    file, out = tmp_path / "scans" / "0.png", tmp_path / "filled.png"
    assert main(["complete", str(run.path), str(file), "box=6,8,9,7", "full=true", f"out={out}"]) == 0
    with Image.open(file) as a, Image.open(out) as b:
        before, after = np.asarray(a), np.asarray(b)
    assert after.dtype == np.uint16
    hole = np.zeros((24, 24), bool)
    hole[8:15, 6:15] = True
    assert np.array_equal(after[~hole], before[~hole])
    assert after[hole].min() >= 1000
    assert after[hole].max() <= 2000
    assert (after[hole] != before[hole]).mean() > 0.9
    assert main(["complete", str(run.path), str(file), f"out={tmp_path / 'values.npy'}", "n=1"]) == 0
    values = np.load(tmp_path / "values.npy")[0, 0, :8]
    expected = ((before.astype(float) - 1000) / 1000).clip(0, 1) * 2 - 1
    assert abs(values.mean() - expected[:12].mean()) < 0.1, "what is known was read with the window"
    assert values.std() > 0.2
