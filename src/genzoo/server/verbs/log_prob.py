"""POST /log_prob: how likely examples are to the model."""

from __future__ import annotations

import math
from typing import Annotated, Any

import torch
from fastapi import FastAPI, File, Query, Request, UploadFile
from pydantic import BaseModel, Field

from genzoo.server.served import MISTAKES, Seed, Served, examples, options, own_of, typed
from genzoo.web.pictures import uploaded

NEEDS = ("density",)


class Scores(BaseModel):
    """How likely examples are: one number for each."""

    log_prob: Annotated[list[float | None], Field(description="In nats; null where the model says that it cannot be.")]
    per_value: Annotated[list[float | None], Field(description="-log_prob in the unit below.")]
    unit: Annotated[str, Field(description="Of per_value.")]
    likelihood: Annotated[str, Field(description="exact, or the bound with its estimator.")]


def add(app: FastAPI, served: Served) -> None:
    """Add the endpoint."""
    system, kind = served.system, served.kind
    asked = options("LogProb", system, "log_prob", seed=(Seed, Field(0, description="Of what the estimate draws.")))

    async def log_prob(request: Request, query: Any, files: Annotated[list[UploadFile], File()]) -> Scores:
        """Score examples, each by itself, with the same seed. Pictures are scaled and cut to the model's size first."""
        own, seed = own_of(query, "seed"), query.seed
        given = await uploaded(files)

        @torch.no_grad()
        def work() -> tuple[list[float], int]:
            x = examples(served, given).to(system.device)
            one_by_one = [
                system.log_prob(one[None], generator=torch.Generator(system.device).manual_seed(seed), **own)
                for one in x
            ]
            return torch.cat(one_by_one).double().tolist(), x[0].numel()

        nats, values = await served.alone(request, work, "log_prob")
        in_bits = bool(kind.bits_of)
        scale = values * math.log(2) if in_bits else 1.0
        return Scores(
            log_prob=[v if math.isfinite(v) else None for v in nats],
            per_value=[-v / scale if math.isfinite(v) else None for v in nats],
            unit=f"bits per {kind.bits_of}" if in_bits else "nats",
            likelihood=system.likelihood,
        )

    endpoint = typed(log_prob, query=Annotated[asked, Query()])
    app.post("/log_prob", tags=["model"], response_model=Scores, responses=MISTAKES)(endpoint)
