"""Glow of two other programs, stated again with their names for tensors."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def squeezed(x):
    b, c, h, v = x.shape
    return x.view(b, c, h // 2, 2, v // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(b, 4 * c, h // 2, v // 2)


def rotated(w, x, names):
    """An invertible 1x1 convolution: of one weight, or of the factors P, L, U, s and signs; return it and log|det| of a pixel."""
    c = x.shape[1]
    if len(names) == 1:
        shape = (c, c, 1, 1) if names[0].startswith("blocks") else (c, c)
        k = w(names[0], *shape, spread=0.2).add_(0 if names[0] in w.seen else torch.eye(c).view(shape)).view(c, c)
        w.seen.add(names[0])
    else:
        w.setdefault(names[0], torch.eye(c)[torch.randperm(c, generator=w.generator)])
        w.setdefault(names[4], torch.randn(c, generator=w.generator).sign())
        lower, upper, s = w(names[1], c, c, spread=0.1), w(names[2], c, c, spread=0.1), w(names[3], c, spread=0.1)
        k = w[names[0]] @ (lower.tril(-1) + torch.eye(c)) @ (upper.triu(1) + torch.diag(w[names[4]] * s.exp()))
    return F.conv2d(x, k[:, :, None, None]), torch.linalg.slogdet(k)[1]


def normal(x, mean, log_std):
    return (-0.5 * ((x - mean) / log_std.exp()).square() - log_std - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def coupled(x, answer, affine, crossed):
    """Move and scale the second half of channels by what a net makes of the first; return it and log|det|."""
    a, b = x.chunk(2, 1)
    h = answer(a)
    if not affine:
        return torch.cat([a, b + h], 1), 0
    s, t = (h[:, 1::2], h[:, ::2]) if crossed else h.chunk(2, 1)
    s = torch.sigmoid(s + 2)
    return torch.cat([a, (b + t) * s], 1), s.log().flatten(1).sum(1)


def glow_rosinality(w, u, width, steps, scales, affine, lu):
    """Return the log-density of images in [0, 1]."""
    w.seen, y, total = set(), u - 0.5, 0

    def zeroed(x, name, outputs):
        x = w.conv(F.pad(x, [1] * 4, value=1), f"{name}.conv", outputs, 3)
        return x * (3 * w(f"{name}.scale", 1, outputs, 1, 1, spread=0.1)).exp()

    for i in range(scales):
        y = squeezed(y)
        c, pixels = y.shape[1], y[0, 0].numel()
        for k in range(steps):
            root = f"blocks.{i}.flows.{k}"
            w[f"{root}.actnorm.initialized"] = torch.tensor(1)
            signs = 1.0 - 2 * (torch.arange(c) % 3 == 0).float().view(1, c, 1, 1)
            w.setdefault(f"{root}.actnorm.scale", signs * w(f"{root}.size", 1, c, 1, 1, around=1.0, spread=0.1))
            scale = w[f"{root}.actnorm.scale"]
            w.pop(f"{root}.size", None)
            y = scale * (y + w(f"{root}.actnorm.loc", 1, c, 1, 1))
            names = ("w_p", "w_l", "w_u", "w_s", "s_sign") if lu else ("weight",)
            y, each = rotated(w, y, [f"{root}.invconv.{n}" for n in names])
            if lu:
                masks = {"u_mask": torch.ones(c, c).triu(1), "l_mask": torch.ones(c, c).tril(-1), "l_eye": torch.eye(c)}
                w.update({f"{root}.invconv.{n}": t for n, t in masks.items()})

            def net(x, root=f"{root}.coupling.net", outputs=c if affine else c // 2):
                x = F.relu(w.conv(x, f"{root}.0", width, 3, padding=1))
                return zeroed(F.relu(w.conv(x, f"{root}.2", width, 1)), f"{root}.4", outputs)

            y, more = coupled(y, net, affine, False)
            total = total + pixels * (scale.abs().log().sum() + each) + more
        last = i == scales - 1
        y, leaving = (y, y) if last else y.chunk(2, 1)
        moments = zeroed(torch.zeros_like(y) if last else y, f"blocks.{i}.prior", 2 * leaving.shape[1])
        total = total + normal(leaving, *moments.chunk(2, 1))
    return total


def glow_chaiyujin(w, u, width, steps, scales, affine, lu, top):
    """Return the log-density of images in [0, 1]."""
    w.seen, y, total, at = set(), u, 0, 0

    def norm(x, name):
        c = x.shape[1]
        return (x + w(f"{name}.bias", 1, c, 1, 1)) * w(f"{name}.logs", 1, c, 1, 1, spread=0.1).exp()

    def zeroed(x, name, outputs):
        x = w.conv(x, name, outputs, 3, padding=1)
        return x * (3 * w(f"{name}.logs", outputs, 1, 1, spread=0.1)).exp()

    for i in range(scales):
        y, at = squeezed(y), at + 1
        c, pixels = y.shape[1], y[0, 0].numel()
        for _ in range(steps):
            root, at = f"flow.layers.{at}", at + 1
            y = norm(y, f"{root}.actnorm")
            names = ("p", "l", "u", "log_s", "sign_s") if lu else ("weight",)
            y, each = rotated(w, y, [f"{root}.invconv.{n}" for n in names])

            def net(x, root=f"{root}.f", outputs=c if affine else c // 2):
                x = F.relu(norm(w.conv(x, f"{root}.0", width, 3, bias=False, padding=1), f"{root}.0.actnorm"))
                x = F.relu(norm(w.conv(x, f"{root}.2", width, 1, bias=False), f"{root}.2.actnorm"))
                return zeroed(x, f"{root}.4", outputs)

            y, more = coupled(y, net, affine, True)
            total = total + pixels * (w[f"{root}.actnorm.logs"].sum() + each) + more
        if i < scales - 1:
            y, leaving = y.chunk(2, 1)
            h, at = zeroed(y, f"flow.layers.{at}.conv", c), at + 1
            total = total + normal(leaving, h[:, ::2], h[:, 1::2])
    w["prior_h"] = torch.zeros(2, 2 * y.shape[1], *y.shape[2:])
    h = zeroed(torch.cat([y, y], 1) * 0, "learn_top", 2 * y.shape[1]) if top else torch.cat([y, y], 1) * 0
    return total + normal(y, *h.chunk(2, 1))
