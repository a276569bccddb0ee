"""Colorizer: Lab, the 313 colours, soft encoding, rebalancing, the annealed mean, and lightness that stays."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import genzoo
from genzoo.cli import main
from genzoo.core.errors import UserError
from genzoo.models.translation.colorizer import FURTHER, Colorizer, colours
from genzoo.naming.registry import create
from genzoo.nn.colour import lab_to_rgb, rgb_to_lab
from genzoo.ranks.parts import shared_buffers
from tests.models.test_srgan import Update, photo

TINY = {"shape": (3, 8, 8), "width": 4, "halvings": 2, "convolutions": 1}
ROWS = {
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100), -20: (-50, 100),
    -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90), 50: (-100, 80), 60: (-110, 80),
    70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}  # fmt: skip
"""The paper's 313 colours, as its authors published them: for every a, the least and greatest b."""


def lab(*rgb):
    lightness, ab = rgb_to_lab(torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1) / 127.5 - 1)
    return [round(v, 2) for v in (*lightness.flatten().tolist(), *ab.flatten().tolist())]


# ---- Lab -----------------------------------------------------------------------------------------------------------------------


def test_lab_of_known_colours():
    """Golden values of sRGB under D65, 2°."""
    for rgb, wanted in (
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.74, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
    ):
        assert lab(*rgb) == pytest.approx(wanted, abs=0.02)


def test_lab_is_that_of_a_well_kept_library():
    color = pytest.importorskip("skimage.color")
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    wanted = torch.from_numpy(color.rgb2lab(rgb)).permute(2, 0, 1).float()
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert torch.allclose(torch.cat(rgb_to_lab(x), 1)[0], wanted, atol=5e-3)
    assert torch.allclose(lab_to_rgb(*rgb_to_lab(x)), x, atol=2e-3)


def test_lightness_stays_where_a_colour_does_not_exist():
    torch.manual_seed(0)
    lightness, ab = torch.rand(1, 1, 30, 30) * 100, (torch.rand(1, 2, 30, 30) - 0.5) * 220
    x = lab_to_rgb(lightness, ab)
    assert x.abs().max() <= 1
    back, colour = rgb_to_lab(x)
    assert (back - lightness).abs().max() < 0.1
    paler = colour.square().sum(1) < ab.square().sum(1) - 1
    assert 0.3 < paler.float().mean() < 1, "the test has colours that do not exist, and some that do"
    cross = colour[:, 0] * ab[:, 1] - colour[:, 1] * ab[:, 0]
    assert (cross.abs() < 2 * ab.square().sum(1).sqrt()).all(), "the hue stays"


# ---- colours -------------------------------------------------------------------------------------------------------------------


def test_the_colours_are_the_papers_313():
    wanted = [(a, b) for a, (low, high) in ROWS.items() for b in range(low, high + 1, 10)]
    assert len(wanted) == 313
    assert [tuple(c) for c in colours().int().tolist()] == wanted


def test_309_of_them_are_corners_of_cells_that_srgb_reaches():
    found = {tuple(c) for c in colours(510).int().tolist()}
    assert len(found) == 313, "a finer search finds no more"
    system = Colorizer(**TINY)
    torch.manual_seed(0)
    any_colour = rgb_to_lab(torch.rand(1, 3, 100, 100) * 2 - 1)[1][0].flatten(1).T
    index, _ = system.encode_softly(any_colour)
    corners = {tuple(c) for c in colours().int().tolist()} - set(FURTHER)
    assert len(corners) == 309
    near = system.colours[index[:, 0]]
    assert (near - any_colour).abs().max() <= 5.001, "every colour has its nearest grid point among them"


def test_soft_encoding():
    system = Colorizer(**TINY)
    index, share = system.encode_softly(torch.tensor([[10.0, 20.0], [3.0, -4.0]]))
    assert index.shape == share.shape == (2, 5)
    assert torch.allclose(share.sum(1), torch.ones(2))
    assert system.colours[index[0, 0]].tolist() == [10, 20]
    four = np.exp(-100 / 50)
    assert share[0].tolist() == pytest.approx([1 / (1 + 4 * four), *[four / (1 + 4 * four)] * 4], rel=1e-4)
    assert {tuple(c) for c in system.colours[index[0]].int().tolist()} == {
        (10, 20),
        (0, 20),
        (20, 20),
        (10, 10),
        (10, 30),
    }
    distance = (system.colours - torch.tensor([3.0, -4.0])).square().sum(1)
    assert torch.equal(index[1].sort().values, distance.topk(5, largest=False).indices.sort().values)
    wanted = (-distance[index[1]] / 50).exp()
    assert torch.allclose(share[1], wanted / wanted.sum(), atol=1e-6)


def test_the_nearest_are_found_among_few():
    """All 313 are not looked at: of each cell only those that can be near."""
    system = Colorizer(**TINY)
    torch.manual_seed(0)
    ab = rgb_to_lab(torch.rand(1, 3, 100, 100) * 2 - 1)[1][0].flatten(1).T
    ab = torch.cat([ab, 220 * torch.rand(5000, 2) - 110, system.colours])
    index, share = system.encode_softly(ab)
    distance = (ab[:, None] - system.colours).square().sum(2)
    near = distance.topk(5, largest=False).values
    assert torch.allclose(distance.gather(1, index), near, atol=1e-2)
    assert torch.allclose(share, (-near / 50).softmax(1), atol=1e-4)


def test_weights_are_the_papers():
    system = Colorizer(**TINY, rebalance=0.5)
    torch.manual_seed(0)
    system.running_colours[:] = torch.randint(0, 1000, (313,)) * (torch.rand(313) < 0.3)
    p = system.running_colours / system.running_colours.sum()
    kernel = (-torch.cdist(system.colours, system.colours).square() / 50).exp()
    p = p @ (kernel / kernel.sum(1, keepdim=True))
    w = system.weights()
    assert p.sum() == pytest.approx(1, abs=1e-4)
    assert (p * w).sum() == pytest.approx(1, abs=1e-4)
    ratio = w * (0.5 * p + 0.5 / 313)
    assert torch.allclose(ratio, ratio[0].expand(313), rtol=1e-4)
    assert w.max() == w[p.argmin()]
    assert w.min() == w[p.argmax()]
    assert torch.allclose(Colorizer(**TINY, rebalance=1.0).weights(), torch.ones(313))


def test_statistics_are_the_training_data_s_and_are_kept():
    torch.manual_seed(0)
    system = Colorizer(**TINY).train()
    x = photo(shape=(3, 8, 8))
    system.loss({"image": x})
    assert system.running_colours.sum() == 2 * 4 * 4
    ab = F.avg_pool2d(rgb_to_lab(x)[1], 2)[0, :, 1, 2]
    nearest = (system.colours - ab).square().sum(1).argmin()
    assert system.running_colours[nearest] >= 1
    before = system.running_colours.clone()
    system.eval().loss({"image": x})
    assert torch.equal(before, system.running_colours), "using a system changes no state"
    assert "running_colours" in system.state_dict()
    assert "colours" not in system.state_dict()
    assert not any(b is system.running_colours for b in shared_buffers(system)), (
        "what ranks and parts have seen is added up"
    )


def test_annealed_mean_goes_from_the_mean_to_the_mode():
    torch.manual_seed(0)
    logits = torch.randn(1, 313, 2, 2)
    system = Colorizer(**TINY)
    p = logits.softmax(1)
    sharp = p ** (1 / 0.38)
    wanted = torch.einsum("bqhw,qc->bchw", sharp / sharp.sum(1, keepdim=True), system.colours)
    assert torch.allclose(system.annealed_mean(logits), wanted, atol=1e-3)
    system.temperature = 1.0
    assert torch.allclose(system.annealed_mean(logits), torch.einsum("bqhw,qc->bchw", p, system.colours), atol=1e-3)
    system.temperature = 1e-5
    mode = system.colours[logits.argmax(1)].permute(0, 3, 1, 2)
    assert torch.allclose(system.annealed_mean(logits), mode, atol=1e-2)
    assert torch.allclose(system.annealed_mean(logits, 0.38), wanted, atol=1e-3), "what is asked for goes first"


# ---- learning ------------------------------------------------------------------------------------------------------------------


def test_loss_by_hand():
    torch.manual_seed(0)
    for rare in (True, False):
        system = Colorizer(**TINY, rare=rare).eval()
        system.running_colours[100:200] = 5
        x = photo(shape=(3, 8, 8))
        lightness, ab = rgb_to_lab(x)
        truth = F.avg_pool2d(ab, 2).permute(0, 2, 3, 1).reshape(-1, 2)
        log_p = system.net(lightness / 50 - 1).log_softmax(1).permute(0, 2, 3, 1).reshape(-1, 313)
        index, share = system.encode_softly(truth)
        z = torch.zeros(len(truth), 313).scatter(1, index, share)
        v = system.weights()[index[:, 0]] if rare else 1.0
        logs = system.loss({"image": x})
        assert logs["loss"].item() == pytest.approx((v * -(z * log_p).sum(1)).mean().item(), rel=1e-4)


def test_l2_by_hand_and_both_learn():
    torch.manual_seed(0)
    system = create("colorizer-l2", **TINY).eval()
    x = photo(shape=(3, 8, 8))
    lightness, ab = rgb_to_lab(x)
    wanted = 0.5 * (system.net(lightness / 50 - 1) - F.avg_pool2d(ab, 2) / 110).square().sum(1).mean()
    assert system.loss({"image": x})["loss"].item() == pytest.approx(wanted.item(), rel=1e-4)
    for name in ("colorizer", "colorizer-l2"):
        torch.manual_seed(0)
        system = create(name, **{**TINY, "width": 16}, lr=3e-3, weight_decay=0.0).train()
        update = Update(system)
        for _ in range(40):
            logs = system.loss({"image": x})
            update("model", logs["loss"])
        losses = [value for _, value in update.calls]
        assert sum(losses[-4:]) < 0.7 * sum(losses[:4]), name
        assert 0 < logs["chroma_ratio"] < 3


def test_networks_of_the_paper():
    colours()  # kept from here on, and not made on the device below
    with torch.device("meta"):
        system = Colorizer()
        assert system.net(torch.zeros(1, 1, 256, 256)).shape == (1, 313, 64, 64)
    convolutions = [m for m in system.net if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 2 + 2 + 3 + 4 * 3 + 2 + 1
    assert sum(m.dilation == (2, 2) for m in convolutions) == 6


def test_the_network_has_as_many_parameters_as_the_authors():
    """32,235,385 in their later program without its last, fixed layer; their first one has no scale and shift in its batch norm."""
    colours()
    with torch.device("meta"):
        system = Colorizer()
    assert sum(p.numel() for p in system.parameters()) == 32_235_385
    scales = sum(p.numel() for m in system.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters())
    assert scales == 2 * (64 + 128 + 256 + 4 * 512)


def test_the_papers_rate_is_a_preset():
    """3e-5, to 1e-5 at 200,000 and 3e-6 at 375,000 of 450,000 steps."""
    system = create("colorizer-paper", **TINY)
    rates = [system.lr * system.lr_scale(step / 450_000) for step in (0, 199_999, 200_000, 374_999, 375_000, 449_999)]
    assert rates == pytest.approx([3e-5, 3e-5, 1e-5, 1e-5, 3e-6, 3e-6])
    assert [Colorizer(**TINY).lr_scale(p) for p in (0, 0.25, 1)] == [1, 0.75, 0]


# ---- using ---------------------------------------------------------------------------------------------------------------------


def test_lightness_of_a_photograph_stays_at_any_size():
    torch.manual_seed(0)
    system = Colorizer(**TINY).eval()
    for shape in ((3, 8, 8), (3, 37, 21), (1, 5, 64), (3, 1, 1)):
        x = photo(n=1, shape=shape)
        y = genzoo.translate(system, x)
        assert y.shape == (1, 3, *shape[1:])
        assert (rgb_to_lab(y)[0] - rgb_to_lab(x)[0]).abs().max() < 0.1
    x = photo(shape=(3, 8, 8))
    assert torch.allclose(genzoo.translate(system, system.degrade(x)), genzoo.translate(system, x), atol=1e-2)
    assert (rgb_to_lab(system.degrade(x))[0] - rgb_to_lab(x)[0]).abs().max() < 0.05


def test_a_large_photograph_is_coloured_in_one_piece():
    """Tile by tile every piece would get colours of its own."""
    torch.manual_seed(0)
    system = Colorizer(**TINY).eval()
    x = photo(n=1, shape=(3, 80, 60))
    assert torch.allclose(genzoo.translate(system, x, tile=16, overlap=4), system.translate(x), atol=1e-5)


def test_colorize_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    genzoo.export(Colorizer(**TINY), "model")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)).save("gray.png")
    assert main.main(["colorize", "model", "gray.png", "-o", "out.png"]) == 0
    with Image.open("out.png") as coloured, Image.open("gray.png") as gray:
        assert (coloured.size, coloured.mode) == ((31, 20), "RGB")
        pair = [
            torch.from_numpy(np.array(i.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
            for i in (coloured, gray)
        ]
    assert (rgb_to_lab(pair[0])[0] - rgb_to_lab(pair[1])[0]).abs().max() < 1, (
        "8 bits a colour move it by less than 1 of 100"
    )
    capsys.readouterr()
    assert main.main(["upscale", "model", "gray.png"]) == 2
    assert "upscale: colorizer cannot enlarge images; it can" in capsys.readouterr().err


def test_temperature_is_asked_for_where_colours_are_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    system = Colorizer(**TINY, temperature=0.5).eval()
    gray = system.degrade(photo(n=1, shape=(3, 8, 8)))
    made = {t: genzoo.translate(system, gray, temperature=t) for t in (0.05, 0.5, 2.0)}
    assert torch.equal(made[0.5], genzoo.translate(system, gray)), "the system's own when none is given"
    assert min((made[0.5] - made[t]).abs().max() for t in (0.05, 2.0)) > 0.01
    assert system.temperature == 0.5
    genzoo.export(system, "model")
    genzoo.export(create("colorizer-l2", **TINY), "l2")
    genzoo.export(create("mde-no-features", shape=(3, 16, 16), width=8, d_width=4), "mde")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 31), dtype=np.uint8)
    Image.fromarray(pixels).save("gray.png")
    for name, words in (("own", ()), ("same", ("temperature=0.5",)), ("bold", ("temperature=0.05",))):
        assert main.main(["colorize", "model", "gray.png", *words, "-o", f"{name}.png"]) == 0
    own, same, other = (np.asarray(Image.open(f"{n}.png")) for n in ("own", "same", "bold"))
    assert np.array_equal(own, same)
    assert not np.array_equal(own, other)
    capsys.readouterr()
    for folder, word, message in (
        ("model", "temperature=0", "colorize: temperature=0 is not allowed; give"),
        ("model", "temperature=11", "colorize: temperature=11 is not allowed; give"),
        ("model", "temprature=1", "colorize: colorizer has no option 'temprature' — did you mean 'temperature'"),
        ("l2", "temperature=1", "objective=l2 predicts none"),
        ("mde", "temperature=1", "missing-data-encoder has no option 'temperature'"),
    ):
        assert main.main(["colorize", folder, "gray.png", word, "-o", "no.png"]) == 2
        assert message in capsys.readouterr().err
    assert main.main(["show", "colorizer"]) == 0
    said = capsys.readouterr().out
    assert "colorize temperature" in said
    assert "colorize RUN" in said
    assert main.main(["show", "pix2pix"]) == 0
    assert "temperature" not in capsys.readouterr().out.split("Own options")[-1]


def test_what_is_not_possible_is_refused():
    with pytest.raises(UserError, match="images of 1 channels have no colours to learn"):
        Colorizer(**{**TINY, "shape": (1, 8, 8)})
    with pytest.raises(UserError, match="multiples of 4"):
        Colorizer(**{**TINY, "shape": (3, 10, 8)})
    with pytest.raises(UserError, match="give colorize"):
        Colorizer(**TINY).translate(photo(shape=(3, 8, 8)), direction="a2b")
