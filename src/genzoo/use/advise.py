"""Say which systems suit a task, some data and a budget, from what is known of them without importing torch.

What a system can do and which data it takes is read from its file (`naming.registry`); what a step of it costs was measured by
`benchmarks/bench_taxonomy.py` (use/paces.json), and what it reached on MNIST by its proof (use/reached.json, written by `make docs`).
"""

from __future__ import annotations

import functools
import itertools
import json as jsonlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import genzoo
from genzoo.core.errors import UserError, nearest
from genzoo.data import kinds
from genzoo.data.arrangements import PLAIN
from genzoo.data.sources.names import DRAWN, EMBEDDED, STANDARD, available
from genzoo.naming import registry
from genzoo.naming.outline import Entry, Kind

ANSWERS, ENOUGH, SIDE = 3, 0.1, 28
"""Systems in an answer; the share of its own default training without which a system is not advised first; the side of most paces."""
PHOTO = 64
"""Side that translations are thought of at, where none is given."""
SHARP: tuple[Kind, ...] = ("implicit", "bounded", "exact", "codes")
STAND = {
    "exact": "tells the probability of the data",
    "bounded": "tells a lower bound of the probability of the data",
    "implicit": "makes data and tells no probability",
    "codes": "maps data to codes and back, with no distribution of its own",
}
PROBABLE: tuple[Kind, ...] = ("exact", "bounded", "implicit", "codes")


@dataclass(frozen=True)
class Task:
    """Something a person wants.

    Args:
        line: It, in words.
        needs: Capabilities without which a system cannot.
        then: What to type after the training, RUN for the run.
        order: Which stand to the probability of the data suits it most.
        measure: Name of the measured value that ranks systems that are alike in this; empty for none.
        direction: Map that a system must have among its own; empty for any.
        helps: Arguments of which a system must have one; empty for any.
        colour: Whether it makes sense in colour only.
    """

    line: str
    needs: tuple[str, ...]
    then: str
    order: tuple[Kind, ...] = SHARP
    measure: str = "FLD"
    direction: str = ""
    helps: tuple[str, ...] = ()
    colour: bool = False

    def __call__(self, e: Entry) -> bool:
        """Tell whether a system can do it."""
        able = set(self.needs) <= set(e.abilities) and self.direction in ("", *e.directions)
        return able and (not self.helps or bool(set(self.helps) & set(e.arguments)))


@dataclass(frozen=True)
class Advice:
    """One system of an answer.

    Args:
        system: Its name.
        family: Its family.
        why: Reasons, one sentence each.
        commands: What to type.
        minutes: Estimated minutes of training; None where its pace was not measured.
    """

    system: str
    family: str
    why: tuple[str, ...]
    commands: tuple[str, ...]
    minutes: float | None


ALIASES = {
    "inpaint": "complete", "inpainting": "complete", "fill": "complete", "generate": "sample", "draw": "sample", "edit": "arithmetic",
    "interpolate": "walk", "outliers": "likelihood", "density": "likelihood", "score": "likelihood", "encode": "reconstruct",
    "anomaly": "likelihood", "anomalies": "likelihood", "novelty": "likelihood", "codes": "tokens", "latent": "reconstruct",
    "compression": "compress", "enlarge": "upscale", "super-resolution": "upscale", "colour": "colorize", "colourize": "colorize",
    "color": "colorize", "caption": "text", "few-images": "few", "few-shot": "few", "style": "translate", "image-to-image": "translate",
}  # fmt: skip
ARRANGED = {
    "text": ("text", "captioned"), "text-to-image": ("text", "captioned"), "segmentation": ("translate", "paired"),
    "labels-to-photo": ("translate", "paired"), "pairs": ("translate", "paired"), "class": ("class", "labelled"),
    "conditional": ("class", "labelled"), "texture": ("sample", "exemplar"),
}  # fmt: skip
"""Words that say the task and how images are arranged at once."""


def phrases() -> dict[str, tuple[str, str]]:
    """Collect the words that say the task and the data at once: those for arrangements, and of every other kind all words, to draw new ones."""
    other = (k for k in kinds.every().values() if k.name != PLAIN.of)
    return {**{word: ("sample", k.name) for k in other for word in (k.name, *k.aliases)}, **ARRANGED}


@functools.cache
def facts(name: str) -> dict[str, Any]:
    """Read a file of measured facts that comes with the package; empty where it has not been written yet."""
    path = Path(genzoo.__file__).parent / "use" / name
    return jsonlib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def seconds_of(budget: str) -> float:
    """Read a budget as seconds: 90s, 10min, 2h, 1d; a bare number is minutes.

    >>> [seconds_of(word) for word in ("90s", "10min", "2h", "0.5")]
    [90.0, 600.0, 7200.0, 30.0]
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)?", budget.strip().lower())
    if match is None or not float(match[1]):
        raise UserError(f"budget={budget} is not a time; give 90s, 10min, 2h or 1d")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[(match[2] or "m")[0]]


def kind_of(data: str) -> tuple[str, str]:
    """Tell the kind of data that a word, a known name or a path stands for, and what `data=` takes to try it."""
    spoken = kinds.spoken()
    if data in spoken:
        return spoken[data], kinds.example_of(spoken[data])
    if found := kinds.of_set(data):
        return found.name, data
    if data in (*EMBEDDED, *STANDARD):
        return "labelled", data
    if data in DRAWN:
        return "captioned", data
    path = Path(data).expanduser()
    if path.is_dir():
        return _inside(path), data
    if path.is_file() or data.startswith("hf:"):
        return ("exemplar" if path.suffix.lower() in (".png", ".jpg", ".jpeg") else PLAIN.of), data
    raise UserError(
        f"data={data} is neither a kind of data, nor a known set, nor a path here{nearest(data, [*spoken, *available()]) or '.'} "
        f"Kinds: {', '.join(sorted(kinds.names()))}."
    )


def _inside(folder: Path) -> str:
    """Tell the kind of data that a folder holds, by the names in it and one level below."""
    inside = {p.name for p in folder.iterdir()}
    below = [p for p in folder.iterdir() if p.is_dir()]
    told = kinds.told_by(p.name for place in (folder, *below) for p in itertools.islice(place.iterdir(), 100))
    held = (
        ("unpaired", {"trainA", "trainB"} <= inside),
        ("paired", {"A", "B"} <= inside),
        ("captioned", "captions.csv" in inside),
        (told.name if told else "", told is not None),
        ("labelled", bool(below)),
    )
    return next((kind for kind, holds in held if holds), PLAIN.of)


def _taken_by(declared: str) -> tuple[str, ...]:
    """List what systems may declare that learn from data of a kind, best first."""
    return (declared, *kinds.declared(declared)[1].taken)


def _untimed(declared: str) -> bool:
    """Tell whether systems take such data in place of another kind, on which their steps were timed."""
    return bool(kinds.declared(declared)[0].stands_for)


def advise(
    tasks: Mapping[str, Task], task: str, data: str | None = None, budget: str = "1h", size: int | None = None
) -> list[Advice]:
    """Choose two or three systems for a task, best first, from different families where there are.

    Args:
        tasks: Every task by its name.
        task: A name of one, or another word for it.
        data: A kind of data, a known set, or a path; what the task's name says, or images, when not given.
        budget: Time for training, such as 10min.
        size: Side of the images; the time of a step is taken to grow with their area. When not given, the side that was timed.

    Raises:
        UserError: No such task, data or budget, or nothing in the zoo does the task with the data.
    """
    word, said = phrases().get(task.lower(), (ALIASES.get(task.lower(), task.lower()), ""))
    if word not in tasks:
        listed = ", ".join(tasks)
        raise UserError(
            f"there is no task '{task}'{nearest(task, [*tasks, *ALIASES, *phrases()]) or '.'} Tasks: {listed}."
        )
    wanted, seconds = tasks[word], seconds_of(budget)
    able = [e for e in registry.entries().values() if wanted(e)]
    # A task that is done with one kind of data alone means that kind.
    alone = able[0].data if able and len({e.data for e in able}) == 1 else PLAIN.of
    kind, example = kind_of(data or said or alone)
    if wanted.colour and example == kinds.example_of(PLAIN.of) and data not in EMBEDDED:
        example = kinds.example_of("captioned")
    fitting = [e for e in able if e.data in _taken_by(kind) or (_untimed(kind) and e.points)]
    if not fitting:
        others = sorted({e.data for e in able})
        raise UserError(
            f"nothing in the zoo does '{word}' with {kind} data; with {', '.join(others)} data there is: {_names(able)}"
        )
    fitting = [e for e in fitting if not e.inner] or fitting
    ranked = sorted(fitting, key=lambda e: _rank(e, wanted, kind, seconds, size))
    chosen: list[Entry] = []
    for e in ranked:
        if len(chosen) < ANSWERS and e.family not in {c.family for c in chosen}:
            chosen.append(e)
    chosen += [e for e in ranked if e not in chosen][: max(0, 2 - len(chosen))]
    return [_advice(e, wanted, kind, example, seconds, size) for e in chosen]


def _rank(e: Entry, wanted: Task, kind: str, seconds: float, size: int | None) -> tuple[Any, ...]:
    share, reached, taken = _share(e, kind, seconds, size), _reached(e, wanted, kind), _taken_by(kind)
    return (
        share is not None and share < ENOUGH,
        taken.index(e.data) if e.data in taken and "density" not in wanted.needs else 0,
        wanted.order.index(e.kind),
        reached is None,
        reached or 0.0,
        share is None,
        -(share or 0),
        e.name,
    )


def _pace(e: Entry) -> dict[str, Any]:
    pace: dict[str, Any] = facts("paces.json").get("systems", {}).get(e.name, {})
    return pace


def _cost(e: Entry, kind: str, size: int | None) -> float | None:
    """Estimate the seconds of the system's own default training, where they are known; steps were timed on images and sounds, not on points."""
    pace = _pace(e)
    if pace.get("fit") is not None:
        return float(pace["fit"])
    if _untimed(kind) or pace.get("step_per_example") is None or not pace.get("steps"):
        return None
    area = (_side(e, size) / _timed(e)[-1]) ** kinds.declared(e.data)[0].sides
    return float(pace["step_per_example"] * pace["batch"] * pace["steps"] * area)


def _timed(e: Entry) -> list[int]:
    """Look up the sides of the examples that its steps were timed on."""
    shape: list[int] = _pace(e).get("changed", {}).get("shape", [1, SIDE, SIDE])
    return shape[1:]


def _side(e: Entry, size: int | None) -> int:
    """Choose the side of the images that a person thinks of: the given one, or what suits the kind of data and was timed."""
    return size or max(_timed(e)[-1], PHOTO if e.data in ("paired", "unpaired") else 0)


def _share(e: Entry, kind: str, seconds: float, size: int | None) -> float | None:
    cost = _cost(e, kind, size)
    return None if cost is None else min(1.0, seconds / max(cost, 1e-9))


def _reached(e: Entry, wanted: Task, kind: str) -> float | None:
    """Look up what ranks it by what it reached: the task's measure on MNIST, or nats on the moons for points."""
    reached: float | None = facts("reached.json").get(_ranked_by(wanted, kind), {}).get(e.name)
    return reached


def _ranked_by(wanted: Task, kind: str) -> str:
    data, arrangement = kinds.declared(kind)
    if (
        not wanted.measure
        or arrangement.name not in (PLAIN.name, "labelled")
        or not (data.stands_for or data.name == PLAIN.of)
    ):
        return ""
    return "NLL, moons" if data.stands_for else f"{wanted.measure}, mnist"


def _time(seconds: float) -> str:
    """Write a time as people say it.

    >>> [_time(s) for s in (45, 600, 36_000)]
    ['45 s', '10 min', '10 h']
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _advice(e: Entry, wanted: Task, kind: str, example: str, seconds: float, size: int | None) -> Advice:
    strong, fails = registry.families()[e.family]
    why = [
        e.idea.rstrip("."),
        STAND[e.kind] + (f" ({e.likelihood})" if e.likelihood else ""),
        f"the family is strong at {strong}",
    ]
    reached = _reached(e, wanted, kind)
    if reached is not None:
        why.append(
            f"its proof reached {reached:.4g} ({_ranked_by(wanted, kind)}; lower is better; protocol in docs/results)"
        )
    share, cost, pace, steps = _share(e, kind, seconds, size), _cost(e, kind, size), _pace(e), ""
    if "fit" in pace:
        why.append("fitted without gradients, in seconds or minutes")
    elif cost is None or share is None:
        why.append(
            f"what a step of it costs on {kind} data has not been measured; training stops, saved, when the budget is spent"
        )
        steps = f" minutes={seconds / 60:g}"
    else:
        fewer = float(f"{pace['steps'] * share:.2g}")
        steps = "" if share == 1 else f" steps={max(1, fewer):.0f}"
        part = "all of" if share == 1 else f"{100 * share:.2g} per cent of"
        count = kinds.declared(e.data)[0].sides
        sides = [*_timed(e)[:-count], *[_side(e, size)] * count]
        where = f" at {'x'.join(map(str, sides))}" if count else ""
        why.append(f"the budget is {part} its own {pace['steps']:,} steps, {_time(cost)}{where} on one CPU thread")
        if share < ENOUGH:
            why.append("that is little: do not expect much, or take a smaller net, smaller images or a longer budget")
    why.append(f"it fails by {fails}")
    if e.inner:
        why.append(f"it can be built on another run: {e.inner}=RUN ('genzoo show {e.name}' says of what)")
    if set(wanted.helps) & set(e.arguments):
        why.append("it augments what its discriminator sees, so that some hundred images are not learnt by heart")
    name = next((p for p in e.presets if p.endswith("-ada")), e.name) if wanted.helps else e.name
    help_ = " augment=color,translation,cutout" if "augment" in wanted.helps and "augment" in e.arguments else ""
    own, arrangement = kinds.declared(e.data)
    flat = not own.sides or arrangement.single or _untimed(kind) or "fits" in e.abilities
    usual = size is None and _side(e, None) == SIDE and not wanted.colour
    sized = "" if flat or usual else f" size={_side(e, size)}"
    train = f"genzoo train {name} data={quote(example)}{sized}{help_}{steps}"
    use = "genzoo " + wanted.then.replace("RUN", f"runs/{name}", 1)
    minutes = None if cost is None or share is None else round(cost * share / 60, 2)
    return Advice(e.name, e.family, tuple(why), (train, use), minutes)


def _names(entries: list[Entry]) -> str:
    return ", ".join(e.name for e in entries)
