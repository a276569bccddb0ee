"""Say which systems suit a task, and what to type."""

from __future__ import annotations

import json as jsonlib
import re
import sys

from genzoo.cli.table import Command, commands
from genzoo.cli.text import columns, paragraph
from genzoo.core.errors import UserError
from genzoo.naming import registry
from genzoo.naming.outline import Kind
from genzoo.use.advise import PROBABLE, SHARP, Task
from genzoo.use.advise import advise as chosen_for

COMMAND = Command(
    "which systems suit a task, some data and a budget, and what to type",
    "[task=complete data=images budget=10min size=64]",
    place=12,
    light=True,
)
CODED: tuple[Kind, ...] = ("bounded", "codes", "implicit", "exact")
SUITED: dict[str, tuple[tuple[Kind, ...], str]] = {
    "complete": (PROBABLE, "bits/dim"), "compress": (PROBABLE, "bits/dim"), "reconstruct": (CODED, ""), "arithmetic": (CODED, ""),
}  # fmt: skip
"""Commands whose task is not best served by what samples best: which kinds suit them, and what ranks those that are alike."""


def advise(task: str = "", data: str = "", budget: str = "", size: str = "", json: bool = False) -> None:
    """Say which systems suit a task, and what to type.

    Args:
        task: What is wanted; without it the tasks are asked for, or listed.
        data: A kind of data (images, points, sounds ...), a known set, or a path; what the task says, or images, when not given.
        budget: Time for training: 90s, 10min, 2h; an hour when not given.
        size: Side of the images; the side that was timed when not given.
        json: Print JSON.
    """
    if not task and (data or budget or size):
        raise UserError(f"advise: task= is missing; give one of {', '.join(tasks())}")
    if not task:
        print("Tasks:\n" + columns((name, t.line) for name, t in tasks().items()))
        if not sys.stdin.isatty():
            print("\ngenzoo advise task=complete data=images budget=10min")
            return
        task, data, budget = input("\ntask? "), input("data? [images] "), input("budget? [1h] ")
    if size and not (size.isdigit() and 1 <= int(size) <= 1024):
        raise UserError(f"size={size} is not allowed; give a whole number from 1 to 1024")
    found = chosen_for(tasks(), task, data or None, budget or "1h", int(size) if size else None)
    if json:
        print(jsonlib.dumps([vars(a) for a in found], indent=2))
        return
    for i, a in enumerate(found, 1):
        print(f"{i}. {a.system} ({a.family})")
        print("\n".join(paragraph(f"- {reason}.", indent=3) for reason in a.why))
        print("\n".join(f"     {line}" for line in a.commands) + "\n")
    if any(re.search(r"\b[A-Z_]{2,}\b", line) for a in found for line in a.commands):
        print("Words in capitals are to be replaced by what is yours; 'genzoo help data' says in which form.")
    if len(found) == 1:
        print(f"Nothing else in the zoo does '{task}' with such data.")


def tasks() -> dict[str, Task]:
    """List every task: the commands that need a capability, and a few that are not one command."""
    found = {}
    known = commands()
    for c in known.values():
        if c.needs:
            order, measure = SUITED.get(c.name, (SHARP, "FLD"))
            words = re.sub(r"\s*[\[(|].*", "", c.usage)
            found[c.name] = Task(c.line, c.needs, f"{c.name} {words}".strip(), order, measure)
    for e in registry.entries().values():
        for way in e.directions if "restores" in e.abilities else ():
            line = known[way].line if way in known else f"{way} images"
            found[way] = Task(
                line, ("translates", "restores"), f"{way} RUN IMAGE_OR_FOLDER", SHARP, "", way, colour=True
            )
    return found | {
        "class": Task("draw data of a class that one names", ("samples", "conditioned"), "sample RUN label=0"),
        "likelihood": Task(
            "tell how probable data are: outliers, models compared in bits", ("density",), "evaluate RUN measures=nll", PROBABLE, "bits/dim"
        ),
        "few": Task("draw new data where there are some hundred images only", ("samples",), "sample RUN", helps=("augment", "ada")),
        "text": Task("draw what a sentence says", ("samples", "prompted"), 'sample RUN prompt="..."'),
        "tokens": Task("turn data into codes for a second model", ("tokenizes",), "reconstruct RUN", PROBABLE, ""),
    }  # fmt: skip
