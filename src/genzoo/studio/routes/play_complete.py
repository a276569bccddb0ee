"""Fill in what a person has painted over, or go on with a sound."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from fastapi import APIRouter
from pydantic import Field
from torch import Tensor

from genzoo.core.capabilities import Completes
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.studio.bodies import Options, Own, Seed, plain
from genzoo.studio.commands import words_of
from genzoo.studio.play.own_pictures import as_system_takes, beside_made, photo_of
from genzoo.studio.play.results import Picture, Result, TheStore, image_address, of_samples, saying, shown_of
from genzoo.studio.working import TheModel
from genzoo.use.common.files import change_photo, save_photo, suffix_of
from genzoo.use.common.images import channels_of, window_of
from genzoo.use.common.source import require
from genzoo.use.common.tiles import HALF
from genzoo.use.complete import answers, complete, complete_pixels
from genzoo.web.pictures import read_image, read_sound

router = APIRouter(prefix="/api/play", tags=["play"])


class Hole(Own):
    """A picture, and what of it is to be drawn anew: white in the mask."""

    mask: Annotated[str, Field(max_length=40)]
    n: Annotated[int, Field(ge=1, le=16)] = 4
    seed: Seed = 0
    full: bool = False
    options: Options = {}


class Start(Own):
    """A sound of which the start is kept."""

    after: Annotated[float, Field(gt=0, le=3600)]
    n: Annotated[int, Field(ge=1, le=16)] = 2
    seed: Seed = 0
    options: Options = {}


@router.post("/of/{name}/complete")
def completed(asked: Hole, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Draw anew what is white in the mask; a job."""
    picture, mask = store.picture(asked.picture), store.picture(asked.mask)

    def work(system: System) -> dict[str, Any]:
        require(system, Completes, verb="complete")
        given = plain(asked.options)
        words = [f"seed={asked.seed}", *words_of(given)]
        command = ["complete", model.word, picture.name, "mask=mask.png"]
        if asked.full:
            result, shown = _photo(system, picture, mask.data, asked.seed, given, [*command, "full=true", *words])
            given_address = ""
        else:
            x = as_system_takes(system, picture)
            known = read_image(mask.data, 1, name="the mask")[0] < 0
            filled = complete(system, x.expand(asked.n, -1, -1, -1), known, seed=asked.seed, **given)
            hidden = torch.where(known, x, torch.zeros_like(x))
            row = torch.cat([x, hidden, answers(filled)])
            result = of_samples(system, row, [*command, f"n={asked.n}", *words], name="complete", values=filled)
            shown, given_address = shown_of(system, answers(filled)), image_address(x[0])
        result.reads("mask.png", lambda path: path.write_bytes(mask.data))
        return saying(store.keep(beside_made(result, picture)), shown, given=given_address)

    return model.watched("complete with", work)


def _photo(
    system: System, picture: Picture, mask: bytes, seed: int, given: dict[str, Any], command: list[str]
) -> tuple[Result, list[dict[str, Any]]]:
    """Fill the hole of a photograph at its own size."""
    seen = window_of(system)
    photo = photo_of(picture, channels_of(system), values=seen is not None)
    known = read_image(mask, 1, name="the mask")[0] < 0
    changed = change_photo(photo, lambda x: complete_pixels(system, x, known, seed=seed, window=seen, **given))
    name = f"complete{suffix_of(photo)}"
    result = Result(command, {name: lambda path: save_photo(path, changed)}, changed.pixels.nbytes)
    return result, [{"image": _shown(changed.pixels), "smooth": True}]


def _shown(pixels: Any) -> str:
    half = HALF.get(pixels.dtype)
    values = torch.from_numpy(pixels.astype("float32"))
    values = values / half - 1 if half else values / values.abs().max().clamp_min(1e-9)
    return image_address(values.permute(2, 0, 1))


@router.post("/of/{name}/continue")
def continued(asked: Start, model: TheModel, store: TheStore) -> dict[str, Any]:
    """Keep the start of a sound and draw what follows; a job."""
    picture = store.picture(asked.picture)

    def work(system: System) -> dict[str, Any]:
        require(system, Completes, verb="complete")
        if not kinds.of(system).sequential:
            raise UserError("complete: this run takes no sounds; paint a mask instead")
        given = plain(asked.options)
        rate, length = int(system.hparams["rate"]), int(system.hparams["shape"][1])
        kept = round(asked.after * rate)
        if not 0 < kept < length:
            raise UserError(
                f"after={asked.after:g}: give more than 0 and less than {length / rate:g}, the window's length"
            )
        whole = read_sound(picture.data, rate, name=picture.name)
        if whole.shape[1] < kept:
            raise UserError(
                f"'{picture.name}' is {whole.shape[1] / rate:g} s long; after={asked.after:g} asks for more"
            )
        start: Tensor = torch.zeros(1, length)
        start[:, : min(length, whole.shape[1])] = whole[:, :length]
        x = start.expand(asked.n, 1, length)
        filled = complete(system, x, torch.arange(length) < kept, seed=asked.seed, **given)
        how = [f"after={asked.after:g}", f"n={asked.n}", f"seed={asked.seed}", *words_of(given)]
        result = of_samples(
            system, torch.cat([x[:1], filled]), ["complete", model.word, picture.name, *how], name="complete",
            values=filled,
        )  # fmt: skip
        return saying(store.keep(beside_made(result, picture)), shown_of(system, filled))

    return model.watched("complete with", work)
