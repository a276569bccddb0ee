"""Measures of a translator on held-out pairs: how near its translations come to the images that they should be.

A system that restores what it has degraded itself (`Restores`) makes pairs of plain images: the degraded one and the image.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Restores, System, Translates
from genzoo.data import Batches, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.lpips import lpips_distances
from genzoo.metrics.measures import Measure
from genzoo.metrics.records import Record, content_digest
from genzoo.metrics.similarity import l1_percent, psnr, ssim
from genzoo.nn.perceptual import FeatureNet

MOST = 1000
"""Pairs that are translated, at most."""
HOW = {
    "PSNR": ("dB", "higher", "PSNR, mean over images"),
    "SSIM": ("", "higher", "SSIM (Gaussian window 11, σ 1.5, valid part, intensities from 0), mean over images"),
    "L1": ("%", "lower", "mean absolute difference in per cent of the range"),
    "LPIPS": ("", "lower", "LPIPS (AlexNet with its published heads, images at their own size)"),
}
"""Unit, which way is better, and what was computed."""


@torch.no_grad()
def translated(c: Comparison) -> tuple[Tensor, Tensor, Tensor]:
    """Side A, side B, and the translations of A, float32 [n, C, H, W] in [-1, 1] on the CPU; made once for a comparison.

    Raises:
        UserError: The data are no pairs.
    """
    kept = vars(c).get("_translated")
    if kept is None:
        system, test = c.system, c.real_set
        if isinstance(system, Restores) and not direction_of(system):
            raise UserError("a system that was trained on gray images colours none, so there is nothing to measure")
        if system is None or not (test.paired or isinstance(system, Restores)):
            raise UserError(
                "the two sides of these data are no pairs, so there is nothing to compare a translation with"
            )
        n = min(c.n_scored, MOST, len(test))
        batches, parts, step = Batches(test, min(16, n), c.seed), [], 0
        system.eval()
        while sum(len(p[0]) for p in parts) < n:
            batch = to_float(batches.in_order(step), system.device)
            x, wanted = sides(system, batch)
            y = system.translate(x, direction=direction_of(system)).float()  # type: ignore[operator]
            parts.append((as_large(x, wanted).cpu(), wanted.cpu(), y.cpu().clamp(-1, 1)))
            step += 1
        a, b, y = (torch.cat(side)[:n] for side in zip(*parts, strict=True))
        kept = vars(c)["_translated"] = (a, b, y)
    return kept


def direction_of(system: System | None) -> str:
    """The direction that is measured; empty where a system has none."""
    if isinstance(system, Restores):
        return next(iter(system.directions), "")  # type: ignore[attr-defined]
    return "a2b"


def shows_pairs(system: System, paired: bool) -> bool:
    """True where translations can be laid beside what they should be; `paired` says whether the data are pairs."""
    return isinstance(system, Translates) and (paired or (isinstance(system, Restores) and bool(direction_of(system))))


def sides(system: System, batch: Batch) -> tuple[Tensor, Tensor]:
    """What is translated, and what it should become."""
    if isinstance(system, Restores):
        return system.degrade(batch["image"]), batch["image"]
    return batch["a"], batch["b"]


def as_large(x: Tensor, like: Tensor) -> Tensor:
    """A small image with large pixels, so that it can stand beside the large one."""
    if x.shape[2:] == like.shape[2:] or like.shape[2] % x.shape[2]:
        return x
    scale = like.shape[2] // x.shape[2]
    return x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def per_image(c: Comparison, name: str) -> Tensor:
    """One measure of every translation, float64 [n]; kept for the comparison.

    Raises:
        UserError: The images are too small or have the wrong channels for it, or weights are missing.
    """
    _, b, y = translated(c)
    known = vars(c).setdefault("_per_image", {})
    if name not in known:
        if name == "SSIM" and min(b.shape[2:]) < 11:
            raise UserError(f"SSIM needs 11 pixels; these images are {b.shape[2]}x{b.shape[3]}")
        if name == "LPIPS":
            if b.shape[1] not in (1, 3):
                raise UserError(f"LPIPS takes gray or RGB images; these have {b.shape[1]} channels")
            net = FeatureNet("alexnet")
            if min(b.shape[2:]) < net.smallest:
                raise UserError(f"LPIPS needs {net.smallest} pixels; these images are {b.shape[2]}x{b.shape[3]}")
            known[name] = lpips_distances(y, b, net.load())
        else:
            function = {"PSNR": psnr, "SSIM": ssim, "L1": l1_percent}[name]
            intensities = [(x + 1) / 2 for x in (y, b)]
            known[name] = function(*intensities, data_range=1).double().clamp(max=100)  # equal images: 100 dB
    return known[name]


def fidelity(c: Comparison) -> list[Record]:
    """PSNR, SSIM and L1 of translations against their partners."""
    start = time.time()
    names = ["PSNR", "SSIM", "L1"] if min(translated(c)[1].shape[2:]) >= 11 else ["PSNR", "L1"]
    return [_record(c, name, start) for name in names]


def perceptual(c: Comparison) -> list[Record]:
    """LPIPS of translations against their partners."""
    return [_record(c, "LPIPS", time.time())]


def _record(c: Comparison, name: str, start: float) -> Record:
    values, test = per_image(c, name), c.real_set
    unit, better, words = HOW[name]
    _, b, _ = translated(c)
    net = FeatureNet("alexnet").card if name == "LPIPS" else {}
    return Record(
        measure=f"translation {name}", value=float(values.mean()),
        se=float(values.std() / math.sqrt(len(values))) if len(values) > 1 else None, unit=unit, better=better, n=len(values),
        data=test.name, split=test.split, data_digest=content_digest(((b + 1) * 127.5).round().to(torch.uint8)), seed=c.seed,
        extractor=net.get("name"), digest=net.get("digest"), seconds=round(time.time() - start, 1),
        protocol=f"{words}; {len(values):,} {_pairs(c.system)} of {test.name} {test.split}, floats in [-1, 1]", more={"words": words},
    )  # fmt: skip


def _pairs(system: System | None) -> str:
    """What was translated, in words."""
    if isinstance(system, Restores):
        return f"images, degraded by the system itself (direction {direction_of(system)}),"
    return "a2b pairs"


MEASURES = (
    Measure(
        "pairs",
        "PSNR, SSIM and L1 of translations against their partners",
        fidelity,
        ("translates",),
        ("b",),
        False,
        False,
    ),
    Measure("lpips", "LPIPS of translations against their partners", perceptual, ("translates",), ("b",), False, False),
    Measure(
        "restored",
        "PSNR, SSIM and L1 of restored images",
        fidelity,
        ("translates", "restores"),
        ("image",),
        False,
        False,
    ),
    Measure(
        "restored-lpips", "LPIPS of restored images", perceptual, ("translates", "restores"), ("image",), False, False
    ),
)
