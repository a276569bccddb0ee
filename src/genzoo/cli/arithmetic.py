"""Add to images what one class has and another has not."""

from __future__ import annotations

import torch

from genzoo.cli.common import PICTURES, wrote
from genzoo.cli.inputs import Few, images_of
from genzoo.cli.table import Command
from genzoo.core.capabilities import Decodes, Encodes
from genzoo.core.errors import UserError
from genzoo.data import kinds
from genzoo.use import arithmetic as vectors
from genzoo.use.common.outputs import target
from genzoo.use.common.source import open_system, require

COMMAND = Command(
    "add to images what one class has and another has not",
    "RUN plus=CLASS [minus=CLASS of=CLASS images=FILES amounts=0,0.5,1 data=DATA]",
    place=43,
    needs=("encodes", "decodes"),
    waits=True,
)


def arithmetic(
    run: str,
    plus: str = "",
    minus: str = "",
    of: str = "",
    images: str = "",
    amounts: tuple[vectors.Amount, ...] = (0.0, 0.5, 1.0, 1.5),
    data: str = "",
    n: Few = 8,
    out: str = "",
    overwrite: bool = False,
) -> None:
    """Add to images what one class has and another has not: each row is an image and its code, moved by every amount.

    Args:
        run: A run or an exported folder.
        plus: Class whose mean code is added, by name or number.
        minus: Class whose mean code is taken away; the mean of all other classes when not given.
        of: Class of the images that are changed; minus, or any, when not given.
        images: Images to change in place of the data's: files separated by commas, or a folder.
        amounts: How far the code is moved; 0 is the reconstruction, 1 the whole difference.
        data: Labelled images: a name, a folder, an archive; the run's own data when not given. Means are of its training
            part, images to change of its test part.
        n: How many images.
        out: File, .png, .jpg, .webp or .npy; RUN/outputs/arithmetic.png when not given.
        overwrite: Replace the file if it is there.
    """
    system = open_system(run)
    require(system, Encodes, Decodes, verb="arithmetic")
    train = vectors.labelled(system, data or None)
    if not plus:
        raise UserError(f"arithmetic: plus= is missing; the classes of {train.name} are {', '.join(train.class_names)}")
    path = target(run, out, "arithmetic.png", suffixes=PICTURES, overwrite=overwrite)
    step = vectors.direction(system, train, plus, minus or None)
    if images:
        x = images_of(system, images, n)
    else:
        test = vectors.labelled(system, data or None, split="test")
        x = vectors.images_of(test, *([of or minus] if of or minus else test.class_names), n=n)
    kind = kinds.of(system)
    moved = [vectors.shifted(system, x, step, amount) for amount in amounts]
    if path.suffix.lower() == ".npy":
        wrote(kind.write(path, torch.stack(moved, 1), system.hparams), asked=out)
    else:
        rows = torch.stack([x, *moved], 1).flatten(0, 1)
        wrote(kind.write(path, rows, system.hparams, columns=1 + len(moved)), asked=out)
