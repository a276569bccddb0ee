"""What endpoints share: the model, its queue, options read from its signatures, and files that were sent as examples of its data."""

from __future__ import annotations

import functools
import math
import operator
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import annotated_types
import torch
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model
from torch import Tensor

from genzoo.core.inputs import check_range
from genzoo.core.schema import settings
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.data.kinds import Kind
from genzoo.metrics.drawing import takes_labels, takes_prompts
from genzoo.server.joining import Joiner, Work
from genzoo.use.common.images import channels_of, window_of
from genzoo.use.common.source import own_options
from genzoo.use.sample import class_of
from genzoo.web import pictures
from genzoo.web.errors import Refused
from genzoo.web.jobs import Jobs, until_over
from genzoo.web.models import Loaded, shown

MOST = 256
"""Examples of one request, at most."""
VALUES = 64_000_000
"""Values of the examples of one request, at most."""
LARGEST = 1024
"""What a whole number among a system's own options may be, where its signature has no upper bound."""

SMALL = 64 * 64 * 4
"""Values that are written as PNG or .npy in less than a millisecond."""

Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Mistake(BaseModel):
    """Why a request was not answered."""

    error: str


MISTAKES: dict[int | str, dict[str, Any]] = {
    code: {"model": Mistake, "description": said}
    for code, said in {
        401: "a token is needed",
        403: "asked from a page of another site",
        406: "not to be had in the form that was asked for",
        409: "cancelled",
        413: "larger than is taken",
        415: "not in a form that is read",
        421: "the name in the request's Host is not this server's",
        422: "what was asked cannot be done",
        503: "too many wait; see Retry-After",
        507: "no memory or room",
    }.items()
}
"""Answers that every endpoint may give."""


@dataclass(frozen=True)
class Served:
    """The model of a server.

    Args:
        loaded: It.
        jobs: The queue.
        joiner: What joins requests.
    """

    loaded: Loaded
    jobs: Jobs
    joiner: Joiner

    @property
    def system(self) -> Any:
        """The system; what it can do was asked before its endpoint was added."""
        return self.loaded.system

    @property
    def kind(self) -> Kind:
        """The kind of its data."""
        return kinds.of(self.system)

    @property
    def most(self) -> int:
        """Examples of one request, at most: as memory has room for."""
        values = math.prod(map(int, self.system.hparams.get("shape", ())))
        return max(1, min(MOST, VALUES // max(1, values)))

    async def joined(self, request: Request, group: Any, size: int, item: Any, work: Work) -> Any:
        """Wait for an answer that may be computed together with others."""
        ticket = self.joiner.submit(group, size, item, work)
        return await until_over(request, ticket, self.joiner.leave)

    async def alone(self, request: Request, work: Callable[[], Any], label: str) -> Any:
        """Wait for an answer that is computed by itself."""
        job = self.jobs.submit(self.loaded.key, lambda job: work(), label)
        return await until_over(request, job, self.jobs.cancel)

    def forms(self, description: str) -> dict[int | str, dict[str, Any]]:
        """Describe answers that hold examples, in the forms in which they can be had."""
        content = {
            pictures.TYPES[e]: {"schema": {"type": "string", "format": "binary"}} for e in pictures.endings(self.kind)
        }
        return {**MISTAKES, 200: {"description": description, "content": content}}


def typed(function: Callable[..., Awaitable[Any]], **annotations: Any) -> Callable[..., Awaitable[Any]]:
    """Give arguments of an endpoint the types that the system's signatures say."""
    function.__annotations__.update(annotations)
    return function


def options(name: str, system: System, method: str, **fields: Any) -> type[BaseModel]:
    """Make the model of a request: its fields, and the options that a system's own method takes beyond its protocol.

    Args:
        name: What it is called in /openapi.json.
        system: The system.
        method: The method whose options they are.
        fields: Type and default of the fields that every system has.
    """
    known = settings(getattr(type(system), method))
    for key in own_options(system, method):
        setting = known[key]
        if (
            (key == "label" and not takes_labels(system))
            or (key == "prompt" and not takes_prompts(system))
            or setting.required
        ):
            continue
        fields[key] = (_type(system, key, setting.annotation), Field(setting.default, description=setting.doc))
    config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    made: type[BaseModel] = create_model(name, __config__=config, **fields)
    return made


def _type(system: System, key: str, annotation: Any) -> Any:
    """Return the type of an option, with an upper bound where it has none."""
    if key == "label":
        return _label(system)
    if key == "prompt":
        return Annotated[str, Field(min_length=1, max_length=1000)] | None
    return _bounded(annotation)


def _label(system: System) -> Any:
    """Return the type of a class: its number, or its name where classes have names."""
    names, count = getattr(system, "trained", {}).get("class_names", []), int(getattr(system, "labels", 0))
    forms = [{"type": "integer", "minimum": 0, "maximum": count - 1}, {"type": "null"}]
    forms += [{"type": "string", "enum": [*names]}] if names else []

    def number(given: Any) -> Any:
        found = class_of(system, given) if isinstance(given, (str, int)) and not isinstance(given, bool) else given
        found = (
            int(found) if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 9 else found
        )
        if found is not None and (isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < count):
            raise ValueError(
                f"{shown(str(given))} is not allowed; give 0 to {count - 1}" + (", or a class's name" if names else "")
            )
        return found

    return Annotated[Any, BeforeValidator(number), WithJsonSchema({"anyOf": forms})]


def _bounded(annotation: Any) -> Any:
    """Give whole numbers that have no upper bound one: what a signature leaves open is not for everybody to choose."""
    if annotation is int:
        return Annotated[int, Field(le=LARGEST)]
    if get_origin(annotation) is Annotated and get_args(annotation)[0] is int:
        limits = [m for extra in get_args(annotation)[1:] for m in getattr(extra, "metadata", [extra])]
        ends = any(isinstance(m, (annotated_types.Le, annotated_types.Lt)) for m in limits)
        return annotation if ends else Annotated[annotation, Field(le=LARGEST)]
    if get_origin(annotation) in (types.UnionType, Union):
        return functools.reduce(operator.or_, map(_bounded, get_args(annotation)))
    return annotation


def own_of(asked: BaseModel, *fields: str) -> dict[str, Any]:
    """Return the system's own options that a request gives."""
    return {k: v for k, v in asked.model_dump(exclude_unset=True).items() if k not in fields}


def examples(served: Served, files: Sequence[tuple[str, bytes]]) -> Tensor:
    """Read files that were sent as examples of the system's data, [N, ...]: pictures and sounds are brought to its form, arrays have it.

    Raises:
        Refused: One of them is none, of another shape or range, or they are too many.
    """
    shape = tuple(served.system.hparams.get("shape", ()))
    found = [_example(served, shape, name, data) for name, data in files]
    if len({x.shape[1:] for x in found}) > 1:
        raise Refused("the files are examples of several shapes; send one at a time")
    x = torch.cat(found)
    if not 1 <= len(x) <= served.most:
        raise Refused(f"{len(x)} examples were sent; from 1 to {served.most} are taken at once", 413 if len(x) else 422)
    check_range(x)
    return x


def _example(served: Served, shape: tuple[int, ...], name: str, data: bytes) -> Tensor:
    """Read one file: examples of it, [n, ...]."""
    kind, system = served.kind, served.system
    if data.startswith(b"\x93NUMPY"):
        values = pictures.read_npy(data, name)
        if tuple(values.shape) == shape:
            return values[None]
        if tuple(values.shape[1:]) == shape:
            return values
        if kind.name != "image" or values.ndim > 3:
            said = "x".join(map(str, values.shape)) or "()"
            raise Refused(f"'{name}' is an array of {said}; this model takes [N, {', '.join(map(str, shape))}]")
    if kind.name == "image" and len(shape) in (0, 3):
        size = (shape[1], shape[2]) if shape else None
        return pictures.read_image(data, channels_of(system), name=name, size=size, window=window_of(system))[None]
    if kind.sequential:
        sound = pictures.read_sound(data, system.hparams["rate"], name=name)
        window = torch.zeros(1, 1, shape[1])
        window[..., : sound.shape[1]] = sound[:, : shape[1]]
        return window
    raise Refused(f"'{name}' is no array; this model takes .npy files of [N, {', '.join(map(str, shape))}]", 415)


def numbers(values: Tensor, accept: str, name: str, **more: Any) -> Response:
    """Answer with numbers: as .npy where that is accepted, else as JSON under `name`, with its shape."""
    words = accept.lower()
    if "application/x-npy" in words or "application/octet-stream" in words:
        return Response(pictures.npy(values), media_type=pictures.TYPES[".npy"])
    return JSONResponse({name: values.tolist(), "shape": list(values.shape), **more})


NUMBERS = {"content": {"application/x-npy": {"schema": {"type": "string", "format": "binary"}}}}


async def pictured(samples: Tensor, served: Served, ending: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with examples: see `genzoo.web.pictures.answer`. What takes longer than going to a thread and back is written in one."""
    if samples.numel() <= SMALL and ending in (".png", ".npy"):
        return pictures.answer(samples, served.system, ending, headers)
    return await run_in_threadpool(pictures.answer, samples, served.system, ending, headers)
