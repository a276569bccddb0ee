"""POST /compress: images into one file as small as the model's likelihood says."""

from __future__ import annotations

import io
from typing import Annotated

import torch
from fastapi import FastAPI, File, Request, Response, UploadFile

from genzoo.data.decode import stills
from genzoo.data.decode.forms import Rejected
from genzoo.data.formats import unusable
from genzoo.server.served import MISTAKES, Served
from genzoo.use.common import codec
from genzoo.use.compress import exact_image
from genzoo.web.errors import Refused
from genzoo.web.pictures import MEGAPIXELS, uploaded

NEEDS = ("compresses",)
TYPE = "application/x-gzoo"
FORM = {"content": {TYPE: {"schema": {"type": "string", "format": "binary"}}}, "description": "what /decompress reads"}


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""

    async def compress(request: Request, files: Annotated[list[UploadFile], File()]) -> Response:
        """Compress images of the model's own size; /decompress, or 'genzoo decompress', gives them back bit for bit."""
        given = await uploaded(files)

        def work() -> tuple[bytes, float]:
            for name, data in given:
                _looked_at(name, data)
            x = torch.stack([exact_image(io.BytesIO(data), served.system, name) for name, data in given])
            return codec.encode(served.system, x)

        data, bits = await served.alone(request, work, "compress")
        return Response(data, media_type=TYPE, headers={"genzoo-model-bits": f"{bits:.1f}"})

    app.post("/compress", tags=["model"], response_class=Response, responses={**MISTAKES, 200: FORM})(compress)


def _looked_at(name: str, data: bytes) -> None:
    """Refuse what is no image, or a large one, before it is decoded."""
    try:
        stills.look(io.BytesIO(data), name, most=int(MEGAPIXELS * 1e6))
    except Rejected as reason:
        raise Refused(unusable(name, reason)) from None
