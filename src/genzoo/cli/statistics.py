"""Write statistics of images, which stand for them in a Fréchet distance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

import genzoo
from genzoo.cli.common import wrote
from genzoo.cli.table import Command
from genzoo.use.sample import Seed

COMMAND = Command(
    "mean and covariance of features of images, for a Fréchet distance without them",
    "DATA_OR_RUN [out=stats.npz extractor=inception split=train n=10000]",
    place=51,
    open="data",
    device=True,
    waits=True,
)


def statistics(
    source: str,
    out: str = "",
    extractor: str = "",
    split: Literal["", "train", "test", "all"] = "",
    n: Annotated[int, Field(ge=2)] | None = None,
    seed: Seed = 0,
    overwrite: bool = False,
    own: dict[str, Any] | None = None,
) -> None:
    """Write mean and covariance of the features of images, or of a run's samples; evaluate takes them as against=, and other programs read them.

    Args:
        source: Data: a name, a folder, an archive, an array file; or a run or an exported folder, whose samples are described.
        out: The file: .npz, or .pkl for StyleGAN; NAME-PART-NETWORK.npz in the working folder when not given.
        extractor: Feature network: see evaluate; inception-clean and inception-pytorch have the resizers of clean-fid and of pytorch-fid.
        split: Part of the data: train, test or all; the training part when not given.
        n: Images, chosen by seed, or samples; all images, or 10,000 samples, when not given.
        seed: Seed of samples and choices.
        overwrite: Replace the file if it is there.
        own: Settings of the data: size, channels, binarize, limit ...
    """
    found = genzoo.statistics(
        source, out or None, extractor=extractor or None, split=split or None, n=n, seed=seed, overwrite=overwrite, quiet=False, **(own or {}),
    )  # fmt: skip
    what = f"images of {found['data']} {found['split']}" if found["split"] else f"samples of {found['data']}"
    print(f"{found['n']:,} {what}: {found['extractor']}")
    print(f"weights {found['digest'][:12]}; {found['resize']}")
    for note in found["notes"]:
        print(f"note: {note}")
    wrote(Path(found["written"]), asked=out)
    print(f"'genzoo evaluate RUN against={found['written']}' measures {found['measure']} with it")
