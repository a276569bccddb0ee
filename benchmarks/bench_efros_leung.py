"""What growing a texture by Efros and Leung costs: against NumPy as one writes it down, with equal output.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_efros_leung [CASE ...] [--base REV] [--rounds 7]

Plain compares one pixel with all windows in one expression; `efros-leung-loops-plain` loops over the windows, and takes minutes. The share of the
limit counts a comparison of every pixel's whole window with every one of the exemplar's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks import frame
from benchmarks.frame import Case
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


EXEMPLAR, SIZE, WINDOW = 64, 32, 11
"""Sides of the exemplar, of the texture that is grown, and of the window."""


def system() -> EfrosLeung:
    """Return a system that has seen the exemplar."""
    texture = demo_texture(EXEMPLAR)
    found = EfrosLeung(texture.shape, window=WINDOW)
    found.partial_fit({"image": torch.from_numpy(texture)[None].float() / 127.5 - 1})
    found.finish_pass()
    return found.eval()


def needed() -> int:
    """Return the operations of comparing each pixel's window with all of the exemplar's: four for each number."""
    return 4 * 3 * WINDOW**2 * (EXEMPLAR - WINDOW + 1) ** 2 * SIZE**2


def ours() -> Case:
    """Grow a texture."""
    grown = system()

    def work() -> Tensor:
        sample = grown.sample(1, generator=torch.Generator().manual_seed(1), size=SIZE)
        return ((sample[0] + 1) * 127.5).round()

    return Case(work, ("texture", 1), flops=needed(), plain="efros-leung-plain")


def by_numpy(vectorized: bool) -> Case:
    """Grow it by NumPy: one pixel against all windows at once, or window by window."""
    grown = system()

    def work() -> Tensor:
        how = {"error_threshold": grown.error_threshold, "max_error_threshold": grown.max_error_threshold}
        generator = torch.Generator().manual_seed(1)
        found = plain_loop(
            demo_texture(EXEMPLAR), (SIZE, SIZE), window=WINDOW, generator=generator, vectorized=vectorized, **how
        )
        return torch.from_numpy(found).float()

    return Case(work, ("texture", 1), flops=needed())


CASES: frame.Cases = {
    "efros-leung": ours,
    "efros-leung-plain": lambda: by_numpy(True),
    "efros-leung-loops-plain": lambda: by_numpy(False),
}

if __name__ == "__main__":
    frame.main("benchmarks.bench_efros_leung", CASES, __doc__)
