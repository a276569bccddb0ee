"""How long a person waits for an answer that needs no model: `genzoo`, `genzoo list`, `import genzoo`, in fresh processes.

Each line: median and worst of 7 after one warm-up, in seconds, and as a ratio to `python -c pass`. The promise is under 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PROMISE, ROUNDS = 0.5, 7
CASES = {
    "python -c pass": ["-c", "pass"],
    "import genzoo": ["-c", "import genzoo"],
    "genzoo": ["-m", "genzoo"],
    "genzoo --help": ["-m", "genzoo", "--help"],
    "genzoo list": ["-m", "genzoo", "list"],
    "genzoo lsit (a typo)": ["-m", "genzoo", "lsit"],
    "genzoo show dcgan (imports torch)": ["-m", "genzoo", "show", "dcgan"],
}


def seconds(arguments: list[str]) -> list[float]:
    """Wall times of fresh processes."""
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=False)
        taken.append(time.perf_counter() - start)
    return taken[1:]


def main() -> int:
    """Print the table; 1 where the promise is broken."""
    broken = 0
    floor = None
    for name, arguments in CASES.items():
        taken = seconds(arguments)
        median = statistics.median(taken)
        floor = floor or median
        bound = "torch" not in name
        broken += bound and median >= PROMISE
        print(
            f"{name:36s} {median:6.3f} s (worst {max(taken):.3f})  {median / floor:5.1f}x"
            + ("" if bound else "   no promise")
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
