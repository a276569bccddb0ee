"""What a training step costs, as a share of the machine's limit, for systems that do more than convolve.

    OMP_NUM_THREADS=1 python -m benchmarks.bench_steps [CASE ...] [--base REV] [--rounds 7]

The trainer's step on random images, with its batches, guards and logs, in float32. Sizes are small: what is large is nearer to the limit. A case of
stylegan2 is a cycle of sixteen steps, in which R1 is taken once and the path length twice. `colorizer-l2` is what colorizer is measured against.
What is compared are the numbers that the step logs.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor

from benchmarks import frame, steps
from benchmarks.frame import Case

SYSTEMS: dict[str, tuple[dict[str, Any], int, int]] = {
    "stylegan2": ({"shape": (3, 32, 32), "width": 32, "most": 128, "latent": 128}, 16, 16),
    "progan": ({"shape": (3, 32, 32), "width": 32, "most": 128, "latent": 128, "grow": 0.0}, 16, 1),
    "projected-gan": ({"shape": (3, 32, 32), "width": 16}, 8, 1),
    "colorizer": ({"shape": (3, 64, 64), "width": 32, "halvings": 2, "convolutions": 1}, 8, 1),
    "colorizer-l2": ({"shape": (3, 64, 64), "width": 32, "halvings": 2, "convolutions": 1}, 8, 1),
    "pixelcnnpp": ({"shape": (3, 32, 32), "width": 32}, 8, 1),
    "glow": ({"shape": (3, 32, 32), "width": 64}, 8, 1),
}
"""Of each case the settings, the batch and the steps of one run."""


def training(name: str) -> Case:
    """Some steps of the trainer."""
    settings, batch, many = SYSTEMS[name]
    step = steps.step_of(steps.made(name, **settings), settings["shape"], batch)

    def work() -> Tensor:
        for _ in range(many - 1):
            step()
        return step()

    return Case(work, ("step", many))


CASES: frame.Cases = {name: functools.partial(training, name) for name in SYSTEMS}


if __name__ == "__main__":
    frame.main("benchmarks.bench_steps", CASES, __doc__)
