"""The model card that stands in every run folder."""

from __future__ import annotations

from typing import Any

from genzoo.core.loading import in_words
from genzoo.training.folder import Run, now
from genzoo.training.meters import clock


def model_card(run: Run, meta: dict[str, Any], step: int, seconds: float, skipped: dict[str, int]) -> str:
    """README.md of a run: what it is, what it was trained on, how it is used, what has been measured."""
    arguments = "\n".join(f"| {k} | {in_words(v)} |" for k, v in meta["hparams"].items())
    data = "\n".join(f"| {k} | {v} |" for k, v in meta["data"].items() if v is not None)
    counted = {k: v for k, v in skipped.items() if v}
    health = f"Updates skipped because a loss was not finite: {counted}." if counted else "No update was skipped."
    figures = "\n".join(_figure(name, record) for name, record in run.metrics().items())
    figures = figures or f"Not measured yet: `genzoo evaluate {run.path}`."
    return f"""---
library_name: genzoo
tags: [genzoo, {meta["name"]}]
---
# {run.name}: {meta["name"]}

Trained with genzoo {meta["version"]}: {step} steps in {clock(seconds)}, ended {now()}. {health}

| setting | value |
|---|---|
{arguments}

| data | value |
|---|---|
{data}

```python
import genzoo
system = genzoo.load("{run.path}")
```

## Measured
{figures}
"""


def _figure(name: str, record: dict[str, Any]) -> str:
    spread = f" ± {record['se']:.4g}" if record.get("se") else ""
    return (
        f"* {name}: {record['value']:.5g}{spread} {record.get('unit', '')}, N = {record['n']:,}: {record['protocol']}"
    )
