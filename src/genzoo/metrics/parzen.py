"""The Parzen-window log-likelihood of 2014: a kernel density estimate on samples, scored on test images.

Protocol of Goodfellow et al. (arXiv:1406.2661) and Breuleux et al. (2011): pixels in [0, 1], 10,000 samples, the bandwidth from ten
values between 0.1 and 1 by the log-likelihood of 1,000 validation images, the mean over 10,000 test images in nats with its standard
error. Cluster centres of the training images beat the real images on it (335 against 243 nats on MNIST), so it is a check against
the papers of its day and not a measure of quality (Theis et al., arXiv:1511.01844).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.real import real_images
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="parzen",
    line="the Parzen-window log-likelihood of the papers of 2014: a comparison with their tables, and no measure of quality",
    question="likelihood",
    gives=(Value("Parzen log-likelihood", unit="nats"),),
    features=False,
    train=True,
    default=False,
    protocol=(("dims", "dimensions"),),
)
MOST, VALIDATION = 10_000, 1_000
"""Samples and images of the protocol."""

SIGMAS = tuple(10 ** (-1 + i / 9) for i in range(10))


@torch.no_grad()
def parzen_log_prob(samples: Tensor, points: Tensor, sigma: float, *, chunk: int = 1000) -> Tensor:
    """Return log p(point) in nats, float64 [M], under Gaussians of width `sigma` at the samples.

    Args:
        samples: [N, ...]; pixels in [0, 1] for the protocol.
        points: [M, ...].
        sigma: Standard deviation of every kernel.
        chunk: Points at a time; memory is chunk · N.

    Raises:
        UserError: Samples and points of different size, none of either, NaN or infinite values, or σ not positive.
    """
    if not sigma > 0:
        raise UserError(f"sigma must be more than 0, not {sigma}")
    samples, points = checked_pair(samples.flatten(1), points.flatten(1), ("samples", "points"), at_least=1)
    # Distances by one matrix product in float64: |x|² + |y|² − 2xy loses half of float32's digits at these bandwidths.
    s = samples.cpu().double()
    squares = torch.linalg.vecdot(s, s)  # without a copy of the samples
    constant = math.log(len(s)) + s.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    parts = []
    for x in points.cpu().split(chunk):
        x = x.double()
        distance = torch.addmm(squares, x, s.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_(min=0)
        parts.append(torch.logsumexp(distance.mul_(-0.5 / sigma**2), 1) - constant)
    return torch.cat(parts)


def choose_sigma(samples: Tensor, validation: Tensor, sigmas: tuple[float, ...] = SIGMAS) -> float:
    """Return the bandwidth with the highest mean log-likelihood of the validation points."""
    return max(sigmas, key=lambda s: float(parzen_log_prob(samples, validation, s).mean()))


def parzen(samples: Tensor, validation: Tensor, test: Tensor, sigmas: tuple[float, ...] = SIGMAS) -> dict[str, float]:
    """Return the Parzen log-likelihood of `test`: mean, standard error (nats), the bandwidth, and the numbers of images.

    Args:
        samples: [N, ...] in [0, 1].
        validation: [V, ...] in [0, 1], not among the test points.
        test: [M, ...] in [0, 1], M ≥ 2.
        sigmas: Bandwidths to choose from.

    Raises:
        UserError: What `parzen_log_prob` refuses, or a single test point.
    """
    if len(test) < 2:
        raise UserError(f"a standard error needs at least two test points, there are {len(test)}")
    sigma = choose_sigma(samples, validation, sigmas)
    values = parzen_log_prob(samples, test, sigma)
    return {
        "value": float(values.mean()),
        "se": float(values.std() / math.sqrt(len(values))),
        "sigma": sigma,
        "samples": len(samples),
        "validation": len(validation),
        "n": len(values),
    }


def take(c: Comparison) -> list[Record]:
    """Return the Parzen log-likelihood of the real images under the samples; the floor has training images in the samples' place."""
    start = time.time()
    c.same_shape()
    assert c.train is not None
    known = real_images(c.train)
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(c.seed))
    validation = known[order[: min(VALIDATION, len(known) // 2)]].float() / 255
    rest = known[order[len(validation) :]][: min(c.n_fake, MOST)].float() / 255
    test, fake = c.real.float() / 255, c.fake[:MOST].float() / 255
    got = parzen(fake, validation, test)
    floor = parzen(rest, validation, test)["value"] if c.floors else None
    words = (
        f"mean log-density of the real images under Gaussians of width {got['sigma']:.3g} (of ten, by {len(validation):,} training images) at "
        f"{len(fake):,} samples, pixels in [0, 1]; a check against the papers of 2014 and no measure of quality: k-means centres beat real images"
    )
    return [
        c.record(
            MEASURE.says("Parzen log-likelihood"), got["value"], words, start, features=False, se=got["se"], floor=floor,
            n_floor=count(rest), spread="the real images, with the samples given", sigma=got["sigma"], dims=test[0].numel(),
        )
    ]  # fmt: skip
