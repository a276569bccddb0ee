"""What every system of the zoo promises, to be asked of anybody's class: `genzoo.testing.check_system(MyModel)`.

Each promise is a function whose docstring says it. A promise that asks for more than a class can do is skipped, with the reason.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from genzoo.naming import registry
from genzoo.testing import abilities, describing, learning, using
from genzoo.testing.case import PROMISES, Case, Promise, Skip, case_of

__all__ = ["PROMISES", "Case", "Promise", "Result", "Skip", "case_of", "check_system"]

PARTS = (abilities, describing, learning, using)
"""The files of promises; importing them fills `PROMISES`."""


@dataclass(frozen=True)
class Result:
    """How a class stands to a promise.

    Args:
        name: The promise's name.
        sentence: What is promised.
        preset: Of which preset; none for the system itself.
        state: kept, broken, skipped, or advice: not kept, and nobody has to.
        why: What is wrong, or why it is not asked.
    """

    name: str
    sentence: str
    preset: str
    state: Literal["kept", "broken", "skipped", "advice"]
    why: str = ""


def check_system(system: Any, *, quiet: bool = False) -> list[Result]:
    """Ask every promise of the zoo of a class, at the size that its `tiny` arguments give; it takes seconds to a minute.

    Args:
        system: A class that derives from `System`, its file ("mine.py"), or a name.
        quiet: Print no table.

    Returns:
        One result a promise; of a preset, too, where that can matter.

    Raises:
        UserError: The class cannot be built or described at all.
        AssertionError: Promises are broken; the message has all of them.
    """
    cls = registry.system_class(system)
    with _private_cache():
        found = [
            _asked(promise, Case(cls, preset))
            for promise in PROMISES
            for preset in (None, *(cls.presets if promise.presets else ()))
        ]
    if not quiet:
        print(table(found))
    if broken := [f"{r.name}{r.preset and f' ({r.preset})'}: {r.why}" for r in found if r.state == "broken"]:
        raise AssertionError(f"{cls.__name__} breaks {len(broken)} promises:\n" + "\n".join(broken))
    return found


def _asked(promise: Promise, case: Case) -> Result:
    said = (promise.name, promise.sentence, case.preset or "")
    try:
        promise.check(case)
    except Skip as reason:
        return Result(*said, "skipped", str(reason))
    except Exception as error:  # whatever a class does that ought not to
        return Result(*said, "advice" if promise.advice else "broken", _in_words(error))
    return Result(*said, "kept")


def _in_words(error: Exception) -> str:
    """Put a failure into words: its message, or the line of the promise that does not hold."""
    said = " ".join(str(error).split())
    if isinstance(error, AssertionError):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return said or f"{frame.line} ({os.path.basename(frame.filename)}:{frame.lineno})"
    return f"{type(error).__name__}: {said}"


def table(results: list[Result]) -> str:
    """Lay results out: state, what is promised, and why it is not kept or not asked."""
    lines = []
    for r in results:
        of = f" [{r.preset}]" if r.preset else ""
        lines.append(f"{r.state:8} {r.sentence}{of}" + (f"\n{'':9}{r.why}" if r.why else ""))
    states = ("kept", "broken", "skipped", "advice")
    return "\n".join([*lines, ", ".join(f"{sum(r.state == s for r in results)} {s}" for s in states)])


@contextmanager
def _private_cache() -> Iterator[None]:
    """Neither read nor write the person's cache within the block."""
    before = os.environ.get("GENZOO_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENZOO_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("GENZOO_CACHE")
            if before is not None:
                os.environ["GENZOO_CACHE"] = before
