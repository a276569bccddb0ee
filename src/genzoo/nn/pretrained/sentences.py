"""Sentence encoders: what turns captions and prompts into vectors, trained with a model or frozen, behind one face.

A caption comes as a row of numbers: 0 fills up, 1 is an unknown word, 2 and up are a vocabulary's words. To add an encoder, give
`ENCODERS` a function of (vocabulary, dim) that returns a module with `forward(ids [B, L]) -> [B, dim]`, `read(sentences) -> [n, dim]`, `dim`
and `reads_any`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from genzoo.core.errors import UserError
from genzoo.nn import draws
from genzoo.nn.pretrained.minilm import MiniLM
from genzoo.ranks.sums import everybody

Encoder = Literal["words", "gru", "minilm"]
FIRST = 2
"""Number of the first word."""


def _ids(sentences: Sequence[Sequence[str]], vocabulary: Sequence[str], device: torch.device) -> Tensor:
    """Return sentences as rows of numbers without the unknown words, int64 [n, L]."""
    number = {w: i for i, w in enumerate(vocabulary, FIRST)}
    rows = [[number[w] for w in s if w in number] for s in sentences]
    longest = max(1, *(len(r) for r in rows))
    return torch.tensor([r + [0] * (longest - len(r)) for r in rows], device=device)


class BagOfWords(nn.Module):
    """The sum of a trained vector for every word, over the square root of their number; order and unknown words do not count.

    Args:
        vocabulary: Its words.
        dim: Size of a vector.
    """

    reads_any = False

    def __init__(self, vocabulary: Sequence[str], dim: int) -> None:
        super().__init__()
        self.vocabulary, self.dim = tuple(vocabulary), dim
        self.table = nn.Embedding(len(vocabulary), dim)

    def vectors(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of words [B, L, dim], zero where there is none, and where there is one [B, L]."""
        there = ids >= FIRST
        return self.table((ids - FIRST).clamp_min(0)) * there[..., None], there

    def forward(self, ids: Tensor) -> Tensor:
        """Return captions [B, L] as vectors [B, dim]."""
        x, there = self.vectors(ids)
        return x.sum(1) / there.sum(1, keepdim=True).clamp_min(1).sqrt()

    def read(self, sentences: Sequence[Sequence[str]]) -> Tensor:
        """Return sentences, each a list of words, as vectors [n, dim]; unknown words are passed over."""
        vectors: Tensor = self(_ids(sentences, self.vocabulary, self.table.weight.device))
        return vectors


class Recurrent(BagOfWords):
    """A gated recurrent unit over the words' vectors, which tells "red left of blue" from "blue left of red"; its last state.

    Args:
        vocabulary: Its words.
        dim: Size of a vector.
    """

    def __init__(self, vocabulary: Sequence[str], dim: int) -> None:
        super().__init__(vocabulary, dim)
        self.unit = nn.GRU(dim, dim, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        """Return captions [B, L] as vectors [B, dim]."""
        x, there = self.vectors(ids)
        states: Tensor = self.unit(x)[0]
        place = torch.arange(ids.shape[1], device=ids.device)
        last = torch.where(there, place, 0).max(1).values
        states = states.gather(1, last[:, None, None].expand(-1, 1, self.dim)).squeeze(1)
        return states * there.any(1, keepdim=True)


class Frozen(nn.Module):
    """MiniLM, frozen and not in the checkpoint: where it was trained with other weights than those at hand, it says so.

    Args:
        vocabulary: The words of captions.
        net: The encoder.
    """

    reads_any = True
    digest: Tensor

    def __init__(self, vocabulary: Sequence[str], net: MiniLM | None = None) -> None:
        super().__init__()
        self.vocabulary, self.net = tuple(vocabulary), net or MiniLM()
        self.dim = self.net.dim
        self.register_buffer("digest", torch.zeros(32, dtype=torch.uint8))

    def load(self) -> None:
        """Read the weights and compare them with those of the training.

        Raises:
            UserError: They are missing, damaged, or others.
        """
        here = torch.frombuffer(bytearray.fromhex(self.net.load().digest), dtype=torch.uint8).to(self.digest.device)
        if self.training and not self.digest.any():
            self.digest.copy_(here)
        if self.digest.any() and not torch.equal(here, self.digest):
            raise UserError("the weights of MiniLM on this machine are not those that this model was trained with")

    def forward(self, ids: Tensor) -> Tensor:
        """Return captions [B, L] as vectors [B, dim] of length one."""
        return self.read([[self.vocabulary[i - FIRST] for i in row if i >= FIRST] for row in ids.tolist()])

    def read(self, sentences: Sequence[Sequence[str]]) -> Tensor:
        """Return sentences, each a list of words, as vectors [n, dim] of length one; any word can be read."""
        self.load()
        return self.net(sentences, self.digest.device)


ENCODERS: dict[str, Callable[[Sequence[str], int], Any]] = {
    "words": BagOfWords,
    "gru": Recurrent,
    "minilm": lambda vocabulary, dim: Frozen(vocabulary),
}
MEMORY = 1024


class Sentences(nn.Module):
    """An encoder with a memory of captions, from which samples without a prompt take theirs.

    Args:
        vocabulary: Its words.
        encoder: Which encoder.
        dim: Size of a trained encoder's vector.
        length: Words of a caption that are read.
    """

    memories = ("heard", "count")
    heard: Tensor
    count: Tensor

    def __init__(self, vocabulary: Sequence[str], encoder: Encoder, dim: int, length: int) -> None:
        super().__init__()
        self.encoder = ENCODERS[encoder](vocabulary, dim)
        self.dim, self.length, self.reads_any = self.encoder.dim, length, self.encoder.reads_any
        heard = torch.zeros(MEMORY, length, dtype=torch.int32)
        heard[:, 0] = FIRST + torch.arange(MEMORY) % max(len(vocabulary), 1)  # before there are captions: one word each
        self.register_buffer("heard", heard)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, ids: Tensor) -> Tensor:
        """Return captions [B, L] as vectors [B, dim]."""
        vectors: Tensor = self.encoder(ids[:, : self.length])
        return vectors

    def load(self) -> None:
        """Read weights that come from a file, before the first step."""
        if isinstance(self.encoder, Frozen):
            self.encoder.load()

    def read(self, sentence: Sequence[str], n: int) -> Tensor:
        """Return the vector of one sentence, a list of words, `n` times: [n, dim]."""
        vector: Tensor = self.encoder.read([sentence[: self.length]])
        return vector.expand(n, -1)

    def remember(self, ids: Tensor) -> None:
        """Keep the captions [B, L] of a step in place of the oldest ones; images without a caption leave nothing."""
        ids = everybody(ids)
        rows = ids[(ids >= FIRST).any(1)][-MEMORY:, : self.length].to(self.heard.dtype)
        place = (self.count + torch.arange(rows.shape[0], device=ids.device)) % MEMORY
        kept = torch.zeros(rows.shape[0], self.length, dtype=self.heard.dtype, device=ids.device)
        kept[:, : rows.shape[1]] = rows
        self.heard[place] = kept
        self.count += rows.shape[0]

    def recall(self, n: int, generator: Generator) -> Tensor:
        """Return the vectors of `n` captions drawn from the memory, [n, dim]."""
        chosen = draws.randint(self.heard.shape[0], n, generator=generator, device=generator.device)
        vectors: Tensor = self(self.heard[chosen.to(self.heard.device)].long())
        return vectors
