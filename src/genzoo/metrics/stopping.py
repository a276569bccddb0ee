"""When to stop, in words: a plateau with its interval, and what goes wrong: loss of variety, copies, oscillation, a discriminator that has won.

It reads a history of measurements and the lines of a log; which values warn of what, the measures say (`Value.warns`). By convention a
training step with a discriminator logs `d_loss`, its loss, and where they mean something `d_real` and `d_fake`, its mean outputs (larger is "real").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.metrics.measure import warning

BACK = 3
"""Measurements that a plateau is judged over."""
LOST = 0.5
"""Recall, coverage or variety below this share of what it was is a collapse."""
WON = 0.1
"""A discriminator's loss below this share of its greatest value, or of `UNDECIDED` where that is less."""
UNDECIDED = 2.0
"""What no classic loss exceeds where D cannot tell (hinge: 2, logistic: 2 ln 2, squares: 1/4): more is a game that has blown up."""
LINES = 5
"""Log lines that "now" is the mean of."""
ALIKE = 0.1
"""A variety below this share of that of real images is nearly one and the same sample, over and over."""
COPIES = 25.0
"""Per cent of samples that are no copies: half of what fresh data have at least, for whom either distance is as often the larger."""
SWINGS, WINDOW, SWING = 3, 8, 0.25
"""So many turns within so many measurements are an oscillation, each by more than its interval and than this share of the value."""

Point = tuple[int, float, float | None]


def advice(history: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]] = (), *, lead: str = "") -> list[str]:
    """Return sentences on whether to go on.

    Args:
        history: Measurements: step, and values: name -> {value, se, better}.
        log: Lines of the run's log.
        lead: The measure that decides; the first that has a better end when not given.
    """
    found = []
    lead = lead or next((k for h in history for k, v in h["values"].items() if v.get("better")), "")
    if lead:
        found.append(trend(lead, points(history, lead), _better(history, lead)))
        found.append(oscillation(lead, points(history, lead)))
    alike = [points(history, name) for name in warning("sameness")]
    found += [collapse(name, points(history, name)) for name in warning("collapse")]
    found += [sameness(taken) for taken in alike]
    found += [copying(name, points(history, name), *alike) for name in warning("copies")]
    found += [winning(log)]
    return [sentence for sentence in found if sentence]


def points(history: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    """Return what one measure gave during training: step, value, standard error."""
    taken = [(h["step"], h["values"][name]) for h in history if name in h["values"]]
    return [(s, v["value"], v.get("se")) for s, v in taken if v.get("value") is not None]


def _better(history: Sequence[Mapping[str, Any]], name: str) -> str:
    return str(next(h["values"][name]["better"] for h in history if name in h["values"]))


def trend(name: str, found: Sequence[Point], better: str) -> str:
    """Say whether a measure still improves, by more than its interval of 95 per cent, over the last measurements."""
    if len(found) <= BACK:
        return f"{name}: {len(found)} measurement{'s' * (len(found) != 1)}, too few to tell a plateau ({BACK + 1} are needed)."
    sign = 1 if better == "lower" else -1
    best = min(found[:-BACK], key=lambda p: sign * p[1])
    recent = min(found[-BACK:], key=lambda p: sign * p[1])
    gain = sign * (best[1] - recent[1])
    interval = None if best[2] is None or recent[2] is None else 1.96 * math.hypot(best[2], recent[2])
    spread = "" if interval is None else f" ± {interval:.2g}"
    since = f"the best of the last {BACK} measurements is {recent[1]:.4g} (step {recent[0]:,}), before them {best[1]:.4g} (step {best[0]:,})"
    if gain > (interval or 0.0):
        return f"{name} still improves, by {gain:.3g}{spread}: {since}. Go on."
    if interval is not None and gain < -interval:
        return f"{name} has become worse, by {-gain:.3g}{spread}: {since}. Stop, and use the best weights."
    within = "" if interval is None else f", within an interval of ± {interval:.2g}"
    return f"{name} is on a plateau{within}: {since}. More steps of this kind will not help."


def collapse(name: str, found: Sequence[Point]) -> str:
    """Say so where a measure of variety has fallen to less than half of what it was."""
    if len(found) < 2:
        return ""
    top = max(found[:-1], key=lambda p: p[1])
    step, value, _ = found[-1]
    if top[1] < 0.05 or value >= LOST * top[1]:
        return ""
    return (
        f"Collapse: {name} has fallen from {top[1]:.3g} (step {top[0]:,}) to {value:.3g} (step {step:,}): samples lose their variety. "
        "The best weights are from before; try a lower learning rate or another regularization."
    )


def sameness(found: Sequence[Point]) -> str:
    """Say so where samples have next to no variety although training has gone on for a while."""
    if len(found) <= BACK or any(value >= ALIKE for _, value, _ in found[-2:]):
        return ""
    step, value, _ = found[-1]
    return (
        f"Samples are nearly all alike: their variety is {value:.2g} of that of real images (step {step:,}). If it does not rise soon, start anew "
        "with a lower learning rate, a penalty (penalty=r1) or another objective."
    )


def oscillation(name: str, found: Sequence[Point]) -> str:
    """Say so where a measure goes up and down by more than chance and a quarter of itself, again and again."""
    recent = list(found[-WINDOW:])
    moves = []
    for (_, a, a_se), (_, b, b_se) in itertools.pairwise(recent):
        interval = 0.0 if a_se is None or b_se is None else 1.96 * math.hypot(a_se, b_se)
        if abs(b - a) > max(interval, SWING * min(abs(a), abs(b))):
            moves.append(b - a)
    turns = sum(a * b < 0 for a, b in itertools.pairwise(moves))
    if turns < SWINGS:
        return ""
    low, high = (f(p[1] for p in recent) for f in (min, max))
    return (
        f"Oscillation: {name} has turned {turns} times over the last {len(recent)} measurements, between {low:.4g} and {high:.4g}: the players chase "
        "each other. Try a lower learning rate, averaged weights (ema=0.999), instance_noise=0.1 or penalty=r1; the best weights are kept."
    )


def copying(name: str, found: Sequence[Point], variety: Sequence[Point] = ()) -> str:
    """Say so where hardly a sample is not suspiciously near to a training example.

    Samples that are all alike stand near one example or another by chance: where `variety` says that they are, nothing is said here.
    """
    if not found or found[-1][1] >= COPIES or (variety and variety[-1][1] < ALIKE):
        return ""
    step, value, _ = found[-1]
    return (
        f"Memorization: only {value:.2g} % of samples are no copies of training images ({name}, step {step:,}; held-out images have 50 % and more). "
        "There is too little data for this many steps: stop earlier, or try more data, augment and flip=true."
    )


def winning(log: Sequence[Mapping[str, Any]]) -> str:
    """Say so where the loss of a discriminator has all but vanished, so that the generator learns nothing from it."""
    losses = [line["d_loss"] for line in log if line.get("d_loss") is not None]
    if len(losses) < 3 * LINES or min(losses) < 0:  # a Wasserstein critic's loss is negative and says no such thing
        return ""
    now, top = sum(losses[-LINES:]) / LINES, min(max(losses), UNDECIDED)
    if top <= 0 or now >= WON * top:
        return ""
    outputs = [
        sum(values) / len(values)
        for key in ("d_real", "d_fake")
        if (values := [line[key] for line in log[-LINES:] if line.get(key) is not None])
    ]
    if len(outputs) == 2 and outputs[0] <= outputs[1]:
        return ""  # it does not even rank real images above generated ones
    of = "its greatest value" if max(losses) <= UNDECIDED else f"{UNDECIDED:g}"
    told = (
        f" (its outputs are {outputs[0]:.3g} on real and {outputs[1]:.3g} on generated images)"
        if len(outputs) == 2
        else ""
    )
    return (
        f"The discriminator wins: d_loss is {now:.2g}, {100 * now / top:.0f} % of {of}{told}. The generator gets little to learn "
        "from: try a penalty, augmentation, or a lower learning rate of the discriminator."
    )
