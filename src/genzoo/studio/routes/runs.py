"""The wall of runs and the page of one: what they hold, live; stop, go on, evaluate."""

from __future__ import annotations

import contextlib
from pathlib import Path as File
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import Field

from genzoo.core.errors import UserError
from genzoo.metrics import measure
from genzoo.runs.folder import Run
from genzoo.studio.bodies import Body, Seed
from genzoo.studio.commands import typed, word
from genzoo.studio.runs import processes, wall
from genzoo.studio.runs.state import names
from genzoo.web.app import TheShelf
from genzoo.web.errors import NotFound, Refused

router = APIRouter(prefix="/api/runs", tags=["runs"])
Name = Annotated[str, Path(max_length=255)]
Step = Annotated[int, Path(ge=0, lt=2**53)]
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""Of a picture whose address has a stamp that changes with it."""


class Further(Body):
    """How a run goes on."""

    steps: Annotated[int, Field(ge=1, lt=2**53)] | None = None


class Evaluation(Body):
    """Which measures are taken, and of how much."""

    measures: Annotated[list[Annotated[str, Field(max_length=80)]], Field(max_length=64)] = []
    n: Annotated[int, Field(ge=2, le=1_000_000)] | None = None
    split: Literal["", "train", "test", "all"] = ""
    seed: Seed = 0


@router.get("")
def every(shelf: TheShelf) -> dict[str, Any]:
    """List the runs of the folder, newest first, each in a few words, and the models of the zoo."""
    return {"folder": str(shelf.folder), "runs": wall.cards(shelf.folder), "zoo": wall.zoo()}


@router.get("/measures")
def measures() -> list[dict[str, str]]:
    """List the measures that can be asked for, by the question that they answer."""
    keys = ("question", "name", "line", "gives", "needs")
    return [dict(zip(keys, row, strict=True)) for row in measure.rows()]


@router.get("/{name}")
def one(name: Name, shelf: TheShelf) -> dict[str, Any]:
    """Show a run: curves, pictures, measures with their protocol, settings, and what the trainer says of its health."""
    return wall.page(shelf.folder, name)


@router.get("/{name}/samples/{step}.png")
def sample(name: Name, step: Step, shelf: TheShelf) -> Response:
    """Send the sample picture of a step: the same noise at every step."""
    return _picture(wall.picture_file(wall.find(shelf.folder, name), step))


@router.get("/{name}/evaluation/{picture}.png")
def evaluated(name: Name, picture: Annotated[str, Path(max_length=80)], shelf: TheShelf) -> Response:
    """Send a picture of the newest evaluation."""
    return _picture(wall.evaluation_picture(wall.find(shelf.folder, name), picture))


@router.get("/{name}/training.gif")
def film(name: Name, shelf: TheShelf) -> Response:
    """Send the film of the sample pictures that a training writes at its end."""
    file = wall.find(shelf.folder, name).path / "training.gif"
    try:
        data = file.read_bytes()
    except OSError:
        raise NotFound(f"'{name}' has no film yet; a training writes it at its end") from None
    return Response(
        data, media_type="image/gif", headers={"content-disposition": f"attachment; filename*=utf-8''{quote(name)}.gif"}
    )


@router.post("/{name}/stop")
def stop(name: Name, shelf: TheShelf) -> dict[str, Any]:
    """Have a training end: it saves, and can go on exactly there."""
    run = wall.find(shelf.folder, name)
    processes.stop(shelf.folder, run.name)
    return wall.card(shelf.folder, run.name)


@router.post("/{name}/resume")
def resume(name: Name, how: Further, shelf: TheShelf) -> dict[str, Any]:
    """Go on with a run in a process of its own: what `genzoo resume` does."""
    run = wall.find(shelf.folder, name)
    if processes.training(shelf.folder, run.name):
        raise Refused(f"'{run.name}' is training already", 409)
    more = [f"steps={how.steps}"] if how.steps else []
    processes.start(shelf.folder, run.name, ["resume", word(run.path), *more])
    return wall.card(shelf.folder, run.name)


@router.post("/{name}/evaluate/line")
def evaluation_line(name: Name, how: Evaluation, shelf: TheShelf) -> dict[str, str]:
    """Write the command line of an evaluation."""
    return {"line": typed(_evaluation(wall.find(shelf.folder, name), how))}


@router.post("/{name}/evaluate")
def evaluate(name: Name, how: Evaluation, shelf: TheShelf) -> dict[str, str]:
    """Take measures of a run in a process of its own: what `genzoo evaluate` does."""
    run = wall.find(shelf.folder, name)
    if not run.model.is_file():
        raise UserError(f"'{run.name}' has no model yet; a training writes it with its first checkpoint")
    return {"line": processes.start(shelf.folder, run.name, _evaluation(run, how)).line}


def _evaluation(run: Run, how: Evaluation) -> list[str]:
    words = ["evaluate", word(run.path)]
    if how.measures:
        measure.choose(how.measures)  # an unknown name is said now
        words.append(f"measures={','.join(how.measures)}")
    return words + [
        f"{key}={value}" for key, value in (("n", how.n), ("split", how.split), ("seed", how.seed)) if value
    ]


@router.post("/{name}/evaluate/stop")
def stop_evaluating(name: Name, shelf: TheShelf) -> dict[str, bool]:
    """Have an evaluation end."""
    processes.stop(shelf.folder, wall.find(shelf.folder, name).name, "evaluate")
    return {"stopped": True}


@router.delete("/{name}/start")
def forget(name: Name, shelf: TheShelf) -> dict[str, bool]:
    """Drop what is kept of a training that failed before it made its folder. A run itself is never removed here."""
    run = wall.find(shelf.folder, name)
    if run.path.exists():
        raise Refused(f"'{run.name}' has a folder; the studio removes no runs", 409)
    processes.forget(shelf.folder, run.name)
    return {"forgotten": run.name not in names(shelf.folder)}


def _picture(file: File) -> Response:
    """Send a picture as it is now: read at once, since a run may be removed between a look at the file and its sending."""
    with contextlib.suppress(OSError):
        if data := file.read_bytes():
            return Response(data, media_type="image/png", headers=KEPT)
    raise NotFound("this picture is not there any more")
