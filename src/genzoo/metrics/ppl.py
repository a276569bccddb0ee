"""Perceptual path length: how fast images change along a path through the latent space.

    PPL = E d( G(ψ(z₁, z₂; t)), G(ψ(z₁, z₂; t + ε)) ) / ε²         (Karras et al., arXiv:1812.04948, section 4.1)

for any decoder, any latent draw and any squared distance d (LPIPS in the paper, whose values compare only with its own).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.losses.perceptual import lpips
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record
from genzoo.nn.pretrained.perceptual import FeatureNet

MEASURE = Measure(
    name="ppl",
    line="perceptual path length of the decoder: LPIPS with extractor=vgg16, else squared feature distances, and it says which",
    question="codes",
    gives=(
        Value("PPL (LPIPS)", better="lower", extractor="vgg16"),
        Value("PPL on lenet-mnist-v1", better="lower", extractor="lenet-mnist-v1"),
        Value("PPL on lenet-fashion-v1", better="lower", extractor="lenet-fashion-v1"),
        Value("PPL on inception-tf-2015-12-05", better="lower", extractor="inception"),
        Value("PPL on efficientnet-lite0", better="lower", extractor="efficientnet-lite0"),
        Value("PPL on {network}", better="lower"),
    ),
    needs=("decodes",),
    images=False,
    features=False,
    network=True,
    also=("path-length",),
    known=(
        Known(
            "ppl-wfull",
            extractor="vgg16",
            needs=("mixes",),
            note="whole paths in w, ε = 1e-4; NVIDIA's takes 50,000 (n=50000), and crops faces",
        ),
        Known(
            "ppl-zfull",
            extractor="vgg16",
            without=("mixes",),
            note="whole paths in z, ε = 1e-4; NVIDIA's takes 50,000 (n=50000), and crops faces",
        ),
        Known(
            "ppl-wend",
            also=("ppl2-wend", "ppl-zend"),
            refused="it is of the ends of paths, and ppl of whole paths: ppl_wfull (styles) or ppl_zfull is nearest",
        ),
    ),
    protocol=(("epsilon", "step"),),
)
MOST, STEP = 1000, 1e-3


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return a + t (b − a) for [N, ...] and t [N]."""
    t = t.view(-1, *[1] * (a.ndim - 1)).to(a)
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return points on the great circles from a to b, [N, ...], at t [N]; lengths go linearly from |a| to |b|.

    Where the two point the same way (or one is zero) the path is straight; where they are opposite it has no direction and is straight
    as well.
    """
    x, y = a.flatten(1).double(), b.flatten(1).double()
    nx, ny = x.norm(dim=1, keepdim=True), y.norm(dim=1, keepdim=True)
    u, v = x / nx.clamp(min=1e-300), y / ny.clamp(min=1e-300)
    cosine = (u * v).sum(1, keepdim=True).clamp(-1, 1)
    angle, s = cosine.acos(), t.view(-1, 1).to(x)
    across = v - cosine * u  # the part of v at a right angle to u, of length sin(angle)
    size = across.norm(dim=1, keepdim=True)
    arc = (s * angle).cos() * u + (s * angle).sin() * across / size.clamp(min=1e-300)
    straight = (size < 1e-9) | (nx == 0) | (ny == 0)
    out = torch.where(straight, x + s * (y - x), arc * (nx + s * (ny - nx)))
    return out.view_as(a).to(a.dtype)


Path = Callable[[Tensor, Tensor, Tensor], Tensor]
PATHS: dict[str, Path] = {"lerp": lerp, "slerp": slerp}


def held(conditions: int, path: Path) -> Path:
    """Hold the last `conditions` entries (a class, say) of a path of latents [N, D] at what they are in the first latent."""

    def go(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        noise = a.shape[1] - conditions
        return torch.cat([path(a[:, :noise], b[:, :noise], t), a[:, noise:]], 1)

    return go if conditions else path


@torch.no_grad()
def path_length(
    decode: Callable[[Tensor], Tensor],
    latent: Callable[[int, Generator], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    *,
    n: int = 10_000,
    path: Literal["lerp", "slerp"] | Path = "slerp",
    sampling: Literal["full", "end"] = "full",
    epsilon: float = 1e-4,
    discard: tuple[float, float] = (0.01, 0.99),
    batch: int = 100,
    seed: int = 0,
) -> dict[str, float]:
    """Return the mean of d / ε² over random short steps: `value`, `se`, and the numbers behind it.

    Args:
        decode: Latents [B, ...] to images, without randomness of its own.
        latent: (B, generator) to latents [B, ...].
        distance: Two batches of images to squared distances [B].
        n: Paths.
        path: "slerp" for latents on (or near) a sphere, as Gaussian ones; "lerp" for others, as StyleGAN's w; or a function like these.
        sampling: "full": t uniform on the path; "end": t = 0.
        epsilon: Length of the step, of the path's 1. Too small, and float32 images do not change.
        discard: Quantiles outside which values are left out before the mean, as the paper does; (0, 1) keeps all.
        batch: Paths at a time.
        seed: Seed of latents and places.

    Returns:
        `value`, the mean of the kept values, and its `se`; `mean_all`, without discarding; `median`; `kept`, `n`, `epsilon`.

    Raises:
        UserError: A choice that does not exist, ε or quantiles out of range, fewer than two paths, distances that are not [B], negative,
            NaN or infinite.
    """
    way = path if callable(path) else PATHS.get(path)
    if way is None or sampling not in ("full", "end"):
        raise UserError(f"path is one of {', '.join(PATHS)} and sampling full or end, not {path} and {sampling}")
    low, high = discard
    if n < 2 or batch < 1 or not 0 < epsilon < 1 or not 0 <= low < high <= 1:
        raise UserError(
            f"n ≥ 2, batch ≥ 1, 0 < epsilon < 1 and 0 ≤ low < high ≤ 1 are needed, not {n}, {batch}, {epsilon}, {discard}"
        )
    g = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, n, batch):
        size = min(batch, n - start)
        a, b = latent(size, g), latent(size, g)
        t = torch.rand(size, generator=g, dtype=torch.float64) if sampling == "full" else torch.zeros(size).double()
        # One batch through the decoder: batch statistics, if it has any, are then those of both ends.
        both = decode(torch.cat([way(a, b, t), way(a, b, t + epsilon)]))
        d = distance(*both.chunk(2)).detach().double().cpu()
        if d.shape != (size,) or not bool(d.isfinite().all()) or bool((d < 0).any()):
            raise UserError(f"the distance must give {size} finite values of at least 0, it gave {tuple(d.shape)}")
        parts.append(d / epsilon**2)
    values = torch.cat(parts)
    order = values.sort().values
    kept = order[math.floor(low * (n - 1)) : math.ceil(high * (n - 1)) + 1]
    # The error of a trimmed mean is that of values drawn in to the ends of what is kept (Tukey and McLaughlin 1963): the ends move as well.
    drawn_in = values.clamp(float(kept[0]), float(kept[-1]))
    se = float(drawn_in.std()) / math.sqrt(n) * (n / len(kept))
    return {
        "value": float(kept.mean()), "se": se, "mean_all": float(values.mean()), "median": float(values.median()),
        "kept": len(kept), "n": n, "epsilon": epsilon, "seed": seed,
    }  # fmt: skip


def take(c: Comparison) -> list[Record]:
    """Return the perceptual path length of the decoder: LPIPS where the network is VGG-16, else squared distances of features."""
    start, system, net = time.time(), c.asked_system, c.net
    assert isinstance(system, Decodes)
    if net is None:
        raise UserError("path length needs a feature network; give extractor=")
    learned = FeatureNet("vgg16") if net.name.startswith("vgg16") else None

    @torch.no_grad()
    def distance(a: Tensor, b: Tensor) -> Tensor:
        x, y = (v.float().cpu().clamp(-1, 1) for v in (a, b))
        if learned is not None:
            return lpips(learned, x, y)
        fa, fb = (net.features((v + 1) * 127.5) for v in (x, y))  # not rounded: the steps are tiny
        return (fa.double() - fb.double()).square().sum(1)

    n, curved = min(c.n, MOST), system.latent_path == "spherical"
    route, ways = (slerp, "great circles") if curved else (lerp, "straight lines")
    if system.conditions:
        ways += ", classes or codes held,"
    was_training = system.training
    system.eval()
    try:
        got = path_length(
            system.decode,
            lambda k, g: system.sample_prior(k, generator=g),
            distance, n=n, path=held(system.conditions, route), epsilon=STEP, seed=c.seed,
        )  # fmt: skip
    finally:
        system.train(was_training)
    what = (
        "LPIPS (VGG-16) of images at their size"
        if learned is not None
        else f"squared distance of {net.name} features (not LPIPS)"
    )
    return [
        Record(
            **MEASURE.says("PPL (LPIPS)" if learned is not None else f"PPL on {net.name}"), value=got["value"], se=got["se"], n=n,
            protocol=f"perceptual path length: mean of d / ε² over {n:,} steps of ε = {STEP} on {ways} between latents, d the {what}, "
            f"values outside the 1 and 99 per cent quantiles left out; seed {c.seed}",
            extractor=net.name, digest=net.digest, resize="none" if learned is not None else net.resize, seed=c.seed,
            seconds=round(time.time() - start, 1), more={"epsilon": STEP},
        )
    ]  # fmt: skip
