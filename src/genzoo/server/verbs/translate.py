"""POST /translate: map an image of one domain to another, at its own size."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Query, Request, Response, UploadFile
from pydantic import Field
from torch import Tensor

import genzoo
from genzoo.server.served import Served, options, own_of, pictured, typed
from genzoo.use.common.images import channels_in, trained_on, window_of
from genzoo.web import pictures
from genzoo.web.pictures import uploaded

NEEDS = ("translates",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""
    system = served.system
    directions = tuple(system.directions)
    if not directions:
        return  # as it was trained there is nothing to translate
    way: Any = Literal[directions]
    asked = options("Translate", system, "translate", direction=(way, Field(directions[0], description="Which map.")))

    async def translate(request: Request, file: Annotated[UploadFile, File()], query: Any) -> Response:
        """Translate an image, at its own size. Transparency is laid on white."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        direction: str = query.direction
        own = own_of(query, "direction")
        ((name, data),) = await uploaded([file])

        def work() -> Tensor:
            channels = channels_in(system, direction)
            numbers = bool(trained_on(system).get("label_maps")) and channels == 1
            x = pictures.read_image(data, channels, name=name, window=window_of(system), numbers=numbers)
            return genzoo.translate(system, x[None], direction, **own)

        return await pictured(await served.alone(request, work, "translate"), served, ending)

    endpoint = typed(translate, query=Annotated[asked, Query()])
    app.post("/translate", tags=["model"], response_class=Response, responses=served.forms("the translation"))(endpoint)
