"""POST /complete: fill in what is missing of an image, or go on with a sound."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from fastapi import FastAPI, File, Query, Request, Response, UploadFile
from pydantic import Field
from torch import Tensor

import genzoo
from genzoo.server.served import Seed, Served, examples, options, own_of, pictured, typed
from genzoo.use.complete import box_mask
from genzoo.web import pictures
from genzoo.web.errors import Refused
from genzoo.web.pictures import uploaded

NEEDS = ("completes",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""
    system, sequential = served.system, served.kind.sequential
    fields: dict[str, Any] = {
        "n": (Annotated[int, Field(ge=1, le=min(64, served.most))], Field(1, description="How many completions.")),
        "seed": (Seed, Field(0, description="Which.")),
    }
    if sequential:
        said = "Seconds from the start that are kept; half a window when not given."
        fields["after"] = (Annotated[float, Field(gt=0)] | None, Field(None, description=said))
    else:
        said = "What is drawn anew: x,y,width,height in pixels; the lower half when neither this nor a mask is given."
        fields["box"] = (
            Annotated[str, Field(pattern=r"^\d{1,6},\d{1,6},\d{1,6},\d{1,6}$")] | None,
            Field(None, description=said),
        )
    asked = options("Complete", system, "complete", **fields)

    async def complete(
        request: Request,
        query: Any,
        file: Annotated[UploadFile, File()],
        mask: Annotated[UploadFile | None, File(description="As large as the image: white is drawn anew.")] = None,
    ) -> Response:
        """Fill in what is missing; what is known stays what it was. Pictures are scaled and cut to the model's size."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        given, hole = await uploaded([file]), await uploaded([mask]) if mask is not None else []
        how = query.model_dump()
        own = own_of(query, *fields)

        def work() -> Tensor:
            x = examples(served, given)[:1]
            known = kept_of_sound(x, system.hparams["rate"], how["after"]) if sequential else kept(x, hole, how["box"])
            return genzoo.complete(system, x.expand(how["n"], *x.shape[1:]), known, seed=how["seed"], **own)

        return await pictured(await served.alone(request, work, "complete"), served, ending)

    endpoint = typed(complete, query=Annotated[asked, Query()])
    app.post("/complete", tags=["model"], response_class=Response, responses=served.forms("completions"))(endpoint)


def kept(x: Tensor, mask: list[tuple[str, bytes]], box: str | None) -> Tensor:
    """Return which pixels of images [N, C, H, W] are kept, bool [H, W]."""
    height, width = x.shape[-2:]
    if mask and box:
        raise Refused("give a mask or box=, not both")
    if mask:
        ((name, data),) = mask
        white = pictures.read_image(data, 1, name=name)[0]
        if white.shape != (height, width):
            raise Refused(
                f"the mask is {white.shape[1]}x{white.shape[0]}; it has to be {width}x{height}, as the model's images are"
            )
        return white < 0
    left, top, wide, high = map(int, box.split(",")) if box else (0, height // 2, width, height - height // 2)
    return box_mask((left, top, wide, high), (height, width))


def kept_of_sound(x: Tensor, rate: int, after: float | None) -> Tensor:
    """Return which samples of sounds [N, 1, T] are kept, bool [T]."""
    length = x.shape[-1]
    count = length // 2 if after is None else round(min(after, 1e6) * rate)
    if not 0 < count < length:
        raise Refused(
            f"after={after:g} is not allowed; give more than 0 and less than {length / rate:g}, the window's length"
        )
    return torch.arange(length) < count
