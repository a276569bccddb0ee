"""Features of sounds and of anything that need no trained network, for any measure of features.

Spectra are what they say. `RandomFeatures`, an untrained seeded network, checks that measures run on any shape and react to
noise; it is for sanity only: it hardly sees missing classes, and its distances are no measure of quality.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.core.errors import UserError

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _finite(x: Tensor, name: str) -> Tensor:
    bad = int((~x.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise UserError(f"{bad} of {len(x)} {name} hold NaN or infinite values")
    return x


def mel_filters(bands: int, frequencies: int, rate: float, low: float, high: float) -> Tensor:
    """Return triangular filters, evenly spread on the mel scale 2595 log₁₀(1 + f / 700), float64 [bands, frequencies].

    Each has its peak at 1 and reaches from its lower neighbour's peak to its upper neighbour's.
    """
    mel = torch.tensor([low, high], dtype=torch.float64).div(700).add(1).log10().mul(2595)
    edges = 700 * (10 ** (torch.linspace(float(mel[0]), float(mel[1]), bands + 2, dtype=torch.float64) / 2595) - 1)
    f = torch.linspace(0, rate / 2, frequencies, dtype=torch.float64)
    left, peak, right = (e[:, None] for e in (edges[:-2], edges[1:-1], edges[2:]))
    return torch.minimum((f - left) / (peak - left), (right - f) / (right - peak)).clamp(min=0)


@torch.no_grad()
def log_mel(
    audio: Tensor, *, rate: float, bands: int = 64, window: float = 0.025, hop: float = 0.010, low: float = 125.0
) -> Tensor:
    """Return log-mel spectrograms, float32 [N, bands, frames]: log(mel energy + 0.01), natural log, periodic Hann window, no padding.

    Args:
        audio: Waveforms in [-1, 1], [N, T] or [N, 1, T], at least one window long.
        rate: Samples in a second.
        bands: Mel bands from `low` Hz to the lower of 7,500 Hz and half the rate.
        window: Seconds of a window.
        hop: Seconds from window to window.
        low: Lowest frequency in Hz.

    Raises:
        UserError: Another shape, clips shorter than a window, a rate too low, NaN or infinite values.
    """
    if audio.ndim == 3 and audio.shape[1] == 1:
        audio = audio[:, 0]
    high = min(7500.0, rate / 2)
    size, step = round(window * rate), round(hop * rate)
    if (
        audio.ndim != 2
        or not len(audio)
        or size < 2
        or step < 1
        or audio.shape[1] < size
        or bands < 1
        or not 0 <= low < high
    ):
        raise UserError(
            f"audio must be [N, T] or [N, 1, T] of at least {size} samples ({window:g} s at {rate:g} per second) with bands between "
            f"{low:g} and {high:g} Hz, not {tuple(audio.shape)}"
        )
    x = _finite(audio.float(), "clips")
    fft = 2 ** math.ceil(math.log2(size))
    frames = x.unfold(1, size, step) * torch.hann_window(size, device=x.device)
    filters = mel_filters(bands, fft // 2 + 1, rate, low, high).float().to(x.device)
    return (torch.fft.rfft(frames, fft).abs() @ filters.T + 0.01).log().transpose(1, 2)


def log_mel_statistics(audio: Tensor, *, rate: float, bands: int = 64) -> Tensor:
    """Return the mean, the deviation and the mean change from frame to frame of every log-mel band, float32 [N, 3 · bands]."""
    mel = log_mel(audio, rate=rate, bands=bands)
    change = mel.diff(dim=2).abs().mean(2) if mel.shape[2] > 1 else torch.zeros_like(mel[..., 0])
    return torch.cat([mel.mean(2), mel.std(2, correction=0), change], 1)


class RandomFeatures(nn.Module):
    """Features of an untrained network with seeded weights, for audio, images, video or voxels: random, sanity only.

    Three convolutions of 3 (stride 2 where the size allows) with ReLU; the mean and the deviation over places of each channel of the second
    and third.

    Args:
        rank: Dimensions of a place: 1 for audio [N, C, T], 2 for images, 3 for video [N, C, T, H, W] and voxels.
        channels: C.
        width: Channels of the first and the last convolution, even; there are 3 · width features.
        seed: Seed of the weights.
    """

    name = "random, sanity only"

    def __init__(self, rank: int, channels: int, *, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        if rank not in CONVS or channels < 1 or width < 2 or width % 2:
            raise UserError(
                f"rank 1, 2 or 3, at least one channel and an even width are needed, not {rank}, {channels}, {width}"
            )
        self.rank = rank
        g = torch.Generator().manual_seed(seed)
        widths = [channels, width, width // 2, width]
        for i, (a, b) in enumerate(itertools.pairwise(widths)):
            std = math.sqrt(2 / (a * 3**rank))
            self.register_buffer(f"w{i}", torch.randn(b, a, *[3] * rank, generator=g) * std)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return features, float32 [N, 3 · width], of [N, C, ...] in [-1, 1]; any sides of at least 1."""
        if x.ndim != self.rank + 2 or x.shape[1] != self.w0.shape[1] or not x.numel():
            raise UserError(f"[N, {self.w0.shape[1]}] and {self.rank} sides are needed, not {tuple(x.shape)}")
        x = _finite(x.float(), "examples")
        out = []
        for i in range(3):
            stride = [2 if s > 2 else 1 for s in x.shape[2:]]
            x = CONVS[self.rank](x, getattr(self, f"w{i}"), stride=stride, padding=1).relu()
            if i:
                flat = x.flatten(2)
                out += [flat.mean(2), flat.std(2, correction=0)]
        return torch.cat(out, 1)
