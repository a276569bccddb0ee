"""What a training step and a sample cost, against width, side and batch: measured exponents beside those of the arithmetic.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_size [SYSTEM ...] [--again] [--chart docs/speed-size.png]

Every system of the registry, at its tiny settings but for what is varied, on random data: three values of each axis, each twice the one before,
the others at the first. The width is the first whole number among a system's arguments that its documentation calls channels, units or a
width. A time is the smallest CPU time of a few calls; the exponent is the slope of a line through the logarithms. The theory's exponent is the
slope of the operations that torch's counter finds at the same points; where it finds none (a step without products), there is none.

What was measured is kept in build/bench-size.jsonl, value by value: a run that was stopped goes on, `--again` begins anew. The exponents and the
chart are made of what is there.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import frame
from genzoo.core.capabilities import Fits, Samples
from genzoo.core.errors import UserError
from genzoo.core.schema import settings
from genzoo.naming import registry
from genzoo.testing.case import CPU, Case, case_of, learn
from genzoo.testing.data import batch_for
from genzoo.training.update import Updater

KEPT = frame.ROOT / "build" / "bench-size.jsonl"
CHART = frame.ROOT / "docs" / "speed-size.png"
AXES = ("width", "side", "batch")
FACTORS = (1, 2, 4)
WIDTH, SIDE, BATCH = 16, 16, 4
SLOW = 0.4
"""CPU seconds of a call after which larger values of its axis are left out."""
_WIDE = re.compile(r"(channels|units|width|hidden|features)\b", re.IGNORECASE)

Record = dict[str, Any]


def width_of(cls: type) -> str | None:
    """Return the name of the argument that makes a system wider."""
    for name, setting in settings(cls).items():
        whole = isinstance(setting.default, int) and not isinstance(setting.default, bool)
        if whole and (name == "width" or _WIDE.match(setting.doc)):
            return name
    return None


def shaped(cls: Any, factor: int) -> tuple[int, ...]:
    """Return a shape whose sides are `factor` times the smallest: all but the channels, and the frames of a film."""
    shape = tuple(cls.tiny.get("shape", settings(cls)["shape"].default))
    fixed = 2 if cls.data == "video" else 1
    least = max(1, SIDE // max(shape[fixed:])) if len(shape) - fixed == 2 else 1
    return (*shape[:fixed], *(n * least * factor for n in shape[fixed:]))


def built(case: Case, axis: str, factor: int) -> tuple[Any, int, int]:
    """Return a system, the batch, and the value of the axis."""
    name, given = width_of(case.cls), {}
    if name:
        given[name] = WIDTH * (factor if axis == "width" else 1)
    shape = shaped(case.cls, factor if axis == "side" else 1)
    torch.manual_seed(0)
    system = case.build(shape=shape, **given)
    batch = BATCH * (factor if axis == "batch" else 1)
    return system, batch, {"width": given.get(name or "", 0), "side": shape[-1], "batch": batch}[axis]


def stepping(system: Any, batch: int) -> Callable[[], object]:
    """Return one training step, or what a system does with a batch that learns otherwise."""
    data = batch_for(system, batch)
    if isinstance(system, Fits):
        return lambda: system.partial_fit(data)
    learn(system, 1)
    update = Updater(system, CPU)
    system.train()

    def step() -> None:
        update.begin(1, 100)
        system.training_step(data, update)
        update.end()

    return step


def taken(work: Callable[[], object]) -> tuple[float, int]:
    """Return the smallest CPU time of a few calls, and the operations of one."""
    flops, _ = frame.count(work)
    first = frame.seconds(work)
    repeat = max(1, round(0.01 / max(first, 1e-6)))
    rounds = 1 if first > SLOW / 4 else 3
    times = [frame.seconds(lambda: [work() for _ in range(repeat)]) / repeat for _ in range(rounds)]
    return min(first, *times), flops


def measured(name: str, axis: str, factor: int) -> Iterator[Record]:
    """Measure the step and the sample of a system at one value of an axis."""
    system, batch, value = built(case_of(name), axis, factor)
    works = {"step": stepping(system, batch)}
    if isinstance(system, Samples):
        works["sample"] = lambda: system.eval().sample(batch, generator=torch.Generator().manual_seed(0))
    for what, work in works.items():
        seconds, flops = taken(work)
        yield {
            "system": name,
            "axis": axis,
            "factor": factor,
            "value": value,
            "what": what,
            "seconds": seconds,
            "flops": flops,
        }


def slope(points: list[tuple[float, float]]) -> float | None:
    """Return the slope of the line through the logarithms of some points; None where there are fewer than two."""
    logs = [(math.log(x), math.log(y)) for x, y in points if y > 0]
    if len({x for x, _ in logs}) < 2:
        return None
    mean_x, mean_y = (sum(v) / len(logs) for v in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def kept() -> list[Record]:
    """Return all that was measured."""
    return [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []


def exponents(records: list[Record]) -> dict[str, dict[tuple[str, str], tuple[float | None, float | None]]]:
    """Return by system, and by (step or sample, axis), the exponents of time and of operations."""
    found: dict[str, dict[tuple[str, str], tuple[float | None, float | None]]] = {}
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        if "seconds" in r:
            groups.setdefault((r["system"], r["what"], r["axis"]), []).append(r)
    for (name, what, axis), each in groups.items():
        pair = tuple(slope([(r["value"], r[of]) for r in each]) for of in ("seconds", "flops"))
        found.setdefault(name, {})[what, axis] = pair  # type: ignore[assignment]
    return found


def chart(records: list[Record], path: Path) -> None:
    """Draw the exponents of all systems: of the time filled, of the operations hollow."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    found = exponents(records)
    names = sorted(found, reverse=True)
    figure, panels = pyplot.subplots(
        1, len(AXES), figsize=(11, 1 + 0.22 * len(names)), sharey=True, layout="constrained"
    )
    for panel, axis in zip(panels, AXES, strict=True):
        for what, shift, colour in (("step", 0.17, "#1f5fa8"), ("sample", -0.17, "#c2571a")):
            rows = [(i + shift, *found[n].get((what, axis), (None, None))) for i, n in enumerate(names)]
            for y, time, flops in rows:
                if time is not None and flops is not None:
                    panel.plot([time, flops], [y, y], color=colour, linewidth=0.7, alpha=0.5)
            for column, filled in ((1, True), (2, False)):
                points = [(r[column], r[0]) for r in rows if r[column] is not None]
                label = f"{what}: {'time' if filled else 'operations'}"
                face = colour if filled else "none"
                xs, ys = zip(*points, strict=True) if points else ((), ())
                panel.scatter(xs, ys, s=14, facecolors=face, edgecolors=colour, linewidths=0.8, label=label)
        panel.set_title(f"exponent in the {axis}", fontsize=9)
        panel.axvline(0, color="#999999", linewidth=0.6)
        panel.grid(axis="x", color="#dddddd", linewidth=0.5)
        panel.tick_params(labelsize=7)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(-0.7, len(names) - 0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, ncols=len(labels), loc="outside lower center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def table(records: list[Record]) -> str:
    """Write the exponents as a table: of time, and in brackets of operations."""
    lines = [
        "| | " + " | ".join(f"{what}, {axis}" for what in ("step", "sample") for axis in AXES) + " |",
        "|---" * 7 + "|",
    ]

    def cell(pair: tuple[float | None, float | None]) -> str:
        time, flops = pair
        return "" if time is None else f"{time:.1f}" + (f" ({flops:.1f})" if flops is not None else "")

    for name, each in sorted(exponents(records).items()):
        cells = [cell(each.get((what, axis), (None, None))) for what in ("step", "sample") for axis in AXES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def fill(names: list[str]) -> None:
    """Measure what is missing, and write it down value by value."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["system"], r["axis"], r["factor"]) for r in kept()}
    for i, name in enumerate(names, 1):
        for axis in AXES:
            slow = False
            for factor in FACTORS:
                if (name, axis, factor) in done or slow or (axis == "width" and not width_of(case_of(name).cls)):
                    continue
                gc.collect()
                try:
                    records = list(measured(name, axis, factor))
                except UserError as error:
                    records = [{"system": name, "axis": axis, "factor": factor, "refused": str(error)}]
                slow = any(r.get("seconds", 0) > SLOW for r in records)
                with KEPT.open("a") as file:
                    file.writelines(json.dumps(r) + "\n" for r in records)
        print(f"{i} of {len(names)}: {name}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print the table and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", help="which; all of them by default")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument("--chart", type=Path, default=CHART)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.again:
        KEPT.unlink(missing_ok=True)
    names = given.systems or sorted(registry.entries())
    fill(names)
    records = [r for r in kept() if r["system"] in names]
    print(table(records))
    for r in records:
        if "refused" in r:
            print(f"{r['system']}, {r['axis']} times {r['factor']}: {r['refused']}")
    chart(records, given.chart)


if __name__ == "__main__":
    main()
