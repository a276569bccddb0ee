"""POST /decompress: the images of a file that /compress or 'genzoo compress' has made with this model."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, File, Request, Response, UploadFile
from torch import Tensor

from genzoo.server.served import Served, pictured
from genzoo.use.common import codec
from genzoo.web import pictures
from genzoo.web.errors import Refused
from genzoo.web.pictures import uploaded

NEEDS = ("compresses",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    async def decompress(request: Request, file: Annotated[UploadFile, File()]) -> Response:
        """Return the images of a compressed file, bit for bit: .npy holds each, a PNG of several is a grid."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        ((name, data),) = await uploaded([file])

        def work() -> Tensor:
            header, _ = codec.unpack(data, name)
            if header.count > served.most:
                raise Refused(f"'{name}' holds {header.count} images; at most {served.most} are decoded at once", 413)
            return codec.decode(served.system, data, name)[0]

        return await pictured(await served.alone(request, work, "decompress"), served, ending)

    app.post("/decompress", tags=["model"], response_class=Response, responses=served.forms("the images"))(decompress)
