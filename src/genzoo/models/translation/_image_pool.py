"""The history of generated images that a discriminator is trained on (Shrivastava et al. arXiv:1612.07828)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genzoo.ranks.batch import for_examples
from genzoo.ranks.sums import everybody, own


class ImagePool(nn.Module):
    """A pool of past images: what it answers is either the newest image or an old one that the newest replaces.

    Content and count are buffers of fixed shape, so that the pool is moved with the model, and saved and resumed with the
    training; they are not persistent, because a trained model is used without its past. Randomness comes from torch's
    default RNG on the CPU, and nothing is read back from the device. All ranks hold the pool of the whole batch.

    Args:
        size: Number of images kept; 0 gives back what comes in.
        shape: (C, H, W) of an image.
    """

    memories = ("images", "count")
    images: Tensor
    count: Tensor

    def __init__(self, size: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Drop what models hold that were written when pools were part of them."""
        for name in ("images", "count"):
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @torch.no_grad()
    def forward(self, new: Tensor) -> Tensor:
        """Take in [B, C, H, W] one by one: kept while there is room, later swapped for an old one with p = ½."""
        if self.size == 0:
            return new.detach()
        new = new.detach()
        with for_examples(len(new)):
            swap, place = torch.rand(len(new)) < 0.5, torch.randint(self.size, (len(new),))
        new, swap, place = everybody(new), everybody(swap.to(new.device)), everybody(place.to(new.device))
        answers = []
        for image, wants_swap, drawn in zip(new, swap, place, strict=True):
            room = self.count < self.size
            slot = torch.where(room, self.count, drawn)[None]
            old = self.images.index_select(0, slot)[0]
            answers.append(torch.where(wants_swap & ~room, old.to(image.dtype), image))
            kept = torch.where(wants_swap | room, image.to(old.dtype), old)
            self.images.index_copy_(0, slot, kept[None])
            self.count += room
        return own(torch.stack(answers))
