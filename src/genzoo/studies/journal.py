"""Who does what in a study: claims that fall with their process, and Optuna's journal of what is finished."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from genzoo.core.errors import DamagedFile, UserError
from genzoo.data.locks import Busy, locked
from genzoo.studies.plan import Plan, Trial, import_optuna
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


class JournalLock:
    """The lock of Optuna's journal, `data.locks.locked`: it falls with its process, so a worker that is killed while it writes holds nobody up.

    What a full disk or a lost machine has left of a line is taken away before the next one is written: Optuna reads past a broken line at the
    end of a journal, and no journal with one in the middle.

    Args:
        journal: The file.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.held = contextlib.ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock; True, as Optuna wants it."""
        self.held.enter_context(locked(self.journal.with_suffix(".lock")))
        with open(self.journal, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read() not in (b"", b"\n"):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Give it back."""
        self.held.close()


class Journal:
    """The study in Optuna's journal file, with an entry for each attempt at a trial of the plan; made by whoever comes first.

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
        self.path, self.plan, self.optuna = path, plan, optuna
        with self._alone(), self._damage_is_said():
            file = path / "journal.log"
            file.touch()
            lock: Any = JournalLock(file)  # the base class of Optuna's locks is not public
            self.storage = JournalStorage(JournalFileBackend(str(file), lock))
            self.study = optuna.create_study(
                storage=self.storage,
                study_name=plan.name,
                direction="minimize" if plan.direction == "lower" else "maximize",
                load_if_exists=True,
            )
            self.state = optuna.trial.TrialState
            trials = plan.trials()
            for trial in trials[len(self._last()) :]:
                self._add(trial)
        for trial, entry in zip(trials, self.entries(), strict=True):
            if any(entry.user_attrs.get(k) != v for k, v in self._told(trial).items()):
                raise self._damaged(f"its trial {trial.number} is another one")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one of several workers that begin at once make the entries, and the others wait."""
        with locked(self.path / ".making"):
            yield

    def _damaged(self, why: str) -> DamagedFile:
        return DamagedFile(
            f"{self.path / 'journal.log'} is damaged, or of another study: {why}; move it away: "
            "runs that are finished are measured again, and the others go on"
        )

    @contextlib.contextmanager
    def _damage_is_said(self) -> Iterator[None]:
        """Turn Optuna's many errors over a journal that it has not written into one sentence."""
        try:
            yield
        except (OSError, UserError):
            raise
        except Exception as error:
            raise self._damaged("it cannot be read as a journal") from error

    @staticmethod
    def _told(trial: Trial) -> dict[str, Any]:
        """Return what an entry of the journal says of its trial."""
        return {k: getattr(trial, k) for k in ("system", "data", "draw", "seed")} | {"trial": trial.number}

    def _add(self, trial: Trial) -> None:
        ranges, told = self.plan.ranges(trial.system), self._told(trial)
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=self.state.WAITING,
                params={k: trial.settings[k] for k in ranges},
                distributions=ranges,
                user_attrs=told,
            )
        )

    def entries(self) -> list[Any]:
        """Return Optuna's entry of the last attempt at each trial, in the plan's order.

        Raises:
            DamagedFile: The journal holds others, or one that is finished without a value.
        """
        with self._damage_is_said():
            found = self._last()
            if [*found] != [*range(len(self.plan.trials()))]:
                raise self._damaged(f"it holds {len(found)} trials and not those of the plan")
            for entry in found.values():
                if entry.state == self.state.COMPLETE and not is_number(entry.value):
                    raise self._damaged("a trial is finished without a value")
                if not isinstance(entry.user_attrs.get("why", ""), str):
                    raise self._damaged("a trial has failed for no reason that is a text")
        return [*found.values()]

    def _last(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for entry in self.study.get_trials(deepcopy=False):
            found[entry.user_attrs.get("trial", entry.number)] = entry
        return dict(sorted(found.items()))

    def states(self) -> list[str]:
        """Return for each trial whether it is waiting, running, complete or failed."""
        return [self.NAMES[t.state.name] for t in self.entries()]

    def again(self) -> list[Trial]:
        """Open every failed trial for another attempt, and say which they are; Optuna keeps the failed ones."""
        with self._alone():
            trials = self.plan.trials()
            failed = [trials[i] for i, state in enumerate(self.states()) if state == "failed"]
            for trial in failed:
                self._add(trial)
        return failed

    def tell(self, trial: Trial, state: str, value: float | None = None, why: str = "") -> None:
        """Keep a new state of a trial, and its value or why there is none."""
        entry = self.entries()[trial.number]
        if self.NAMES[entry.state.name] == state:
            return  # taken up from a worker that died
        number = self.storage.get_trial_id_from_study_id_trial_number(
            self.storage.get_study_id_from_name(self.study.study_name), entry.number
        )
        if why:
            self.storage.set_trial_user_attr(number, "why", why)
        wanted = next(s for s in self.state if self.NAMES.get(s.name) == state)
        self.storage.set_trial_state_values(number, wanted, None if value is None else [value])
