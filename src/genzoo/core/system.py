"""What a generative system is: a `torch.nn.Module` whose constructor's signature is its whole configuration.

It learns in one of three ways: by `loss(batch)`, one objective; by `training_step(batch, update)`, several players; or without gradients,
by `partial_fit(batch)` and `finish_pass()` (`Fits`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genzoo.core.errors import UserError
from genzoo.core.inputs import within_range
from genzoo.core.renamed import bridge
from genzoo.core.schema import bind

Batch = dict[str, Tensor]
"""Named tensors with a common first dimension B. Under "image" (or "a" and "b") float32 [B, C, H, W] in [-1, 1]; "label" int64 [B];
"caption" int64 [B, L], numbers of words (`genzoo.text.vocabulary`); "points" float32 [B, D]; "audio" float32 [B, 1, T] in [-1, 1];
"video" float32 [B, C, T, H, W] in [-1, 1]; "voxels" float32 [B, 1, D, H, W], 1 where occupied and -1 where empty (H points upwards)."""

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

    Constructor arguments, their types (bounds as `Annotated[..., Field(ge=..., le=...)]`), defaults and `Args:` lines are the configuration.
    These are filled in from the data unless the person sets them: `shape` (of one example, as in `Batch`, without B; of pairs that of side
    B), `classes` (0 without labels), `levels` (grey levels of a pixel: 256, or 2 when binarized), `vocabulary` (words of the captions,
    empty without them), `rate` (samples of sound per second), `inputs` (channels of side A of pairs) and `instances` (True where the last
    of them numbers objects).
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
    preset_defaults: ClassVar[dict[str, dict[str, Any]]] = {}
    """Those of a preset, where they are others: what a short run is better with is not the paper's."""
    formerly: ClassVar[dict[str, Any]] = {}
    """What files say that were written before there was an argument: old models load, and old runs go on, as what they were."""
    parted: ClassVar[tuple[str, ...]] = ()
    """Names of systems that were one with this one in earlier versions: a file may name one of them and mean this one."""
    dropped: ClassVar[dict[str, Any]] = {}
    """Arguments that earlier versions had, and what this system is of their values (`...`: of any); files that say so are of this system."""
    dropped_state: ClassVar[tuple[str, ...]] = ()
    """Names of tensors that earlier versions kept; files that hold them load without."""
    latent_path: ClassVar[str] = "spherical"
    """How one goes from one latent of `decode` to another: spherical (a Gaussian prior keeps its norm) or linear."""
    conditions: int = 0
    """How many of the last entries of a latent [n, D] say what is asked for (a class, codes, a sentence's vector) and are no noise.
    One goes from one to another in a straight line, so that between two latents of one class all are of that class."""

    hparams: dict[str, Any]
    """The bound constructor arguments: plain values, and systems where an argument's annotation is a capability."""
    name: str
    """What it was created as, its own name or a preset's; set where it was created by name or loaded."""
    origin: str = ""
    """Path that it was loaded from."""
    trained: dict[str, Any]
    """What its file says of its training; set where it was loaded."""
    lacks: Mapping[str, str] = MappingProxyType({})
    """Capabilities of its class that it has not as it was built, and for each the sentence that says so and what to do."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Bind, check and remember the constructor arguments of every system."""
        super().__init_subclass__(**kwargs)
        bridge(cls)
        original = cls.__init__

        @functools.wraps(original)
        def bound_init(self: System, *args: Any, **kw: Any) -> None:
            if type(self) is not cls:  # called by the constructor of a class of one's own that derives from this one
                original(self, *args, **kw)
                return
            hparams = bind(cls, args, kw)
            if min(hparams.get("shape", (1,))) < 1:
                raise UserError(f"shape={hparams['shape']} is not allowed; every side is at least 1")
            original(self, **hparams)
            self.hparams = hparams

        cls.__init__ = bound_init  # type: ignore[assignment]
        if "log_prob" in cls.__dict__:
            cls.log_prob = within_range(cls.__dict__["log_prob"])  # type: ignore[attr-defined]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.dropped_state:
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return fresh optimizers by name. No parameter has two owners. A system that is fitted without gradients has none."""
        return {}

    def lr_scale(self, progress: float) -> float:
        """Factor on every learning rate at `progress` in [0, 1), as the paper's schedule says."""
        return 1.0

    def loss(self, batch: Batch) -> Logs:
        """Return the logs of one objective; the optimizer named "model" minimizes `logs["loss"]`. Define this or `training_step`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither loss nor training_step")

    def training_step(self, batch: Batch, update: Update) -> Logs:
        """Do one step of the algorithm. Define this where several optimizers play."""
        logs = self.loss(batch)
        update("model", logs["loss"])
        return logs

    @property
    def device(self) -> torch.device:
        """Tell where the parameters (or the buffers of a system without parameters) are."""
        first: Tensor | None = next(self.parameters(), next(self.buffers(), None))
        return torch.device("cpu") if first is None else first.device
