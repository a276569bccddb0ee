"""Requests that wait for the same model are computed together: a network draws sixteen images in far less time than sixteen times one.

What has gathered while the model was busy goes together next. Who has just been answered often asks again at once. Where those are back in less than
a small part of what a round takes, the model waits for all of them: one large round is quicker than two. Where they are not, it waits for half of
them: while one half is computed, the other half is answered and asks again. A request that comes alone waits for nobody. What each request gets does
not depend on its company, beyond rounding: every sample has a generator of its own (`genzoo.nn.draws`).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from genzoo.web.errors import Refused
from genzoo.web.jobs import Cancelled, Job, Jobs, Outcome, cancelled, ending, full

TOGETHER = 256
"""Examples that are computed at once, at most, beyond the first request's own."""

PART, LONGEST = 0.25, 0.5
"""Waiting for clients that were just answered: this part of the time that the last round took, and these seconds, at most."""

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""Given the items of requests that go together, returns what each of them gets."""


class Ticket(Outcome):
    """A request that waits.

    Args:
        group: Requests of one group may go together.
        size: Examples that it asks for.
        item: What it asks for.
        work: What answers items of its group.
    """

    def __init__(self, group: Hashable, size: int, item: Any, work: Work) -> None:
        super().__init__()
        self.group, self.size, self.item, self.work = group, size, item, work
        self.gone = False


class Joiner:
    """What waits for one model.

    Args:
        jobs: Where the work is done, one job after the other.
        key: The model's.
        together: Examples that are computed at once; 1 joins nothing.
        told: Called with how many requests and examples went together.
    """

    def __init__(
        self, jobs: Jobs, key: str, *, together: int = TOGETHER, told: Callable[[int, int], None] = lambda n, size: None
    ) -> None:
        self.jobs, self.key, self.together, self.told = jobs, key, together, told
        self._waiting: list[Ticket] = []
        self._working: list[Ticket] = []
        self._job: Job | None = None
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        # Of the last round: requests that it answered or that waited at its end, answered ones, how many asked since, when it ended, what it took.
        self._expected, self._answered, self._again, self._ended_at, self._took = 0, 0, 0, 0.0, 0.0
        self._return = math.inf  # seconds in which those who were answered are back, lately

    def submit(self, group: Hashable, size: int, item: Any, work: Work) -> Ticket:
        """Have a request wait for its turn.

        Raises:
            Refused: Too many wait already (503, with Retry-After).
        """
        ticket = Ticket(group, size, item, work)
        with self._lock:
            if len(self._waiting) >= self.jobs.most:
                raise full(self.jobs.most, self.jobs.patience)
            self._waiting.append(ticket)
            self._again += 1
            if self._again == self._answered:
                self._return = time.monotonic() - self._ended_at
            self._more.notify()
            self._call()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Forget a request whose client has gone; work that nobody waits for any more is stopped."""
        with self._lock:
            ticket.gone = True
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            elif self._job is not None and ticket in self._working and all(t.gone for t in self._working):
                self._job.cancel()

    def counts(self) -> tuple[int, int]:
        """Return how many requests wait, to be joined or not, and how many jobs run."""
        queued, running = self.jobs.counts(besides=self._job)  # it stands in the queue for those that are counted here
        return queued + len(self._waiting), running

    def _call(self) -> None:
        """Have a job work on what waits.

        Raises:
            Refused: The server ends; nothing waits any more.
        """
        if self._job is None and self._waiting:
            try:
                self._job = self.jobs.submit(self.key, self._work, "requests", always=True)
            except Refused as closed:
                waiting, self._waiting = self._waiting, []
                for ticket in waiting:
                    ticket.settle(error=closed)
                raise
            self._job.when_over(self._ended)

    def _ended(self) -> None:
        """Call for the next job; whoever waits for one that never began is told, since the server ends."""
        with self._lock:
            ended, self._job, self._working = self._job, None, []
            if ended is not None and not ended.started:
                waiting, self._waiting = self._waiting, []
                for ticket in waiting:
                    ticket.settle(error=ending())
            with contextlib.suppress(Refused):  # the server ends, and everybody has been told
                self._call()

    def _work(self, job: Job) -> None:
        with self._lock:
            self._gather()
            taken = self._taken()
            self._working = taken
        if not taken:
            return
        begun = time.monotonic()
        self.told(len(taken), sum(t.size for t in taken))
        try:
            found = taken[0].work([t.item for t in taken])
        except Cancelled:
            for ticket in taken:
                ticket.settle(error=cancelled())
            raise
        except BaseException as error:
            if len(taken) == 1:
                taken[0].settle(error=error)
                return
            self._one_by_one(taken)  # one of them is what fails, and the others are not to suffer for it
            return
        with self._lock:
            self._expected, self._answered, self._again = len(self._waiting) + len(taken), len(taken), 0
            self._ended_at = time.monotonic()
            self._took = self._ended_at - begun
        for ticket, result in zip(taken, found, strict=True):
            ticket.settle(result)

    def _gather(self) -> None:
        """Wait a moment for those who were just answered."""
        longest = min(PART * self._took, LONGEST)
        enough = self._expected if self._return < longest else (self._expected + 1) // 2
        until = self._ended_at + longest
        while len(self._waiting) < enough and sum(t.size for t in self._waiting) < self.together:
            if (left := until - time.monotonic()) <= 0:
                return
            self._more.wait(left)

    def _one_by_one(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            if ticket.gone:
                continue
            try:
                (found,) = ticket.work([ticket.item])
                ticket.settle(found)
            except Cancelled:
                ticket.settle(error=cancelled())
            except BaseException as error:
                ticket.settle(error=error)

    def _taken(self) -> list[Ticket]:
        """Take the first request, and those of its group, in their order, that there is room for."""
        if not self._waiting:
            return []
        first = self._waiting[0]
        found, size = [first], first.size
        for ticket in self._waiting[1:]:
            if ticket.group == first.group and size + ticket.size <= self.together:
                found.append(ticket)
                size += ticket.size
        kept = set(map(id, found))
        self._waiting = [t for t in self._waiting if id(t) not in kept]
        return found
