"""What each of N processes holds of a training with shard=true and without.

Processes of one thread over gloo on this machine, a step as the trainer does it, in float32, averages on. Counted on each rank, the largest one is
printed: bytes of the tensors that hold parameters, gradients (of all players, each when its optimizer steps), moments and averages; and the
resident memory of the process above what it had before the system was made, between two steps, when the allocator has given back what it can, and
at the peak of the step after that (VmHWM). CPU seconds of a step are those of all ranks together, the median of the rounds.

    python -m benchmarks.bench_shard [dcgan] [token-prior] [stylegan2] [--ranks 1 2 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.bench_memory import highest

BATCH = 16
KINDS = ("parameters", "gradients", "moments", "averages")


def made(name: str) -> tuple[Any, dict[str, Tensor]]:
    """Return a system of about 20 million parameters that learn, and a batch of 16."""
    import genzoo

    drawn = torch.Generator().manual_seed(0)
    if name == "token-prior":
        tokenizer = genzoo.create("vqvae", shape=(3, 64, 64), halvings=2)
        system = genzoo.create(name, shape=(3, 64, 64), tokenizer=tokenizer, width=512, depth=6)
        return system, {"codes": torch.randint(0, int(system.codes), (BATCH, 256), generator=drawn)}
    images = torch.rand(BATCH, 3, 64, 64, generator=drawn).mul(2).sub(1)
    more = {"width": 118} if name == "dcgan" else {}
    return genzoo.create(name, shape=(3, 64, 64), **more), {
        "image": images.contiguous(memory_format=torch.channels_last)
    }


def resident() -> float:
    """Read this process's resident memory in MiB."""
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 2**10


def bytes_of(tensors: Any) -> int:
    """Count the bytes of what tensors lie in, each piece of memory once."""
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors if t is not None}
    return sum(found.values())


def work(name: str, on: bool, rounds: int) -> dict[str, float]:
    """Be one rank: train, count and return what was counted."""
    import genzoo
    from genzoo.ranks.batch import one_batch
    from genzoo.ranks.shards import sparing
    from genzoo.training.runtime import Runtime, laid_out
    from genzoo.training.update import Average, Updater

    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    genzoo.list_systems()
    before = resident()
    torch.manual_seed(0)
    system, batch = made(name)
    batch = {k: v.chunk(world)[rank] for k, v in batch.items()}
    system = laid_out(system).train()
    update = Updater(system, Runtime(torch.device("cpu"), "fp32", rank, world, on))
    average, gradients = Average(system, 0.999), dict[str, int]()
    for player, optimizer in update.optimizers.items():
        grads = [p for g in optimizer.param_groups for p in g["params"]]

        def count(*_: Any, of: str = player, params: list[Any] = grads) -> None:
            gradients[of] = max(gradients.get(of, 0), bytes_of([p.grad for p in params]))

        optimizer.register_step_pre_hook(count)

    def step(i: int) -> None:
        update.begin(i, 1000)
        with sparing(on), one_batch(BATCH // world):
            system.training_step(batch, update)
        update.end()
        average.update(i)

    step(0)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # pages that the allocator keeps are not the training's
    learning = [p for p in system.parameters() if p.requires_grad]
    names = {k for k, p in system.named_parameters() if p.requires_grad}
    moments = [v for o in update.optimizers.values() for s in o.state.values() for v in s.values()]
    averaged = [p for k, p in average.system.named_parameters() if k in names]
    counts = (bytes_of(learning), sum(gradients.values()), bytes_of(moments), bytes_of(averaged))
    found: dict[str, float] = dict(zip(KINDS, (c / 2**20 for c in counts), strict=True))
    found["between"] = resident() - before
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")
    seconds = []
    for i in range(rounds):
        begun = time.process_time()
        step(1 + i)
        seconds.append(time.process_time() - begun)
        found.setdefault("peak", highest() - before)
    found["seconds"] = statistics.median(seconds)
    return found


def measure(name: str, world: int, on: bool, rounds: int) -> dict[str, float]:
    """Start the ranks and return the largest count of each kind over them, and the sum of their seconds."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={world}", "-m"] if world > 1 else []
    command = [sys.executable, "-m", *launcher, "benchmarks.bench_shard", "--work", name, str(int(on)), str(rounds)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    every = json.loads(done.stdout.splitlines()[-1])
    assert len(every) == world
    return {k: sum(e[k] for e in every) if k == "seconds" else max(e[k] for e in every) for k in every[0]}


def main() -> None:
    """Measure every case with every number of ranks and print a table for docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help="dcgan, token-prior, stylegan2")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    told = parser.parse_args()
    print(f"| system | ranks | `shard` | {' | '.join(KINDS)} | resident, between | resident, peak | CPU s a step |")
    print("|---" * 10 + "|")
    for name in told.names or ("dcgan", "token-prior"):
        one: dict[str, float] = {}
        for world in told.ranks:
            for on in (False, True) if world > 1 else (False,):
                found = measure(name, world, on, told.rounds)
                one = one or found
                shares = [f"{found[k]:.1f} ({found[k] / one[k]:.3f})" for k in KINDS]
                rest = [f"{found[k]:.0f}" for k in ("between", "peak")]
                cells = [f"`{name}`", str(world), str(on).lower(), *shares, *rest, f"{found['seconds']:.1f}"]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if "--work" in sys.argv:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        case, pieces, times = sys.argv[sys.argv.index("--work") + 1 :]
        if "RANK" in os.environ:
            dist.init_process_group("gloo")
        mine = work(case, pieces == "1", int(times))
        every: list[Any] = [mine]
        if dist.is_initialized():
            every *= dist.get_world_size()
            dist.all_gather_object(every, mine)
        if int(os.environ.get("RANK", "0")) == 0:
            print(json.dumps(every), flush=True)
        if dist.is_initialized():
            dist.barrier()
        os._exit(0)
    main()
