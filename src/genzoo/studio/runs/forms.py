"""A signature as a form, and what was filled in as a command line: checked by what the command line is checked by."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from genzoo import api
from genzoo.core import schema
from genzoo.core.capabilities import CAPABILITIES
from genzoo.core.errors import UserError
from genzoo.data import DataSettings
from genzoo.data.kinds import example_of
from genzoo.data.sources.names import available
from genzoo.naming import registry
from genzoo.naming.outline import Entry
from genzoo.runs.folder import check_name
from genzoo.studio.commands import typed
from genzoo.studio.runs import processes
from genzoo.text.keys import in_python, spoken
from genzoo.training.settings import FALLBACKS, TrainSettings
from genzoo.use.common.source import WORDS

HERE = ("runs", "name", "data")
"""Settings that the page has places of their own for."""


def systems() -> dict[str, Any]:
    """List the systems, and what they can be used for, in words; nothing is imported for it."""
    entries = registry.listed()
    tasks = [
        {"name": name, "words": words, "systems": [e.name for e in entries if name in e.abilities]}
        for name, words in WORDS.items()
    ]
    return {"systems": [_entry(e) for e in entries], "tasks": [t for t in tasks if t["systems"]], "sets": available()}


def _entry(e: Entry) -> dict[str, Any]:
    return {
        "name": e.name, "family": e.family, "idea": e.idea, "paper": e.paper, "kind": e.data, "presets": list(e.presets),
        "abilities": list(e.abilities), "example": example_of(e.data),
    }  # fmt: skip


def form(name: str) -> dict[str, Any]:
    """Describe the form of a system or preset: what it is, and every setting of it, of the data and of the training.

    Raises:
        UserError: There is no such system.
    """
    entry, preset = named(name)
    cls = registry.system_class(entry.name)
    values = cls.presets[preset] if preset else {}
    starts = {**FALLBACKS, **cls.defaults, **cls.preset_defaults.get(preset or "", {})}
    about = (cls.__doc__ or "").split("Args:")[0].strip()
    return {
        **_entry(entry),
        "preset": preset,
        "about": [" ".join(part.split()) for part in about.split("\n\n") if part.strip()],
        "groups": [
            {"name": "system", "fields": _fields(cls, values)},
            {"name": "training", "fields": _fields(TrainSettings, starts)},
            {"name": "data", "fields": _fields(DataSettings, {})},
        ],
    }


def named(name: str) -> tuple[Entry, str | None]:
    """Find a system by its name in the listing: never a file, which would be run."""
    if "." in name or ":" in name or "/" in name:
        raise UserError(f"there is no system '{name}'; a class of your own is trained from the command line")
    return registry.find(name)


def _fields(target: Callable[..., Any], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [field(s, values.get(s.name)) for s in schema.settings(target).values() if s.name not in HERE]


def field(s: schema.Setting, value: Any = None) -> dict[str, Any]:
    """Describe one setting as a field: what kind of input, what is allowed, what it starts from.

    Args:
        s: The setting.
        value: What it starts from in place of its default; None where that is its default.
    """
    bounds, choices, kind = _read(s.annotation)
    able = schema.capability_of(s.annotation)
    default = "" if s.required else schema.written(s.default)
    return {
        "name": spoken(s.name),
        "kind": "run" if able else kind,
        "able": next((k for k, p in CAPABILITIES.items() if p is able), "") if able else "",
        "default": default if value is None else schema.written(value),
        "from_data": s.name in schema.FROM_DATA,
        "required": s.required,
        "choices": choices,
        "allowed": s.allowed,
        "doc": s.doc,
        **bounds,
    }


def _read(annotation: Any) -> tuple[dict[str, float], list[str], str]:
    """Find bounds, choices and kind of an annotation: one of integer, number, switch, choice, several, text."""
    bounds: dict[str, float] = {}
    options: list[Any] = []

    def look(a: Any) -> None:
        if get_origin(a) is Annotated:
            base, *extras = get_args(a)
            for limit in (m for extra in extras for m in getattr(extra, "metadata", [extra])):
                for key, to in (
                    ("ge", "min"),
                    ("gt", "above"),
                    ("le", "max"),
                    ("lt", "below"),
                    ("multiple_of", "step"),
                ):
                    if (v := getattr(limit, key, None)) is not None:
                        bounds[to] = v
            look(base)
        elif get_origin(a) in (types.UnionType, typing.Union):
            for part in get_args(a):
                look(part)
        else:
            options.append(a)

    look(annotation)
    plain = [o for o in options if o is not type(None)]
    none = ["none"] if type(None) in options else []
    if len(plain) == 1 and plain[0] is bool and not none:
        return {}, ["true", "false"], "switch"
    if plain and all(get_origin(o) is Literal for o in plain):
        said = [*(schema.written(v) for o in plain for v in get_args(o)), *none]
        return {}, list(dict.fromkeys(said)), "choice"
    listed = [o for o in plain if get_origin(o) in (tuple, list)]
    if len(plain) == 1 and listed:
        inner = get_args(listed[0])[0]
        if get_origin(inner) is Literal:
            return {}, [schema.written(v) for v in get_args(inner)], "several"
    if len(plain) == 1 and plain[0] in (int, float) and not listed:
        return bounds, [], "integer" if plain[0] is int else "number"
    return {}, [], "text"


def free_name(root: Path, system: str) -> str:
    """Choose the name that a run of a system gets where nobody gives one: the system's, numbered until it is free."""
    taken = set(processes.begun(root))
    for number in range(1, 100_000):
        name = system if number == 1 else f"{system}-{number}"
        if name not in taken and not (root / name).exists():
            return name
    raise UserError(f"{root} has too many runs of {system}; give name=")


def command(root: Path, shown: str, system: str, values: Mapping[str, str]) -> dict[str, Any]:
    """Check what was filled in, and write the command line that it stands for.

    Args:
        root: The folder of runs.
        shown: How that folder is given on the command line.
        system: System or preset.
        values: What was filled in, by name, as the command line takes it; what is empty is left out.

    Returns:
        words: the command line without `genzoo`; line: as it is typed; name: of the run; errors: field -> the sentence that the command
        line gives. It can be started where there are no errors.
    """
    entry, preset = named(system)
    called, cls = preset or entry.name, registry.system_class(entry.name)
    given = {k: v.strip() for k, v in values.items() if v.strip()}
    name = given.pop("name", "") or free_name(root, called)
    given.pop("runs", None)
    # A run in place of a system is one that the page lists; to open it here, at every change of the form, would take too long.
    known = schema.settings(cls)
    inner = {spoken(k) for k, s in known.items() if schema.capability_of(s.annotation)}
    errors = {} if "data" in given else {"data": str(api.data_missing(called))}
    for k in (k for k in inner if known[in_python(k)].required and k not in given):
        errors[k] = f"{called}: {k} is required ({known[in_python(k)].allowed})"
    for key in given.keys() - inner:
        if sentence := _wrong(called, key, given, inner):
            errors[key] = sentence
    if not errors and not inner and (sentence := _wrong_together(called, given)):
        errors[_blamed(sentence, given)] = sentence
    try:
        check_name(root, name)
        if name in processes.begun(root) and processes.running(root, name, "train"):
            raise UserError(f"a run named '{name}' is starting; choose another name")
    except UserError as error:
        errors["name"] = str(error)
    words = ["train", called, *(f"{k}={v}" for k, v in given.items()), f"name={name}", f"runs={shown}"]
    return {"words": words, "line": typed(words), "name": name, "errors": errors}


def _wrong(system: str, key: str, given: Mapping[str, str], inner: set[str]) -> str:
    """Say what the command line says of one key, whatever is wrong with others; empty where it is good."""
    cls = registry.system_class(registry.find(system)[0].name)
    name, without = in_python(key), tuple(map(in_python, inner))
    try:
        if name in schema.settings(DataSettings):
            schema.check(DataSettings, {"data": given.get("data", "-"), name: given[key]}, label=system)
        elif name in schema.settings(TrainSettings):
            schema.check(TrainSettings, {name: given[key]}, label=system)
        elif name in schema.settings(cls):
            schema.check(cls, {name: given[key]}, label=system, skip=without)
        else:
            api.sort_keys(system, {key: given[key]})
    except UserError as error:
        return str(error)
    return ""


def _wrong_together(system: str, given: Mapping[str, str]) -> str:
    """Say what the command line says of all keys; empty where they are good."""
    try:
        api.sort_keys(system, given)
    except UserError as error:
        return str(error)
    return ""


def _blamed(sentence: str, given: Mapping[str, str]) -> str:
    """Find the field that a sentence about several of them names first; the name of the run's where it names none."""
    places = {k: sentence.find(k) for k in given}
    named = {k: p for k, p in places.items() if p >= 0}
    return min(named, key=lambda k: named[k]) if named else "system"
