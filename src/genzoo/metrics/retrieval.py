"""Does an image show what it was asked for: a network that learned real images with their captions finds the caption among a hundred."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from genzoo.core.capabilities import Prompted
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.comparison import Comparison
from genzoo.metrics.errors import group_error
from genzoo.metrics.measure import Measure, Value
from genzoo.metrics.records import Record, share_interval
from genzoo.nn.gan.augment import translation
from genzoo.nn.pretrained.sentences import Recurrent
from genzoo.text.vocabulary import split, to_ids, vocabulary

MEASURE = Measure(
    name="retrieval",
    line="is an image's own sentence found among a hundred, by a matcher that is trained on the real pairs?",
    question="reading",
    gives=(Value("retrieval", better="higher"),),
    needs=("samples", "prompted"),
    features=False,
    train=True,
    default=False,
)
CANDIDATES, STEPS, BATCH, DIM, LARGEST = 100, 600, 64, 128, 32
"""Captions to choose from; the matcher's training; the size of its vectors; the side that it sees images at."""
MOST = 2000
"""Captions of the data that samples are drawn for, at most."""


class Matcher(nn.Module):
    """Images and sentences as vectors of length one, near each other where they belong together (a small CLIP, arXiv:2103.00020).

    Args:
        channels: Channels of the images.
        words: Vocabulary of the sentences.
    """

    def __init__(self, channels: int, words: Sequence[str]) -> None:
        super().__init__()
        self.words = tuple(words)
        widths, layers = [channels, 32, 64, 128], list[nn.Module]()
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, inplace=True)]
        self.image = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * (LARGEST // 8) ** 2, DIM))
        self.sentence = Recurrent(words, DIM)
        self.sharpness = nn.Parameter(torch.tensor(2.3))

    def see(self, images: Tensor) -> Tensor:
        """Embed images uint8 [N, C, H, W] as vectors [N, D]."""
        return torch.cat([F.normalize(self.image(_pixels(part)).float(), dim=1) for part in images.split(500)])

    def read(self, texts: Sequence[str]) -> Tensor:
        """Embed sentences as vectors [N, D]."""
        ids = torch.from_numpy(to_ids([split(t) for t in texts], self.words)).long()
        return F.normalize(self.sentence(ids).float(), dim=1)


def _pixels(images: Tensor) -> Tensor:
    x = images.float() / 127.5 - 1
    same = x.shape[2:] == (LARGEST, LARGEST)
    return x if same else F.interpolate(x, (LARGEST, LARGEST), mode="bilinear", antialias=True, align_corners=False)


@torch.enable_grad()  # evaluations are without gradients
def train_matcher(images: Tensor, texts: Sequence[Sequence[str]], *, steps: int = STEPS, seed: int = 0) -> Matcher:
    """Learn which of real images uint8 [N, C, H, W] and captions belong together, by a symmetric cross-entropy within batches.

    Args:
        images: Real images.
        texts: All captions of each; one is drawn anew at every step. Images without captions are left out.
        steps: Steps of `BATCH` pairs, moved by up to an eighth of the side, with noise.
        seed: Seed of weights and order.
    """
    told = [i for i, t in enumerate(texts) if t]
    if len(told) < 2:
        raise UserError("retrieval needs at least two images with captions")
    words = vocabulary(t for i in told for t in texts[i])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, rng = Matcher(images.shape[1], words).train(), np.random.default_rng(seed)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
            chosen = rng.choice(told, min(BATCH, len(told)), replace=False)
            captions = [texts[i][int(rng.integers(len(texts[i])))] for i in chosen]
            x = translation(_pixels(images[chosen]))
            seen = F.normalize(net.image(x + 0.1 * torch.randn_like(x)).float(), dim=1)
            scores = seen @ net.read(captions).T * net.sharpness.exp().clamp(max=100)
            number = {c: k for k, c in enumerate(captions)}
            same = torch.tensor([number[c] for c in captions])
            right = (same[:, None] == same).float()  # equal captions are right as well
            right = right / right.sum(1, keepdim=True)
            loss = -(right * (scores.log_softmax(1) + scores.T.log_softmax(1))).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


@torch.no_grad()
def retrieval(
    matcher: Matcher,
    images: Tensor,
    asked: Sequence[str],
    pool: Sequence[str],
    *,
    candidates: int = CANDIDATES,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how often the caption that an image was drawn for beats all others of `candidates`; chance is 1 / candidates.

    Args:
        matcher: The judge.
        images: uint8 [N, C, H, W].
        asked: The caption of each.
        pool: Captions that the others are drawn from, anew for every image, none of them equal to its own.
        candidates: Captions to choose from, its own among them.
        seed: Seed of the choice.

    Returns:
        value (share found), se (over draws of captions and of images for them; None for a single caption), n, first_ten (share whose own is
        among the best tenth), median_rank (1 is best).

    Raises:
        UserError: The pool has too few captions.
    """
    distinct = list(dict.fromkeys(pool))
    if len(set(distinct) | set(asked)) < candidates:
        raise UserError(
            f"retrieval among {candidates} captions needs as many; there are {len(set(distinct) | set(asked))}"
        )
    others, own = matcher.read(distinct), matcher.read(asked)
    rng, ranks = np.random.default_rng(seed), []
    for vector, mine, caption in zip(matcher.see(images), own, asked, strict=True):
        rest = [i for i, c in enumerate(distinct) if c != caption]
        chosen = others[rng.choice(rest, candidates - 1, replace=False)]
        ranks.append(1 + int((chosen @ vector >= vector @ mine).sum()))
    found = torch.tensor(ranks)
    share = (found == 1).double().mean().item()
    return {
        "value": share,
        "se": group_error((found == 1).double(), list(asked)),
        "n": len(ranks),
        "first_ten": (found <= max(1, candidates // 10)).double().mean().item(),
        "median_rank": found.double().median().item(),
    }


def draw_asked(
    system: System, captions: Sequence[str], each: int, generator: Generator, *, options: dict[str, Any] | None = None
) -> tuple[Tensor, list[str]]:
    """Draw samples for every caption that the system can read, uint8 [N, C, H, W], and return the caption of each."""
    drawn, asked = list[Tensor](), list[str]()
    assert isinstance(system, Prompted)
    for caption in captions:
        if len(system.unread(caption)) == len(set(split(caption))):
            continue
        drawn.append(to_uint8(system.sample(each, generator=generator, prompt=caption, **(options or {}))))
        asked += [caption] * each
    if not drawn:
        raise UserError("retrieval: the system knows no word of these captions")
    return torch.cat(drawn), asked


def take(c: Comparison) -> list[Record]:
    """Return how often the caption that a sample was drawn for is found again; the floor is that of the real images."""
    start = time.time()
    if c.train is None or not c.train.texts or not c.real_set.texts:
        raise UserError("retrieval needs captions in the training and in the test part")
    sides = [(torch.from_numpy(np.array(d.fields["image"])), d.texts) for d in (c.train, c.real_set)]
    matcher = train_matcher(
        torch.cat([s[0] for s in sides]), [t for s in sides for t in s[1]], steps=STEPS, seed=c.seed
    )
    captions = list(dict.fromkeys(t[0] for t in c.real_set.texts if t))[:MOST]
    assert c.system is not None
    generator = torch.Generator(c.system.device).manual_seed(c.seed)
    images, asked = draw_asked(c.system, captions, max(1, c.n_fake // len(captions)), generator)
    pool = [t for texts in c.real_set.texts for t in texts]
    count = min(CANDIDATES, len(set(pool)))
    got = retrieval(matcher, images, asked, pool, candidates=count, seed=c.seed)
    told = [i for i, t in enumerate(c.real_set.texts) if t][:MOST]
    floor = retrieval(
        matcher, sides[1][0][told], [c.real_set.texts[i][0] for i in told], pool, candidates=count, seed=c.seed
    )
    se, captions_asked = got["se"], len(set(asked))
    words = (
        f"share of samples whose own caption, one of the test part, beats {count - 1} others of it by a matcher trained on all real pairs "
        f"({len(c.train):,} + {len(c.real_set):,} images, {STEPS} steps); chance {1 / count:.3g}; floor: the real test images"
    )
    record = c.record(
        MEASURE.says("retrieval"), got["value"], words, start, features=False, se=se, floor=floor["value"],
        interval=None if se is None else share_interval(got["value"], se, captions_asked),
        first_ten=got["first_ten"], median_rank=got["median_rank"], candidates=count,
    )  # fmt: skip
    said = f"{words}; {got['n']:,} samples of {captions_asked:,} captions; ± counts them; seed {c.seed}"
    return [dataclasses.replace(record, n=got["n"], n_fake=got["n"], protocol=said)]
