"""pix2pix: the U-Net's plan, skips, sizes and noise, the objective of each preset by hand, and that pairs are learnt."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.models.translation._norms import NORMS
from genzoo.models.translation._unet import UNetGenerator
from genzoo.models.translation.pix2pix import Pix2Pix, halvings
from genzoo.naming.registry import create
from genzoo.nn.gan.patchgan import PatchGAN
from genzoo.saved import loading
from genzoo.testing.data import batch_for
from tests.models.test_cyclegan import Update

TINY = {"shape": (3, 16, 16), "inputs": 1, "width": 4, "depth": 3, "layers": 1}


def batch(n=2):
    return {"a": torch.rand(n, 1, 16, 16) * 2 - 1, "b": torch.rand(n, 3, 16, 16) * 2 - 1}


def test_unet_of_the_paper_has_its_published_size_and_layers():
    """At 256 px, counted by hand from appendix 6.1.1: kernels, scales and shifts, biases where no norm follows."""
    net = UNetGenerator(3, 3)
    down, up = [64, 128, 256, 512, 512, 512, 512, 512], [512, 512, 512, 512, 256, 128, 64, 3]
    count, before = 0, 3
    for i, w in enumerate(down):
        normed = 0 < i < 7
        count += before * w * 16 + (2 * w if normed else w)
        before = w
    for i, w in enumerate(up):
        inner = before if i == 0 else 2 * before
        count += inner * w * 16 + (w if i == 7 else 2 * w)
        before = w
    assert sum(p.numel() for p in net.parameters()) == count
    assert [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)] == down
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in (*net.down[0], *net.down[-1], *net.up[0]))


def test_networks_have_as_many_parameters_as_the_authors():
    """Of their PyTorch program at 256 px: 54,413,955 and 2,768,705; ours have a bias more where no norm follows, first and innermost."""
    with torch.device("meta"):
        for norm in ("instance", "batch"):
            system = Pix2Pix(norm=norm, **Pix2Pix.presets["pix2pix-paper"])
            assert sum(p.numel() for p in system.G.parameters()) - 64 - 512 == 54_413_955
            assert sum(p.numel() for p in system.D.parameters()) == 2_768_705


def test_real_and_translated_images_do_not_share_the_statistics_of_a_batch():
    torch.manual_seed(0)
    system = Pix2Pix(**TINY, norm="batch").train()
    real, fake = torch.randn(2, 4, 16, 16), 3 + 2 * torch.randn(2, 4, 16, 16)
    seen = system._judge(real, fake)
    assert torch.equal(seen[0], system.D(real))
    assert torch.equal(seen[1], system.D(fake))
    assert not torch.allclose(torch.cat(seen), system.D(torch.cat([real, fake])), atol=1e-3)


def test_a_model_from_before_the_discriminator_had_a_scale_is_what_it_was():
    torch.manual_seed(0)
    system = Pix2Pix(**TINY, norm="batch", d_norm="plain")
    assert sum(p.numel() for p in system.D.parameters()) == sum(
        p.numel() for p in PatchGAN(4, 4, 1, NORMS["plain"]).parameters()
    )
    old = loading.describe(system)
    del old["hparams"]["d_norm"]
    again = loading.build(old)
    again.load_state_dict(system.state_dict())
    pair = torch.randn(2, 4, 16, 16)
    assert torch.equal(again.D(pair), system.D(pair))
    assert loading.build({"system": "pix2pix", "hparams": {**TINY, "d_norm": None}}).d_norm == "instance"


def test_a_run_from_before_goes_on_as_it_was(tmp_path):
    keys = {
        "derive": "edges",
        "size": 16,
        "width": 4,
        "depth": 3,
        "layers": 1,
        "batch": 2,
        "quiet": True,
        "runs": str(tmp_path),
    }
    whole = genzoo.train("pix2pix", "garments", name="whole", d_norm="plain", steps=4, **keys)
    run = genzoo.train("pix2pix", "garments", name="half", d_norm="plain", steps=2, **keys)
    config = (run.path / "config.toml").read_text()
    lines = [line for line in config.splitlines() if not line.startswith("d_norm")]
    assert len(lines) == len(config.splitlines()) - 1
    (run.path / "config.toml").write_text("\n".join(lines) + "\n")
    genzoo.resume(run.path, steps=4, quiet=True)
    ours, theirs = (genzoo.load(r.path).state_dict() for r in (run, whole))
    assert ours.keys() == theirs.keys()
    assert "D.net.3.weight" not in ours, "the norm of its discriminator has no scale"


def test_skips_carry_what_the_bottleneck_cannot():
    """One pixel of the input changes one place of the outermost map alone; without skips it could only go through the bottleneck."""
    torch.manual_seed(0)
    net = UNetGenerator(1, 1, 4, 4).eval()
    x = torch.randn(1, 1, 32, 32)
    maps = []
    net.up[0].register_forward_pre_hook(lambda m, args: maps.append(args[0]))
    net(x)
    y = x.clone()
    y[..., 5, 7] += 1
    net(y)
    change = (maps[1] - maps[0]).abs()
    assert maps[0].shape == (1, 8, 16, 16)
    assert torch.equal(maps[0][:, 4:], net.down[0](x)), "the second half of the channels is the encoder's own map"
    assert (change[:, 4:].sum(1) > 0).sum() <= 4
    assert change[:, 4:, 2:4, 3:5].sum() > 0


@pytest.mark.parametrize(
    ("size", "depth"), [((256, 256), 8), ((64, 64), 6), ((64, 96), 5), ((512, 1024), 8), ((48, 80), 4)]
)
def test_depth_follows_from_the_size(size, depth):
    assert halvings(*size) == depth
    if max(size) < 200:
        system = Pix2Pix(shape=(1, *size), width=4, layers=1)
        assert system.depth == depth
        assert system.translate(torch.zeros(1, 1, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"shape": (3, 100, 60)}, "size=96,64"),
        ({"shape": (3, 40, 64), "depth": 4}, "size=32,64"),
        ({"shape": (3, 16, 16), "depth": 3, "layers": 3}, "too small for layers=3"),
        ({"shape": (3, 16, 16), "l1": 0.0, "adversarial": 0.0}, "nothing to learn from"),
    ],
)
def test_what_is_impossible_is_said_with_what_is_possible(keys, words):
    with pytest.raises(UserError, match=words):
        Pix2Pix(width=4, **keys)


def objective(system, data):
    """Equation 4 by hand, without dropout."""
    a, b = data["a"], data["b"]
    with torch.no_grad():
        fake = system.G(a)
        l1 = (fake - b).abs().mean()
        if system.D is None:
            return system.l1 * l1, None
        real_pair, fake_pair = ((torch.cat([a, y], 1) if system.conditional else y) for y in (b, fake))
        real, false = system.D(real_pair).sigmoid(), system.D(fake_pair).sigmoid()
        d = 0.5 * (-real.log().mean() - (1 - false).log().mean())
        return system.l1 * l1 - false.log().mean(), d


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("pix2pix", {}),
        ("pix2pix-l1", {}),
        ("pix2pix-gan", {}),
        ("pix2pix", {"conditional": False}),
        ("pix2pix", {"norm": "batch"}),
        ("pix2pix", {"d_norm": "plain"}),
    ],
)
def test_objective_by_hand(name, more):
    torch.manual_seed(0)
    system, data = create(name, **TINY, dropout=0.0, lr=1e-12, **more), batch()
    g, d = objective(system, data)
    update = Update(system)
    logs = system.training_step(data, update)
    assert [n for n, _ in update.calls] == (["g"] if d is None else ["d", "g"])
    assert update.calls[-1][1] == pytest.approx(g.item(), rel=1e-4)
    if d is not None:
        assert update.calls[0][1] == pytest.approx(d.item(), rel=1e-4)
    assert set(logs) == {"g_loss", "l1"} | (set() if d is None else {"d_loss", "fool"})
    assert set(system.optimizers()) == ({"g"} if d is None else {"g", "d"})


def test_pixel_discriminator_sees_single_pixels():
    system = create("pix2pix-pixel", **{**TINY, "layers": 0})
    pair = torch.randn(1, 4, 16, 16)
    assert system.D(pair).shape == (1, 1, 16, 16)
    assert all(m.kernel_size == (1, 1) for m in system.D.modules() if isinstance(m, nn.Conv2d))


def test_noise_is_dropout_in_training_and_a_numbered_variant_at_use():
    torch.manual_seed(0)
    system = Pix2Pix(**TINY)
    x = batch()["a"]
    system.train()
    assert not torch.equal(system.G(x), system.G(x))
    system.eval()
    plain, first, again, second = (system.translate(x, variant=v) for v in (0, 1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, plain)
    before = torch.get_rng_state()
    system.translate(x, variant=3)
    assert torch.equal(before, torch.get_rng_state())


def test_dropped_activations_keep_their_mean():
    net = UNetGenerator(1, 1, 4, 3)
    x = torch.ones(1, 1, 200, 200)
    y = net._drop(x, torch.Generator().manual_seed(0))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert y.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_norms(norm):
    system = Pix2Pix(**TINY, norm=norm)
    kind = nn.InstanceNorm2d if norm == "instance" else nn.BatchNorm2d
    assert sum(isinstance(m, kind) for m in system.G.modules()) == 1 + 2
    judges = [m for m in system.D.modules() if "Norm" in type(m).__name__]
    assert len(judges) == 1, "one norm"
    assert isinstance(judges[0], kind), "norm= is of both networks"
    assert judges[0].affine
    system.training_step(batch(), Update(system))


def test_the_u_net_learns_pairs_and_direction_is_one_way():
    torch.manual_seed(0)
    system = create("pix2pix-l1", **{**TINY, "width": 8}, dropout=0.0, lr=3e-3)
    update = Update(system)
    a = torch.rand(4, 1, 16, 16) * 2 - 1
    b = torch.cat([a, -a, a], 1)
    first = F.l1_loss(system.translate(a), b)
    for _ in range(100):
        system.training_step({"a": a, "b": b}, update)
    assert F.l1_loss(system.eval().translate(a), b) < 0.6 * first
    with pytest.raises(UserError, match="a2b"):
        system.translate(a, direction="b2a")


def test_images_of_any_size_and_other_channels_are_translated():
    system = Pix2Pix(**TINY).eval()
    x = batch_for(system)["a"]
    (y,) = genzoo.translate(system, [torch.rand(1, 21, 45) * 2 - 1])
    assert y.shape == (3, 21, 45)
    assert genzoo.translate(system, x).shape == (4, 3, 16, 16)
    with pytest.raises(UserError, match="3 channels"):
        genzoo.translate(system, [torch.zeros(3, 20, 20)])


# ---- results -----------------------------------------------------------------------------------------------------------------------


def test_evaluation_measures_pairs_and_writes_a_page_that_sorts(runs):
    import re

    from genzoo.metrics.maths.similarity import psnr
    from genzoo.use.common.images import first_batch, open_for

    run = runs("pix2pix")
    found = genzoo.evaluate(run)
    system = genzoo.load(run.path)
    data = open_for(system)
    batch = first_batch(system, data, len(data))
    values = psnr(system.translate(batch["a"]), batch["b"], data_range=2)
    record = found["measures"]["translation PSNR"]
    assert record["value"] == pytest.approx(values.mean().item(), rel=1e-5)
    assert record["n"] == len(data)
    assert set(found["measures"]) == {f"translation {m}" for m in ("PSNR", "SSIM", "L1")}
    assert "LPIPS needs 31 pixels; these images are 16x16" in found["not_measured"]["lpips"]
    page = (run.path / "results.html").read_text()
    assert "script" not in page
    assert page.count("<figure>") == 3 * len(data)
    for file in re.findall(r'src="([^"]+)"', page):
        assert (run.path / file).is_file()
    places = [int(v) for v in re.findall(r"--psnr:(\d+);", page)]
    best = sorted(range(len(data)), key=lambda i: -values[i])
    assert [best.index(i) for i in range(len(data))] == places
    assert "order: var(--psnr-worst)" in page
    assert "LPIPS is not measured" in page


def test_the_page_of_results_has_the_names_of_the_persons_files(tmp_path):
    """Also where the data come from the cache, in the order of the pairs; and names are text, whatever they are."""
    import re

    import numpy as np
    from PIL import Image

    level = {}
    for side in "AB":
        (tmp_path / "scans" / side).mkdir(parents=True)
        for i in range(12):
            name = f"patient <b>{i}" if i == 3 else f"patient {i}"
            level[f"{side}/{name}.png"] = 20 * i
            Image.new("RGB", (16, 16), (20 * i, 0, 90)).save(tmp_path / "scans" / side / f"{name}.png")
    keys = {"width": 4, "depth": 3, "layers": 1, "steps": 2, "batch": 2, "runs": str(tmp_path), "quiet": True}
    run = genzoo.train("pix2pix", str(tmp_path / "scans"), holdout=0.5, name="first", **keys)
    genzoo.evaluate(run)
    page = (run.path / "results.html").read_text()
    assert "<b>" not in page
    for kind, side in (("input", "A"), ("target", "B")):
        told = re.findall(rf'src="([^"]+-{kind}.png)"[^>]*>\s*<figcaption>{kind}: ([^<]+)</figcaption>', page)
        assert len(told) == 6
        for file, name in told:
            name = name.replace("&lt;", "<").replace("&gt;", ">")
            assert name.startswith(f"{side}/")
            assert np.asarray(Image.open(run.path / file))[0, 0, 0] == level[name], "the name is that of the picture"
    places = [int(v) for v in re.findall(r"--name:(\d+)", page)]
    assert sorted(places) == list(range(6))
    assert "by name" in page


def test_sides_that_are_no_pairs_are_not_compared(runs):
    found = genzoo.evaluate(runs("cyclegan"))
    assert "no pairs" in found["not_measured"]["pairs"]


def test_without_pairs_the_page_shows_both_ways_and_the_way_back(runs):
    import re

    from genzoo.use.common.images import first_batch, open_for

    run = runs("cyclegan")
    found = genzoo.evaluate(run)
    page = Path(found["results"]).read_text()
    system = genzoo.load(run.path)
    batch = first_batch(system, open_for(system), 1000)
    assert max(len(batch["a"]), len(batch["b"])) <= 50
    n = len(batch["a"]) + len(batch["b"])
    assert page.count("<figure>") == 3 * n
    for file in re.findall(r'src="([^"]+)"', page):
        assert (run.path / file).is_file()
    changes, trips = [], []
    for way, back, x in (("a2b", "b2a", batch["a"]), ("b2a", "a2b", batch["b"])):
        y = system.translate(x, direction=way)
        changes += (50 * (y - x).abs().flatten(1).mean(1)).tolist()
        trips += (50 * (system.translate(y, direction=back) - x).abs().flatten(1).mean(1)).tolist()
    for key, values, best in (("change", changes, max), ("round-trip", trips, min)):
        places = [int(v) for v in re.findall(rf"--{key}:(\d+);", page)]
        assert len(places) == n
        assert values[places.index(0)] == pytest.approx(best(values), abs=1e-4)


def test_the_command_takes_the_variant(runs, capsys, tmp_path):
    from PIL import Image

    from genzoo.cli.main import main

    run = runs("pix2pix")
    Image.new("L", (20, 17), 90).save(tmp_path / "a.png")
    found = []
    for words in ((), ("variant=1",), ("variant=1",), ("variant=2",)):
        assert (
            main(
                [
                    "translate",
                    str(run.path),
                    str(tmp_path / "a.png"),
                    f"out={tmp_path / 'out'}",
                    "overwrite=true",
                    *words,
                ]
            )
            == 0
        )
        found.append((tmp_path / "out" / "a.png").read_bytes())
    assert found[1] == found[2]
    assert len(set(found)) == 3
    capsys.readouterr()
    assert main(["translate", str(runs("cyclegan").path), str(tmp_path / "a.png"), "variant=1"]) == 2
    assert "cyclegan has no option 'variant'" in capsys.readouterr().err


def test_a_checkpoint_of_another_task_is_refused_by_name(runs, capsys, tmp_path):
    from genzoo.cli.main import main

    assert main(["translate", str(runs("gaussian").path), str(tmp_path)]) == 2
    assert "gaussian cannot translate images; it can" in capsys.readouterr().err
    assert main(["complete", str(runs("pix2pix").path)]) == 2
    assert "pix2pix cannot complete images; it can translate images" in capsys.readouterr().err
