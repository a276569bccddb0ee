"""From which law latents come, as another program has to draw them: known where a latent is what was drawn, number for number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from genzoo.use.exports.noise import NORMAL, UNIFORM, Drawn

KEPT = 16
"""Latents that are kept as examples where the law is not known."""
OTHER = "other"

FORMS: tuple[tuple[str, str, Callable[[Tensor], Tensor]], ...] = (
    (NORMAL, NORMAL, lambda x: x),
    (UNIFORM, UNIFORM, lambda x: x),
    (UNIFORM, "uniform [-1, 1)", lambda x: x * 2 - 1),
    (UNIFORM, "logistic (0, 1)", torch.logit),
)
"""The law of a draw, the law of a stretch of a latent that is made of it, and how it is made."""


def columns_of(system: Any) -> list[dict[str, Any]]:
    """Name the law of every stretch of a system's latents [n, D]: normal, uniform, logistic, one-hot; empty for latents of another form.

    The latent is compared with what `sample_prior` draws, number for number: a stretch that is none of the known forms is "other".
    """
    n = 64
    with Drawn(source=Generator().manual_seed(0)) as drawn:
        z = system.sample_prior(n, generator=Generator().manual_seed(0))
    if z.ndim != 2:
        return []
    found: list[dict[str, Any]] = []
    at = 0
    for law, count, x in zip(drawn.laws, drawn.counts, drawn.kept, strict=True):
        for name, made in _made(law, count, x):
            if (
                made.ndim == 2
                and (end := at + made.shape[1]) <= z.shape[1]
                and torch.allclose(z[:, at:end], made.to(z), rtol=1e-6, atol=1e-6)
            ):
                if end > at:
                    found.append({"from": at, "to": end, "law": name})
                at = end
                break
    if at < z.shape[1]:
        found.append({"from": at, "to": z.shape[1], "law": OTHER})
    return found


def known(columns: list[dict[str, Any]]) -> bool:
    """Tell whether another program can draw such latents."""
    return bool(columns) and all(c["law"] != OTHER for c in columns)


def law_of_latents(system: Any) -> dict[str, Any]:
    """Describe latents: `columns` (see `columns_of`), and where a law is not known `examples`, drawn with seed 0."""
    columns = columns_of(system)
    if known(columns):
        return {"columns": columns}
    return {"columns": columns, "examples": system.sample_prior(KEPT, generator=Generator().manual_seed(0)).tolist()}


def _made(law: str, count: int, x: Tensor) -> list[tuple[str, Tensor]]:
    """Return what a draw may have become, and the law of that."""
    if count:
        return [(f"one-hot of {count}, equally likely", F.one_hot(x, count).float())]
    return [(name, make(x)) for needs, name, make in FORMS if needs == law]
