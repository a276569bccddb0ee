"""Where a study keeps what is finished: Optuna's journal file in its folder, or a database that workers on many machines share."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genzoo.core.errors import DamagedFile, UserError
from genzoo.data.locks import locked

HOW = "postgresql://USER@HOST/NAME (the password in ~/.pgpass or $PGPASSWORD), or sqlite:///FILE.db on one machine"
PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between attempts at a database that does not answer."""
CONNECT: dict[str, dict[str, Any]] = {"postgresql": {"connect_timeout": 10}}
"""What a driver is told beside the URL: how many seconds a machine that says nothing is waited for."""
MAKING = 6
"""Attempts at the tables of a database that others make at the same time."""
GRACE = 2
"""A trial is free again after so many beats that its worker has missed."""


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


class JournalFile:
    """Optuna's journal in a study's folder. Claims of its trials are file locks, which fall with their process.

    Args:
        path: The study's folder.
    """

    beat: int | None = None
    """Seconds between two signs of life of a worker; None where a claim needs none."""

    def __init__(self, path: Path) -> None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.file = path / "journal.log"
        with self.said():
            self.file.touch()
            lock: Any = JournalLock(self.file)  # the base class of Optuna's locks is not public
            self.storage = JournalStorage(JournalFileBackend(str(self.file), lock))

    def damaged(self, why: str) -> DamagedFile:
        """Return the error of a journal that is none of this study."""
        return DamagedFile(
            f"{self.file} is damaged, or of another study: {why}; move it away: "
            "runs that are finished are measured again, and the others go on"
        )

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Turn Optuna's many errors over a journal that it has not written into one sentence."""
        try:
            yield
        except (OSError, UserError):
            raise
        except Exception as error:
            raise self.damaged("it cannot be read as a journal") from error


class Database:
    """A database that SQLAlchemy opens. A claim is a state in it, and lasts as long as its worker gives signs of life.

    Args:
        url: Its URL.
        beat: Seconds between two signs of life.

    Raises:
        UserError: There is no such database, it does not answer, or its driver is not installed.
    """

    def __init__(self, url: str, beat: int) -> None:
        import sqlalchemy
        from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

        self.beat: int | None = beat
        try:
            asked = sqlalchemy.make_url(url)
            self.place = asked.render_as_string(hide_password=True)
        except sqlalchemy.exc.ArgumentError:
            raise UserError(f"storage= is not the URL of a database; give {HOW}") from None
        options = {
            # a connection for each look: hundreds of workers hold none meanwhile, and a server may be started again
            "poolclass": sqlalchemy.pool.NullPool,
            "connect_args": CONNECT.get(asked.get_backend_name(), {}),
        }
        for attempt in range(MAKING):
            try:
                with self.said(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # beats are experimental in Optuna since 2.9; the version is pinned
                    self.storage = RDBStorage(
                        url,
                        engine_kwargs=dict(options),
                        heartbeat_interval=beat,
                        grace_period=GRACE * beat,
                        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
                    )
                return
            except (
                UserError
            ) as error:  # of two that make the tables of an empty database at once, one fails: they are there then
                twice = isinstance(error.__cause__, (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError))
                if attempt == MAKING - 1 or not (twice or "already exists" in str(error)):
                    raise
                time.sleep(0.2 * (attempt + 1))

    def damaged(self, why: str) -> UserError:
        """Return the error of a database that holds another study under this name."""
        return UserError(f"storage {self.place} holds another study of this name: {why}; give the study another name")

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Turn the errors of drivers, SQLAlchemy and Optuna into one sentence, without a password."""
        import sqlalchemy
        from optuna.exceptions import StorageInternalError

        try:
            yield
        except ImportError:
            raise UserError(
                f"storage {self.place} needs a driver that is not installed: pip install 'genzoo[cluster]' has PostgreSQL's"
            ) from None
        except sqlalchemy.exc.NoSuchModuleError:
            raise UserError(f"storage {self.place} is no kind of database that is known here; give {HOW}") from None
        except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            cause: BaseException = (
                error if isinstance(error, sqlalchemy.exc.SQLAlchemyError) else error.__cause__ or error
            )
            first = (str(getattr(cause, "orig", None) or cause).strip() or type(cause).__name__).splitlines()[0]
            raise UserError(
                f"the study's storage {self.place} cannot be used: {first}; what is finished is kept: "
                "start the same command again when it can"
            ) from error

    def patiently(self, do: Callable[[], Any]) -> Any:
        """Do something with the database, again and again for half a minute where it does not answer.

        Raises:
            UserError: It still does not.
        """
        for pause in (*PATIENCE, None):
            try:
                with self.said():
                    return do()
            except UserError:
                if pause is None:
                    raise
                time.sleep(pause)
        return None

    @contextlib.contextmanager
    def alive(self, number: int) -> Iterator[None]:
        """Give signs of life for a trial that is worked on.

        Optuna beats in `Study.optimize` alone. A beat that fails is no reason to stop: the database may be back for the next.

        Args:
            number: The database's number of the trial.
        """
        over = threading.Event()

        def beats() -> None:
            while not over.wait(self.beat):
                with contextlib.suppress(Exception):
                    self.storage.record_heartbeat(number)

        thread = threading.Thread(target=beats, name="genzoo-study-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
