"""What averaging gradients over two processes adds to a step: nothing, torch's reducer, and one message after the backward pass.

A dcgan of 20 million parameters (two players) on 64x64 images, float32, two processes of one thread over gloo on this machine. In each round every
way is taken once, in turn, after a barrier, so that what else the machine does weighs on all; a figure is the median of the rounds, the wall time of
the slower process. "one message" is what genzoo did until this reducer: gradients are joined, summed, divided and parted when all are there.

    torchrun --standalone --nproc-per-node 2 -m benchmarks.bench_ranks
    torchrun --standalone --nproc-per-node 2 -m benchmarks.bench_ranks --width 128 --batch 32 --rounds 9
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

import genzoo
from genzoo.ranks.batch import one_batch
from genzoo.ranks.launch import largest, leave
from genzoo.training.runtime import laid_out, start
from genzoo.training.update import Updater

WAYS = ("none", "reducer", "one message")


class OneMessage:
    """The mean of gradients as one message after the backward pass."""

    def __init__(self, parameters: list[Any]) -> None:
        self.parameters = parameters

    def backward(self, loss: Tensor, flag: Tensor) -> None:
        """Send `loss` back, then join, sum and part the gradients."""
        torch.autograd.backward(loss, inputs=self.parameters)
        tensors = [*(p.grad for p in self.parameters if p.grad is not None), flag]
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for t, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))


def main() -> None:
    """Time the three ways in turn and print their medians and what each adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("width", 118), ("batch", 16), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=int, default=value)
    told = parser.parse_args()
    torch.set_num_threads(1)
    runtime = start("cpu", "fp32")
    torch.manual_seed(0)
    system = laid_out(genzoo.create("dcgan", shape=(3, 64, 64), width=told.width))
    update = Updater(system, runtime)
    ways = {
        "none": {},
        "reducer": update.reductions,
        "one message": {name: OneMessage(owned) for name, owned in update.owned.items()},
    }
    share = told.batch // runtime.world
    images = torch.rand(share, 3, 64, 64).mul(2).sub(1).contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(told.rounds + 1):
        for way in WAYS:
            update.reductions = ways[way]  # type: ignore[assignment]
            dist.barrier()
            begun = time.perf_counter()
            update.begin(turn, told.rounds + 1)
            with one_batch(share):
                system.train().training_step({"image": images}, update)
            update.end()
            slower = largest(int(1e6 * (time.perf_counter() - begun))) / 1e6
            if turn:  # the first one warms up
                seconds[way].append(slower)
    if runtime.main:
        count = sum(p.numel() for p in system.parameters())
        print(
            f"dcgan, {count:,} parameters, batch {told.batch} of 64x64 on {runtime.world} processes, {told.rounds} rounds"
        )
        for way, taken in seconds.items():
            ratios = sorted(t / n for t, n in zip(taken, seconds["none"], strict=True))
            spread = f"{ratios[len(ratios) // 4]:.2f} to {ratios[3 * len(ratios) // 4]:.2f}"
            print(
                f"{way:12} {statistics.median(taken):7.3f} s a step, {statistics.median(ratios):.2f} times none ({spread})"
            )
    leave()


if __name__ == "__main__":
    main()
