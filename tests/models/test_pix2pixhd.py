"""pix2pixHD: feature matching by hand, instances, the two phases, the shapes of the paper, and several answers for one input."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import UserError
from genzoo.models.translation._coarse_to_fine import CoarseToFine, boundaries, halved, instance_means
from genzoo.models.translation.pix2pixhd import BANK, Pix2PixHD, place_of
from genzoo.naming.registry import create
from genzoo.saved import loading
from tests.models.test_cyclegan import Update

TINY = dict(Pix2PixHD.tiny)


def numbers(values):
    """Whole numbers as images hold them."""
    return values.float() / 127.5 - 1


def batch(n=2, inputs=1):
    return {"a": torch.rand(n, inputs, 16, 16) * 2 - 1, "b": torch.rand(n, 3, 16, 16) * 2 - 1}


def test_boundaries_by_hand():
    ids = torch.tensor([[[[1, 1, 2], [1, 1, 2], [3, 3, 3]]]])
    assert boundaries(ids)[0, 0].tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]
    assert boundaries(torch.zeros(1, 1, 4, 4, dtype=torch.int64)).sum() == 0


def test_instance_means_are_means_over_instances():
    torch.manual_seed(0)
    features, ids = torch.randn(2, 3, 5, 6), torch.randint(0, 4, (2, 1, 5, 6))
    means = instance_means(features, ids)
    for b in range(2):
        for k in ids[b].unique():
            inside = (ids[b, 0] == k).expand(3, 5, 6)
            expected = features[b][inside].view(3, -1).mean(1)
            assert torch.allclose(
                means[b][inside].view(3, -1), expected[:, None].expand(3, int(inside[0].sum())), atol=1e-5
            )


def test_generator_of_the_paper_has_its_layers():
    """Appendix: c7s1-64, d128 … d1024, 9 R1024, u512 … u64; enhancer c7s1-32, d64, 3 R64, u32, c7s1-3."""
    with torch.device("meta"):
        net = CoarseToFine(3, 3, 64, 4, 9, 1, 3)
    whole = [m.out_channels for m in net.whole.net if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert whole == [64, 128, 256, 512, 1024, 512, 256, 128, 64, 3]
    fine = net.enhancers[0]
    assert [m.out_channels for m in (*fine.down, *fine.up) if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))] == [
        32,
        64,
        32,
    ]
    assert [m.out_channels for m in net.colours[0] if isinstance(m, nn.Conv2d)] == [3]
    assert len([m for m in fine.up if type(m).__name__ == "ResidualBlock"]) == 3


def cancelled(net):
    """Biases before instance norm, which takes them away again: the authors' program has them."""
    return sum(m.num_features for m in net.modules() if isinstance(m, nn.InstanceNorm2d))


def test_networks_have_as_many_parameters_as_the_authors():
    """Counted in their program with 35 classes and boundaries: LocalEnhancer, two discriminators, Encoder of three features."""
    with torch.device("meta"):
        system = Pix2PixHD(inputs=2, labels=35, instances=True, features=3)
        assert (
            sum(p.numel() for p in CoarseToFine(36, 3, 64, 4, 9, 1, 3).parameters()) - coloured(64)
            == 182_857_059 - 21_888
        )
    assert cancelled(system.G) == 21_888
    count = sum(p.numel() for p in system.D.parameters()) + sum(cancelled(d) for d in system.D)
    assert count == 5_603_202
    block = 2 * 256 * 256 * 9  # ours has one residual block
    assert sum(p.numel() for p in system.E.parameters()) + cancelled(system.E) - 2 * 256 - block == 788_803


def coloured(width):
    """The global generator's own last layer, with which it learns alone: the authors' program throws it away for the second phase."""
    return width * 3 * 49 + 3


def test_maps_of_the_discriminators_are_as_large_as_the_authors():
    with torch.device("meta"):
        net = Pix2PixHD(inputs=2, labels=35, instances=True).D[0]
        sizes = [tuple(m.shape[1:]) for m in net.features(torch.zeros(1, 39, 256, 512))]
    assert sizes == [(64, 129, 257), (128, 65, 129), (256, 33, 65), (512, 34, 66), (1, 35, 67)]
    assert loading.build({"system": "pix2pixhd", "hparams": TINY}).D[0].net[0].padding == (1, 1), (
        "as before it had a choice"
    )


@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_generator_keeps_sizes_that_are_not_square(enhancers):
    net = CoarseToFine(2, 3, 16, 1, 1, enhancers, 1)
    x = torch.randn(1, 2, 32, 48)
    assert net(x).shape == (1, 3, 32, 48)
    assert net(x).abs().max() <= 1
    assert torch.allclose(halved(torch.ones(1, 1, 6, 8)), torch.ones(1, 1, 3, 4))


@pytest.mark.parametrize("layers", [1, 2])
def test_objective_by_hand(layers):
    """The four maps of the authors' three layers count 1 each, and fewer count as much together (4 / (layers + 1) each)."""
    torch.manual_seed(0)
    keys = {**TINY, "features": 0, "scales": 2, "layers": layers, "shape": (3, 32, 32), "coarse": 0.0}
    system = Pix2PixHD(**keys, lr=1e-12)
    a, b = torch.rand(2, 1, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        fake = system.G(a)
        g = d = torch.zeros(())
        match = []
        real, false = torch.cat([a, b], 1), torch.cat([a, fake], 1)
        for net in system.D:
            r, f = net.features(real), net.features(false)
            assert torch.equal(r[-1], net(real))
            g = g + (f[-1] - 1).square().mean()
            d = d + 0.5 * (r[-1] - 1).square().mean() + 0.5 * f[-1].square().mean()
            match += [(x - y).abs().mean() for x, y in zip(r[:-1], f[:-1], strict=True)]
            real, false = halved(real), halved(false)
        assert len(r) == layers + 2, "the maps and the logits"
        g = g + 10 * 4 * sum(match) / len(match)
    update = Update(system)
    system.training_step({"a": a, "b": b}, update)
    (first, g_seen), (second, d_seen) = update.calls
    assert (first, second) == ("g", "d")
    assert g_seen == pytest.approx(g.item(), rel=1e-4)
    assert d_seen == pytest.approx(d.item(), rel=1e-4)


def test_feature_matching_teaches_the_generator_alone():
    """Its maps come from D, but D gets no gradient from it: D's loss is that of equation 2 and nothing else."""
    torch.manual_seed(0)
    with_it, without = (create(n, **{**TINY, "features": 0}) for n in ("pix2pixhd", "pix2pixhd-no-matching"))
    without.load_state_dict(with_it.state_dict())
    data, d = batch(), []
    for system in (with_it, without):
        system.coarse = 0.0
        update = Update(system)
        logs = system.training_step(data, update)
        assert ("matching" in logs) == (system is with_it)
        d.append(update.calls[1][1])
    assert d[0] == d[1]
    moved = [not torch.equal(p, q) for p, q in zip(with_it.G.parameters(), without.G.parameters(), strict=True)]
    assert any(moved)
    assert all(torch.equal(p, q) for p, q in zip(with_it.D.parameters(), without.D.parameters(), strict=True))


def test_the_global_generator_learns_first_and_at_its_own_size():
    torch.manual_seed(0)
    system, update = Pix2PixHD(**TINY), None
    update = Update(system)
    before = {k: v.clone() for k, v in system.G.named_parameters()}

    def moved():
        found = {k.split(".")[0] for k, v in system.G.named_parameters() if not torch.equal(v, before[k])}
        before.update({k: v.clone() for k, v in system.G.named_parameters()})
        return found

    sizes = []
    system.D[0].register_forward_hook(lambda m, args, out: sizes.append(args[0].shape[-1]))
    system.D[0].features = lambda x, f=system.D[0].features: (sizes.append(x.shape[-1]), f(x))[1]
    system.training_step(batch(), update)
    assert moved() == {"whole"}
    assert set(sizes) == {8}
    coarse = system.translate(batch()["a"])
    assert coarse.shape == (2, 3, 16, 16)
    assert torch.equal(coarse, F.interpolate(coarse[..., ::1], (16, 16)))
    update.progress = 0.5
    sizes.clear()
    system.training_step(batch(), update)
    assert moved() == {"whole", "enhancers", "colours"}
    assert set(sizes) == {16}


def test_labels_become_one_channel_each_and_wrong_ones_are_refused():
    system = Pix2PixHD(**{**TINY, "labels": 3})
    classes = torch.randint(0, 3, (2, 1, 16, 16))
    seen, ids = system._seen(numbers(classes))
    assert torch.equal(seen, F.one_hot(classes[:, 0], 3).permute(0, 3, 1, 2).float())
    assert ids.sum() == 0
    system.training_step({"a": numbers(classes), "b": batch()["b"]}, Update(system))
    with pytest.raises(UserError, match="hold class 200; with labels=3 there are 0 to 2"):
        system._seen(numbers(torch.full((1, 1, 16, 16), 200)))


def test_instances_are_seen_as_boundaries_and_have_features_of_their_own():
    torch.manual_seed(0)
    system = Pix2PixHD(**{**TINY, "inputs": 2, "labels": 2, "instances": True})
    ids = torch.zeros(1, 1, 16, 16, dtype=torch.int64)
    ids[..., 8:] = 5
    classes = (ids > 0).long()
    a, b = numbers(torch.cat([classes, ids], 1)), torch.rand(1, 3, 16, 16) * 2 - 1
    seen, read = system._seen(a)
    assert torch.equal(read, ids)
    assert torch.equal(seen[:, -1:], boundaries(ids))
    assert seen.shape[1] == 3
    update = Update(system)
    update.progress = 0.9
    system.training_step({"a": a, "b": b}, update)
    assert system.filled.tolist() == [1, 1], "one instance of each class"
    system.bank[:, 1], system.filled[:] = -system.bank[:, 0] + 1, 2
    system.eval()
    mean, one, again = (system.translate(a, variant=v) for v in (0, 1, 1))
    assert torch.equal(one, again)
    assert torch.equal(mean, system.translate(a))
    assert len({system.translate(a, variant=v).sum().item() for v in range(1, 9)}) > 1
    drawn = system._drawn(a, ids, 0)
    assert torch.allclose(drawn[0, :, 0, 0], system.bank[0, :2].mean(0))
    assert torch.allclose(drawn[0, :, 0, 15], system.bank[1, :2].mean(0))


def town(height, width, seed=0):
    """A label map whose objects are rectangles over a background, and their numbers, as side A holds them, float32 [2, H, W]."""
    rng = np.random.default_rng(seed)
    classes, ids = np.zeros((2, height, width), np.int64)
    for number in range(1, 12):
        y, x = rng.integers(0, height - 20), rng.integers(0, width - 20)
        here = slice(y, y + rng.integers(10, height // 2)), slice(x, x + rng.integers(10, width // 2))
        classes[here], ids[here] = 1 + number % 3, number
    return numbers(torch.from_numpy(np.stack([classes, ids])))


@pytest.mark.parametrize("kind", ["instances", "labels", "neither"])
def test_an_instance_has_the_same_features_in_tiles_of_every_size(kind):
    """A generator that shows the features it is given: whole, and in tiles, every pixel is the same."""
    torch.manual_seed(0)
    more = {"instances": {"inputs": 2, "labels": 4, "instances": True}, "labels": {"labels": 4}, "neither": {}}[kind]
    system = Pix2PixHD(**{**TINY, "features": 3, **more}).eval()
    system.bank.copy_(torch.rand(system.bank.shape) * 2 - 1)
    system.filled.copy_(torch.tensor([40, 600, 7, 1])[: len(system.filled)])
    system.fine.fill_(True)
    system.G.forward = lambda seen: seen[:, -3:]
    a = town(150, 230)[: system.inputs]
    shown = {}
    for variant in (0, 1, 2):
        (whole,) = genzoo.translate(system, [a], variant=variant, tile=1000)
        for tile, overlap in ((16, 0), (48, 16), (96, 32), (200, 64)):
            (parts,) = genzoo.translate(system, [a], variant=variant, tile=tile, overlap=overlap)
            assert torch.allclose(parts, whole, atol=1e-6), (variant, tile)
        shown[variant] = whole
    assert not torch.equal(shown[1], shown[2])
    if kind == "instances":
        found = [shown[1][:, (numbers(torch.tensor(n)) == a[1])] for n in range(12)]
        found = [f for f in found if f.shape[1]]
        assert all(torch.allclose(f, f[:, :1]) for f in found), "one instance, one feature"
        assert len({tuple(f[:, 0].tolist()) for f in found}) > 6, "instances of one class differ"
    else:
        assert torch.allclose(shown[1], shown[1][:, :1, :1]), "without instances the image has one feature"


def test_an_instance_number_that_two_classes_share_is_two_instances():
    """Things without numbers of their own (0 everywhere) do not add up."""
    torch.manual_seed(0)
    system = Pix2PixHD(**{**TINY, "inputs": 2, "labels": 2, "instances": True}).eval()
    system.bank.copy_(torch.rand(system.bank.shape))
    system.filled.fill_(BANK)
    classes = torch.zeros(1, 1, 16, 16, dtype=torch.int64)
    classes[..., 8:] = 1
    ids = torch.zeros_like(classes)
    for variant in (0, 5):
        drawn = system._drawn(numbers(torch.cat([classes, ids], 1)), ids, variant)
        for kind, column in ((0, 0), (1, 15)):
            wanted = system.bank[kind, place_of(5, kind, 0, BANK)] if variant else system.bank[kind].mean(0)
            assert torch.allclose(drawn[0, :, 3, column], wanted)


def test_the_encoder_learns_with_the_generator():
    torch.manual_seed(0)
    system = Pix2PixHD(**TINY)
    before = [p.clone() for p in system.E.parameters()]
    update = Update(system)
    update.progress = 0.9
    system.training_step(batch(), update)
    assert any(not torch.equal(p, q) for p, q in zip(system.E.parameters(), before, strict=True))
    assert int(system.filled) == 2


def test_a_frozen_network_adds_its_term():
    torch.manual_seed(0)
    system = Pix2PixHD(**{**TINY, "shape": (3, 32, 32), "coarse": 0.0}, perceptual="vgg16-random")
    logs = system.training_step({"a": torch.rand(1, 1, 32, 32), "b": torch.rand(1, 3, 32, 32)}, Update(system))
    assert logs["perceptual"] > 0
    assert not any("vgg" in k for k in system.state_dict())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"shape": (3, 18, 16)}, "multiples of 4"),
        ({"width": 9}, "multiple of 2"),
        ({"labels": 3, "inputs": 3}, "inputs=3 is not possible"),
        ({"instances": True, "inputs": 1}, "inputs=1 is not possible"),
    ],
)
def test_what_is_impossible_is_said(keys, words):
    with pytest.raises(UserError, match=words):
        Pix2PixHD(**{**TINY, **keys})
    with pytest.raises(UserError, match="one answer for every input"):
        Pix2PixHD(**{**TINY, "features": 0}).translate(torch.zeros(1, 1, 16, 16), variant=1)
