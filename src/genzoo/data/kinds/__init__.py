"""The kinds of data, one file each: what an example is, how it is read, drawn, written and measured.

A file of this folder, or anybody's own, defines one subclass of `Kind` and registers an instance of it; everything else asks the instance.
How examples are arranged (plain, with labels, in pairs ...) is a second axis: `genzoo.data.arrangements`.
"""

from __future__ import annotations

import functools
import importlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import UserError, nearest
from genzoo.data.arrangements import ARRANGEMENTS, PLAIN, SIDES, Arrangement
from genzoo.data.drawing import STILLS

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from genzoo.core.system import System
    from genzoo.data.dataset import Dataset
    from genzoo.data.settings import DataSettings

ARRAYS = (".npy", ".npz")
"""Endings of arrays, which every kind's samples can be written as, and which may hold examples of several kinds."""
Facts = Mapping[str, Any]
"""What is known of the examples: `shape`, and of sounds `rate` ...; the arguments of a system that was built for them hold it."""


class Kind(ABC):
    """One kind of data: subclasses are final, and register one instance each.

    Args of a subclass are its class attributes; methods that are not abstract do what suits most kinds.
    """

    name: ClassVar[str]
    """What a system declares to learn from it, and the key of its examples in a batch."""
    dims: ClassVar[int]
    """Dimensions of one example: 3 of an image [C, H, W]."""
    thing: ClassVar[str]
    """What people call one example: sound, clip."""
    values: ClassVar[str]
    """What a batch of it is, in words: "float32 [B, 1, T] in [-1, 1]"."""
    stored: ClassVar[str]
    """What a data set keeps of it, in words: "int16 [N, 1, T]"."""
    bounds: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    """Range of the values as systems see them; None where it is any."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other words that people say for it: sounds, speech, music."""
    example: ClassVar[str]
    """What data= takes to try it; capitals stand for something of one's own."""
    sets: ClassVar[tuple[str, ...]] = ()
    """Names of known sets of it."""
    endings: ClassVar[tuple[str, ...]] = ()
    """Endings, without the dot, that make a file an example of it."""
    own_settings: ClassVar[Mapping[tuple[str, ...], str]] = {}
    """Settings of data that are for it alone, with what is said where another kind is given them."""
    stands_for: ClassVar[tuple[str, ...]] = ()
    """Kinds whose systems also take it where their shape has as many dimensions."""
    mirrored: ClassVar[bool] = False
    """Whether flip=, crop= and binarize=dynamic change its examples as a batch is made."""
    sides: ClassVar[int] = 0
    """How many sides of an example size= sets: the cost of a step grows as size to this power."""
    suffixes: ClassVar[tuple[str, ...]] = (*STILLS, *ARRAYS)
    """Endings of the files that samples can be written as."""
    models: ClassVar[tuple[str, ...]] = ()
    """Those of `suffixes` that other programs read as shapes."""
    files: ClassVar[tuple[str, ...]] = (".png",)
    """Endings of the files that samples are written as where no name is given."""
    single: ClassVar[str] = ".png"
    """Ending of the file of one sample alone."""
    previews: ClassVar[tuple[str, ...]] = (".png",)
    """Endings of the files that show samples during training."""
    usual: ClassVar[int | None] = None
    """Samples in a picture or file where no number is given; None: as the command has it."""
    previewed: ClassVar[int] = 36
    """Samples of one preview during training."""
    colours: ClassVar[bool] = False
    """Whether examples may have one channel or three."""
    impossible: ClassVar[tuple[tuple[int, ...], ...]] = ()
    """Shapes that no system of it can be built for: what checks of a system try."""
    sequential: ClassVar[bool] = False
    """Whether one completes it by going on after its start, and not by filling holes."""
    bits_of: ClassVar[str | None] = ""
    """What a likelihood is also given in bits of, dim or sample; empty: nats of an example alone; None: no likelihood is measured."""
    described_by: ClassVar[str] = ""
    """What `statistics` are, in words; empty where there are none."""

    @abstractmethod
    def open(
        self, source: Any, settings: DataSettings, split: str, arrangement: Arrangement, *, quiet: bool
    ) -> Dataset:
        """Open one split of what `source` holds, decoding it into the cache if that has not been done before.

        Raises:
            UserError: It holds no usable example, or a setting is given that is for another kind.
        """

    @abstractmethod
    def picture(self, samples: Tensor, *, columns: int | None = None) -> np.ndarray:
        """Draw samples [N, ...] as one picture, uint8 [H, W, 3 or 4]."""

    def offered(self, source: Any, settings: DataSettings, split: str) -> Dataset | None:
        """Open what `source` holds where a system of a kind in `stands_for` asks for it; None where it holds none of this kind."""
        return None

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """Tell what a system's constructor asks of the data: shape, classes ..."""
        return {"shape": tuple(dataset.fields[self.name].shape[1:]), "classes": len(dataset.class_names)}

    def to_float(self, values: Tensor, layout: torch.memory_format) -> Tensor:
        """Bring stored examples, on their device, to float32: bytes and 16-bit levels to [-1, 1], whose end points are exact.

        Args:
            values: As they are stored; floats stay what they are.
            layout: How the result lies in memory.
        """
        import torch

        if values.dtype == torch.uint8:
            return values.to(torch.float32, memory_format=layout).div_(127.5).sub_(1)
        if values.dtype == torch.uint16:
            return values.to(torch.float32).div_(32767.5).sub_(1)
        return values

    def shown(self, dataset: Dataset, n: int) -> Tensor:
        """Return the first `n` examples of a set as `picture` takes them."""
        import numpy as np
        import torch

        return self.to_float(torch.from_numpy(np.array(dataset.examples[:n])), torch.preserve_format)

    def frames(self, samples: Tensor, *, columns: int | None = None) -> list[np.ndarray] | None:
        """Draw the pictures of an animation of samples [N, ...], one for each time; None where nothing moves."""
        return None

    def write(self, path: Path, samples: Tensor, facts: Facts, *, columns: int | None = None) -> Path:
        """Write samples [N, ...] into one file, as its ending says, one of `suffixes`.

        Args:
            path: The file.
            samples: Values as systems give them.
            facts: What is known of them beside: a system's `hparams`.
            columns: Samples in a row of a picture.
        """
        from genzoo.data.drawing.images import save_picture

        ending = path.suffix.lower()
        if ending in ARRAYS:
            from genzoo.data.drawing.files import save_array

            return save_array(path, samples)
        if ending in STILLS:
            return save_picture(path, self.picture(samples, columns=columns))
        from genzoo.data.drawing.files import save_film

        pictures = self.frames(samples, columns=columns)
        assert pictures is not None, f"{ending} is none of {self.suffixes}"
        return save_film(path, pictures)

    def write_one(self, path: Path, sample: Tensor, facts: Facts) -> Path:
        """Write one sample into a file of its own, which ends in `single`."""
        return self.write(path, sample[None], facts)

    def form_for(self, facts: Facts, trained: Facts) -> dict[str, Any]:
        """Tell the settings that bring other data into the form that a system takes.

        Args:
            facts: The arguments of the system.
            trained: Settings of the data that it was trained on.
        """
        return {}

    def noise(self, n: int, facts: Facts, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw a batch of `n` examples without meaning, in the form that a system with these arguments takes: what checks of a system try."""
        import torch

        low, high = self.bounds or (-1.0, 1.0)
        return {self.name: torch.rand(n, *facts["shape"], generator=generator) * (high - low) + low}

    def write_noise(self, folder: Path, n: int, facts: Facts) -> dict[str, Any]:
        """Write a set of `n` examples without meaning that a system with these arguments trains on, and tell the settings that open it."""
        raise UserError(f"checks cannot write {self.thing}s: define write_noise of {type(self).__name__}")

    def misfit(self, dataset: Dataset, facts: Facts) -> str:
        """Say why a data set cannot be given to a system with these arguments; empty where it can."""
        return ""

    @property
    def offers(self) -> frozenset[str]:
        """What measures may ask for: a likelihood, statistics of examples, coordinates (rows of numbers in units of their own)."""
        known = {
            "likelihood": self.bits_of is not None,
            "statistics": self.described_by,
            "coordinates": not self.bounds,
        }
        return frozenset(name for name, there in known.items() if there)

    def statistics(self, values: Tensor, facts: Facts) -> Tensor:
        """Describe examples [N, ...] as a system sees them by numbers that need no trained network, [N, F]; see `described_by`."""
        raise UserError(f"there are no statistics of {self.thing}s")


_KINDS: dict[str, Kind] = {}
_OURS = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")))


def register(kind: Kind) -> Kind:
    """Make a kind known, here and for everything that asks for kinds; one of the same name is replaced."""
    _KINDS[kind.name] = kind
    return kind


@functools.cache
def _read() -> None:
    for name in (PLAIN.of, *_OURS):
        importlib.import_module(f"{__name__}.{name}")


def every() -> dict[str, Kind]:
    """Return all kinds of data by name: our own, images first, then those that were registered from elsewhere."""
    _read()
    return _KINDS


def names() -> tuple[str, ...]:
    """Name everything that a system may declare as `data`: kinds, and arrangements of images."""
    return (*every(), *(a.name for a in ARRANGEMENTS.values() if a is not PLAIN))


def get(name: str) -> Kind:
    """Return the kind of data of a name: the key of a batch, or what a system declares without an arrangement.

    Raises:
        UserError: There is none.
    """
    if name not in _KINDS and name in _OURS:
        importlib.import_module(f"{__name__}.{name}")
    if name not in _KINDS:
        raise UserError(
            f"there is no reader for {name} data{nearest(name, names()) or '.'} Kinds: {', '.join(names())}"
        )
    return _KINDS[name]


def declared(data: str) -> tuple[Kind, Arrangement]:
    """Split what a system declares as `data` into kind and arrangement: "audio" is plain sounds, "labelled" images with labels.

    Raises:
        UserError: There is no such kind.
    """
    if data in ARRANGEMENTS and data != PLAIN.name:
        return get(ARRANGEMENTS[data].of), ARRANGEMENTS[data]
    return get(data), PLAIN


def of(system: System) -> Kind:
    """Return the kind of examples that a system makes and takes: as its class declares, or what stands for it by the number of its sides."""
    kind, _ = declared(system.data)
    return shaped(len(system.hparams.get("shape", ())) or kind.dims, kind)


def shaped(dims: int, kind: Kind) -> Kind:
    """Return the kind to treat examples of so many dimensions as, where `kind` is asked for: itself, or what stands for it."""
    if dims == kind.dims:
        return kind
    return next((k for k in every().values() if kind.name in k.stands_for and k.dims == dims), kind)


def of_field(field: str) -> Kind | None:
    """Return the kind of the examples under a key of a batch; None for labels, captions and what a system has prepared."""
    if field in SIDES:
        return get(PLAIN.of)
    return every().get(field)


def field_of(fields: Iterable[str]) -> str | None:
    """Return the key of a batch or a data set that holds its examples: of two sides the first; None where there is none."""
    there = list(fields)
    return next((f for f in (*every(), *SIDES) if f in there), None)


def examples(batch: Mapping[str, Any]) -> Any:
    """Return the examples of a batch or of the fields of a data set; of two sides those of the first.

    Raises:
        UserError: It has none.
    """
    field = field_of(batch)
    if field is None:
        raise UserError(f"there are no examples of a known kind here, only {', '.join(batch) or 'nothing'}")
    return batch[field]


def picture(samples: Tensor, *, columns: int | None = None, kind: str | Kind = PLAIN.of) -> np.ndarray:
    """Draw samples of any kind: images, spectrograms of sounds, a scatter of points, frames of clips, views of shapes.

    Args:
        samples: Examples as systems give them, [N, ...].
        columns: Examples in a row.
        kind: Their kind, or what a system declares; what is not of its dimensions is drawn as the kind that is.
    """
    wanted = declared(kind)[0] if isinstance(kind, str) else kind
    dims = samples.ndim - 1
    if dims != wanted.dims:
        wanted = next((k for k in every().values() if k.dims == dims), wanted)
    return wanted.picture(samples, columns=columns)


def told_by(files: Iterable[str]) -> Kind | None:
    """Guess the kind of data from the names of files, by endings that no other kind has; None for images and where they say nothing."""
    known = list(every().values())
    shared = Counter(ending for kind in known for ending in {*kind.endings, *(a.lstrip(".") for a in ARRAYS)})
    ends = Counter(Path(name).suffix.lower().lstrip(".") for name in files)
    counts = {kind: sum(ends[e] for e in kind.endings if shared[e] == 1) for kind in known}
    first = max(known, key=lambda kind: (counts[kind], kind.name != PLAIN.of))
    return first if counts[first] and first.name != PLAIN.of else None


def spoken() -> dict[str, str]:
    """Return the words that people say for kinds and arrangements, with what a system declares: music is audio, pairs are paired."""
    both: list[tuple[str, tuple[str, ...]]] = [(k.name, k.aliases) for k in every().values()]
    both += [(a.name, a.aliases) for a in ARRANGEMENTS.values() if a is not PLAIN]
    return {word: name for name, words in both for word in (name, *words)}


def offering(what: str) -> tuple[str, ...]:
    """Name the kinds of data that offer something; see `Kind.offers`."""
    return tuple(k.name for k in every().values() if what in k.offers)


def of_set(name: str) -> Kind | None:
    """Return the kind of a known set of this name; None where it is of images, or not known."""
    return next((k for k in every().values() if name in k.sets), None)


def example_of(data: str) -> str:
    """Return a value of data= to try a system that declares `data`; capitals stand for something of one's own."""
    kind, arrangement = declared(data)
    return arrangement.example or kind.example
