"""How much of an image is left after encoding and decoding it: PSNR and SSIM of decode(encode(x)), means over images."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.capabilities import Decodes, Encodes
from genzoo.core.system import System
from genzoo.data import Batches, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.similarity import psnr, ssim
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, content_digest
from genzoo.ranks.spread import spread

MEASURE = Measure(
    name="reconstruction",
    line="PSNR (mean over images) and SSIM (valid part) of decode(encode(x))",
    question="codes",
    gives=(Value("reconstruction PSNR", unit="dB", better="higher"), Value("reconstruction SSIM", better="higher")),
    needs=("encodes", "decodes"),
    features=False,
    also=("psnr", "ssim"),
)
MOST, BATCH = 1000, 100
HOW = {
    "reconstruction PSNR": "PSNR",
    "reconstruction SSIM": "SSIM (Gaussian window 11, σ 1.5, valid part, intensities from 0)",
}


@torch.no_grad()
def take(c: Comparison) -> list[Record]:
    """Return PSNR and SSIM of decode(encode(x)), means over images."""
    start, system, test = time.time(), c.asked_system, c.real_set
    assert isinstance(system, Encodes)
    assert isinstance(system, Decodes)
    n = min(c.n_scored, MOST, len(test))
    batches = Batches(test, min(BATCH, n), c.seed)
    values: dict[str, list[Tensor]] = {name: [] for name in HOW}
    scored: list[Tensor] = []
    was_training = system.training
    system.eval()
    starts = range(0, n, batches.batch)
    shown = [to_float(batches.in_order(k), torch.device("cpu"))["image"][: n - start] for k, start in enumerate(starts)]
    try:
        backs = spread(_back, system, "system", system.origin, ((x,) for x in shown))
        for x, back in zip(shown, backs, strict=True):
            scored.append(((x + 1) * 127.5).round().to(torch.uint8))
            values["reconstruction PSNR"].append(psnr(x, back.clamp(-1, 1), data_range=2))
            if min(x.shape[2:]) >= 11:
                values["reconstruction SSIM"].append(ssim((x + 1) / 2, (back.clamp(-1, 1) + 1) / 2, data_range=1))
    finally:
        system.train(was_training)
    found = []
    for name, parts in values.items():
        if not parts:
            continue
        v = torch.cat(parts).double().clamp(max=100)
        found.append(
            Record(
                **MEASURE.says(name), value=float(v.mean()), n=n,
                se=float(v.std() / math.sqrt(n)) if n > 1 else None,
                protocol=f"mean over {n:,} examples of {test.name} {test.split} of the {HOW[name]} of decode(encode(x)) clamped to [-1, 1]",
                data=test.name, split=test.split, data_digest=content_digest(*scored), seed=c.seed,
                seconds=round(time.time() - start, 1), more={"binarize": test.settings.binarize},
            )
        )  # fmt: skip
    return found


@torch.no_grad()
def _back(system: System, x: Tensor) -> Tensor:
    assert isinstance(system, Encodes)
    assert isinstance(system, Decodes)
    return system.decode(system.encode(x.to(system.device))).float().cpu()
