"""How long a person waits for an answer that needs no model: `genzoo`, `genzoo list`, `import genzoo`, in fresh processes.

Each line: median and worst of 7 after one warm-up, in seconds, and as a ratio to `python -c pass`. The promise is under 0.5 s.
Last, in seconds of CPU: `genzoo --help`, promised under 0.06 s, and one sample of a small dcgan as a ratio to `import torch` alone, promised under
1.25; and how many files of ours that imports. Both take turns with what they are compared to.
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
HELP, SAMPLE = 0.06, 1.25
"""CPU seconds of help, and of one sample as a multiple of importing torch: at most."""
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
    """CPU time of a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sampling() -> bool:
    """Print what help and drawing one sample cost, beside Python alone and importing torch; True where a promise is broken."""
    with tempfile.TemporaryDirectory() as folder:
        run = genzoo.train(
            "dcgan", "digits", size=8, limit=64, width=4, steps=1, batch=8, device="cpu", runs=folder, quiet=True
        )
        words = ["sample", str(run.path), "n=1", f"out={folder}/x.png", "overwrite=true"]
        of = {
            "pass": ["-c", "pass"],
            "help": ["-m", "genzoo", "--help"],
            "torch": ["-c", "import torch"],
            "sample": ["-m", "genzoo", *words],
        }
        taken: dict[str, list[float]] = {name: [] for name in of}
        for _ in range(ROUNDS + 1):
            for name, arguments in of.items():
                taken[name].append(cpu_seconds(arguments))
        count = "import sys; from genzoo.cli.main import main; main(sys.argv[1:]); print(sum(m.partition('.')[0] == 'genzoo' for m in sys.modules))"
        told = subprocess.run([sys.executable, "-c", count, *words], capture_output=True, text=True, check=True).stdout
    median = {name: statistics.median(times[1:]) for name, times in taken.items()}
    ratio = statistics.median(s / t for s, t in zip(taken["sample"][1:], taken["torch"][1:], strict=True))
    print(f"genzoo --help: {median['help']:.3f} CPU-s; python -c pass {median['pass']:.3f}")
    print(
        f"genzoo sample n=1: {median['sample']:.2f} CPU-s, {ratio:.2f}x import torch; {told.split()[-1]} modules of ours"
    )
    return median["help"] >= HELP or ratio >= SAMPLE


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
    return 1 if sampling() or broken else 0


if __name__ == "__main__":
    sys.exit(main())
