"""Instance norm that leaves maps in the order of memory they come in."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.ranks.batch import for_all


class InstanceNorm2d(nn.InstanceNorm2d):
    """`nn.InstanceNorm2d` without running statistics; on a CPU, channels-last maps are normalized example by example.

    PyTorch's own lays examples and channels side by side as the channels of one image, for which a channels-last map is copied into the other
    order; the convolutions around it copy it back. And what it returns is a view, after which an activation in place costs its
    backward pass three copies more. One example's instance norm is its batch norm, which takes either order.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize every channel of every example of [B, C, H, W]."""
        one_by_one = (
            x.device.type == "cpu"
            and not self.track_running_stats
            and x.is_contiguous(memory_format=torch.channels_last)
            and not x.is_contiguous()
            and not torch.compiler.is_compiling()
        )
        if not one_by_one:
            return super().forward(x)
        with for_all():  # statistics of one example, not of a batch
            examples = [
                F.batch_norm(example, None, None, self.weight, self.bias, True, 0.0, self.eps) for example in x.split(1)
            ]
        return torch.cat(examples) if len(examples) > 1 else examples[0]
