"""POST /sample: draw new data. What is waiting is drawn together; sample i of a seed is that of `genzoo sample RUN n= seed=`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from fastapi import Body, FastAPI, Request, Response
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Prompted
from genzoo.metrics.drawing import takes_prompts
from genzoo.nn.draws import Generators
from genzoo.server.served import Seed, Served, options, own_of, pictured, typed
from genzoo.web import pictures

NEEDS = ("samples",)


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""
    system = served.system
    count = Annotated[int, Field(ge=1, le=served.most)]
    asked = options(
        "Sample",
        system,
        "sample",
        n=(count, Field(1, description="How many.")),
        seed=(Seed, Field(0, description="Which; the same seed gives the same samples.")),
    )

    async def sample(request: Request, body: Any) -> Response:
        """Draw new data. PNG of one image are its pixels, of several a grid; .npy holds all values, float32 in [-1, 1]."""
        ending = pictures.wanted(request.headers.get("accept", ""), served.kind)
        own = own_of(body, "n", "seed")
        places = [(body.seed, i) for i in range(body.n)]
        group = ("sample", *sorted(own.items()))
        drawn = await served.joined(request, group, len(places), places, lambda items: draw(system, items, own))
        unread = unread_in(system, own.get("prompt"))
        return await pictured(drawn, served, ending, {"genzoo-unread": unread} if unread else None)

    endpoint = typed(sample, body=Annotated[asked, Body(default_factory=asked)])
    app.post("/sample", tags=["model"], response_class=Response, responses=served.forms("samples"))(endpoint)


@torch.no_grad()
def draw(system: Any, items: Sequence[list[tuple[int, int]]], own: dict[str, Any]) -> list[Tensor]:
    """Draw the samples of several requests together, each given as the seed and the number of every sample.

    A system that draws something for all samples in common would give each request other samples in other company: it is noticed by its
    generator, and then each request is drawn by itself.
    """
    together = Generators(system.device, [place for item in items for place in item])
    before = together.get_state()
    drawn = system.sample(sum(map(len, items)), generator=together, **own).float().cpu()
    if len(items) > 1 and not torch.equal(before, together.get_state()):
        return [d for item in items for d in draw(system, [item], own)]
    return list(drawn.split([len(item) for item in items]))


def unread_in(system: Any, prompt: str | None) -> str:
    """Name the words of a prompt that say nothing to the system, as a header can hold them."""
    if prompt is None or not takes_prompts(system):
        return ""
    assert isinstance(system, Prompted)
    return ", ".join(system.unread(prompt)).encode("ascii", "backslashreplace").decode()[:500]
