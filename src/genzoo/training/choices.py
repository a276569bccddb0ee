"""What a training is told and what it chooses: settings with nothing left open, of a new run and of one that goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from genzoo.core import schema
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings
from genzoo.runs.folder import Run
from genzoo.training.settings import FALLBACKS, TrainSettings


def complete(cls: type[System], settings: TrainSettings, preset: str | None = None) -> TrainSettings:
    """Fill in what the person left open: the preset's and the system's `defaults`, then the general ones."""
    fits = "fits" in capabilities(cls)
    general = {k: v for k, v in FALLBACKS.items() if not (fits and k == "steps")}
    every: dict[str, Any] = {**general, **cls.defaults, **cls.preset_defaults.get(preset or "", {})}
    chosen = {k: v for k, v in every.items() if getattr(settings, k) is None}
    if fits:
        chosen.pop("steps", None)
    if settings.ema is not None and settings.ema_images is None:
        chosen["ema_images"] = None  # what the person says of ema comes before the system's half-life
    half_life = chosen.get("ema_images", settings.ema_images)
    if half_life is not None:
        decay = 0.5 ** (chosen.get("batch", settings.batch) / half_life)
        if settings.ema not in (None, decay):
            raise UserError(
                f"ema_images={half_life} at this batch is ema={decay:.6g}, not {settings.ema}; give one of the two"
            )
        chosen["ema"] = decay
    return schema.build(TrainSettings, {**dataclasses.asdict(settings), **chosen}, label="training")


def facts(cls: Callable[..., System], dataset: Dataset) -> dict[str, Any]:
    """Return those arguments of a system that the data can answer: shape, classes ..."""
    return {k: v for k, v in dataset.facts().items() if k in schema.settings(cls)}


def settings_of(run: Run, cls: type[System], config: dict[str, Any]) -> tuple[DataSettings, TrainSettings]:
    """Read what a run keeps of its data and of its training."""
    file = run.path / "config.toml"
    about = schema.build(DataSettings, config["data"], label=f"{file} [data]")
    settings = schema.build(TrainSettings, config["training"], label=f"{file} [training]")
    needed = ("batch",) if "fits" in capabilities(cls) else ("batch", "steps")
    for key in needed:
        if getattr(settings, key) is None:
            raise UserError(f"{file} [training] has no {key} any more; put back what was changed")
    return about, settings


def changed(
    run: Run, settings: TrainSettings, steps: int | None, device: str | None, shard: bool | None = None
) -> TrainSettings:
    """Put a new total, another device and another place of the weights into the settings of a run."""
    shard = settings.shard if shard is None else shard
    settings = dataclasses.replace(settings, device=device or settings.device, shard=shard)
    if steps is None:
        return settings
    done = run.steps_done()
    if steps < done:
        raise UserError(f"steps={steps}: {run.path} has had {done} already; steps is the new total")
    return dataclasses.replace(settings, steps=steps)
