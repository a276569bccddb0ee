"""CycleGAN: the image pool's law, the two networks, the objective and its ablations."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from genzoo.core.errors import UserError
from genzoo.models.translation._image_pool import ImagePool
from genzoo.models.translation.cyclegan import CycleGAN
from genzoo.naming.registry import create
from genzoo.nn.gan.patchgan import PatchGAN
from genzoo.nn.gan.resnet_generator import ResnetGenerator

TINY = {"shape": (3, 8, 8), "width": 4, "blocks": 1, "layers": 1, "pool": 3}


class Update:
    """The trainer's update, without the trainer."""

    def __init__(self, system):
        self.optimizers = system.optimizers()
        self.step, self.steps, self.progress, self.calls = 0, 10, 0.0, []

    def __call__(self, name, loss):
        owned = [p for g in self.optimizers[name].param_groups for p in g["params"]]
        for p in owned:
            p.grad = None
        loss.backward(inputs=owned)
        self.optimizers[name].step()
        self.calls.append((name, loss.item()))


def image(value, n=1):
    return torch.full((n, 1, 2, 2), float(value))


def batch(n=2, shape=(3, 8, 8)):
    return {"a": torch.rand(n, *shape) * 2 - 1, "b": torch.rand(n, *shape) * 2 - 1}


def test_networks_have_as_many_parameters_as_the_authors():
    """Of their PyTorch program, whose convolutions have biases that instance norm takes away again: 11,378,179 and 2,764,737."""
    with torch.device("meta"):
        nets = ResnetGenerator(3, 3, 64, 9), PatchGAN(3, 64, 3)
    counts = []
    for net in nets:
        norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
        assert not any(m.affine for m in norms)
        counts.append(sum(p.numel() for p in net.parameters()) + sum(m.num_features for m in norms))
    assert counts == [11_378_179, 2_764_737]


def test_pool_fills_first_and_answers_what_it_is_given():
    pool = ImagePool(4, (1, 2, 2))
    for i in range(4):
        assert pool(image(i)).mean() == i
        assert pool.count == i + 1
    assert pool.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_pool_law():
    """Once full: the new image with p = 1/2 (pool untouched), else an old one that the new one replaces."""
    torch.manual_seed(0)
    size, pool = 5, ImagePool(5, (1, 2, 2))
    kept = set()
    for i in range(size):
        pool(image(i))
        kept.add(i)
    new = 0
    for i in range(size, 2005):
        answer = int(pool(image(i)).mean())
        assert answer == i or answer in kept
        if answer == i:
            new += 1
        else:
            kept = kept - {answer} | {i}
        assert {int(v) for v in pool.images[:, 0, 0, 0]} == kept  # never more, never fewer, nothing twice
        assert pool.count == size
    assert 900 < new < 1100


def test_pool_takes_a_batch_one_by_one_and_tracks_no_gradient():
    torch.manual_seed(1)
    pool = ImagePool(2, (1, 2, 2))
    x = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 2, 2).clone().requires_grad_()
    answer = pool(x)
    assert answer.shape == x.shape
    assert not answer.requires_grad
    assert answer[:2, 0, 0, 0].tolist() == [0, 1]
    assert pool.count == 2


def test_pool_of_size_zero_is_no_pool():
    x = torch.randn(3, 1, 2, 2, requires_grad=True)
    pool = ImagePool(0, (1, 2, 2))
    assert torch.equal(pool(x), x)
    assert not pool(x).requires_grad
    assert pool.count == 0


def test_pool_is_resumed_with_the_training_and_is_no_part_of_the_model():
    """A run's state holds all buffers, its model the persistent ones; models that were written with pools still load."""
    torch.manual_seed(0)
    pool, other = ImagePool(3, (1, 2, 2)), ImagePool(3, (1, 2, 2))
    for i in range(7):
        pool(image(i))
    assert set(dict(pool.named_buffers())) == {"images", "count"}
    assert pool.state_dict() == {}
    other.load_state_dict({"images": torch.ones(3, 1, 2, 2), "count": torch.tensor(3)})
    assert other.count == 0
    for mine, theirs in zip(pool.buffers(), other.buffers(), strict=True):
        theirs.copy_(mine)
    for i in range(7, 30):
        state = torch.get_rng_state()
        a = pool(image(i))
        torch.set_rng_state(state)
        assert torch.equal(a, other(image(i)))
    assert torch.equal(pool.images, other.images)
    assert not any("pool" in name for name in CycleGAN(**TINY).state_dict())


@pytest.mark.parametrize(("layers", "side"), [(0, 1), (1, 16), (2, 34), (3, 70)])
def test_a_patch_logit_sees_exactly_its_patch(layers, side):
    torch.manual_seed(0)
    net = PatchGAN(1, width=2, layers=layers, norm=None)
    x = torch.randn(1, 1, 144, 144, requires_grad=True)
    y = net(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    seen = x.grad[0, 0] != 0
    assert seen.any(1).sum() == side
    assert seen.any(0).sum() == side


def test_patchgan_of_the_paper_gives_30_by_30_at_256():
    assert PatchGAN(3, width=4)(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_generator_keeps_size_and_has_no_running_statistics():
    net = ResnetGenerator(3, 3, width=4, blocks=2)
    x = torch.randn(1, 3, 12, 20)
    assert net(x).shape == x.shape
    assert net(x).abs().max() <= 1
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert len(norms) == 3 + 2 * 2 + 2
    assert not any(m.affine or m.track_running_stats for m in norms)
    assert not list(net.buffers())
    assert torch.equal(net.train()(x), net.eval()(x))


def test_step_order_and_ownership():
    torch.manual_seed(0)
    system = CycleGAN(**TINY)
    before = {k: v.clone() for k, v in system.named_parameters()}
    update = Update(system)
    logs = system.training_step(batch(), update)
    assert [name for name, _ in update.calls] == ["g", "d"]
    assert set(logs) == {"g_loss", "d_loss", "g_a2b", "g_b2a", "cycle", "identity"}
    assert all(not v.requires_grad and torch.isfinite(v) for v in logs.values())
    moved = {k.split(".")[0] for k, v in system.named_parameters() if not torch.equal(v, before[k])}
    assert moved == {"a2b", "b2a", "D_a", "D_b"}
    assert system.pool_a.count == system.pool_b.count == 2


def test_objective_by_hand():
    torch.manual_seed(0)
    system, data = CycleGAN(**TINY), batch()
    a, b = data["a"], data["b"]
    with torch.no_grad():
        fake_b, fake_a = system.a2b(a), system.b2a(b)
        fool = (system.D_b(fake_b) - 1).square().mean() + (system.D_a(fake_a) - 1).square().mean()
        cycle = F.l1_loss(system.b2a(fake_b), a) + F.l1_loss(system.a2b(fake_a), b)
        same = F.l1_loss(system.a2b(b), b) + F.l1_loss(system.b2a(a), a)
        g = fool + 10 * cycle + 5 * same
        d = 0.0
        for net, real, fake in ((system.D_a, a, fake_a), (system.D_b, b, fake_b)):
            d += 0.5 * (net(real) - 1).square().mean() + 0.5 * net(fake).square().mean()
    update = Update(system)
    system.training_step(data, update)
    (_, g_seen), (_, d_seen) = update.calls
    assert g_seen == pytest.approx(g.item(), rel=1e-5)
    assert d_seen == pytest.approx(d.item(), rel=1e-5)


def test_ablations_leave_their_term_out():
    for name, terms in (("cyclegan-no-cycle", set()), ("cyclegan-no-identity", {"cycle"})):
        logs = create(name, **TINY)
        logs = logs.training_step(batch(), Update(logs))
        assert set(logs) - {"g_loss", "d_loss", "g_a2b", "g_b2a"} == terms


def test_learning_rate_is_constant_then_falls_to_nothing():
    scale = CycleGAN(**TINY).lr_scale
    assert [scale(p) for p in (0.0, 0.25, 0.5, 0.75)] == [1, 1, 1, 0.5]
    assert scale(0.999) == pytest.approx(0.002)
    assert scale(1.0) == 0


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 20), (4, 16, 12)])
def test_translate(shape):
    system = CycleGAN(**{**TINY, "shape": shape}).eval()
    x = torch.rand(2, *shape) * 2 - 1
    there, back = system.translate(x), system.translate(x, direction="b2a")
    assert there.shape == back.shape == x.shape
    assert there.abs().max() <= 1
    assert not torch.equal(there, back)
    assert torch.equal(there, system.translate(x, direction="a2b"))
    with pytest.raises(UserError, match="a2b or b2a"):
        system.translate(x, direction="a2c")
    with pytest.raises(UserError, match="multiples of 4"):
        system.translate(torch.zeros(1, shape[0], 10, 12))


@pytest.mark.parametrize("shape", [(3, 30, 32), (3, 20, 20)])
def test_impossible_sizes_are_refused_with_the_possible_ones(shape):
    with pytest.raises(UserError, match="multiples of 4, from 24 on"):
        CycleGAN(shape=shape, width=4, blocks=1)


def test_cycle_loss_teaches_the_way_back():
    """A few steps bring the round trip closer; without the cycle term the same steps do not."""
    errors = {}
    for name in ("cyclegan", "cyclegan-no-cycle"):
        torch.manual_seed(0)
        system = create(name, **{**TINY, "width": 8}, lr=2e-3)
        update = Update(system)
        for _ in range(50):
            a, b = batch(4).values()
            system.training_step({"a": a, "b": b}, update)
        home = system.translate(system.translate(a), direction="b2a")
        errors[name] = F.l1_loss(home, a).item()
    assert errors["cyclegan"] < 0.85 * errors["cyclegan-no-cycle"]
