"""Names of systems and presets, and the classes behind them.

Systems of the zoo are found in the file names of `genzoo.models`, those of installed packages among the entry points of the group
`genzoo.models`; both are known without importing torch. A class of one's own is known from where it is given: `register`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import UserError, nearest
from genzoo.naming.outline import Entry, read

if TYPE_CHECKING:
    from genzoo.core.system import System

MODELS = Path(__file__).parents[1] / "models"
GROUP = "genzoo.models"
"""Entry points of an installed package: name of the system = package.module:Class."""
_given: dict[str, tuple[Entry, type[System]]] = {}
"""Classes that are not of the zoo and that were given in this process, by name."""


@functools.cache
def _files() -> dict[str, Path]:
    return {p.stem.replace("_", "-"): p for p in sorted(MODELS.glob("*/*.py")) if not p.name.startswith("_")}


@functools.cache
def of_zoo(name: str) -> Entry | None:
    """Read the file of one system of the zoo, and no other; None where there is none of that name."""
    if name not in _files():
        return None
    path, family = _files()[name], _files()[name].parent.name
    return read(path, name=name, family=family, module=f"genzoo.models.{family}.{path.stem}")


@functools.cache
def entries() -> dict[str, Entry]:
    """Every system of the zoo by name, family by family."""
    return {name: found for name in _files() if (found := of_zoo(name))}


@functools.cache
def families() -> dict[str, tuple[str, str]]:
    """Read from the docstring of each family's folder what it is strong at and what it fails by."""
    found = {}
    for family in dict.fromkeys(e.family for e in entries().values()):
        text = ast.get_docstring(ast.parse((MODELS / family / "__init__.py").read_text(encoding="utf-8"))) or ""
        parts = dict(
            " ".join(p.split()).split(": ", 1) for p in text.split("\n\n") if p.startswith(("Strong at:", "Fails by:"))
        )
        found[family] = (parts.get("Strong at", "").rstrip("."), parts.get("Fails by", "").rstrip("."))
    return found


@functools.cache
def names() -> dict[str, tuple[str, str | None]]:
    """Every name of the zoo that can be created: {name: (system, preset or None)}."""
    table: dict[str, tuple[str, str | None]] = {e.name: (e.name, None) for e in entries().values()}
    for e in entries().values():
        for preset in e.presets:
            table.setdefault(preset, (e.name, preset))
    return table


def _points() -> list[tuple[str, importlib.metadata.EntryPoint]]:
    found = importlib.metadata.entry_points(group=GROUP)
    return sorted(((p.name.lower().replace("_", "-"), p) for p in found), key=lambda item: (_package(item[1]), item[0]))


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "a package"


@functools.cache
def installed() -> dict[str, tuple[Entry, importlib.metadata.EntryPoint]]:
    """Systems of installed packages by name, package by package, read from their files as text where these are found."""
    found: dict[str, tuple[Entry, importlib.metadata.EntryPoint]] = {}
    for name, point in _points():
        if name not in names() and name not in found:
            bare = Entry(name, _package(point), point.module, idea="", paper="", data="image", presets=())
            found[name] = (_outlined(point, name) or bare, point)
    return found


def shadowed() -> list[str]:
    """Say which names of installed packages are taken already: the zoo's own come first, then the first package's."""
    return [
        f"'{name}' of {_package(point)} is not listed: the name is taken by {'genzoo' if name in names() else installed()[name][0].family}"
        for name, point in _points()
        if name in names() or installed()[name][1] != point
    ]


def _outlined(point: importlib.metadata.EntryPoint, name: str) -> Entry | None:
    """Read what the file of an entry point says of its system, without running the package."""
    from genzoo.naming.installed import file_of

    file = file_of(point.module)
    try:
        return read(file, name=name, family=_package(point), module=point.module, of=point.attr) if file else None
    except (SyntaxError, ValueError, OSError):  # importing it will say so
        return None


def listed() -> list[Entry]:
    """Every system that can be named here: of the zoo, of installed packages, given in this process."""
    ours, theirs = entries(), {name: entry for name, (entry, _) in installed().items()}
    return list({**ours, **theirs, **{name: entry for name, (entry, _) in _given.items()}}.values())


def select(which: str | None = None, task: str | None = None) -> list[Entry]:
    """List the systems of a family, or of a name or a pattern of names ("style*", presets as well), that can do something.

    Args:
        which: The family, the name or the pattern; all when not given.
        task: A capability ("translates", or "translate"), or a map's name ("upscale").

    Raises:
        UserError: There is no such family or name, or nothing can do this.
    """
    every = listed()
    families = list(dict.fromkeys(e.family for e in every))
    found = [e for e in every if not which or e.family == which]
    if which and not found:
        found = [e for e in every if any(fnmatch(n, which.lower().replace("_", "-")) for n in (e.name, *e.presets))]
    if not found:
        hint = nearest(str(which), [*families, *names()]) or "."
        raise UserError(
            f"there is no family and no name '{which}'{hint} Families: {', '.join(families)}; names may have a * in them: 'style*'"
        )
    if not task:
        return found
    known = list(dict.fromkeys(a for e in every for a in (*e.abilities, *e.directions)))
    asked = {a for a in known if task in (a, a.removesuffix("s"), a.removesuffix("es"))}
    if not asked:
        raise UserError(f"no system can do '{task}'{nearest(task, known) or '.'} Known are {', '.join(known)}")
    return [e for e in found if asked & {*e.abilities, *e.directions}]


def find(what: Any) -> tuple[Entry, str | None]:
    """Find the system (and preset) that a person means by a name, a file of one's own or a class; the latter two are registered.

    Raises:
        UserError: There is no such name (the message has the nearest one), or the file or class cannot be used.
    """
    if not isinstance(what, str) or ".py" in what or ":" in what:
        return _registered(what)
    key = what.lower().replace("_", "-")
    if ours := of_zoo(key):
        return ours, None
    if key in names():
        system, preset = names()[key]
        return entries()[system], preset
    for other in (*(e for e, _ in _given.values()), *(e for e, _ in installed().values())):
        if key == other.name or key in other.presets:
            return other, None if key == other.name else key
    others = [*names(), *installed(), *_given]
    raise UserError(f"there is no system '{what}'{nearest(key, others) or '.'} 'genzoo list' shows all {len(others)}.")


def register(what: Any) -> type[System]:
    """Make a class of one's own known in this process, so that its runs and models can be opened; return it.

    Args:
        what: A class that derives from `System`, or its file: "mine.py", "mine.py:MyModel".

    Raises:
        UserError: It cannot be used; the message says why.
    """
    return system_class(_registered(what)[0].name)


def _registered(what: Any) -> tuple[Entry, str | None]:
    from genzoo.naming.own import opened

    cls, preset = opened(what)
    entry = entry_of(cls)
    if entry.name not in entries():
        _given[entry.name] = (entry, cls)
    return entry, preset


def name_of(cls: type[System]) -> str:
    """Return the name of a class: its file's in the zoo, its entry point's in a package, else its own, MyModel: my-model.

    Where that is a name of the zoo, "own-" stands before it.
    """
    if cls.__module__.startswith("genzoo.models."):
        return cls.__module__.rsplit(".", 1)[-1].replace("_", "-")
    for name, (_, point) in installed().items():
        if (point.module, point.attr) == (cls.__module__, cls.__name__):
            return name
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).strip("_").lower()
    return f"own-{name}" if name in names() or name in installed() else name.replace("_", "-")


def entry_of(cls: type[System]) -> Entry:
    """Gather what is known of a class that is here: its file's outline in the zoo, else what it says itself."""
    from genzoo.core.capabilities import capabilities
    from genzoo.core.schema import capability_of, settings

    name = name_of(cls)
    if name in entries():
        return entries()[name]
    known = settings(cls)
    of_file = None if cls.__module__ == "__main__" else sys.modules[cls.__module__].__doc__
    told = of_file or cls.__doc__ or ""
    likelihood = getattr(cls, "likelihood", "")
    directions = getattr(cls, "directions", ())
    return Entry(
        name=name,
        family=installed()[name][0].family if name in installed() else "own",
        module=cls.__module__,
        idea=told.strip().split("\n", 1)[0],
        paper=cls.paper,
        data=cls.data,
        presets=tuple(cls.presets),
        abilities=capabilities(cls),
        likelihood=likelihood if isinstance(likelihood, str) else "",
        directions=directions if isinstance(directions, tuple) else (),
        inner=next((k for k, s in known.items() if capability_of(s.annotation)), ""),
        arguments=tuple(known),
    )


def system_class(what: Any) -> type[System]:
    """Import the class of a system or preset, whichever way it is named (see `find`)."""
    found, _ = find(what)
    if not of_zoo(found.name):
        return _given[found.name][1] if found.name in _given else _loaded(*installed()[found.name])
    from genzoo.core.system import System

    module = importlib.import_module(found.module)
    (cls,) = (
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, System) and c.__module__ == module.__name__
    )
    return cls


def _loaded(entry: Entry, point: importlib.metadata.EntryPoint) -> type[System]:
    from genzoo.naming.own import accepted, raised

    try:
        return accepted(point.load())
    except UserError as error:
        raise UserError(f"{entry.name} of {entry.family}: {error}") from None
    except Exception as error:
        raise UserError(f"{entry.name} of {entry.family} cannot be imported: {raised(error)}") from error


def given_as(cls: type[System]) -> dict[str, str]:
    """Where a class comes from that has to be given to open its models again; empty for one that is found by its name."""
    from genzoo.naming.own import source

    return {} if name_of(cls) in installed() else source(cls)


def described(name: str, source: Mapping[str, str]) -> type[System]:
    """Find the class that a file of a model or a run describes: of the zoo, given in this process, or of an installed package.

    What the file says decides which of these it is, and nothing else: no file is run and no module imported that it names.

    Args:
        name: What the system is called there.
        source: Where its class comes from (`genzoo.naming.own.source`); nothing for a system of the zoo.

    Raises:
        UserError: It is not here; the message says how to get it.
    """
    if not source:
        key = name.lower().replace("_", "-")
        if of_zoo(key) or key in names():
            return system_class(name)
        hint = nearest(name, names()) or "."
        raise UserError(f"there is no system '{name}'{hint} 'genzoo list' shows all {len(names())}.")
    from genzoo.naming import own

    for cls in (c for _, c in _given.values() if c.__name__ == source.get("class")):
        here = own.source(cls)
        if "digest" in source and here.get("digest", source["digest"]) != source["digest"]:
            print(f"note: {here['file']} has changed since this {name_of(cls)} was saved", file=sys.stderr)
        return cls
    for entry, point in installed().values():
        if (entry.family, point.attr) == (source.get("package"), source.get("class")):
            return _loaded(entry, point)
    raise own.missing(name, source)


def create(what: Any, **settings: Any) -> System:
    """Build a system by its name or a preset's, with the preset's values under the given ones.

    Raises:
        UserError: Unknown name or setting, or a value out of bounds.
    """
    _, preset = find(what)
    cls = system_class(what)
    return cls(**{**(cls.presets[preset] if preset else {}), **settings})
