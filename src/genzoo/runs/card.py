"""The model card that stands in every run folder."""

from __future__ import annotations

from typing import Any

from genzoo.core.errors import DamagedFile
from genzoo.metrics.stopping import advice
from genzoo.runs.folder import Run, now
from genzoo.runs.meters import clock
from genzoo.saved.loading import in_words


def model_card(
    run: Run,
    meta: dict[str, Any],
    step: int,
    seconds: float,
    skipped: dict[str, int],
    history: list[dict[str, Any]] | None = None,
) -> str:
    """Write the README.md of a run: what it is, what it was trained on, how it is used, what has been measured."""
    arguments = "\n".join(f"| {k} | {in_words(v)} |" for k, v in meta["hparams"].items())
    data = "\n".join(f"| {k} | {v} |" for k, v in meta["data"].items() if v is not None)
    told = meta["training"]
    parts = (
        f" Each batch of {told['batch']} was shown in {told['accumulate']} parts."
        if told.get("accumulate", 1) > 1
        else ""
    )
    counted = {k: v for k, v in skipped.items() if v}
    health = f"Updates skipped because a loss was not finite: {counted}." if counted else "No update was skipped."
    try:
        figures = "\n".join(_figure(name, record) for name, record in run.metrics().items())
    except DamagedFile as error:
        figures = f"{error}."
    file = meta.get("source", {}).get("file")
    given = f', system="{file}"' if file else ""
    taken = f"\n{_begun(meta['taken'])}\n" if "taken" in meta else ""
    figures = figures or f"Not measured yet: `genzoo evaluate {run.path}`."
    return f"""---
library_name: genzoo
tags: [genzoo, {meta["name"]}]
---
# {run.name}: {meta["name"]}

Trained with genzoo {meta["version"]}: {step} steps in {clock(seconds)}, ended {now()}.{parts} {health}
{taken}
| setting | value |
|---|---|
{arguments}

| data | value |
|---|---|
{data}

```python
import genzoo
system = genzoo.load("{run.path}"{given})
```

## Measured
{figures}
{_stopping(run, history) if history else _warnings(run)}"""


def _begun(taken: dict[str, Any]) -> str:
    """Say with which weights a run began."""
    steps = f" after {taken['step']:,} steps" if "step" in taken else ""
    return (
        f"It began with weights of `{taken['path']}` ({taken['system']}{steps}, digest {taken['digest']}): "
        f"{taken['taken']:,} tensors were taken, {taken['new']:,} were new."
    )


def _warnings(run: Run) -> str:
    """Write the warnings that the log alone gives of an adversarial training that goes wrong."""
    words = "\n".join(f"* {sentence}" for sentence in advice([], run.log()))
    return f"\n## What the log says\n{words}\n" if words else ""


def _stopping(run: Run, history: list[dict[str, Any]]) -> str:
    """List the measurements made during training, and what they say of going on."""
    names = list(dict.fromkeys(k for h in history for k in h["values"]))
    lines = [f"| step | {' | '.join(names)} |", "|" + "---|" * (len(names) + 1)]
    for h in history:
        cells = [_cell(h["values"].get(name)) for name in names]
        lines.append(f"| {h['step']:,} | {' | '.join(cells)} |")
    words = "\n".join(f"* {sentence}" for sentence in advice(history, run.log()))
    kept = f"\nThe best weights by {names[0]} are in `{run.path / 'best'}`.\n" if run.best.exists() else ""
    table = "\n".join(lines)
    return f"""
## When to stop
{words}
{kept}
Measured while training, with few examples: good for comparing steps of this run, not runs.

{table}
"""


def _cell(value: dict[str, Any] | None) -> str:
    if value is None or value["value"] is None:
        return "-"
    return f"{value['value']:.4g}" + (f" ± {value['se']:.2g}" if value.get("se") is not None else "")


def _figure(name: str, record: dict[str, Any]) -> str:
    spread = f" ± {record['se']:.4g}" if record.get("se") else ""
    value = "not a number" if record["value"] is None else f"{record['value']:.5g}"
    return f"* {name}: {value}{spread} {record.get('unit', '')}, N = {record.get('n') or 0:,}: {record['protocol']}"
