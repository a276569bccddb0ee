"""Does a classifier read in conditional samples what was asked for: label accuracy, beside that of real images.

A classifier's mistakes are in it, so real test images are the floor; and it is blind to variety: one good image of every class has 1.
"""

from __future__ import annotations

import dataclasses
import math
import time

import torch
from torch import Tensor

from genzoo.core.capabilities import Conditioned
from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.drawing import draw
from genzoo.metrics.maths.inputs import checked
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.real import as_levels, rows_of
from genzoo.metrics.records import Record, share_interval

MEASURE = Measure(
    name="accuracy",
    line="share of samples of a class that the data's own classifier reads as it",
    question="reading",
    gives=(Value("label accuracy", better="higher"),),
    needs=("samples", "conditioned"),
    classifier=True,
    also=("label-accuracy", "label_accuracy"),
)
MOST, PART = 1000, 100
"""Samples that are drawn for it, and at a time."""


def label_accuracy(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the share of conditional samples that a classifier reads as what was asked for: `value`, binomial `se`, `n`.

    Args:
        logits: [N, K].
        labels: The classes asked for, whole numbers [N].

    Raises:
        UserError: Not one label in 0 … K − 1 for each example, NaN or infinite values.
    """
    logits = checked(logits, "logits", at_least=1)
    if labels.shape != (len(logits),) or labels.dtype.is_floating_point:
        raise UserError(f"labels must be whole numbers [{len(logits)}], not {labels.dtype} {tuple(labels.shape)}")
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
        raise UserError(f"labels must be 0 … {logits.shape[1] - 1}, not {int(labels.min())} … {int(labels.max())}")
    share = float((logits.argmax(1) == labels.to(logits.device)).double().mean())
    return {"value": share, "se": math.sqrt(share * (1 - share) / len(logits)), "n": len(logits)}


@torch.no_grad()
def draw_classes(c: Comparison, each: int) -> tuple[Tensor, Tensor]:
    """Return `each` samples of every class, uint8 [K · each, C, H, W], and their classes."""
    system = c.asked_system
    assert isinstance(system, Conditioned)
    drawn = []
    was_training = system.training
    system.eval()
    try:
        for label in range(system.labels):
            own = {"label": label}
            drawn.append(draw(system, each, c.seed, own, keep=as_levels, first=label * each, chunk=PART))
    finally:
        system.train(was_training)
    return torch.cat(drawn), torch.arange(system.labels).repeat_interleave(each)


def take(c: Comparison) -> list[Record]:
    """Return the label accuracy of as many samples of each class; the floor is that of the real images."""
    start, net, test, system = time.time(), c.network, c.real_set, c.asked_system
    assert isinstance(system, Conditioned)
    known = net.classify(c.real[:1]).shape[1] if net.logits is not None else 0
    classes = system.labels
    if "label" not in test.fields or not classes == known == len(test.class_names):
        raise UserError(
            f"label accuracy needs one set of classes: the system has {classes}, {test.name} has {len(test.class_names)} and {net.name} reads {known}"
        )
    images, labels = draw_classes(c, max(1, min(c.n, MOST) // classes))
    got = label_accuracy(net.classify(images), labels)
    rows = rows_of(test, len(c.real), c.seed)
    real = label_accuracy(net.classify(c.real), torch.from_numpy(test.fields["label"][rows]).long())
    words = (
        f"share of samples that {net.name} (weights {net.digest[:12]}) reads as the class that was asked for, {len(images) // classes:,} of each of "
        f"{classes} classes; floor: real images"
    )
    record = c.record(
        MEASURE.says("label accuracy"), got["value"], words, start, se=got["se"], floor=real["value"],
        interval=share_interval(got["value"], got["se"], got["n"]),
    )  # fmt: skip
    said = f"{words}, {len(c.real):,} of {test.name} {test.split}; ± is over draws of the samples; {net.resize}; seed {c.seed}"
    return [dataclasses.replace(record, n=len(images), n_fake=len(images), protocol=said)]
