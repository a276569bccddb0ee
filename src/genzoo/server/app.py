"""The server's application: the model, an endpoint for each thing that it can do, health, metrics and a reference."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

import genzoo
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.metrics.drawing import takes_labels
from genzoo.server import reference, verbs
from genzoo.server.joining import TOGETHER, Joiner
from genzoo.server.metrics import TYPE, Counting, Metrics
from genzoo.server.served import Served
from genzoo.use.common.source import name_of
from genzoo.web.app import application
from genzoo.web.guard import Rules
from genzoo.web.jobs import Jobs
from genzoo.web.models import Models

WAITING = 64
"""Requests that may wait."""


class About(BaseModel):
    """What is served."""

    name: Annotated[str, Field(description="What it was trained as.")]
    can: Annotated[list[str], Field(description="Its capabilities.")]
    data: Annotated[str, Field(description="Kind of its examples.")]
    shape: Annotated[list[int], Field(description="Of one example; empty where any will do.")]
    class_names: Annotated[list[str], Field(description="Of what it takes as label, where the classes have names.")]
    parameters: int
    version: str


def server(
    place: str | Path | System,
    *,
    rules: Rules | None = None,
    device: str = "cpu",
    waiting: int = WAITING,
    together: int = TOGETHER,
) -> FastAPI:
    """Make the server of a model, which is loaded now.

    Args:
        place: A run's or an exported model's path, zoo:NAME, or hf:OWNER/NAME; or a system in memory.
        rules: Who may ask; this machine alone where not given.
        device: Where its networks are.
        waiting: Requests that may wait.
        together: Examples that are computed at once; 1 joins no requests.

    Raises:
        UserError: There is no such model, or it can nothing that is served.
    """
    models, jobs = Models(device), Jobs(workers=1, waiting=waiting)
    loaded = models.keep("model", place) if isinstance(place, System) else models.get(place)
    name = name_of(loaded.system)
    metrics = Metrics(name, type(loaded.system).__name__, genzoo.__version__)
    joiner = Joiner(jobs, loaded.key, together=together, told=metrics.joined)
    served = Served(loaded, jobs, joiner)
    app = application(
        title=f"genzoo: {name}",
        description=f"A trained {name}. It can: {', '.join(loaded.able)}.",
        rules=rules,
        jobs=jobs,
        models=models,
        counts=joiner.counts,
    )
    before = len(app.routes)
    for verb in endpoints():
        if set(verb.NEEDS) <= set(loaded.able):
            verb.add(app, served)
    if len(app.routes) == before:
        raise UserError(f"serve: {name} can nothing that is served; it can only train")

    @app.get("/", tags=["server"])
    def about() -> About:
        """Tell what is served."""
        system: Any = loaded.system
        return About(
            name=name,
            can=list(loaded.able),
            data=served.kind.name,
            shape=list(system.hparams.get("shape", ())),
            class_names=list(getattr(system, "trained", {}).get("class_names", [])) if takes_labels(system) else [],
            parameters=sum(p.numel() for p in system.parameters()),
            version=genzoo.__version__,
        )

    @app.get("/metrics", tags=["server"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def counted() -> Response:
        """Count requests, seconds, batches and memory, in Prometheus' form."""
        waiting, running = joiner.counts()
        metrics.waiting.set(waiting)
        metrics.running.set(running)
        return Response(metrics.text(), media_type=TYPE)

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(reference.page(app.openapi(), f"{request.url.scheme}://{request.url.netloc}"))

    @app.get("/docs.css", include_in_schema=False)
    def style() -> Response:
        return Response(reference.STYLE, media_type="text/css")

    paths = frozenset(getattr(route, "path", "") for route in app.routes)
    app.add_middleware(Counting, metrics=metrics, paths=paths)
    return app


def endpoints() -> list[Any]:
    """Find the modules of endpoints, by file."""
    names = sorted(p.stem for folder in verbs.__path__ for p in Path(folder).glob("*.py") if not p.stem.startswith("_"))
    return [importlib.import_module(f"{verbs.__name__}.{name}") for name in names]
