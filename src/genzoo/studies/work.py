"""One worker of a study: it claims a trial, trains or resumes it, measures it, and tells the journal.

The claim is a file lock that falls with the process, so a trial whose worker died is free at once, or a state in a database, which is free again when
its worker has fallen silent; the journal keeps which trials are finished and with what value. Every trial is an ordinary run folder.
"""

from __future__ import annotations

import errno
import math
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import genzoo
from genzoo.api import sort_keys
from genzoo.core.errors import DiskFull, TrainingStopped, UserError
from genzoo.data import DataSettings, open_data
from genzoo.metrics.features.networks import extractor
from genzoo.metrics.measure import values
from genzoo.metrics.records import read_records
from genzoo.naming import registry
from genzoo.runs.folder import open_run
from genzoo.runs.meters import clock, read_log
from genzoo.studies.journal import FINISHED, Journal, claimed
from genzoo.studies.plan import Plan, Trial
from genzoo.text.documents import is_number, read_toml
from genzoo.use.common.outputs import save_json

SHARE = 0.05
"""Of a worker's time, what it spends at most on a page that is drawn while trials are still open."""


def work(
    path: Path,
    plan: Plan,
    *,
    limit: int | None = None,
    retry: bool = False,
    quiet: bool = False,
    storage: str = "",
    beat: int = 60,
    page: Callable[[Journal], object] = lambda _: None,
) -> Journal:
    """Finish trials until none is free, or `limit` of them are done by this worker, and return what keeps them.

    A trial that another worker held when its turn came is looked at again in the end: that worker may have died since. Where only its silence says
    so, it is waited for.

    Args:
        path: The study's folder.
        plan: What it compares.
        limit: Trials that this worker finishes at most.
        retry: Try those that failed again first.
        quiet: Show no progress.
        storage: URL of a database that keeps what is finished, in place of the folder's journal.
        beat: Seconds between two signs of life in that database.
        page: Draws the study's page; called between trials, as often as it is cheap.

    Raises:
        UserError: Data, a feature network or the storage are not there: before anything is trained.
        DiskFull: What is finished is kept.
    """
    try:
        journal, trials = Journal(path, plan, storage, beat), plan.trials()
        for trial in journal.again() if retry else ():
            shutil.rmtree(path / "runs" / trial.name, ignore_errors=True)
        if not set(journal.states()) <= set(FINISHED):
            ready(plan)
        worker = _Worker(path, plan, journal, trials, limit, page, quiet=quiet)
        while worker.go_through() or (worker.mine != limit and journal.freed()):
            pass
        return journal
    except DiskFull as error:
        raise DiskFull(str(error).replace("run 'genzoo resume'", "start the same command again")) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"no room is left for the study in {path}; what is finished is kept: make room, and start the same command again"
        ) from None


def ready(plan: Plan) -> None:
    """See that the data are there and that the measure can be taken, since it would be a pity to learn it after the first training.

    Raises:
        UserError: A data set that no system of the study can open, or a feature network whose weights are not there.
    """
    network = values()[plan.measure].extractor
    if network:
        extractor(network)
    for data in plan.data:
        wrong: UserError | None = None
        for system in plan.systems:
            settings = DataSettings(**sort_keys(system, {"data": data, **plan.fixed(system, data)})[1])
            try:
                for split in ("train", "test"):
                    open_data(settings, kind=registry.system_class(system).data, split=split, quiet=True)
            except UserError as error:
                wrong = wrong or error
            else:
                break
        else:
            raise wrong or UserError("a study needs systems")


class _Worker:
    """One process at work: what it has done so far, and since when."""

    def __init__(
        self,
        path: Path,
        plan: Plan,
        journal: Journal,
        trials: list[Trial],
        limit: int | None,
        page: Callable[[Journal], object],
        *,
        quiet: bool,
    ) -> None:
        self.path, self.plan, self.journal, self.trials = path, plan, journal, trials
        self.limit, self.page, self.quiet = limit, page, quiet
        self.mine, self.begun, self.drawn, self.cost = 0, time.monotonic(), 0.0, 0.0
        self.before = self.done()

    def done(self) -> int:
        """Count the trials that are finished, by whomever."""
        return sum(state in FINISHED for state in self.journal.states())

    def go_through(self) -> bool:
        """Go through the trials once and finish those that are free; True where there were any and more may be done."""
        first = self.mine
        self.journal.sweep()
        for trial in self.trials:
            if self.mine == self.limit:
                return False
            with claimed(self.path, trial) as free:
                if not free or self.journal.states()[trial.number] in FINISHED:
                    continue
                with self.journal.held(trial) as mine:
                    if not mine:
                        continue
                    self.say(trial)
                    value, why = _run(self.path, self.plan, trial, quiet=self.quiet)
                    state, found = "failed" if value is None else "complete", _found(self.plan, self.path, trial)
                    self.journal.tell(trial, state, value, why, **found)
                self.mine += 1
            if why and not self.quiet:
                print(f"{trial.name} failed: {why}", file=sys.stderr, flush=True)
            self.draw()
        return self.mine > first

    def say(self, trial: Trial) -> None:
        """Tell how far the whole study is, and what comes next."""
        if self.quiet:
            return
        done, now = self.done(), time.monotonic()
        left = ""
        if done > self.before:
            pace = (now - self.begun) / (done - self.before)
            left = f", {clock((len(self.trials) - done) * pace)} left at the pace of all workers"
        print(
            f"study {self.plan.name}: {done} of {len(self.trials)} done{left}; next {trial.name}",
            file=sys.stderr,
            flush=True,
        )

    def draw(self) -> None:
        """Draw the page, unless that would cost more than its share of the time."""
        now = time.monotonic()
        if now - self.drawn < self.cost / SHARE:
            return
        self.page(self.journal)
        self.drawn = time.monotonic()
        self.cost = self.drawn - now


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
    except (DiskFull, OSError):
        raise  # of the machine, not of the trial
    except TrainingStopped as stopped:
        if stopped.code != 1:
            raise  # a signal: the run is saved, and whoever comes next goes on with it
        return None, str(stopped)
    except UserError as error:
        return None, str(error)
    except (
        Exception
    ) as error:  # no memory for this draw, a mistake in a system of one's own: one trial fails, and the others go on
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        first = (str(error).strip() or "no message").splitlines()[0]
        return None, f"{type(error).__name__}: {first} (where: error.txt in its folder)"
    save_json(folder / "trial.json", {"measures": found["measures"], "not_measured": found["not_measured"]})
    record = found["measures"].get(plan.measure)
    if record is None:
        there = ", ".join(found["measures"]) or "none"
        return (
            None,
            f"{plan.measure} was not measured ({found['not_measured'].get(plan.measure, 'it does not apply')}); there are: {there}",
        )
    if not math.isfinite(record["value"]):
        return None, f"{plan.measure} is {record['value']}"
    return float(record["value"]), ""


def _measure(plan: Plan, run: Any) -> dict[str, Any]:
    """Evaluate a run: record the study's measures, and whatever is found with them; those beside the first may not apply."""
    found: dict[str, Any] = {"measures": {}, "not_measured": {}}
    for name in (plan.measure, *plan.also):
        if name in found["measures"]:
            continue
        try:
            more = genzoo.evaluate(
                run, n=plan.samples, measures=[name], extractor=values()[name].extractor or None, seed=0
            )
        except UserError as error:
            if name == plan.measure or isinstance(error, DiskFull):
                raise
            found["not_measured"][name] = str(error)
            continue
        found["measures"] |= more["measures"]
        found["not_measured"] |= more["not_measured"]
    return found


def rows_of(path: Path, plan: Plan, journal: Journal | None = None) -> list[dict[str, Any]]:
    """Describe each trial in a dictionary, in order: what it is, its state, value, steps, examples seen and time.

    Args:
        path: The study's folder.
        plan: What it compares.
        journal: What is finished; the folder's own where it is not given.
    """
    rows = []
    for trial, kept in zip(plan.trials(), (journal or Journal(path, plan)).entries(), strict=True):
        told = kept.user_attrs.get("found")  # by a worker whose folder may be elsewhere
        found = _found(plan, path, trial) if (path / "runs" / trial.name / "log.jsonl").exists() or not told else told
        rows.append(
            {
                **vars(trial),
                "state": Journal.NAMES[kept.state.name],
                "value": kept.value if kept.state.name == "COMPLETE" else None,
                "also": found["also"] if kept.state.name == "COMPLETE" else {},
                "why": kept.user_attrs.get("why", "") if kept.state.name == "FAIL" else "",
                **{key: found[key] for key in ("steps", "images", "seconds")},
                "run": f"runs/{trial.name}",
            }
        )
    return rows


def _found(plan: Plan, path: Path, trial: Trial) -> dict[str, Any]:
    """Tell what the run of a trial knows: steps, examples seen, time, and the measures beside the first."""
    run = path / "runs" / trial.name
    log = read_log(run / "log.jsonl")
    batch = _batch(run / "config.toml") if log else None
    steps = log[-1]["step"] if log else None
    return {
        "steps": steps,
        "images": steps * batch if steps is not None and batch is not None else None,
        "seconds": log[-1].get("seconds") if log else None,
        "also": _also(plan, run),
    }


def _batch(config: Path) -> int | None:
    """Count the examples of one step of a run; None where its settings do not say."""
    try:
        told = read_toml(config).get("training")
    except (UserError, FileNotFoundError):
        return None
    batch = told.get("batch") if isinstance(told, dict) else None
    return batch if isinstance(batch, int) and is_number(batch) else None


def _also(plan: Plan, run: Path) -> dict[str, float | None]:
    """Read the values of the further measures, None where one was not measured, or where the run has been removed since."""
    measured = read_records(run / "trial.json", under="measures")
    values = {name: measured.get(name, {}).get("value") for name in plan.also}
    return {name: None if value is None else float(value) for name, value in values.items()}
