"""Mistakes as answers: one sentence in JSON, `{"error": "..."}`, with the status that says whose mistake it was. Never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from genzoo.core.errors import DiskFull, NoSuchData, UserError, nearest

LOG = logging.getLogger("genzoo.web")
"""What went wrong inside is written here, for whoever runs the server; who asked gets a sentence."""


class Refused(UserError):
    """What was asked is refused with a status of its own.

    Args:
        message: One sentence: what was asked, what is allowed, what to do.
        status: HTTP status.
        headers: Headers of the answer, such as Retry-After.
    """

    def __init__(self, message: str, status: int = 422, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


class NotFound(Refused):
    """There is nothing of this name."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 404)


class TooLargeBody(HTTPException):
    """A body is larger than is taken. It is an HTTPException, so that readers of bodies let it pass."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"the body is larger than the {size(most)} that are taken; send a smaller file, or fewer")


NO_MEMORY = "there is no memory left for this; ask for fewer at once, or for a smaller model"
WORDS = {
    404: "there is nothing at this address",
    405: "this address does not take this method",
    400: "the request cannot be read",
}
"""Sentences in place of the framework's two words."""


def size(count: int) -> str:
    """Say a number of bytes.

    >>> size(32 << 20), size(2048)
    ('32 MiB', '2 KiB')
    """
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.4g} {name}"
    return f"{count} bytes"


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with one sentence."""
    return JSONResponse({"error": message}, status, dict(headers or {}))


def said(error: BaseException) -> tuple[int, str, dict[str, str]]:
    """Put an error into status, sentence and headers; what nobody foresaw is logged, and said without its inside."""
    if isinstance(error, Refused):
        return error.status, str(error), error.headers
    if isinstance(error, DiskFull):
        return 507, str(error), {}
    if isinstance(error, NoSuchData):
        return 404, str(error), {}
    if isinstance(error, UserError):
        return 422, str(error), {}
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return 507, NO_MEMORY, {}
    LOG.error("an error that nobody foresaw", exc_info=error)
    return 500, "something went wrong inside; whoever runs the server finds it in what it printed", {}


def in_words(errors: Any, known: Sequence[str] = ()) -> str:
    """Put what pydantic says of a request into one sentence; `known` are the options that there are.

    >>> in_words([{"loc": ("body", "n"), "msg": "Input should be greater than or equal to 1", "input": 0, "type": "..."}])
    'n: should be greater than or equal to 1'
    """
    found = []
    for error in errors:
        where = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
        message = str(error["msg"]).removeprefix("Input ").removeprefix("Value error, ")
        if error["type"] == "json_invalid":
            where, message = [], "the body is no JSON"
        elif error["type"] == "missing":
            message = "is required" if where else "a body is needed"
        elif error["type"] == "extra_forbidden":
            there = f"; there {'are' if len(known) > 1 else 'is'} {', '.join(known)}" if known else ""
            message = f"there is no such option{nearest(where[-1], known) or there}"
        elif not where and error["type"] in ("model_attributes_type", "model_type", "dict_type"):
            message = 'the body is a JSON object such as {"n": 4}, sent with the header Content-Type: application/json'
        found.append(f"{'.'.join(where)}: {message}" if where else message)
    shown = "; ".join(dict.fromkeys(found[:5]))
    return shown[:1000] + (f" ... and {len(found) - 5} more" if len(found) > 5 else "")


def install(app: FastAPI) -> None:
    """Have what the framework finds wrong with a request answered in a sentence; everything else is `Boundary`'s."""

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(422, in_words(error.errors(), _options(request)))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        usual = {"Not Found", "Method Not Allowed", "Bad Request"}
        detail = WORDS.get(error.status_code, error.detail) if error.detail in usual else error.detail
        if error.status_code == 405 and (allowed := (error.headers or {}).get("Allow")):
            detail = f"this address does not take {request.method}; it takes {allowed}"
        return answer(error.status_code, str(detail), error.headers)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def _options(request: Request) -> list[str]:
    """List the options of the address that a request was sent to."""
    takes = getattr(request.scope.get("route"), "dependant", None)
    models = [p.field_info.annotation for p in (*takes.body_params, *takes.query_params)] if takes else []
    return [key for m in models if isinstance(m, type) and issubclass(m, BaseModel) for key in m.model_fields]


class Boundary:
    """Answer what no handler of the application has answered, outside of everything that may raise.

    Args:
        app: The application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request pass, and answer where that fails."""
        begun = False

        async def sent(message: Any) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            await answer(*said(error))(scope, receive, send)
