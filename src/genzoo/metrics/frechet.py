"""The Fréchet distance between two sets of features, as between Gaussians with their means and covariances.

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁ Σ₂)^½        (Dowson and Landau 1982; Heusel et al., arXiv:1706.08500)

Everything is float64. The trace of the square root is the nuclear norm of H₁ᵀH₂ for any Σᵢ = HᵢHᵢᵀ, so no matrix square root is ever
taken: `scipy.linalg.sqrtm` returns −1e59 on rank-deficient covariances in some versions, and Newton-Schulz iteration stops 15 % off on
ill-conditioned ones.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.data import Dataset
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.errors import smooth_error
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.maths.inputs import checked, checked_pair
from genzoo.metrics.maths.moments import Moments
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.real import as_levels
from genzoo.metrics.records import Record
from genzoo.metrics.reference import Reference

MEASURE = Measure(
    name="frechet",
    line="Fréchet distance of features: FLD or FID",
    question="distance",
    gives=(
        Value("FLD", better="lower"),
        Value("FID", better="lower", extractor="inception"),
        Value("clean-FID", better="lower", extractor="inception-clean"),
        Value("pytorch-FID", better="lower", extractor="inception-pytorch"),
        Value("FD-EfficientNet-Lite0", better="lower", extractor="efficientnet-lite0"),
        Value("FD-VGG16", better="lower", extractor="vgg16"),
        Value("random-feature distance (sanity only, not a quality measure)", better="lower", extractor="random"),
        Value("FD-{network}", better="lower"),
    ),
    statistics=True,
    known=(
        Known(
            "fid50k",
            n=50_000,
            n_real=50_000,
            split="train",
            extractor="inception",
            note="50,000 samples against at most 50,000 training images by Inception, as NVIDIA's code has it "
            "(there mirrored as well, where the training was)",
        ),
        Known(
            "fid50k-full",
            n=50_000,
            n_real=-1,
            split="train",
            extractor="inception",
            note="50,000 samples against all training images by Inception, as NVIDIA's code has it "
            "(there mirrored as well, where the training was)",
        ),
        Known(
            "fid10k",
            n=10_000,
            extractor="inception",
            note="10,000 samples by Inception, against the part of the data that split= names; what others call so differs in that part",
        ),
        Known(
            "fd-dinov2",
            refused="it needs DINOv2, which genzoo does not have; frechet with extractor=efficientnet-lite0, or a file of weights, is nearest",
        ),
    ),
)
LEAST = 200
"""Samples from which on a Fréchet distance has a standard error."""


def frechet_from_moments(a: Moments, reference: Moments) -> float:
    """Return the squared Fréchet distance from moments; the factorization of `reference` is kept for the next call."""
    h = reference.half
    overlap = torch.linalg.eigvalsh(h.T @ a.covariance @ h).clamp_min(0).sqrt().sum()
    traces = a.covariance.trace() + reference.covariance.trace()
    return _distance(a.mean, reference.mean, traces, overlap)


def frechet_to_reference(features: Tensor, reference: Moments) -> float:
    """Return the squared Fréchet distance of features [N, D] to a reference whose factorization is kept for the next call.

    With fewer examples than features the covariance is never formed: the overlap is the nuclear norm of the [N, D] product of the
    centred features with the reference's half.
    """
    x = checked(features, at_least=2, dims=len(reference.mean))
    if len(x) >= x.shape[1]:
        return frechet_from_moments(Moments.of(x), reference)
    mean, x = _standard(x.to("cpu", torch.float64))
    traces = x.square().sum() + reference.covariance.trace()
    return _distance(mean, reference.mean, traces, torch.linalg.svdvals(x @ reference.half).sum())


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Return the squared Fréchet distance between features [N, D] and [M, D] (the number that FID and FLD report).

    With fewer examples than features on both sides it comes from the singular values of the [N, M] cross-Gram matrix: exact, and
    several times faster than any [D, D] factorization. A set of identical images has covariance 0: the distance is then
    |μ₁ − μ₂|² + tr Σ of the other set.

    Raises:
        UserError: Shapes that do not fit, fewer than two examples on a side, NaN or infinite values.
    """
    a, b = checked_pair(a, b, ("the first features", "the second features"))
    if max(len(a), len(b)) >= a.shape[1]:
        return frechet_from_moments(Moments.of(a), Moments.of(b))
    (mean_a, x), (mean_b, y) = (_standard(f.to("cpu", torch.float64)) for f in (a, b))
    return _distance(mean_a, mean_b, x.square().sum() + y.square().sum(), torch.linalg.svdvals(x @ y.T).sum())


def _standard(x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean, and centred rows over √(n − 1), whose Gram matrix is the covariance."""
    mean = x.mean(0)
    return mean, (x - mean) / (len(x) - 1) ** 0.5


def _distance(mean_a: Tensor, mean_b: Tensor, traces: Tensor, overlap: Tensor) -> float:
    return max(0.0, float((mean_a - mean_b).square().sum() + traces - 2 * overlap))


# ---- the measure -------------------------------------------------------------------------------------------------------------------


def take(c: Comparison) -> list[Record]:
    """Return the Fréchet distance: FLD on a LeNet's features, FID on Inception's, FD-NAME on another network's."""
    start, net = time.time(), c.network
    real = c.reference.moments if c.reference is not None else Moments.of(c.real_features)
    value = (
        frechet_to_reference(c.fake_features, real)
        if c.reference
        else frechet_distance(c.fake_features, c.real_features)
    )
    floor = None if c.reference else c.floor(c.floor_features, lambda x: frechet_distance(x, c.real_features))
    words = (
        f"squared Fréchet distance of {net.name} features (weights {net.digest[:12]}); float64, unbiased covariances"
    )
    known = c.reference.count or c.n_fake if c.reference else len(c.real_features)
    if min(c.n_fake, known) < net.dims:
        words += f"; fewer images than the {net.dims} features: strongly biased, compare at equal numbers only"
    return [
        c.record(
            MEASURE.says(net.measure), value, words, start, se=frechet_error(c.fake_features, real),
            floor=floor, n_floor=None if floor is None else count(c.floor_features),
        )
    ]  # fmt: skip


def between(a: Reference, b: Reference, net: tuple[str, str, str, str] | None) -> Record:
    """Return the Fréchet distance between two files of statistics, without any image.

    Args:
        a: The ones.
        b: The others.
        net: Name, digest, resizer and measure of the network that both are of; None where neither says.

    Raises:
        UserError: They have different numbers of features.
    """
    start = time.time()
    if a.dims != b.dims:
        raise UserError(
            f"{a.name} has the statistics of {a.dims:,} features and {b.name} of {b.dims:,}; a distance is between features of one network"
        )
    value = frechet_from_moments(a.moments, b.moments)
    words = f"squared Fréchet distance of {net[0]} features (weights {net[1][:12]}; {net[2]})" if net else (
        "squared Fréchet distance of features of which neither file says whose network and resizer they are"
    )  # fmt: skip
    few = min((r.count for r in (a, b) if r.count is not None), default=a.dims)
    protocol = f"{words}; float64; the statistics (mu, sigma) in {a.name}, {a.of}, against those in {b.name}, {b.of}; no image was looked at"
    if few < a.dims:
        protocol += f"; fewer images than the {a.dims} features: strongly biased, compare at equal numbers only"
    name, digest, resize, measure = net or ("unstated", None, None, "FD-unstated")
    return Record(
        **MEASURE.says(measure), value=value, protocol=protocol, n=a.count or 0, n_real=b.count, n_fake=a.count, data=b.name, split="statistics",
        data_digest=b.digest, extractor=name, digest=digest, resize=resize, seconds=round(time.time() - start, 1),
        more={"words": words, "samples_digest": a.digest},
    )  # fmt: skip


def frechet_error(fake: Tensor, real: Moments) -> float | None:
    """Return the standard error of a Fréchet distance over draws of the samples, with the real ones given; None for fewer than `LEAST`."""
    return None if len(fake) < LEAST else smooth_error(lambda part: frechet_to_reference(part, real), fake)


def image_report(
    samples: Tensor,
    test: Dataset,
    net: Extractor,
    *,
    train: Dataset | None = None,
    n_real: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score samples against the images of a data set by the Fréchet distance on an extractor's features.

    Args:
        samples: uint8 [N, C, H, W], or floats in [-1, 1] that are brought to grey levels.
        test: The real images, as a rule the test split.
        net: The extractor.
        train: The training split, for the floor: as many of its images as there are samples, against the same real images.
        n_real: Real images, chosen by seed; all of them by default.
        seed: Seed of that choice (and of the floor's).

    Returns:
        A record (see `genzoo.metrics.records.Record`): measure (FLD or FID), value, se, floor (None without `train`), n_fake, n_real,
        n_floor, split, data, data_digest, extractor, digest, resize, quantization, seed, library, seconds, protocol in words.
    """
    return take(Comparison(test=test, train=train, net=net, given=as_levels(samples), n_real=n_real, seed=seed))[
        0
    ].to_json()
