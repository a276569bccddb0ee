"""EfficientNet-Lite0: a small classifier of photographs, whose features judge pictures and feed discriminators.

Tan and Le (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6, as TensorFlow released it for phones: 4.7 million parameters,
1,000 ImageNet classes, 224x224 pixels. Padding is TensorFlow's "same": where it is odd, the extra row stands below and to the right.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from genzoo.nn.layout import pointwise

STAGES = (
    # kernel, stride, expansion, output channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
CLASSES, FEATURES, SIDE = 1000, 1280, 224
TAPS = (1, 2, 4, 6)
"""Stages after which the resolution is 1/4, 1/8, 1/16 and 1/32: what a pyramid of features takes."""


class SameConv(nn.Conv2d):
    """A convolution without bias whose output has ceil(size / stride) pixels, padded as TensorFlow pads.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the kernel.
        stride: Step.
        groups: Groups of channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        need = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:]]
        top, left = need[0] // 2, need[1] // 2
        if kernel == stride == self.groups == 1:
            return pointwise(x, self.weight, self.bias)
        if need == [2 * top, 2 * left]:  # the same on both sides: no padded copy
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        return super().forward(F.pad(x, (left, need[1] - left, top, need[0] - top)))


class InvertedBottleneck(nn.Module):
    """Expand, filter by depth, project; added to the input where shapes allow.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the depthwise kernel.
        stride: Step of the depthwise convolution.
        expansion: Factor on the channels in the middle; 1 leaves the expansion out.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = nn.Sequential(SameConv(inputs, middle, 1), _norm(middle)) if expansion > 1 else None
        self.depthwise = nn.Sequential(SameConv(middle, middle, kernel, stride, groups=middle), _norm(middle))
        self.project = nn.Sequential(SameConv(middle, outputs, 1), _norm(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        y: Tensor = _relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(_relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The network, with the head of 1,000 classes; `load_published` reads the released weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv(3, 32, 3, 2), _norm(32))
        stages, inputs = [], 32
        for kernel, stride, expansion, outputs, blocks in STAGES:
            made = []
            for i in range(blocks):
                made.append(InvertedBottleneck(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
            stages.append(nn.Sequential(*made))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(SameConv(inputs, FEATURES, 1), _norm(FEATURES))
        self.classify = nn.Linear(FEATURES, CLASSES)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps at 1/4, 1/8, 1/16 and 1/32 of the resolution: 24, 40, 112 and 320 channels."""
        x, found = _relu6(self.stem(x)), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in TAPS:
                found.append(x)
        return found

    def features(self, x: Tensor) -> Tensor:
        """Return the pooled features, [B, 1280], of normalized images [B, 3, H, W] (see `normalize`)."""
        return _relu6(self.head(self.pyramid(x)[-1])).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of ImageNet's classes, [B, 1000], of normalized images [B, 3, H, W]."""
        logits: Tensor = self.classify(self.features(x))
        return logits

    def load_published(self, state: Mapping[str, Tensor]) -> EfficientNetLite0:
        """Take the released weights under their published names; returns itself.

        Raises:
            ValueError: Names or shapes are not those of the release.
        """
        names = published_names()
        found = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        if set(names) != set(found):
            missing, extra = sorted(set(names) - set(found)), sorted(set(found) - set(names))
            raise ValueError(f"these are not weights of EfficientNet-Lite0: missing {missing[:3]}, unknown {extra[:3]}")
        try:
            self.load_state_dict({ours: found[theirs].float() for theirs, ours in names.items()}, strict=False)
        except RuntimeError as error:
            raise ValueError(f"these are not weights of EfficientNet-Lite0: {str(error).splitlines()[-1]}") from None
        return self


def normalize(x: Tensor) -> Tensor:
    """Bring images in [-1, 1], [B, 1 or 3, H, W], to what the network was trained on: (level − 127) / 128."""
    # The running statistics of the stem say which of the two customs it was: photographs agree with these, not with ImageNet's
    # mean and deviation (correlation of the channel means 0.88 against -0.73).
    return (x.expand(-1, 3, -1, -1) * 127.5 + 0.5) / 128


def published_names() -> dict[str, str]:
    """Return the names of the released tensors -> names here (without the counters of batches)."""
    names = {"_conv_stem.weight": "stem.0.weight", **_norm_names("_bn0", "stem.1")}
    number = 0
    for i, (_, _, expansion, _, blocks) in enumerate(STAGES):
        for j in range(blocks):
            old, new = f"_blocks.{number}.", f"stages.{i}.{j}."
            parts = [("_depthwise_conv", "_bn1", "depthwise"), ("_project_conv", "_bn2", "project")]
            if expansion > 1:
                parts.insert(0, ("_expand_conv", "_bn0", "expand"))
            for conv, norm, ours in parts:
                names[f"{old}{conv}.weight"] = f"{new}{ours}.0.weight"
                names |= _norm_names(old + norm, f"{new}{ours}.1")
            number += 1
    names |= {"_conv_head.weight": "head.0.weight", **_norm_names("_bn1", "head.1")}
    return names | {"_fc.weight": "classify.weight", "_fc.bias": "classify.bias"}


def _norm_names(old: str, new: str) -> dict[str, str]:
    return {f"{old}.{k}": f"{new}.{k}" for k in ("weight", "bias", "running_mean", "running_var")}


def _relu6(x: Tensor) -> Tensor:
    """Rectify what nobody else reads: in place where no gradient is asked for, which with one gains nothing."""
    return F.relu6(x, inplace=not x.requires_grad)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
