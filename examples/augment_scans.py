"""Augment a small labelled set of scans by translation: with contrast medium to without, and see whether a segmenter gets better.

Kidneys shine in a scan with contrast medium, and twelve such scans have been outlined by hand. The scans to be segmented have none. A
translator that learned from pairs of other patients, outlined by nobody, makes of each labelled scan the one without contrast medium:
the outline stays right, and the segmenter sees what it will meet. The scans here are drawn (phantoms: fat, muscle, liver, bowel, bone,
vessels and kidneys, in Hounsfield units, with blur and noise), so everything is known, and the gain is that on drawings, not on patients.

Files are 16-bit gray PNG: the Hounsfield number + 1024. A window of intensities says what the networks see of them.

    python examples/augment_scans.py            about four minutes
    python examples/augment_scans.py --short    seconds

`augment_volumes.py` does the same with volumes in DICOM and NIfTI.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import genzoo
from genzoo.data.drawing.images import grid, save_png
from genzoo.naming.registry import system_class
from genzoo.use.common.files import Photo, read_photo, save_photo
from genzoo.use.translate import translate_files

SIDE, OFFSET = 64, 1024
WINDOW = (OFFSET - 200, OFFSET + 400)
"""What is black and what is white, in the numbers of the files: -200 to 400 HU."""
TWO_SIDED = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t for 95 %, by the number of values."""


# ---- scans -----------------------------------------------------------------------------------------------------------------------


def phantom(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A patient: the scan with and the one without contrast medium, uint16 [64, 64], and the outline of the kidneys, bool."""
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    turn, (cx, cy) = rng.normal(0, 0.07), rng.normal(0, 0.03, 2)
    y, x = np.meshgrid(at - cy, at - cx, indexing="ij")
    x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)

    def ellipse(ex: float, ey: float, rx: float, ry: float, tilt: float = 0.0) -> np.ndarray:
        u, v = x - ex, y - ey
        u, v = u * math.cos(tilt) + v * math.sin(tilt), v * math.cos(tilt) - u * math.sin(tilt)
        return (u / rx) ** 2 + (v / ry) ** 2 < 1

    wide, high = rng.uniform(0.8, 0.92), rng.uniform(0.6, 0.72)
    strength = rng.uniform(0.5, 1.3)  # how much contrast medium has arrived
    plain, medium = np.full((SIDE, SIDE), -1000.0), np.full((SIDE, SIDE), -1000.0)

    def fill(where: np.ndarray, value: float, gain: float = 0.0) -> None:
        plain[where], medium[where] = value, value + gain * strength

    fill(ellipse(0, 0, wide, high), -100)
    fill(ellipse(0, 0, wide - 0.09, high - 0.09), rng.normal(52, 4), 10)
    fill(ellipse(0, 0.02, wide - 0.17, high - 0.17), rng.normal(-95, 5))
    fill(ellipse(-0.33 + rng.normal(0, 0.03), -0.1, 0.3, 0.33, rng.normal(0, 0.2)), rng.normal(56, 6), 55)
    for _ in range(rng.integers(4, 8)):  # bowel: as dense as kidneys without contrast medium, and some of it holds gas
        bx, by, r = rng.uniform(-0.05, 0.55), rng.uniform(-0.42, 0.08), rng.uniform(0.06, 0.12)
        fill(ellipse(bx, by, r, r * rng.uniform(0.7, 1.3)), rng.normal(32, 10), rng.uniform(0, 40))
        if rng.random() < 0.3:
            fill(ellipse(bx, by, r / 2, r / 2), -900)
    for side in (-1, 1):
        fill(ellipse(side * 0.19, 0.33, 0.09, 0.11), rng.normal(52, 4), 10)  # psoas
    kidneys = np.zeros((SIDE, SIDE), bool)
    for side in (-1, 1):
        ex, ey = side * rng.uniform(0.36, 0.46), rng.uniform(0.18, 0.3)
        bean = ellipse(ex, ey, rng.uniform(0.1, 0.15), rng.uniform(0.15, 0.21), side * rng.uniform(-0.5, 0.1))
        bean &= ~ellipse(ex - side * 0.12, ey, 0.06, 0.06)
        fill(bean, rng.normal(32, 4), rng.uniform(130, 180))
        kidneys |= bean
    fill(ellipse(0.06, 0.16, 0.065, 0.065), rng.normal(42, 3), 250)  # aorta
    fill(ellipse(-0.09, 0.15, 0.07, 0.055), rng.normal(42, 3), 130)  # vena cava
    fill(ellipse(0, 0.36, 0.11, 0.1), rng.normal(350, 60))
    return _scan(plain, rng), _scan(medium, rng), kidneys


def _scan(tissue: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur, noise of 18 HU that neighbours share in part, and the numbers of a file."""
    noise = rng.normal(0, 40, tissue.shape)
    for axis in (0, 1):
        tissue = (np.roll(tissue, 1, axis) + 2 * tissue + np.roll(tissue, -1, axis)) / 4
        noise = (np.roll(noise, 1, axis) + noise + np.roll(noise, -1, axis)) / 3 * 1.15
    return np.rint(tissue + noise + OFFSET).clip(0, 4095).astype(np.uint16)


def patients(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scans with and without contrast medium, uint16 [n, 64, 64], and outlines."""
    rng = np.random.default_rng(seed)
    medium, plain, outline = [], [], []
    for _ in range(n):
        p, m, k = phantom(rng)
        medium.append(m)
        plain.append(p)
        outline.append(k)
    return np.stack(medium), np.stack(plain), np.stack(outline)


def write(folder: Path, scans: np.ndarray) -> list[str]:
    """Scans as 16-bit PNG files."""
    return [str(save_photo(folder / f"{i:04d}.png", Photo(scan[..., None]))) for i, scan in enumerate(scans)]


def seen(scans: np.ndarray) -> Tensor:
    """What networks see: the window as [-1, 1], [n, 1, 64, 64]."""
    low, high = WINDOW
    return torch.from_numpy(((scans.astype(np.float32) - low) / (high - low)).clip(0, 1) * 2 - 1)[:, None]


# ---- translator --------------------------------------------------------------------------------------------------------------------


FILES: dict[str, Any] = {"bits": 16, "gray_window": WINDOW}
"""How the files are read; a run remembers it, and writes such files."""


def training_set(out: Path, system: str, n: int) -> str:
    """Scans of patients that nobody has labelled: side A with contrast medium, side B without, and for pairs both of each patient."""
    medium, plain, _ = patients(1, n)
    paired = system_class(system).data == "paired"
    half = n if paired else n // 2  # without pairs no patient is on both sides
    write(out / "scans" / "train" / "A", medium[:half])
    write(out / "scans" / "train" / "B", plain if paired else plain[half:])
    return str(out / "scans")


def generated(run: Any, out: Path, scans: np.ndarray) -> np.ndarray:
    """Scans without contrast medium made of scans with it, through 16-bit files, in the same numbers."""
    files = translate_files(run, write(out / "labelled", scans), "a2b", out=out / "generated", overwrite=True)
    return np.stack([read_photo(f, 1).pixels[..., 0] for f in files])


# ---- segmenter ---------------------------------------------------------------------------------------------------------------------


class Segmenter(nn.Module):
    """A small U-Net from scans [B, 1, H, W] to logits of kidney [B, 1, H, W].

    Every convolution is normalized and no rectifier is dead: without that one start in four never learned anything.

    Args:
        width: Channels at full size.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()

        def block(a: int, b: int) -> nn.Sequential:
            parts: list[nn.Module] = []
            for inputs in (a, b):
                parts += [nn.Conv2d(inputs, b, 3, padding=1), nn.GroupNorm(4, b), nn.LeakyReLU(0.1)]
            return nn.Sequential(*parts)

        self.down = nn.ModuleList([block(1, width), block(width, 2 * width), block(2 * width, 4 * width)])
        self.up = nn.ModuleList([block(6 * width, 2 * width), block(3 * width, width)])
        self.last = nn.Conv2d(width, 1, 1)
        nn.init.constant_(self.last.bias, -3.0)  # kidneys are a twentieth of a scan

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        a = self.down[0](x)
        b = self.down[1](F.max_pool2d(a, 2))
        y = self.down[2](F.max_pool2d(b, 2))
        for block, skip in zip(self.up, (b, a), strict=True):
            y = block(torch.cat([F.interpolate(y, scale_factor=2.0), skip], 1))
        return self.last(y)


def segmenter(x: Tensor, outline: Tensor, *, seed: int, steps: int, jitter: bool = False, batch: int = 8) -> nn.Module:
    """Train on scans [n, 1, H, W] and outlines, moved by up to 4 pixels; with `jitter` brightness, contrast and gamma are drawn too."""
    torch.manual_seed(seed)
    net = Segmenter()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        rows = torch.randint(len(x), (batch,))
        move = torch.randint(-4, 5, (2,)).tolist()
        a, b = (torch.roll(t[rows], move, (2, 3)) for t in (x, outline))
        if jitter:
            gain, shift, power = (
                torch.empty(batch, 1, 1, 1).uniform_(*r) for r in ((0.3, 1.2), (-0.4, 0.4), (-0.5, 0.5))
            )
            a = (((a + 1) / 2) ** power.exp() * 2 - 1) * gain + shift
        loss = F.binary_cross_entropy_with_logits(net(a), b.float(), pos_weight=torch.tensor(5.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def dice(net: nn.Module, x: Tensor, outline: Tensor) -> float:
    """Mean over scans of twice the overlap over the sum of both areas."""
    found = torch.cat([net(part) > 0 for part in x.split(50)])
    both = (found & outline).flatten(1).sum(1)
    return float((2 * both / (found.flatten(1).sum(1) + outline.flatten(1).sum(1)).clamp(min=1)).mean())


ARMS = {
    "labelled scans alone": "12 scans with contrast medium and their outlines",
    "brightness drawn at random": "the same, brightness, contrast and gamma drawn anew every time",
    "generated scans added": "the same 12, and what the translator makes of them, with the same outlines",
    "real scans added": "the same 12, and the real scans without contrast medium of the same patients: what cannot be had",
}


def trial(
    run: Any, out: Path, seed: int, test: tuple[Tensor, Tensor], *, labelled: int = 12, steps: int
) -> dict[str, float]:
    """Draw labelled patients, train a segmenter in every way, and return its Dice on scans without contrast medium."""
    medium, plain, mask = patients(1000 + seed, labelled)
    outline = torch.from_numpy(mask)[:, None]
    twice = torch.cat([outline, outline])
    x, made, real = seen(medium), seen(generated(run, out, medium)), seen(plain)
    sets = dict(
        zip(
            ARMS,
            ((x, outline), (x, outline), (torch.cat([x, made]), twice), (torch.cat([x, real]), twice)),
            strict=True,
        )
    )
    nets = {name: segmenter(*data, seed=seed, steps=steps, jitter="brightness" in name) for name, data in sets.items()}
    return {name: dice(net, *test) for name, net in nets.items()}


def interval(values: list[float]) -> tuple[float, float]:
    """Mean over trials, and half of its 95 % interval by Student's t."""
    return float(np.mean(values)), TWO_SIDED[len(values)] * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def compare(run: Any, out: Path, trials: int, n: int, steps: int) -> dict[str, list[float]]:
    """The Dice of every way, of every trial, on the same held-out patients."""
    _, plain, outline = patients(2, n)
    test = seen(plain), torch.from_numpy(outline)[:, None]
    found = [trial(run, out, seed, test, steps=steps) for seed in range(trials)]
    return {name: [f[name] for f in found] for name in ARMS}


def error_of(run: Any, out: Path, n: int = 50) -> dict[str, float]:
    """Mean absolute difference in HU from the real scans without contrast medium, inside the window, of patients of their own."""
    low, high = WINDOW
    medium, plain, _ = patients(3, n)
    made = generated(run, out / "check", medium)
    scans = {"scan with contrast medium": medium, "translation": made}
    return {k: float(np.abs(v.clip(low, high).astype(float) - plain.clip(low, high)).mean()) for k, v in scans.items()}


def pictures(run: Any, out: Path) -> Tensor:
    """Rows: with contrast medium, without, generated, outlines."""
    medium, plain, outline = patients(3, 8)
    rows = [
        seen(medium),
        seen(plain),
        seen(generated(run, out / "check", medium)),
        torch.from_numpy(outline)[:, None] * 2.0 - 1,
    ]
    return torch.cat(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--short", action="store_true", help="a few seconds, for a test")
    parser.add_argument("--out", default="augmented", help="folder of the pictures, files and runs")
    parser.add_argument("--system", default="pix2pix", help="a translator: pix2pix learns from pairs, cyclegan without")
    given = parser.parse_args()
    out = Path(given.out)
    keys: dict[str, Any] = {"width": 16, "layers": 2, "batch": 8, "lr": 4e-4, "steps": 2 if given.short else 600}
    if given.system.startswith("cyclegan"):
        keys |= {"blocks": 3, "identity": 0.0}
    data = training_set(out, given.system, 16 if given.short else 300)
    run = genzoo.train(
        given.system, data, **FILES, **keys, seed=0, runs=str(out / "runs"), name=given.system, quiet=True
    )
    errors = error_of(run, out, 8)
    print("Mean absolute difference from the real scan without contrast medium:")
    print("\n".join(f"  {name:28} {value:6.1f} HU" for name, value in errors.items()))
    trials, n, steps = (2, 8, 2) if given.short else (5, 100, 120)
    found = compare(run, out, trials, n, steps)
    print(
        f"Dice of the kidneys in {n} held-out scans without contrast medium; mean of {trials} trials, each with other labelled patients:"
    )
    for name, values in found.items():
        mean, half = interval(values)
        print(f"  {name:28} {mean:.3f} ± {half:.3f}   {ARMS[name]}")
    for other in list(ARMS)[:2]:
        mean, half = interval([a - b for a, b in zip(found["generated scans added"], found[other], strict=True)])
        verdict = (
            "better" if mean - half > 0 else "worse" if mean + half < 0 else "no difference that these trials can tell"
        )
        print(f"generated scans added, minus {other}: {mean:+.3f} ± {half:.3f}: {verdict}")
    save_png(out / "scans.png", grid(pictures(run, out), columns=8))
    print(f"wrote {out}/scans.png: with contrast medium, without, generated, outlines")


if __name__ == "__main__":
    main()
