"""Proofs of the autoregressive systems whose outputs are mixtures or codes: pixelcnnpp, wavenet."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.data import Dataset, DataSettings, open_data
from genzoo.data.drawing.sounds import save_wav
from genzoo.data.kinds import picture
from genzoo.metrics.nll import evaluate_density
from genzoo.models.autoregressive._mu_law import encode, expand
from genzoo.runs.meters import read_log
from proofs.autoregressive import completions, histogram_bits, test_images
from proofs.proof import Proof, proof


def timed(p: Proof, system: str, data: str, **keys: Any) -> tuple[Any, list[tuple[float, float]], float]:
    """Train; the run, its log as (CPU seconds, bits), and its CPU seconds, those of all its pieces where the proof was stopped and resumed.

    Steps cost the same throughout, so the time of the whole training places every step.
    """
    label = f"{system}-seed-{keys['seed']}"
    p.work.mkdir(parents=True, exist_ok=True)
    kept, start = p.work / f"{label}.seconds", time.process_time()
    before = float(kept.read_text()) if kept.exists() else 0.0
    try:
        run = p.train(system, data, name=label, **keys)
    finally:
        seconds = before + time.process_time() - start
        kept.write_text(str(seconds))
    log = [r for r in read_log(Path(run.path) / "log.jsonl") if "bits_per_dim" in r]
    return run, [(seconds * r["step"] / keys["steps"], r["bits_per_dim"]) for r in log], seconds


def reached(line: list[tuple[float, float]], seconds: float) -> float:
    """Bits on a curve at a time: the mean of the five points before it."""
    before = [bits for at, bits in line if at <= seconds]
    return sum(before[-5:]) / len(before[-5:])


@proof("pixelcnnpp-cifar10", system="pixelcnnpp", family="autoregressive", minutes=12)
def pixelcnnpp_cifar10(p: Proof) -> None:
    """Bits/dim of CIFAR-10 against CPU time, beside pixelcnn's: mixtures of logistics and three resolutions learn faster."""
    keys = {"batch": 16, "precision": "bf16", "seed": 0, "log_every": 10, "sample_every": 100_000, "workers": 0}
    run, line, seconds = timed(
        p, "pixelcnnpp", "cifar10", steps=900, width=32, blocks=1, mixtures=5, dropout=0.0, lr=2e-3, ema=0.99, **keys
    )
    plain, plain_line, plain_seconds = timed(
        p, "pixelcnn", "cifar10", steps=1500, width=24, blocks=6, head=96, lr=3e-3, ema=0.99, **keys
    )
    train, test = (open_data(DataSettings("cifar10"), split=s, quiet=True) for s in ("train", "test"))
    found = {}
    for name, folder in (("pixelcnnpp", run.path), ("pixelcnn", plain.path)):
        found[name] = evaluate_density(genzoo.load(folder), test, n=2000, batch=50, seed=0)
    for name, spent, published, goal in (
        ("pixelcnnpp", seconds, "2.92 bits/dim (Salimans et al. 2017)", 4.0),
        ("pixelcnn", plain_seconds, None, None),
    ):
        record = found[name]
        p.measure(
            f"bits per dimension, {name}", record["bits_per_dim"], unit="bits/dim", se=record["bits_per_dim_se"],
            n=record["n"], split="test", protocol=record["protocol"] + f"; trained for {spent:.0f} CPU seconds",
            baseline={"uniform": 8.0, "histogram of each colour": histogram_bits(train, test)},
            published=published, better="lower", goal=goal,
        )  # fmt: skip
    common = min(seconds, plain_seconds)
    p.measure(
        "gain over pixelcnn at equal CPU time", reached(plain_line, common) - reached(line, common), unit="bits/dim",
        protocol=f"training bits/dim, each image seen at most once, mean of the last 50 steps before {common:.0f} CPU seconds",
        better="higher", goal=0.2,
    )  # fmt: skip
    p.chart(
        "curves",
        {"pixelcnnpp": line, "pixelcnn": plain_line},
        "Bits/dim of each training batch before it was learned from, against CPU time (one thread).",
        x="CPU seconds",
        y="training bits/dim",
        top=7.0,
    )
    p.picture("samples", genzoo.sample(run, n=36, seed=0), "Samples, temperature 1, not chosen.")
    p.picture(
        "completions",
        picture(completions(genzoo.load(run.path), test_images(test, 6)), columns=10),
        "Test image, its upper half, and three completions of the lower half, in groups of five.",
    )
    p.note(
        "The distance to 2.92 is size and time: the paper's network has 5 blocks of 160 features at each resolution "
        "(preset pixelcnnpp-paper) and trained for days on eight GPUs; here it is 1 block of 32 features and minutes on one CPU "
        "thread. Time is CPU time of the process, since the machine was shared."
    )


# ---- sound ----------------------------------------------------------------------------------------------------------------------

ORDER = 16


def windows(data: Dataset) -> Tensor:
    """All windows of a set of sounds, float64 [N, T] in [-1, 1]."""
    return torch.from_numpy(np.array(data.fields["audio"][:, 0])).double() / 32768


def code_entropy(x: Tensor) -> float:
    """Entropy in bits of the mu-law codes of windows: no model without memory costs less."""
    p = encode(x).flatten().bincount(minlength=256).double()
    p /= p.sum()
    return float(-(p[p > 0] * p[p > 0].log2()).sum())


def before(x: Tensor) -> Tensor:
    """The `ORDER` samples before each, zeros before the first: [N, T, ORDER]."""
    return torch.nn.functional.pad(x, (ORDER, 0))[:, :-1].unfold(1, ORDER, 1)


def predictor(x: Tensor) -> Tensor:
    """The linear predictor of least squared error over all windows, [ORDER]."""
    a, b = torch.zeros(ORDER, ORDER, dtype=torch.float64), torch.zeros(ORDER, dtype=torch.float64)
    for part in x.split(256):
        past = before(part).flatten(0, 1)
        a += past.T @ past
        b += past.T @ part.flatten()
    return torch.linalg.solve(a + 1e-9 * a.trace() * torch.eye(ORDER, dtype=torch.float64), b)


def predictor_bits(x: Tensor, weights: Tensor, decay: float, factor: float, least: float) -> float:
    """Bits per sample of the mu-law codes under a logistic around the prediction.

    Its scale is `least` + `factor` times the running mean of the absolute errors so far (`decay` per sample); with
    `factor` 0 it is the same everywhere. The mass of a code is that of its interval of amplitudes.
    """
    predicted = before(x) @ weights
    error = (x - predicted).abs()
    mean, scale = torch.zeros(len(x), dtype=torch.float64), torch.empty_like(x)
    for t in range(x.shape[1]):
        scale[:, t] = least + factor * mean
        mean = decay * mean + (1 - decay) * error[:, t]
    edges = expand((2 * torch.arange(257, dtype=torch.float64) - 1) / 255 - 1)
    edges[0], edges[-1] = -math.inf, math.inf
    codes = encode(x)
    low, high = ((edges[codes + k] - predicted) / scale for k in (0, 1))
    # σ(high) - σ(low), on the side where it does not cancel
    flip = (low + high) > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    return float(-(torch.sigmoid(high) - torch.sigmoid(low)).clamp(min=1e-30).log2().mean())


def best_predictor_bits(train: Tensor, test: Tensor, factors: tuple[float, ...]) -> float:
    """Test bits of the predictor whose scale suits the training windows best."""
    weights, some = predictor(train), train[:200]
    grid = [(d, f, s) for d in (0.9, 0.95, 0.98, 0.99) for f in factors for s in (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)]
    grid = [g for g in grid if g[1] or g[0] == 0.9]  # without a factor the decay says nothing
    best = min(grid, key=lambda g: predictor_bits(some, weights, *g))
    return predictor_bits(test, weights, *best)


@proof("wavenet-speech", system="wavenet", family="autoregressive", minutes=12)
def wavenet_speech(p: Proof) -> None:
    """Bits/sample of held-out speech below the entropy of its 8-bit codes and below an order-16 linear predictor's."""
    keys = {"steps": 700, "batch": 8, "precision": "bf16", "seed": 0, "ema": 0.99, "sample_every": 100_000, "lr": 4e-3}
    size = {"width": 32, "skip": 64, "layers": 9, "stacks": 2}
    run = p.train("wavenet", "speech", seconds=0.5, **keys, **size)
    system = genzoo.load(run.path)
    train, test = (
        open_data(DataSettings("speech", seconds=0.5), kind="audio", split=s, quiet=True) for s in ("train", "test")
    )
    heard, held = windows(train), windows(test)
    record = evaluate_density(system, test, batch=16, seed=0)
    fixed, adaptive = (best_predictor_bits(heard, held, f) for f in ((0.0,), (0.3, 0.5, 0.7, 0.9)))
    entropy = code_entropy(held)
    p.measure(
        "bits per sample", record["bits_per_sample"], unit="bits/sample", se=record["bits_per_sample_se"], n=record["n"],
        split="test",
        protocol=record["protocol"] + "; windows of half a second, whole files held out. Baselines on the same windows: entropy of "
        "their codes; a linear predictor over 16 samples (least squares on the training windows) with a logistic around it, of one "
        "scale, and of a scale that follows the errors so far (its three constants chosen on training windows)",
        baseline={"uniform": 8.0, "entropy of the codes": entropy, "predictor, one scale": fixed, "predictor, adaptive": adaptive},
        better="lower", goal=round(min(entropy, fixed, adaptive), 4),
    )  # fmt: skip
    drawn = genzoo.sample(run, n=4, seed=0)
    rate = system.hparams["rate"]
    p.picture(
        "samples",
        drawn,
        "Four samples of half a second, temperature 1, not chosen: waveform over spectrogram, 0 to 4 kHz.",
    )
    real = torch.from_numpy(np.array(test.fields["audio"][:4])).float() / 32768
    p.picture("real", real, "Four held-out windows of the speaker, the same way.")
    known = torch.arange(real.shape[-1]) < real.shape[-1] // 2
    p.picture(
        "continued",
        torch.stack([real, genzoo.complete(system, real, known, seed=0)], 1).flatten(0, 1),
        "Held-out windows (left), and their first halves with the second half drawn (right).",
    )
    path = save_wav(p.work / "samples.wav", drawn, rate)
    p.note(
        f"To listen to: '{path.name}' in the proof's work folder, or 'genzoo sample' of the trained run. The network sees "
        f"{system.net.view} samples ({1000 * system.net.view / rate:.0f} ms), and was trained on 25 minutes of speech for minutes on "
        "one CPU thread; the paper's saw about 300 ms and 24 hours."
    )
