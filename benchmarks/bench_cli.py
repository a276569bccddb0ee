"""What starting costs: `genzoo`, its help, its list and one sample of a small dcgan, each in a fresh process.

    python -m benchmarks.bench_cli [CASE ...] [--base REV] [--rounds 7]

The limit of what needs no torch is `python -c pass`, that of what does is `python -c "import torch"`; both take turns with the case. Promised are
under 0.06 s of CPU for `genzoo --help`, and at most 1.25 times the limit for a sample; where that is broken, the exit code is 1.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks import frame, steps
from benchmarks.frame import Case

HELP, SAMPLE = 0.06, 1.25
"""CPU seconds of help, and of one sample as a multiple of importing torch: at most."""


def process(*arguments: str, limit: str | None = None, code: int = 0) -> Case:
    """Run Python in a process of its own, which keeps what it compiled, as everybody's does."""
    plain = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")}

    def work() -> None:
        found = subprocess.run([sys.executable, *arguments], capture_output=True, check=False, env=plain)
        assert found.returncode == code, found.stderr.decode()

    return Case(work, ("process", 1), flops=0, moved=0, limit=limit)


def genzoo(*words: str, code: int = 0) -> Callable[[], Case]:
    """Run a command that needs no torch."""
    return lambda: process("-m", "genzoo", *words, limit="python-limit", code=code)


def sample() -> Case:
    """Draw one sample of a small dcgan."""
    import genzoo as package

    folder = steps.scratch()
    settings = {"size": 8, "limit": 64, "width": 4, "steps": 1, "batch": 8, "device": "cpu", "quiet": True}
    run = package.train("dcgan", "digits", runs=str(folder), **settings)
    words = ["sample", str(run.path), "n=1", f"out={folder}/x.png", "overwrite=true"]
    return process("-m", "genzoo", *words, limit="torch-limit")


CASES: frame.Cases = {
    "help": genzoo("--help"),
    "sample": sample,
    "import": lambda: process("-c", "import genzoo", limit="python-limit"),
    "list": genzoo("list"),
    "typo": genzoo("lsit", code=2),
    "show": lambda: process("-m", "genzoo", "show", "dcgan", limit="torch-limit"),
    "python-limit": lambda: process("-c", "pass"),
    "torch-limit": lambda: process("-c", "import torch"),
}


def kept(times: dict[str, dict[str, list[float]]]) -> bool:
    """Say whether what was measured keeps what is promised."""
    help_, drawn = times.get("help"), times.get("sample")
    quick = not help_ or statistics.median(help_["now"]) < HELP
    near = not drawn or statistics.median(a / b for a, b in zip(drawn["now"], drawn["limit"], strict=True)) <= SAMPLE
    return quick and near


if __name__ == "__main__":
    sys.exit(not kept(frame.main("benchmarks.bench_cli", CASES, __doc__)))
