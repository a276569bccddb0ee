"""Mutual information gap: does one latent dimension, and only one, know each factor of variation?

    MIG = mean over factors v of ( I(z₁; v) − I(z₂; v) ) / H(v)          (Chen et al., arXiv:1802.04942)

z₁ and z₂ are the two code dimensions that know most of v. Codes are discretized by histograms of 20 equal bins from their smallest to
their largest value, as is usual where no density of the codes is at hand.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.capabilities import Encodes
from genzoo.core.errors import UserError
from genzoo.data import Dataset, to_float
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.maths.inputs import checked
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, content_digest
from genzoo.text.vocabulary import split

MEASURE = Measure(
    name="mig",
    line="mutual information gap: does one code, and only one, know each factor (class, words of captions of one form)?",
    question="codes",
    gives=(Value("MIG", better="higher"),),
    needs=("encodes",),
    images=False,
    features=False,
    default=False,
    protocol=(("factors", "factors"), ("bins", "bins")),
)
MOST = 10_000
VALUES = 50
"""Different words at one place of a caption, at most, that are values of a factor."""


def discretize(codes: Tensor, bins: int = 20) -> Tensor:
    """Return the histogram bin of every value of [N, L], whole numbers 0 … bins − 1; a constant column is in one bin."""
    codes = codes.double()
    low, high = codes.min(0).values, codes.max(0).values
    width = torch.where(high > low, high - low, 1.0)
    return ((codes - low) / width * bins).long().clamp(max=bins - 1)


def mutual_information(a: Tensor, b: Tensor) -> float:
    """Return the mutual information in nats of two columns of whole numbers, from their joint histogram [N], [N].

    The plug-in estimate: too large by about (cells − rows − columns + 1) / 2N.
    """
    joint = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.float64)
    joint.index_put_((a.cpu(), b.cpu()), torch.ones(len(a), dtype=torch.float64), accumulate=True)
    joint /= len(a)
    outer = joint.sum(1, keepdim=True) * joint.sum(0)
    return max(
        0.0, float(torch.where(joint > 0, torch.special.xlogy(joint, joint / outer.clamp(min=1e-300)), 0.0).sum())
    )


def mig(codes: Tensor, factors: Tensor, *, bins: int = 20) -> dict[str, Any]:
    """Return the mutual information gap.

    Args:
        codes: Latent codes (means of q(z | x) as a rule) [N, L], L ≥ 2.
        factors: Values of the factors that made the examples, whole numbers of at least 0, [N, K].
        bins: Histogram bins of a code dimension.

    Returns:
        `value`, the mean gap, from 0 to 1; `gaps` [K]; `information`, I(z; v) in nats, [L, K]; `entropy` H(v) in nats, [K]; `best`, the
        dimension that knows most of each factor; `n`, `bins`.

    Raises:
        UserError: Numbers of examples that differ, a single code dimension, a factor that never changes, NaN or infinite codes.
    """
    codes = checked(codes, "codes").cpu()
    if factors.ndim != 2 or factors.dtype.is_floating_point or len(factors) != len(codes) or bool((factors < 0).any()):
        raise UserError(
            f"factors must be whole numbers of at least 0, [{len(codes)}, K], not {factors.dtype} {tuple(factors.shape)}"
        )
    if codes.shape[1] < 2 or bins < 2:
        raise UserError(f"a gap needs at least two code dimensions and two bins, not {codes.shape[1]} and {bins}")
    factors = factors.cpu().long()
    entropy = torch.tensor([mutual_information(v, v) for v in factors.unbind(1)], dtype=torch.float64)
    constant = [i for i, h in enumerate(entropy.tolist()) if h == 0]
    if constant:
        raise UserError(f"factors {constant} have one value only: there is nothing to know of them; leave them out")
    binned = discretize(codes, bins)
    information = torch.tensor(
        [[mutual_information(z, v) for v in factors.unbind(1)] for z in binned.unbind(1)], dtype=torch.float64
    )
    top = information.topk(2, dim=0)
    gaps = (top.values[0] - top.values[1]) / entropy
    return {
        "value": float(gaps.mean()), "gaps": gaps, "information": information, "entropy": entropy,
        "best": top.indices[0].tolist(), "n": len(codes), "bins": bins,
    }  # fmt: skip


def factors_of(dataset: Dataset) -> tuple[Tensor, Tensor, list[str]]:
    """Return the factors of a set's examples: rows that have all of them [N], their values [N, K], and what they are.

    Factors are the class, and the places at which captions of the commonest length differ: "a small red circle" has a size, a colour and
    a kind.

    Raises:
        UserError: There are none.
    """
    rows, columns, names = torch.arange(len(dataset)), [], []
    texts = [split(t[0]) if t else [] for t in dataset.texts]
    if any(texts):
        length = Counter(len(t) for t in texts if t).most_common(1)[0][0]
        rows = torch.tensor([i for i, t in enumerate(texts) if len(t) == length])
        for place in range(length):
            words = [texts[i][place] for i in rows.tolist()]
            number = {w: k for k, w in enumerate(dict.fromkeys(words))}
            if 2 <= len(number) <= VALUES:
                columns.append(torch.tensor([number[w] for w in words]))
                names.append("/".join(list(number)[:3]) + ("/..." if len(number) > 3 else ""))
    if "label" in dataset.fields and len(dataset.class_names) > 1:
        columns.append(torch.from_numpy(np.array(dataset.fields["label"])).long()[rows])
        names.append("class")
    if not columns:
        raise UserError(f"{dataset.name} has neither classes nor captions of one form, so no factors are known")
    return rows, torch.stack(columns, 1), names


@torch.no_grad()
def take(c: Comparison) -> list[Record]:
    """Return the mutual information gap of the codes of held-out images."""
    start, system, test = time.time(), c.asked_system, c.real_set
    assert isinstance(system, Encodes)
    rows, factors, names = factors_of(test)
    n = min(c.n_scored, MOST, len(rows))
    rows, factors = rows[:n], factors[:n]
    images = torch.from_numpy(np.ascontiguousarray(test.fields["image"][rows.numpy()]))
    was_training = system.training
    system.eval()
    try:
        floats = (to_float({"image": x}, system.device)["image"] for x in images.split(200))
        codes = torch.cat([system.encode(x).float().cpu() for x in floats])
    finally:
        system.train(was_training)
    if codes.ndim != 2:
        raise UserError(f"MIG takes codes [N, L]; these are {tuple(codes.shape[1:])} each")
    got = mig(codes, factors)
    gaps = ", ".join(f"{name} {gap:.3g}" for name, gap in zip(names, got["gaps"].tolist(), strict=True))
    protocol = (
        f"mean over factors of the gap between the two of {codes.shape[1]} codes that know most of each, over its entropy; histograms of "
        f"{got['bins']} bins; {n:,} examples of {test.name} {test.split}; gaps: {gaps}"
    )
    return [
        Record(
            **MEASURE.says("MIG"), value=got["value"], n=n, protocol=protocol, data=test.name, split=test.split, data_digest=content_digest(images),
            seed=c.seed, seconds=round(time.time() - start, 1), more={"factors": names, "bins": got["bins"], "gaps": got["gaps"]},
        )
    ]  # fmt: skip
