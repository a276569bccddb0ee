"""Adaptive discriminator augmentation (Karras et al. arXiv:2006.06676): random changes of a probability that follows overfitting."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.nn.gan.upfirdn import SYM6, upfirdn
from genzoo.ranks.sums import ranks, sum_over_ranks

RIM = len(SYM6) // 4
"""Pixels around the picture that are made and cut off again, so that halving sees whole neighbourhoods."""


def bilinear(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Read [B, C, H, W] at positions [B, h, w] (rows in 0 … H − 1): [B, C, h, w], black outside, as `grid_sample` does.

    Made of gathers, whose gradients have gradients (`grid_sample` has only the first).
    """
    x = F.pad(x, (1, 1, 1, 1))
    h, w = x.shape[2:]
    rows, columns = (rows + 1).clamp(0, h - 1), (columns + 1).clamp(0, w - 1)
    top, left = rows.floor().clamp(max=h - 2), columns.floor().clamp(max=w - 2)
    y, z = (rows - top)[:, None].to(x.dtype), (columns - left)[:, None].to(x.dtype)
    flat = x.flatten(2)

    def at(down: int, right: int) -> Tensor:
        index = ((top.long() + down) * w + left.long() + right).flatten(1)[:, None].expand(-1, x.shape[1], -1)
        return flat.gather(2, index).unflatten(2, rows.shape[1:])

    upper, lower = (one + (other - one) * z for one, other in ((at(d, 0), at(d, 1)) for d in (0, 1)))
    return upper + (lower - upper) * y


def _matrix(*rows: tuple[Tensor | float, Tensor | float, Tensor | float], like: Tensor) -> Tensor:
    """Return [B, 3, 3] from the first two rows."""
    cells = [torch.as_tensor(v, device=like.device, dtype=like.dtype).expand(len(like)) for row in rows for v in row]
    zero, one = torch.zeros_like(like), torch.ones_like(like)
    return torch.stack([*cells, zero, zero, one], 1).view(-1, 3, 3)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices [B, 3, 3] that scale columns by x [B] and rows by y [B]."""
    return _matrix((x, 0, 0), (0, y, 0), like=x)


def rotation(angle: Tensor) -> Tensor:
    """Return the matrices [B, 3, 3] that rotate by `angle` [B]."""
    c, s = angle.cos(), angle.sin()
    return _matrix((c, -s, 0), (s, c, 0), like=angle)


def shift(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrices [B, 3, 3] that move by x columns and y rows, [B] each."""
    return _matrix((1, 0, x), (0, 1, y), like=x)


def margins(inverse: Tensor, size: tuple[int, int]) -> list[int]:
    """Return how many pixels left, above, right and below an image [H, W] a map [B, 3, 3] looks at, the wavelet's included; less than a side."""
    h, w = size
    x, y = (w - 1) / 2, (h - 1) / 2
    corners = inverse.new_tensor([[-x, x, x, -x], [-y, -y, y, y], [1, 1, 1, 1]])
    reach = (inverse @ corners)[:, :2].transpose(0, 1).flatten(1)
    outside = torch.cat([-reach, reach]).amax(1) + reach.new_tensor([2 * RIM - x, 2 * RIM - y] * 2)
    return outside.clamp(min=0).minimum(reach.new_tensor([w - 1, h - 1] * 2)).ceil().int().tolist()


def warp(x: Tensor, inverse: Tensor) -> Tensor:
    """Resample images: what stands at q (column, row, 1 from the centre, in pixels) comes from inverse · q; [B, C, H, W].

    Images are mirrored at their borders, once, and black beyond that; doubled with the sym6 wavelet, read bilinearly and halved with the
    wavelet turned round (appendix B): with the identity, that gives the image back exactly, since the wavelet is orthonormal. It is not
    symmetric, so of a mirrored image it gives the mirror image nearly.
    """
    h, w = x.shape[2:]
    inverse = inverse.float()
    left, above, right, below = margins(inverse, (h, w))
    rows, columns = (
        (n - 1 - (torch.arange(-before, n + after, device=x.device).abs() - (n - 1)).abs())
        for n, before, after in ((h, above, below), (w, left, right))
    )
    k = len(SYM6)
    twice = upfirdn(
        x[:, :, rows][:, :, :, columns], tuple(math.sqrt(2) * t for t in SYM6), up=2, padding=(k // 2, k // 2 - 1)
    )
    # What stands at pixel n stands at 2n now.
    middle_y, middle_x = (h - 1) / 2, (w - 1) / 2
    j, i = (torch.arange(2 * (n + 2 * RIM), device=x.device, dtype=torch.float32) / 2 - RIM for n in (h, w))
    q_y, q_x = torch.meshgrid(j - middle_y, i - middle_x, indexing="ij")
    q = torch.stack([q_x, q_y, torch.ones_like(q_x)]).flatten(1)
    from_x, from_y = (inverse @ q)[:, :2].unflatten(2, q_x.shape).unbind(1)
    read = bilinear(twice, 2 * (from_y + middle_y + above), 2 * (from_x + middle_x + left))
    return upfirdn(read, tuple(t / math.sqrt(2) for t in reversed(SYM6)), down=2, padding=(k // 2 - 1 - 2 * RIM,) * 2)


def geometry(n: int, p: Tensor, size: tuple[int, int]) -> Tensor:
    """Draw inverse maps [n, 3, 3] in the paper's order: flips, quarter turns and whole-pixel shifts, then zoom, rotation, stretch, shift."""
    like = torch.zeros(n, device=p.device)
    h, w = size

    def some(value: Tensor, otherwise: float = 0.0, chance: Tensor = p) -> Tensor:
        return torch.where(torch.rand(len(value), *[1] * (value.ndim - 1), device=p.device) < chance, value, otherwise)

    def shifts(value: Tensor) -> Tensor:
        return some(value) * value.new_tensor([w, h])

    flip = 1 - 2 * some((torch.rand_like(like) * 2).floor())
    turn = some((torch.rand_like(like) * 4).floor()) * (math.pi / 2)
    whole = shifts((torch.rand(n, 2, device=p.device) * 2 - 1) * 0.125).round()
    zoom = some((torch.randn_like(like) * 0.2).exp2(), 1.0)
    # Two rotations, each with this chance, leave an image unrotated with chance 1 − p.
    rotated = 1 - (1 - p).clamp(min=0).sqrt()
    before = some((torch.rand_like(like) * 2 - 1) * math.pi, 0.0, rotated)
    stretch = some((torch.randn_like(like) * 0.2).exp2(), 1.0)
    after = some((torch.rand_like(like) * 2 - 1) * math.pi, 0.0, rotated)
    part = shifts(torch.randn(n, 2, device=p.device) * 0.125)
    parts = [
        scaling(flip, torch.ones_like(flip)), rotation(turn), shift(*-whole.T), scaling(1 / zoom, 1 / zoom), rotation(before),
        scaling(1 / stretch, stretch), rotation(after), shift(*-part.T),
    ]  # fmt: skip
    inverse = torch.eye(3, device=p.device).expand(n, 3, 3)
    for matrix in parts:
        inverse = inverse @ matrix
    return inverse


def colour(x: Tensor, p: Tensor) -> Tensor:
    """Draw brightness, contrast, negation of luma, hue (of three channels) and saturation of [B, C, H, W] in [-1, 1], with chance p each.

    Luma is the mean of the channels. In the space of colours all of these act on luma and on what is at a right angle to it apart.
    """
    like = torch.zeros(len(x), 1, 1, 1, device=x.device)

    def some(value: Tensor, otherwise: float) -> Tensor:
        return torch.where(torch.rand_like(like) < p, value, otherwise).to(x.dtype)

    brightness = some(torch.randn_like(like) * 0.2, 0.0)
    contrast = some((torch.randn_like(like) * 0.5).exp2(), 1.0)
    sign = 1 - 2 * some((torch.rand_like(like) * 2).floor(), 0.0)
    luma = x.mean(1, keepdim=True)
    tint, luma = x - luma, sign * contrast * (luma + brightness)
    if x.shape[1] == 1:
        return luma
    if x.shape[1] == 3:  # by the angle around the axis of grey: v cos + (axis x v) sin
        angle = some((torch.rand_like(like) * 2 - 1) * math.pi, 0.0)
        across = (tint.roll(1, 1) - tint.roll(-1, 1)) / math.sqrt(3)
        tint = tint * angle.cos() + across * angle.sin()
    return luma + tint * contrast * some(torch.randn_like(like).exp2(), 1.0)


class AdaptiveAugment(nn.Module):
    """Geometric and colour changes ("bgc") of what a discriminator sees, each with probability p, and the controller of p.

    Overfitting shows as r = E[sign D(x)] on training images moving towards 1 (equation 1 of the paper). Every few steps p goes up where r is
    above the target and down where it is below, at a speed that takes it from 0 to 1 in `images` images. While p < 1, a share (1 − p)^k
    of images stays unchanged, so a generator whose augmented images are distributed like augmented real ones is distributed like the real
    ones: the changes do not leak. `limit` keeps p where that also holds in practice (the paper: below 0.8).

    Args:
        target: r that the controller aims for.
        images: Images in which p goes from 0 to 1.
        limit: Greatest p.
    """

    memories = ("signs", "seen")
    p: Tensor
    signs: Tensor
    seen: Tensor

    def __init__(self, target: float, images: int, limit: float) -> None:
        super().__init__()
        self.target, self.images, self.limit = target, images, limit
        for name in ("p", "signs", "seen"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Change images [B, C, H, W]; differentiable in them, twice."""
        with torch.autocast(x.device.type, enabled=False):  # pixels need more than eight bits
            x = x.float()
            return colour(warp(x, geometry(len(x), self.p, (x.shape[2], x.shape[3]))), self.p)

    @torch.no_grad()
    def observe(self, on_real: Tensor) -> None:
        """Take in the scores [B] of a batch of real images, of all ranks."""
        self.signs += sum_over_ranks(on_real.sign().sum())
        self.seen += on_real.numel() * ranks()

    @torch.no_grad()
    def adjust(self) -> Tensor:
        """Move p by one step of the controller and return r."""
        r = self.signs / self.seen.clamp(min=1)
        self.p.add_((r - self.target).sign() * self.seen / self.images).clamp_(0, self.limit)
        self.signs.zero_()
        self.seen.zero_()
        return r
