"""What a measure says of itself, and the table of all measures, which is read from their files without importing them.

A measure is a file of this package that assigns `MEASURE = Measure(...)`, in literals only, and defines `take`: from a comparison to records.
Help, `evaluate`, the measures of a training, studies, `compare` and the docs know no measure but by this table; a further folder of such
files joins it by `genzoo.metrics.__path__.append(folder)`, and an installed package by entry points (`GROUP`).
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from genzoo.core.errors import UserError, nearest
from genzoo.core.files import say_once
from genzoo.data import kinds
from genzoo.naming.installed import installed_files

if TYPE_CHECKING:
    from genzoo.metrics.comparison import Comparison
    from genzoo.metrics.records import Record

QUESTIONS = {
    "likelihood": "How likely is held-out data?",
    "codes": "What is kept in the codes, and is their space smooth?",
    "target": "How near is an output to its target?",
    "distance": "How far apart are samples and data?",
    "variety": "Is it fidelity that is missing, or variety?",
    "copies": "Does it copy?",
    "told apart": "Can anything tell samples from data?",
    "reading": "What is read in a sample?",
}
"""What a measure answers. Measures are taken and listed in this order, and by name for one question."""
GROUP = "genzoo.measures"
"""Entry points by which an installed package adds measures: `brightness = "my_package.brightness"`."""
NETWORK = "{network}"
"""Stands in the name of a value for the network whose features it is of."""
DESCRIBED = "{statistics}"
"""Stands in the name of a value for the statistics of a kind of data: there is one value for each kind that has some."""


@dataclass(frozen=True)
class Value:
    """A number that a measure gives.

    Args:
        name: What records, logs and studies call it. `NETWORK` in it stands for the name of a network of one's own.
        unit: nats, bits/dim, dB ...; empty for a pure number.
        better: Which way is better; empty where neither end is good.
        extractor: The feature network without which it has another name; empty where the one that suits the data gives it.
        warns: What it says of a training that goes wrong, see `genzoo.metrics.stopping`: collapse (it falls by half), sameness (it is near 0),
            copies (it is below half of what fresh data have).
    """

    name: str
    unit: str = ""
    better: Literal["lower", "higher", ""] = ""
    extractor: str = ""
    warns: tuple[Literal["collapse", "sameness", "copies"], ...] = ()


ALL = -1
"""All real images, in what a name fixes; a measure's declaration is read without being run, and writes the number."""


@dataclass(frozen=True)
class Known:
    """A name that a measure has elsewhere, and the protocol that it stands for there.

    Args:
        name: The word; capitals, spaces, - and _ make no difference.
        note: What is other here than where the name comes from; told to who asks by it.
        n: Samples that it is of; 0 where it does not say.
        n_real: Real images that it is against, at most; 0 where it does not say, `ALL` for all.
        split: Part of the data that they are of.
        extractor: Feature network.
        k: Neighbours.
        needs: Capabilities without which it means another measurement.
        without: Capabilities with which it means another measurement.
        refused: Why it cannot be taken, and what can, in a sentence.
        also: Further words for the same.
    """

    name: str
    note: str = ""
    n: int = 0
    n_real: int = 0
    split: str = ""
    extractor: str = ""
    k: int = 0
    needs: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    refused: str = ""
    also: tuple[str, ...] = ()

    @property
    def fixes(self) -> dict[str, Any]:
        """What the name says of how it is taken, by the key that would say it."""
        every = {"n": self.n, "n_real": self.n_real, "split": self.split, "extractor": self.extractor, "k": self.k}
        return {key: value for key, value in every.items() if value}


@dataclass(frozen=True)
class Asked:
    """What a word of `measures=` means.

    Args:
        word: The word.
        measures: The measures that it may mean, one as a rule.
        known: The name elsewhere that it is.
        value: The value that it names.
    """

    word: str
    measures: tuple[Measure, ...]
    known: Known | None = None
    value: Value | None = None


class Said(TypedDict):
    """What a record begins with."""

    measure: str
    unit: str
    better: str


@dataclass(frozen=True)
class Measure:
    """A measure that can be asked for.

    Args:
        name: The word in `measures=`; its file has this name, with _ for -.
        line: What it is, in one line.
        question: What it answers, a key of `QUESTIONS`.
        gives: The values that it gives, or may give.
        needs: Capabilities that a system must have; "samples" is met by given samples as well.
        fields: Keys of the examples that it is defined on.
        offers: In place of `fields`, what a kind of data must offer, see `genzoo.data.kinds.Kind.offers`.
        images: Whether it needs real images to compare with.
        features: Whether it needs features of samples and of real images.
        network: Whether it needs a feature network for something else.
        classifier: Whether that network must be a classifier of the data's classes.
        statistics: Whether a mean and a covariance of features may stand for the real images.
        train: Whether it needs the training split.
        scores: Whether it scores examples by the system's likelihood, so that their number follows from what that costs.
        watched: Whether it is taken in a training whenever features are: it costs nothing more, and shows a collapse.
        default: Whether it is taken when nothing is asked for.
        also: Further words for it, which mean the same.
        known: Names that it has elsewhere, with what they fix.
        protocol: What two of its records must share to be ranked beside what all records must: (key, how it is called).
        module: Where its file was found.
    """

    name: str
    line: str
    question: str
    gives: tuple[Value, ...]
    needs: tuple[str, ...] = ("samples",)
    fields: tuple[str, ...] = ("image",)
    offers: str = ""
    images: bool = True
    features: bool = True
    network: bool = False
    classifier: bool = False
    statistics: bool = False
    train: bool = False
    scores: bool = False
    watched: bool = False
    default: bool = True
    also: tuple[str, ...] = ()
    known: tuple[Known, ...] = ()
    protocol: tuple[tuple[str, str], ...] = ()
    module: str = field(default="", compare=False)

    @property
    def take(self) -> Callable[[Comparison], list[Record]]:
        """The function from a comparison to records; its file is imported now."""
        found: Callable[[Comparison], list[Record]] = importlib.import_module(self.module).take
        return found

    @property
    def looks(self) -> bool:
        """Whether it looks at the samples themselves: one of features alone needs none once they are described."""
        return "samples" in self.needs and (self.network or self.classifier or not self.features)

    def says(self, name: str) -> Said:
        """Return what a record of one of the measure's values begins with: measure, unit, and which way is better."""
        for v in self.named:
            pattern = re.escape(v.name).replace(re.escape(NETWORK), ".+")
            if re.fullmatch(pattern, name):
                return Said(measure=name, unit=v.unit, better=v.better)
        raise KeyError(f"{name} stands not among the values of {self.name}")

    @property
    def named(self) -> tuple[Value, ...]:
        """Everything in `gives`, what depends on the kind of data once for each kind."""
        told = [k.described_by for k in kinds.every().values() if k.described_by]
        return tuple(
            replace(v, name=v.name.replace(DESCRIBED, each))
            for v in self.gives
            for each in (told if DESCRIBED in v.name else [""])
        )

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that can be asked for by name: all but those of networks of one's own."""
        return tuple(v for v in self.named if NETWORK not in v.name)

    @property
    def defined_on(self) -> tuple[str, ...]:
        """Keys of the examples that it is defined on, whether they are named or follow from what a kind offers."""
        return kinds.offering(self.offers) if self.offers else self.fields

    @property
    def asks(self) -> str:
        """What must be there for it, in words."""
        told = [n for n in self.needs if n != "samples"] or ["samples"]
        if self.defined_on != ("image",):
            told.append("pairs" if self.defined_on == ("b",) else " or ".join(self.defined_on))
        told += ["a classifier of the data's classes"] if self.classifier else []
        told += ["a feature network"] if (self.features or self.network) and not self.classifier else []
        told += ["real images or statistics (mu, sigma)"] if self.statistics else []
        return ", ".join([*told, *["training images"] * self.train])


# ---- the table ---------------------------------------------------------------------------------------------------------------------


def table() -> dict[str, Measure]:
    """Return all measures by name, in the order in which they are taken."""
    import genzoo.metrics

    return _found(tuple(genzoo.metrics.__path__))


@functools.cache
def _found(folders: tuple[str, ...]) -> dict[str, Measure]:
    files = {
        module: path for path, module in installed_files(GROUP).values()
    }  # first, so that none takes a name of ours
    files |= {f"genzoo.metrics.{path.stem}": path for folder in folders for path in sorted(Path(folder).glob("*.py"))}
    found = [replace(m, module=module) for module, path in files.items() if (m := read(path)) is not None]
    order = list(QUESTIONS)
    return {m.name: m for m in sorted(found, key=lambda m: (order.index(m.question), m.name))}


def read(path: Path) -> Measure | None:
    """Read the measure that a file declares, without importing it; None where it declares none.

    Raises:
        UserError: The declaration is no `Measure` of literals, or the file has another name than the measure.
    """
    text = path.read_text(encoding="utf-8")
    if "\nMEASURE = " not in text:
        return None
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "MEASURE")
    try:
        found: Measure = _literal(node.value)
        if found.name.replace("-", "_") != path.stem or found.question not in QUESTIONS:
            raise ValueError(
                f"the measure '{found.name}' belongs into {found.name.replace('-', '_')}.py, and its question is one of {', '.join(QUESTIONS)}"
            )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: MEASURE is read without importing the file, as Measure(...) of literals: {error}"
        ) from None
    return found


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        make = {"Measure": Measure, "Value": Value, "Known": Known}[ast.unparse(node.func)]
        return make(*map(_literal, node.args), **{k.arg: _literal(k.value) for k in node.keywords if k.arg})
    return tuple(map(_literal, node.elts)) if isinstance(node, ast.Tuple) else ast.literal_eval(node)


def values() -> dict[str, Value]:
    """Return all values that can be asked for, by name."""
    return {v.name: v for m in table().values() for v in m.values}


def usual() -> str:
    """Name the value that systems are compared by where nobody says: the first of the first measure of distances."""
    return next(m.gives[0].name for m in table().values() if m.question == "distance")


def protocol() -> dict[str, str]:
    """Return what two records of a measure must share beside what all records must, and how each is called."""
    return {key: words for m in table().values() for key, words in m.protocol}


def warning(of: str) -> list[str]:
    """Return the names of the values that warn of something (`Value.warns`)."""
    return [v.name for v in values().values() if of in v.warns]


# ---- what people ask for -----------------------------------------------------------------------------------------------------------


def asked(names: str | Sequence[str]) -> list[Asked]:
    """Find what each of these names ("fid,kid50k" or a list) means: a measure, a value, another word, or a name that is known elsewhere.

    Raises:
        UserError: There is no such measure (the message lists all), or none that could stand for what is known by this name.
    """
    words = [w.strip() for w in (names.split(",") if isinstance(names, str) else names)]
    return [_meant(word) for word in dict.fromkeys(words)]


def alternatives(names: str | Sequence[str]) -> list[tuple[Measure, ...]]:
    """Find the measures that each of these names may mean, where numbers of images, network and data are chosen elsewhere.

    Raises:
        UserError: There is no such measure; the message lists all. Or the name fixes what is chosen elsewhere.
    """
    found = asked(names)
    for a in found:
        if a.known and a.known.fixes:
            told = ", ".join(f"{k}={v}" for k, v in a.known.fixes.items() if v != ALL)
            raise UserError(
                f"{a.word} stands for {told}, which 'genzoo evaluate' takes; here ask for {a.measures[0].name}"
            )
        if a.known and a.known.note:
            say_once(f"{a.word}: {a.known.note}")
    return [a.measures for a in found]


def _meant(word: str) -> Asked:
    every = table()
    named = {m: {m.name, *m.also, *(v.name for v in m.values)} for m in every.values()}

    def fitting(alike: Callable[[str], str]) -> tuple[Measure, ...]:
        found = tuple(m for m, words in named.items() if alike(word) in set(map(alike, words)))
        own = every.get(word.lower())
        return (own, *(m for m in found if m is not own)) if own in found else found

    if found := fitting(str.lower) or fitting(_bare):
        value = next((v for m in found for v in m.values if _bare(v.name) == _bare(word)), None)
        return Asked(word, found, value=value)
    for m in every.values():
        for known in m.known:
            if _bare(word) in map(_bare, (known.name, *known.also)):
                if known.refused:
                    raise UserError(f"{word}: {known.refused}")
                return Asked(word, (m,), known=known)
    near = nearest(
        word,
        dict.fromkeys([*(w for words in named.values() for w in words), *(k.name for m in named for k in m.known)]),
    )
    raise UserError(f"there is no measure '{word}'{near or '.'} Measures: {', '.join(every)}.")


def _bare(word: str) -> str:
    """Write a word without what people write in many ways.

    >>> _bare("Inception-Score") == _bare("inception_score") == _bare("inception score")
    True
    """
    return re.sub(r"[\s_-]+", "", word.lower())


def choose(names: str | Sequence[str]) -> list[Measure]:
    """Find all measures that these names mean.

    Raises:
        UserError: There is no such measure; the message lists all.
    """
    return list(dict.fromkeys(m for group in alternatives(names) for m in group))


# ---- what pages and help say -------------------------------------------------------------------------------------------------------


def rows() -> list[tuple[str, str, str, str, str]]:
    """Describe every measure: question, name, what it is, the values it gives, what it needs and whether it is taken on request only."""
    arrow = {"lower": " ↓", "higher": " ↑", "": ""}

    def shown(v: Value) -> str:
        unit = f" [{v.unit}]" if v.unit and v.unit not in v.name else ""
        return v.name.replace(NETWORK, "NAME") + unit + arrow[v.better]

    return [
        (
            QUESTIONS[m.question],
            m.name,
            m.line,
            ", ".join(map(shown, m.named)),
            m.asks + "; on request" * (not m.default),
        )
        for m in table().values()
    ]


def markdown() -> str:
    """Write the docs' table of measures."""
    lines = ["| `measures=` | what it is | values (↓ lower, ↑ higher is better) | needs |", "|---|---|---|---|"]
    asked = ""
    for question, name, line, gives, needs in rows():
        lines += [f"| **{question}** | | | |"] if question != asked else []
        lines.append(f"| `{name}` | {line} | {gives} | {needs} |")
        asked = question
    return "\n".join(lines)
