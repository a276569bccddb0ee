"""Proofs of the exemplar family: texture synthesis by non-parametric sampling."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import genzoo
from benchmarks.bench_efros_leung import plain_loop
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data.drawing.images import to_uint8
from proofs.proof import Proof, proof
from proofs.textures import mean_and_error

TEXTURES = {"brick": 23, "grass": 11, "gravel": 15}
"""Window of each: as wide as its largest regular feature at this size."""
EXEMPLAR, GROWN, DRAWN = 64, 96, 3


def texture_file(name: str) -> Path:
    path = Path(os.environ["GENZOO_DATA"]) / "textures" / f"{name}.png"
    if not path.is_file():
        raise UserError(f"there is no {path}; textures/ holds brick.png, grass.png and gravel.png (512x512 gray)")
    return path


def exemplar_of(p: Proof, name: str) -> Path:
    """A quarter-size copy's middle, small enough to grow from in seconds on a CPU."""
    image = Image.open(texture_file(name)).convert("L")
    side = {"brick": 192, "grass": 256, "gravel": 256}[name]
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    edge = (side - EXEMPLAR) // 2
    path = p.work / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.crop((edge, edge, edge + EXEMPLAR, edge + EXEMPLAR)).save(path)
    return path


def levels(image: torch.Tensor) -> np.ndarray:
    return to_uint8(image).numpy()


def beside(*images: torch.Tensor) -> np.ndarray:
    """Pictures [1, H, W] in [-1, 1] side by side, two times enlarged, with white between."""
    tall = max(i.shape[1] for i in images)
    columns = []
    for image in images:
        grey = np.full((tall * 2, image.shape[2] * 2 + 8), 255, np.uint8)
        grey[: image.shape[1] * 2, : image.shape[2] * 2] = levels(image)[0].repeat(2, 0).repeat(2, 1)
        columns.append(grey)
    return np.repeat(np.concatenate(columns, 1)[..., None], 3, 2)


def variogram(image: np.ndarray) -> np.ndarray:
    """Mean absolute difference of pixels 1, 2, 4 and 8 apart, down and across."""
    x = image.astype(float)
    return np.array([np.abs(a[d:] - a[:-d]).mean() for a in (x, x.T) for d in (1, 2, 4, 8)])


@proof("efros-leung-textures", system="efros-leung", family="exemplar", minutes=6)
def efros_leung_textures(p: Proof) -> None:
    """It grows brick, grass and gravel that keep the exemplar's statistics, fills holes, and copies nothing but exemplar pixels."""
    for name, window in TEXTURES.items():
        path = exemplar_of(p, name)
        run = p.train("efros-leung", str(path), name=name, window=window)
        system = genzoo.load(run.path)
        exemplar = system.exemplar.cpu()
        start = time.perf_counter()
        several = genzoo.sample(run, n=DRAWN, size=GROWN)
        seconds = (time.perf_counter() - start) / DRAWN
        grown = several[0]
        foreign = set(np.unique(levels(several))) - set(np.unique(levels(exemplar)))
        p.measure(
            f"{name}: grey levels that the exemplar has not",
            len(foreign),
            n=DRAWN * GROWN**2,
            better="lower",
            goal=0,
            protocol=f"count over {DRAWN} grown textures",
        )
        p.measure(
            f"{name}: time to grow",
            seconds,
            unit="s",
            protocol=f"mean of {DRAWN}, {GROWN}x{GROWN} from {EXEMPLAR}x{EXEMPLAR}, window {window}",
        )
        _statistics(p, name, exemplar, several)
        filled, holed, psnr, mean_psnr = _hole(system, exemplar)
        p.measure(
            f"{name}: PSNR inside the hole", psnr, unit="dB", baseline={"mean colour": mean_psnr}, n=256,
            protocol="16x16 hole in the middle of the exemplar, filled from the image's own fully known windows. Sampling draws a "
            "possible texture, not the expected one, so the mean colour can have the better PSNR and is still no texture",
        )  # fmt: skip
        p.picture(
            name,
            beside(exemplar, grown, holed, filled),
            f"{name}: exemplar, grown texture, exemplar with a hole, hole filled",
        )
    _speed(p)
    p.note(
        "Seen on the pictures: the courses of the bricks go on over the whole grown image and through the hole, with a few joints ending in the "
        "middle of a brick; grass and gravel have the exemplar's grain, and whole stones and the one leaf of the exemplar are copied more than "
        "once, as non-parametric sampling does."
    )


def _statistics(p: Proof, name: str, exemplar: torch.Tensor, several: torch.Tensor) -> None:
    """Mean relative error of the variogram over grown textures, beside that of white noise with the exemplar's histogram."""
    truth = variogram(levels(exemplar)[0])
    noise = np.random.default_rng(0).permutation(levels(exemplar)[0].ravel()).reshape(exemplar.shape[1:])
    errors = [float(np.mean(np.abs(variogram(x) - truth) / truth)) for x in (*(levels(x)[0] for x in several), noise)]
    mean, se = mean_and_error(torch.tensor(errors[:-1]))
    p.measure(
        f"{name}: variogram error", mean, se=se, n=len(several), baseline={"shuffled pixels": errors[-1]}, better="lower", goal=errors[-1],
        protocol=f"mean over {len(several)} grown textures, with their spread, of the mean relative error of the mean absolute difference of "
        "pixels 1, 2, 4 and 8 apart, both directions, against the exemplar's",
    )  # fmt: skip


def _hole(system: System, exemplar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    known = torch.ones(1, 1, EXEMPLAR, EXEMPLAR, dtype=torch.bool)
    middle = slice(EXEMPLAR // 2 - 8, EXEMPLAR // 2 + 8)
    known[..., middle, middle] = False
    filled = system.complete(exemplar[None], known, generator=torch.Generator().manual_seed(0))[0]
    assert torch.equal(filled[known[0]], exemplar[known[0]]), "a known pixel was changed"
    truth, mean = exemplar[:, middle, middle], exemplar[known[0]].mean()

    def psnr(x: torch.Tensor) -> float:
        return float(10 * torch.log10(4 / (x - truth).square().mean()))

    return filled, torch.where(known[0], exemplar, 1.0), psnr(filled[:, middle, middle]), psnr(mean.expand_as(truth))


def _speed(p: Proof) -> None:
    """Against the loop that one would write down from the paper, at equal output."""
    side, size, window = 40, 20, 11
    texture = np.array(Image.open(texture_file("gravel")).convert("L").resize((160, 160), Image.Resampling.LANCZOS))[
        None, :side, :side
    ]
    system = genzoo.create("efros-leung", shape=(1, side, side), window=window)
    system.partial_fit({"image": torch.from_numpy(texture)[None].float() / 127.5 - 1})
    system.finish_pass()
    system.eval()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        ours = levels(system.sample(1, generator=torch.Generator().manual_seed(1), size=size)[0])
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    plain = plain_loop(
        texture, (size, size), window=window, error_threshold=system.error_threshold,
        max_error_threshold=system.max_error_threshold, generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    loop = time.perf_counter() - start
    p.measure(
        "speed, ratio to a NumPy loop", loop / float(np.median(times[1:])), unit="x", better="higher", goal=50,
        protocol=f"gravel {side}x{side} to {size}x{size}, window {window}; a loop over pixels and windows, the same random numbers",
    )  # fmt: skip
    p.measure(
        "pixels that differ from the loop's",
        int((ours != plain).sum()),
        n=size * size,
        better="lower",
        goal=0,
        protocol="same seed, same texture",
    )
