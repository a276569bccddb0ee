"""A transformer that predicts an image's codes one after the other; a tokenizer turns them into an image.

The second stage of VQ-VAE, VQ-VAE-2 and VQGAN: log P(c) = Σ_t log p(c_t | c_<t, class) over the codes of a trained tokenizer, with
a decoder-only transformer as in Esser, Rombach & Ommer 2021 (section 3.2). Attention keeps the keys and values of what it has read, so
that drawing a code costs one position, not all of them.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.optim import AdamW, Optimizer

from genzoo.core.capabilities import Tokenizes
from genzoo.core.errors import UserError
from genzoo.core.system import Batch, Logs, System
from genzoo.losses.likelihoods import pick_from
from genzoo.models.autoregressive._token_walk import TokenWalk
from genzoo.nn import captioned, draws
from genzoo.nn.checks import check_images, check_known, check_label
from genzoo.nn.pretrained.sentences import Encoder, Sentences
from genzoo.nn.remade import Room, dropout, remade, remade_gelu
from genzoo.nn.remat import again
from genzoo.saved.loading import digest


class Block(nn.Module):
    """Attention to what came before, then two layers at each position; each adds to its normalized input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, room: Room) -> Tensor:
        """Map [B, T, width] to its like; `room` is one for all blocks."""
        q, k, v = remade(self.norm_1, x, self.qkv).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        p = self.dropout if self.training else 0.0
        # no dropout inside: it would keep the fast kernels from being used
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + dropout(self.join(a.transpose(1, 2).flatten(2)), p)
        first, _, second = self.mlp
        return x + dropout(remade_gelu(remade(self.norm_2, x, first), second, room), p)


class Transformer(nn.Module):
    """Maps embedded positions to the logits of the code at each of them.

    Args:
        levels: Level of each position, [T].
        size: Codes of a level.
        width: Features.
        depth: Blocks.
        heads: Attention heads.
        dropout: Share of features dropped in training.
    """

    levels: Tensor
    blocks: Any  # a ModuleList of Blocks
    remat = False

    def __init__(self, levels: Tensor, size: int, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("levels", levels, persistent=False)
        self.level_of: list[int] = levels.tolist()
        self.size, self.dropout = size, dropout
        self.code = nn.Embedding((int(levels.max()) + 1) * size, width)  # every level has its own codes
        self.place = nn.Parameter(torch.zeros(len(levels), width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(nn.Linear(width, size) for _ in range(int(levels.max()) + 1))
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(
                    p, std=0.02 / math.sqrt(2 * depth) if name.endswith(("join.weight", "mlp.2.weight")) else 0.02
                )
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def embed(self, codes: Tensor, first: int = 0) -> Tensor:
        """Embed codes [B, t] that stand at positions `first`, `first` + 1, ...: [B, t, width]."""
        return self.code(codes + self.size * self.levels[first : first + codes.shape[1]])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, T, size] of the codes at all positions, from the start and the codes before each, [B, T, width]."""
        x = F.dropout(x + self.place[: x.shape[1]], self.dropout, self.training)
        room = Room()
        for block in self.blocks:
            x = again(self, block, x, room)
        x = self.norm(x)
        counts = [self.level_of[: x.shape[1]].count(i) for i in range(len(self.heads))]
        return torch.cat(
            [head(part) for head, part in zip(self.heads, x.split(counts, 1), strict=True) if part.numel()], 1
        )


class TokenPrior(System):
    """Autoregressive transformer over the codes of any tokenizer.

    Trained by cross-entropy, the mean nats of a code. The sequence is one start position (the class, or "no class") and the codes in the
    tokenizer's order: grids coarse to fine, each in raster order, with an embedding for every position and a table of codes and an output
    layer for every grid. So one network is all priors of a multi-level tokenizer: p(coarse | class) · p(fine | coarse, class).

    The tokenizer is frozen and a part of this system: the checkpoint holds its name, arguments and weights, and needs its run no more.

    Where the data has captions, a sentence's vector, brought to the width by a dense layer, is added to the start position.

    Classes and captions are dropped from a share of the examples, which also trains the unconditional model that guidance needs:
    logits = u + guidance · (c - u), with u without class and c with it (arXiv:2207.12598); 1 is no guidance. Then temperature, then top-k,
    then top-p, in this order.

    Deviations from the paper (minGPT): smaller; codes are not corrupted in training; no sliding window.

    Args:
        shape: Channels, height and width of the images; those of the tokenizer.
        classes: Number of classes; 0 without labels.
        vocabulary: Words of the captions; empty without captions.
        tokenizer: What turns images into codes and back.
        width: Features of a position.
        depth: Blocks.
        heads: Attention heads; they divide the width.
        dropout: Share of features that is dropped in training.
        class_dropout: Share of examples whose class and caption are hidden in training; 0 for a model that cannot do without.
        encoder: What makes a vector of a caption: words (a bag of trained word vectors), gru (reads them in order), minilm (frozen, from a file).
        length: Words of a caption that are read.
        weight_decay: Weight decay of matrices.
        lr: Learning rate of AdamW at the start; it falls to a tenth along a half cosine.
    """

    paper: ClassVar[str] = "arXiv:2012.09841"
    data: ClassVar[str] = "image"
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "token-prior-large": {"width": 1024, "depth": 24, "heads": 16, "lr": 3e-4},
    }
    tiny: ClassVar[dict[str, Any]] = {
        "shape": (1, 8, 8), "width": 16, "depth": 2, "heads": 2,
        "tokenizer": {
            "system": "vqvae",
            "hparams": {"shape": (1, 8, 8), "codes": 8, "dim": 4, "width": 8, "blocks": 1, "halvings": 1},
        },
    }  # fmt: skip
    defaults: ClassVar[dict[str, Any]] = {"steps": 20000, "batch": 64, "ema": 0.999, "warmup": 0.02, "clip": 1.0}
    vocabulary: tuple[str, ...]
    likelihood: ClassVar[str] = "lower bound: the image's own codes under the learned prior, pixels by the decoder"
    labels: int

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 32, 32),
        *,
        classes: Annotated[int, Field(ge=0)] = 0,
        vocabulary: tuple[str, ...] = (),
        tokenizer: Tokenizes | None = None,
        width: Annotated[int, Field(ge=1, le=16384)] = 256,
        depth: Annotated[int, Field(ge=1, le=128)] = 6,
        heads: Annotated[int, Field(ge=1, le=128)] = 4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        class_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        encoder: Encoder = "gru",
        length: Annotated[int, Field(ge=1, le=256)] = 32,
        weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.05,
        lr: Annotated[float, Field(gt=0, le=1)] = 1e-3,
    ) -> None:
        super().__init__()
        if tokenizer is None:
            raise UserError(
                "token-prior learns the codes of a tokenizer: train one first ('genzoo train vqvae data=...', or vqvae2, "
                "vqgan), then give tokenizer=runs/vqvae"
            )
        assert isinstance(tokenizer, System)
        if tuple(tokenizer.hparams["shape"]) != tuple(shape):
            theirs, ours = ("x".join(map(str, s)) for s in (tokenizer.hparams["shape"], shape))
            raise UserError(
                f"the tokenizer takes images {theirs} (channels, height, width) and the data has {ours}; "
                "open it in the same form: size=, channels="
            )
        if width % heads:
            raise UserError(f"width={width} is not a multiple of heads={heads}; every head has an equal part of it")
        self.shape, self.classes, self.labels, self.class_dropout = shape, classes, classes, class_dropout
        self.lr, self.weight_decay = lr, weight_decay
        self.tokenizer = tokenizer.requires_grad_(False).eval()
        sizes = [math.prod(grid) for grid in tokenizer.code_grids]
        levels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.length, self.codes = len(levels), tokenizer.codebook_size
        self.net = Transformer(levels, self.codes, width, depth, heads, dropout)
        self.start = nn.Embedding(classes + 1, width)  # the last one is "no class"
        nn.init.normal_(self.start.weight, std=0.02)
        self.vocabulary = vocabulary
        if vocabulary:
            self.text = Sentences(vocabulary, encoder, width, length)
            self.say = nn.Linear(self.text.dim, width, bias=False)

    def train(self, mode: bool = True) -> TokenPrior:
        """Set the mode of the transformer; the tokenizer never trains."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    # ---- learning --------------------------------------------------------------------------------------------------

    def optimizers(self) -> dict[str, Optimizer]:
        """Return AdamW; only matrices decay."""
        own = [*self.net.parameters(), *self.start.parameters()]
        if self.vocabulary:
            self.text.load()
            own += [*self.text.parameters(), *self.say.parameters()]
        groups = [
            {"params": [p for p in own if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in own if p.ndim < 2], "weight_decay": 0.0},
        ]
        return {"model": AdamW(groups, lr=self.lr, betas=(0.9, 0.95))}

    def lr_scale(self, progress: float) -> float:
        """Fall along half a cosine, from 1 to a tenth."""
        return 0.55 + 0.45 * math.cos(math.pi * progress)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> Batch:
        """Return the codes of a batch of images, and its labels and captions."""
        with torch.autocast(self.device.type, enabled=False):
            codes = self.tokenizer.tokenize(batch["image"])
        return {"codes": codes, **{k: batch[k] for k in ("label", "caption") if k in batch}}

    def prepared_by(self) -> str:
        """Return a digest of the tokenizer."""
        return digest(self.tokenizer)

    def loss(self, batch: Batch) -> Logs:
        """Return nats of a code and, as logs, bits of a code: of all, and of those of each level, coarse to fine."""
        batch = batch if "codes" in batch else self.prepare(batch)
        codes = batch["codes"].long()
        label = self._labels(batch["label"], codes.shape[0]) if self.classes else self._labels(None, codes.shape[0])
        hidden = torch.rand(codes.shape[0], device=codes.device) < self.class_dropout
        sentence = None
        if self.vocabulary:
            caption = batch["caption"].long()
            self.text.remember(caption)
            sentence = self.text(caption) * (~hidden & (caption > 1).any(1))[:, None]
        nats = self._nats(codes, torch.where(hidden, self.classes, label), sentence)
        logs = {"loss": nats.mean(), "bits_per_code": nats.detach().mean() / math.log(2)}
        if len(self.tokenizer.code_grids) > 1:
            for level, part in enumerate(nats.detach().split([math.prod(g) for g in self.tokenizer.code_grids], 1), 1):
                logs[f"bits_level_{level}"] = part.mean() / math.log(2)
        return logs

    def _labels(self, label: Tensor | int | None, n: int) -> Tensor:
        """Return rows of the table of starts, int64 [n]."""
        if label is None:
            return torch.full((n,), self.classes, device=self.device)
        return torch.as_tensor(label, device=self.device).long().expand(n)

    def _start(self, label: Tensor, sentence: Tensor | None) -> Tensor:
        """Return what stands before the first code, [B, 1, width]; a sentence's vector of zeros is none."""
        x = self.start(label)
        return (x if sentence is None else x + self.say(sentence.to(x.dtype)))[:, None]

    def _nats(self, codes: Tensor, label: Tensor, sentence: Tensor | None = None) -> Tensor:
        """Return -log p of every code given those before it, [B, T]."""
        x = torch.cat([self._start(label, sentence), self.net.embed(codes[:, :-1])], 1)
        return F.cross_entropy(self.net(x).float().movedim(-1, 1), codes, reduction="none")

    # ---- the density -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def code_log_prob(self, codes: Tensor, label: Tensor | int | None = None) -> Tensor:
        """Return log P(codes | label) in nats, exact, [B], of codes [B, T]; without a label by the model without class.

        Raises:
            UserError: There is no such class, or the model has none without class.
        """
        self._refuse_labels(label)
        return -self._nats(codes.long(), self._labels(label, codes.shape[0])).sum(1)

    prediction: ClassVar[str] = "log-probabilities of every code, [B, T, codes], in raster order, coarse grids first"

    @torch.no_grad()
    def predict(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p of every code of every place given those before it, float32 [B, T, codes], in one pass.

        Args:
            x: Codes, int64 [B, T].
            label: The class of each, int64 [B]; `classes` (the default) is no class.
        """
        start = self._start(self._labels(label, x.shape[0]), None)
        return self.net(torch.cat([start, self.net.embed(x[:, :-1])], 1)).float().log_softmax(-1)

    @torch.no_grad()
    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return log P(z(x)) + log p(x | z(x)) in nats, [B]: a bound on log p(x); `generator` is not used.

        Raises:
            UserError: The tokenizer's decoder is no likelihood, or the model has none without class.
        """
        codes = self.tokenizer.tokenize(x)
        return self.code_log_prob(codes) + self.tokenizer.log_likelihood(x, codes)

    unread = captioned.unread
    _told = captioned.told

    def _refuse_labels(self, label: Tensor | int | None, guidance: float = 1.0, *, told: bool = False) -> None:
        if label is not None:
            for extreme in torch.as_tensor(label).aminmax():
                check_label(int(extreme), self.classes)
        alone = label is None and not told
        if (self.classes or self.vocabulary) and not self.class_dropout and (alone or guidance != 1):
            what = "class" if self.classes else "caption"
            raise UserError(f"this model was trained with class_dropout=0 and knows no image without its {what}")

    # ---- drawing ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: Generator,
        label: Annotated[int, Field(ge=0)] | None = None,
        prompt: str | None = None,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        top_k: Annotated[int, Field(ge=1)] | None = None,
        top_p: Annotated[float, Field(gt=0, le=1)] = 1.0,
        guidance: Annotated[float, Field(ge=0, le=100)] = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Return images, float32 [n, C, H, W] in [-1, 1].

        Args:
            n: How many.
            generator: All the randomness: one number for every code, and the classes where none is given.
            label: Class of all of them; a random one for each when not given.
            prompt: What they show, in words, for a model of captions; captions of the training are drawn when not given.
            temperature: Divides the logits; below 1 likelier codes, above 1 more varied ones.
            top_k: Draw among this many likeliest codes only.
            top_p: Draw among the likeliest codes that together have this probability.
            guidance: How far to go from the model without class towards, and past, the one with it; 1 is no guidance.
            cached: Keep keys and values; false computes every position anew for every code (equal, and slow).
        """
        if label is None and self.classes:
            labels = draws.randint(self.classes, n, generator=generator, device=self.device)
        else:
            self._refuse_labels(label, told=bool(self.vocabulary))
            labels = self._labels(label, n)
        sentence = None
        if prompt is not None or self.vocabulary:
            sentence = self.text.recall(n, generator) if prompt is None else self._told(prompt, n)
        codes = torch.zeros(n, self.length, dtype=torch.long, device=self.device)
        kept = torch.zeros_like(codes, dtype=torch.bool)
        how: Any = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "guidance": guidance, "cached": cached}
        drawn = self.complete_codes(codes, kept, labels, generator=generator, sentence=sentence, **how)
        return self.tokenizer.detokenize(drawn)

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        generator: Generator,
        label: Annotated[int, Field(ge=0)] | None = None,
        prompt: str | None = None,
        temperature: Annotated[float, Field(gt=0, le=10)] = 1.0,
        top_k: Annotated[int, Field(ge=1)] | None = None,
        top_p: Annotated[float, Field(gt=0, le=1)] = 1.0,
        guidance: Annotated[float, Field(ge=0, le=100)] = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Draw the codes whose cell has an unknown pixel, in order, each given those before it; known pixels stay as they are.

        Args:
            x: Images [B, C, H, W] in [-1, 1]; what stands at unknown pixels is not read.
            known: Which pixels to keep, bool [B, 1, H, W].
            generator: All the randomness.
            label: Class of all of them; the model without class when not given.
            prompt: What they show, in words; the model without caption when not given.
            temperature: As in `sample`.
            top_k: As in `sample`.
            top_p: As in `sample`.
            guidance: As in `sample`.
            cached: As in `sample`.
        """
        check_images(x, self.shape)
        check_known(known, x)
        sentence = None if prompt is None else self._told(prompt, x.shape[0])
        self._refuse_labels(label, told=prompt is not None)
        kept = torch.cat([self._cells(known, grid) for grid in self.tokenizer.code_grids], 1)
        codes = self.tokenizer.tokenize(torch.where(known, x, 0))
        how: Any = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "guidance": guidance, "cached": cached}
        labels = self._labels(label, x.shape[0])
        drawn = self.complete_codes(codes, kept, labels, generator=generator, sentence=sentence, **how)
        return torch.where(known, x, self.tokenizer.detokenize(drawn))

    @staticmethod
    def _cells(known: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Return which codes of a grid stand for known pixels alone, bool [B, h·w·...]."""
        h, w, *deep = grid
        whole = ~F.adaptive_max_pool2d((~known).float(), (h, w)).bool()
        return whole[:, 0, :, :, None].expand(-1, h, w, math.prod(deep)).flatten(1)

    @torch.no_grad()
    def complete_codes(
        self,
        codes: Tensor,
        kept: Tensor,
        label: Tensor,
        *,
        generator: Generator,
        sentence: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        guidance: float = 1.0,
        cached: bool = True,
    ) -> Tensor:
        """Draw the codes [B, T] where `kept` [B, T] is False, each given all before it; `label` [B], `classes` for no class.

        `sentence` [B, dim] are vectors of captions.
        """
        guided = guidance != 1 and (sentence is not None or bool((label < self.classes).all()))
        if guided:
            self._refuse_labels(None)
            sentence = None if sentence is None else torch.cat([sentence, torch.zeros_like(sentence)])
        # one number for each code, by its place: what is kept and the way of computing shift nobody else's
        uniform = draws.rand(*codes.shape, generator=generator, device=self.device)
        codes, numbers, some = codes.clone(), uniform.T.contiguous().unbind(), kept.any(0).tolist()
        starts = torch.cat([label, torch.full_like(label, self.classes)]) if guided else label
        with torch.autocast(self.device.type, enabled=False), torch.inference_mode():
            start = self._start(starts, sentence)
            walk, before, x = TokenWalk(self.net, start.shape[0]) if cached else None, start[:, 0], start
            for t in range(self.length):
                logits = walk.next(before) if walk is not None else self.net(x)[:, -1]
                if guided:
                    with_class, without = logits.chunk(2)
                    logits = without + guidance * (with_class - without)
                p = choices(logits if temperature == 1 else logits / temperature, top_k, top_p)
                drawn = pick_from(numbers[t], p)
                codes[:, t] = torch.where(kept[:, t], codes[:, t], drawn) if some[t] else drawn
                if walk is not None:
                    before = walk.embed(codes[:, t].repeat(2) if guided else codes[:, t])
                else:
                    read = codes[:, : t + 1]
                    x = torch.cat([start, self.net.embed(read.repeat(2, 1) if guided else read)], 1)
        return codes


def choices(logits: Tensor, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """Return the probabilities [B, K] of logits [B, K]: those of the top k alone, and of these the fewest likeliest whose sum reaches top_p."""
    p = logits.float().softmax(-1)
    if top_k is None and top_p == 1:
        return p
    ranked, order = torch.sort(p, dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked[:, top_k:] = 0
        ranked = ranked / ranked.sum(-1, keepdim=True)
    if top_p < 1:
        before = ranked.cumsum(-1) - ranked
        ranked = torch.where(before < top_p, ranked, 0)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    return torch.zeros_like(p).scatter(-1, order, ranked)
