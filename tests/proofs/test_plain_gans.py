"""The loops that bench_gans.py compares with are the algorithms and nets that they say they are."""

import pytest
import torch

import genzoo
from benchmarks import plain_gans
from genzoo.losses.penalties import gradient_penalty
from genzoo.nn.gan.styles import fresh_noise


@pytest.fixture
def stylegan2():
    """genzoo's nets and those by hand with the same weights, as they start: biases and noise 0."""
    torch.manual_seed(0)
    ours = genzoo.create("stylegan2", shape=(3, 16, 16), width=4, most=8, latent=6)
    widths = [8, 8, 4]
    g, d = plain_gans.Generator(widths, 6), plain_gans.Critic(widths)

    def copy(to, source):
        for name, p in to.named_parameters():
            p.data.copy_(source.get_parameter(name).data)

    with torch.no_grad():
        for to, source in zip(g.mapping, ours.F.layers, strict=True):
            copy(to, source)
        g.const.copy_(ours.G.const)
        layers = [layer for block in ours.G.blocks for layer in block]
        for to, source in [*zip(g.layers, layers, strict=True), *zip(g.pixels, ours.G.pixels, strict=True)]:
            to, source = (getattr(x, "conv", x) for x in (to, source))
            # A transposed convolution is another name for one with its weights turned round.
            to.weight.copy_(source.weight.flip(2, 3) if source.up else source.weight)
            copy(to.style, source.style)
        copy(d.pixels, ours.D.pixels[0])
        for k, (one, two, skip) in enumerate(zip(d.one, d.two, d.skip, strict=True)):
            at = len(d.one) - 1 - k
            copy(one, ours.D.blocks[at][0])
            copy(two, ours.D.blocks[at][1])
            copy(skip, ours.D.skips[at])
        for name in ("last", "dense", "score"):
            copy(getattr(d, name), getattr(ours.D, name))
    return ours, g, d


def test_stylegan2_by_hand_is_genzoos(stylegan2):
    ours, g, d = stylegan2
    z = torch.randn(8, 6)
    w = ours.F(z, None)
    x = z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-8)
    for layer in g.mapping:
        x = plain_gans.rectified(layer(x))
    assert torch.allclose(x, w, atol=1e-5)
    styles = torch.randn(8, 6, 6)
    image = ours.G(styles, fresh_noise)
    assert image.std() > 0.1
    assert torch.allclose(g(styles), image, atol=1e-4)
    assert torch.allclose(d(image), ours.D(image), atol=1e-4)


@pytest.mark.parametrize("name", plain_gans.LOOPS)
def test_every_loop_by_hand_trains_all_its_nets(name):
    torch.manual_seed(0)
    nets, step = plain_gans.LOOPS[name](16, 4)
    before = [[p.detach().clone() for p in net.parameters()] for net in nets]
    for _ in range(5):
        step(torch.rand(4, 3, 16, 16) * 2 - 1)
    for net, old in zip(nets, before, strict=True):
        now = list(net.parameters())
        assert all(p.isfinite().all() for p in now)
        still = sum(torch.equal(p, q) for p, q in zip(now, old, strict=True))
        assert still == (
            name == "wgan-gp" and net is nets[1]
        )  # the last bias: scores of real and generated images cancel it


def test_the_critic_by_hand_takes_the_step_of_the_papers_loss(monkeypatch):
    """Three backward passes add up to the gradient of the one loss."""
    torch.manual_seed(0)
    (g, d), step = plain_gans.wgan_gp(16, 4)
    real = torch.rand(4, 3, 16, 16) * 2 - 1
    with torch.random.fork_rng():
        fake = g(torch.randn(4, 100, 1, 1)).detach()
        loss = d(fake).mean() - d(real).mean() + 10 * gradient_penalty(lambda x: d(x).squeeze(1), real, fake)
    expected = torch.autograd.grad(loss, list(d.parameters()), allow_unused=True)
    seen = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: seen.append([p.grad for p in d.parameters()]))
    step(real)
    for a, b in zip(seen[0], expected, strict=True):
        assert torch.allclose(a, b if b is not None else torch.zeros_like(a), atol=1e-5)
