"""One worker of a study: it claims a trial, trains or resumes it, measures it, and tells the journal.

The claim is a file lock that falls with the process, so a trial whose worker died is free at once; the journal (Optuna's, one file that
every worker appends to) keeps which trials are finished and with what value. Every trial is an ordinary run folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import genzoo
from genzoo.core.errors import DiskFull, TrainingStopped, UserError
from genzoo.studies.plan import NETWORKS, WORDS, Plan, Trial, import_optuna
from genzoo.training.folder import open_run
from genzoo.training.meters import clock, read_log
from genzoo.use.outputs import save_json

FINISHED = ("complete", "failed")


def work(path: Path, plan: Plan, *, limit: int | None = None, quiet: bool = False) -> None:
    """Finish trials until none is free, or `limit` of them are done by this worker.

    A trial that another worker held when its turn came is looked at again in the end: that worker may have died since.
    """
    journal, trials = Journal(path, plan), plan.trials()
    mine, passed, begun = 0, -1, time.monotonic()
    while mine > passed and (limit is None or mine < limit):
        passed = mine
        mine = _pass(path, plan, journal, trials, mine, limit, begun, quiet=quiet)


def _pass(
    path: Path,
    plan: Plan,
    journal: Journal,
    trials: list[Trial],
    mine: int,
    limit: int | None,
    begun: float,
    *,
    quiet: bool,
) -> int:
    """Go through the trials once and finish those that are free; returns how many this worker has finished by now."""
    for trial in trials:
        if limit is not None and mine >= limit:
            break
        with claimed(path, trial) as free:
            if not free or journal.states()[trial.number] in FINISHED:
                continue
            if not quiet:
                done = sum(s in FINISHED for s in journal.states())
                left = (
                    f", {clock((len(trials) - done) * (time.monotonic() - begun) / mine)} left at this pace"
                    if mine
                    else ""
                )
                print(
                    f"study {plan.name}: {done} of {len(trials)} done{left}; next {trial.name}",
                    file=sys.stderr,
                    flush=True,
                )
            journal.tell(trial, "running")
            value, why = _run(path, plan, trial, quiet=quiet)
            journal.tell(trial, "failed" if value is None else "complete", value, why)
            if why and not quiet:
                print(f"{trial.name} failed: {why}", file=sys.stderr, flush=True)
            mine += 1
    return mine


def _run(path: Path, plan: Plan, trial: Trial, *, quiet: bool) -> tuple[float | None, str]:
    """Train and measure one trial: its value, or None and why there is none."""
    folder = path / "runs" / trial.name
    trained = folder / "trained"
    try:
        if trained.exists():
            run = open_run(folder)
        elif (folder / "config.toml").exists():
            run = genzoo.resume(folder, quiet=quiet)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # a worker was killed between making the folder and filling it
            run = genzoo.train(
                trial.system, trial.data, seed=trial.seed, name=trial.name, runs=str(path / "runs"), quiet=quiet, **trial.settings
            )  # fmt: skip
        trained.touch()
        found = _measure(plan, run)
    except DiskFull:
        raise
    except TrainingStopped as stopped:
        if stopped.code != 1:
            raise  # a signal: the run is saved, and whoever comes next goes on with it
        return None, str(stopped)
    except UserError as error:
        return None, str(error)
    save_json(folder / "trial.json", {"measures": found["measures"], "not_measured": found["not_measured"]})
    record = found["measures"].get(plan.measure)
    if record is None:
        there = ", ".join(found["measures"]) or "none"
        return (
            None,
            f"{plan.measure} was not measured ({found['not_measured'].get(plan.measure, 'it does not apply')}); there are: {there}",
        )
    return float(record["value"]), ""


def _measure(plan: Plan, run: Any) -> dict[str, Any]:
    """Records of the study's measures, and of whatever is found with them; those beside the first may not apply."""
    found: dict[str, Any] = {"measures": {}, "not_measured": {}}
    for name in (plan.measure, *plan.also):
        if name in found["measures"]:
            continue
        try:
            more = genzoo.evaluate(run, n=plan.samples, measures=WORDS.get(name), extractor=NETWORKS.get(name), seed=0)
        except UserError as error:
            if name == plan.measure:
                raise
            found["not_measured"][name] = str(error)
            continue
        found["measures"] |= more["measures"]
        found["not_measured"] |= more["not_measured"]
    return found


@contextlib.contextmanager
def claimed(path: Path, trial: Trial) -> Iterator[bool]:
    """Hold a trial for this process while it is worked on; False where another worker holds it."""
    folder = path / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{trial.number:04d}", "a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


class Journal:
    """The study in Optuna's journal file, with one entry for each trial of the plan; made by whoever comes first.

    Args:
        path: The study's folder.
        plan: What it compares.
    """

    NAMES: ClassVar[dict[str, str]] = {
        "WAITING": "waiting",
        "RUNNING": "running",
        "COMPLETE": "complete",
        "FAIL": "failed",
    }

    def __init__(self, path: Path, plan: Plan) -> None:
        optuna = import_optuna()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path.mkdir(parents=True, exist_ok=True)
        with open(path / ".making", "a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.storage = JournalStorage(JournalFileBackend(str(path / "journal.log")))
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=plan.name,
                direction="minimize" if plan.direction == "lower" else "maximize",
                load_if_exists=True,
            )
            self.state = optuna.trial.TrialState
            for trial in plan.trials()[len(self.entries()) :]:
                ranges = plan.ranges(trial.system)
                self.study.add_trial(
                    optuna.trial.create_trial(
                        state=self.state.WAITING,
                        params={k: trial.settings[k] for k in ranges},
                        distributions=ranges,
                        user_attrs={k: getattr(trial, k) for k in ("system", "data", "draw", "seed")},
                    )
                )

    def entries(self) -> list[Any]:
        """Optuna's trials, in the plan's order."""
        return self.study.get_trials(deepcopy=False)

    def states(self) -> list[str]:
        """waiting, running, complete or failed, for each trial."""
        return [self.NAMES[t.state.name] for t in self.entries()]

    def tell(self, trial: Trial, state: str, value: float | None = None, why: str = "") -> None:
        """Keep a new state of a trial, and its value or why there is none."""
        number = self.storage.get_trial_id_from_study_id_trial_number(
            self.storage.get_study_id_from_name(self.study.study_name), trial.number
        )
        if why:
            self.storage.set_trial_user_attr(number, "why", why)
        if self.states()[trial.number] == state:
            return  # taken up from a worker that died
        wanted = next(s for s in self.state if self.NAMES.get(s.name) == state)
        self.storage.set_trial_state_values(number, wanted, None if value is None else [value])


def finished_rows(path: Path, plan: Plan) -> list[dict[str, Any]]:
    """One dictionary for each trial, in order: what it is, its state, value, steps, examples seen and time."""
    rows = []
    entries = Journal(path, plan).entries()
    for trial, kept in zip(plan.trials(), entries, strict=True):
        run = path / "runs" / trial.name
        log = read_log(run / "log.jsonl")
        kept_settings = tomllib.loads((run / "config.toml").read_text(encoding="utf-8")) if log else {}
        steps = log[-1]["step"] if log else None
        rows.append(
            {
                **vars(trial),
                "state": Journal.NAMES[kept.state.name],
                "value": kept.value if kept.state.name == "COMPLETE" else None,
                "also": _also(plan, run) if kept.state.name == "COMPLETE" else {},
                "why": kept.user_attrs.get("why", ""),
                "steps": steps,
                "images": steps * kept_settings["training"]["batch"] if log else None,
                "seconds": log[-1]["seconds"] if log else None,
                "run": f"runs/{trial.name}",
            }
        )
    return rows


def _also(plan: Plan, run: Path) -> dict[str, float | None]:
    """Values of the further measures, None where one was not measured."""
    measured = json.loads((run / "trial.json").read_text(encoding="utf-8"))["measures"]
    return {name: float(measured[name]["value"]) if name in measured else None for name in plan.also}
