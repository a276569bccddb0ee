"""What a system can do: protocols that commands, measures and pages ask for, never a name.

A system has a capability when it has its methods and attributes; nothing is registered and nothing inherited. Keyword arguments of a
system's own, beside those of the protocol (temperature, label, rows ...), become options of the command that calls the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Generator, Tensor
from torch.nn import Module

from genzoo.core.schema import is_capability
from genzoo.core.system import Batch, Logs, System


@runtime_checkable
class Samples(Protocol):
    """Draws new data."""

    def sample(self, n: int, *, generator: Generator) -> Tensor:
        """Return `n` examples, float32, in the form and range of its data (see `Batch`), all randomness from `generator`."""


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

    vocabulary: tuple[str, ...]
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
        """Return log p(x) in nats, [B].

        Of images it is the log-probability of the discrete image with `levels` grey levels (mass, not density; of continuous models
        through uniform dequantization, a one-sample estimate of a lower bound), so that bits/dim = -log_prob / (C·H·W·ln 2) for every
        system. Of points it is the log-density in the data's own units.
        """


@runtime_checkable
class Decodes(Protocol):
    """Has a latent prior and a generator from it: what walks and latent arithmetic need."""

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw `n` latents from the prior, [n, ...]."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the data that latents stand for, deterministically, [n, C, H, W] in [-1, 1]."""


@runtime_checkable
class Mixes(Protocol):
    """Decodes a style for each of its layers, which may be of several latents."""

    layers: int
    """Styles of one example, coarse to fine."""

    def mix(self, taking: Tensor, given: Tensor, layers: Sequence[int]) -> Tensor:
        """Decode latents `taking` [B, ...] with the styles of `layers` from the latents `given` [B, ...], each from its own."""


@runtime_checkable
class Joint(Protocol):
    """Gives the joint density of data and latents: p(z), p(x | z), and draws from both."""

    def sample_prior(self, n: int, *, generator: Generator) -> Tensor:
        """Draw `n` latents from the prior, [n, L]."""

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, [B], differentiable in z [B, L]."""

    def log_given(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x | z) in nats, [B], as `log_prob` counts it; differentiable in z [B, L], and without randomness."""

    def sample_given(self, z: Tensor, *, generator: Generator) -> Tensor:
        """Draw data from p(x | z), [B, C, H, W] in [-1, 1]."""


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
        """Return the translation of `x`, [B, C, H, W] in [-1, 1], same height and width (of `Restores` `scale` times as large)."""


@runtime_checkable
class Restores(Protocol):
    """Translates back what it has degraded itself: it learns from plain images."""

    scale: int
    """How many times as high and wide the restored image is."""
    local: bool
    """True where it is enough to see a neighbourhood: large images may then go tile by tile."""

    def degrade(self, x: Tensor) -> Tensor:
        """Return what `translate` would be given of images [B, C, H, W], without randomness: [B, C', H / scale, W / scale]."""


@dataclass(frozen=True)
class Figure:
    """A picture of many images, as a paper shows it."""

    images: Tensor
    """[n, C, H, W] in [-1, 1], row by row."""
    columns: int
    """Images in a row."""
    caption: str
    """What it shows."""
    gap: int = 2
    """Pixels between images."""


@runtime_checkable
class Figures(Protocol):
    """Draws the figures that its paper shows of a trained model."""

    def figures(self, *, generator: Generator) -> dict[str, Figure]:
        """Return its figures by name."""


@runtime_checkable
class Completes(Protocol):
    """Fills in what is missing of an image (or of a sound: [B, 1, T], with `known` of the same shape)."""

    def complete(self, x: Tensor, known: Tensor, *, generator: Generator) -> Tensor:
        """Return `x` with the pixels where `known` ([B, 1, H, W] bool) is False drawn anew; known pixels are unchanged."""


@runtime_checkable
class Animates(Protocol):
    """Goes on from a still image: the clip that begins with it."""

    def animate(self, first: Tensor) -> Tensor:
        """Return clips [B, C, T, H, W] in [-1, 1] that begin with the images `first` [B, C, H, W], deterministically."""


@runtime_checkable
class Inverts(Protocol):
    """Is an invertible map of the data, whose conditioning can be told."""

    def jacobian_condition(self, x: Tensor) -> Tensor:
        """Return the largest and the smallest singular value of the map's Jacobian at each example, [B, 2] float64."""


@runtime_checkable
class Compresses(Protocol):
    """Gives the exact probability of an image as one factor after another, in an order in which it can be decoded."""

    def symbols(self, x: Tensor) -> Tensor:
        """Return images as symbols 0 … levels-1, int64 [B, S]."""

    def code(self, n: int, choose: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Go through `n` images symbol by symbol, in one and the same way whoever chooses them, and return the images.

        `choose(i, log_p)` is given the log-probabilities, float32 [n, levels], of symbol i, each i once in an order of the system's own, and
        returns the symbols that stand there, int64 [n]: an encoder the true ones, a decoder those that it reads.
        """


@runtime_checkable
class Predicts(Protocol):
    """Says how each place of an example is distributed given the places before it, for all places in one pass of its network."""

    prediction: str
    """What the numbers of `predict` are, and in which order the places come."""

    def predict(self, x: Tensor) -> Tensor:
        """Return the numbers of every place, [B, ..., K], of data or codes `x`: those of one depend on the places before it alone."""


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
        """Return log p(x | codes) of the discrete image in nats, [B]; a decoder without a likelihood refuses."""


@runtime_checkable
class Prepares(Protocol):
    """Learns from something that is computed from every example once, without randomness: codes, features."""

    def prepare(self, batch: Batch) -> Batch:
        """Return what the step takes in place of `batch`: the trainer keeps it, unless the data are augmented."""

    def prepared_by(self) -> str:
        """Return a digest of all that `prepare` depends on beside the data."""


@runtime_checkable
class Calibrates(Protocol):
    """Looks through the training set once before its first step, for what stays fixed afterwards: a whitening."""

    calibrating: bool
    """True while there is something to find; False where that has been done, or was not asked for."""

    def calibrate(self, batch: Batch) -> None:
        """Take in one batch: all examples come once, in order and without augmentation, and no random number is drawn."""

    def finish_calibration(self) -> None:
        """Set what stays fixed, after every example has been seen. It is kept in buffers, so a checkpoint has it and resuming calibrates nothing."""


@runtime_checkable
class Judges(Protocol):
    """Has a discriminator whose layers stand one behind the other."""

    def judging(self) -> list[Module]:
        """Return the layers of its discriminator, the one that sees the data first."""


@runtime_checkable
class Fits(Protocol):
    """Learns from whole passes over the data in order, without gradients: closed form, EM, or keeping an exemplar."""

    converged: bool
    """True when a further pass would change nothing that matters."""

    def partial_fit(self, batch: Batch) -> None:
        """Take in one batch of the current pass. All state is in buffers, so that a killed fit resumes exactly."""

    def finish_pass(self) -> Logs:
        """Update the parameters, after every example has come once."""


CAPABILITIES: dict[str, type] = {
    name.lower(): value for name, value in list(vars().items()) if is_capability(value) and value is not Protocol
}
"""Every protocol of this file, in its order, by its name in lower case."""


def capabilities(system: System | type[System]) -> tuple[str, ...]:
    """List what a system (or its class) can do, in the order of `CAPABILITIES`."""
    found, declared = [], getattr(system, "__annotations__", {})
    for name, protocol in CAPABILITIES.items():
        members = {m for m in {*vars(protocol), *vars(protocol).get("__annotations__", {})} if not m.startswith("_")}
        if name not in system.lacks and all(hasattr(system, m) or m in declared for m in members):
            found.append(name)
    return tuple(found)
