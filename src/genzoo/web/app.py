"""The application that a server of genzoo begins with: guarded, with its jobs and models, errors in words, and no route besides /health."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

import genzoo
from genzoo.web import errors
from genzoo.web.errors import Boundary
from genzoo.web.guard import Guard, Rules
from genzoo.web.jobs import Jobs
from genzoo.web.models import Models, Shelf


class Health(BaseModel):
    """That the server lives, and how busy it is."""

    status: str
    version: str
    waiting: int
    running: int


def application(
    *,
    title: str = "genzoo",
    description: str = "",
    rules: Rules | None = None,
    jobs: Jobs | None = None,
    models: Models | None = None,
    counts: Callable[[], tuple[int, int]] | None = None,
) -> FastAPI:
    """Make an application, to which routes are added.

    `app.state.jobs`, `app.state.models` and `app.state.rules` are what a route asks for, as `TheJobs` and `TheModels` among its arguments.

    Args:
        title: What it is called in /openapi.json.
        description: What it is, there.
        rules: Who may ask; this machine alone where not given.
        jobs: Its queue.
        models: Its models.
        counts: How many requests wait and run, for /health; those of the queue where not given.
    """
    jobs, models, rules = jobs or Jobs(), models or Models(), rules or Rules()

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        jobs.close()

    app = FastAPI(
        title=title,
        description=description,
        version=genzoo.__version__,
        docs_url=None,  # its page is loaded from elsewhere
        redoc_url=None,
        lifespan=living,
        separate_input_output_schemas=False,
    )
    app.state.jobs, app.state.models, app.state.rules = jobs, models, rules
    errors.install(app)
    app.add_middleware(Boundary)
    app.add_middleware(Guard, rules=rules)  # the last one added is asked first

    @app.get("/health", tags=["server"])
    async def health() -> Health:
        """Tell that the server lives."""
        waiting, running = (counts or jobs.counts)()
        return Health(status="ok", version=genzoo.__version__, waiting=waiting, running=running)

    return app


def _jobs(request: Request) -> Any:
    return request.app.state.jobs


def _models(request: Request) -> Any:
    return request.app.state.models


def _shelf(request: Request) -> Any:
    return request.app.state.shelf


TheJobs = Annotated[Jobs, Depends(_jobs)]
"""The queue, as an argument of a route."""
TheModels = Annotated[Models, Depends(_models)]
"""The cache of models, as an argument of a route."""
TheShelf = Annotated[Shelf, Depends(_shelf)]
"""The runs of the studio's folder, as an argument of a route."""
