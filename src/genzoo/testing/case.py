"""A system at its tiny size, and what a promise is."""

from __future__ import annotations

import contextlib
import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from genzoo.core.capabilities import (
    Animates,
    Calibrates,
    Completes,
    Decodes,
    Density,
    Encodes,
    Fits,
    Samples,
    Tokenizes,
    Translates,
)
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import DataSettings
from genzoo.naming import registry
from genzoo.saved.loading import resolved
from genzoo.testing.data import batch_for, data_batch, data_for
from genzoo.training.runtime import Runtime
from genzoo.training.update import Updater

CPU = Runtime(torch.device("cpu"), "fp32")


class Skip(Exception):
    """A promise is not asked of a system, for this reason: what it lacks, never what it is called."""


@dataclass(frozen=True)
class Promise:
    """Something that every system promises that has what it takes.

    Args:
        check: Raises what is wrong, or `Skip`.
        presets: Whether it is asked of every preset as well.
        advice: Whether it only is good advice for a class that is not of the zoo.
    """

    check: Callable[[Case], None]
    presets: bool
    advice: bool

    @property
    def name(self) -> str:
        """Its name: the function's."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """What is promised."""
        return (self.check.__doc__ or "").split("\n", 1)[0]


PROMISES: list[Promise] = []
"""All of them, in the order of the files of `genzoo.testing`."""


def promise(
    *, presets: bool = True, advice: bool = False
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Add a function to the promises."""

    def added(check: Callable[[Case], None]) -> Callable[[Case], None]:
        PROMISES.append(Promise(check, presets, advice))
        return check

    return added


@dataclass(frozen=True)
class Case:
    """A system or preset at the size of its `tiny` arguments.

    Args:
        cls: Its class.
        preset: Name of the preset; none for the system itself.
    """

    cls: type[System]
    preset: str | None = None

    def build(self, **overrides: object) -> Any:
        """Build it, untrained; of any type, since a promise calls what it has asked for."""
        cls, preset = self.cls, self.cls.presets.get(self.preset or "", {})
        # A preset's sizes give way to the tiny ones; its choices (words and truth values) stay.
        sizes = {k: v for k, v in cls.tiny.items() if k in preset and not isinstance(preset[k], (str, bool))}
        chosen = {**cls.tiny, **preset, **sizes, **overrides}
        return cls(**resolved(cls, {k: _same_shape(v, chosen.get("shape")) for k, v in chosen.items()}))

    def ready(self, **overrides: object) -> Any:
        """Return it when it has seen data, in eval mode: what a loaded one is."""
        return copy.deepcopy(_learnt(self, **overrides))

    def data(self, folder: Path) -> DataSettings:
        """Write a tiny data set that it trains on."""
        return data_for(self.cls, folder)


def case_of(name: str) -> Case:
    """Return the case of a name of the registry."""
    _, preset = registry.find(name)
    return Case(registry.system_class(name), preset)


def _same_shape(value: object, shape: object) -> object:
    """Give a described system inside another one the same shape, since it works on the same data."""
    if not (isinstance(value, Mapping) and "hparams" in value and shape):
        return value
    return {**value, "hparams": {**value["hparams"], "shape": shape}}


@functools.cache
def _learnt(case: Case, **overrides: object) -> Any:
    torch.manual_seed(0)
    system = case.build(**overrides)
    learn(system, steps=2)
    return system.eval()


def learn(system: System, steps: int) -> None:
    """Let a system take a few steps, or passes, on random data."""
    if isinstance(system, Fits):
        passes = 0
        while not system.converged and passes < 3:
            for seed in range(4):
                system.partial_fit(batch_for(system, 24, seed))
            system.finish_pass()
            passes += 1
        return
    if isinstance(system, Calibrates) and system.calibrating:
        for seed in range(40):  # enough for a covariance of full rank
            system.calibrate(batch_for(system, 24, seed))
        system.finish_calibration()
    update = Updater(system, CPU)
    for step in range(steps):
        update.begin(step, steps)
        system.train().training_step(batch_for(system, seed=step), update)
        update.end()


# ---- what promises are put together from -----------------------------------------------------------------------------------------


def gen(seed: int = 0) -> Generator:
    """Return a generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def needs(system: System, *protocols: type) -> None:
    """Skip what asks for more than a system can do."""
    for protocol in protocols:
        if not isinstance(system, protocol):
            raise Skip(f"is not {protocol.__name__}")


@contextlib.contextmanager
def refused(said: str = "") -> Iterator[None]:
    """Expect a `UserError` whose message matches."""
    try:
        yield
    except UserError as error:
        assert re.search(said, str(error)), f"it is refused by '{error}', which does not say {said!r}"
        return
    raise AssertionError("it is taken and ought to be refused by a UserError")


def outputs(system: System) -> Iterator[Callable[[Any], Tensor]]:
    """Every output that a system can give, each a function of the system."""
    x = data_batch(system)
    if isinstance(system, Samples):
        yield lambda s: s.sample(2, generator=gen())
    if scores(system):
        yield lambda s: s.log_prob(x, generator=gen())
    if isinstance(system, Encodes):
        yield lambda s: s.encode(x)
    if isinstance(system, Decodes):
        z = system.sample_prior(2, generator=gen())
        yield lambda s: s.decode(z)
    if isinstance(system, Translates):
        yield from (functools.partial(_translation, x=x, direction=d) for d in system.directions)
    if isinstance(system, Tokenizes):
        yield lambda s: s.tokenize(x)
        codes = system.tokenize(x)
        yield lambda s: s.detokenize(codes)
    if isinstance(system, Animates):
        with contextlib.suppress(UserError):  # it may have been trained without first frames, and says so
            system.animate(x[:, :, 0])
            yield lambda s: s.animate(x[:, :, 0])
    if isinstance(system, Completes):
        known = torch.ones_like(x[:, :1], dtype=torch.bool)
        known[..., 3:6] = False
        yield lambda s: s.complete(x, known, generator=gen())


def _translation(system: Any, x: Tensor, direction: str) -> Tensor:
    found: Tensor = system.translate(x, direction=direction)
    return found


def scores(system: System) -> bool:
    """Tell whether a system scores the data that it is given (a classic objective may not be a likelihood, and says so)."""
    if not isinstance(system, Density):
        return False
    try:
        system.log_prob(data_batch(system), generator=gen())
    except UserError:
        return False
    return True
