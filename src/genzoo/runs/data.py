"""The data of a run that goes on: found where they are now, and the same that it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from genzoo.core.errors import NoSuchData, UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, open_data, seen_from
from genzoo.runs.folder import Run, newest_state


def open_training(settings: DataSettings, cls: type[System], seed: int, *, quiet: bool) -> Dataset:
    """Open the training split of data as the kind that a system takes."""
    return open_data(settings, kind=cls.data, split="train", seed=seed, quiet=quiet)


def moved_to(about: DataSettings, data: str) -> DataSettings:
    """Return the settings of data that are elsewhere now; a table of captions among them has moved with them."""
    captions = about.captions
    if captions and not Path(captions).expanduser().exists() and Path(captions).is_relative_to(about.data):
        captions = str(Path(data) / Path(captions).relative_to(about.data))
    return dataclasses.replace(about, data=data, captions=captions)


def open_own(run: Run, about: DataSettings, cls: type[System], seed: int, *, quiet: bool, moved: bool) -> Dataset:
    """Open what a run has been trained on.

    Args:
        run: The run.
        about: What it keeps of its data.
        cls: Its system.
        seed: Its seed.
        quiet: Show nothing.
        moved: The person says where the data are now.

    Raises:
        UserError: They are not there any more, or something else is in their place.
    """
    try:
        dataset = open_training(seen_from(about, run.path), cls, seed, quiet=quiet)
    except NoSuchData as error:
        if moved:
            raise
        raise NoSuchData(
            f"the data of {run.path} are not where they were ({about.data}); if they have moved, "
            f"'genzoo resume {quote(str(run.path))} data=PATH' says where they are"
        ) from error
    if run.described().get("data_digest") not in dataset.digests:
        found = newest_state(run, lambda _: None)
        if found is not None:
            check_same(run, found[2], dataset, moved=moved)
    return dataset


def check_same(run: Run, meta: Mapping[str, Any], dataset: Dataset, *, moved: bool = False) -> None:
    """Refuse data that a run has not been trained on.

    Args:
        run: The run.
        meta: What a checkpoint of it says.
        dataset: What is where its data are looked for.
        moved: They are looked for where the person says that they are now.
    """
    if (known := meta.get("data_digest")) in dataset.digests:
        return
    told = f"(digest {dataset.digest[:12]}, was {str(known)[:12]})"
    if moved:
        raise UserError(
            f"data={dataset.settings.data} does not hold what {run.path} was trained on {told}; "
            "give the same data, wherever they are, or start a new run"
        )
    raise UserError(
        f"the data of {run.path} have changed since it was saved {told}; put them back, say where they are now "
        f"('genzoo resume {quote(str(run.path))} data=PATH'), or start a new run"
    )


def check_shape(run: Run, dataset: Dataset, arguments: Mapping[str, Any]) -> None:
    """Refuse data of another shape than the settings of a run say that has no checkpoint yet."""
    there, known = tuple(dataset.facts()["shape"]), tuple(arguments.get("shape", ()))
    if known and there != known:
        raise UserError(
            f"{dataset.name} has examples of shape {there}, and {run.path / 'config.toml'} says {known}; "
            "give the data that the run was begun with, or start a new run"
        )
