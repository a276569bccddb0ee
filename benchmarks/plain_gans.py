"""GAN training loops written by hand with PyTorch's own layers, after the published programs: what bench_gans.py compares with.

Nets have the sizes of genzoo's (`bench_gans.py` checks the numbers of parameters), the default memory format and default Adam. Every loop
has the algorithm of its paper, which draws new z for the generator's step, and reads its losses with `.item()`:

* wgan-gp, as the PyTorch programs of arXiv:1704.00028 do it: a backward pass each for real, generated and interpolated images; the
  generator runs without gradients in the critic's steps; the critic is frozen in the generator's.
* infogan: DCGAN's nets and steps with R1 as the program of arXiv:1801.04406 takes it (backward of the loss with the graph kept, then of the
  penalty); D is frozen in the generator's step.
* stylegan2, as the PyTorch programs of arXiv:1912.04958 do it where there are no CUDA kernels: weights modulated and demodulated for each
  example in one grouped convolution, filters applied to B · C images of one channel, R1 and path length as steps of their own,
  D or G frozen where the other learns, and a running average of the generator's weights.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

Loop = tuple[list[nn.Module], Callable[[Tensor], None]]
"""The nets, and one step on a batch of real images [B, 3, size, size]."""


def dcgan_nets(size: int, width: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Generator, and the discriminator's convolutions without norms, for squares of 8, 16, 32 or 64 pixels."""
    k = int(math.log2(size / 4))
    channels = [width * min(2**i, 8) for i in reversed(range(k))]
    g: list[nn.Module] = [nn.ConvTranspose2d(latent, channels[0], 4, 1, 0, bias=False)]
    for a, b in zip(channels, [*channels[1:], None], strict=True):
        g += [nn.BatchNorm2d(a), nn.ReLU(True), nn.ConvTranspose2d(a, b or 3, 4, 2, 1, bias=b is None)]
    d: list[nn.Module] = []
    for a, b in itertools.pairwise([3, *reversed(channels)]):
        d += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    return nn.Sequential(*g, nn.Tanh()), nn.Sequential(*d, nn.Flatten())


def learns(net: nn.Module, yes: bool) -> None:
    """Freeze a net or let it learn."""
    for p in net.parameters():
        p.requires_grad = yes


def wgan_gp(size: int, width: int) -> Loop:
    """Five steps of the critic for one of the generator."""
    g, body = dcgan_nets(size, width, 100)
    d = nn.Sequential(body, nn.Linear(body(torch.zeros(1, 3, size, size)).shape[1], 1))
    of_g, of_d = (Adam(net.parameters(), lr=1e-4, betas=(0.0, 0.9)) for net in (g, d))
    count = itertools.count(1)

    def step(real: Tensor) -> None:
        learns(d, True)
        d.zero_grad()
        on_real = d(real).mean()
        (-on_real).backward()
        with torch.no_grad():
            fake = g(torch.randn(len(real), 100, 1, 1))
        on_fake = d(fake).mean()
        on_fake.backward()
        share = torch.rand(len(real), 1, 1, 1)
        between = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)
        penalty = 10 * ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        penalty.backward()
        of_d.step()
        _ = (on_fake - on_real + penalty).item(), on_real.item(), on_fake.item()
        if next(count) % 5 == 0:
            learns(d, False)
            g.zero_grad()
            loss = -d(g(torch.randn(len(real), 100, 1, 1))).mean()
            loss.backward()
            of_g.step()
            _ = loss.item()

    return [g, d], step


def infogan(size: int, width: int) -> Loop:
    """A step of D and Q, then one of G."""
    g, body = dcgan_nets(size, width, 74)
    deep = body(torch.zeros(1, 3, size, size)).shape[1]
    score, q = nn.Linear(deep, 1), nn.Sequential(nn.Linear(deep, 128), nn.LeakyReLU(0.2), nn.Linear(128, 12))
    d = nn.ModuleList([body, score, q])
    of_g, of_d = (Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.99)) for net in (g, d))

    def draw(n: int) -> tuple[Tensor, Tensor, Tensor]:
        which, numbers = torch.randint(10, (n,)), torch.rand(n, 2) * 2 - 1
        z = torch.cat([torch.randn(n, 62), F.one_hot(which, 10).float(), numbers], 1)
        return z.view(n, 74, 1, 1), which, numbers

    def judged(h: Tensor, real: float, which: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        x, code = score(h).squeeze(1), q(h)
        information = -F.cross_entropy(code[:, :10], which) - 0.5 * (code[:, 10:] - numbers).square().sum(1).mean()
        return F.binary_cross_entropy_with_logits(x, torch.full_like(x, real)), information

    def step(real: Tensor) -> None:
        learns(d, True)
        d.zero_grad()
        real.requires_grad_()
        x = score(body(real)).squeeze(1)
        on_real = F.binary_cross_entropy_with_logits(x, torch.ones_like(x))
        on_real.backward(retain_graph=True)
        (slope,) = torch.autograd.grad(x.sum(), real, create_graph=True)
        r1 = 0.5 * slope.flatten(1).square().sum(1).mean()
        r1.backward()
        z, which, numbers = draw(len(real))
        with torch.no_grad():
            fake = g(z)
        on_fake, information = judged(body(fake), 0.0, which, numbers)
        (on_fake - information).backward()
        of_d.step()
        learns(d, False)
        g.zero_grad()
        z, which, numbers = draw(len(real))
        fooled, information = judged(body(g(z)), 1.0, which, numbers)
        (fooled - information).backward()
        of_g.step()
        _ = on_real.item() + on_fake.item(), r1.item(), fooled.item(), information.item()

    return [g, d], step


class Linear(nn.Module):
    """Dense, with an equalized rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs] to [B, outputs]."""
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier with its gain."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def filtered(x: Tensor, kernel: Tensor, pads: tuple[int, int], up: int = 1) -> Tensor:
    """Insert zeros, pad, convolve every channel with `kernel`."""
    b, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(b * c, 1, h, 1, w, 1), [0, up - 1, 0, 0, 0, up - 1]).reshape(b * c, 1, h * up, w * up)
    x = F.pad(x.reshape(b * c, 1, h * up, w * up), [pads[0], pads[1], pads[0], pads[1]])
    return F.conv2d(x, kernel.flip(0, 1)[None, None]).reshape(b, c, *(n * up + sum(pads) - 3 for n in (h, w)))


class Conv(nn.Module):
    """Convolution with an equalized rate; `halve` filters first and has stride 2."""

    kernel: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, *, halve: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale, self.side, self.halve = 1 / math.sqrt(inputs * side * side), side, halve
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(row, row))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H', W']."""
        if not self.halve:
            return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.side // 2)
        extra = self.side - 1
        x = filtered(x, self.kernel, (1 + math.ceil(extra / 2), 1 + extra // 2))
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=2)


class Modulated(nn.Module):
    """Convolution with a style's weights for each example (arXiv:1912.04958, equations 1 to 3)."""

    kernel: Tensor

    def __init__(
        self, inputs: int, outputs: int, side: int, latent: int, *, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, side, side))
        self.style = Linear(latent, inputs, bias=1.0)
        self.scale, self.up, self.demodulate = 1 / math.sqrt(inputs * side * side), up, demodulate
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H', W']."""
        b, i, h, wide = x.shape
        weight = self.scale * self.weight * self.style(w).view(b, 1, i, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8).view(b, -1, 1, 1, 1)
        _, o, _, k, _ = weight.shape
        x = x.reshape(1, b * i, h, wide)
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
            return filtered(x.view(b, o, 2 * h + 1, 2 * wide + 1), self.kernel, (1, 1))
        return F.conv2d(x, weight.view(b * o, i, k, k), padding=k // 2, groups=b).view(b, o, h, wide)


class Styled(nn.Module):
    """Modulated convolution, noise, bias, rectifier."""

    def __init__(self, inputs: int, outputs: int, latent: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, 3, latent, up=up)
        self.strength, self.bias = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H', W']."""
        x = self.conv(x, w)
        x = x + self.strength * torch.randn(len(x), 1, *x.shape[2:])
        return rectified(x + self.bias)


class Generator(nn.Module):
    """Mapping and synthesis."""

    kernel: Tensor

    def __init__(self, widths: list[int], latent: int) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(Linear(latent, latent, rate=0.01) for _ in range(8))
        self.const = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        layers = [Styled(widths[0], widths[0], latent)]
        for a, b in itertools.pairwise(widths):
            layers += [Styled(a, b, latent, up=True), Styled(b, b, latent)]
        self.layers = nn.ModuleList(layers)
        self.pixels = nn.ModuleList(Modulated(w, 3, 1, latent, demodulate=False) for w in widths)
        self.bias = nn.ParameterList(torch.zeros(1, 3, 1, 1) for _ in widths)
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(row, row))

    def styles(self, n: int, latent: int) -> Tensor:
        """Draw w [n, layers + 1, latent], mixed nine times in ten."""
        w = []
        for _ in range(2):
            x = torch.randn(n, latent)
            x = x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-8)
            for layer in self.mapping:
                x = rectified(layer(x))
            w.append(x[:, None])
        total = len(self.layers) + 1
        cut = int(torch.randint(1, total, ())) if torch.rand(()) < 0.9 else total
        return torch.cat([w[0].repeat(1, cut, 1), w[1].repeat(1, total - cut, 1)], 1)

    def forward(self, w: Tensor) -> Tensor:
        """Images of styles."""
        x = self.layers[0](self.const.repeat(len(w), 1, 1, 1), w[:, 0])
        image = self.pixels[0](x, w[:, 1]) + self.bias[0]
        for k in range(1, len(self.pixels)):
            x = self.layers[2 * k - 1](x, w[:, 2 * k - 1])
            x = self.layers[2 * k](x, w[:, 2 * k])
            new = self.pixels[k](x, w[:, 2 * k + 1]) + self.bias[k]
            image = filtered(image, self.kernel, (2, 1), 2) + new
        return image


class Critic(nn.Module):
    """The residual discriminator."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        first, pairs = widths[0], list(itertools.pairwise(reversed(widths)))
        self.pixels = Conv(3, widths[-1], 1)
        self.one = nn.ModuleList(Conv(a, a, 3) for a, b in pairs)
        self.two = nn.ModuleList(Conv(a, b, 3, halve=True) for a, b in pairs)
        self.skip = nn.ModuleList(Conv(a, b, 1, halve=True, bias=False) for a, b in pairs)
        self.last, self.dense, self.score = Conv(first + 1, first, 3), Linear(first * 16, first), Linear(first, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [B]."""
        x = rectified(self.pixels(x))
        for one, two, skip in zip(self.one, self.two, self.skip, strict=True):
            x = (rectified(two(rectified(one(x)))) + skip(x)) / math.sqrt(2)
        c, h, w = x.shape[1:]
        spread = torch.sqrt(x.view(4, -1, 1, c, h, w).var(0, unbiased=False) + 1e-8).mean([2, 3, 4], keepdim=True)
        x = torch.cat([x, spread.squeeze(2).repeat(4, 1, h, w)], 1)
        x = rectified(self.dense(rectified(self.last(x)).flatten(1)))
        return self.score(x).squeeze(1)


def stylegan2(size: int, width: int, latent: int = 128, most: int = 128) -> Loop:
    """A step of each, R1 every 16th and path length every 8th."""
    levels = int(math.log2(size / 4))
    widths = [min(width * 2 ** (levels - k), most) for k in range(levels + 1)]
    g, d = Generator(widths, latent), Critic(widths)
    kept = copy.deepcopy(g)
    of_g, of_d = (Adam(net.parameters(), lr=2e-3 * c, betas=(0.0, 0.99**c)) for net, c in ((g, 8 / 9), (d, 16 / 17)))
    count, length = itertools.count(), torch.zeros(())

    def step(real: Tensor) -> None:
        nonlocal length
        i, n = next(count), len(real)
        learns(g, False)
        learns(d, True)
        on_fake, on_real = d(g(g.styles(n, latent))), d(real)
        d_loss = F.softplus(on_fake).mean() + F.softplus(-on_real).mean()
        d.zero_grad()
        d_loss.backward()
        of_d.step()
        if i % 16 == 0:
            real.requires_grad_()
            (slope,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)
            r1 = 0.5 * slope.pow(2).reshape(n, -1).sum(1).mean()
            d.zero_grad()
            (16 * r1).backward()
            of_d.step()
            _ = r1.item()
        learns(g, True)
        learns(d, False)
        g_loss = F.softplus(-d(g(g.styles(n, latent)))).mean()
        g.zero_grad()
        g_loss.backward()
        of_g.step()
        if i % 8 == 0:
            w = g.styles(max(1, n // 2), latent)
            image = g(w)
            noise = torch.randn_like(image) / math.sqrt(size * size)
            (slope,) = torch.autograd.grad((image * noise).sum(), w, create_graph=True)
            lengths = torch.sqrt(slope.pow(2).sum(2).mean(1))
            length = (length + 0.01 * (lengths.mean() - length)).detach()
            g.zero_grad()
            (8 * 2 * (lengths - length).pow(2).mean()).backward()
            of_g.step()
            _ = lengths.mean().item()
        with torch.no_grad():
            for a, b in zip(kept.parameters(), g.parameters(), strict=True):
                a.mul_(0.999).add_(b, alpha=0.001)
        _ = d_loss.item(), g_loss.item(), on_real.mean().item(), on_fake.mean().item()

    return [g, d], step


LOOPS: dict[str, Callable[[int, int], Loop]] = {"wgan-gp": wgan_gp, "infogan": infogan, "stylegan2": stylegan2}
