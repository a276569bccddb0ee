"""The measures by name: what each needs of a system and of the data, and how it makes its records.

Those of samples are here, those of a system with its likelihood, codes and latents in `genzoo.metrics.abilities`. `genzoo evaluate`
and a training with `measure=` take them from one table.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genzoo.core.errors import UserError, nearest
from genzoo.metrics.c2st import classifier_test, neighbour_test
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.errors import smooth_error
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.frechet import Moments, frechet_distance, frechet_to_reference
from genzoo.metrics.kid import kid
from genzoo.metrics.memorisation import authenticity, data_copying
from genzoo.metrics.ndb import ndb
from genzoo.metrics.prd import prd
from genzoo.metrics.prdc import prdc
from genzoo.metrics.records import Record, share_interval
from genzoo.metrics.scores import classifier_score
from genzoo.metrics.similarity import ms_ssim_diversity
from genzoo.metrics.sliced import pyramid_swd

LEAST = 200
"""Samples from which on a Fréchet distance has a standard error."""


@dataclass(frozen=True)
class Measure:
    """A measure that can be asked for.

    Args:
        name: The word in `measures=`.
        line: What it is, in one line.
        take: From a comparison to records.
        needs: Capabilities that a system must have; "samples" is met by given samples as well.
        fields: Kinds of examples that it is defined on.
        images: Whether it needs real images to compare with.
        features: Whether it needs a feature network.
        classifier: Whether that network must be a classifier of the data's classes.
        train: Whether it needs the training split.
        default: Whether it is taken when nothing is asked for.
    """

    name: str
    line: str
    take: Callable[[Comparison], list[Record]]
    needs: tuple[str, ...] = ("samples",)
    fields: tuple[str, ...] = ("image",)
    images: bool = True
    features: bool = True
    classifier: bool = False
    train: bool = False
    default: bool = True


def frechet(c: Comparison) -> list[Record]:
    """The Fréchet distance: FLD on a LeNet's features, FID on Inception's, FD-NAME on another network's."""
    start, net = time.time(), _net(c)
    if c.reference is not None and c.reference.dims != net.dims:
        raise UserError(
            f"{c.reference.name} has the statistics of {c.reference.dims:,} features, and {net.name} gives {net.dims:,}; give extractor= the network "
            "that they were made with"
        )
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
    if min(c.n_fake, c.n_fake if c.reference else len(c.real_features)) < net.dims:
        words += f"; fewer images than the {net.dims} features: strongly biased, compare at equal numbers only"
    return [
        c.record(
            net.measure, value, words, start, better="lower", se=frechet_error(c.fake_features, real),
            floor=floor, n_floor=None if floor is None else _count(c.floor_features),
        )
    ]  # fmt: skip


def frechet_error(fake: Tensor, real: Moments) -> float | None:
    """The standard error of a Fréchet distance over draws of the samples, with the real ones given; None for fewer than `LEAST`."""
    return None if len(fake) < LEAST else smooth_error(lambda part: frechet_to_reference(part, real), fake)


def kernel(c: Comparison) -> list[Record]:
    """KID, unbiased over all pairs."""
    start, net = time.time(), _net(c)
    got = kid(c.fake_features, c.real_features)
    floor = c.floor(c.floor_features, lambda x: kid(x, c.real_features)["value"])
    words = f"squared MMD with the kernel (x·y / {net.dims} + 1)³ on {net.name} features, all pairs, unbiased"
    return [
        c.record(
            _on("KID", net), got["value"], words, start, better="lower", se=got["se"], floor=floor,
            n_floor=_count(c.floor_features),
        )
    ]  # fmt: skip


def neighbourhoods(c: Comparison) -> list[Record]:
    """Precision, recall, density and coverage."""
    start, net = time.time(), _net(c)
    got = prdc(c.fake_features, c.real_features, k=c.k, errors=True, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: prdc(x, c.real_features, k=c.k)) or {}
    meaning = {
        "precision": "share of samples inside a neighbourhood of real images",
        "recall": "share of real images inside a neighbourhood of samples",
        "density": "neighbourhoods of real images that a sample is in, over k",
        "coverage": "share of neighbourhoods of real images with a sample inside",
    }
    found = []
    for name, text in meaning.items():
        words, se = f"{text}, k = {c.k} nearest neighbours by {net.name} features", got["se"][name]
        found.append(
            c.record(
                _on(name, net), got[name], words, start, better="higher", k=c.k, floor=floor.get(name), n_floor=_count(c.floor_features),
                se=se, interval=None if se is None or name == "density" else share_interval(got[name], se, c.n_fake),
            )
        )  # fmt: skip
    return found


def curve(c: Comparison) -> list[Record]:
    """The two F-scores of the PRD curve."""
    start, net = time.time(), _net(c)
    got = prd(c.fake_features, c.real_features, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: prd(x, c.real_features, seed=c.seed))
    return [
        c.record(
            _on(name, net), float(got[key]), f"{text} of the PRD curve, mean of 10 clusterings into 20 bins of {net.name} features", start,
            better="higher", floor=float(floor[key]) if floor else None, n_floor=_count(c.floor_features),
        )
        for name, key, text in (
            ("PRD F8", "f_8", "F score that weighs recall 8 times"),
            ("PRD F1/8", "f_1_8", "F score that weighs precision 8 times"),
        )
    ]  # fmt: skip


def two_samples(c: Comparison) -> list[Record]:
    """Accuracy of classifiers that tell samples from real images; one half is ideal."""
    start, net = time.time(), _net(c)
    got = classifier_test(c.fake_features, c.real_features, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: classifier_test(x, c.real_features, seed=c.seed)["value"])
    words = f"held-out accuracy of a classifier with 64 hidden units that tells samples from real images by {net.name} features; ½ is ideal"
    found = [
        c.record(
            _on("C2ST", net), got["value"], words, start, better="lower", se=got["se"], floor=floor,
            interval=share_interval(got["value"], got["se"], got["n"]), n_floor=_count(c.floor_features),
            spread="both the samples and the real images",
        )
    ]  # fmt: skip
    start = time.time()
    near = neighbour_test(c.fake_features, c.real_features, seed=c.seed)
    words = (
        f"leave-one-out accuracy of the nearest neighbour by {net.name} features; ½ is ideal, below it tells of copies"
    )
    return [
        *found,
        c.record(_on("1-NN accuracy", net), near["value"], words, start, on_fake=near["fake"], on_real=near["real"]),
    ]


def variety(c: Comparison) -> list[Record]:
    """Total variance of the samples' features over that of real images: a cheap sign of collapse."""
    start, net = time.time(), _net(c)
    real = float(c.real_features.double().var(0).sum())
    if not real > 0:
        raise UserError(
            f"all {len(c.real_features)} real images have the same features; there is no variety to compare with"
        )
    value = float(c.fake_features.double().var(0).sum()) / real
    floor = None if c.floor_features is None else float(c.floor_features.double().var(0).sum()) / real
    words = f"total variance of {net.name} features of samples over that of real images; well below 1 is collapse"
    return [c.record(_on("variety", net), value, words, start, floor=floor, n_floor=_count(c.floor_features))]


def bins(c: Comparison) -> list[Record]:
    """Share of bins that samples fill too often or too rarely."""
    start, net = time.time(), _net(c)
    count = min(100, min(c.n_fake, len(c.real_features)) // 10)
    if count < 2:
        raise UserError(
            f"NDB takes at least 20 samples and 20 real images, there are {c.n_fake} and {len(c.real_features)}"
        )
    got = ndb(c.fake_features, c.real_features, bins=count, seed=c.seed)
    words = (
        f"share of {count} k-means bins of {net.name} features whose share of samples differs from that of real images (z test, 5 %); "
        "floor: halves of the real images"
    )
    return [
        c.record(
            _on("NDB/K", net), float(got["value"]), words, start, better="lower", floor=float(got["halves"]),
            bins=count, jsd=float(got["jsd"]), jsd_of_halves=float(got["halves_jsd"]),
        )
    ]  # fmt: skip


def score(c: Comparison) -> list[Record]:
    """The Inception score's formula with the data's own classifier."""
    start, net = time.time(), _net(c)
    if net.logits is None:
        raise UserError(
            f"{net.name} is no classifier of these classes; the classifier score needs lenet-mnist-v1 or lenet-fashion-v1"
        )
    got = classifier_score(net.classify(c.fake))
    floor = c.floor(c.floor_images, lambda x: classifier_score(net.classify(x))["value"])
    words = f"exp E KL(p(y|x) ‖ p(y)) with the logits of {net.name} (weights {net.digest[:12]}), one split; not the Inception score"
    return [
        c.record(
            "classifier score", got["value"], words, start, better="higher", se=got["se"], floor=floor,
            n_floor=_count(c.floor_images),
        )
    ]  # fmt: skip


def memory(c: Comparison) -> list[Record]:
    """How many samples are not suspiciously near to a training image: AuthPct."""
    start = time.time()
    fake, train, test, points = c.train_points
    got = authenticity(fake, train)
    fresh = authenticity(test, train)["value"]
    words = (
        f"per cent of samples no nearer to a training image than that image is to another one, by {points} of {len(train):,} training images; "
        "floor: the real images in place of the samples"
    )
    return [
        c.record(
            "AuthPct", got["value"], words, start, features=not points.startswith("pixels"), unit="%", se=got["se"], floor=fresh,
            n_train=len(train), points=points,
        )
    ]  # fmt: skip


def copying(c: Comparison) -> list[Record]:
    """Whether samples are nearer to the training images than held-out images are: C_T."""
    start = time.time()
    fake, train, test, points = c.train_points
    got = data_copying(fake, train, test, seed=c.seed)
    words = (
        f"Mann-Whitney z of distances to {len(train):,} training images by {points}, samples against real images, mean over cells: far below 0 "
        f"is copying, far above 0 is too far away; where they are of one distribution its deviation is {got['null_sd']:.2f}, so z = {got['z']:.3g}"
    )
    return [
        c.record(
            "C_T", got["value"], words, start, features=not points.startswith("pixels"), se=got["se"], copies=got["copies"],
            share=got["share"], z=got["z"], null_sd=got["null_sd"], n_train=len(train), points=points,
        )
    ]  # fmt: skip


def diversity(c: Comparison) -> list[Record]:
    """How alike different samples are."""
    start, side = time.time(), min(c.fake.shape[2:])
    scales = next((s for s in (5, 4, 3, 2, 1) if side >> (s - 1) >= 11), 0)
    if not scales:
        raise UserError(f"MS-SSIM takes images of at least 11 pixels, these have {side}")
    options: dict[str, Any] = {"data_range": 255, "scales": scales, "pairs": min(1000, c.n_fake * (c.n_fake - 1) // 2)}
    got = ms_ssim_diversity(c.fake, **options, seed=c.seed)
    same_form = c.real.shape[1:] == c.fake.shape[1:]
    floor = ms_ssim_diversity(c.real, **options, seed=c.seed)["value"] if same_form else None
    words = f"MS-SSIM ({scales} scales) between {got['pairs']:,} pairs of different samples; floor: of different real images; above it: less variety"
    return [
        c.record(
            "MS-SSIM of pairs", got["value"], words, start, features=False, se=got["se"], floor=floor, scales=scales
        )
    ]


def pyramid(c: Comparison) -> list[Record]:
    """Sliced Wasserstein distance of patches of a Laplacian pyramid."""
    start, n = time.time(), min(c.n_fake, len(c.real))
    got = pyramid_swd(c.fake[:n], c.real[:n], seed=c.seed)
    floor = None
    if c.floor_images is not None and len(c.floor_images) >= n:
        floor = pyramid_swd(c.floor_images[:n], c.real[:n], seed=c.seed)["mean"]
    words = f"sliced Wasserstein distance x 1000 of 7x7 patches of a Laplacian pyramid, mean over levels, {n:,} images of each"
    return [
        c.record(
            "SWD x 1000", float(got["mean"]), words, start, features=False, better="lower", floor=floor, n_floor=n if floor else None,
            levels_swd={k: v for k, v in got.items() if k not in ("mean", "n")},
        )
    ]  # fmt: skip


def _net(c: Comparison) -> Extractor:
    if c.net is None:
        raise UserError("no feature network suits these images; give extractor=")
    return c.net


def _count(x: Tensor | None) -> int | None:
    return None if x is None else len(x)


def _on(name: str, net: Extractor) -> str:
    """The name of a measure that is no published one on random features."""
    return f"{name} on random features (sanity only)" if net.sanity else name


def table() -> dict[str, Measure]:
    """All measures by name, in the order in which they are taken."""
    from genzoo.metrics import abilities, pairs, retrieval
    from genzoo.metrics import statistics as moving

    def drawn(m: Measure) -> Measure:
        """Of a translator, measures of samples are taken of its translations."""
        return dataclasses.replace(
            m, take=lambda c: m.take(pairs.translations(c) if pairs.of_translations(m, c) else c)
        )

    return {
        m.name: drawn(m) if m.needs == ("samples",) else m
        for m in (
            *abilities.MEASURES,
            *moving.MEASURES,
            *pairs.MEASURES,
            Measure("frechet", "Fréchet distance of features: FLD or FID", frechet),
            Measure("kid", "kernel distance of features, unbiased", kernel),
            Measure("prdc", "precision, recall, density, coverage", neighbourhoods),
            Measure("variety", "variance of features over that of real images", variety),
            Measure("prd", "precision and recall for distributions: two F-scores", curve),
            Measure("c2st", "accuracy of classifiers that tell samples from data", two_samples),
            Measure("ndb", "share of bins that samples fill too often or too rarely", bins),
            Measure("score", "classifier score of the data's own classifier", score, classifier=True),
            Measure("memorisation", "per cent of samples that are no copies", memory, features=False, train=True),
            Measure(
                "copying",
                "C_T: are samples nearer to training images than fresh ones?",
                copying,
                features=False,
                train=True,
            ),
            Measure("diversity", "MS-SSIM between samples", diversity, features=False),
            Measure(
                "retrieval",
                "is an image's own sentence found among a hundred?",
                retrieval.take,
                needs=("samples", "prompted"),
                features=False,
                train=True,
                default=False,
            ),
            Measure("swd", "sliced Wasserstein distance of image pyramids", pyramid, features=False, default=False),
        )
    }


MEANT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("fid", "fld"), ("frechet",)),
    **dict.fromkeys(("precision", "recall", "density", "coverage"), ("prdc",)),
    **dict.fromkeys(("is", "inception-score", "inception_score"), ("score",)),
    **dict.fromkeys(("bits", "bpd", "bits/dim", "bits_per_dim", "likelihood"), ("nll",)),
    **dict.fromkeys(("psnr", "ssim"), ("reconstruction", "pairs", "restored")),
    **dict.fromkeys(("ms-ssim", "msssim"), ("diversity",)),
}
"""Names that people know values by, and the measures that give them: those of these that apply."""


def alternatives(names: str | list[str] | tuple[str, ...]) -> list[tuple[Measure, ...]]:
    """For each of these names ("fid,kid" or a list) the measures that it may mean, one as a rule.

    Raises:
        UserError: There is no such measure; the message lists all.
    """
    words = [w.strip() for w in (names.split(",") if isinstance(names, str) else names)]
    known = table()
    for word in words:
        if word not in known and word.lower() not in MEANT:
            near = nearest(word, [*known, *MEANT])
            raise UserError(f"there is no measure '{word}'{near or '.'} Measures: {', '.join(known)}.")
    return [
        tuple(known[m] for m in (MEANT.get(w.lower(), ()) if w not in known else (w,))) for w in dict.fromkeys(words)
    ]


def choose(names: str | list[str] | tuple[str, ...]) -> list[Measure]:
    """All measures that these names mean.

    Raises:
        UserError: There is no such measure; the message lists all.
    """
    return list(dict.fromkeys(m for group in alternatives(names) for m in group))
