"""POST /latents: draw latents from the prior, for /decode."""

from __future__ import annotations

from typing import Annotated

import torch
from fastapi import Body, FastAPI, Request, Response
from pydantic import BaseModel, Field

from genzoo.server.served import MISTAKES, NUMBERS, Seed, Served, numbers, typed
from genzoo.use.common.source import generators_for

NEEDS = ("decodes",)


class Latents(BaseModel):
    """Latents, and their shape."""

    latents: list[object]
    shape: list[int]


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    class Asked(BaseModel, extra="forbid"):
        n: Annotated[int, Field(ge=1, le=served.most, description="How many.")] = 1
        seed: Annotated[Seed, Field(description="Which.")] = 0

    async def latents(request: Request, body: Asked) -> Response:
        """Draw latents from the prior: JSON, or .npy where that is accepted."""

        @torch.no_grad()
        def work() -> torch.Tensor:
            generator = generators_for(served.system, body.seed, body.n)
            found: torch.Tensor = served.system.sample_prior(body.n, generator=generator)
            return found.float().cpu()

        drawn = await served.alone(request, work, "latents")
        return numbers(drawn, request.headers.get("accept", ""), "latents")

    endpoint = typed(latents, body=Annotated[Asked, Body(default_factory=Asked)])
    responses = {**MISTAKES, 200: {"model": Latents, **NUMBERS}}
    app.post("/latents", tags=["model"], responses=responses, response_class=Response)(endpoint)
