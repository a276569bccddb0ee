"""From sounds in [-1, 1] to files and pictures: WAV, and waveforms over spectrograms."""

from __future__ import annotations

import io
import math
import os
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genzoo.core.files import write_atomic
from genzoo.data.drawing.colors import heat

SHOWN = 16
"""Sounds in one picture, at most."""
RANGE = 70.0
"""Decibels below the loudest that are still seen."""


def to_int16(x: Tensor) -> np.ndarray:
    """Convert amplitudes in [-1, 1] to 16-bit PCM: `round(x · 32768)`, clipped, never wrapped."""
    return x.detach().double().mul(32768).round().clamp(-32768, 32767).to(torch.int16).cpu().numpy()


def wav(x: Tensor, rate: int, *, pause: float = 0.25) -> bytes:
    """Write sounds [N, 1, T] (or one, [1, T]) as the bytes of a mono 16-bit WAV file, `pause` seconds of silence between them."""
    sounds = x.flatten(0, -2)
    silence = np.zeros(round(pause * rate), np.int16)
    parts = [part for one in to_int16(sounds) for part in (one, silence)][:-1]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.concatenate(parts).astype("<i2").tobytes())
    return buffer.getvalue()


def save_wav(path: str | os.PathLike[str], x: Tensor, rate: int) -> Path:
    """Save sounds [N, 1, T] in [-1, 1], one after another, as a WAV file."""
    return write_atomic(path, wav(x, rate))


def spectrogram(x: Tensor, *, columns: int = 320, rows: int = 128) -> Tensor:
    """Compute the power in decibels below the loudest, [rows, columns], of one sound [T]: time to the right, frequency upwards.

    Hann windows of 2 · rows samples; the highest row is half the sampling rate.
    """
    length = 2 * rows
    hop = max(1, math.ceil(len(x) / columns))
    spectrum = torch.stft(
        x.detach().float().cpu(),
        length,
        hop,
        window=torch.hann_window(length),
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum[:rows].abs().square()
    return 10 * (power / power.max().clamp(min=1e-12)).clamp(min=1e-12).log10().flip(0)


def panels(sounds: Tensor, *, columns: int | None = None) -> np.ndarray:
    """Draw sounds [N, 1, T], at most 16 of them: waveform over spectrogram, uint8 [H, W, 3]."""
    shown = [_panel(x.reshape(-1)) for x in sounds[:SHOWN]]
    columns = columns or (1 if len(shown) < 3 else 2 if len(shown) < 9 else 4)
    blank = np.full_like(shown[0], 255)
    shown += [blank] * (-len(shown) % columns)
    lines = [np.concatenate(shown[i : i + columns], 1) for i in range(0, len(shown), columns)]
    return np.concatenate(lines)


def _panel(x: Tensor) -> np.ndarray:
    picture = heat((spectrogram(x) / RANGE + 1).clamp(0, 1).numpy())
    height, width = 48, picture.shape[1]
    curve = np.full((height, width, 3), 255, np.uint8)
    amplitudes = x.detach().float().cpu().numpy()
    for col, part in enumerate(np.array_split(amplitudes, width)):
        if len(part):
            top, bottom = ((1 - v) / 2 * (height - 1) for v in (part.max(), part.min()))
            curve[max(0, round(top)) : min(height, round(bottom) + 1), col] = (30, 90, 200)
    return np.pad(np.concatenate([curve, picture]), ((0, 4), (0, 4), (0, 0)), constant_values=255)
