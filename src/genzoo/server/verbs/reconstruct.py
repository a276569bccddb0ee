"""POST /reconstruct: what a code keeps of examples."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, Request, Response, UploadFile

import genzoo
from genzoo.server.served import Served, examples, pictured
from genzoo.web import pictures
from genzoo.web.pictures import uploaded

NEEDS = ("encodes", "decodes")


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    async def reconstruct(request: Request, files: Annotated[list[UploadFile], File()]) -> Response:
        """Encode and decode examples. Pictures are scaled and cut to the model's size."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        given = await uploaded(files)
        found = await served.alone(
            request, lambda: genzoo.reconstruct(served.system, examples(served, given)), "reconstruct"
        )
        return await pictured(found, served, ending)

    app.post("/reconstruct", tags=["model"], response_class=Response, responses=served.forms("reconstructions"))(
        reconstruct
    )
