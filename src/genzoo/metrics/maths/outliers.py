"""How well a score tells outliers from inliers."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(inliers: Tensor, outliers: Tensor) -> float:
    """Return the area under the ROC curve: the chance that an outlier's score is above an inlier's, ties counting half.

    Args:
        inliers: Scores [N] of what the model knows; higher means stranger (for a density: −log p).
        outliers: Scores [M] of what it does not know.

    >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0]))
    1.0
    >>> auroc(torch.tensor([0.0, 1.0]), torch.tensor([1.0]))
    0.75
    """
    a, b = (s.detach().flatten().double().cpu() for s in (inliers, outliers))
    if not len(a) or not len(b) or torch.isnan(a).any() or torch.isnan(b).any():
        raise ValueError("auroc takes two non-empty sets of scores without NaN")
    a = a.sort().values
    below = torch.searchsorted(a, b, right=False)
    not_above = torch.searchsorted(a, b, right=True)
    return float((below + not_above).double().sum() / 2 / (len(a) * len(b)))
