"""Measures of what a system can do beside sampling: its likelihood, its reconstructions, its latent space."""

from __future__ import annotations

import inspect
import math
import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Batches, to_float
from genzoo.losses.perceptual import lpips
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.likelihood import evaluate_density
from genzoo.metrics.measures import Measure
from genzoo.metrics.ppl import held, lerp, path_length, slerp
from genzoo.metrics.records import Record, content_digest
from genzoo.metrics.similarity import psnr, ssim
from genzoo.nn.pretrained.perceptual import FeatureNet

RECONSTRUCTED = 1000
IWAE_SAMPLES = 5000
IWAE_EXAMPLES = 100
PATHS, STEP = 1000, 1e-3
LARGEST_CONDITION = 1024
"""Dimensions. A Jacobian costs as much as one training example for each; beyond this, an evaluation would be mostly that."""


def likelihood(c: Comparison) -> list[Record]:
    """Negative log-likelihood in nats, and bits per dimension of images."""
    system, test = _system(c), c.real_set
    return _density_records(evaluate_density(system, test, n=min(c.n_scored, len(test)), seed=c.seed))


def _density_records(got: dict[str, Any], name: str = "") -> list[Record]:
    same = {
        k: got[k] for k in ("n", "data", "split", "data_digest", "seed", "library", "seconds", "protocol")
    }  # fmt: skip
    more = {k: got[k] for k in ("likelihood", "levels", "binarize", "samples") if k in got}
    found = [
        Record(measure=f"NLL{name}", value=got["nll"], se=got["se"], unit="nats", better="lower", more=more, **same)
    ]
    if "bits_per_sample" in got:
        found.append(
            Record(
                measure=f"bits/sample{name}", value=got["bits_per_sample"], se=got["bits_per_sample_se"], unit="bits/sample",
                better="lower", more=more, **same,
            )
        )  # fmt: skip
    if "bits_per_dim" in got:
        more |= {"dims": got["dims"]}
        found.append(
            Record(
                measure=f"bits/dim{name}", value=got["bits_per_dim"], se=got["bits_per_dim_se"], unit="bits/dim", better="lower",
                more=more, **same,
            )
        )  # fmt: skip
    return found


def importance(c: Comparison) -> list[Record]:
    """The importance-weighted bound with 5,000 draws for each of the first hundred examples."""
    system, test = _system(c), c.real_set
    if "samples" not in inspect.signature(type(system).log_prob).parameters:
        raise UserError(
            "log_prob of this system takes no number of samples: there is no importance-weighted bound to tighten"
        )
    n = min(c.n_scored, IWAE_EXAMPLES, len(test))
    return _density_records(
        evaluate_density(system, test, n=n, seed=c.seed, samples=IWAE_SAMPLES), f" IWAE-{IWAE_SAMPLES}"
    )


@torch.no_grad()
def reconstruction(c: Comparison) -> list[Record]:
    """PSNR and SSIM of decode(encode(x)), means over images."""
    start, system, test = time.time(), _system(c), c.real_set
    n = min(c.n_scored, RECONSTRUCTED, len(test))
    batches = Batches(test, min(100, n), c.seed)
    values: dict[str, list[Tensor]] = {"reconstruction PSNR": [], "reconstruction SSIM": []}
    seen, scored = 0, []
    was_training = system.training
    system.eval()
    try:
        while seen < n:
            x = to_float(batches.in_order(seen // batches.batch), system.device)["image"][: n - seen]
            back = system.decode(system.encode(x)).float().cpu()  # type: ignore[operator]
            x = x.cpu()
            scored.append(((x + 1) * 127.5).round().to(torch.uint8))
            values["reconstruction PSNR"].append(psnr(x, back.clamp(-1, 1), data_range=2))
            if min(x.shape[2:]) >= 11:
                values["reconstruction SSIM"].append(ssim((x + 1) / 2, (back.clamp(-1, 1) + 1) / 2, data_range=1))
            seen += len(x)
    finally:
        system.train(was_training)
    how = {
        "reconstruction PSNR": ("dB", "PSNR"),
        "reconstruction SSIM": ("", "SSIM (Gaussian window 11, σ 1.5, valid part, intensities from 0)"),
    }
    found = []
    for name, parts in values.items():
        if not parts:
            continue
        v = torch.cat(parts).double().clamp(max=100)
        unit, text = how[name]
        found.append(
            Record(
                measure=name, value=float(v.mean()), unit=unit, better="higher", n=n,
                se=float(v.std() / math.sqrt(n)) if n > 1 else None,
                protocol=f"mean over {n:,} examples of {test.name} {test.split} of the {text} of decode(encode(x)) clamped to [-1, 1]",
                data=test.name, split=test.split, data_digest=content_digest(*scored), seed=c.seed,
                seconds=round(time.time() - start, 1), more={"binarize": test.settings.binarize},
            )
        )  # fmt: skip
    return found


def conditioning(c: Comparison) -> list[Record]:
    """How far an invertible map stretches and squeezes: log10 of the ratio of its Jacobian's extreme singular values."""
    start, system, test = time.time(), _system(c), c.real_set
    field = "image" if "image" in test.fields else "points"
    dims = math.prod(test.fields[field].shape[1:])
    if dims > LARGEST_CONDITION:
        raise UserError(
            f"{dims} dimensions; evaluate takes it up to {LARGEST_CONDITION}, system.jacobian_condition(images) further"
        )
    n = min(c.n_scored, 2 if field == "image" else 200, len(test))
    x = to_float(Batches(test, n, c.seed).in_order(0), system.device)[field]
    largest, smallest = system.jacobian_condition(x).T  # type: ignore[operator]
    protocol = (
        f"median over {n} examples of {test.name} {test.split} of log10 of the ratio of the largest ({largest.max():.3g} at most) to the "
        f"smallest ({smallest.min():.3g} at least) singular value of the Jacobian, by autograd"
    )
    return [
        Record(
            measure="condition of the Jacobian", value=float((largest / smallest).log10().median()), unit="log10", better="lower", n=n,
            protocol=protocol, data=test.name, split=test.split, seed=c.seed, seconds=round(time.time() - start, 1),
        )
    ]  # fmt: skip


def paths(c: Comparison) -> list[Record]:
    """Perceptual path length of the decoder: LPIPS where the network is VGG-16, else squared distances of features."""
    start, system, net = time.time(), _system(c), c.net
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

    n, curved = min(c.n, PATHS), system.latent_path == "spherical"
    route, ways = (slerp, "great circles") if curved else (lerp, "straight lines")
    if system.conditions:
        ways += ", classes or codes held,"
    was_training = system.training
    system.eval()
    try:
        got = path_length(
            system.decode,  # type: ignore[arg-type]
            lambda k, g: system.sample_prior(k, generator=g),  # type: ignore[operator]
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
            measure="PPL (LPIPS)" if learned is not None else f"PPL on {net.name}", value=got["value"], se=got["se"], better="lower", n=n,
            protocol=f"perceptual path length: mean of d / ε² over {n:,} steps of ε = {STEP} on {ways} between latents, d the {what}, "
            f"values outside the 1 and 99 per cent quantiles left out; seed {c.seed}",
            extractor=net.name, digest=net.digest, resize="none" if learned is not None else net.resize, seed=c.seed,
            seconds=round(time.time() - start, 1), more={"epsilon": STEP},
        )
    ]  # fmt: skip


def _system(c: Comparison) -> System:
    if c.system is None:
        raise UserError("this measure asks a system, and there are only samples")
    return c.system


EVERY = ("image", "points", "audio")
MEASURES = (
    Measure("nll", "negative log-likelihood, bits per dimension", likelihood, needs=("density",), fields=EVERY, images=False, features=False),
    Measure(
        "iwae", "importance-weighted bound with 5,000 draws, 100 examples", importance, needs=("density",), fields=EVERY, images=False,
        features=False, default=False,
    ),
    Measure(
        "reconstruction", "PSNR and SSIM of decode(encode(x))", reconstruction, needs=("encodes", "decodes"), features=False
    ),
    Measure(
        "condition", "condition of the Jacobian of an invertible map", conditioning, needs=("inverts",), fields=("image", "points"), images=False,
        features=False,
    ),
    Measure("ppl", "perceptual path length of the decoder", paths, needs=("decodes",), images=False),
)  # fmt: skip
"""In the order in which they are taken."""
