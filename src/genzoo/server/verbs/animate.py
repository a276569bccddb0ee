"""POST /animate: clips that begin with images."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, Request, Response, UploadFile
from torch import Tensor

import genzoo
from genzoo.server.served import Served, pictured
from genzoo.web import pictures
from genzoo.web.pictures import uploaded

NEEDS = ("animates",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    async def animate(request: Request, file: Annotated[UploadFile, File()]) -> Response:
        """Go on from a still image, scaled and cut to the model's size."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        ((name, data),) = await uploaded([file])

        def work() -> Tensor:
            channels, _, height, width = served.system.hparams["shape"]
            x = pictures.read_image(data, channels, name=name, size=(height, width))
            return genzoo.animate(served.system, x[None])

        return await pictured(await served.alone(request, work, "animate"), served, ending)

    app.post("/animate", tags=["model"], response_class=Response, responses=served.forms("a clip"))(animate)
