"""Each table against the other program's network, stated again: what it makes of a file computes the same."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genzoo.core.errors import UserError
from genzoo.foreign.taking import import_run
from genzoo.foreign.upstream import upstreams
from genzoo.models.translation.colorizer import colours
from genzoo.naming import registry
from genzoo.saved.loading import load
from tests.foreign import glows, nets
from tests.foreign.nets import Weights

PROVEN = {
    "cdcgan-omniart", "colorization-zhang", "cyclegan-pytorch", "cyclegan-vintagify", "dcgan-example", "glow-chaiyujin",
    "glow-rosinality", "made-pytorch-generative", "pix2pix-pytorch",
    "pix2pixhd-nvidia", "progan-facebook", "srgan-krasserm", "stylegan2-nvidia", "stylegan2-rosinality", "vqgan-taming", "vqvae2-rosinality",
}  # fmt: skip

MADE = ([6, 11, 4, 10, 2, 8, 1, 7, 9, 3, 0, 5], [8, 10, 1, 6, 7, 7, 8, 1], [6, 10, 9, 10, 5, 4, 1, 4])
"""Order and degrees of a network of 12 pixels with two hidden layers of 8 units."""


@pytest.fixture
def taken(tmp_path):
    """Write files of tensors, import them, and return the system."""

    def take(files, as_=None, **options):
        paths = []
        for name, content in files.items():
            torch.save(dict(content), tmp_path / name)
            paths.append(tmp_path / name)
        return load(import_run(paths, as_, runs=tmp_path / "runs", quiet=True, **options).path)

    return take


def same(found, expected, tolerance=2e-5):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_every_table_is_proven_here_and_names_a_system():
    assert set(upstreams()) == PROVEN
    for upstream in upstreams().values():
        assert upstream.system in registry.entries()
        assert all(
            (upstream.line, upstream.files, upstream.address.startswith("https://"), upstream.licence, upstream.needs)
        )


@torch.no_grad()
def test_the_dcgan_example(taken):
    g, d, z = Weights(1), Weights(2), draw(4, 7)
    x = nets.dcgan_generator(g, z, 4, 3)
    score = nets.dcgan_discriminator(d, x, 4)
    system = taken({"netG_epoch_3.pth": g, "netD_epoch_3.pth": {f"module.{k}": v for k, v in d.items()}})
    same(system.decode(z), x)
    same(system.D(x).sigmoid(), score)
    assert system.hparams["latent"] == 7
    assert system.trained["imported"]["new"] == []
    alone = taken({"netG_epoch_3.pth": g})
    same(alone.decode(z), x)
    assert alone.trained["imported"]["new"] == ["D"]


@torch.no_grad()
def test_a_conditional_dcgan(taken):
    w, z, y = Weights(), draw(2, 5), torch.eye(3)[:2]
    x = nets.omniart_generator(w, z, y, 4)
    system = taken({"generator_model_state.pth": w}, classes=3)
    same(system.decode(torch.cat([z, y], 1)), x)
    assert (system.hparams["latent"], system.hparams["multiple"]) == (5, 16)


@torch.no_grad()
@pytest.mark.parametrize("second", [5, 6], ids=["plain", "dropout"])
def test_cyclegan_of_its_authors(taken, second):
    x = images(2, 3, 16, 16)
    files = {f"latest_net_{k}.pth": Weights(i) for i, k in enumerate(("G_A", "G_B", "D_A", "D_B"))}
    b, a, of_b, of_a = files.values()
    made = nets.resnet(b, x, 4, 2, second=second), nets.resnet(a, x, 4, 2, second=second)
    scores = nets.patchgan(of_b, x, 5, 2), nets.patchgan(of_a, x, 5, 2)
    b["model.2.running_mean"] = draw(4)  # a file of before 2018
    system = taken(files, "cyclegan", shape=(3, 16, 16))
    for found, expected in zip(
        (system.a2b(x), system.b2a(x), system.D_b(x), system.D_a(x)), (*made, *scores), strict=True
    ):
        same(found, expected)


@torch.no_grad()
def test_cyclegan_with_trained_scales(taken):
    x, a, b = images(2, 3, 24, 24), Weights(1), Weights(2)
    made = [nets.resnet(w, x, 4, 2, block="block", affine=True) for w in (a, b)]
    system = taken({"G_A2B_epoch3.pth": a, "G_B2A_epoch3.pth": b}, shape=(3, 24, 24))
    same(system.a2b(x), made[0])
    same(system.b2a(x), made[1])
    assert system.hparams["affine"]
    alone = taken({"G_A2B_epoch3.pth": a}, new=["b2a"])
    same(alone.a2b(x), made[0])
    with pytest.raises(UserError, match=r"would both be a2b; give a2b=FILE and b2a=FILE"):
        taken({"one.pth": a, "two.pth": b})


@torch.no_grad()
def test_a_single_generator_of_cyclegan_is_asked_about(taken, tmp_path):
    w, x = Weights(), images(1, 3, 16, 16)
    expected = nets.resnet(w, x, 4, 1)
    with pytest.raises(UserError, match=r"there is no b2a among the files.*new=b2a"):
        taken({"G.pth": w}, "cyclegan")
    with pytest.raises(UserError, match=r"say which: as=cyclegan upstream=cyclegan-pytorch.*as=pix2pixhd"):
        taken({"G.pth": w})
    same(taken({"G.pth": w}, "cyclegan", new=["b2a"]).a2b(x), expected)
    with pytest.raises(UserError, match=r"G.pth could be either .* give a2b=FILE"):
        taken({"G.pth": w, "H.pth": w}, "cyclegan")
    torch.save(dict(w), tmp_path / "other.pth")
    system = taken({}, "cyclegan", a2b=tmp_path / "other.pth", b2a=str(tmp_path / "G.pth"))
    same(system.b2a(x), expected)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_pix2pix_of_its_authors(taken, norm):
    g, d, a, b = Weights(1), Weights(2), images(1, 1, 32, 32), images(1, 3, 32, 32, seed=1)
    own = norm == "instance"
    made = nets.unet(g, a, 4, 5, own=own)
    pair = torch.cat([a, b], 1)
    score = nets.patchgan(d, pair, 6, 2, norm=lambda x, at: d.batch_norm(x, f"model.{at + 1}", own=own))
    system = taken({"latest_net_G.pth": g, "latest_net_D.pth": d}, norm=norm)
    same(system.translate(a), made)
    same(system.D(pair), score)
    assert (system.hparams["shape"], system.hparams["inputs"], system.conditional) == ((3, 32, 32), 1, True)


@torch.no_grad()
@pytest.mark.parametrize("apart", [True, False])
def test_pix2pixhd_of_nvidia(taken, apart):
    g, d, x, y = Weights(1), Weights(2), images(1, 3, 32, 32), images(1, 3, 32, 32, seed=1)
    made = nets.enhanced(g, x, 4, 1, 2)
    name = "scale1_layer{layer}.0" if apart else "layer1.{at}"
    fine = nets.patchgan(d, torch.cat([x, y], 1), 5, 1, name=name.format, padding=2)
    small = F.avg_pool2d(torch.cat([x, y], 1), 3, 2, 1, count_include_pad=False)
    coarse = nets.patchgan(d, small, 5, 1, name=name.replace("1", "0", 1).format, padding=2)
    system = taken({"latest_net_G.pth": g, "latest_net_D.pth": d}, "pix2pixhd", shape=(3, 32, 32))
    same(system.translate(x), made)
    for maps, score in zip(system._judge(x, y), (fine, coarse), strict=True):
        same(maps[-1], score)


@torch.no_grad()
def test_a_generator_of_pix2pixhd_that_sees_classes(taken):
    w = Weights()
    nets.resnet(w, draw(1, 6, 32, 32), 4, 1)
    with pytest.raises(UserError, match="sees 6 channels; say what they are"):
        taken({"latest_net_G.pth": w}, "pix2pixhd")
    system = taken({"latest_net_G.pth": w}, "pix2pixhd", labels="5", instances="true", shape=(3, 64, 64))
    assert (system.inputs, system.labels) == (2, 5)
    assert system.translate(torch.full((1, 2, 64, 64), -1.0)).shape == (1, 3, 64, 64)


def nvidia(classes, widths=(6, 5), dim=7):
    """Return NVIDIA's two networks, with the outputs of some inputs."""
    g, d = Weights(1), Weights(2)
    z, y = draw(4, dim), torch.eye(classes)[torch.arange(4) % classes] if classes else None
    w = nets.mapping(g, z, y, 2)
    x = nets.synthesis(g, w[:, None].expand(-1, 2 * len(widths), -1), widths, 3)
    score = nets.critic(d, x, widths, y, depth=3)
    return g, d, (z, y, w, x, score)


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
def test_stylegan2_of_nvidia(taken, classes):
    g, d, (z, y, w, x, score) = nvidia(classes, (8, 4) if classes else (4, 4))
    system = taken({"network.pkl": {"G": dict(g), "D": dict(d), "G_ema": dict(g)}})
    same(system.F(z, y), w)
    same(system.G(w[:, None].expand(-1, system.layers, -1), lambda fixed, n: fixed), x)
    same(system.D(x, y), score)
    same(system.mean, g["mapping.w_avg"])
    assert system.labels == classes
    assert system.sample(2, generator=torch.Generator().manual_seed(0), truncation=0.5).shape == (2, 3, 8, 8)
    g["synthesis.b8.resample_filter"] = torch.ones(4, 4) / 16
    with pytest.raises(UserError, match=r"b8.resample_filter is not the filter \[1, 3, 3, 1\]"):
        taken({"network.pkl": {"G_ema": dict(g)}})


@torch.no_grad()
def test_stylegan2_of_rosinality(taken):
    """The same numbers under rosinality's names: kernels that are scaled at use, and others that are not."""
    g, d, (z, _, w, x, score) = nvidia(0, (8, 4))
    theirs, judge = {}, {}
    layers = ["synthesis.b4.conv1", "synthesis.b8.conv0", "synthesis.b8.conv1"]
    for i, (name, root) in enumerate(zip(("conv1", "convs.0", "convs.1"), layers, strict=True)):
        kernel = g[f"{root}.weight"]
        theirs[f"{name}.conv.weight"] = kernel[None] * math.sqrt(kernel[0].numel())
        theirs |= {f"{name}.conv.modulation.{k}": g[f"{root}.affine.{k}"] for k in ("weight", "bias")}
        theirs |= {
            f"{name}.activate.bias": g[f"{root}.bias"],
            f"{name}.noise.weight": g[f"{root}.noise_strength"].view(1),
        }
        theirs[f"noises.noise_{i}"] = g[f"{root}.noise_const"][None, None]
    theirs["convs.0.conv.blur.kernel"] = 4 * nets.FILTER
    for name, size in (("to_rgb1", 4), ("to_rgbs.0", 8)):
        root = f"synthesis.b{size}.torgb"
        theirs |= {f"{name}.conv.weight": g[f"{root}.weight"][None], f"{name}.bias": g[f"{root}.bias"].view(1, 3, 1, 1)}
        theirs |= {f"{name}.conv.modulation.{k}": g[f"{root}.affine.{k}"] for k in ("weight", "bias")}
    theirs["input.input"] = g["synthesis.b4.const"][None]
    theirs |= {f"style.{i + 1}.{k}": g[f"mapping.fc{i}.{k}"] for i in range(2) for k in ("weight", "bias")}
    names = {
        "convs.0.0": "b8.fromrgb",
        "convs.1.conv1.0": "b8.conv0",
        "convs.1.conv2.1": "b8.conv1",
        "final_conv.0": "b4.conv",
    }
    for name, root in names.items():
        stem, _, at = name.rpartition(".")
        judge |= {f"{name}.weight": d[f"{root}.weight"], f"{stem}.{int(at) + 1}.bias": d[f"{root}.bias"]}
    judge["convs.1.skip.1.weight"] = d["b8.skip.weight"]
    judge |= {
        f"final_linear.{i}.{k}": d[f"b4.{n}.{k}"] for i, n in enumerate(("fc", "out")) for k in ("weight", "bias")
    }
    file = {"g": theirs, "d": judge, "g_ema": theirs, "latent_avg": draw(7)}
    system = taken({"100000.pt": file})
    same(system.F(z, None), w)
    same(system.G(w[:, None].expand(-1, system.layers, -1), lambda fixed, n: fixed), x)
    same(system.D(x), score)
    same(system.mean, file.pop("latent_avg"))
    drawn = taken({"100000.pt": file})
    same(drawn.mean, drawn.F(draw(4096, 7), None).mean(0))


def keras_file(path, w, whole=False):
    """Write weights as Keras 2 does: groups of layers, and lists of their names; a whole model has them one level below."""
    h5py = pytest.importorskip("h5py", reason="the extra keras")
    layers = list(dict.fromkeys(name.split("/")[0] for name in w))
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["layer_names"] = [n.encode() for n in ["input_1", *layers]]
        root.create_group("input_1").attrs["weight_names"] = []
        for layer in layers:
            names = [n for n in w if n.split("/")[0] == layer]
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{n}:0".encode() for n in names]
            for n in names:
                group[f"{n}:0"] = w[n].numpy()
    return path


def in_parts(path):
    """Part the list of layers in two, as Keras does with one of more than 64 kB."""
    import h5py

    with h5py.File(path, "r+") as file:
        attrs = file["model_weights"].attrs
        names = attrs["layer_names"]
        attrs["layer_names0"], attrs["layer_names1"] = names[:3], names[3:]
        del attrs["layer_names"]


@torch.no_grad()
@pytest.mark.parametrize(("first", "whole"), [(0, False), (37, True)])
def test_srgan_of_krasserm(tmp_path, first, whole):
    w, pixels = Weights(4), torch.randint(0, 256, (2, 3, 9, 12)).float()
    expected = nets.keras_srgan(w, pixels, 4, 2, first)
    path = keras_file(tmp_path / "gan_generator.h5", w, whole)
    if whole:
        in_parts(path)
    system = load(import_run(path, runs=tmp_path / "runs", quiet=True).path)
    same((system.G(pixels / 127.5 - 1) + 1) * 127.5, expected)
    assert (system.hparams["scale"], system.hparams["blocks"], system.hparams["slopes"]) == (4, 2, "channels")
    assert system.translate(pixels / 127.5 - 1).shape == (2, 3, 36, 48)


def test_what_an_hdf5_file_points_to_elsewhere_is_not_opened(tmp_path):
    h5py = pytest.importorskip("h5py", reason="the extra keras")
    w = Weights(4)
    nets.keras_srgan(w, torch.zeros(1, 3, 4, 4), 4, 1)
    other = keras_file(tmp_path / "other.h5", w)
    for way in ("link", "outside"):
        path = keras_file(tmp_path / f"{way}.h5", w)
        with h5py.File(path, "r+") as file:
            del file["conv2d/conv2d/bias:0"]
            if way == "link":
                file["conv2d/conv2d/bias:0"] = h5py.ExternalLink(str(other), "conv2d/conv2d/bias:0")
            else:
                file["conv2d"].create_dataset(
                    "conv2d/bias:0", (4,), "float32", external=[(str(other), 0, h5py.h5f.UNLIMITED)]
                )
        with pytest.raises(UserError, match=r"bias:0' lies (somewhere else|in another file)"):
            import_run(path, runs=tmp_path / "runs", quiet=True)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = [1.0]
    with pytest.raises(UserError, match="lists no layers as Keras 2 does"):
        import_run(tmp_path / "data.h5", runs=tmp_path / "runs", quiet=True)
    (tmp_path / "cut.h5").write_bytes(other.read_bytes()[:700])
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        import_run(tmp_path / "cut.h5", runs=tmp_path / "runs", quiet=True)


@torch.no_grad()
def test_progan_of_facebook(taken):
    g, d, z, x = Weights(1), Weights(2), draw(4, 5), images(4, 3, 16, 16)
    made, score = nets.progan_generator(g, z, (8, 8, 4)), nets.progan_discriminator(d, x, (8, 8, 4))
    early = {k: torch.zeros_like(v) for k, v in g.items()}
    system = taken({"celebaHQ_s2_i80000.pt": {"config": {}, "netG": early, "netD": dict(d), "avgG": dict(g)}})
    same(system.decode(z), made.clamp(-1, 1))
    same(system.G(z, 2, 1.0), made)
    same(system.D(x, 2), score)


@torch.no_grad()
def test_vqvae2_of_rosinality(taken):
    w, x = Weights(3), torch.randint(0, 256, (4, 3, 16, 16)) / 127.5 - 1
    codes, made = nets.vqvae2(w, x, 8, 2, 3, 4, 11)
    system = taken({"vqvae_560.pt": w}, shape=(3, 16, 16))
    assert torch.equal(system.tokenize(x), codes)
    assert codes.unique().numel() > 3
    same(system._decoded(system._vectors(codes)), made)


@torch.no_grad()
def test_vqgan_of_taming(taken, tmp_path):
    w, x = Weights(4), images(2, 3, 16, 16)
    codes, made = nets.vqgan(w, x, 32, (1, 1, 2), 1, (2,), 6, 12)
    w["loss.discriminator.main.0.weight"] = draw(3)
    (tmp_path / "model.yaml").write_text("model:\n  params:\n    ddconfig:\n      resolution: 16\n")
    torch.save({"state_dict": dict(w), "epoch": 3}, tmp_path / "last.ckpt")
    system = load(import_run([tmp_path / "last.ckpt", tmp_path / "model.yaml"], runs=tmp_path / "r", quiet=True).path)
    assert system.hparams["shape"] == (3, 16, 16)
    assert torch.equal(system.tokenize(x), codes)
    assert codes.unique().numel() > 3
    same(system.decoder(system._vectors(codes)), made)
    assert taken({"last.ckpt": {"state_dict": dict(w)}}).hparams["shape"] == (3, 256, 256)


@torch.no_grad()
def test_the_colourization_of_zhang_whatever_the_order_of_its_colours(taken):
    w, lightness = Weights(5), 100 * torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(313, generator=torch.Generator().manual_seed(1))
    expected = nets.colourization(w, lightness, 4, colours()[order])
    system = taken({"colorization_release_v2.pth": w})
    same(system.annealed_mean(system.net(lightness / 50 - 1)), expected)
    w["model_out.weight"] = w["model_out.weight"] + 0.1
    with pytest.raises(UserError, match="other colours than the paper's 313"):
        taken({"colorization_release_v2.pth": w})


def density(system, u):
    z, log_det = system(u)
    return log_det - 0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


@torch.no_grad()
@pytest.mark.parametrize(("affine", "lu"), [(True, True), (False, False)])
def test_glow_of_rosinality(taken, affine, lu):
    w, u = Weights(5), (images(3, 3, 16, 16) + 1) / 2
    expected = glows.glow_rosinality(w, u, 6, 2, 2, affine, lu)
    system = taken({"model_000001.pt": {f"module.{k}": v for k, v in w.items()}}, shape=(3, 16, 16))
    same(density(system, u), expected)
    assert system.hparams["coupling"] == ("affine" if affine else "additive")
    assert system.levels == 32
    lost = "blocks.1.flows.0.invconv." + ("w_p" if lu else "weight")
    with pytest.raises(UserError, match=f"lacks {lost}; nothing was written"):
        taken({"other.pt": {k: v for k, v in w.items() if k != lost}}, "glow", shape=(3, 16, 16))
    same(system.inverse(system(u)[0]), u, 2e-4)


@torch.no_grad()
@pytest.mark.parametrize(("affine", "lu", "top"), [(True, False, True), (False, True, False)])
def test_glow_of_chaiyujin(taken, affine, lu, top):
    w, u = Weights(6), (images(3, 1, 16, 16) + 1) / 2
    expected = glows.glow_chaiyujin(w, u, 6, 2, 2, affine, lu, top)
    system = taken({"trained.pkg": {"global_step": 1, "graph": dict(w), "optim": {}}}, shape=(1, 16, 16))
    same(density(system, u), expected)
    same(system.inverse(system(u)[0]), u, 2e-4)
    permuted = {k: v for k, v in w.items() if ".invconv." not in k}
    with pytest.raises(UserError, match="an order that is not in the file"):
        taken({"trained.pkg": {"graph": permuted}}, shape=(1, 16, 16))
    with pytest.raises(UserError, match="a prior for each class"):
        taken({"trained.pkg": {"graph": {**w, "project_ycond.weight": torch.zeros(4, 2)}}}, shape=(1, 16, 16))


def bernoulli(x, logits):
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)


@torch.no_grad()
def test_made_of_pytorch_generative(taken):
    """Its order and degrees are those of numpy's generator with the seed 0, from 0 on; a mask is kept beside each weight."""
    w, x = Weights(7), torch.randint(0, 2, (6, 12), generator=torch.Generator().manual_seed(0)).float()
    order, *degrees = [torch.tensor(t) for t in MADE]
    masks = [order <= degrees[0][:, None], degrees[0] <= degrees[1][:, None], degrees[1] < order[:, None]]
    h = x
    for i, mask in zip((0, 2, 4), masks, strict=True):
        weight = w(f"_net.{i}.weight", *mask.shape)
        w[f"_net.{i}.mask"] = mask.float()
        h = F.linear(h if i == 0 else F.relu(h), weight * mask, w(f"_net.{i}.bias", len(mask)))
    w |= {f"_{k}": torch.tensor(n) for k, n in zip("chw", (1, 3, 4), strict=True)}
    system = taken({"trainer_state_9.ckpt": {"model": dict(w), "optimizer": {}}})
    same(system.log_prob(x.view(-1, 1, 3, 4) * 2 - 1), bernoulli(x, h))
    w["_net.4.mask"] = w["_net.4.mask"].flip(0)
    with pytest.raises(UserError, match="its masks are not those of n_masks=1"):
        taken({"trainer_state_9.ckpt": {"model": dict(w)}})


@torch.no_grad()
def test_a_belief_network_of_pytorch_generative(taken):
    w, x = Weights(8), torch.randint(0, 2, (6, 12), generator=torch.Generator().manual_seed(1)).float()
    logits = [
        F.linear(x[:, : max(1, i)] * min(1, i), w(f"_net.{i}.weight", 1, max(1, i)), w(f"_net.{i}.bias", 1))
        for i in range(12)
    ]
    system = taken({"trainer_state_9.ckpt": {"model": dict(w)}}, shape=(1, 4, 3))
    same(system.log_prob(x.view(-1, 1, 4, 3) * 2 - 1), bernoulli(x, torch.cat(logits, 1)))
    assert system.hparams["layers"] == 0
