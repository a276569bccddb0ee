"""SRGAN: how small images are made, the two networks, the two phases, the start from another run, and enlargement of files."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import genzoo
from genzoo.cli import main
from genzoo.core.errors import UserError
from genzoo.data.drawing.images import to_uint8
from genzoo.losses.perceptual import feature_distance
from genzoo.metrics.maths import similarity
from genzoo.models.translation.srgan import SRGAN, PhotoDiscriminator, SRResNet
from genzoo.naming.registry import create
from genzoo.nn.pretrained.perceptual import FeatureNet
from genzoo.nn.resampling import bicubic, grey_levels
from genzoo.saved import loading
from genzoo.use.common.images import open_for

TINY = {"shape": (3, 16, 16), "scale": 2, "width": 4, "blocks": 1, "d_width": 4, "content": "mse"}


class Update:
    """The trainer's update, without the trainer."""

    def __init__(self, system, progress=0.0):
        self.optimizers = system.optimizers()
        self.step, self.steps, self.progress, self.calls = 0, 10, progress, []

    def __call__(self, name, loss):
        owned = [p for g in self.optimizers[name].param_groups for p in g["params"]]
        for p in owned:
            p.grad = None
        loss.backward(inputs=owned)
        self.optimizers[name].step()
        self.calls.append((name, loss.item()))


def photo(seed=0, n=2, shape=(3, 16, 16)):
    g = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(n, shape[0], 4, 4, generator=g), shape[1:], mode="bilinear") * 2 - 1


# ---- low resolution ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"), [((24, 36), (12, 9)), ((17, 31), (5, 12)), ((8, 8), (32, 16)), ((12, 9), (12, 9))]
)
def test_bicubic_is_pillows(old, new):
    pixels = np.random.default_rng(0).integers(0, 256, old).astype(np.float32)
    by_pillow = np.asarray(Image.fromarray(pixels).resize((new[1], new[0]), Image.Resampling.BICUBIC))
    ours = bicubic(torch.from_numpy(pixels)[None, None], *new)[0, 0]
    assert torch.allclose(ours, torch.from_numpy(by_pillow.copy()), atol=2e-3)


def test_small_images_are_those_of_an_8_bit_file_made_by_pillow():
    x = np.random.default_rng(1).integers(0, 256, (32, 48), dtype=np.uint8)
    small = np.asarray(Image.fromarray(x).resize((12, 8), Image.Resampling.BICUBIC))
    system = SRGAN(shape=(1, 32, 48), scale=4, width=4, blocks=1, content="mse")
    ours = system.degrade(torch.from_numpy(x).float()[None, None] / 127.5 - 1)
    levels = (ours[0, 0] + 1) * 127.5
    assert torch.equal(levels.round(), levels.round().clamp(0, 255))
    assert (levels - levels.round()).abs().max() < 1e-3
    assert (levels.round() - torch.from_numpy(small.copy()).float()).abs().max() <= 1  # Pillow rounds after each side


def test_bicubic_keeps_a_constant_and_does_not_alias():
    assert torch.allclose(bicubic(torch.full((1, 1, 9, 7), 0.3), 4, 15), torch.tensor(0.3), atol=1e-6)
    stripes = torch.tensor([1.0, -1.0]).repeat(32)[None, None, None].expand(1, 1, 64, 64)
    assert (
        bicubic(stripes, 16, 16)[..., 2:-2].abs().max() < 0.02
    )  # without the wider kernel every fourth pixel would be picked


def test_bicubic_is_as_exact_in_mixed_precision():
    x = torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bicubic(x, 4, 4), bicubic(x.clone(), 4, 4))
        assert bicubic(x, 4, 4).dtype == torch.float32
    assert torch.equal(grey_levels(torch.tensor([-2.0, -1.0, 1.0, 2.0])), torch.tensor([-1.0, -1.0, 1.0, 1.0]))


# ---- networks ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsample", ["shuffle", "resize"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_generator_enlarges_any_size(scale, upsample):
    net = SRResNet(3, 4, 1, scale, batch_norm=True, residual=False, upsample=upsample).eval()
    assert net(torch.zeros(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)


def test_sizes_of_the_paper():
    net = SRResNet(3, 64, 16, 4, batch_norm=True, residual=False)
    # two 9x9 convolutions, 33 of 3x3 with batch norm (no bias), two of 3x3 to 256 maps, a slope for every PReLU
    convolutions = (3 * 81 * 64 + 64) + 33 * (64 * 64 * 9 + 128) + 2 * (64 * 256 * 9 + 256) + (64 * 81 * 3 + 3)
    assert sum(p.numel() for p in net.parameters()) == convolutions + 1 + 16 + 2
    d = PhotoDiscriminator((3, 96, 96), 64)
    assert [m.in_features for m in d.net if hasattr(m, "in_features")] == [512 * 6 * 6, 1024]
    assert d(torch.zeros(2, 3, 96, 96)).shape == (2,)


def test_the_residual_generator_begins_as_bicubic():
    net = SRResNet(3, 4, 1, 4, batch_norm=False, residual=True).eval()
    x = photo()
    assert torch.allclose(net(x), bicubic(x, 64, 64), atol=1e-6)


# ---- steps ---------------------------------------------------------------------------------------------------------------------


def test_pretraining_moves_the_generator_by_the_squared_error_alone():
    torch.manual_seed(0)
    system = SRGAN(**TINY, adversarial=0.001)
    x, update = photo(), Update(system, progress=0.49)
    wanted = F.mse_loss(system.G(system.degrade(x)), x).item()
    before = [p.clone() for p in system.D.parameters()]
    logs = system.training_step({"image": x}, update)
    assert [name for name, _ in update.calls] == ["g"]
    assert update.calls[0][1] == pytest.approx(wanted, rel=1e-5)
    assert set(logs) == {"pixel_error"}
    assert all(torch.equal(a, b) for a, b in zip(before, system.D.parameters(), strict=True))


def test_adversarial_step_by_hand():
    torch.manual_seed(0)
    system = SRGAN(**TINY, adversarial=0.01, pixel=0.5).eval()  # eval: batch norm gives the same twice
    x, update = photo(), Update(system, progress=0.5)
    with torch.no_grad():
        y = system.G(system.degrade(x))
        d = F.softplus(-system.D(x)).mean() + F.softplus(system.D(y)).mean()
    logs = system.training_step({"image": x}, update)
    assert [name for name, _ in update.calls] == ["d", "g"]
    assert update.calls[0][1] == pytest.approx(d.item(), rel=1e-5)
    error = F.mse_loss(y, x)
    assert update.calls[1][1] == pytest.approx((1.5 * error + 0.01 * logs["g_adversarial"]).item(), rel=1e-5)


def test_content_is_compared_in_the_asked_layer_and_no_pixel_error_is_added():
    torch.manual_seed(0)
    system = SRGAN(**{**TINY, "content": "vgg16-random"}, layer="relu1_2", adversarial=0.0, pretrain=0).eval()
    x, update = photo(), Update(system)
    net = FeatureNet("vgg16-random", ("relu1_2",))
    with torch.no_grad():
        wanted = feature_distance(net(system.G(system.degrade(x))), net(x), relative=True).mean().item()
    system.training_step({"image": x}, update)
    assert update.calls == [("g", pytest.approx(wanted, rel=1e-4))]


def test_content_is_the_papers_map_unless_another_is_asked_for():
    """phi_5,4: after the activation of the fourth convolution before the fifth pooling of VGG-19."""
    keys = {**TINY, "shape": (3, 32, 32)}
    assert SRGAN(**{**keys, "content": "vgg19"}).features.layers == ("relu5_4",)
    assert SRGAN(**{**keys, "content": "vgg16"}).features.layers == ("relu5_3",)
    assert SRGAN(**{**keys, "content": "vgg19"}, layer="relu2_2").features.layers == ("relu2_2",)
    assert (
        SRGAN(**{**keys, "content": "vgg19"}).features.plan.count("P"),
        len(SRGAN(**{**keys, "content": "vgg19"}).features.plan),
    ) == (4, 20)
    with pytest.raises(UserError, match=r"weights of vgg19-imagenet are missing: .*vgg19\.safetensors .*model zoos"):
        SRGAN(**{**keys, "content": "vgg19"}).optimizers()


def test_srresnet_has_no_discriminator_and_its_error_falls():
    torch.manual_seed(0)
    system = create("srresnet", **{k: v for k, v in TINY.items() if k != "content"}, residual=True, lr=3e-3)
    assert system.D is None
    assert list(system.optimizers()) == ["g"]
    update = Update(system)
    for i in range(40):
        update.progress = i / 40
        system.training_step({"image": photo(i % 4)}, update)
    errors = [value for _, value in update.calls]
    assert sum(errors[-4:]) < 0.9 * sum(errors[:4])


def test_learning_rate_falls_in_the_second_half_of_the_adversarial_part():
    scale = SRGAN(**TINY, adversarial=0.1).lr_scale
    assert [scale(p) for p in (0.0, 0.5, 0.74, 0.75, 0.99)] == [1, 1, 1, 0.1, 0.1]
    assert create("srresnet", **{k: v for k, v in TINY.items() if k != "content"}).lr_scale(0.9) == 1


# ---- start, weights, sizes -----------------------------------------------------------------------------------------------------


def test_start_takes_the_generator_of_a_run(tmp_path):
    torch.manual_seed(0)
    first = SRGAN(**TINY, adversarial=0.0)
    second = SRGAN(**TINY, adversarial=0.001, start=first)
    assert second.pretrain == 0
    assert all(torch.equal(a, b) for a, b in zip(first.G.parameters(), second.G.parameters(), strict=True))
    with torch.no_grad():
        next(second.G.parameters()).add_(1)
    assert not torch.equal(next(first.G.parameters()), next(second.G.parameters()))
    again = loading.build(loading.describe(second))  # the description needs no file; weights are loaded over it
    again.load_state_dict(second.state_dict())
    x = photo()
    assert torch.equal(again.eval().translate(x), second.eval().translate(x))
    with pytest.raises(UserError, match=r"start: its generator is another one .*scale=2, width=4"):
        SRGAN(**{**TINY, "width": 8}, start=first)


def test_absent_weights_are_said_before_the_first_step_with_what_to_do():
    system = SRGAN(**{**TINY, "content": "vgg16"}, layer="relu2_2")
    with pytest.raises(
        UserError, match=r"weights of vgg16 are missing.*content=mse \(preset srgan-mse\) needs no weights"
    ):
        system.optimizers()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scale": 3}, r"give 2 \| 4 \| 8"),
        ({"shape": (3, 18, 18), "scale": 4}, "multiples of 4, from 16 on"),
        ({"shape": (3, 8, 8)}, "from 16 on"),
        ({"layer": "relu1_1"}, "is of a recognition network"),
        ({"content": "vgg16", "shape": (3, 16, 16), "layer": "relu9_9"}, "has no layer"),
        ({"content": "vgg16", "shape": (2, 16, 16)}, "1 or 3 channels"),
    ],
)
def test_what_is_not_possible_is_refused(keys, message):
    with pytest.raises(UserError, match=message):
        SRGAN(**{**TINY, **keys})
    with pytest.raises(UserError, match="give upscale"):
        SRGAN(**TINY).translate(photo(), direction="a2b")


# ---- files ---------------------------------------------------------------------------------------------------------------------


def test_tiles_are_the_whole_and_scale_is_kept():
    torch.manual_seed(0)
    system = SRGAN(**TINY, adversarial=0.0).eval()
    x = photo(n=1, shape=(3, 90, 70))
    whole, tiled = genzoo.translate(system, x), genzoo.translate(system, x, tile=48, overlap=40)
    assert whole.shape == (1, 3, 180, 140)
    away = (..., slice(40, -40), slice(40, -40))  # at the border a tile may see the image mirrored
    assert (whole - tiled)[away].abs().max() < 1 / 127.5, "one grey level"
    assert torch.allclose(whole, system.translate(x), atol=1e-6)


def test_upscale_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    system = SRGAN(**TINY, adversarial=0.0)
    genzoo.export(system, "model")
    transparent = Image.new("RGBA", (21, 17), (200, 100, 50, 255))
    transparent.putpixel((0, 0), (0, 0, 0, 0))
    transparent.save("photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    assert main.main(["upscale", "model", "photo.png", "-o", "out.png"]) == 0
    with Image.open("out.png") as image:
        assert (image.size, image.mode) == ((42, 34), "RGBA")
    assert main.main(["upscale", "model", "photo.png", "out=photo.png", "overwrite=true"]) == 0
    assert (tmp_path / "photo.png").read_bytes() == before, "an original is not replaced"
    assert (tmp_path / "photo-2.png").is_file()
    capsys.readouterr()
    assert main.main(["upscale", "model", "photo.png", "-o", "out.jpg"]) == 2
    assert "JPEG has none; give .png or .webp" in capsys.readouterr().err
    assert main.main(["colorize", "model", "photo.png"]) == 2
    said = capsys.readouterr().err
    assert "colorize: srgan cannot colour images; it can" in said
    assert "enlarge images" in said
    assert main.main(["upscale", "model", "absent.png"]) == 2
    assert "no file" in capsys.readouterr().err
    assert math.isfinite(float(system.translate(photo()).sum()))


def test_evaluation_measures_restored_images_and_lays_them_out(runs):
    run = runs("srgan")
    found = genzoo.evaluate(run)
    psnr = found["measures"]["translation PSNR"]
    system = genzoo.load(run.path)
    test = open_for(system, None)
    x = torch.from_numpy(np.array(test.fields["image"])).float() / 127.5 - 1
    pairs = [[to_uint8(v) for v in (system.translate(system.degrade(i[None])), i[None])] for i in x]
    wanted = [similarity.y_psnr(*pair, border=system.scale) for pair in pairs]
    assert psnr["value"] == pytest.approx(float(torch.cat(wanted).mean()), rel=1e-4)
    assert "degraded by the system itself (direction upscale), of" in psnr["protocol"]
    assert (run.path / "results.html").is_file()
    with Image.open(run.path / "outputs" / "results" / "0000-input.png") as image:
        assert image.size == (16, 16), "shown as large as the output"


# ---- what other programs' generators have ---------------------------------------------------------------------------------------


def test_without_batch_norm_the_network_is_larger_than_basicsrs():
    """docs/import.md has the number beside that of MSRResNet, 1,517,571."""
    net = SRResNet(3, 64, 16, 4, batch_norm=False, residual=False)
    assert sum(p.numel() for p in net.parameters()) == 1_545_238


@torch.no_grad()
def test_images_from_0_to_1_differ_from_those_around_0_at_the_border_only():
    """A first layer for [0, 1] is one for [-1, 1] with half the weight and another bias, but for the zeros around the image."""
    torch.manual_seed(0)
    unit = SRGAN(**{**TINY, "shape": (3, 32, 32)}, unit=True, batch_norm=False).eval()
    plain = SRGAN(**{**TINY, "shape": (3, 32, 32)}, batch_norm=False).eval()
    state = unit.state_dict()
    weight = state["G.head.0.weight"]
    state |= {"G.head.0.weight": weight / 2, "G.head.0.bias": state["G.head.0.bias"] + weight.sum((1, 2, 3)) / 2}
    plain.load_state_dict(state)
    found, expected = plain.G(photo(shape=(3, 32, 32))), unit.G(photo(shape=(3, 32, 32)))
    assert torch.allclose(found[:, :, 26:-26, 26:-26], expected[:, :, 26:-26, 26:-26], atol=1e-6)
    assert (found - expected)[:, :, 0].abs().max() > 1e-3


def test_a_tanh_keeps_images_in_range_and_stands_alone():
    system = SRGAN(**TINY, bounded=True, slopes="channels")
    assert system.G.head[1].weight.shape == (4,)
    for parameter in system.G.parameters():
        parameter.data.mul_(20)
    assert 0.99 < system.G(photo()).abs().max() <= 1
    with pytest.raises(UserError, match="give one of them"):
        SRGAN(**TINY, bounded=True, residual=True)
