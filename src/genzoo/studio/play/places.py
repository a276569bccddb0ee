"""Places of latent space as the page writes them, whose z7 are latents that the server keeps, turned into what a command can read."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.studio.play.results import Result, Store
from genzoo.use.decode import LONGEST

_KEPT = re.compile(r"(?<![\w\[=])z(\d+)")


def numbered(at: str, key: str, store: Store) -> tuple[str, Tensor | None]:
    """Return places with the kept latents numbered from 1 on, and these latents, [N, ...]; None where there are none.

    Raises:
        UserError: One is not kept any more, or the text is too long.
    """
    if len(at) > LONGEST:
        raise UserError(f"at= has {len(at):,} characters; at most {LONGEST:,} are read")
    known: dict[int, int] = {}

    def renamed(found: re.Match[str]) -> str:
        known.setdefault(int(found[1]), len(known) + 1)
        return f"z{known[int(found[1])]}"

    text = "".join(part if part.startswith("[") else _KEPT.sub(renamed, part) for part in re.split(r"(\[[^\]]*\])", at))
    if not known:
        return text, None
    latents = [store.latent(key, number) for number in known]
    most = max(z.ndim for z in latents)
    layers = next((z.shape[1] for z in latents if z.ndim == 3), 0)
    one_form = [z if z.ndim == most else z[:, None].expand(-1, layers, -1) for z in latents]
    return text, torch.cat(one_form)


def beside(result: Result, latents: Tensor | None) -> Result:
    """Add to a result the file of latents that its command reads."""
    if latents is None:
        return result
    return result.reads("latents.npy", lambda path: np.save(path, latents.numpy(), allow_pickle=False))


def reading(latents: Tensor | None) -> Sequence[str]:
    """Return the words by which a command reads this file."""
    return () if latents is None else ("latents=latents.npy",)
