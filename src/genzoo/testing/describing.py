"""Promises of what a system says of itself."""

from __future__ import annotations

import inspect

from genzoo.core import schema
from genzoo.core.capabilities import CAPABILITIES, capabilities
from genzoo.naming import registry
from genzoo.saved.loading import build, describe
from genzoo.testing.case import Case, Skip, promise, refused


@promise(presets=False)
def what_old_files_stand_for_is_an_argument_that_now_has_another_default(case: Case) -> None:
    """Reads old files by arguments that have another default now."""
    cls = case.cls
    settings = schema.settings(cls)
    for key, value in cls.formerly.items():
        assert not settings[key].required
        assert value != settings[key].default
        assert build(describe(case.build()) | {"hparams": cls.tiny}).hparams[key] == value


@promise(presets=False)
def a_system_says_what_it_is(case: Case) -> None:
    """Says what it is: its kind of data, its presets, what it can do and what it lacks."""
    cls = case.cls
    entry = registry.entry_of(case.cls)
    assert entry.idea.endswith(".")
    assert (entry.paper, entry.data, entry.presets) == (cls.paper, cls.data, tuple(cls.presets))
    assert capabilities(cls)
    built = case.build()  # may lack, in words, what its class can do with other settings
    assert [c for c in capabilities(cls) if c not in built.lacks] == list(capabilities(built))
    assert set(built.lacks) <= set(capabilities(cls))


@promise(presets=False)
def bounds_are_enforced(case: Case) -> None:
    """Refuses every number just below its bound.

    Every numeric argument with a bound refuses the value just outside of it.
    """
    cls = case.cls
    found = 0
    for key, s in schema.settings(cls).items():
        low = _below(s.annotation)
        if low is None:
            continue
        found += 1
        with refused(key):
            case.build(**{key: low})
    if not found:
        raise Skip("has no bounds")


def _below(annotation: object) -> float | None:
    """Find the largest value that a lower bound refuses (a step of one below it), or nothing where there is none."""
    for extra in getattr(annotation, "__metadata__", ()):
        for constraint in getattr(extra, "metadata", ()):
            if getattr(constraint, "ge", None) is not None:
                return float(constraint.ge - 1)
            if getattr(constraint, "gt", None) is not None:
                return float(constraint.gt)
    return None


@promise(presets=False)
def its_methods_take_the_arguments_of_their_capability(case: Case) -> None:
    """Has methods that take the arguments of the capability that they give."""
    for capability, protocol in CAPABILITIES.items():
        if capability not in capabilities(case.cls):
            continue
        for method, function in inspect.getmembers(protocol, inspect.isfunction):
            if method.startswith("_"):
                continue
            wanted = list(inspect.signature(function).parameters)
            given = inspect.signature(getattr(case.cls, method)).parameters
            assert list(given)[: len(wanted)] == wanted or set(wanted) <= set(given), f"{method} takes {list(given)}"


@promise(presets=False, advice=True)
def every_argument_is_documented_and_bounded(case: Case) -> None:
    """Documents every argument, gives it a default, and a number a bound."""
    assert (case.cls.__doc__ or "").split("\n\n")[0].strip().endswith("."), "the class has no sentence about itself"
    for s in schema.settings(case.cls).values():
        assert s.doc, f"{s.name} has no line under Args:"
        assert s.doc.endswith("."), f"{s.name}: a sentence"
        assert not s.required, f"{s.name} has no default"
        base = s.allowed.split(" or ")[0]
        if base.startswith(("integer", "number")) and s.name not in ("shape", "classes"):
            assert "at least" in base or "more than" in base, f"{s.name} has no lower bound"


@promise(presets=False, advice=True)
def it_says_where_it_was_published(case: Case) -> None:
    """Says where it was published."""
    assert case.cls.paper
