"""The start of a training: from settings to a run folder, and from a run folder onwards."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from genzoo.core import schema
from genzoo.core.capabilities import capabilities
from genzoo.core.errors import DiskFull, UserError
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings
from genzoo.naming import own, registry
from genzoo.ranks.attempts import note_run, noted_run
from genzoo.ranks.launch import agree, barrier, lost_is_said, same_everywhere, same_weights, together
from genzoo.ranks.parts import check_shares
from genzoo.ranks.shards import check_shards
from genzoo.runs.config import inner_systems, read_config, write_config
from genzoo.runs.data import check_shape, moved_to, open_own, open_training
from genzoo.runs.folder import Run, check_name, held, new_run, open_run, tell_best
from genzoo.runs.loggers import check as check_loggers
from genzoo.saved.devices import check_memory, pick_device
from genzoo.saved.loading import as_today, fresh, plain, resolved
from genzoo.saved.threads import computing_with
from genzoo.saved.transfer import begin, hold, read_origin
from genzoo.training.choices import changed, complete, facts, settings_of
from genzoo.training.loop import Trainer
from genzoo.training.measuring import Measuring
from genzoo.training.prepare import best_threads, calibrate, compute_again, prepared
from genzoo.training.runtime import Runtime, laid_out, start
from genzoo.training.settings import TrainSettings

LARGE = 100_000_000
"""Parameters from which on a person is told what they cost before the first step."""


@lost_is_said()
def train(
    what: Any,
    data: DataSettings,
    settings: TrainSettings | None = None,
    system: Mapping[str, Any] | None = None,
    *,
    quiet: bool = False,
) -> Run:
    """Train a system on data into a new run folder.

    Args:
        what: System or preset; or a class of one's own, or its file.
        data: What to train on.
        settings: How long, how and where.
        system: The system's own arguments.
        quiet: Show nothing.

    Returns:
        The finished run.

    Raises:
        UserError: A wrong name, setting, path or kind of data: before anything is written.
        TrainingStopped: By a signal, or by losses without a finite value; saved.
    """
    entry, preset = registry.find(what)
    cls, name = registry.system_class(entry.name), preset or entry.name
    settings = complete(cls, settings or TrainSettings(), preset)
    torch.manual_seed(settings.seed)  # an inner system that is only described has weights by this seed as well
    given = resolved(cls, {**(cls.presets[preset] if preset else {}), **(system or {})})
    schema.check(cls, given, label=name)
    check_loggers(settings.every_logger)
    runtime = _runtime(settings)
    if begun := noted_run():  # the launcher has started all processes again
        return resume(begun, quiet=quiet)
    settings = dataclasses.replace(settings, precision=runtime.precision)  # kept, so that the run goes on with it
    check_shares(cls.__name__, settings.batch, runtime.world, settings.accumulate, fits="fits" in capabilities(cls))
    if runtime.main:
        check_name(settings.runs, settings.name)
    origin = read_origin(settings.from_, cls)
    dataset = together(lambda: open_training(data, cls, settings.seed, quiet=quiet or not runtime.main))
    arguments = schema.check(cls, {**facts(cls, dataset), **given}, label=name)
    # All that can be wrong is found before the folder is made: a shape that the system cannot take, a measure, missing weights.
    built = _seeded(cls, arguments, settings.seed)
    taken, said = begin(built, origin, settings.freeze)
    if settings.remat:
        compute_again(built, name)
    if settings.shard:
        _check_shards(built, settings, runtime)
    measuring = _measuring(built, dataset, settings)
    pieces = runtime.world if runtime.shards else 1
    check_memory(name, built, runtime.device, averaged=bool(settings.ema), processes=pieces)
    _check_told(cls, arguments, dataset, settings)
    made = new_run(settings.runs, settings.name, name).path if runtime.main else ""
    run = Run(Path(agree(str(made))))
    note_run(str(run.path.absolute()))
    meta = _meta(name, cls, arguments, data, dataset, settings, runtime, taken)
    if runtime.main:
        try:
            _keep_settings(run, cls, meta)
        except (OSError, DiskFull):
            shutil.rmtree(run.path, ignore_errors=True)  # a folder without settings is no run, and would keep the name
            raise
        if not quiet:
            _introduce(run, meta, built, dataset, runtime, said)
    with lost_is_said(run.path):
        return _go(run, built, dataset, runtime, settings, meta, measuring, quiet=quiet)


@lost_is_said()
def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    device: str | None = None,
    data: str | None = None,
    shard: bool | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with a run exactly where it stopped, however it stopped.

    Args:
        path: The run folder.
        steps: A new total, to train a finished run longer. Schedules follow the new total from here on.
        device: Another device than the run's own, from here on: exact is what goes on where it began.
        data: Where the run's data are now, if they have moved. Their content decides: other data are refused.
        shard: Whether each of several processes keeps a piece of the weights alone, from here on. One process keeps them whole.
        quiet: Show nothing.

    Returns:
        The finished run.

    Raises:
        UserError: There is no such run, its files or its data are not what they were, or its device is not here.
        TrainingStopped: By a signal, or by losses without a finite value; saved.
    """
    run = open_run(path)
    config = read_config(run)
    name = config["name"]
    cls, said = as_today(registry.described(name, config.get("source", {})), config["system"])
    about, settings = settings_of(run, cls, config)
    settings = changed(run, settings, steps, device, shard)
    if data is not None:
        about = moved_to(about, data)
    file = run.path / "config.toml"
    arguments = schema.check(cls, resolved(cls, said | inner_systems(run, cls)), label=f"{file} [system] of {name}")
    runtime, settings = _started(run, settings, quiet, chosen=device is not None)
    moved = data is not None
    check_shares(cls.__name__, settings.batch, runtime.world, settings.accumulate, fits="fits" in capabilities(cls))
    shown = not quiet and runtime.main
    dataset = together(lambda: open_own(run, about, cls, settings.seed, quiet=not shown, moved=moved))
    _check_told(cls, arguments, dataset, settings)
    if run.states():
        size = run.states()[0].stat().st_size
        built = fresh(lambda: _seeded(cls, arguments, settings.seed), size, str(file))
        hold(built, settings.freeze)
    else:
        check_shape(run, dataset, arguments)
        built = _seeded(cls, arguments, settings.seed)
        begin(built, read_origin(settings.from_, cls), settings.freeze, config.get("taken"))
    if settings.remat:
        compute_again(built, name)
    if runtime.shards or shard:
        _check_shards(built, settings, runtime)
    meta = _meta(name, cls, arguments, about, dataset, settings, runtime, config.get("taken"))
    measuring = _measuring(built, dataset, settings)
    told = any(v is not None for v in (steps, device, data, shard))
    with lost_is_said(run.path):
        return _go(run, built, dataset, runtime, settings, meta, measuring, quiet=quiet, told=told, moved=moved)


# ---- what a training needs -------------------------------------------------------------------------------------------------------


def _runtime(settings: TrainSettings) -> Runtime:
    found = start(settings.device, settings.precision, deterministic=settings.deterministic, patience=settings.patience)
    return dataclasses.replace(found, shards=settings.shard and found.world > 1)


def _check_shards(system: System, settings: TrainSettings, runtime: Runtime) -> None:
    check_shards(system.optimizers(), world=runtime.world, compiled=settings.compile, precision=runtime.precision)


def _seeded(cls: type[System], arguments: Mapping[str, Any], seed: int) -> System:
    torch.manual_seed(seed)
    return cls(**arguments)


def _started(run: Run, settings: TrainSettings, quiet: bool, *, chosen: bool) -> tuple[Runtime, TrainSettings]:
    """Choose where a run goes on, and return its settings with the precision that is there."""
    try:
        if chosen and settings.precision == "fp16" and pick_device(settings.device).type == "cpu":
            if not quiet:
                print("note: fp16 is not for the CPU; the run goes on in fp32", file=sys.stderr)
            settings = dataclasses.replace(settings, precision="fp32")
        runtime = _runtime(settings)
    except UserError as error:
        if chosen:
            raise
        raise UserError(
            f"{run.path} is a run on device={settings.device} in {settings.precision}: {error}; "
            f"'genzoo resume {quote(str(run.path))} device=cpu' goes on with it elsewhere"
        ) from None
    return runtime, dataclasses.replace(settings, precision=runtime.precision)


def _measuring(system: System, dataset: Dataset, settings: TrainSettings) -> Measuring | None:
    """Set up what measures the run while it trains: on the examples as they are, not as the system prepares them."""
    return Measuring(system, dataset, settings) if settings.measure else None


def _check_told(cls: type[System], arguments: Mapping[str, Any], dataset: Dataset, settings: TrainSettings) -> None:
    """Refuse several processes that were not told the same, or do not see the same data."""
    told = {**dataclasses.asdict(settings), **dataclasses.asdict(dataset.settings), **plain(dict(arguments))}
    own_ways = ("device", "runs", "workers", "loggers", "tensorboard", "data")
    facts = {k: str(v) for k, v in told.items() if k not in own_ways}
    versions = {"genzoo": version("genzoo"), "torch": torch.__version__, "the class": str(own.source(cls))}
    same_everywhere({**versions, "the digest of the data": dataset.digest[:12], **facts})


def _meta(
    name: str,
    cls: type[System],
    arguments: dict[str, Any],
    data: DataSettings,
    dataset: Dataset,
    settings: TrainSettings,
    runtime: Runtime,
    taken: dict[str, Any] | None,
) -> dict[str, Any]:
    """Describe a run as its checkpoints do: model, data, training, what it is trained with, and what it was begun with."""
    source = own.source(cls)
    return {
        "name": name,
        "system": registry.name_of(cls),
        **({"source": source} if source else {}),
        **({"taken": taken} if taken else {}),
        "version": version("genzoo"),
        "torch": torch.__version__,
        "device": runtime.device.type,
        "hparams": plain(arguments),
        "data": dataclasses.asdict(data),
        **dataset.kept(),
        "training": dataclasses.asdict(settings),
    }


# ---- the run ---------------------------------------------------------------------------------------------------------------------


def _keep_settings(run: Run, cls: type[System], meta: dict[str, Any]) -> None:
    write_config(run, meta, system=cls, data=DataSettings, training=TrainSettings)


def _introduce(run: Run, meta: dict[str, Any], system: System, dataset: Dataset, runtime: Runtime, taken: str) -> None:
    """Print what is trained on what, where, and what a large network costs."""
    count = sum(p.numel() for p in system.parameters())
    s, things = meta["training"], "example" if len(dataset) == 1 else "examples"
    ranks = f", {runtime.world} processes" if runtime.world > 1 else ""
    print(
        f"{meta['name']}: {count:,} parameters on {len(dataset):,} {things} of {meta['data']['data']} {tuple(dataset.facts()['shape'])}\n"
        f"{runtime.device}, {runtime.precision}, batch {s['batch']}, "
        f"{str(s['steps']) + ' steps' if s['steps'] else 'until converged'}{ranks}; writing {run.path}",
        file=sys.stderr,
    )
    if taken:
        print(f"beginning with {taken}", file=sys.stderr)
    if source := registry.given_as(type(system)):
        again = own.how_to_give(source, str(run.path))
        print(f"note: {meta['name']} is a class of your own; to use this run later: {again}", file=sys.stderr)
    if not s["steps"]:
        return
    if s["batch"] > len(dataset):
        print(f"note: a batch of {s['batch']} shows each of {len(dataset):,} examples several times", file=sys.stderr)
    if count >= LARGE:
        # weights, gradients, two moments; averaged weights; a copy of all but the gradients. On the disk two checkpoints, a third one on its way.
        each = 20 if s["ema"] else 16
        print(
            f"note: so many parameters take about {count * (2 * each - 4) / 1e9:.1f} GB of memory, and up to {3 * count * (each - 4) / 1e9:.1f} GB "
            f"of disk for checkpoints; 'genzoo show {meta['name']}' lists the settings that make it smaller",
            file=sys.stderr,
        )


def _go(
    run: Run,
    system: System,
    dataset: Dataset,
    runtime: Runtime,
    settings: TrainSettings,
    meta: dict[str, Any],
    measuring: Measuring | None,
    *,
    quiet: bool,
    told: bool = False,
    moved: bool = False,
) -> Run:
    """Train from the newest checkpoint, or from the beginning, to the end of the budget."""
    system = laid_out(system.to(runtime.device))
    if not run.states():
        calibrate(system, dataset, runtime, quiet=quiet)
    same_weights(system)
    dataset = prepared(system, dataset, runtime, quiet=quiet)
    torch.manual_seed(settings.seed + 1_000_003)  # after the weights: noise of its own, the same on all ranks
    with held(run) if runtime.main else contextlib.nullcontext():
        barrier()  # what a killed process left is swept away before any rank begins to write
        if settings.threads == "auto":
            count = best_threads(system, dataset, runtime, settings, quiet=quiet)
            settings = dataclasses.replace(settings, threads=count)
            meta["training"]["threads"] = count  # kept: another number may round other bits
            told = True
        trainer = Trainer(system, dataset, runtime, settings, run, meta, measuring, quiet=quiet)
        found = trainer.restore(say=lambda text: None if quiet else print(text, file=sys.stderr))
        if told and runtime.main:
            _keep_settings(run, type(system), meta)  # a run that is stopped again goes on as it was told to
        if moved and found:
            trainer.save(wait=True)  # what uses the run finds the data where they are now
            if runtime.main:
                tell_best(run, meta["data"])
        if found and trainer.finished:
            if not quiet:
                print(
                    f"{run.path} is finished ({trainer.step} steps); 'genzoo resume {quote(str(run.path))} steps=...' trains it longer",
                    file=sys.stderr,
                )
            return run
        if trainer.step and not trainer.quiet:
            goal = f" of {settings.steps}" if settings.steps else ""
            print(
                f"{meta['name']}: going on after step {trainer.step}{goal} on {runtime.device}, {runtime.precision}",
                file=sys.stderr,
            )
        try:
            with computing_with(settings.threads if isinstance(settings.threads, int) else None):
                trainer.fit()
        except DiskFull as error:
            raise DiskFull(f"{error} with 'genzoo resume {quote(str(run.path))}'") from None
    return run
