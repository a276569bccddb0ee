"""Sample pictures during training: the same noise every time, chosen by capability."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import (
    Completes,
    Decodes,
    Encodes,
    Prompted,
    Restores,
    Samples,
    Translates,
)
from genzoo.core.system import Batch, System
from genzoo.data import kinds
from genzoo.data.drawing.images import grid, titled
from genzoo.metrics.drawing import EACH, rows_by_label, rows_by_prompt, takes_labels, takes_prompts
from genzoo.saved.randomness import untouched_randomness
from genzoo.text.vocabulary import to_text
from genzoo.training.runtime import Runtime

ROWS = 6
"""Captions in a picture."""


@torch.no_grad()
def preview(system: System, batch: Batch, runtime: Runtime, *, seed: int = 0) -> np.ndarray | Tensor | None:
    """Draw the picture that tells most of a system: inputs over their translations, rows by class; or return plain samples [n, ...].

    None where it can show nothing yet.
    """
    was_training = system.training
    system.eval()
    try:
        with untouched_randomness(runtime.device, seed) as generator, runtime.autocast():
            if isinstance(system, Restores) and isinstance(system, Translates) and "image" in batch:
                rows = _restorations(system, batch["image"][:8])
                if isinstance(system, Completes):
                    rows += _completion(system, batch["image"][:8], generator)[1:]
                return grid(torch.cat(rows), columns=8)
            if isinstance(system, Translates):
                return grid(torch.cat(_translations(system, batch)), columns=8)
            if takes_labels(system):
                return kinds.of(system).picture(rows_by_label(system, seed), columns=EACH)
            if takes_prompts(system) and "caption" in batch:
                return _told(system, batch, seed)
            if isinstance(system, Samples):
                kind, arrangement = kinds.declared(system.data)
                return system.sample(arrangement.previewed or kind.previewed, generator=generator).float().cpu()
            if isinstance(system, Encodes) and isinstance(system, Decodes) and "image" in batch:
                x = batch["image"][:16]
                return grid(torch.cat([x, system.decode(system.encode(x)).float()]), columns=8)
            if isinstance(system, Completes) and "image" in batch:
                return grid(torch.cat(_completion(system, batch["image"][:8], generator)), columns=8)
    finally:
        system.train(was_training)
    return None


def _told(system: System, batch: Batch, seed: int) -> np.ndarray:
    """Draw samples of the first captions of the data, under the captions."""
    assert isinstance(system, Prompted)
    vocabulary = system.vocabulary
    rows = [to_text(row.tolist(), vocabulary) for row in batch["caption"]]
    captions = [c for c in dict.fromkeys(rows) if c.strip("? ")][:ROWS]
    drawn = rows_by_prompt(system, captions, seed)
    return titled(drawn, captions)


def _completion(system: Completes, x: Tensor, generator: Generator) -> list[Tensor]:
    """Return images, and the same with a central hole of half the sides filled in."""
    known = torch.ones_like(x[:, :1], dtype=torch.bool)
    h, w = x.shape[-2:]
    known[..., h // 4 : h // 4 + h // 2, w // 4 : w // 4 + w // 2] = False
    return [x, system.complete(x, known, generator=generator).float()]


def _restorations(system: System, x: Tensor) -> list[Tensor]:
    """Return images, what they were degraded to (small ones with large pixels), and what the system makes of that."""
    assert isinstance(system, Restores)
    assert isinstance(system, Translates)
    low = system.degrade(x)
    large = low.repeat_interleave(system.scale, 2).repeat_interleave(system.scale, 3)
    rows = [x, large.expand_as(x)] + [system.translate(low, direction=d).float() for d in system.directions]
    missing = -len(x) % 8
    return [torch.cat([r, torch.ones_like(r[:1]).expand(missing, -1, -1, -1)]) for r in rows] if missing else rows


def _translations(system: Translates, batch: Batch) -> list[Tensor]:
    rows: list[Tensor] = []
    for direction in system.directions:
        x = batch[direction.split("2")[0]][:8]
        # Of maps of numbers, and of more channels than a picture has, the first channel is shown.
        rows += [x if x.shape[1] in (1, 3, 4) else x[:, :1], system.translate(x, direction=direction).float()]
        if len(x) < 8:
            rows[-2:] = [torch.cat([r, torch.ones_like(r[:1]).expand(8 - len(r), *r.shape[1:])]) for r in rows[-2:]]
    channels = max(r.shape[1] for r in rows)
    return [r.expand(-1, channels, -1, -1) if r.shape[1] == 1 else r for r in rows]
