"""Classifier two-sample tests: can anything tell samples from data?

    accuracy ½: no classifier of this kind can; 1: every sample is recognized.

A classifier is trained on one half of the pooled examples and judged on the other; under H0 its accuracy there is about N(½, 1 / 4n)
(Lopez-Paz and Oquab, arXiv:1610.06545). The 1-nearest-neighbour classifier needs no training: leave-one-out accuracy, whose p-value comes
from permuted labels. Below ½ it tells of copies: every example's neighbour is then on the other side (Xu et al., arXiv:1806.07755).
"""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked_pair
from genzoo.metrics.maths.neighbours import nearest_rows
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, share_interval

MEASURE = Measure(
    name="c2st",
    line="accuracy of a small classifier, and of the nearest neighbour, that tell samples from data; ½ is ideal",
    question="told apart",
    gives=(Value("C2ST", better="lower"), Value("1-NN accuracy")),
)


def _balanced(fake: Tensor, real: Tensor, g: Generator) -> tuple[Tensor, int]:
    """Take equal numbers of both, so that chance is ½: fakes first; a random part of the larger set."""
    n = min(len(fake), len(real))
    parts = [x if len(x) == n else x[torch.randperm(len(x), generator=g)[:n]] for x in (fake, real)]
    return torch.cat([p.float() for p in parts]), n


def neighbour_test(
    fake: Tensor, real: Tensor, *, permutations: int = 1000, seed: int = 0, chunk: int = 2000
) -> dict[str, Any]:
    """Return the leave-one-out accuracy of the 1-nearest-neighbour classifier.

    Args:
        fake: Features [N, D].
        real: Features [M, D]; the larger set is cut to the size of the smaller.
        permutations: Permutations of the labels for the p-value; the neighbours stay what they are.
        seed: Seed of the cut and of the permutations.
        chunk: Side of a block of the distance matrix.

    Returns:
        `value`, the accuracy (½ is ideal; 0 where every example has its copy on the other side); `fake` and `real`, the accuracies on
        each side (real high and fake low: fakes sit among few real ones); `p`, one-sided, for accuracies above chance; `n` of each side.

    Raises:
        UserError: Fewer than two examples on a side, shapes that do not fit, NaN or infinite values.
    """
    fake, real = checked_pair(fake, real)
    if permutations < 1:
        raise UserError(f"the p-value needs at least one permutation, not {permutations}")
    g = torch.Generator().manual_seed(seed)
    pooled, n = _balanced(fake, real, g)
    _, where = nearest_rows(pooled, pooled, leave_one_out=True, chunk=chunk)
    where = where.cpu()
    label = torch.arange(2 * n) < n
    right = label == label[where]
    value = float(right.double().mean())
    at_least = 0
    for _ in range(permutations):
        permuted = label[torch.randperm(2 * n, generator=g)]
        at_least += int((permuted == permuted[where]).sum() >= right.sum())
    return {
        "value": value,
        "fake": float(right[:n].double().mean()),
        "real": float(right[n:].double().mean()),
        "p": (1 + at_least) / (1 + permutations),
        "n": n,
        "seed": seed,
    }


def classifier_test(
    fake: Tensor,
    real: Tensor,
    *,
    hidden: int = 64,
    steps: int = 300,
    lr: float = 0.01,
    weight_decay: float = 1e-3,
    batch: int = 512,
    seed: int = 0,
) -> dict[str, Any]:
    """Train a small classifier on half of the examples and return its accuracy on the others.

    Features are standardized by the training half. Adam, minibatches, cross-entropy.

    Args:
        fake: Features [N, D], N ≥ 4.
        real: Features [M, D], M ≥ 4; the larger set is cut to the size of the smaller.
        hidden: Units of the hidden layer; 0 is logistic regression.
        steps: Steps of Adam.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        batch: Examples in a step.
        seed: Seed of the split, the weights and the batches; torch's global generator is left alone.

    Returns:
        `value`, the held-out accuracy; `se`, binomial on each side, over draws of both fakes and reals; `p`, one-sided, of N(½, 1 / 4n); `train`, the
        accuracy on the training half; `n`, held-out examples of both sides together.

    Raises:
        UserError: Fewer than four examples on a side, shapes that do not fit, NaN or infinite values.
    """
    fake, real = checked_pair(fake, real, at_least=4)
    if hidden < 0 or steps < 1 or batch < 1:
        raise UserError(f"hidden ≥ 0, steps ≥ 1 and batch ≥ 1 are needed, not {hidden}, {steps} and {batch}")
    g = torch.Generator().manual_seed(seed)
    x, n = _balanced(fake.cpu(), real.cpu(), g)
    y = (torch.arange(2 * n) < n).float()
    half = n // 2
    order = [torch.randperm(n, generator=g) + side * n for side in (0, 1)]
    train, test = (torch.cat([o[s] for o in order]) for s in (slice(0, half), slice(half, n)))
    mean, sd = x[train].mean(0), x[train].std(0)
    x = (x - mean) / torch.where(sd > 0, sd, 1.0)

    widths = [x.shape[1], hidden, 1] if hidden else [x.shape[1], 1]
    weights: list[Tensor] = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        weights += [torch.randn(b, a, generator=g) * (0.0 if last else math.sqrt(2 / a)), torch.zeros(b)]
    for w in weights:
        w.requires_grad_()
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)

    def logits(rows: Tensor) -> Tensor:
        h = x[rows]
        if hidden:
            h = F.linear(h, weights[0], weights[1]).relu()
        return F.linear(h, weights[-2], weights[-1]).squeeze(1)

    with torch.enable_grad():
        for _ in range(steps):
            rows = train[torch.randint(len(train), (min(batch, len(train)),), generator=g)]
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(logits(rows), y[rows]).backward()
            optimizer.step()

    @torch.no_grad()
    def accuracy(rows: Tensor) -> float:
        score = torch.cat([logits(part) for part in rows.split(10_000)])
        return float(torch.where(score == 0, 0.5, ((score > 0) == (y[rows] > 0.5)).float()).double().mean())

    value = accuracy(test)
    sides = [(accuracy(side), len(side)) for side in (test[test < n], test[test >= n])]
    z = (value - 0.5) * 2 * math.sqrt(len(test))
    return {
        "value": value,
        "se": math.sqrt(sum(share * (1 - share) / count for share, count in sides)) / 2,
        "p": 0.5 * math.erfc(z / math.sqrt(2)),
        "train": accuracy(train),
        "n": len(test),
        "seed": seed,
    }


def take(c: Comparison) -> list[Record]:
    """Return the accuracy of classifiers that tell samples from real images; one half is ideal."""
    start, net = time.time(), c.network
    got = classifier_test(c.fake_features, c.real_features, seed=c.seed)
    floor = c.floor(c.floor_features, lambda x: classifier_test(x, c.real_features, seed=c.seed)["value"])
    words = f"held-out accuracy of a classifier with 64 hidden units that tells samples from real images by {net.name} features; ½ is ideal"
    found = [
        c.record(
            MEASURE.says("C2ST"), got["value"], words, start, se=got["se"], floor=floor,
            interval=share_interval(got["value"], got["se"], got["n"]), n_floor=count(c.floor_features),
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
        c.record(
            MEASURE.says("1-NN accuracy"), near["value"], words, start, on_fake=near["fake"], on_real=near["real"]
        ),
    ]
