"""Systems that a sentence says what to draw: what follows from their `words` and from `text`, a `Sentences`; borrowed by name in class bodies.

Latents are noise, `_draw(n, generator)`, with a sentence's vector behind it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.text.vocabulary import read_prompt, unknown


def unread(self: Any, prompt: str) -> list[str]:
    """Return the words of a sentence that the encoder passes over."""
    return unknown(prompt, self.vocabulary) if self.vocabulary and not self.text.reads_any else []


def told(self: Any, prompt: str, n: int) -> Tensor:
    """Return the vector of a prompt `n` times, [n, dim].

    Raises:
        UserError: The model knows no captions, the prompt is empty, or it has no word that the model knows.
    """
    found = read_prompt(prompt, self.vocabulary, any_word=bool(self.vocabulary) and self.text.reads_any)
    vectors: Tensor = self.text.read(found, n)
    return vectors


@torch.no_grad()
def sample_prior(self: Any, n: int, *, generator: Generator, prompt: str | None = None) -> Tensor:
    """Draw noise with a sentence's vector behind it, [n, noise + dim].

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        prompt: What all of them show, in words; captions that were seen in training are drawn when not given.

    Raises:
        UserError: The prompt is empty, or has no word that the model knows.
    """
    z = self._draw(n, generator)
    return torch.cat([z, self.text.recall(n, generator) if prompt is None else told(self, prompt, n)], 1)


@torch.no_grad()
def sample(self: Any, n: int, *, generator: Generator, prompt: str | None = None) -> Tensor:
    """Return `n` images [n, C, H, W] in [-1, 1].

    Args:
        self: The system.
        n: How many.
        generator: All the randomness.
        prompt: What they show, in words; captions of the training are drawn when not given.
    """
    drawn: Tensor = self.decode(self.sample_prior(n, generator=generator, prompt=prompt))
    return drawn
