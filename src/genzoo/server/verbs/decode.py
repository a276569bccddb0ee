"""POST /decode: the data that latents stand for. What is waiting is decoded together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from fastapi import FastAPI, Request, Response
from torch import Tensor

from genzoo.server.served import Served, pictured
from genzoo.use.common.source import generators_for
from genzoo.web import pictures
from genzoo.web.errors import Refused

NEEDS = ("decodes",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""
    with torch.no_grad():
        prior = served.system.sample_prior(1, generator=generators_for(served.system, 0, 1))
    sides = tuple(prior.shape[1:])
    nested: dict[str, Any] = {"type": "number"}
    for side in reversed(sides):
        nested = {"type": "array", "items": nested, "minItems": side, "maxItems": side}
    nested = {"type": "array", "items": nested, "minItems": 1, "maxItems": served.most}
    nested["description"] = (
        f"[N, {', '.join(map(str, sides))}]; or the bytes of such an array in a .npy file as the whole body."
    )
    schema = {
        "type": "object",
        "properties": {"latents": nested},
        "required": ["latents"],
        "additionalProperties": False,
    }
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": schema},
            "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
        },
    }

    async def decode(request: Request) -> Response:
        """Return the data that latents stand for."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        z = read(await request.body(), request.headers.get("content-type", ""), sides, prior.dtype)
        if not 1 <= len(z) <= served.most:
            raise Refused(f"{len(z)} latents were sent; from 1 to {served.most} are taken at once")
        decoded = await served.joined(request, "decode", len(z), z, lambda items: together(served.system, items))
        return await pictured(decoded, served, ending)

    extra = {"requestBody": body}
    app.post(
        "/decode",
        tags=["model"],
        response_class=Response,
        responses=served.forms("what they stand for"),
        openapi_extra=extra,
    )(decode)


@torch.no_grad()
def together(system: Any, items: Sequence[Tensor]) -> list[Tensor]:
    """Decode the latents of several requests at once."""
    decoded = system.decode(torch.cat(list(items)).to(system.device)).float().cpu()
    return list(decoded.split([len(z) for z in items]))


def read(data: bytes, kind: str, sides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Read latents [N, ...] from a body.

    Raises:
        Refused: It holds none, or latents of another shape.
    """
    said = f"[N, {', '.join(map(str, sides))}]"
    if data.startswith(b"\x93NUMPY"):
        z = pictures.read_npy(data, "the body")
    elif "json" in kind.lower():
        try:
            given = json.loads(data)
            if not isinstance(given, dict) or set(given) != {"latents"} or not isinstance(given["latents"], list):
                raise Refused('the body is an object with the one key "latents"')
            z = torch.tensor(given["latents"], dtype=torch.float32)
        except Refused:
            raise
        except (ValueError, TypeError, RuntimeError, RecursionError, OverflowError):
            raise Refused(f'the body is no JSON of numbers: send {{"latents": ...}} of shape {said}') from None
    else:
        raise Refused("latents are sent as application/json or application/x-npy", 415)
    if tuple(z.shape[1:]) != sides or not torch.isfinite(z).all():
        raise Refused(f"latents of shape {list(z.shape)} were sent; this model takes finite numbers {said}")
    return z.to(dtype)
