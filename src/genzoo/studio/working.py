"""The model that a request names, and work on it: a job that a page watches, or an answer that is waited for; and what a job has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request

from genzoo.core.system import System
from genzoo.studio.commands import word
from genzoo.web.app import TheJobs, TheModels, TheShelf
from genzoo.web.errors import NotFound
from genzoo.web.jobs import Job, Jobs, answered
from genzoo.web.models import Models, Shelf

T = TypeVar("T")
F = TypeVar("F")


@dataclass(frozen=True)
class NamedModel:
    """A model by its name, which is loaded when a job works on it; jobs of one model run one after the other.

    Args:
        name: What the client calls it: a run, or zoo:NAME.
        place: What `Models.get` takes.
        jobs: The queue.
        models: Where it is loaded.
    """

    name: str
    place: str
    jobs: Jobs
    models: Models

    @property
    def word(self) -> str:
        """What stands for it in a command line."""
        return word(self.place)

    def watched(self, doing: str, work: Callable[[System], Any]) -> dict[str, Any]:
        """Have work done, and return at once what a page shows of the job: see `Jobs.shown`.

        Args:
            doing: What it is, in a word or two before the model's name.
            work: What is done with the model, in a thread of the queue.
        """
        return self.jobs.shown(self._submit(doing, work, watched=True))

    async def answered(self, request: Request, doing: str, work: Callable[[System], T]) -> T:
        """Have work done while the client waits for it, and return its result: see `web.jobs.answered`."""
        found: T = await answered(request, self.jobs, self._submit(doing, work, watched=False))
        return found

    def _submit(self, doing: str, work: Callable[[System], Any], *, watched: bool) -> Job:
        label = f"{doing} {self.name[:60]}"
        return self.jobs.submit(
            self.place, lambda job: work(self.models.get(self.place).system), label, watched=watched
        )


def named(name: str, jobs: Jobs, models: Models, shelf: Shelf) -> NamedModel:
    """Find a model by its name.

    Raises:
        NotFound: There is none of this name.
    """
    return NamedModel(name, shelf.place(name), jobs, models)


def _in_path(name: str, jobs: TheJobs, models: TheModels, shelf: TheShelf) -> NamedModel:
    return named(name, jobs, models, shelf)


def _in_query(
    run: Annotated[str, Query(max_length=255)], jobs: TheJobs, models: TheModels, shelf: TheShelf
) -> NamedModel:
    return named(run, jobs, models, shelf)


def found_by(jobs: Jobs, job: str, form: type[F]) -> F:
    """Return what a watched job has found.

    Args:
        jobs: The queue.
        job: Its id.
        form: What jobs of this page find.

    Raises:
        NotFound: There is no such job, it is not done yet, or it is one of another page.
        Refused: It was cancelled; or what went wrong in it.
    """
    asked = jobs.find(job)
    if not asked.over:
        raise NotFound("this job is not done yet")
    result = asked.outcome()
    if not isinstance(result, form):
        raise NotFound("this is a job of another page")
    return result


TheModel = Annotated[NamedModel, Depends(_in_path)]
"""The model of the `{name}` in a route's path, as an argument of the route."""
TheRun = Annotated[NamedModel, Depends(_in_query)]
"""The model of `?run=`, as an argument of a route."""
