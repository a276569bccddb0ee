"""Vector quantization: the nearest of a finite set of vectors, a gradient that passes it by, and a set that stays in use."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.ranks.batch import for_all
from genzoo.ranks.sums import pooled, ranks, sum_over_ranks


class Quantized(NamedTuple):
    """What quantizing gives."""

    z: Tensor
    """The codes' vectors, [B, D, ...], float32; the gradient passes straight through to the input."""
    codes: Tensor
    """Indices of the codes, int64 [B, ...]."""
    loss: Tensor
    """What brings input and codebook together: commitment (and, for a codebook that learns by gradient, its own term)."""
    usage: Tensor
    """Share of the codebook that occurs in this batch, over all ranks."""
    perplexity: Tensor
    """exp of the entropy (nats) of the codes of this batch, over all ranks: how many codes it would take if all were equally likely."""


class VectorQuantizer(nn.Module):
    """A codebook of K vectors of D dimensions (arXiv:1711.00937, section 3).

    With z the input, e the nearest code and sg "no gradient", the output is z + sg(e - z) and the loss, means over all elements, is

    * ema: β·|z - sg e|²; codes are running means of what chose them, N ← γN + (1-γ)n and m ← γm + (1-γ)Σz, e = m / N (appendix A.1);
    * gradient: |sg z - e|² + β·|z - sg e|² (equation 3).

    So that codes stay alive: the codebook starts at the k-means of the first training batch, with counts that make e = m / N true from
    the start (counts from 0 would send unused codes to infinity); and a code chosen less than `restart` times as often as the average
    moves to an input of the current batch, together with its sum and its count. Both are computed over the batches of all ranks, so
    that ranks hold equal codebooks. In eval mode nothing changes and ranks do not speak.

    Args:
        size: Number of codes, K.
        dim: Dimensions of a code, D.
        learn: How codes are learnt.
        decay: γ, the weight of the past in running counts and sums.
        commitment: β.
        restart: Codes used less than this share of the average count restart; 0 for never.
    """

    codebook: Tensor
    count: Tensor
    total: Tensor
    started: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        learn: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment: float = 0.25,
        restart: float = 0.05,
    ) -> None:
        super().__init__()
        self.size, self.learn, self.decay, self.commitment, self.restart = size, learn, decay, commitment, restart
        codebook = torch.randn(size, dim)
        if learn == "gradient":
            self.codebook = nn.Parameter(codebook)
        else:
            self.register_buffer("codebook", codebook)
        self.register_buffer("count", torch.ones(size))
        self.register_buffer("total", codebook.clone())
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> Quantized:
        """Quantize [B, D, ...]."""
        with torch.autocast(x.device.type, enabled=False):  # half precision cannot tell near codes apart
            z = x.movedim(1, -1).float()
            flat = z.detach().reshape(-1, z.shape[-1])
            if self.training and not self.started:
                self._start(flat)
            chosen = self.nearest(flat)
            e = self.look_up(chosen.view(z.shape[:-1]))
            if self.learn == "gradient":
                loss = (e - z.detach()).square().mean() + self.commitment * (z - e.detach()).square().mean()
            else:
                loss = self.commitment * (z - e).square().mean()
            counts, sums = self._statistics(flat, chosen)
            if self.training:
                self._follow(flat, counts, sums)
            share = counts / counts.sum()
            out = (z + (e - z).detach()).movedim(-1, 1)
        entropy = -torch.xlogy(share, share).sum()
        return Quantized(out, chosen.view(z.shape[:-1]), loss, (counts > 0).float().mean(), entropy.exp())

    @torch.no_grad()
    def nearest(self, flat: Tensor) -> Tensor:
        """Return the index of the code nearest to each vector, [N, D] to int64 [N]; the first of equals."""
        codes = self.codebook.float()
        return torch.addmm(codes.square().sum(1), flat, codes.mT, alpha=-2).argmin(1)  # |z|² is the same for all codes

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes, [...] to [..., D]."""
        return F.embedding(codes, self.codebook)

    # ---- the codebook ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _statistics(self, flat: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Return how often each code was chosen, [K], and the sum of what chose it, [K, D]; in training over all ranks."""
        counts = torch.bincount(chosen, minlength=self.size).to(flat)
        sums = torch.zeros_like(self.total).index_add_(0, chosen, flat)
        if self.training and ranks() > 1:
            both = sum_over_ranks(torch.cat([counts[:, None], sums], 1))
            counts, sums = both[:, 0], both[:, 1:]
        return counts, sums

    @torch.no_grad()
    def _start(self, flat: Tensor, rounds: int = 10) -> None:
        """Set the codes by Lloyd's k-means on the first batch, from inputs chosen at random; clusters that end up empty stay where they are."""
        n = flat.shape[0] * ranks()
        order = torch.randperm(n, device=flat.device)
        codes = pooled(flat, order[torch.arange(self.size, device=flat.device) % n])
        self.codebook.data.copy_(codes)
        for _ in range(rounds):
            counts, sums = self._statistics(flat, self.nearest(flat))
            means = sums / counts.clamp_min(1)[:, None]
            self.codebook.data.copy_(torch.where(counts[:, None] > 0, means, self.codebook))
        self.count.fill_(self._credit(n))
        self.total.copy_(self.codebook * self.count[:, None])
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, flat: Tensor, counts: Tensor, sums: Tensor) -> None:
        """Move the codes to the running means (ema), and codes that are not used to inputs."""
        self.count.lerp_(counts, 1 - self.decay)
        self.total.lerp_(sums, 1 - self.decay)
        if self.learn == "ema":
            live = self.count[:, None] > 1e-6  # below that the quotient is rounding
            self.codebook.copy_(torch.where(live, self.total / self.count[:, None].clamp_min(1e-6), self.codebook))
        if self.restart:
            credit = self._credit(flat.shape[0] * ranks())
            dead = self.count < credit / 2
            with for_all():
                fresh = pooled(flat, torch.randint(flat.shape[0] * ranks(), (self.size,), device=flat.device))
            self.codebook.data.copy_(torch.where(dead[:, None], fresh, self.codebook))
            self.count.copy_(torch.where(dead, credit, self.count))
            self.total.copy_(torch.where(dead[:, None], fresh * credit, self.total))

    def _credit(self, n: int) -> float:
        """Count that a new code starts with: twice what it needs to stay, so that it has ln 2 / (1 - γ) steps to find inputs."""
        return 2 * (self.restart or 0.05) * n / self.size
