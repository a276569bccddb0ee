"""The studio's application: the routers of every file in `routes/`, and the page in `page/`."""

from __future__ import annotations

import importlib
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from genzoo.studio import routes
from genzoo.web.app import application
from genzoo.web.guard import Rules
from genzoo.web.models import Models, Shelf

PAGE = Path(__file__).parent / "page"


def studio(folder: str | Path, *, rules: Rules | None = None, device: str = "cpu") -> FastAPI:
    """Make the studio over a folder of runs.

    `app.state.shelf` are its runs (`TheShelf` among a route's arguments).

    Args:
        folder: Where the runs are.
        rules: Who may ask; this machine alone where not given.
        device: Where models are loaded.
    """
    app = application(title="genzoo studio", rules=rules, models=Models(device))
    app.state.shelf = Shelf(folder)
    for router in routers():
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def routers() -> list[APIRouter]:
    """Find the router of every file in `routes/`."""
    names = sorted(
        p.stem for folder in routes.__path__ for p in Path(folder).glob("*.py") if not p.stem.startswith("_")
    )
    return [importlib.import_module(f"{routes.__name__}.{name}").router for name in names]
