"""Samples beside real images: drawn once, described once, for as many measures as are wanted."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genzoo.core.drawing import draw
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset
from genzoo.metrics.extractors import Extractor
from genzoo.metrics.records import QUANTISATION, Record, content_digest
from genzoo.metrics.report import as_levels, real_features, real_images

MOST_REAL = 10_000
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

    @cached_property
    def fake(self) -> Tensor:
        """The samples, uint8 [N, C, H, W]."""
        if self.given is not None:
            return as_levels(self.given)
        assert self.system is not None
        generator = torch.Generator(self.system.device).manual_seed(self.seed)
        return draw(self.system, self.n, generator, keep=as_levels)

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
        return content_digest(self.real)

    @cached_property
    def fake_features(self) -> Tensor:
        """Features of the samples [N, D]."""
        return self._net(self.fake, progress=self._net.slow)

    @cached_property
    def real_features(self) -> Tensor:
        """Features of the real images [M, D]."""
        return real_features(self.real_set, self._net, n=self.n_real or MOST_REAL, seed=self.seed)

    @cached_property
    def floor_images(self) -> Tensor | None:
        """As many training images as there are samples, uint8; None without a training split."""
        return None if self.train is None or not self.floors else real_images(self.train, n=self.n_fake, seed=self.seed)

    @cached_property
    def floor_features(self) -> Tensor | None:
        """Features of these training images; None without a training split."""
        if self.train is None or not self.floors:
            return None
        return real_features(self.train, self._net, n=self.n_fake, seed=self.seed)

    @cached_property
    def train_points(self) -> tuple[Tensor, Tensor, Tensor, str]:
        """Samples, all training images, real images as points to find copies by, and what the points are.

        Features of a quick network; else pixels, because a training set seen in part would hide its copies.
        """
        assert self.train is not None
        if self.net is not None and not self.net.slow:
            everything = real_features(self.train, self._net, n=None, seed=self.seed)
            return self.fake_features, everything, self.real_features, f"{self.net.name} features"
        self._same_shape()
        train = real_images(self.train)
        words = "pixels" if max(self.fake.shape[2:]) <= PIXEL_SIDE else f"pixels at {PIXEL_SIDE}x{PIXEL_SIDE}"
        return pixel_points(self.fake), pixel_points(train), pixel_points(self.real), words

    def _same_shape(self) -> None:
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
    def _net(self) -> Extractor:
        if self.net is None:
            raise UserError("no feature network suits these images; give extractor=")
        return self.net

    def record(
        self, measure: str, value: float, words: str, started: float, *, features: bool = True, **more: Any
    ) -> Record:
        """A record of this comparison.

        Args:
            measure: Its name.
            value: The number.
            words: What was computed; numbers of images, data, quantisation and network are added.
            started: `time.time()` at the beginning.
            features: Whether the network had a part in it.
            more: Further fields of a record; what is none becomes part of `more`.
        """
        net = self.net if features else None
        known = {k: more.pop(k) for k in list(more) if k in Record.__dataclass_fields__}
        if known.get("se") is not None and not math.isfinite(known["se"]):
            known["se"] = None
        protocol = f"{words}; {self.n_fake:,} samples against {len(self.real):,} images of {self.real_set.name} {self.real_set.split}"
        if known.get("floor") is not None and known.get("n_floor"):
            protocol += f", floor: {known['n_floor']:,} training images against the same"
        protocol += f"; {QUANTISATION}"
        if known.get("se") is not None:
            protocol += "; ± is over draws of the samples, with the real images given"
        if net is not None:
            protocol += f"; {net.resize}"
            protocol += "; random features: a check that code runs, not a measure of quality" * net.sanity
        if self.real_set.settings.binarize != "none":
            protocol += f"; binarised ({self.real_set.settings.binarize})"
        return Record(
            measure=measure,
            value=value,
            protocol=f"{protocol}; seed {self.seed}",
            n=self.n_fake,
            n_real=len(self.real),
            n_fake=self.n_fake,
            data=self.real_set.name,
            split=self.real_set.split,
            data_digest=self.data_digest,
            extractor=net.name if net else None,
            digest=net.digest if net else None,
            resize=net.resize if net else None,
            quantisation=QUANTISATION,
            seed=self.seed,
            seconds=round(time.time() - started, 1),
            more={"words": words, "binarize": self.real_set.settings.binarize, **more},
            **known,
        )


def pixel_points(images: Tensor) -> Tensor:
    """Return uint8 images as points, float32 [N, D] in [0, 1]; larger ones are reduced to 32x32 by averaging areas."""
    parts = []
    for part in images.split(1000):
        x = part.float() / 255
        if max(x.shape[2:]) > PIXEL_SIDE:
            x = F.adaptive_avg_pool2d(x, PIXEL_SIDE)
        parts.append(x.flatten(1))
    return torch.cat(parts)
