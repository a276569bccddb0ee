"""Work that takes its time: one job at a time for each model, a bounded queue whose places are shown, progress, and an end when nobody waits.

Jobs run in a few threads that live as long as the server (a thread that computes keeps memory of its own). A job is stopped from inside: what
genzoo calls while it draws and searches (`TELL`) and every module of a system that `stoppable` has seen ask whether the job goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

from fastapi import Request

from genzoo.core.system import System
from genzoo.metrics.drawing import TELL
from genzoo.web.errors import NotFound, Refused, said

State = Literal["waiting", "running", "done", "failed", "cancelled"]
WORKERS = 2
"""Jobs, of different models, that run at once."""
WAITING = 32
"""Jobs that may wait."""
FORGOTTEN = 90.0
"""Seconds after which a job that is asked for now and then, and is asked for no more, is cancelled: its tab is gone. A tab that is closed says so at
once; one that is hidden asks once a minute."""
KEPT = 120.0
"""Seconds that the result of such a job is kept for."""
CURRENT: ContextVar[Job | None] = ContextVar("CURRENT", default=None)
"""The job that this thread works on."""


class Cancelled(Exception):
    """A job ends here: it was cancelled."""


def cancelled() -> Refused:
    """Say that what is waited for was cancelled."""
    return Refused("this was cancelled", 409)


class Outcome:
    """What is waited for: a `Job`, or a request among others. It ends once, with a result or an error."""

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._over = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        """Tell whether it has ended, in whatever way."""
        return self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait in a thread until it has ended; False if it has not by then."""
        return self._over.wait(seconds)

    def when_over(self, call: Callable[[], None]) -> None:
        """Have something called, from the thread that ends it, or now if it has ended."""
        with self._lock:
            if not self.over:
                self._listeners.append(call)
                return
        call()

    def outcome(self) -> Any:
        """Return the result, or raise what went wrong."""
        if self.error is not None:
            raise self.error
        return self.result

    def settle(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended, and say so to who waits."""
        with self._lock:
            self.result, self.error = result, error
            self._over.set()
            listeners, self._listeners = self._listeners, []
        for call in listeners:
            call()


class Job(Outcome):
    """One piece of work. Everything that a page shows of it is in `shown`.

    Args:
        key: What it occupies: jobs of one key run one after the other.
        work: What is done, in a thread; it is given the job, for `tell`. What it returns is `result`.
        label: What it is, in a few words.
        watched: True for a job that a page asks for again and again: it is cancelled when that stops.
    """

    def __init__(self, key: str, work: Callable[[Job], Any], label: str = "", *, watched: bool = False) -> None:
        super().__init__()
        self.id, self.key, self.label, self.watched = secrets.token_urlsafe(12), key, label, watched
        self.state: State = "waiting"
        self.done, self.total = 0, 0
        self.started = False
        self.note = ""
        self.seen = self.begun = time.monotonic()
        self.ended = 0.0
        self._work: Callable[[Job], Any] | None = work
        self._stop = threading.Event()

    def tell(self, done: int, total: int, note: str = "") -> None:
        """Say how much is done, of how much; ends the job here if it was cancelled.

        Raises:
            Cancelled: It was.
        """
        self.done, self.total, self.note = done, total, note or self.note
        self.check()

    def check(self) -> None:
        """End the job here if it was cancelled.

        Raises:
            Cancelled: It was.
        """
        if self._stop.is_set():
            raise Cancelled

    def cancel(self) -> None:
        """Stop the job: at once if it waits, at the next module or step if it runs."""
        self._stop.set()

    def run(self) -> None:
        """Do the work, in this thread."""
        told, current = TELL.set(self.tell), CURRENT.set(self)
        work, self._work = self._work, None  # what it holds (a picture, a mask) is freed with it
        try:
            self.check()
            self.state, self.begun, self.started = "running", time.monotonic(), True
            assert work is not None
            self.end("done", work(self))
        except Cancelled:
            self.end("cancelled")
        except BaseException as error:
            self.end("failed", error=error.with_traceback(None) if _foreseen(error) else error)
        finally:
            TELL.reset(told)
            CURRENT.reset(current)

    def end(self, state: State, result: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended, and say so to who waits."""
        self.state, self.ended, self._work = state, time.monotonic(), None
        self.settle(result, cancelled() if state == "cancelled" else error)


def _foreseen(error: BaseException) -> bool:
    """Tell whether an error is one that `said` has words for: its frames hold tensors and are let go."""
    return isinstance(error, (ValueError, MemoryError))


class Jobs:
    """The queue and its threads.

    Args:
        workers: Jobs, of different keys, that run at once.
        waiting: Jobs that may wait.
    """

    def __init__(self, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self.workers, self.most = workers, waiting
        self._queue: list[Job] = []
        self._running: list[Job] = []
        self._known: dict[str, Job] = {}
        self._change = threading.Condition()
        self._closed = False
        self._threads: list[threading.Thread] = []
        self._pace = 1.0  # seconds that a job takes, lately

    def submit(
        self, key: str, work: Callable[[Job], Any], label: str = "", *, watched: bool = False, always: bool = False
    ) -> Job:
        """Put a job into the queue.

        Args:
            key: See `Job`.
            work: See `Job`.
            label: See `Job`.
            watched: See `Job`.
            always: Even if the queue is full: what stands for requests that were counted already.

        Raises:
            Refused: The queue is full (503, with Retry-After), or the server ends.
        """
        job = Job(key, work, label, watched=watched)
        with self._change:
            self._sweep()
            if self._closed:
                raise ending()
            if len(self._queue) >= self.most and not always:
                raise full(self.most, self.patience)
            self._queue.append(job)
            if watched:
                self._known[job.id] = job
            self._start()
            self._change.notify()
        return job

    @property
    def patience(self) -> int:
        """Seconds after which it is worth to try again."""
        return max(1, min(60, round(self._pace * (len(self._queue) + 1) / self.workers)))

    def find(self, name: str) -> Job:
        """Find a watched job by its id, and note that somebody asked for it.

        Raises:
            NotFound: There is none, or it is long over.
        """
        with self._change:
            self._sweep()
            if name not in self._known:
                raise NotFound("there is no such job; it has ended, or nobody asked for it for too long")
            job = self._known[name]
            job.seen = time.monotonic()
            return job

    def position(self, job: Job) -> int:
        """Tell how many jobs stand before this one: 0 when it is next or runs."""
        with self._change:
            if job not in self._queue:
                return 0
            before = [j for j in self._queue[: self._queue.index(job)] if j.key == job.key]
            return len(before) + sum(j.key == job.key for j in self._running)

    def shown(self, job: Job) -> dict[str, Any]:
        """Return what a page shows of a job, as JSON has it."""
        found = {
            "id": job.id,
            "label": job.label,
            "state": job.state,
            "position": self.position(job),
            "done": job.done,
            "total": job.total,
            "note": job.note,
            "seconds": round((job.ended or time.monotonic()) - job.begun, 3),
        }
        if job.state == "failed" and job.error is not None:
            found["status"], found["error"], _ = said(job.error)
        return found

    def counts(self, *, besides: Job | None = None) -> tuple[int, int]:
        """Return how many jobs wait, besides one, and how many run."""
        with self._change:
            return sum(job is not besides for job in self._queue), len(self._running)

    def listed(self) -> list[Job]:
        """List the jobs that wait or run, in their order."""
        with self._change:
            return [*self._running, *self._queue]

    def cancel(self, job: Job) -> None:
        """Stop a job; one that waits leaves the queue at once."""
        job.cancel()
        with self._change:
            waited = job in self._queue
            if waited:
                self._queue.remove(job)
        if waited:
            job.end("cancelled")

    def close(self, seconds: float = 30.0) -> None:
        """End: what waits is cancelled, what runs has some seconds to end by itself and is stopped then."""
        with self._change:
            self._closed = True
            waiting, self._queue = self._queue, []
            self._change.notify_all()
        for job in waiting:
            job.cancel()
            job.end("cancelled")
        until = time.monotonic() + seconds
        for job in [*self._running]:
            job.wait(max(0.0, until - time.monotonic()))
            job.cancel()
        for thread in self._threads:
            thread.join(5.0)

    def _start(self) -> None:
        while len(self._threads) < self.workers:
            thread = threading.Thread(target=self._work, name=f"genzoo-job-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            with self._change:
                while (job := self._next()) is None:
                    if self._closed:
                        return
                    self._change.wait(1.0)
                    self._sweep()
                self._queue.remove(job)
                self._running.append(job)
            job.run()
            with self._change:
                self._running.remove(job)
                self._pace = 0.8 * self._pace + 0.2 * (job.ended - job.begun)
                self._change.notify_all()
            del job

    def _next(self) -> Job | None:
        """Return the first job whose key nobody works on."""
        busy = {j.key for j in self._running}
        return next((j for j in self._queue if j.key not in busy), None)

    def _sweep(self) -> None:
        """Cancel watched jobs that nobody asks for any more, and forget those that are over."""
        now = time.monotonic()
        for job in [*self._known.values()]:
            if not job.over and now - job.seen > FORGOTTEN:
                job.cancel()
                if job in self._queue:
                    self._queue.remove(job)
                    job.end("cancelled")
            if job.over and now - max(job.seen, job.ended) > KEPT:
                del self._known[job.id]


def ending() -> Refused:
    """Say that the server takes nothing any more."""
    return Refused("the server is shutting down", 503, {"Retry-After": "5"})


def full(most: int, seconds: int) -> Refused:
    """Say that the queue is full."""
    return Refused(
        f"{most} requests are waiting already, and no more are taken; try again in {seconds} s",
        503,
        {"Retry-After": str(seconds)},
    )


def stoppable(system: System) -> System:
    """Have every module of a system ask, when it is called, whether the job of its thread goes on; nothing is computed in another way."""
    for module in system.modules():
        module.register_forward_pre_hook(_ask)
    return system


def _ask(module: Any, inputs: Any) -> None:
    if (job := CURRENT.get()) is not None:
        job.check()


W = TypeVar("W", bound=Outcome)


async def answered(request: Request, jobs: Jobs, job: Job) -> Any:
    """Wait for a job's result while its client waits; when the client is gone, the job is cancelled.

    Raises:
        Refused: The job was cancelled, or what went wrong in it.
    """
    return await until_over(request, job, jobs.cancel)


async def until_over(request: Request, waiting: W, leave: Callable[[W], None]) -> Any:
    """Wait for an outcome while the client waits for it.

    Args:
        request: Whose answer it is.
        waiting: What is waited for.
        leave: Called with it where the client goes before.

    Raises:
        Refused: The client has gone, or what went wrong.
    """
    loop = asyncio.get_running_loop()
    over = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(end)

    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    waiting.when_over(wake)
    gone = asyncio.ensure_future(left())
    try:
        await asyncio.wait((over, gone), return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            raise Refused("the client has gone", 499)
    finally:
        gone.cancel()
        over.cancel()
        if not waiting.over:
            leave(waiting)
    return waiting.outcome()
