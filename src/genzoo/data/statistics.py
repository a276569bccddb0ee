"""Numbers that describe clips, shapes and sounds without a trained network: what distances between sets of them are taken on."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.core.errors import UserError


def _finite(x: Tensor, name: str) -> Tensor:
    bad = int((~x.isfinite()).flatten(1).any(1).sum())
    if bad:
        raise UserError(f"{bad} of {len(x)} {name} hold NaN or infinite values")
    return x


@torch.no_grad()
def of_shapes(voxels: Tensor, *, threshold: float = 0.5, rings: int = 8) -> Tensor:
    """Return shape statistics of voxel grids, float32 [N, 14 + 6 · rings].

    Occupied share; centre of mass (3) and covariance of occupied places (6), in units of the side; exposed faces over occupied voxels along
    each axis (3); faces over volume^(2/3), compactness (1); then the occupied share of `rings` slabs along each axis from both ends
    (6 · rings). An empty grid has zeros.

    Args:
        voxels: Occupancies [N, D, H, W] or [N, 1, D, H, W].
        threshold: What is occupied: values above it.
        rings: Slabs along each half axis; every side must be at least 2 · rings.

    Raises:
        UserError: Another shape, sides too small, NaN or infinite values.
    """
    if voxels.ndim == 5 and voxels.shape[1] == 1:
        voxels = voxels[:, 0]
    if voxels.ndim != 4 or not len(voxels) or min(voxels.shape[1:]) < 2 * rings or rings < 1:
        raise UserError(
            f"voxels must be [N, D, H, W] or [N, 1, D, H, W] with sides of at least {2 * rings}, not {tuple(voxels.shape)}"
        )
    full = (_finite(voxels.float(), "grids") > threshold).double()
    n = len(full)
    volume = full.flatten(1).sum(1)
    divisor = volume.clamp(min=1)
    axes = torch.meshgrid(
        *[(torch.arange(s, dtype=torch.float64, device=full.device) + 0.5) / s for s in full.shape[1:]], indexing="ij"
    )
    place = torch.stack([a.flatten() for a in axes])  # [3, V]
    mass = full.flatten(1)
    centre = mass @ place.T / divisor[:, None]
    second = torch.stack([mass @ (place[i] * place[j]) for i in range(3) for j in range(i, 3)], 1) / divisor[:, None]
    products = torch.stack([centre[:, i] * centre[:, j] for i in range(3) for j in range(i, 3)], 1)
    faces = torch.stack(
        [
            F.pad(full, pad).diff(dim=d).abs().flatten(1).sum(1)
            for d, pad in ((1, (0, 0, 0, 0, 1, 1)), (2, (0, 0, 1, 1)), (3, (1, 1)))
        ],
        1,
    )
    slabs = []
    for d in (1, 2, 3):
        line = full.mean([a for a in (1, 2, 3) if a != d])  # [N, side]
        slabs.append(F.adaptive_avg_pool1d(line[:, None], 2 * rings)[:, 0])
    out = torch.cat(
        [
            full.flatten(1).mean(1, keepdim=True),
            centre,
            second - products,
            faces / divisor[:, None],
            faces.sum(1, keepdim=True) / divisor[:, None] ** (2 / 3),
            *slabs,
        ],
        1,
    )
    return torch.where(volume[:, None] > 0, out, 0.0).float().view(n, -1)


@torch.no_grad()
def of_clips(video: Tensor, *, cells: int = 4) -> Tensor:
    """Return statistics of clips, float32 [N, 3 · C · cells² + 6], of values in [-1, 1].

    In cells x cells parts of the picture and for every channel: the mean; the mean over pixels of the standard deviation over time;
    the mean absolute change from frame to frame. Then of the whole clip: the mean absolute change over 1, 2 and 4 frames (0 where a clip
    is not that long), the mean absolute difference of neighbouring pixels across and down, and the share of pixels that change
    by more than 0.1 from one frame to the next.

    Args:
        video: Clips [N, C, T, H, W] of two or more frames.
        cells: Parts along each side.

    Raises:
        UserError: Another shape, sides smaller than `cells`, NaN or infinite values.
    """
    if video.ndim != 5 or not len(video) or video.shape[2] < 2 or min(video.shape[3:]) < max(cells, 2) or cells < 1:
        raise UserError(
            f"video must be [N, C, T, H, W] of two or more frames with sides of at least {max(cells, 2)}, not {tuple(video.shape)}"
        )
    x = _finite(video.float(), "clips")
    change = x.diff(dim=2).abs()
    maps = torch.cat([x.mean(2), x.std(2, correction=0), change.mean(2)], 1)
    whole = [
        (x[:, :, lag:] - x[:, :, :-lag]).abs().flatten(1).mean(1) if x.shape[2] > lag else x.new_zeros(len(x))
        for lag in (1, 2, 4)
    ]
    whole += [x.diff(dim=d).abs().flatten(1).mean(1) for d in (4, 3)]
    whole += [(change > 0.1).float().flatten(1).mean(1)]
    return torch.cat([F.adaptive_avg_pool2d(maps, cells).flatten(1), torch.stack(whole, 1)], 1)


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
    bands_by_time: Tensor = (torch.fft.rfft(frames, fft).abs() @ filters.T + 0.01).log().transpose(1, 2)
    return bands_by_time


def of_sounds(audio: Tensor, *, rate: float, bands: int = 64) -> Tensor:
    """Return the mean, the deviation and the mean change from frame to frame of every log-mel band, float32 [N, 3 · bands]."""
    mel = log_mel(audio, rate=rate, bands=bands)
    change = mel.diff(dim=2).abs().mean(2) if mel.shape[2] > 1 else torch.zeros_like(mel[..., 0])
    return torch.cat([mel.mean(2), mel.std(2, correction=0), change], 1)
