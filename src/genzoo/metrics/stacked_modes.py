"""How many of the thousand modes of Stacked-MNIST samples reach: every channel is read by a classifier of digits.

Protocol of VEEGAN (arXiv:1705.07761) and PacGAN (arXiv:1712.04086): 26,000 samples, modes are the distinct triples of 1,000, and
KL(p || uniform) in nats. The data are any images of three channels that hold a digit each: `stack_digits` makes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from genzoo.core.errors import UserError
from genzoo.metrics.comparison import Comparison, count
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.modes import kl_to_uniform
from genzoo.metrics.records import Record

MEASURE = Measure(
    name="stacked-modes",
    line="modes of Stacked-MNIST: triples of digits that extractor=lenet-mnist-v1 reads in the three channels of samples",
    question="variety",
    gives=(Value("stacked modes", better="higher"), Value("KL of stacked modes", unit="nats", better="lower")),
    classifier=True,
    default=False,
)
STACKED_SAMPLES = 26_000


def stack_digits(images: Tensor, n: int, *, generator: Generator) -> Tensor:
    """Build Stacked-MNIST: three random digits as the channels of one image, uint8 [n, 3, H, W] from [N, 1, H, W]."""
    return images[torch.randint(len(images), (n, 3), generator=generator)].squeeze(2)


def stacked_modes(images: Tensor, classify: Callable[[Tensor], Tensor], *, digits: int = 10) -> dict[str, float]:
    """Count the modes of Stacked-MNIST samples.

    Args:
        images: uint8 [N, 3, H, W]; the protocol takes 26,000.
        classify: uint8 [N, 1, H, W] to logits [N, digits].
        digits: Number of classes of one channel.

    Returns:
        `modes` (of digits³), `kl` = KL(p || uniform) in nats, `n`, and `ideal_kl`, what perfectly uniform samples of this
        number have on average: (K − 1) / 2n.

    Raises:
        UserError: No uint8 images [N, 3, H, W].
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8 or not len(images):
        raise UserError(f"Stacked-MNIST samples are uint8 [N, 3, H, W], not {images.dtype} {tuple(images.shape)}")
    read = torch.stack([classify(images[:, c : c + 1]).argmax(1).cpu() for c in range(3)], 1)
    code = (read * torch.tensor([digits**2, digits, 1])).sum(1)
    histogram = torch.bincount(code, minlength=digits**3)
    n = len(images)
    return {
        "modes": int((histogram > 0).sum()),
        "kl": kl_to_uniform(histogram),
        "n": n,
        "ideal_kl": (digits**3 - 1) / (2 * n),
    }


def take(c: Comparison) -> list[Record]:
    """Return the number of modes and their KL to the uniform distribution; the floor is of as many training images."""
    start, net = time.time(), c.network
    got = stacked_modes(c.fake, net.classify)
    floor = c.floor(c.floor_images, lambda x: stacked_modes(x, net.classify)) or {}
    read = f"triples of digits that {net.name} (weights {net.digest[:12]}) reads in the channels"
    words = {
        "stacked modes": ("modes", f"distinct {read}, of 1,000"),
        "KL of stacked modes": (
            "kl",
            f"KL of {read} against the uniform distribution; {got['ideal_kl']:.3g} of uniform samples",
        ),
    }
    return [
        c.record(MEASURE.says(name), got[key], text, start, floor=floor.get(key), n_floor=count(c.floor_images))
        for name, (key, text) in words.items()
    ]
