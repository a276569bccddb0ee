"""How long a person waits for an answer that needs no model: `genzoo`, `genzoo list`, `import genzoo`, in fresh processes.

Each line: median and worst of 7 after one warm-up, in seconds, and as a ratio to `python -c pass`. The promise is under 0.5 s.
Last, what `genzoo sample` of a small dcgan costs in seconds of CPU, as a ratio to `import torch` alone, and how many files of ours it imports.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time

import genzoo

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


def cpu_seconds(arguments: list[str]) -> float:
    """Median CPU time of fresh processes."""
    taken = []
    for _ in range(ROUNDS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken[1:])


def sampling() -> None:
    """Print what drawing four samples costs, beside importing torch."""
    with tempfile.TemporaryDirectory() as folder:
        run = genzoo.train(
            "dcgan", "digits", size=8, limit=64, width=4, steps=1, batch=8, device="cpu", runs=folder, quiet=True
        )
        words = ["sample", str(run.path), "n=4", f"out={folder}/x.png", "overwrite=true"]
        torch, sample = cpu_seconds(["-c", "import torch"]), cpu_seconds(["-m", "genzoo", *words])
        count = "import sys; from genzoo.cli.main import main; main(sys.argv[1:]); print(sum(m.partition('.')[0] == 'genzoo' for m in sys.modules))"
        told = subprocess.run([sys.executable, "-c", count, *words], capture_output=True, text=True, check=True).stdout
    print(f"genzoo sample: {sample:.2f} CPU-s, {sample / torch:.2f}x import torch; {told.split()[-1]} modules of ours")


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
    sampling()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
