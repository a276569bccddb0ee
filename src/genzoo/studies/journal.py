"""Who does what in a study: claims of trials, and which of them are finished, with what value.

In a study's folder a claim is a file lock, which falls with its process. In a database it is the state of an entry and lasts as long as its worker
gives signs of life; an entry whose worker fell silent is failed without a reason, and one that waits is added in its place. So a trial has one entry
for each attempt, its state follows from all of them (`_state_of`), and no two workers have to agree on anything but the state of one entry.
"""

from __future__ import annotations

import contextlib
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.data.locks import Busy, locked
from genzoo.studies.plan import Plan, Trial, import_optuna
from genzoo.studies.storage import GRACE, Database, JournalFile
from genzoo.text.documents import is_number

FINISHED = ("complete", "failed")


@contextlib.contextmanager
def claimed(path: Path, trial: Trial) -> Iterator[bool]:
    """Hold a trial for this process while it is worked on; False where another worker holds it."""
    folder = path / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / f"{trial.number:04d}", wait=False))
        except Busy:
            yield False
            return
        yield True


class Journal:
    """The study in Optuna's journal file or in a database, with an entry for each attempt at a trial of the plan; made by whoever comes first.

    Args:
        path: The study's folder.
        plan: What it compares.
        storage: URL of a database; empty for the file in the folder.
        beat: Seconds between two signs of life of a worker, where there is a database.

    Raises:
        UserError: The folder's study is kept elsewhere, or the storage cannot be used.
    """

    NAMES: ClassVar[dict[str, str]] = {
        "WAITING": "waiting",
        "RUNNING": "running",
        "COMPLETE": "complete",
        "FAIL": "failed",
    }

    def __init__(self, path: Path, plan: Plan, storage: str = "", beat: int = 60) -> None:
        optuna = import_optuna()
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.plan, self.optuna = path, plan, optuna
        self._same_place(storage)
        self.database = Database(storage, beat) if storage else None
        self.kept = self.database or JournalFile(path)
        self.storage: Any = self.kept.storage
        if self.database is not None:
            write_atomic(path / "storage", self.database.place.encode())
        with self._alone(), self.kept.said():
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=plan.name,
                direction="minimize" if plan.direction == "lower" else "maximize",
                load_if_exists=True,
            )
            self.state = optuna.trial.TrialState
            self._same_plan()
            trials, there = plan.trials(), self._by_trial()
            for trial in trials:
                if trial.number not in there:
                    self._add(trial)
        for trial, entry in zip(trials, self.entries(), strict=True):
            if any(entry.user_attrs.get(k) != v for k, v in self._told(trial).items()):
                raise self.kept.damaged(f"its trial {trial.number} is another one")

    def _same_place(self, storage: str) -> None:
        """Refuse to begin a second time, elsewhere, what a folder has begun."""
        note = self.path / "storage"
        if not storage and note.is_file():
            raise UserError(
                f"what is finished of {self.path} is kept in {note.read_text(encoding='utf-8').strip()}: give storage= as before"
            )
        if storage and (self.path / "journal.log").exists():
            raise UserError(
                f"{self.path} was begun without storage=, and its journal is in the folder; leave storage= out, or give another out="
            )

    def _same_plan(self) -> None:
        """See that a study of this name in a database is this one; a folder keeps a copy of its file instead."""
        if self.database is None:
            return
        known = self.study.user_attrs.get("digest")
        if known is None:
            self.study.set_user_attr("digest", self.plan.digest)
        elif known != self.plan.digest:
            raise self.kept.damaged("it has other settings")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one of several workers that begin at once make the entries, and the others wait."""
        with locked(self.path / ".making"):
            yield

    @staticmethod
    def _told(trial: Trial) -> dict[str, Any]:
        """Return what an entry of the journal says of its trial."""
        return {k: getattr(trial, k) for k in ("system", "data", "draw", "seed")} | {"trial": trial.number}

    def _add(self, trial: Trial, value: float | None = None, **more: Any) -> None:
        """Add an entry for a trial: one that waits, or one that is complete with its value."""
        ranges, told = self.plan.ranges(trial.system), self._told(trial)
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=self.state.WAITING if value is None else self.state.COMPLETE,
                value=value,
                params={k: trial.settings[k] for k in ranges},
                distributions=ranges,
                user_attrs={**told, **more},
            )
        )

    def entries(self) -> list[Any]:
        """Return Optuna's entry of each trial that says how it is, in the plan's order; see `_state_of`.

        Raises:
            UserError: The storage holds others, or one that is finished without a value.
        """
        with self.kept.said():
            found = {number: self._state_of(every) for number, every in self._by_trial().items()}
            if [*found] != [*range(len(self.plan.trials()))]:
                raise self.kept.damaged(f"it holds {len(found)} trials and not those of the plan")
            for entry in found.values():
                if entry.state == self.state.COMPLETE and not is_number(entry.value):
                    raise self.kept.damaged("a trial is finished without a value")
                if not isinstance(entry.user_attrs.get("why", ""), str):
                    raise self.kept.damaged("a trial has failed for no reason that is a text")
        return [*found.values()]

    def _by_trial(self) -> dict[int, list[Any]]:
        """Return all entries of each trial, in the order in which they were made."""
        found: dict[int, list[Any]] = {}
        for entry in sorted(self.study.get_trials(deepcopy=False), key=lambda entry: entry.number):
            found.setdefault(entry.user_attrs.get("trial", entry.number), []).append(entry)
        return dict(sorted(found.items()))

    def _state_of(self, entries: list[Any]) -> Any:
        """Choose the entry that says how a trial is.

        In a file that is the last. In a database two workers may have added one each: what is complete counts first, then what has happened
        since the trial last failed for a reason of its own; an entry that failed without one lost its worker.
        """
        if self.database is None:
            return entries[-1]
        if done := [e for e in entries if e.state == self.state.COMPLETE]:
            return done[0]
        own = [i for i, e in enumerate(entries) if e.state == self.state.FAIL and e.user_attrs.get("why")]
        since = entries[own[-1] + 1 :] if own else entries
        for state in (self.state.RUNNING, self.state.WAITING):
            if found := [e for e in since if e.state == state]:
                return found[0]
        return entries[own[-1]] if own and not since else entries[-1]

    def states(self) -> list[str]:
        """Return for each trial whether it is waiting, running, complete or failed."""
        return [self._name(entry) for entry in self.entries()]

    def _name(self, entry: Any) -> str:
        lost = self.database is not None and entry.state == self.state.FAIL and not entry.user_attrs.get("why")
        return "waiting" if lost else self.NAMES[entry.state.name]

    def again(self) -> list[Trial]:
        """Open every failed trial for another attempt, and say which they are; Optuna keeps the failed ones."""
        with self._alone():
            trials = self.plan.trials()
            failed = [trials[i] for i, state in enumerate(self.states()) if state == "failed"]
            for trial in failed:
                self._add(trial)
        return failed

    # ---- one trial -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def held(self, trial: Trial) -> Iterator[bool]:
        """Have a trial told to run while it is worked on; False where a worker on another machine has it, or has finished it.

        Args:
            trial: One that `claimed` gives to this process, which a file needs no more than.
        """
        if self.database is None:
            self.tell(trial, "running")
            yield True
            return
        number = self.database.patiently(lambda: self._take(trial))
        if number is None:
            yield False
            return
        try:
            with self.database.alive(number):
                yield True
        except BaseException:  # stopped, not killed: whoever comes next need not wait for the silence
            with contextlib.suppress(Exception):
                self.storage.set_trial_state_values(number, self.state.FAIL)
                self._add(trial)
            raise

    def _take(self, trial: Trial) -> int | None:
        """Take a trial that waits: the number of its entry in the database, or None where another worker was quicker.

        The first sign of life is given before the state changes: Optuna never misses a worker that was killed before its first one.
        """
        entry = self.entries()[trial.number]
        if self._name(entry) != "waiting":
            return None
        if entry.state != self.state.WAITING:  # its worker was lost before another entry was made
            self._add(trial)
            entry = self.entries()[trial.number]
        number = self._number(entry)
        self.storage.record_heartbeat(number)
        try:
            return number if self.storage.set_trial_state_values(number, self.state.RUNNING) else None
        except self.optuna.exceptions.UpdateFinishedTrialError:
            return None

    def _number(self, entry: Any) -> int:
        """Return the storage's own number of an entry."""
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return int(self.storage.get_trial_id_from_study_id_trial_number(study, entry.number))

    def tell(self, trial: Trial, state: str, value: float | None = None, why: str = "", **found: Any) -> None:
        """Keep a new state of a trial, and its value or why there is none.

        Args:
            trial: Which.
            state: running, complete or failed.
            value: Of one that is complete.
            why: Of one that is failed.
            found: What else a database keeps of it, for those who do not see its folder.
        """
        if self.database is not None:
            self.database.patiently(lambda: self._tell(trial, state, value, why, found))
        else:
            self._tell(trial, state, value, why, {})

    def _tell(self, trial: Trial, state: str, value: float | None, why: str, found: dict[str, Any]) -> None:
        entry = self.entries()[trial.number]
        if self._name(entry) == state:
            return  # taken up from a worker that died
        number = self._number(entry)
        try:
            if why:
                self.storage.set_trial_user_attr(number, "why", why)
            if found:
                self.storage.set_trial_user_attr(number, "found", {**found, "machine": socket.gethostname()})
            wanted = next(s for s in self.state if self.NAMES.get(s.name) == state)
            self.storage.set_trial_state_values(number, wanted, None if value is None else [value])
        except self.optuna.exceptions.UpdateFinishedTrialError:
            if value is not None:  # this worker was taken for dead: what it has finished counts all the same
                self._add(trial, value, found={**found, "machine": socket.gethostname()})

    # ---- workers that fell silent --------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Free the trials of workers that have fallen silent."""
        if self.database is None:
            return

        def fail() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental in Optuna since 2.9; the version is pinned
                self.optuna.storages.fail_stale_trials(self.study)

        self.database.patiently(fail)

    def freed(self) -> bool:
        """Wait for trials whose workers may have died; True where one is free, False where all have shown that they live."""
        if self.database is None or self.database.beat is None:
            return False
        beat = self.database.beat
        until = time.monotonic() + (GRACE + 1) * beat
        while "running" in self.states() and time.monotonic() < until:
            time.sleep(beat / 2)
            self.sweep()
            if "waiting" in self.states():
                return True
        return False
