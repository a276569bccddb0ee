"""What a generative system is: one class, one way to learn, and the capabilities that commands ask for.

A system is a `torch.nn.Module` whose constructor signature is its whole configuration. It learns in one of three ways,
and the trainer asks which by capability, never by name:

* `loss(batch)`: one objective; the trainer minimizes `logs["loss"]` with the only optimizer;
* `training_step(batch, update)`: several players; the step calls `update(name, loss)` once for each;
* `partial_fit(batch)` and `finish_pass()` (`Fits`): closed form or EM, without gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.core.inputs import check_range

Batch = dict[str, Tensor]
"""Named tensors with a common first dimension. Images are float32 [B, C, H, W] in [-1, 1] under "image" (or "a" and "b");
classes are int64 [B] under "label"; captions are int64 [B, L] under "caption", numbers of words (`genzoo.core.words`);
two-dimensional points are float32 [B, D] under "points"; sounds are float32 [B, 1, T] in [-1, 1] under "audio";
clips are float32 [B, C, T, H, W] in [-1, 1] under "video";
shapes are float32 [B, 1, D, H, W] under "voxels", 1 where occupied and -1 where empty (H points upwards)."""

Logs = dict[str, Tensor]
"""Named scalars of one step, detached, still on the device (the trainer reads them only when it logs)."""


class Update(Protocol):
    """Lent by the trainer to one training step."""

    step: int
    """Index of this step, from 0."""
    steps: int
    """Number of steps in the whole run."""
    progress: float
    """step / steps, in [0, 1)."""

    def __call__(self, name: str, loss: Tensor) -> None:
        """Send `loss` back onto what optimizer `name` owns, reduce over ranks, guard, clip, and step that optimizer."""


class System(nn.Module):
    """The only base class of the zoo; every subclass is final.

    Constructor arguments, their types (bounds as `Annotated[..., Field(ge=..., le=...)]`), defaults and `Args:` lines are the
    configuration. Arguments with these names are filled in from the data unless the person sets them: `shape`
    ((C, H, W) of an image, (D,) of points), `classes` (number of classes, 0 without labels), `levels` (grey levels of a
    pixel: 256, or 2 when binarized), `words` (vocabulary of the captions, empty without them);
    for sound `shape` ((1, T)), `classes` and `rate` (samples per second); for clips `shape` is (C, T, H, W), for voxels (1, D, H, W);
    for pairs `shape` (of side B), `inputs` (channels of side A) and `instances` (True where the last of them numbers objects).
    """

    paper: ClassVar[str] = ""
    """Where it was published: "arXiv:1511.06434"."""
    data: ClassVar[str] = "image"
    """Kind of batch it trains on: image | labelled | captioned | paired | unpaired | audio | video | voxels | points | exemplar.
    A system of kind image also takes points when its `shape` default allows one dimension."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Named variants: overrides of the signature, checked against it by a test."""
    tiny: ClassVar[dict[str, Any]] = {}
    """Overrides that make the contract tests fast. It may set `shape`."""
    defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of training keys (steps, batch, ema, clip ...) that suit this system."""
    formerly: ClassVar[dict[str, Any]] = {}
    """What files say that were written before there was an argument: old models load, and old runs go on, as what they were."""
    latent_path: ClassVar[str] = "spherical"
    """How one goes from one latent of `decode` to another: spherical (a Gaussian prior keeps its norm) or linear."""
    conditions: int = 0
    """How many of the last entries of a latent [n, D] say what is asked for (a class, codes, a sentence's vector) and are no noise.
    One goes from one to another in a straight line, so that between two latents of one class all are of that class."""

    hparams: dict[str, Any]
    """The bound constructor arguments: plain values, and systems where an argument's annotation is a capability."""
    origin: str = ""
    """Path that it was loaded from."""
    trained: dict[str, Any]
    """What its file says of its training; set where it was loaded."""
    lacks: Mapping[str, str] = MappingProxyType({})
    """Capabilities of its class that it has not as it was built, and for each the sentence that says so and what to do."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Bind, check and remember the constructor arguments of every system."""
        super().__init_subclass__(**kwargs)
        original = cls.__init__

        @functools.wraps(original)
        def bound_init(self: System, *args: Any, **kw: Any) -> None:
            from genzoo.core.schema import bind

            hparams = bind(type(self), args, kw)
            if min(hparams.get("shape", (1,))) < 1:
                raise UserError(f"shape={hparams['shape']} is not allowed; every side is at least 1")
            original(self, **hparams)
            self.hparams = hparams

        cls.__init__ = bound_init  # type: ignore[assignment]
        if "log_prob" in cls.__dict__:
            cls.log_prob = _within_range(cls.__dict__["log_prob"])  # type: ignore[attr-defined]

    def optimizers(self) -> dict[str, Optimizer]:
        """Return fresh optimizers by name. No parameter has two owners. A system that is fitted without gradients has none."""
        return {}

    def lr_scale(self, progress: float) -> float:
        """Factor on every learning rate at `progress` in [0, 1), as the paper's schedule says."""
        return 1.0

    def loss(self, batch: Batch) -> Logs:
        """Return the logs of one objective; `logs["loss"]` is minimized by the optimizer named "model".

        Define this or `training_step`.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither loss nor training_step")

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of the algorithm. Define this where several optimizers play."""
        logs = self.loss(batch)
        update("model", logs["loss"])
        return logs

    @property
    def device(self) -> torch.device:
        """Where the parameters (or the buffers of a system without parameters) are."""
        first: Tensor | None = next(self.parameters(), next(self.buffers(), None))
        return torch.device("cpu") if first is None else first.device


def _within_range(method: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A method of data `x` that refuses values out of range in words."""

    @functools.wraps(method)
    def checked(self: System, x: Tensor, *args: Any, **kw: Any) -> Tensor:
        check_range(x)
        return method(self, x, *args, **kw)

    return checked


# ---- capabilities: what commands, metrics and pages ask for --------------------------------------------------------------------


@runtime_checkable
class Samples(Protocol):
    """Draws new data."""

    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Return `n` samples, float32 [n, C, H, W] in [-1, 1] (points: [n, D]; sounds: [n, 1, T]), all randomness from `generator`.

        Clips are [n, C, T, H, W], voxels [n, 1, D, H, W] from -1, empty, to 1, occupied. Further keyword arguments of a system's
        `sample` (temperature, label ...) become options of `genzoo sample`.
        """


@runtime_checkable
class Conditioned(Protocol):
    """Draws new data of a class that one names."""

    labels: int
    """Number of classes, which `sample` takes as `label` = 0..labels - 1; 0 for a system that was built without classes."""

    def sample(self, n: int, *, generator: Generator, label: int | None = None) -> Tensor:
        """Return `n` samples of class `label`; None draws a class for each sample, all equally likely, from `generator`."""


@runtime_checkable
class Prompted(Protocol):
    """Draws new data that a sentence describes."""

    words: tuple[str, ...]
    """Words of the captions that it learned from; empty for a system that was built without captions, which takes no prompt."""

    def unread(self, prompt: str) -> list[str]:
        """Return the words of a sentence that say nothing to it."""

    def sample(self, n: int, *, generator: Generator, prompt: str | None = None) -> Tensor:
        """Return `n` samples of what `prompt` says; None draws captions that it has seen, from `generator`."""


@runtime_checkable
class Density(Protocol):
    """Scores data."""

    likelihood: str
    """What `log_prob` is: "exact", or the name of the bound with its estimator. Printed beside every number."""

    def log_prob(self, x: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Return log p(x) in nats, [B], one value per example.

        For images in [-1, 1]: the log-probability of the discrete image with `levels` grey levels (mass, not density;
        for continuous models through uniform dequantization, where the value is a one-sample lower-bound estimate), so that
        bits/dim = -log_prob / (C·H·W·ln 2) for every system. For points: the log-density in the data's own units.
        """


@runtime_checkable
class Decodes(Protocol):
    """Has a latent prior and a generator from it: what walks and latent arithmetic need."""

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw `n` latents from the prior, [n, ...]."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the data that latents stand for, deterministically, [n, C, H, W] in [-1, 1]."""


@runtime_checkable
class Encodes(Protocol):
    """Maps data to latents, deterministically; with `decode` it reconstructs."""

    def encode(self, x: Tensor) -> Tensor:
        """Return latents of the shape that `decode` takes."""


@runtime_checkable
class Translates(Protocol):
    """Maps images of one domain to another."""

    directions: tuple[str, ...]
    """Names of the maps: ("a2b", "b2a")."""

    def translate(self, x: Tensor, *, direction: str = "a2b") -> Tensor:
        """Return the translation of `x`, [B, C, H, W] in [-1, 1], same height and width (of `Restores` `scale` times as large).

        Further keyword arguments (`variant`: which of several answers) become options of `genzoo translate`.
        """


@runtime_checkable
class Restores(Protocol):
    """Translates back what it has degraded itself: it learns from plain images."""

    scale: int
    """How many times as high and wide the restored image is."""
    local: bool
    """True where it is enough to see a neighbourhood: large images may then go tile by tile."""

    def degrade(self, x: Tensor) -> Tensor:
        """Return what `translate` would be given of images [B, C, H, W], without randomness: [B, C', H / scale, W / scale]."""


@runtime_checkable
class Completes(Protocol):
    """Fills in what is missing of an image (or of a sound: [B, 1, T], with `known` of the same shape)."""

    def complete(self, x: Tensor, known: Tensor, *, generator: Generator) -> Tensor:
        """Return `x` with the pixels where `known` ([B, 1, H, W] bool) is False drawn anew; known pixels are unchanged."""


@runtime_checkable
class Animates(Protocol):
    """Goes on from a still image: the clip that begins with it."""

    def animate(self, first: Tensor) -> Tensor:
        """Return clips [B, C, T, H, W] in [-1, 1] that begin with the images `first` [B, C, H, W], deterministically.

        Raises:
            UserError: The system was trained without first frames.
        """


@runtime_checkable
class Inverts(Protocol):
    """Is an invertible map of the data, whose conditioning can be told."""

    def jacobian_condition(self, x: Tensor) -> Tensor:
        """Return the largest and the smallest singular value of the map's Jacobian at each example, [B, 2] float64."""


@runtime_checkable
class Compresses(Protocol):
    """Gives the exact probability of an image as one factor after another, in an order in which it can be decoded."""

    def symbols(self, x: Tensor) -> Tensor:
        """Return images as symbols 0 … levels-1 in coding order, int64 [B, S]."""

    def code(self, n: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Go through `n` images symbol by symbol, in one and the same way whoever chooses them, and return the images.

        `choose(i, log_p)` is given the log-probabilities, float32 [n, levels], of the i-th symbol given all before it, and
        returns the symbols that stand there, int64 [n]: an encoder the true ones, a decoder those that it reads.
        """


@runtime_checkable
class Tokenizes(Protocol):
    """Turns data into codes of a finite set and back."""

    codebook_size: int
    """Codes are 0 ... codebook_size - 1."""
    code_grids: tuple[tuple[int, ...], ...]
    """Sizes of the grids of codes, coarse to fine: ((8, 8),), or ((4, 4), (8, 8)) for two levels, which have a codebook each."""

    def tokenize(self, x: Tensor) -> Tensor:
        """Return codes, int64 [B, T], deterministically: every grid in raster order, coarse to fine, one after the other."""

    def detokenize(self, codes: Tensor) -> Tensor:
        """Return the data that codes [B, T] stand for, [B, C, H, W] in [-1, 1]."""

    def log_likelihood(self, x: Tensor, codes: Tensor) -> Tensor:
        """Return log p(x | codes) of the discrete image in nats, [B].

        Raises:
            UserError: The decoder was trained without a likelihood.
        """


@runtime_checkable
class Prepares(Protocol):
    """Learns from something that is computed from every example once, without randomness: codes, features."""

    def prepare(self, batch: Batch) -> Batch:
        """Return what the step takes in place of `batch`.

        The trainer keeps the results and makes its batches of them, unless the data are augmented: then steps get plain batches.
        """

    def prepared_by(self) -> str:
        """A digest of all that `prepare` depends on beside the data."""


@runtime_checkable
class Calibrates(Protocol):
    """Looks through the training set once before its first step, for what stays fixed afterwards: a whitening."""

    calibrating: bool
    """True while there is something to find; False where that has been done, or was not asked for."""

    def calibrate(self, batch: Batch) -> None:
        """Take in one batch: all examples come once, in order and without augmentation, and no random number is drawn."""

    def finish_calibration(self) -> None:
        """Every example has been seen: set what stays fixed. It is kept in buffers, so a checkpoint has it and resuming calibrates nothing."""


@runtime_checkable
class Fits(Protocol):
    """Learns from whole passes over the data in order, without gradients: closed form, EM, or keeping an exemplar."""

    converged: bool
    """True when a further pass would change nothing that matters."""

    def partial_fit(self, batch: Batch) -> None:
        """Take in one batch of the current pass. All state is in buffers, so that a killed fit resumes exactly."""

    def finish_pass(self) -> Logs:
        """Every example has come once: update the parameters."""


CAPABILITIES: dict[str, type] = {
    "samples": Samples,
    "conditioned": Conditioned,
    "prompted": Prompted,
    "density": Density,
    "decodes": Decodes,
    "encodes": Encodes,
    "translates": Translates,
    "restores": Restores,
    "completes": Completes,
    "animates": Animates,
    "inverts": Inverts,
    "compresses": Compresses,
    "tokenizes": Tokenizes,
    "prepares": Prepares,
    "calibrates": Calibrates,
    "fits": Fits,
}


def capabilities(system: System | type[System]) -> tuple[str, ...]:
    """Names of what a system (or its class) can do, in the order of `CAPABILITIES`."""
    found = []
    for name, protocol in CAPABILITIES.items():
        members = {m for m in {*vars(protocol), *vars(protocol).get("__annotations__", {})} if not m.startswith("_")}
        there = all(hasattr(system, m) or m in getattr(system, "__annotations__", {}) for m in members)
        if there and name not in system.lacks:
            found.append(name)
    return tuple(found)
