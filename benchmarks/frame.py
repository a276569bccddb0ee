"""What every benchmark here has in common: CPU time, alternating rounds, medians with quartiles, and the share of the machine's limit.

A benchmark lists its cases, `CASES`, by name; each makes a `Case`, something to run. Beside its time stands its **share of the limit**: the
floating-point operations of the run (torch's counter) over its time, as a share of what a matrix product of 1024 reaches on this machine in
the same minute; or, for what only moves numbers, bytes over time as a share of a plain copy's rate; or the time of another case that cannot be
gone below, such as importing torch, over its own.

With `base=REV` every case runs in two processes, one with the package as it is here and one with that of a worktree of REV. They take turns, so
that what else the machine does weighs on both; and what they computed is compared.

    make bench base=9be53e8 only=sampling
    python -m benchmarks.bench_sampling pixelcnn made --base 9be53e8 --rounds 7
    python -m benchmarks.bench_sampling pixelcnn --profile
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).parents[1]
SIDE = 1024
"""Side of the matrix product that the limit is taken from."""
COUNT = "GENZOO_BENCH_COUNT"
"""Variable of the environment in which cases find what --count says."""
COPIED = 2**24
"""Numbers that are copied for the limit of what only moves them."""


@dataclass(frozen=True)
class Case:
    """Something to run.

    Args:
        work: What is timed; what it returns, a tensor, is compared with what the base returns.
        of: How many of which things one run makes: ("image", 16).
        dtype: Precision of its sums.
        flops: Floating-point operations of a run; counted by torch where not given.
        moved: Bytes read and written, for what hardly computes: then the limit is that of a copy.
        repeat: Runs of `work` in a round, for short ones.
        parts: Equal parts that a run has, of which `work` does one: its time is multiplied. For what would take too long.
        plain: Name of a case that does the same by other means, such as a plain loop: it takes turns with this one, in a process of its own.
        limit: Name of a case that cannot be gone below, where that is no matter of operations or bytes: it takes turns, too.
    """

    work: Callable[[], object]
    of: tuple[str, int] = ("run", 1)
    dtype: torch.dtype = torch.float32
    flops: int | None = None
    moved: int | None = None
    repeat: int = 1
    parts: int = 1
    plain: str | None = None
    limit: str | None = None


Cases = Mapping[str, Callable[[], Case]]


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads of this process and of the processes that it began and that have ended."""
    start = spent()
    work()
    return spent() - start


def spent() -> float:
    """CPU seconds until now."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@functools.cache
def _matrices(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):  # they are kept, for measurements with gradients as well
        a, b = torch.randn(2, SIDE, SIDE, dtype=dtype)
        return a, b, a @ b


def matrix_rate(dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a CPU second of a matrix product, now."""
    a, b, out = _matrices(dtype)
    return 2 * SIDE**3 / min(seconds(lambda: torch.mm(a, b, out=out)) for _ in range(2))


def copy_rate() -> float:
    """Bytes read and written a CPU second of a copy that no cache holds, now."""
    a = torch.ones(COPIED)
    b = a.clone()
    return 8 * COPIED / min(seconds(lambda: b.copy_(a)) for _ in range(2))


class _Counter(TorchDispatchMode):
    """Torch's table of operations' costs, without the hooks of its own counter, which a step with gradients of gradients cannot have."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        cost = flop_registry.get(func._overloadpacket)
        if cost is None:  # in inference mode operations arrive that are made of others
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        found = func(*args, **kwargs)
        self.total += 0 if cost is None else cost(*args, **kwargs, out_val=found)
        return found


def count(work: Callable[[], object]) -> tuple[int, object]:
    """Floating-point operations of a call, and its result."""
    with _Counter() as counter:
        found = work()
    return counter.total, found


def rounds_of(case: Case, flops: int) -> dict[str, float]:
    """One round: seconds of a run, and its share of the limit."""
    limit = matrix_rate(case.dtype) if case.moved is None else copy_rate()
    taken = seconds(lambda: [case.work() for _ in range(case.repeat)]) / case.repeat * case.parts
    return {"seconds": taken, "share": (flops if case.moved is None else case.moved) / taken / limit}


# ---- what the time goes to -------------------------------------------------------------------------------------------


VIEWS = frozenset(
    [
        *(
            "view",
            "slice",
            "select",
            "as_strided",
            "expand",
            "expand_as",
            "unflatten",
            "flatten",
            "reshape",
            "t",
            "transpose",
            "permute",
        ),
        *(
            "unsqueeze",
            "squeeze",
            "unbind",
            "split",
            "detach",
            "resolve_conj",
            "resolve_neg",
            "empty",
            "empty_like",
            "empty_strided",
            "alias",
        ),
    ]
)
"""Operations that compute nothing: they make views, or memory."""


def floor() -> float:
    """CPU seconds of an operation on one number, into memory that is there: what any operation costs at least, now."""
    a, n = torch.ones(()), 20_000
    return seconds(lambda: [torch.add(a, a, out=a) for _ in range(n)]) / n


def profile(case: Case, name: str, rows: int = 12) -> None:
    """Print which operations a run consists of, and what they would cost if they computed nothing."""
    flops = case.flops if case.flops is not None else count(case.work)[0]
    with torch.inference_mode():
        least, limit = floor(), matrix_rate(case.dtype)
    case.work()
    taken = min(seconds(case.work) for _ in range(3))
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as seen:
        case.work()
    found: dict[str, list[float]] = {}  # what Python calls, with what is called within it
    for event in seen.events():
        if event.cpu_parent is None and event.name.startswith("aten::"):
            found.setdefault(event.name.removeprefix("aten::"), []).append(event.cpu_time_total)
    whole = sum(map(sum, found.values()))
    print(
        f"{name}: {taken:.3f} s of CPU; the operations of a run, by the profiler (it makes each slower, small ones most):"
    )
    print("| operation | times | share |\n|---|---|---|")
    for operation, times in sorted(found.items(), key=lambda item: -sum(item[1]))[:rows]:
        print(f"| {operation} | {len(times):,} | {100 * sum(times) / whole:.0f} % |")
    calls = sum(len(times) for operation, times in found.items() if operation not in VIEWS)
    print(
        f"{calls:,} operations that are no views; one on a single number takes {1e6 * least:.2f} µs here, so as many take {calls * least:.3f} s, "
        f"{100 * calls * least / taken:.0f} % of the time;\nthe arithmetic of one pass over all at the matrix limit {flops / limit:.3f} s, "
        f"{100 * flops / limit / taken:.0f} %",
        flush=True,
    )


# ---- two trees side by side ------------------------------------------------------------------------------------------


def worktree(rev: str) -> Path:
    """Return a worktree of a revision, in build/bench, made where there is none."""
    full = subprocess.run(
        ["git", "rev-parse", "--verify", f"{rev}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    place = ROOT / "build" / "bench" / full.stdout.strip()[:12]
    if not place.is_dir():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(place), rev], cwd=ROOT, check=True)
    return place


class Worker:
    """A process that holds one case, with the package of one tree, and runs it when told to."""

    def __init__(self, module: str, name: str, tree: Path, found: Path) -> None:
        paths = [str(tree / "src"), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.found = found
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.frame", module, name, str(tree / "src"), str(found)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._read()
        self.of: str = told["of"]
        self.plain: str | None = told["plain"]
        self.limit: str | None = told["limit"]
        self.missing: str | None = told["missing"]

    def _read(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a case stopped with exit code {self.process.wait()}; its error stands above")
        read: dict = json.loads(line)
        return read

    def round(self) -> dict[str, float]:
        """Let it run once."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work_off(module: str, name: str, source: str, found: str) -> None:
    """Be a worker: make the case, run it once, then once for every line on standard input."""
    import genzoo

    assert Path(genzoo.__file__).is_relative_to(source), f"{genzoo.__file__} is not of {source}"
    told, sys.stdout = sys.stdout, sys.stderr  # nothing that a case prints gets among the answers
    try:
        case = importlib.import_module(module).CASES[name]()
    except ModuleNotFoundError as error:  # a peer that a case compares with
        print(json.dumps({"of": "", "plain": None, "limit": None, "missing": error.name}), file=told, flush=True)
        return
    flops, value = (case.flops, case.work()) if case.flops or case.moved else count(case.work)
    if isinstance(value, Tensor):
        torch.save(value.detach().clone(), found)
    what, many = case.of
    of = f"{many} {what}{'s' * (many != 1)}"
    print(json.dumps({"of": of, "plain": case.plain, "limit": case.limit, "missing": None}), file=told, flush=True)
    for _ in sys.stdin:
        print(json.dumps(rounds_of(case, flops or 0)), file=told, flush=True)


def spread(values: list[float], digits: int = 3) -> str:
    """A median and its quartiles."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def compared(ours: Path, theirs: Path) -> str:
    """Say in words how far what two trees computed is apart."""
    if not ours.exists() or not theirs.exists():
        return "values not compared"
    a, b = (torch.load(path, weights_only=True) for path in (ours, theirs))
    if a.shape != b.shape:
        return f"values DIFFER in shape: {tuple(a.shape)} and {tuple(b.shape)}"
    if torch.equal(a, b):
        return "values equal"
    apart = (a.double() - b.double()).abs()
    return (
        f"{100 * float((apart > 0).double().mean()):.4f} % of the values differ, by at most {float(apart.max()):.2g} "
        f"({float(apart.max() / b.double().abs().max()):.1e} of the largest)"
    )


def measure(module: str, name: str, base: str | None, rounds: int) -> dict[str, list[float]]:
    """Run one case, here and in the base where there is one, in turns; print a line and return the times, in seconds.

    A case with a `plain` or a `limit` takes turns with these as well.
    """
    with tempfile.TemporaryDirectory() as folder:
        trees = {"now": ROOT} if base is None else {"base": worktree(base), "now": ROOT}
        workers = {of: Worker(module, name, tree, Path(folder) / of) for of, tree in trees.items()}
        if lost := workers["now"].missing:
            print(f"{name} | left out: {lost} is not installed", flush=True)
            return {}
        lacking = ""
        for of in ("plain", "limit"):
            if other := getattr(workers["now"], of):
                workers[of] = Worker(module, other, ROOT, Path(folder) / of)
                if lost := workers[of].missing:
                    lacking = f"no {of}: {lost} is not installed"
                    workers.pop(of).close()
        found: dict[str, list[dict[str, float]]] = {of: [] for of in workers}
        for i in range(rounds):
            for of in list(workers)[:: 1 if i % 2 else -1]:
                found[of].append(workers[of].round())
        times = {of: [r["seconds"] for r in each] for of, each in found.items()}
        print(" | ".join(_told(f"{name}, {workers['now'].of}", times, found, lacking, Path(folder))), flush=True)
        for worker in workers.values():
            worker.close()
        return times


def _told(
    name: str, times: dict[str, list[float]], found: dict[str, list[dict[str, float]]], lacking: str, folder: Path
) -> list[str]:
    """Put times, shares of the limit and ratios into words."""

    def ratio(of: str, over: str) -> list[float]:
        return [a / b for a, b in zip(times[of], times[over], strict=True)]

    words = [name]
    for of, taken in times.items():
        own = ratio("limit", of) if "limit" in times else [r["share"] for r in found[of]]
        share = f", {100 * statistics.median(own):.1f} % of the limit" if any(own) and of != "limit" else ""
        words.append(f"{of} {spread(taken)} s{share}")
    if "limit" in times:
        words.append(f"{spread(ratio('now', 'limit'), 2)} times the limit")
    if "plain" in times:
        words.append(
            f"{spread(ratio('plain', 'now'), 2)} times as fast as plain, {compared(folder / 'now', folder / 'plain')}"
        )
    if "base" in times:
        words += [
            f"{spread(ratio('base', 'now'), 2)} times as fast as the base",
            compared(folder / "now", folder / "base"),
        ]
    return words + [lacking] * bool(lacking)


def main(module: str, cases: Cases, text: str | None) -> dict[str, dict[str, list[float]]]:
    """Read the command line of a benchmark and measure its cases; return the times of each.

    Without names all cases are measured that are not there only as `plain` or `limit` of others: their names have "-plain" or "-limit" at the end.
    """
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="; ".join(cases), metavar="CASE")
    parser.add_argument("--base", help="a revision to compare with")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, help="of how many things, where a benchmark says of which")
    parser.add_argument("--profile", action="store_true", help="print the operations of a run, and measure nothing")
    parser.add_argument(
        "--account", action="store_true", help="print what a run's time is made of, against the machine's limits"
    )
    given = parser.parse_args()
    if given.count:
        os.environ[COUNT] = str(given.count)
    if wrong := set(given.names) - set(cases):
        parser.error(f"there is no case {', '.join(sorted(wrong))}; there are {', '.join(cases)}")
    threads = torch.get_num_threads()
    rate = f"{matrix_rate() / 1e9:.0f} GFLOP/s in float32, {matrix_rate(torch.float64) / 1e9:.0f} in float64"
    print(
        f"torch {torch.__version__}, {threads} thread{'s' * (threads > 1)}, CPU time, median (quartiles) of {given.rounds}; "
        f"the limit: {rate}, a copy {copy_rate() / 1e9:.1f} GB/s" + (f"; base {given.base}" if given.base else "")
    )
    names = given.names or [n for n in cases if not n.endswith(("-plain", "-limit"))]
    if given.profile:
        for name in names:
            profile(cases[name](), name)
        return {}
    if given.account:
        from benchmarks.roofline import account  # it needs this module

        for name in names:
            account(cases[name](), name, given.rounds)
        return {}
    return {name: measure(module, name, given.base, given.rounds) for name in names}


if __name__ == "__main__":
    work_off(*sys.argv[1:])
