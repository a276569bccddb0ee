"""Walk through latent space, between draws from the prior or between the codes of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Decodes, Encodes, Prompted
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data.drawing.clips import PER_SECOND
from genzoo.data.kinds import Kind
from genzoo.metrics.drawing import TELL
from genzoo.use.common.arrays import as_tensor, shape_is_said
from genzoo.use.common.source import CHUNK, Source, generators_for, open_system, options, require
from genzoo.use.decode import latents_at
from genzoo.use.sample import Seed, class_of, prompts_of, tell_unread

STEPS_PER_SECOND = 20 / 3
"""Of a film of stills."""
Rows = Annotated[int, Field(ge=1, le=64)]
Steps = Annotated[int, Field(ge=2, le=1000)]


def between(a: Tensor, b: Tensor, t: Tensor, *, spherical: bool = True) -> Tensor:
    """Place points between latents `a` and `b` [R, ...] at the times `t` [T] in [0, 1]: [R, T, ...].

    Spherical: sin((1-t)θ)/sin θ · a + sin(tθ)/sin θ · b with θ the angle between them (Shoemake, 1985), which keeps the
    norm that a Gaussian prior gives almost all its mass to; the middle of a straight line is far shorter than any sample.
    """
    shape, flat_a, flat_b = a.shape[1:], a.flatten(1).cpu().double(), b.flatten(1).cpu().double()
    t = t.double().view(1, -1, 1)
    cosine = torch.nn.functional.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    theta = cosine.arccos().view(-1, 1, 1)
    sine = theta.sin()
    curved = (((1 - t) * theta).sin() * flat_a[:, None] + (t * theta).sin() * flat_b[:, None]) / sine.clamp_min(1e-12)
    straight = (1 - t) * flat_a[:, None] + t * flat_b[:, None]
    # Parallel and opposite latents have no unique arc: the line is the limit of the first and as good as any for the second.
    path = torch.where((sine > 1e-6) & torch.tensor(spherical), curved, straight)
    return path.to(a).view(len(a), t.shape[1], *shape)


@torch.no_grad()
def walk(
    source: Source,
    rows: Rows = 8,
    steps: Steps = 10,
    seed: Seed = 0,
    path: Literal["spherical", "linear"] | None = None,
    images: Tensor | None = None,
    prompts: str | Sequence[str] | None = None,
    at: str | None = None,
    latents: Tensor | None = None,
    **own: Any,
) -> Tensor:
    """Decode `steps` latents on the way between pairs: [rows, steps, C, H, W] in [-1, 1].

    Args:
        source: A run, its path, or a system.
        rows: Walks; each is a row of the picture.
        steps: Pictures in a walk, both ends included.
        seed: Which ends are drawn from the prior: those of the samples of this seed, one after the other.
        path: spherical follows the arc, linear the straight line; what suits the system's latents when not given. Of a latent with a class,
            codes or a sentence in it only the noise takes an arc.
        images: Ends to encode in place of draws, [M, C, H, W] in [-1, 1]: M - 1 walks, from each to the next.
        prompts: Sentences to walk between, a list or text with semicolons, for a system that takes prompts: `rows` walks from each to
            the next, in straight lines between the sentences' vectors, with the same noise at all ends of a row.
        at: Places of latent space to walk between, such as "s0; s3 + 2d1; i1" (see `genzoo.use.decode`), where i1 ... are of `images`:
            a walk from each to the next.
        latents: What z1, z2 ... of `at` are.
        own: Options of the system's own `sample_prior`, such as truncation or label (a class's number or name), for ends that are drawn.

    Raises:
        UserError: The system has no decoder, or no such option, or `images` are given and it has no encoder, or `prompts` and it takes none.
    """
    system = open_system(source)
    if "label" in own:
        own["label"] = class_of(system, own["label"])
    given: dict[str, Any] = {}
    if at is not None and (own or prompts is not None):
        raise UserError(
            "walk: with at= leave out prompts= and options; a seed's own stand in brackets: at='s0[label=2]; s1'"
        )
    if own:
        require(system, Decodes, verb="walk")
        given = options(system, "sample_prior", own, verb="walk")
        if images is not None:
            raise UserError(f"walk: {', '.join(own)} goes with ends that are drawn, and images are given as ends")
        if prompts is not None and "prompt" in own:
            raise UserError("walk: give one of prompt= (one sentence for all) and prompts= (sentences to walk between)")
    if at is not None:
        decoder, ends = require(system, Decodes, verb="walk"), latents_at(system, at, images=images, latents=latents)
        if len(ends) < 2:
            raise UserError("walk: give at least two places to walk between: at='s0; s1'")
        starts, stops = ends[:-1], ends[1:]
    elif prompts is not None:
        decoder, _ = require(system, Decodes, Prompted, verb="walk")
        said = prompts_of(prompts)
        if len(said) < 2:
            raise UserError("walk: give at least two prompts to walk between: prompts='a red heart; a blue square'")
        tell_unread(system, said)
        each: list[dict[str, Any]] = [{**given, "prompt": p} for p in said]  # an option of its own, as of `sample`
        ends = torch.stack(
            [decoder.sample_prior(rows, generator=generators_for(system, seed, rows), **o) for o in each]
        )
        starts, stops, path = ends[:-1].flatten(0, 1), ends[1:].flatten(0, 1), "linear"
    elif images is not None:
        decoder, encoder = require(system, Decodes, Encodes, verb="walk")
        images = as_tensor(images, "walk")
        if len(images) < 2:
            raise UserError("walk: give at least two images to walk between")
        with shape_is_said(images, system, "walk"):
            ends = encoder.encode(images.to(system.device))
        starts, stops = ends[:-1], ends[1:]
    else:
        decoder = require(system, Decodes, verb="walk")
        # The last walk leads back to the first draw, so that all of them together are one ring.
        count = max(rows, 2)
        starts = decoder.sample_prior(count, generator=generators_for(system, seed, count), **given)
        starts, stops = starts[:rows], starts.roll(-1, 0)[:rows]
    z = way(system, starts, stops, torch.linspace(0, 1, steps), path or system.latent_path).flatten(0, 1)
    drawn, tell = [], TELL.get()
    for start in range(0, len(z), CHUNK):
        drawn.append(decoder.decode(z[start : start + CHUNK]).float().cpu())
        if tell:
            tell(min(start + CHUNK, len(z)), len(z))
    out = torch.cat(drawn)
    return out.view(len(starts), steps, *out.shape[1:])


def way(system: System, a: Tensor, b: Tensor, t: Tensor, path: str) -> Tensor:
    """Place latents between a system's latents `a` and `b` [R, ...] at the times `t` [T]: noise by `path`, conditions straight; [R, T, ...]."""
    if not system.conditions:
        return between(a, b, t, spherical=path == "spherical")
    sizes = [a.shape[1] - system.conditions, system.conditions]
    (noise_a, said_a), (noise_b, said_b) = a.split(sizes, 1), b.split(sizes, 1)
    noise = between(noise_a, noise_b, t, spherical=path == "spherical")
    return torch.cat([noise, between(said_a, said_b, t, spherical=False)], 2)


def per_second(kind: Kind) -> float:
    """Return the pictures of a walk in a second, where nobody says how fast: clips have a rate of their own, stills go slower."""
    return PER_SECOND if ".gif" in kind.files else STEPS_PER_SECOND


def joined(rows: Tensor) -> Tensor:
    """Join walks [R, T, ...], each of which begins where the one before it ends, into one, [1, R · (T - 1) + 1, ...]."""
    return torch.cat([rows[:, :-1].flatten(0, 1), rows[-1:, -1]])[None]


def frames(rows: Tensor, kind: Kind) -> list[np.ndarray]:
    """Return the pictures of a GIF: all rows walk at once and then go back, so that the GIF has no jump."""
    times = [*range(rows.shape[1]), *range(rows.shape[1] - 2, 0, -1)]
    return [kind.picture(rows[:, t]) for t in times]
