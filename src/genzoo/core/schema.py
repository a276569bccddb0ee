"""Read a signature as a form: its annotations with bounds, defaults and `Args:` lines are the only definition of what can be set.

From it come the checks, the command line, the settings file, the docs table and the JSON schema.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema, create_model

from genzoo.core.errors import UserError, nearest

T = TypeVar("T")
FROM_DATA = ("shape", "classes", "levels", "rate", "vocabulary", "inputs", "instances")
"""Arguments that the data answers, unless the person does."""


@dataclass(frozen=True)
class Setting:
    """One argument, as a person sees it."""

    name: str
    annotation: Any
    """Its type, with bounds."""
    default: Any
    """`inspect.Parameter.empty` where it is required."""
    doc: str
    """Its `Args:` line."""

    @property
    def required(self) -> bool:
        """Tell whether there is no default."""
        return self.default is inspect.Parameter.empty

    @property
    def allowed(self) -> str:
        """Say what may be given: "integer, at least 1"."""
        return describe(self.annotation)


_WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "none"}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "more than {}",
    "le": "at most {}",
    "lt": "less than {}",
    "multiple_of": "a multiple of {}",
}


def describe(annotation: Any) -> str:
    """Put a type with bounds into words.

    >>> from pydantic import Field
    >>> describe(Annotated[int, Field(ge=1, le=8)])
    'integer, at least 1, at most 8'
    >>> describe(Literal["minimax", "hinge"])
    'minimax | hinge'
    """
    if get_origin(annotation) is Annotated:
        base, *extras = get_args(annotation)
        limits = [limit for extra in extras for limit in getattr(extra, "metadata", [extra])]
        told = [say.format(v) for b in limits for k, say in _BOUNDS.items() if (v := getattr(b, k, None)) is not None]
        return ", ".join([describe(base), *told])
    if get_origin(annotation) is Literal:
        return " | ".join(str(a) for a in get_args(annotation))
    if get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(describe(a) for a in get_args(annotation))
    if get_origin(annotation) in (tuple, list):
        inner = [a for a in get_args(annotation) if a is not Ellipsis]
        count = "" if Ellipsis in get_args(annotation) or get_origin(annotation) is list else f"{len(inner)} "
        if get_origin(inner[0]) is Literal:
            return f"any of {describe(inner[0])}, separated by commas"
        word, _, each = describe(inner[0]).partition(", ")
        return f"{count}{word}s separated by commas" + (f", each {each}" if each else "")
    if is_capability(annotation):
        return f"a run that {annotation.__name__.lower()}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def is_capability(annotation: Any) -> bool:
    """Tell a protocol: such an argument takes a system."""
    return bool(getattr(annotation, "_is_protocol", False))


def capability_of(annotation: Any) -> Any:
    """Return the capability that an argument asks for, or None: `Tokenizes | None` asks for `Tokenizes`."""
    return next((o for o in _options(annotation) if is_capability(o)), None)


def argument_docs(docstring: str | None) -> dict[str, str]:
    """Read the `Args:` section of a Google-style docstring: {name: text}."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(docstring or ""), re.MULTILINE)
    text = inspect.cleandoc(section.group(1)) if section else ""
    entries = re.findall(r"^(\w+):(.*(?:\n .*|\n)*)", text + "\n", re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def settings(target: Callable[..., Any]) -> dict[str, Setting]:
    """Read the arguments of a class's constructor or of a function, in order, without `self`."""
    return _settings(target)  # apart from the cache, whose type refuses classes of modules


@functools.cache
def _settings(target: Callable[..., Any]) -> dict[str, Setting]:
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    docs = argument_docs(target.__doc__)
    found = {}
    for p in inspect.signature(function).parameters.values():
        if p.name == "self":
            continue
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            raise TypeError(f"{target.__name__}: *args and **kwargs are not a configuration; name every argument")
        found[p.name] = Setting(p.name, hints.get(p.name, Any), p.default, docs.get(p.name, ""))
    return found


@functools.cache
def form(target: Callable[..., Any], *, skip: tuple[str, ...] = ()) -> type[BaseModel]:
    """Make the pydantic model of a signature, which refuses unknown names, wrong types and values out of bounds."""
    kept = [s for s in settings(target).values() if s.name not in skip]
    fields: Any = {s.name: (_for_pydantic(s.annotation), ... if s.required else s.default) for s in kept}
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=(), validate_default=False)
    with warnings.catch_warnings():
        # An argument may be called json or copy: pydantic's own methods of that name are not used here.
        warnings.filterwarnings("ignore", message="Field name", category=UserWarning)
        return create_model(target.__name__, __config__=config, **fields)


def check(
    target: Callable[..., Any], values: Mapping[str, Any], *, label: str = "", skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return all arguments of `target` with `values` checked and converted and defaults filled in.

    Strings are read as the type asks, tuples from "1,28,28" or "28x28".

    Raises:
        UserError: Names the key, what was given, what is allowed and the nearest known key.
    """
    known = {k: s for k, s in settings(target).items() if k not in skip}
    label = label or target.__name__
    for key in values:
        if key not in known:
            raise UserError(f"{label} has no setting '{key}'{nearest(key, known) or '.'} Settings: {', '.join(known)}.")
    given = {k: _read(k, known[k].annotation, v) for k, v in values.items()}
    try:
        bound = form(target, skip=skip)(**given)
    except ValidationError as error:
        said = dict.fromkeys(_explain(e, known, values) for e in error.errors())
        raise UserError(f"{label}: {'; '.join(said)}") from None
    return {k: getattr(bound, k) for k in known}


def build(target: Callable[..., T], values: Mapping[str, Any], *, label: str = "") -> T:
    """Call `target` with `values` checked: settings, a plan (see `check`)."""
    return target(**check(target, values, label=label))


def bind(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Check the arguments of a system's constructor and return all of them by name, defaults included."""
    names = list(settings(cls))
    if len(args) > len(names):
        raise UserError(f"{cls.__name__} takes at most {len(names)} arguments, {len(args)} were given")
    return check(cls, {**dict(zip(names, args, strict=False)), **kwargs})


def written(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return ",".join(str(v) for v in value)
    return "none" if value is None else str(value)


def _options(annotation: Any) -> list[Any]:
    """List the types that a value may have, without their bounds."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    union = get_origin(annotation) in (types.UnionType, typing.Union)
    return [o for a in get_args(annotation) for o in _options(a)] if union else [annotation]


def _for_pydantic(annotation: Any) -> Any:
    """Leave systems to `check`; in a JSON schema they are the path of a run."""
    return Annotated[Any, WithJsonSchema({"type": "string"})] if capability_of(annotation) else annotation


def _read(key: str, annotation: Any, value: Any) -> Any:
    """Turn a word of the command line into what pydantic can check; other values pass."""
    options = _options(annotation)
    choices = {str(a): a for o in options if get_origin(o) is Literal for a in get_args(o)}
    if type(None) in options and isinstance(value, str) and value.lower() in ("none", "") and value not in choices:
        return None
    if value is not None and (capability := capability_of(annotation)):
        return _able(key, value, capability)
    if isinstance(value, os.PathLike) and str in options:
        return os.fspath(value)
    if not isinstance(value, str):
        if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a scalar of numpy or torch
            return value.item()
        return list(value) if isinstance(value, tuple) else value
    if value in choices:
        return choices[value]  # 8 of Literal[8, 16] is a number
    if int in options and float not in options and re.fullmatch(r"[1-9]\d*(\.\d+)?[eE]\+?\d", value):
        number = float(value)  # 1e5 is a whole number, 2.5e0 is none
        return int(number) if number.is_integer() else value
    if any(get_origin(o) in (tuple, list) for o in options) and not (int in options and value.isdigit()):
        return [part for part in re.split(r"[,x×\s()\[\]]+", value) if part]
    return value


def _able(key: str, value: Any, capability: type) -> Any:
    """Refuse what is no system of this capability; what stands for one is opened before (`genzoo.saved.loading.resolved`)."""
    if isinstance(value, capability):
        return value
    verb, given = capability.__name__.lower(), written(value) if isinstance(value, str) else f"a {type(value).__name__}"
    raise UserError(
        f"{key} takes a system that {verb}, not {given}; give the system itself: {key}=genzoo.load('runs/...'), "
        "or build with genzoo.create, which opens paths"
    )


def _explain(error: Any, known: Mapping[str, Setting], values: Mapping[str, Any]) -> str:
    key = str(error["loc"][0])
    s = known[key]
    if error["type"] == "missing" and len(error["loc"]) == 1:
        return f"{key} is required ({s.allowed})"
    given = written(values.get(key))
    given = given if len(given) <= 100 else f"{' '.join(given[:80].split())} ... ({type(values[key]).__name__})"
    usual = "" if s.required else f" (default {written(s.default)})"
    return f"{key}={given} is not allowed; give {s.allowed}{usual}"
