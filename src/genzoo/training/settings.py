"""The keys that every training takes beside the system's own and the data's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Steps = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class TrainSettings:
    """How long, how and where to train. None means: what suits the system, the device or the budget.

    Args:
        from_: A run, an export, a file of weights, hf:OWNER/NAME or zoo:NAME of the same system to begin with, where names and shapes agree.
        freeze: With from, this many layers of the discriminator, from the data on, stay as they are (FreezeD).
        steps: Optimizer steps in the whole run; schedules are functions of step / steps.
        minutes: Stop, saved, after this much time, even if steps are left; 'genzoo resume' goes on for as long again.
        batch: Examples in a step, over all ranks together.
        accumulate: Parts that a batch is shown in, one after another: memory of one part, and one update of all.
        seed: Seed of initial weights, data order and noise.
        name: Name of the run folder; the system's name, numbered if taken, when not given.
        device: auto, cpu, cuda, cuda:1, mps ...
        precision: Arithmetic of the networks; weights stay float32. auto is bf16 where that is faster (CUDA, CPUs with AMX), else fp32.
        ema: Decay per step of the averaged weights that are sampled and kept; 0 turns averaging off.
        ema_images: Half-life of the averaged weights in images, in place of ema, which is then 0.5^(batch / ema_images).
        shard: Under torchrun, each process keeps 1/N of weights, gradients, moments and averages; weights are gathered where they are used.
        remat: Compute the maps of blocks again in the backward pass instead of keeping them: less memory, up to a third more time.
        compile: Compile the networks with torch.compile: slower to start, faster after.
        threads: Threads that compute on a CPU: a number, or auto: what is fastest under the load at the start; PyTorch's own when not given.
        workers: Threads that prepare batches ahead.
        sample_every: Steps between sample pictures; a tenth of the run when not given.
        save_every: Steps between checkpoints; once a minute when not given.
        log_every: Steps between log lines; a two-hundredth of the run when not given.
        measure: Measures to take while training, separated by commas: frechet, kid, prdc, nll ... ('genzoo help evaluate' lists them);
            the first decides which weights are kept as best.
        measure_every: Steps between measurements; a tenth of the run when not given.
        measure_n: Samples to draw and examples to score for one measurement.
        measure_with: Feature network of the measures: a name or a file of weights; the one that suits the data when not given.
        clip: Greatest gradient norm of each optimizer's parameters; larger gradients are scaled down to it.
        warmup: Share of the run in which the learning rate rises from 0.
        decay: How the learning rate falls after warm-up, on top of the system's own schedule.
        deterministic: On CUDA, choose kernels that give the same bits every time; false is faster.
        loggers: Who gets the numbers and sample pictures too, separated by commas: tensorboard, wandb, mlflow, trackio, or one's own.
        tensorboard: The same as loggers=tensorboard.
        patience: Minutes that one of several processes waits for another that does not answer, before all of them end.
        runs: Folder of run folders.
    """

    from_: str | None = None
    freeze: Steps | None = None
    steps: Steps | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch: Steps | None = None
    accumulate: Annotated[int, Field(ge=1, le=65536)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    name: str | None = None
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    ema_images: Annotated[int, Field(ge=1)] | None = None
    shard: bool = False
    remat: bool = False
    compile: bool = False
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] | None = None
    workers: Annotated[int, Field(ge=0, le=64)] = 1
    sample_every: Steps | None = None
    save_every: Steps | None = None
    log_every: Steps | None = None
    measure: str | None = None
    measure_every: Steps | None = None
    measure_n: Annotated[int, Field(ge=10, le=50_000)] = 1000
    measure_with: str | None = None
    clip: Annotated[float, Field(gt=0)] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] | None = None
    decay: Literal["none", "linear", "cosine"] | None = None
    deterministic: bool = True
    loggers: tuple[str, ...] = ()
    tensorboard: bool = False
    patience: Annotated[float, Field(gt=0)] = 30.0
    runs: str = "runs"

    @property
    def every_logger(self) -> tuple[str, ...]:
        """Return all loggers that are asked for."""
        return (*self.loggers, *(["tensorboard"] if self.tensorboard else []))


FALLBACKS = {"steps": 10_000, "batch": 64, "ema": 0.0, "warmup": 0.0, "decay": "none"}
"""What a key is when neither the person nor the system's `defaults` says."""
