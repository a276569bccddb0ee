"""Scores from a classifier's logits: the Inception score's formula for any classifier, .

    score = exp E KL(p(y | x) ‖ p(y))                              (Salimans et al., arXiv:1606.03498)

From 1 (every image the same classes) to K (sure of every image, all K classes equally often). It sees neither overfitting nor variety
within a class, and belongs to its classifier: only scores of one classifier compare (Barratt and Sharma, arXiv:1801.01973).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.maths.inputs import checked
from genzoo.metrics.measure import Known, Measure, Value
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="score",
    line="the Inception score's formula with the data's own classifier",
    question="reading",
    gives=(Value("classifier score", better="higher"),),
    classifier=True,
    known=(
        Known(
            "inception-score",
            also=("is",),
            note="the Inception score needs the 1,000 classes of ImageNet; this is its formula with the classifier of the data's own "
            "classes, in one split: values compare with no published ones",
        ),
        Known(
            "is50k",
            n=50_000,
            note="of 50,000 samples, in one split and with the classifier of the data's own classes, not ImageNet's: values compare with "
            "no published ones",
        ),
    ),
)


def classifier_score(logits: Tensor, *, splits: int = 1, seed: int = 0) -> dict[str, float]:
    """Return exp(mean KL(p(y | x) ‖ p(y))): `value`, `se`, and over splits `sd`.

    With one split the standard error is the delta method's, sd(KLᵢ) · score / √N. With several, as in the paper (ten), the value is the
    mean over parts, `sd` the deviation over parts that papers print after ±, and the error sd over √(splits − 1). More splits give a
    smaller score: fewer examples make p(y).

    Args:
        logits: Unnormalized log-probabilities [N, K]; any size is safe.
        splits: Parts, of N // splits or one more examples.
        seed: Seed of the order in which examples are dealt to parts; unused with one.

    Raises:
        UserError: Fewer than two examples for each split, NaN or infinite values.
    """
    logits = checked(logits, "logits").double().cpu()
    if splits < 1 or len(logits) < 2 * splits:
        raise UserError(f"{splits} splits need at least two examples each, there are {len(logits)}")
    log_p = logits.log_softmax(1)
    if splits > 1:
        log_p = log_p[torch.randperm(len(log_p), generator=torch.Generator().manual_seed(seed))]
    divergences = [_divergence(part) for part in log_p.tensor_split(splits)]
    scores = torch.stack([kl.mean().exp() for kl in divergences])
    found = {"value": float(scores.mean()), "n": len(logits), "splits": splits}
    if splits == 1:
        return found | {"se": float(divergences[0].std() * scores[0] / math.sqrt(len(logits)))}
    sd = float(scores.std(correction=0))
    return found | {"se": sd / math.sqrt(splits - 1), "sd": sd, "seed": seed}


def _divergence(log_p: Tensor) -> Tensor:
    """Compute KL(p(y | xᵢ) ‖ p(y)) in nats, [N]. Where p is 0, log p may be anything: p · (log p − log q) must still be 0."""
    log_q = log_p.logsumexp(0) - math.log(len(log_p))
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(1)


def take(c: Comparison) -> list[Record]:
    """Return the Inception score's formula with the data's own classifier."""
    start, net = time.time(), c.network
    if net.logits is None:
        raise UserError(
            f"{net.name} is no classifier of these classes; the classifier score needs lenet-mnist-v1 or lenet-fashion-v1"
        )
    got = classifier_score(net.classify(c.fake))
    floor = c.floor(c.floor_images, lambda x: classifier_score(net.classify(x))["value"])
    words = f"exp E KL(p(y|x) ‖ p(y)) with the logits of {net.name} (weights {net.digest[:12]}), one split; not the Inception score"
    return [
        c.record(
            MEASURE.says("classifier score"), got["value"], words, start, se=got["se"], floor=floor, n_floor=count(c.floor_images)
        )
    ]  # fmt: skip
