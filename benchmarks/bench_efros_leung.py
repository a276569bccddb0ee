"""Efros-Leung against a plain NumPy loop over pixels and windows, with equal output: python -m benchmarks.bench_efros_leung."""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch

from genzoo.models.exemplar.efros_leung import EfrosLeung


def plain_loop(
    exemplar: np.ndarray,
    size: tuple[int, int],
    *,
    window: int,
    error_threshold: float,
    max_error_threshold: float,
    generator: torch.Generator,
    image: np.ndarray | None = None,
    known: np.ndarray | None = None,
    vectorized: bool = False,
) -> np.ndarray:
    """Grow a texture, [C, height, width] integers, as one would write it down from the paper.

    The rule is `EfrosLeung`'s: pixels of a layer in order of filled pixels in their window, random ties, windows as they
    are when the pixel is visited. The random numbers are drawn in the same order.

    Args:
        exemplar: [C, H, W] integers 0..255.
        size: Height and width to grow.
        window: Side of the window.
        error_threshold: Tolerance around the best match.
        max_error_threshold: First limit on the error.
        generator: Source of randomness.
        image: Start from this image, [C, height, width] ...
        known: ... whose pixels are kept where this is True.
        vectorized: Compare a pixel with all windows in one NumPy expression instead of a loop over windows.
    """
    exemplar = exemplar.astype(np.int64)
    channels, rows, columns = exemplar.shape
    half = window // 2
    line = np.exp(-0.5 * ((np.arange(window) - half) / (window / 6.4)) ** 2)
    gaussian = np.maximum(1, np.rint(np.outer(line, line) * 2**16)).astype(np.int64)
    corners = [(y, x) for y in range(rows - window + 1) for x in range(columns - window + 1)]
    windows = np.stack([exemplar[:, y : y + window, x : x + window] for y, x in corners]) if vectorized else None
    height, width = size
    out = np.zeros((channels, height + 2 * half, width + 2 * half), np.int64)
    filled = np.zeros(out.shape[1:], bool)
    if known is not None and known.any():
        out[:, half : half + height, half : half + width] = np.where(known, image, 0)
        filled[half : half + height, half : half + width] = known
    else:
        y, x = corners[int(torch.randint(len(corners), (), generator=generator))]
        top, left = (out.shape[1] - 3) // 2, (out.shape[2] - 3) // 2
        out[:, top : top + 3, left : left + 3] = exemplar[:, y + half - 1 : y + half + 2, x + half - 1 : x + half + 2]
        filled[top : top + 3, left : left + 3] = True
    limit = max_error_threshold
    while not filled[half : half + height, half : half + width].all():
        layer = [
            (filled[y - half : y + half + 1, x - half : x + half + 1].sum(), y, x)
            for y in range(half, half + height)
            for x in range(half, half + width)
            if not filled[y, x] and filled[y - 1 : y + 2, x - 1 : x + 2].any()
        ]
        ties = torch.rand(len(layer), generator=generator, dtype=torch.float64).tolist()
        picks = torch.rand(len(layer), generator=generator, dtype=torch.float64).tolist()
        order = sorted(range(len(layer)), key=lambda i: (-layer[i][0], ties[i]))
        progress = False
        for i, pick in zip(order, picks, strict=True):
            _, y, x = layer[i]
            template = out[:, y - half : y + half + 1, x - half : x + half + 1]
            weights = gaussian * filled[y - half : y + half + 1, x - half : x + half + 1]
            if vectorized:
                scores = (weights * (windows - template) ** 2).sum((1, 2, 3))
            else:
                scores = np.empty(len(corners), np.int64)
                for j, (cy, cx) in enumerate(corners):
                    difference = exemplar[:, cy : cy + window, cx : cx + window] - template
                    scores[j] = (weights * difference**2).sum()
            candidates = np.flatnonzero(scores <= scores.min() * (1 + error_threshold))
            choice = candidates[int(pick * len(candidates))]
            if scores[choice] <= limit * weights.sum() * channels * 255**2:
                cy, cx = corners[choice]
                out[:, y, x] = exemplar[:, cy + half, cx + half]
                filled[y, x] = progress = True
        if not progress:
            limit *= 1.1
    return out[:, half : half + height, half : half + width]


def demo_texture(size: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Draw bricks with noise, uint8 [C, size, size]: needs no files."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    mortar = (y % 8 < 2) | ((x + 6 * (y // 8 % 2)) % 12 < 2)
    colours = np.array([[178, 74, 52], [200, 196, 186]])[:, :channels]
    return (colours[mortar.astype(int)].transpose(2, 0, 1) + rng.integers(-12, 13, (channels, size, size))).astype(
        np.uint8
    )


def main() -> None:
    """Time both on the same texture and seed, check equality, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exemplar", type=int, default=64, help="side of the exemplar")
    parser.add_argument("--size", type=int, default=32, help="side of the texture to grow")
    parser.add_argument("--window", type=int, default=11)
    args = parser.parse_args()
    texture = demo_texture(args.exemplar)
    system = EfrosLeung(texture.shape, window=args.window)
    system.partial_fit({"image": torch.from_numpy(texture)[None].float() / 127.5 - 1})
    system.finish_pass()
    system.eval()

    def ours() -> np.ndarray:
        sample = system.sample(1, generator=torch.Generator().manual_seed(1), size=args.size)
        return ((sample[0] + 1) * 127.5).round().to(torch.int64).numpy()

    def loop(vectorized: bool) -> np.ndarray:
        return plain_loop(
            texture,
            (args.size, args.size),
            window=args.window,
            error_threshold=system.error_threshold,
            max_error_threshold=system.max_error_threshold,
            generator=torch.Generator().manual_seed(1),
            vectorized=vectorized,
        )

    # Processor time, which other programs on the machine do not disturb; with one thread it is the time on the clock.
    torch.set_num_threads(1)
    ours()
    times = []
    for _ in range(5):
        start = time.process_time()
        fast = ours()
        times.append(time.process_time() - start)
    mine = float(np.median(times))
    print(f"{platform.processor() or platform.machine()}, 1 thread, torch {torch.__version__}, NumPy {np.__version__}")
    print(
        f"exemplar {args.exemplar}x{args.exemplar}x3, output {args.size}x{args.size}, window {args.window}; processor time"
    )
    print(f"{'genzoo efros-leung':<38}{mine:8.3f} s (median of 5)")
    for name, vectorized in (
        ("NumPy, one pixel against all windows", True),
        ("NumPy loop over pixels and windows", False),
    ):
        start = time.process_time()
        other = loop(vectorized)
        seconds = time.process_time() - start
        if not np.array_equal(fast, other):
            raise SystemExit(f"{name}: the outputs differ in {(fast != other).any(0).sum()} pixels")
        print(f"{name:<38}{seconds:8.3f} s, {seconds / mine:.1f} times as long, equal output")


if __name__ == "__main__":
    main()
