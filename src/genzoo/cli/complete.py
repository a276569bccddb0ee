"""Fill in what is missing of images, or go on with a sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

import genzoo
from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.inputs import first_of, tell_changed
from genzoo.cli.table import Command
from genzoo.core.capabilities import Completes
from genzoo.core.errors import UserError
from genzoo.core.schema import written
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.use.common.files import change_photo, read_photo, save_photo, suffix_of
from genzoo.use.common.images import channels_of, read_image, read_sound, size_of, window_of
from genzoo.use.common.outputs import free, target, targets
from genzoo.use.common.scale import Size, at_sides, sides
from genzoo.use.common.source import name_of, open_system, require
from genzoo.use.complete import answers, box_mask, complete_pixels
from genzoo.use.sample import Seed

COMMAND = Command(
    "fill in what is missing",
    "RUN [IMAGE] [box=x,y,w,h | mask=mask.png] [full=true]",
    place=47,
    needs=("completes",),
    own="complete",
    waits=True,
)


def complete(
    run: str,
    image: str = "",
    box: tuple[int, int, int, int] | None = None,
    mask: str = "",
    n: Annotated[int, Field(ge=1, le=256)] = 8,
    after: Annotated[float, Field(ge=0)] | None = None,
    full: bool = False,
    size: Size | None = None,
    seed: Seed = 0,
    out: str = "",
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Fill in what is missing of images, or go on with a sound; what is kept stays unchanged to the last bit.

    Args:
        run: A run or an exported folder.
        image: An image (or a sound) to complete; the test part of the run's own data when not given.
        box: What to draw anew: x,y,width,height in pixels of the image as the system takes it; the lower half when neither box nor mask is given.
        mask: An image of the same size: white is drawn anew, black is kept.
        n: How many completions of the image (one where the system leaves nothing to chance), or how many images of the data.
        after: Of a sound: seconds from its start that are kept; what follows is drawn. Half a window when not given.
        full: Complete a photograph at its own size: what is around the hole is brought to the system's size, and what it draws brought back.
            The box is in pixels of the photograph, the mask as large as it.
        size: Of a system that completes images of any size (efros-leung), the size that the image is brought to first: the shorter side in pixels,
            or height and width; its own when not given. All others have the one size that they were trained at, and bring images to it.
        seed: Which.
        out: File, .png or .npy (sounds: also .wav); RUN/outputs/complete.png (and complete.wav) when not given.
        overwrite: Replace the file if it is there.
        own: Options of the system's own completion.
    """
    if box and mask:
        raise UserError("complete: give box= or mask=, not both")
    system = open_system(run)
    require(system, Completes, verb="complete")
    kind = kinds.of(system)
    if kind.sequential:
        if box or mask:
            raise UserError("complete: box= and mask= are for images; of a sound give after=SECONDS")
        _go_on(system, run, image, after, n, seed, out, overwrite, own or {})
        return
    if after is not None:
        raise UserError("complete: after= is for sounds; of an image give box= or mask=")
    fixed = size_of(system)
    if size is not None and (fixed or not image):
        at = "x".join(map(str, fixed or ()))
        raise UserError(
            f"complete: size={written(size)} is for an image that may have any size; {name_of(system)} was trained at {at}, which every image is "
            "brought to (with full=true what is around the hole)"
            if fixed
            else "complete: size= is for an image; give one"
        )
    if full:
        _complete_photo(system, run, image, box, mask, seed, out, overwrite, own or {})
        return
    path = target(run, out, "complete.png", suffixes=PICTURES, overwrite=overwrite)
    if image:
        x = read_image(image, channels_of(system), size=fixed, window=window_of(system))
        if fixed:
            tell_changed(system, [Path(image).expanduser()], fixed)
        if size is not None:
            x = at_sides(x[None], sides(size, *x.shape[-2:]))[0]
        x = x.expand(n, -1, -1, -1)
    else:
        x = first_of(system, "", n)
    height, width = x.shape[-2:]
    half = (0, height // 2, width, height - height // 2)
    if mask:
        known = read_image(mask, 1, size=(height, width) if size is not None else None)[0] < 0
    else:
        known = box_mask(box or half, (height, width))
    filled = genzoo.complete(system, x, known, seed=seed, **(own or {}))
    if path.suffix.lower() == ".npy":
        wrote(kind.write(path, filled, system.hparams), asked=out)
        return
    hidden = torch.where(known, x, torch.zeros_like(x))
    if image:
        wrote(kind.write(path, torch.cat([x[:1], hidden[:1], answers(filled)]), system.hparams), asked=out)
    else:
        wrote(kind.write(path, torch.cat([x, hidden, filled]), system.hparams, columns=len(x)), asked=out)
    if not (box or mask):
        print(f"  the lower half was drawn anew, box={','.join(map(str, half))}; box= or mask= says another part")


def _complete_photo(
    system: System,
    run: str,
    file: str,
    box: tuple[int, int, int, int] | None,
    mask: str,
    seed: int,
    out: str,
    overwrite: bool,
    own: dict[str, Any],
) -> None:
    """Fill the hole of a photograph, and write it as it was but for that."""
    if not file or not (box or mask) or size_of(system) is None:
        raise UserError(
            "complete: full=true takes an image and box= or mask=, of a run that was trained on images of one size"
        )
    seen = window_of(system)
    photo = read_photo(file, channels_of(system), values=seen is not None)
    ending = suffix_of(photo)
    path = target(run, out, f"complete{ending}", suffixes=(ending,), overwrite=overwrite)
    if path.resolve() == Path(file).expanduser().resolve():  # an original is not replaced, whatever is asked
        path = free(path)
    if mask:
        known = torch.from_numpy(read_photo(mask, 1, deep=False).pixels[..., 0] < 128)
    else:
        assert box
        known = box_mask(box, photo.pixels.shape[:2])
    changed = change_photo(photo, lambda x: complete_pixels(system, x, known, seed=seed, window=seen, **own))
    wrote(save_photo(path, changed), asked=out)


def _go_on(
    system: System,
    run: str,
    file: str,
    after: float | None,
    n: int,
    seed: int,
    out: str,
    overwrite: bool,
    own: dict[str, Any],
) -> None:
    """Keep the start of a sound and draw what follows; files hold the sounds as they were and as they go on."""
    rate, length = system.hparams["rate"], system.hparams["shape"][1]
    kept = length // 2 if after is None else round(after * rate)
    if not 0 < kept < length:
        raise UserError(
            f"after={after} is not allowed; give more than 0 and less than {length / rate:g}, the window's length"
        )
    kind = kinds.of(system)
    paths = targets(run, out, "complete", kind=kind, overwrite=overwrite)
    if file:
        whole = read_sound(file, rate)
        if whole.shape[1] < kept:
            raise UserError(f"'{file}' is {whole.shape[1] / rate:g} s long; after={kept / rate:g} asks for more")
        start = torch.zeros(1, length)
        start[:, : min(length, whole.shape[1])] = whole[:, :length]
        x = start.expand(n, 1, length)
    else:
        x = first_of(system, "", n)
    known = torch.arange(length) < kept
    filled = genzoo.complete(system, x, known, seed=seed, **own)
    shown = torch.cat([x[:1], filled]) if file else torch.stack([x, filled], 1).flatten(0, 1)
    for path in paths:
        wrote(kind.write(path, filled if path.suffix.lower() == ".npy" else shown, system.hparams), asked=out)
