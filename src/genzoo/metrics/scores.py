"""Scores from a classifier's logits: the Inception score's formula for any classifier, and the accuracy of conditional samples.

    score = exp E KL(p(y | x) ‖ p(y))                              (Salimans et al., arXiv:1606.03498)

From 1 (every image the same classes) to K (sure of every image, all K classes equally often). It sees neither overfitting nor variety
within a class, and belongs to its classifier: only scores of one classifier compare (Barratt and Sharma, arXiv:1801.01973).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.maths.inputs import checked


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
    """KL(p(y | xᵢ) ‖ p(y)) in nats, [N]. Where p is 0, log p may be anything: p · (log p − log q) must still be 0."""
    log_q = log_p.logsumexp(0) - math.log(len(log_p))
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(1)


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
