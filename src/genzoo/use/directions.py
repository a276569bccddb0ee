"""Show the principal directions of latent space: along which the images change most (see `genzoo.use.common.directions`)."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from genzoo.use.common.directions import COUNT, principal
from genzoo.use.common.source import Source, open_system
from genzoo.use.decode import decode
from genzoo.use.sample import Seed

Rows = Annotated[int, Field(ge=1, le=COUNT)]
Columns = Annotated[int, Field(ge=2, le=33)]
Reach = Annotated[float, Field(gt=0, le=20)]


@torch.no_grad()
def directions(source: Source, rows: Rows = 6, columns: Columns = 7, seed: Seed = 0, reach: Reach = 3.0) -> Tensor:
    """Return images along principal directions, [rows, columns, C, H, W] in [-1, 1]: each row from -reach to reach standard deviations.

    Args:
        source: A run, its path, or a system.
        rows: Directions, the one that changes images most first; as many as there are, where there are fewer.
        columns: Images of a row; with an odd number the one in the middle is that of the seed.
        seed: Where they start.
        reach: How far they go, in standard deviations of the prior along the direction.

    Raises:
        UserError: The system has no decoder, or its latents no directions.
    """
    system = open_system(source)
    rows = min(rows, len(principal(system).steps))
    amounts = [reach * (2 * i / (columns - 1) - 1) for i in range(columns)]
    at = "; ".join(f"s{seed} {a:+.6f}d{k + 1}" for k in range(rows) for a in amounts)
    images = decode(system, at)
    return images.view(rows, columns, *images.shape[1:])
