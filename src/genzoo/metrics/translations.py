"""The translations of held-out images, made once: what measures of a translator compare with the images that they should be.

A system that restores what it has degraded itself (`Restores`) makes pairs of plain images: the degraded one and the image.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Restores, Translates, capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, System
from genzoo.data import Batches, Dataset, to_float
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.comparison import MOST_REAL, Comparison
from genzoo.metrics.errors import mean_error
from genzoo.metrics.held import held
from genzoo.metrics.maths.lpips import lpips_distances
from genzoo.metrics.maths.similarity import l1_percent, psnr, ssim, y_psnr, y_ssim
from genzoo.metrics.measure import Measure
from genzoo.metrics.records import Record, content_digest
from genzoo.nn.pretrained.perceptual import FeatureNet

MOST = 1000
"""Pairs that are translated, at most."""
MOST_VALUES = 300_000_000
"""Values of whole translations that are held in memory at most; a picture of 512x512 has 786,432."""
HOW = {
    "PSNR": "PSNR, mean over images",
    "SSIM": "SSIM (Gaussian window 11, σ 1.5, valid part, intensities from 0), mean over images",
    "L1": "mean absolute difference in per cent of the range",
    "LPIPS": "LPIPS (AlexNet with its published heads, images at their own size)",
}
"""What is computed of each translation."""
ENLARGED = "of the luma (BT.601, 16 to 235, peak 255) of 8 bits without {border} pixels at the border, mean over images"
"""How PSNR and SSIM of super-resolution are taken."""


@torch.no_grad()
def translated(c: Comparison) -> tuple[Tensor, Tensor, Tensor]:
    """Return side A, side B, and the translations of A, float32 [n, C, H, W] in [-1, 1] on the CPU; made once for a comparison.

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
        n, parts, step = min(c.n_scored, MOST, len(test)), list[tuple[Tensor, ...]](), 0
        if whole(c):
            n = min(n, max(16, MOST_VALUES // test.fields["image" if "image" in test.fields else "b"][0].size))
        batches = Batches(_uncut(test) if whole(c) else test, 1 if whole(c) else min(16, n), c.seed)
        system.eval()
        while sum(len(p[0]) for p in parts) < n:
            batch = to_float(batches.in_order(step), system.device)
            x, wanted = sides(system, batch)
            y = _translate(c, x, direction_of(system))
            parts.append((as_large(x, wanted).cpu(), wanted.cpu(), y))
            step += 1
        a, b, y = (torch.cat(side)[:n] for side in zip(*parts, strict=True))
        kept = vars(c)["_translated"] = (a, b, y)
    return kept


def whole(c: Comparison) -> bool:
    """Tell whether training cut pieces out of the images: a translation is judged by whole ones, tile by tile where they are large."""
    return bool(c.real_set.settings.crop) and c.translate is not None


def _uncut(data: Dataset) -> Dataset:
    return replace(data, settings=replace(data.settings, crop=None))


def _translate(c: Comparison, x: Tensor, direction: str) -> Tensor:
    """Translate images in [-1, 1], and return them on the CPU."""
    assert c.system is not None
    if whole(c):
        assert c.translate is not None
        return c.translate(x, direction).float().cpu().clamp(-1, 1)
    assert isinstance(c.system, Translates)
    return c.system.translate(x, direction=direction).float().cpu().clamp(-1, 1)


# ---- translations as samples ---------------------------------------------------------------------------------------------------


def of_translations(m: Measure, c: Comparison) -> bool:
    """Tell whether a measure of samples is taken of translations: the system draws none, but makes images that should look like side B."""
    if (
        c.system is None
        or c.given is not None
        or c.test is None
        or "samples" not in m.needs
        or "image" not in m.defined_on
    ):
        return False
    able = capabilities(c.system)
    sides = "b" in c.test.fields or ("restores" in able and "image" in c.test.fields and bool(direction_of(c.system)))
    return "translates" in able and "samples" not in able and sides


@torch.no_grad()
def translations(c: Comparison) -> Comparison:
    """Return a comparison of the translations of side A with the images of side B; made once.

    Of a system that restores what it has degraded itself they are the restored images beside the images.
    """
    kept = vars(c).get("_translations")
    if kept is None:
        system, test = c.system, c.real_set
        assert system is not None
        direction = direction_of(system)
        if test.paired or isinstance(system, Restores):
            y = to_uint8(translated(c)[2])
        else:
            n = min(c.n, MOST_REAL, len(test.fields["a"]))
            alone = replace(_uncut(test) if whole(c) else test, fields={"a": test.fields["a"]})
            batches = Batches(alone, 1 if whole(c) else 16, c.seed)
            system.eval()
            steps = range(-(-n // batches.batch))
            made = (
                to_uint8(_translate(c, to_float(batches.in_order(step), system.device)["a"], direction))
                for step in steps
            )
            y = held(made, min(len(test.fields["a"]), len(steps) * batches.batch))[:n]
        what = "restored images" if isinstance(system, Restores) else f"translations of side A ({direction})"
        kept = vars(c)["_translations"] = replace(
            c, test=_plain(test, whole(c)), train=c.train and _plain(c.train, whole(c)), given=y, drawn=what, system=None, translate=None
        )  # fmt: skip
    return kept


def _plain(data: Dataset, uncut: bool) -> Dataset:
    """Take side B as plain images of 8 bits."""
    images = data.fields["b"] if "b" in data.fields else data.fields["image"]
    if images.dtype == np.uint16:
        images = ((images.astype(np.uint32) + 128) // 257).astype(np.uint8)
    plain = replace(
        data, fields={"image": images}, paired=False, instances=False, digest=f"{data.digest} side B", rows={}
    )
    return _uncut(plain) if uncut else plain


def direction_of(system: System | None) -> str:
    """Name the direction that is measured; empty where a system has none."""
    if isinstance(system, Restores):
        return next(iter(system.directions), "")
    return "a2b"


def shows_pairs(system: System, paired: bool) -> bool:
    """Tell whether translations can be laid beside what they should be; `paired` says whether the data are pairs."""
    return isinstance(system, Translates) and (paired or (isinstance(system, Restores) and bool(direction_of(system))))


def sides(system: System, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return what is translated, and what it should become: an image to enlarge is cut to a multiple of the scale, as the field does."""
    if isinstance(system, Restores):
        x = batch["image"]
        height, width = (side - side % system.scale for side in x.shape[2:])
        x = x[:, :, :height, :width]
        return system.degrade(x), x
    return batch["a"], batch["b"]


def as_large(x: Tensor, like: Tensor) -> Tensor:
    """Enlarge the pixels of a small image, so that it can stand beside the large one."""
    if x.shape[2:] == like.shape[2:] or like.shape[2] % x.shape[2]:
        return x
    scale = like.shape[2] // x.shape[2]
    return x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def per_image(c: Comparison, name: str) -> Tensor:
    """Take one measure of every translation, float64 [n]; kept for the comparison.

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
        elif name in ("PSNR", "SSIM") and _border(c) and b.shape[1] in (1, 3):
            if name == "SSIM" and min(b.shape[2:]) < 11 + 2 * _border(c):
                raise UserError(
                    f"SSIM without {_border(c)} pixels at the border needs {11 + 2 * _border(c)} pixels; these images are {b.shape[2]}x{b.shape[3]}"
                )
            of_luma = {"PSNR": y_psnr, "SSIM": y_ssim}[name]
            values = [
                of_luma(to_uint8(p), to_uint8(q), border=_border(c))
                for p, q in zip(y.split(16), b.split(16), strict=True)
            ]
            known[name] = torch.cat(values).clamp(max=100)
        else:
            function = {"PSNR": psnr, "SSIM": ssim, "L1": l1_percent}[name]
            known[name] = (
                function((y + 1) / 2, (b + 1) / 2, data_range=1).double().clamp(max=100)
            )  # equal images: 100 dB
    values_of: Tensor = known[name]
    return values_of


def _border(c: Comparison) -> int:
    """Count the pixels that PSNR and SSIM leave out on every side: as many as a system enlarges; none where it does not."""
    return c.system.scale if isinstance(c.system, Restores) and c.system.scale > 1 else 0


def fidelity(c: Comparison, measure: Measure) -> list[Record]:
    """Return PSNR, SSIM and L1 of translations against their partners, as records of a measure."""
    start = time.time()
    names = ["PSNR", "SSIM", "L1"] if min(translated(c)[1].shape[2:]) >= 11 + 2 * _border(c) else ["PSNR", "L1"]
    return [record(c, measure, name, start) for name in names]


def record(c: Comparison, measure: Measure, name: str, start: float) -> Record:
    """Return the mean over translations of one of `HOW`, as a record of a measure."""
    values, test, words = per_image(c, name), c.real_set, HOW[name]
    _, b, _ = translated(c)
    net = FeatureNet("alexnet").card if name == "LPIPS" else {}
    form = "floats in [-1, 1]"
    if name in ("PSNR", "SSIM") and _border(c) and b.shape[1] in (1, 3):
        words, form = f"{name} {ENLARGED.format(border=_border(c))}", "8 bits"
    judged = f"{'whole images' if whole(c) else 'images'} of {b.shape[2]}x{b.shape[3]}, {form}"
    return Record(
        **measure.says(f"translation {name}"), value=float(values.mean()), se=mean_error(values), n=len(values),
        data=test.name, split=test.split, data_digest=content_digest(((b + 1) * 127.5).round().to(torch.uint8)), seed=c.seed,
        extractor=net.get("name"), digest=net.get("digest"), seconds=round(time.time() - start, 1),
        protocol=f"{words}; {len(values):,} {_pairs(c.system)} of {test.name} {test.split}, {judged}; ± is over draws of the images",
        more={"words": words, "judged": f"{words}; {judged}"},
    )  # fmt: skip


def _pairs(system: System | None) -> str:
    """Say in words what was translated."""
    if isinstance(system, Restores):
        return f"images, degraded by the system itself (direction {direction_of(system)}),"
    return "a2b pairs"
