"""POST /encode: the latents of examples."""

from __future__ import annotations

from typing import Annotated

import torch
from fastapi import FastAPI, File, Request, Response, UploadFile

from genzoo.server.served import MISTAKES, NUMBERS, Served, examples, numbers
from genzoo.server.verbs.latents import Latents
from genzoo.web.pictures import uploaded

NEEDS = ("encodes",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    async def encode(request: Request, files: Annotated[list[UploadFile], File()]) -> Response:
        """Return the latents of examples, as /decode takes them: JSON, or .npy where that is accepted. Pictures are brought to the model's size."""
        given = await uploaded(files)

        @torch.no_grad()
        def work() -> torch.Tensor:
            found: torch.Tensor = served.system.encode(examples(served, given).to(served.system.device))
            return found.float().cpu()

        return numbers(await served.alone(request, work, "encode"), request.headers.get("accept", ""), "latents")

    responses = {**MISTAKES, 200: {"model": Latents, **NUMBERS}}
    app.post("/encode", tags=["model"], response_class=Response, responses=responses)(encode)
