"""Draw new data from a system."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Prompted, Samples
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System
from genzoo.data.drawing.images import titled
from genzoo.metrics.drawing import CHUNK, EACH, rows_by_label, takes_labels, takes_prompts
from genzoo.use.common.source import Source, draw, open_system, options, require, whole

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Batch = Annotated[int, Field(ge=1, le=65_536)]


USUAL = 64
"""Samples where no number is given."""
MOST = 1_000_000
"""Seeds that can be named at once."""


def sample(
    source: Source,
    n: Count | None = None,
    seed: Seed = 0,
    *,
    seeds: str | Sequence[int] | None = None,
    batch: Batch = CHUNK,
    **own: Any,
) -> Tensor:
    """Draw `n` samples: float32 [n, C, H, W] in [-1, 1], or [n, D] for points. The same seed gives the same samples.

    Every sample has a generator of its own, so the first three of ten are those of three, in batches of any size: to the bit where a system's
    arithmetic does not depend on how many are computed at once, else to rounding.

    Args:
        source: A run, its path, or a system.
        n: How many; when not given 64, or 8 of each class, class by class, from a system that takes a label and is given none. With
            prompts, how many of each; 8 when not given.
        seed: Which.
        seeds: One sample of each of these in place of `n` of one: numbers, or text such as "0,1,4-6". That of seed 5 is what `n=1, seed=5` draws.
        batch: How many are computed at once; fewer need less memory.
        own: Options of the system's own `sample`, such as temperature, label or prompt. A label may be a class's name; prompts may be a
            list, or text with semicolons between them, and each begins with the same noise.

    Raises:
        UserError: The system does not sample, or has no such option; or `seeds` are none.
    """
    n = None if n is None else whole("n", n, least=1)
    which: int | tuple[int, ...] = whole("seed", seed, least=0)
    batch = whole("batch", batch, least=1)
    if seeds is not None:
        which = seeds_of(seeds)
        if n is not None or seed:
            raise UserError("sample: seeds= names one sample of each; leave out n= and seed=")
        n = len(which)
    system = open_system(source)
    require(system, Samples, verb="sample")
    if "label" in own:
        own["label"] = class_of(system, own["label"])
    # where a system takes no prompt, its own answer to the option is the clearest
    prompts = prompts_of(own["prompt"]) if own.get("prompt") is not None and takes_prompts(system) else []
    given = options(system, "sample", {**own, **({"prompt": prompts[0]} if prompts else {})}, verb="sample")
    if prompts:
        tell_unread(system, prompts)
        each = [draw(system, n or EACH, which, {**given, "prompt": p}, chunk=batch) for p in prompts]
        return torch.cat(each)
    if columns_of(system, n, given):
        return rows_by_label(system, seed, **given)
    return draw(system, n or USUAL, which, given, chunk=batch)


def seeds_of(given: str | Sequence[int]) -> tuple[int, ...]:
    """Read the seeds that a person names.

    >>> seeds_of("0,1,4-6")
    (0, 1, 4, 5, 6)

    Raises:
        UserError: They are no seeds, none, or more than a million.
    """
    return numbers_of(given, "seeds")


def numbers_of(given: str | Sequence[int], key: str) -> tuple[int, ...]:
    """Read whole numbers and ranges of them, such as "0,1,4-6", or a list.

    Raises:
        UserError: They are none, or more than a million.
    """
    parts = (
        re.split(r"[,\s]+", given.strip()) if isinstance(given, str) else [str(whole(key, s, least=0)) for s in given]
    )
    found: list[int] = []
    for part in parts:
        read = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        first, last = (int(read[1]), int(read[2] or read[1])) if read else (0, -1)
        if not read or last < first or last >= 2**63 or len(found) + last - first >= MOST:
            raise UserError(
                f"{key}={given}: give whole numbers and ranges of them, at most {MOST:,} in all, such as {key}=0,1,4-6"
            )
        found += range(first, last + 1)
    if not found:
        raise UserError(f"{key}= names none; give whole numbers and ranges of them, such as {key}=0,1,4-6")
    return tuple(found)


def prompts_of(prompt: Any) -> list[str]:
    """Return the prompts that a person means: a list, or one text with semicolons between them.

    >>> prompts_of("a red heart; a blue  square;")
    ['a red heart', 'a blue square']

    Raises:
        UserError: One of them is empty.
    """
    given = str(prompt).removesuffix(";").split(";") if isinstance(prompt, str) else [str(p) for p in prompt]
    prompts = [" ".join(p.split()) for p in given]
    if not prompts or not all(prompts):
        raise UserError('a prompt is empty; describe an image in words: prompt="a red heart; a blue square"')
    return prompts


def tell_unread(system: System, prompts: Sequence[str]) -> None:
    """Name on stderr the words of prompts that say nothing to a system, each with the known word that is closest in spelling."""
    from genzoo.text.vocabulary import with_hints

    assert isinstance(system, Prompted)
    for p in prompts:
        if strangers := system.unread(p):
            told = with_hints(strangers, system.vocabulary)
            print(f"prompt '{p}': in no training caption, so passed over: {told}", file=sys.stderr)


def sheet(system: System, drawn: Tensor, prompt: Any) -> np.ndarray | None:
    """Draw the samples of prompts as a picture, a row for each under its words; None where there were none."""
    if prompt is None or not takes_prompts(system):
        return None
    prompts = prompts_of(prompt)
    return titled(drawn, prompts, columns=min(len(drawn) // len(prompts), EACH))


def columns_of(system: System, n: int | None, given: dict[str, Any]) -> int | None:
    """Count the images in a row where `sample` draws a row for each class; None where it does not."""
    return EACH if n is None and "label" not in given and takes_labels(system) else None


def class_of(system: System, label: Any) -> Any:
    """Find the number of the class that is called `label`; anything that is no word is left as it is.

    Raises:
        UserError: There are classes with names, and none of this name.
    """
    names = getattr(system, "trained", {}).get("class_names", [])
    if str(label) in names:
        return names.index(str(label))
    if names and takes_labels(system) and isinstance(label, str) and not label.lstrip("-").isdigit():
        same = [n for n in names if n.casefold() == label.casefold()]
        shown = ", ".join(names[:20]) + (f" ... ({len(names)} in all)" if len(names) > 20 else "")
        hint = f" — did you mean '{same[0]}'?" if same else nearest(label, names)
        raise UserError(f"label={label}: there is no class of this name{hint or '.'} Classes: {shown}")
    return label
