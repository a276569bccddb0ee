"""One batch over all ranks: random numbers and statistics of a training step are those that one process would have.

A rank holds its rows of the batch, and all ranks hold the same generators. While `OneBatch` is on, a random number that is drawn for the examples of
a rank is drawn for those of all ranks, as one process draws it, and the rank keeps its rows: so it is a function of the seed, the step and the
example's place in the batch. What is drawn for no example (a mask for all of them) is the same everywhere. Batch normalization takes mean and
variance over all ranks. A step knows nothing of it: it calls torch as ever, so a class of anybody's own learns in the same way.

With one process nothing of this is on, unless a batch is taken in parts (`ranks.parts`): a part stands in it as the rows of a rank do, but its
statistics are its own, over all ranks.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from genzoo.ranks.sums import everybody, mean_over_ranks, rank, ranks

Function = Callable[..., Any]


class OneBatch(TorchFunctionMode):
    """Makes what is drawn and normalized inside a `with` that of the batch of all ranks.

    A tensor is taken to be drawn for examples where the size of its first dimension is `examples` or a multiple of it: several batches one
    behind the other, as a discriminator sees them. `for_examples` says it where it is otherwise, and `for_all` that it is for no example.

    Args:
        examples: How many of the batch are this rank's, or this part's of them.
        part: Which part of the rank's rows, from 0.
        parts: How many parts there are.
    """

    def __init__(self, examples: int, part: int = 0, parts: int = 1) -> None:
        super().__init__()
        self.examples, self.dim = examples, 0
        self.place, self.places = rank() * parts + part, ranks() * parts

    def __torch_function__(
        self, func: Function, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Draw for all ranks, or call the function as it is."""
        taken = _TAKEN.get(func)
        if taken is None or not self.examples:
            return func(*args, **(kwargs or {}))
        return taken(self, func, *args, **(kwargs or {}))

    def parts(self, size: Sequence[int]) -> int:
        """Return how many batches stand one behind the other in a tensor of that size; 0 where it is none of examples."""
        if len(size) <= self.dim or size[self.dim] % self.examples:
            return 0
        return int(size[self.dim]) // self.examples

    def whole(self, size: Sequence[int]) -> list[int]:
        """Return the size that a tensor of examples has with those of all ranks."""
        return [n * self.places if d == self.dim else n for d, n in enumerate(size)]

    def mine(self, drawn: Tensor, parts: int) -> Tensor:
        """Return this rank's rows of what was drawn for all."""
        every: Tensor = drawn.unflatten(self.dim, (parts, -1))
        rows = every.narrow(self.dim + 1, self.place * self.examples, self.examples)
        return rows.squeeze(self.dim).clone() if parts == 1 else rows.flatten(self.dim, self.dim + 1)

    def like(self, x: Tensor) -> Tensor:
        """Return an empty tensor for the examples of all ranks that lies in memory as x does: numbers are drawn in that order."""
        order = sorted(range(x.ndim), key=lambda d: (-int(x.stride()[d]), d))
        size = self.whole(x.shape)
        empty = torch.empty([size[d] for d in order], dtype=x.dtype, device=x.device)
        return empty.permute([order.index(d) for d in range(x.ndim)])


_MODES: list[OneBatch] = []


@contextlib.contextmanager
def one_batch(examples: int, part: int = 0, parts: int = 1) -> Iterator[None]:
    """Let all ranks be one process for a step, of which this one has `examples` in this part; nothing without other ranks and parts."""
    if ranks() * parts == 1:
        yield
        return
    mode = OneBatch(examples, part, parts)
    _MODES.append(mode)
    try:
        with mode:
            yield
    finally:
        _MODES.pop()


@contextlib.contextmanager
def for_examples(examples: int | None = None, *, dim: int = 0) -> Iterator[None]:
    """Say of what is drawn inside that it is for examples where that cannot be seen from its size.

    Args:
        examples: How many of this rank's; as many as the step has when not given. Each rank must have as many.
        dim: The dimension in which they stand.
    """
    if not _MODES:
        yield
        return
    mode = _MODES[-1]
    before = mode.examples, mode.dim
    mode.examples, mode.dim = mode.examples if examples is None else examples, dim
    try:
        yield
    finally:
        mode.examples, mode.dim = before


@contextlib.contextmanager
def for_all() -> Iterator[None]:
    """Say of what is drawn inside that it is for no example of its own: all ranks draw the same, whatever its size."""
    with for_examples(0):
        yield


def examples_before() -> int:
    """Return the place in the batch of the first example that is here."""
    return _MODES[-1].place * _MODES[-1].examples if _MODES else 0


def examples_in_all(examples: int) -> int:
    """Return how many examples the whole batch has where there are so many here."""
    return examples * (_MODES[-1].places if _MODES else 1)


class AsNow(contextlib.AbstractContextManager[None]):
    """Puts what is said of the batch at the time this is made in place again, as often as it is entered.

    A backward pass that computes something once more needs it: torch switches modes off while it works, and what `for_examples` said has ended.
    """

    def __init__(self) -> None:
        self.mode: OneBatch | None = None
        if _MODES:
            now = _MODES[-1]
            self.mode = OneBatch(now.examples)
            self.mode.dim, self.mode.place, self.mode.places = now.dim, now.place, now.places

    def __enter__(self) -> None:
        """Draw as it was drawn then."""
        if self.mode:
            assert not any(isinstance(m, OneBatch) for m in _get_current_function_mode_stack()), "torch has left it on"
            _MODES.append(self.mode)
            self.mode.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        """Draw as before."""
        if self.mode:
            self.mode.__exit__(*error)  # type: ignore[no-untyped-call]
            _MODES.pop()


# ---- random numbers ------------------------------------------------------------------------------------------------------------------


def _of_a_size(mode: OneBatch, func: Function, *args: Any, **how: Any) -> Any:
    """Draw as `rand`, `randn`, `randint` and `normal` do, by a size."""
    values = list(args)
    if "size" in how:
        size = list(how.pop("size"))
    elif values and isinstance(values[-1], (tuple, list)):
        size = list(values.pop())
    elif func in (torch.rand, torch.randn):
        size, values = values, []
    else:
        return _of_tensors(mode, func, *args, **how)
    parts = mode.parts(size)
    if not parts:
        return func(*values, size, **how)
    return mode.mine(func(*values, mode.whole(size), **how), parts)


def _like(mode: OneBatch, func: Function, x: Tensor, *args: Any, **how: Any) -> Any:
    """Draw as `rand_like` and its kin."""
    parts = mode.parts(x.shape)
    return mode.mine(func(mode.like(x), *args, **how), parts) if parts else func(x, *args, **how)


def _in_place(mode: OneBatch, func: Function, x: Tensor, *args: Any, **how: Any) -> Any:
    """Do what `normal_` and its kin do."""
    parts = mode.parts(x.shape)
    if not parts or any(isinstance(a, Tensor) and a.ndim for a in [*args, *how.values()]):
        return func(x, *args, **how)
    drawn = mode.mine(func(mode.like(x), *args, **how), parts)
    return x.copy_(drawn)


def _of_tensors(mode: OneBatch, func: Function, *args: Any, **how: Any) -> Any:
    """Draw as `bernoulli` and its kin, by what tensors of examples say: those of all ranks are asked."""
    tensors = [a for a in args if isinstance(a, Tensor)]
    parts = mode.parts(tensors[0].shape) if tensors else 0
    if not parts:
        return func(*args, **how)
    every = [_of_all(mode, a, parts) if isinstance(a, Tensor) and a.shape == tensors[0].shape else a for a in args]
    return mode.mine(func(*every, **how), parts)


def _multinomial(mode: OneBatch, func: Function, input: Tensor, num_samples: int, *args: Any, **how: Any) -> Any:
    """Draw indices: of each example's own weights [B, K], or one for each example of the same weights [K]."""
    if input.ndim > 1:
        return _of_tensors(mode, func, input, num_samples, *args, **how)
    parts = mode.parts([num_samples])
    if not parts:
        return func(input, num_samples, *args, **how)
    return mode.mine(func(input, num_samples * mode.places, *args, **how), parts)


def _of_all(mode: OneBatch, x: Tensor, parts: int) -> Tensor:
    """Return the rows of all; those of other parts, which are not here, are this part's: what is drawn for them is not kept."""
    rows: Tensor = x.unflatten(mode.dim, (parts, -1)).movedim(mode.dim + 1, 0)
    of_ranks: Tensor = everybody(rows.contiguous()).unflatten(0, (ranks(), 1, -1))
    every = of_ranks.expand(-1, mode.places // ranks(), *of_ranks.shape[2:]).flatten(0, 2)
    return every.movedim(0, mode.dim + 1).flatten(mode.dim, mode.dim + 1)


def _dropout(
    mode: OneBatch, func: Function, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    """Leave out what one process would leave out: torch's own mask, of ones."""
    parts = mode.parts(input.shape)
    if not parts or not training or not p:
        return func(input, p, training, inplace)
    kept = mode.mine(func(mode.like(input.detach()).fill_(1), p, True), parts)
    return input.mul_(kept) if inplace else input * kept


def _apart(mode: OneBatch, func: Function, *args: Any, **how: Any) -> Any:
    """Let what draws inside of torch draw other numbers on every rank: they are right, and not those of one process. What draws none costs none."""
    seed = zlib.crc32(torch.get_rng_state().numpy().tobytes())
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_initialized() else []):
        torch.manual_seed(seed + (mode.place << 32))
        before = torch.get_rng_state()
        found = func(*args, **how)
        drew = not torch.equal(torch.get_rng_state(), before)
    if drew:
        torch.rand(())
    return found


# ---- statistics ----------------------------------------------------------------------------------------------------------------------


def _batch_norm(
    mode: OneBatch,
    func: Function,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalize with the mean and variance over the batch of all ranks (torch's own layer for it is for accelerators alone)."""
    if ranks() == 1 or not training or not mode.parts(input.shape):
        return func(input, running_mean, running_var, weight, bias, training, momentum, eps)
    with torch.autocast(input.device.type, enabled=False):
        x = input if input.dtype == torch.float64 else input.float()
        others, shape = [d for d in range(x.ndim) if d != 1], [1, -1] + [1] * (x.ndim - 2)
        own = x.mean(others)
        within = (x - own.view(shape)).square().mean(others).double()
        # One message, whose size is the same for any number of ranks. What cancels is of means alone, in double precision.
        mean, square, within = mean_over_ranks(torch.stack([own.double(), own.double().square(), within]))
        mean, variance = mean.to(x.dtype), (within + (square - mean.square()).clamp_min(0)).to(x.dtype)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                n = x.numel() // x.shape[1] * ranks()
                running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
                running_var.lerp_((variance.detach() * (n / max(n - 1, 1))).to(running_var.dtype), momentum)
        scale = (variance + eps).rsqrt()
        y = (x - mean.view(shape)) * (scale if weight is None else scale * weight).view(shape)
        y = y if bias is None else y + bias.view(shape)
    return y.to(input.dtype)


_TAKEN: dict[Any, Function] = {
    **dict.fromkeys([torch.rand, torch.randn, torch.randint, torch.normal], _of_a_size),
    **dict.fromkeys([torch.rand_like, torch.randn_like, torch.randint_like], _like),
    **dict.fromkeys(
        [
            *(Tensor.uniform_, Tensor.normal_, Tensor.exponential_, Tensor.random_, Tensor.cauchy_, Tensor.geometric_),
            *(Tensor.log_normal_, Tensor.bernoulli_),
        ],
        _in_place,
    ),
    **dict.fromkeys([torch.bernoulli, Tensor.bernoulli, torch.poisson, torch.binomial], _of_tensors),
    **dict.fromkeys([torch.multinomial, Tensor.multinomial], _multinomial),
    **dict.fromkeys([F.dropout, F.dropout1d, F.dropout2d, F.dropout3d], _dropout),
    **dict.fromkeys(
        [
            *(F.alpha_dropout, F.feature_alpha_dropout, F.gumbel_softmax, F.rrelu, F.multi_head_attention_forward),
            *(F.scaled_dot_product_attention, torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu),
        ],
        _apart,
    ),
    F.batch_norm: _batch_norm,
}
"""What is done otherwise while ranks are one process."""
