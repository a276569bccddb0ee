"""Project images into latent space: the latents whose images come nearest, found by gradients through the decoder.

Karras et al. (arXiv:1912.04958, appendix D) for any system that decodes: Adam from a good start, with noise on the latent that fades, and a
rate that rises at the beginning and falls at the end. Of a style-based generator the latents are its styles w; a flow, whose images are rounded to
grey levels, has them from its encoder.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Decodes, capabilities
from genzoo.core.errors import UserError
from genzoo.losses.perceptual import lpips
from genzoo.metrics.drawing import TELL
from genzoo.metrics.maths.lpips import lpips_network
from genzoo.use.common.arrays import as_tensor, shape_is_said
from genzoo.use.common.precision import computing
from genzoo.use.common.source import CHUNK, Source, generator_for, name_of, open_system, require, whole
from genzoo.use.sample import Seed

Loss = Literal["pixels", "alexnet", "vgg16"]
Steps = Annotated[int, Field(ge=1, le=100_000)]
Rate = Annotated[float, Field(gt=0, le=10)]
Starts = Annotated[int, Field(ge=1, le=100_000)]
RISE, FALL = 0.05, 0.25
"""Shares of the steps in which the rate rises from 0 and falls back to it."""
NOISE, QUIET = 0.05, 0.75
"""Noise on the latent at the start, in standard deviations of the prior's draws, and the share of the steps after which there is none."""
TOGETHER = 16
"""Images that are projected at once."""
FRAMES = 60
"""Most pictures of the way from the start to the end."""


@dataclass(frozen=True)
class Projection:
    """What was found for N images."""

    latents: Tensor
    """[N, ...], as `decode` takes them."""
    images: Tensor
    """What they decode to, [N, C, H, W] in [-1, 1]."""
    loss: Tensor
    """How far that is from what was given, [N]: the mean squared error, or LPIPS plus that."""
    way: Tensor
    """Images of the way from the start to the end, [N, T, C, H, W]."""


def project(
    source: Source,
    images: Any,
    *,
    steps: Steps = 300,
    loss: Loss = "pixels",
    rate: Rate = 0.1,
    starts: Starts = 256,
    seed: Seed = 0,
) -> Projection:
    """Find the latents whose images come nearest to `images`.

    Args:
        source: A run, its path, or a system.
        images: [N, C, H, W] in [-1, 1], in the shape that the system decodes to; also an array, or uint8.
        steps: Steps of the search.
        loss: pixels, the mean squared error; alexnet or vgg16, LPIPS by that network, plus the mean squared error.
        rate: Learning rate, in standard deviations of the prior's draws.
        starts: Draws from the prior of which the nearest is each image's start. What is asked for beside noise (a class, say) stays
            as it is there.
        seed: Seed of draws and of noise.

    Raises:
        UserError: The system has no decoder or none that has gradients, the images are of another shape, or weights are missing.
    """
    system = open_system(source)
    decoder = require(system, Decodes, verb="project")
    x = as_tensor(images, "project").to(system.device)
    steps, starts = whole("steps", steps, least=1), whole("starts", starts, least=1)
    if not len(x):
        raise UserError("project: no images were given")
    if loss != "pixels" and x.ndim != 4:
        raise UserError(f"project: loss={loss} is for images; give loss=pixels")
    net = None if loss == "pixels" else lpips_network(loss)

    def distance(y: Tensor, to: Tensor) -> Tensor:
        squared = (y.float() - to).square().flatten(1).mean(1)
        return squared if net is None else squared + lpips(net, y.float(), to)

    generator = generator_for(system, seed)
    with torch.no_grad():
        draws = torch.cat(
            [decoder.sample_prior(min(CHUNK, starts - i), generator=generator) for i in range(0, starts, CHUNK)]
        )
    if not draws.is_floating_point():
        raise UserError(f"project: the latents of {name_of(system)} are codes of a finite set and have no gradient")
    spread = (
        _noise(draws, system.conditions).float().std().clamp_min(1e-6)
        if len(draws) > 1
        else torch.ones((), device=x.device)
    )
    decode = _with_gradients(system)
    found, tell = [], TELL.get()
    for i, part in enumerate(x.split(TOGETHER)):
        done = i * steps

        def told(step: int, done: int = done) -> None:
            if tell:
                tell(done + step, steps * math.ceil(len(x) / TOGETHER))

        with shape_is_said(part, system, "project"):
            start = _nearest(part, draws, decoder.decode)
        found.append(
            _search(part, start, decode, distance, system, steps, rate * spread, NOISE * spread, generator, told)
        )
    latents, shown, losses, ways = zip(*found, strict=True)
    return Projection(torch.cat(latents).cpu(), torch.cat(shown).cpu(), torch.cat(losses).cpu(), torch.cat(ways).cpu())


def _with_gradients(system: Any) -> Callable[[Tensor], Tensor]:
    """Return `decode` without the decorator that turns gradients off, which is right for every other use of it."""
    method = inspect.unwrap(type(system).decode)

    def decode(z: Tensor) -> Tensor:
        with computing(system):
            images: Tensor = method(system, z).float()
        return images

    return decode


def _noise(z: Tensor, conditions: int) -> Tensor:
    """Cut off what a latent [N, D] says beside noise."""
    return z[:, : z.shape[1] - conditions] if conditions else z


def _nearest(x: Tensor, draws: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
    """Choose for each of `x` the draw whose image has the least squared error."""
    best = torch.full((len(x),), math.inf, device=x.device)
    chosen = torch.zeros(len(x), dtype=torch.long, device=x.device)
    flat = x.flatten(1)
    for i in range(0, len(draws), CHUNK):
        images = decode(draws[i : i + CHUNK]).float().flatten(1)
        if images.shape[1] != flat.shape[1]:
            raise ValueError(f"decoded to {images.shape[1]} values, given {flat.shape[1]}")
        least, where = torch.cdist(flat, images).min(1)
        nearer = least < best
        best, chosen = torch.where(nearer, least, best), torch.where(nearer, where + i, chosen)
    return draws[chosen].clone()


def _search(
    x: Tensor,
    start: Tensor,
    decode: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    system: Any,
    steps: int,
    rate: Tensor,
    noise: Tensor,
    generator: torch.Generator,
    told: Callable[[int], None],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Go down from `start`; returns latents, images, losses and the way of the best that was passed without noise."""
    z = start.clone().requires_grad_()
    keep = torch.ones_like(z)
    if system.conditions:
        keep[:, z.shape[1] - system.conditions :] = 0
    adam = torch.optim.Adam([z], lr=float(rate), betas=(0.9, 0.999))
    with torch.no_grad():
        shown = decode(z)
        best, best_z, best_images = distance(shown, x), z.detach().clone(), shown.detach().clone()
    every = max(1, math.ceil(steps / (FRAMES - 1)))
    way = [shown.detach().float()]
    for step in range(steps):
        t = step / steps
        scale = min(1.0, (1 - t) / FALL)
        adam.param_groups[0]["lr"] = (
            float(rate) * (0.5 - 0.5 * math.cos(math.pi * scale)) * min(1.0, (step + 1) / max(1.0, steps * RISE))
        )
        loud = float(noise) * max(0.0, 1 - t / QUIET) ** 2
        shift = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype) * loud * keep
        images = decode(z + shift)
        if not images.requires_grad:
            raise UserError(
                f"project: the decoder of {name_of(system)} gives no gradients: its latents cannot be searched"
            )
        losses = distance(images, x)
        (slope,) = torch.autograd.grad(losses.sum(), z)
        if not step and not bool(slope.any()):
            if "encodes" not in capabilities(system):
                raise UserError(
                    f"project: the images of {name_of(system)} do not change with its latents: there is nothing to search"
                )
            with torch.no_grad():  # rounded to grey levels, as a flow's are: its encoder gives the latents themselves
                z = system.encode(x)
            break
        if loud == 0.0:
            with torch.no_grad():
                nearer = losses < best
                best = torch.where(nearer, losses, best)
                best_z[nearer], best_images[nearer] = z.detach()[nearer], images.detach()[nearer]
        z.grad = slope * keep
        adam.step()
        if (step + 1) % every == 0:
            way.append(images.detach().float())
        told(step + 1)
    with torch.no_grad():
        images = decode(z)
        losses = distance(images, x)
        nearer = losses < best
        best_z[nearer], best_images[nearer] = z.detach()[nearer], images[nearer]
    return best_z, best_images.float(), torch.where(nearer, losses, best), torch.stack([*way, best_images.float()], 1)
