"""Principal directions of latent space: along which the images change most, found from draws alone.

GANSpace (Härkönen et al., arXiv:2004.02546, section 3.1) for any system that decodes: the principal components of what `decode` gives for draws from
the prior, here of the images themselves, brought to 32 pixels a side, and for each component the latent direction by regression of
latents on components' scores. A component of more than one image (a class, say) moves only what is noise.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.metrics.drawing import TELL
from genzoo.use.common.source import Source, generators_for, name_of, open_system, require

COUNT = 12
"""Directions that are found, at most."""
SIDE = 32
"""Images are averaged down to this side before their components are taken."""
FEWEST, MOST, VALUES = 256, 1024, 3 * 2**22
"""Draws: as many as make `VALUES` numbers, within bounds."""
CHUNK = 32
"""Draws that are decoded at once."""


@dataclass(frozen=True)
class Directions:
    """What was found.

    Args:
        steps: One standard deviation of the prior along each direction, [K, ...] as latents without a first dimension; 0 where no noise is.
        shares: Share of the images' variance that each component has, [K].
        draws: Of how many images.
    """

    steps: Tensor
    shares: Tensor
    draws: int

    def move(self, moves: Sequence[tuple[float, int]], like: Tensor) -> Tensor:
        """Return the sum of moves (how many standard deviations, which direction from 1 on), to be added to a latent like `like` [1, ...].

        Raises:
            UserError: There is no such direction.
        """
        total = torch.zeros_like(self.steps[0])
        for amount, number in moves:
            if not 0 < number <= len(self.steps):
                raise UserError(f"d{number}: there are {len(self.steps)} directions, d1 to d{len(self.steps)}")
            total = total + amount * self.steps[number - 1]
        return total.to(like).expand(like.shape[1:])[None]


_FOUND: weakref.WeakKeyDictionary[System, Directions] = weakref.WeakKeyDictionary()


@torch.no_grad()
def principal(source: Source) -> Directions:
    """Find the principal directions of a system, the one that changes images most first; of one system once.

    Draws are those of seed 0 with the system's own defaults. The sign of a direction is that in which its largest entry is positive, and steps
    are rounded to four decimals, so that what is written about them is true elsewhere.

    Raises:
        UserError: The system has no decoder, its latents are codes, or its images do not change with them.
    """
    system = open_system(source)
    if system in _FOUND:
        return _FOUND[system]
    decoder = require(system, Decodes, verb="directions")
    size = math.prod(system.hparams.get("shape", (1, 64, 64)))
    n, tell = min(MOST, max(FEWEST, VALUES // size)), TELL.get()
    latents, features = [], []
    for first in range(0, n, CHUNK):
        z = decoder.sample_prior(CHUNK, generator=generators_for(system, 0, CHUNK, first))
        if not z.is_floating_point():
            raise UserError(
                f"directions: the latents of {name_of(system)} are codes of a finite set and have no directions"
            )
        latents.append(z.float().cpu())
        features.append(_small(decoder.decode(z).float().cpu()))
        if tell:
            tell(min(n, first + CHUNK), n)
    _FOUND[system] = found = _regressed(torch.cat(latents).double(), torch.cat(features).double(), system)
    return found


def _small(x: Tensor) -> Tensor:
    """Bring data [n, C, ...] to at most `SIDE` a side, [n, F]."""
    size = [min(SIDE, s) for s in x.shape[2:]]
    if x.ndim == 4:
        x = F.adaptive_avg_pool2d(x, (size[0], size[1]))
    elif x.ndim == 5:
        x = F.adaptive_avg_pool3d(x, (size[0], size[1], size[2]))
    return x.flatten(1)


def _regressed(z: Tensor, x: Tensor, system: System) -> Directions:
    shape, n = z.shape[1:], len(z)
    noise = z.clone()
    if system.conditions:
        noise[:, -system.conditions :] = 0
        # what a class changes is no direction of the noise: taken out by least squares
        said = torch.cat([z[:, -system.conditions :], torch.ones(n, 1, dtype=z.dtype)], 1)
        x = x - said @ torch.linalg.lstsq(said, x, driver="gelsd").solution
    flat = (noise - noise.mean(0)).flatten(1)
    x = x - x.mean(0)
    left, spread, _ = torch.linalg.svd(x, full_matrices=False)
    total = float(spread.square().sum())
    free = int((flat.square().mean(0) > 1e-12).sum())
    count = min(COUNT, free, int((spread.square() > 1e-8 * total).sum()) if total > 1e-9 * n else 0)
    if not count:
        raise UserError(f"directions: the images of {name_of(system)} do not change with its latents")
    ways = F.normalize(left[:, :count].T @ flat, dim=1)
    ways = ways * ways.gather(1, ways.abs().argmax(1, keepdim=True)).sign()
    lengths = (flat @ ways.T).std(0)
    steps = (ways * lengths[:, None]).view(count, *shape)
    return Directions((steps * 1e4).round().div(1e4).float(), (spread.square()[:count] / max(total, 1e-12)).float(), n)
