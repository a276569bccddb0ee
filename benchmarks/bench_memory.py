"""What a training holds at its peak, and what a step of it costs.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_memory [stylegan2] [pixelcnnpp] [token-prior] [glow] [dcgan] [--base REV] [--rounds 5]
    ... [--remat] [--parts 4]  # with and without remat=true or accumulate=4, of this tree
    ... [--rounds 0]  # memory alone

A step as the trainer does it, with the default batch, in float32, averages on, in a process of its own with the package of each tree. **Peak** is
that of all tensors that are allocated at once, by torch's memory profiler: what lies there between two steps (weights, moments, averages, buffers)
and the most that a step adds. Of several kinds of step (lazy penalties of StyleGAN2) it is the largest, and each is printed. The peak of the process
(VmHWM, from before the first step) stands beside it, less what it had before the system was made: the allocator keeps pages, so it is larger. Times
are CPU seconds of a mean step over one whole cycle of kinds, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks import frame

GOAL = {"": 0.7, "remat": 0.6}
"""Of the base's peak, at most: of an earlier tree's, and of that without remat."""


def images(n: int, side: int) -> Tensor:
    """Draw images in [-1, 1]."""
    levels = torch.randint(0, 256, (n, 3, side, side), generator=torch.Generator().manual_seed(0))
    return levels / 127.5 - 1


def stylegan2() -> tuple[Any, dict[str, Tensor], int]:
    """Return system, batch and how many steps have all kinds: 64x64, default batch."""
    import genzoo

    return genzoo.create("stylegan2", shape=(3, 64, 64)), {"image": images(16, 64)}, 16


def stylegan2_plain() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same without penalties, whose steps are all alike."""
    import genzoo

    return genzoo.create("stylegan2", shape=(3, 64, 64), r1=0.0, path=0.0), {"image": images(16, 64)}, 1


def stylegan2_128() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same at 128x128, where maps are larger than weights."""
    import genzoo

    return genzoo.create("stylegan2", shape=(3, 128, 128)), {"image": images(16, 128)}, 16


def pixelcnnpp() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same of pixelcnnpp at 32x32."""
    import genzoo

    return genzoo.create("pixelcnnpp", shape=(3, 32, 32)), {"image": images(16, 32)}, 1


def token_prior() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same of token-prior over 256 codes of an image."""
    import genzoo

    tokenizer = genzoo.create("vqvae", shape=(3, 64, 64), halvings=2)
    system = genzoo.create("token-prior", shape=(3, 64, 64), tokenizer=tokenizer)
    codes = torch.randint(0, system.codes, (64, 256), generator=torch.Generator().manual_seed(0))
    return system, {"codes": codes}, 1


def glow() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same of glow at 32x32."""
    import genzoo

    return genzoo.create("glow", shape=(3, 32, 32)), {"image": images(64, 32)}, 1


def dcgan() -> tuple[Any, dict[str, Tensor], int]:
    """Return the same of dcgan at 64x64."""
    import genzoo

    return genzoo.create("dcgan", shape=(3, 64, 64)), {"image": images(64, 64)}, 1


CASES: dict[str, Callable[[], tuple[Any, dict[str, Tensor], int]]] = {
    "stylegan2": stylegan2, "pixelcnnpp": pixelcnnpp, "token-prior": token_prior, "glow": glow, "dcgan": dcgan,
    "stylegan2-plain": stylegan2_plain, "stylegan2-128": stylegan2_128,
}  # fmt: skip


def highest() -> float:
    """Read this process's peak in MiB."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 2**10


def lying() -> int:
    """Count the bytes of all tensors that are there, each piece of memory once."""
    gc.collect()
    found = {}
    for x in gc.get_objects():
        if isinstance(x, Tensor):
            try:
                for t in (x, x.grad) if x.is_leaf else (x,):
                    if t is not None:
                        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            except (RuntimeError, NotImplementedError):
                continue
    return sum(found.values())


def added(step: Callable[[], object]) -> int:
    """Count the most bytes that a call holds beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        step()
    events = [e for e in prof.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    total = most = 0
    for e in sorted(events, key=lambda e: e.start_ns()):
        total += e.nbytes()
        most = max(most, total)
    return most


def work_off(name: str, source: str, found: str, how: str) -> None:
    """Be a worker: measure memory, then a cycle of steps for every line on standard input. `how`: "", remat or parts=K."""
    import genzoo
    from genzoo.training.runtime import laid_out, start
    from genzoo.training.update import Average, Updater

    assert Path(genzoo.__file__).is_relative_to(source), f"{genzoo.__file__} is not of {source}"
    told, sys.stdout = sys.stdout, sys.stderr
    torch.manual_seed(0)
    before = highest()
    system, batch, cycle = CASES[name]()
    system = laid_out(system).train()
    update = Updater(system, start("cpu", "fp32"), clip=system.defaults.get("clip"))
    if how == "remat":
        from genzoo.training.prepare import compute_again

        compute_again(system, name)
    average = Average(system, 0.999)
    batch = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in batch.items()}
    logs: dict[str, Tensor] = {}

    def step(i: int) -> None:
        nonlocal logs
        update.begin(i, 1000)
        if how.startswith("parts="):
            from genzoo.ranks.parts import train_step

            logs = train_step(system, batch, update, int(how[6:]), contextlib.nullcontext)
        else:
            logs = system.training_step(batch, update)
        update.end()
        average.update(i)

    steps = sorted({i for i in range(cycle) if cycle == 1 or i in (0, 1, 8)})
    for i in steps:
        step(i)
    peak, lies = highest() - before, lying()
    kinds = [added(lambda: step(i)) / 2**20 for i in steps]  # noqa: B023
    torch.save([p.detach().clone() for p in system.parameters()], found)
    print(
        json.dumps({"lies": lies / 2**20, "added": max(kinds), "kinds": kinds, "process": peak}), file=told, flush=True
    )
    for _ in sys.stdin:
        begun = time.process_time()
        for i in range(cycle):
            step(i)
        print(json.dumps({"seconds": (time.process_time() - begun) / cycle}), file=told, flush=True)


class Worker(frame.Worker):
    """A process that trains, with the package of one tree."""

    def __init__(self, name: str, tree: Path, found: Path, how: str) -> None:
        self.found = found
        env = {**frame.os.environ, "PYTHONPATH": f"{tree / 'src'}:{frame.ROOT}", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bench_memory", "--work", name, str(tree / "src"), str(found), how],
            cwd=frame.ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.held = self._read()


def measure(name: str, base: str | None, rounds: int, how: str = "") -> None:
    """Print what a training of one case holds and costs, here and in the base: an earlier tree, or this one without what `how` says."""
    trees = {} if base is None and not how else {"base": frame.worktree(base) if base else frame.ROOT}
    trees["now"] = frame.ROOT
    with tempfile.TemporaryDirectory() as folder:
        workers = {of: Worker(name, tree, Path(folder) / of, how if of == "now" else "") for of, tree in trees.items()}
        times: dict[str, list[float]] = {of: [] for of in workers}
        for i in range(rounds):
            for of in list(workers)[:: 1 if i % 2 else -1]:
                times[of].append(workers[of].round()["seconds"])
        words, held = [f"{name} {how}".strip()], {of: w.held for of, w in workers.items()}
        for of, h in held.items():
            kinds = ", ".join(f"{k:.1f}" for k in h["kinds"])
            words.append(
                f"{of} {h['lies'] + h['added']:.1f} MiB ({h['lies']:.1f} between steps, {h['added']:.1f} in one: {kinds}; "
                f"process {h['process']:.0f})"
                + (f", {statistics.median(times[of]):.3f} s a step, least {min(times[of]):.3f}" if rounds else "")
            )
        if "base" in held:
            a, b = held["now"], held["base"]
            share = (a["lies"] + a["added"]) / (b["lies"] + b["added"])
            ratio = [y / x for x, y in zip(times["now"], times["base"], strict=True)]
            one, other = (torch.load(Path(folder) / of, weights_only=True) for of in ("now", "base"))
            apart = max(float((x - y).abs().max()) for x, y in zip(one, other, strict=True))
            each = [f"{(a['lies'] + x) / (b['lies'] + y):.2f}" for x, y in zip(a["kinds"], b["kinds"], strict=True)]
            goal = GOAL.get(how)
            met = "met" if goal and share <= goal else "NOT MET"
            words.append(
                f"peak {share:.2f} of the base's (by kind of step {', '.join(each)})"
                f"{'' if goal is None else f' ({met}: at most {goal})'}, "
                f"of the process {a['process'] / b['process']:.2f}, "
                + (f"{frame.spread(ratio, 2)} times as fast, " if rounds else "")
                + f"weights apart by at most {apart:.1e}"
            )
        print(" | ".join(words), flush=True)
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    if "--work" in sys.argv:
        work_off(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("names", nargs="*", metavar="CASE", help="; ".join(CASES))
        parser.add_argument("--base", help="a revision to compare with")
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--remat", action="store_true", help="compare with and without remat=true")
        parser.add_argument("--parts", type=int, help="compare with and without accumulate=PARTS")
        given = parser.parse_args()
        way = "remat" if given.remat else f"parts={given.parts}" if given.parts else ""
        for case in given.names or CASES:
            measure(case, given.base, given.rounds, way)
