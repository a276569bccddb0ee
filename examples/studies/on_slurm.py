"""Start the workers of a study as a Slurm job array, or as processes of this machine where there is no Slurm.

    pip install 'genzoo[cluster]'
    python examples/studies/on_slurm.py examples/studies/first.toml --workers 8 --partition gpu --gpus 1 --hours 12
    python examples/studies/on_slurm.py first.toml --storage postgresql://genzoo@db.cluster/studies --out /scratch/first

Every worker runs the same `genzoo.study(...)`, takes trials until none is free, and ends. One that reaches its time limit or is
preempted is put back into Slurm's queue and goes on; one that is killed costs nothing that is finished. Start the script again for
more workers, at any time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import submitit

import genzoo


class Worker(submitit.helpers.Checkpointable):  # type: ignore[misc]
    """One worker: called with what `genzoo.study` takes. Checkpointable: Slurm's time limit puts it back into the queue as it is."""

    def __call__(self, file: str, out: str | None, storage: str, beat: int) -> str:
        """Work, and say in a line how far the study is."""
        found = genzoo.study(file, out=out, storage=storage, beat=beat, quiet=True)
        states = [row["state"] for row in found.rows]
        return f"{states.count('complete')} of {len(states)} trials finished, {states.count('failed')} failed: {found.path / 'index.html'}"


def main() -> None:
    """Submit the workers, and wait for them where they run here."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("file", help="the study's TOML file, or its folder")
    asked.add_argument("--workers", type=int, default=4, help="jobs of the array")
    asked.add_argument("--out", help="folder of the study, which all workers see; studies/NAME when not given")
    asked.add_argument("--storage", default="", help="URL of a database, where the workers share no folder")
    asked.add_argument("--beat", type=int, default=60, help="seconds between two signs of life in that database")
    asked.add_argument("--hours", type=float, default=12, help="time limit of a job")
    asked.add_argument("--gpus", type=int, default=0, help="GPUs of a job")
    asked.add_argument("--cpus", type=int, default=4, help="cores of a job")
    asked.add_argument("--partition", help="partition of Slurm")
    asked.add_argument("--cluster", choices=["slurm", "local"], help="Slurm where it is there, else local")
    given = asked.parse_args()
    executor = submitit.AutoExecutor(folder=str(Path(given.out or "studies") / "jobs" / "%j"), cluster=given.cluster)
    executor.update_parameters(
        name="genzoo-study", timeout_min=round(given.hours * 60), gpus_per_node=given.gpus, cpus_per_task=given.cpus,
        slurm_array_parallelism=given.workers,
    )  # fmt: skip
    if given.partition:
        executor.update_parameters(slurm_partition=given.partition)
    one = (given.file, given.out, given.storage, given.beat)
    jobs = executor.map_array(Worker(), *zip(*[one] * given.workers, strict=True))
    print(f"{executor.cluster}: {', '.join(job.job_id for job in jobs)}; logs in {jobs[0].paths.folder.parent}")
    if executor.cluster == "local":
        for job in jobs:
            print(job.result())


if __name__ == "__main__":
    main()
