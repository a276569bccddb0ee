"""Write the table of docs/scale.md: how far several processes are from one after 20 steps, of every system.

It trains every system at its tiny size in one process, in two and in four, on this machine: 20 steps of a batch of 16, in double and in single
precision. `python docs/make_ranks.py` takes about ten minutes on two cores; `python docs/make_ranks.py glow vae` prints the rows of these.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from genzoo.core.capabilities import capabilities  # noqa: E402
from genzoo.naming import registry  # noqa: E402
from tests.conftest import build  # noqa: E402
from tests.one_batch import apart, learn  # noqa: E402
from tests.ranks import Ranks  # noqa: E402

PAGE = ROOT / "docs" / "scale.md"
WORLDS = (2, 4)
HEAD = (
    "| system | beside gradients, processes share | double, 2 | double, 4 | single, 2 | single, 4 | rounding alone, single |\n"
    "|---|---|---|---|---|---|---|"
)


def shares(name: str) -> str:
    """What the processes of a system share beside its gradients, as its modules say."""
    system = build(name)
    modules = list(system.modules())
    found = []
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and next(m.parameters(), None) is not None for m in modules):
        found.append("batch statistics (`sync`)")
    found += sorted({f"mean of `{n}`" for m in modules for n in getattr(m, "averaged", ())})
    found += sorted({f"memory `{n}`" for m in modules for n in getattr(m, "memories", ())})
    return ", ".join(found)


def row(name: str, pools: dict[int, Ranks]) -> str:
    """One line of the table."""
    if "fits" in capabilities(registry.system_class(name)):
        return f"| `{name}` | is fitted in one process; torchrun is refused | | | | | |"
    cells = []
    for dtype in (torch.float64, torch.float32):
        alone = learn(0, 1, name, dtype)
        cells += [max(apart(alone, found)[0] for found in pools[w](learn, w, name, dtype)) for w in WORLDS]
    rounding = apart(learn(0, 1, name), learn(0, 1, name, nudged=1))[0]
    return f"| `{name}` | {shares(name)} | " + " | ".join(f"{c:.0e}" for c in [*cells, rounding]) + " |"


def main() -> None:
    """Train, and put the table into the page."""
    torch.set_num_threads(1)
    names = sys.argv[1:] or sorted(registry.entries())
    with tempfile.TemporaryDirectory() as folder:
        pools = {world: Ranks(Path(folder, str(world)), world) for world in WORLDS}
        for world in WORLDS:
            Path(folder, str(world)).mkdir()
        lines = [HEAD]
        for name in names:
            lines.append(row(name, pools))
            print(lines[-1], flush=True)
        for many in pools.values():
            many.end()
    if len(sys.argv) == 1:
        marks = r"(<!-- ranks: docs/make_ranks.py -->\n).*(<!-- /ranks -->)"
        text = re.sub(marks, lambda m: m[1] + "\n".join(lines) + "\n" + m[2], PAGE.read_text(), flags=re.S)
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
