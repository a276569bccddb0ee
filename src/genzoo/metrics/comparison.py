"""Samples beside real images: drawn once, described once, for as many measures as are wanted."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset
from genzoo.metrics.drawing import CHUNK, drawing
from genzoo.metrics.features.extractors import Extractor, Images
from genzoo.metrics.held import PART, held, parts
from genzoo.metrics.measure import Said
from genzoo.metrics.real import as_levels, digest_of_rows, real_features, real_images, real_rows
from genzoo.metrics.records import QUANTIZATION, Record, content_digest
from genzoo.metrics.reference import Reference

Value = TypeVar("Value")

MOST_REAL = 10_000
FEWEST, PIXELS = 16, 2**20
"""Samples that are drawn at once at least, and pixels of those that are drawn at once."""
VALUES = 2**23
"""Pixels that are brought to float32 together."""
PIXEL_SIDE = 32
"""Side to which larger images are reduced where measures look at pixels."""


@dataclass
class Comparison:
    """What measures of samples work on. Everything is computed when it is first asked for, and once.

    Args:
        test: Real images to compare with, as a rule the test split.
        train: The training split: for floors, and to find copies.
        net: Feature network; None leaves measures in pixels and of the system alone.
        system: What draws the samples.
        given: Samples, uint8 [N, C, H, W], in place of a system's.
        n: Samples to draw.
        n_real: Real images, chosen by seed; at most 10,000 by default.
        n_scored: Examples for measures of a likelihood or of reconstructions, at most.
        k: Neighbours in precision, recall, density and coverage.
        seed: Seed of samples and choices.
        floors: Whether real images are measured against real ones as well.
        reference: Statistics that stand for real images, where there are none.
        translate: (images [N, C, H, W], direction) to translations of any size; the system's own `translate` when not given.
        drawn: What the samples are, in words.
        kept: Whether a measure looks at the samples themselves; where none does, their features are taken as they are drawn, and memory does not
            grow with their number.
    """

    test: Dataset | None
    train: Dataset | None = None
    net: Extractor | None = None
    system: System | None = None
    given: Tensor | None = None
    n: int = 1000
    n_real: int | None = None
    n_scored: int = MOST_REAL
    k: int = 5
    seed: int = 0
    floors: bool = True
    reference: Reference | None = None
    translate: Callable[[Tensor, str], Tensor] | None = None
    drawn: str = "samples"
    kept: bool = True

    def __post_init__(self) -> None:
        self._no_floor = ""

    @cached_property
    def fake(self) -> Tensor:
        """The samples, uint8 [N, C, H, W]."""
        if self.given is not None:
            return as_levels(self.given)
        assert self.system is not None
        return held(self._drawing(), self.n)

    def _drawing(self) -> Iterator[Tensor]:
        """Draw the samples, fewer at once of large ones: what a network holds while it draws grows with their area."""
        assert self.system is not None
        area = math.prod(self.system.hparams.get("shape", ())[1:])
        chunk = max(FEWEST, min(CHUNK, PIXELS // area))
        return drawing(self.system, self.n, self.seed, keep=as_levels, chunk=chunk)

    @property
    def n_fake(self) -> int:
        """Number of samples."""
        return len(self.given) if self.given is not None else self.n

    @cached_property
    def real(self) -> Tensor:
        """The real images, uint8 [M, C, H, W]."""
        return real_images(self.real_set, n=self.n_real or MOST_REAL, seed=self.seed)

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 of the real images."""
        if "real" in self.__dict__:
            return content_digest(self.real)
        return digest_of_rows(real_rows(self.real_set, n=self.n_real or MOST_REAL, seed=self.seed))

    @property
    def count_real(self) -> int:
        """Number of real images."""
        return len(real_rows(self.real_set, n=self.n_real or MOST_REAL, seed=self.seed))

    @cached_property
    def fake_features(self) -> Tensor:
        """Features of the samples [N, D]."""
        net = self.network
        if self.kept or self.given is not None or "fake" in self.__dict__:
            return net(self.fake, progress=net.slow)
        return held(self._described(net), self.n)

    def _described(self, net: Extractor) -> Iterator[Tensor]:
        done = 0
        for part in self._drawing():
            yield net(part)
            before, done = done, done + len(part)
            if net.slow and done * 10 // self.n > before * 10 // self.n:
                print(f"{net.name}: {done:,} of {self.n:,} samples", file=sys.stderr, flush=True)

    @cached_property
    def real_features(self) -> Tensor:
        """Features of the real images [M, D]."""
        return real_features(self.real_set, self.network, n=self.n_real or MOST_REAL, seed=self.seed)

    @cached_property
    def floor_images(self) -> Tensor | None:
        """As many training images as there are samples, uint8; None without a training split."""
        return None if self.train is None or not self.floors else real_images(self.train, n=self.n_fake, seed=self.seed)

    @cached_property
    def floor_features(self) -> Tensor | None:
        """Features of these training images; None without a training split."""
        if self.train is None or not self.floors:
            return None
        return real_features(self.train, self.network, n=self.n_fake, seed=self.seed)

    def floor(self, of: Tensor | None, take: Callable[[Tensor], Value]) -> Value | None:
        """Measure real images in the place of samples; None where there are none, or too few, which the next record says.

        Args:
            of: These images, or their features.
            take: The measure.
        """
        if of is None:
            return None
        try:
            return take(of)
        except UserError as reason:
            self._no_floor = str(reason)
            return None

    @cached_property
    def train_points(self) -> tuple[Tensor, Tensor, Tensor, str]:
        """Samples, all training images, real images as points to find copies by, and what the points are.

        Features of a quick network; else pixels, because a training set seen in part would hide its copies.
        """
        assert self.train is not None
        if self.net is not None and not self.net.slow:
            everything = real_features(self.train, self.network, n=None, seed=self.seed)
            return self.fake_features, everything, self.real_features, f"{self.net.name} features"
        self.same_shape()
        train = real_rows(self.train)
        words = "pixels" if max(self.fake.shape[2:]) <= PIXEL_SIDE else f"pixels at {PIXEL_SIDE}x{PIXEL_SIDE}"
        return pixel_points(self.fake), pixel_points(train), pixel_points(self.real), words

    def same_shape(self) -> None:
        """Refuse samples of another size than the real images: what measures in pixels ask."""
        if self.fake.shape[1:] != self.real.shape[1:]:
            ours, theirs = ("x".join(map(str, x.shape[1:])) for x in (self.fake, self.real))
            raise UserError(
                f"samples are {ours} and {self.real_set.name} is {theirs}; pixels can only be compared at one size"
            )

    @property
    def real_set(self) -> Dataset:
        """The data set of real images, which has to be there."""
        if self.test is None:
            raise UserError("there are no real images to compare with; give data=")
        return self.test

    @property
    def asked_system(self) -> System:
        """The system, which has to be there."""
        if self.system is None:
            raise UserError("this measure asks a system, and there are only samples")
        return self.system

    @property
    def network(self) -> Extractor:
        """The feature network, which has to be there."""
        if self.net is None:
            raise UserError("no feature network suits these images; give extractor=")
        return self.net

    def record(
        self,
        what: Said,
        value: float,
        words: str,
        started: float,
        *,
        features: bool = True,
        spread: str = "the samples, with the real images given",
        **more: Any,
    ) -> Record:
        """Write a record of one value of this comparison.

        Args:
            what: What `Measure.says` says of the value: measure, unit, better.
            value: The number.
            words: What was computed; numbers of images, data, quantization and network are added.
            started: `time.time()` at the beginning.
            features: Whether the network had a part in it.
            spread: What an error counts the draw of.
            more: Further fields of a record; what is none becomes part of `more`.
        """
        net, called = self.net if features else None, what["measure"]
        if net is not None and net.sanity and called != net.measure:
            called += " on random features (sanity only)"
        known = {k: more.pop(k) for k in list(more) if k in Record.__dataclass_fields__}
        if known.get("se") is not None and not math.isfinite(known["se"]):
            known["se"] = None
        if self.reference is not None:
            name, split, count, digest = self.reference.name, "statistics", self.reference.count, self.reference.digest
            binarize, against = "none", f"the statistics (mu, sigma) in {name}, {self.reference.of}"
        else:
            name, split, count, digest = self.real_set.name, self.real_set.split, self.count_real, self.data_digest
            binarize, against = self.real_set.settings.binarize, f"{count:,} images of {name} {split}"
        protocol = f"{words}; {self.n_fake:,} {self.drawn} against {against}"
        if known.get("floor") is not None and known.get("n_floor"):
            protocol += f", floor: {known['n_floor']:,} training images against the same"
        if known.get("floor") is None and self._no_floor:
            protocol += f", no floor: {self._no_floor}"
            self._no_floor = ""
        protocol += f"; {QUANTIZATION}"
        if known.get("se") is not None:
            protocol += f"; ± is over draws of {spread}"
        if net is not None:
            protocol += f"; {net.resize}"
            protocol += "; random features: a check that code runs, not a measure of quality" * net.sanity
        if binarize != "none":
            protocol += f"; binarised ({binarize})"
        return Record(
            measure=called,
            unit=what["unit"],
            better=what["better"],
            value=value,
            protocol=f"{protocol}; seed {self.seed}",
            n=self.n_fake,
            n_real=count,
            n_fake=self.n_fake,
            data=name,
            split=split,
            data_digest=digest,
            extractor=net.name if net else None,
            digest=net.digest if net else None,
            resize=net.resize if net else None,
            quantization=QUANTIZATION,
            seed=self.seed,
            seconds=round(time.time() - started, 1),
            more={"words": words, "binarize": binarize, "drawn": self.drawn, **more},
            **known,
        )


def count(x: Tensor | None) -> int | None:
    """Return the number of examples, None of none."""
    return None if x is None else len(x)


def pixel_points(images: Images) -> Tensor:
    """Return uint8 images as points, float32 [N, D] in [0, 1]; larger ones are reduced to 32x32 by averaging areas."""
    smaller = max(images.shape[2:]) > PIXEL_SIDE
    size = max(1, min(PART, VALUES // math.prod(images.shape[1:])))
    levels = (part.float().div_(255) for part in parts(images, size))
    return held(((F.adaptive_avg_pool2d(x, PIXEL_SIDE) if smaller else x).flatten(1) for x in levels), len(images))
