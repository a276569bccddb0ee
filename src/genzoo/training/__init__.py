"""Training: from settings to a run folder, and from a run folder onwards."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from genzoo.core import registry, schema
from genzoo.core.checkpoint import unpack
from genzoo.core.errors import DiskFull, UserError
from genzoo.core.loading import build, load, plain, read_model
from genzoo.core.pictures import write_atomic
from genzoo.core.system import System, capabilities
from genzoo.data import Dataset, DataSettings, open_data, seen_from
from genzoo.training.folder import Run, check_name, held, new_run, open_run, toml
from genzoo.training.loop import Trainer
from genzoo.training.measuring import Measuring
from genzoo.training.prepare import prepared, survey
from genzoo.training.runtime import Runtime, laid_out, start
from genzoo.training.settings import FALLBACKS, TrainSettings

__all__ = ["Run", "TrainSettings", "Trainer", "load", "open_run", "resume", "train"]

LARGE = 100_000_000
"""Parameters from which on a person is told what they cost before the first step."""


def train(
    name: str,
    data: DataSettings,
    settings: TrainSettings | None = None,
    system: Mapping[str, Any] | None = None,
    *,
    quiet: bool = False,
) -> Run:
    """Train a system on data into a new run folder.

    Args:
        name: System or preset.
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
    entry, preset = registry.find(name)
    cls = registry.system_class(name)
    given = {**(cls.presets[preset] if preset else {}), **(system or {})}
    schema.check(cls, given, label=name)
    settings = complete(cls, settings or TrainSettings())
    runtime = start(settings.device, settings.precision, deterministic=settings.deterministic)
    settings = dataclasses.replace(
        settings, precision=runtime.precision
    )  # the run keeps what was chosen, and resumes with it
    if runtime.world > 1:
        _refuse_ranks(cls, settings, runtime)
    if runtime.main:
        check_name(settings.runs, settings.name)
    dataset = _open(data, cls, settings.seed, quiet or not runtime.main)
    torch.manual_seed(settings.seed)  # an inner system that is only described has weights by this seed as well
    arguments = schema.check(cls, {**facts(cls, dataset), **given}, label=name)
    torch.manual_seed(settings.seed)
    built = cls(**arguments)  # before the folder is made: a shape that the system cannot take leaves nothing behind
    measuring = _measuring(built, dataset, settings)  # says what is wrong with a measure before the folder is made
    built.optimizers()  # nor do weights that it learns with and that are not on this machine
    made = new_run(settings.runs, settings.name, preset or entry.name).path if runtime.main else ""
    run = Run(Path(runtime.agree(str(made))))
    meta = _meta(preset or entry.name, entry.name, arguments, data, dataset, settings, runtime)
    if runtime.main:
        try:
            _write_config(run, cls, meta)
        except (OSError, DiskFull):
            shutil.rmtree(run.path, ignore_errors=True)  # a folder without settings is no run, and would keep the name
            raise
        _introduce(run, meta, built, dataset, runtime, quiet)
    return _go(run, built, dataset, runtime, settings, meta, measuring, quiet=quiet)


def resume(path: str | Path, *, steps: int | None = None, quiet: bool = False) -> Run:
    """Go on with a run exactly where it stopped, however it stopped.

    Args:
        path: The run folder.
        steps: A new total, to train a finished run longer. Schedules follow the new total from here on.
        quiet: Show nothing.

    Returns:
        The finished run.
    """
    run = open_run(path)
    config = _config(run)
    cls = registry.system_class(config["name"])
    data = DataSettings(**schema.check(DataSettings, config["data"], label="config.toml [data]"))
    settings = TrainSettings(**schema.check(TrainSettings, config["training"], label="config.toml [training]"))
    if steps is not None:
        done = int(run.states()[0].stem.split("-")[1]) if run.states() else 0
        if steps < done:
            raise UserError(f"steps={steps}: {run.path} has had {done} already; steps is the new total")
        settings = dataclasses.replace(settings, steps=steps)
    arguments = schema.check(
        cls, cls.before | config["system"] | _nested(cls, run), label=f"config.toml [system] of {config['name']}"
    )
    runtime = start(settings.device, settings.precision, deterministic=settings.deterministic)
    settings = dataclasses.replace(
        settings, precision=runtime.precision
    )  # the run keeps what was chosen, and resumes with it
    dataset = _open(seen_from(data, run.path), cls, settings.seed, quiet or not runtime.main)
    torch.manual_seed(settings.seed)
    built = cls(**arguments)
    meta = _meta(config["name"], registry.find(config["name"])[0].name, arguments, data, dataset, settings, runtime)
    measuring = _measuring(built, dataset, settings)
    return _go(run, built, dataset, runtime, settings, meta, measuring, quiet=quiet, longer=steps is not None)


def complete(cls: type[System], settings: TrainSettings) -> TrainSettings:
    """Fill in what the person left open: the system's `defaults`, then the general ones."""
    fits = "fits" in capabilities(cls)
    general = {k: v for k, v in FALLBACKS.items() if not (fits and k == "steps")}
    chosen = {k: v for k, v in {**general, **cls.defaults}.items() if getattr(settings, k) is None}
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
    return TrainSettings(**schema.check(TrainSettings, {**dataclasses.asdict(settings), **chosen}, label="training"))


def facts(cls: type[System], dataset: Dataset) -> dict[str, Any]:
    """What the data says about those arguments of a system that it can answer."""
    return {k: v for k, v in dataset.facts().items() if k in schema.settings(cls)}


def _nested(cls: type[System], run: Run) -> dict[str, System]:
    """Arguments of a run that are systems, from its own checkpoint: where they came from need not be there any more."""
    keys = [k for k, s in schema.settings(cls).items() if schema.capability_of(s.annotation)]
    if not keys or not run.model.exists():
        return {}
    tensors, meta = read_model(run.path)
    found = {k: build(meta["hparams"][k]) for k in keys if meta["hparams"][k] is not None}
    for key, system in found.items():
        system.load_state_dict(unpack(key, tensors))  # the part of the outer system that has the argument's name
    return found


def _config(run: Run) -> dict[str, Any]:
    """What config.toml of a run says."""
    file = run.path / "config.toml"
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not TOML any more ({error}); put back what was changed") from None
    if lost := [k for k in ("name", "system", "data", "training") if k not in config]:
        raise UserError(f"{file} has no '{lost[0]}' any more; put back what was changed")
    return config


def _open(data: DataSettings, cls: type[System], seed: int, quiet: bool) -> Dataset:
    return open_data(data, kind=cls.data, split="train", seed=seed, quiet=quiet)


def _measuring(system: System, dataset: Dataset, settings: TrainSettings) -> Measuring | None:
    """What measures the run while it trains: on the examples as they are, not as the system prepares them."""
    return Measuring(system, dataset, settings) if settings.measure else None


def _refuse_ranks(cls: type[System], settings: TrainSettings, runtime: Runtime) -> None:
    if "fits" in capabilities(cls):
        raise UserError(f"{cls.__name__} is fitted in one process; start it without torchrun")
    if settings.batch is not None and settings.batch % runtime.world:
        raise UserError(
            f"batch={settings.batch} cannot be shared by {runtime.world} processes; give a multiple of {runtime.world}"
        )


def _meta(
    name: str,
    system: str,
    arguments: dict[str, Any],
    data: DataSettings,
    dataset: Dataset,
    settings: TrainSettings,
    runtime: Runtime,
) -> dict[str, Any]:
    return {
        "name": name,
        "system": system,
        "version": version("genzoo"),
        "torch": torch.__version__,
        "device": runtime.device.type,
        "hparams": plain(arguments),
        "data": dataclasses.asdict(data),
        "class_names": dataset.class_names,
        "digest": dataset.digest,
        "training": dataclasses.asdict(settings),
    }


def _write_config(run: Run, cls: type[System], meta: dict[str, Any]) -> None:
    sections = {"system": meta["hparams"], "data": meta["data"], "training": meta["training"]}
    defaults = {
        name: {k: s.default for k, s in schema.settings(target).items() if not s.required}
        for name, target in (("system", cls), ("data", DataSettings), ("training", TrainSettings))
    }
    header = f"All settings of this run. 'genzoo train {meta['name']} config=THIS' trains another run like it."
    text = toml(sections, defaults, header)
    head, _, rest = text.partition("\n")
    write_atomic(run.path / "config.toml", f'{head}\nname = "{meta["name"]}"\n{rest}'.encode())


def _introduce(run: Run, meta: dict[str, Any], system: System, dataset: Dataset, runtime: Runtime, quiet: bool) -> None:
    if quiet:
        return
    count = sum(p.numel() for p in system.parameters())
    s, things = meta["training"], "example" if len(dataset) == 1 else "examples"
    ranks = f", {runtime.world} processes" if runtime.world > 1 else ""
    print(
        f"{meta['name']}: {count:,} parameters on {len(dataset):,} {things} of {meta['data']['data']} {tuple(dataset.facts()['shape'])}\n"
        f"{runtime.device}, {runtime.precision}, batch {s['batch']}, "
        f"{str(s['steps']) + ' steps' if s['steps'] else 'until converged'}{ranks}; writing {run.path}",
        file=sys.stderr,
    )
    if not s["steps"]:
        return
    if s["batch"] > len(dataset):
        print(f"note: a batch of {s['batch']} shows each of {len(dataset):,} examples several times", file=sys.stderr)
    if count >= LARGE:
        # weights, gradients, two moments; averaged weights. On the disk there are no gradients, but two checkpoints and a third one on its way.
        each = 20 if s["ema"] else 16
        print(
            f"note: so many parameters take about {count * each / 1e9:.1f} GB of memory, and up to {3 * count * (each - 4) / 1e9:.1f} GB "
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
    longer: bool = False,
) -> Run:
    system = laid_out(system.to(runtime.device))
    if not run.states():
        survey(system, dataset, runtime, quiet=quiet)
    runtime.same(system)
    dataset = prepared(system, dataset, runtime, quiet=quiet)
    torch.manual_seed(
        settings.seed + 1_000_003 * (runtime.rank + 1)
    )  # after the weights: each rank draws its own noise
    with held(run) if runtime.main else contextlib.nullcontext():
        runtime.barrier()  # what a killed process left is swept away before any rank begins to write
        if longer and runtime.main:
            _write_config(run, type(system), meta)  # a run that is stopped again goes on to the new total
        trainer = Trainer(system, dataset, runtime, settings, run, meta, measuring, quiet=quiet)
        if trainer.restore(say=lambda text: None if quiet else print(text, file=sys.stderr)) and trainer.finished:
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
            trainer.fit()
        except DiskFull as error:
            raise DiskFull(f"{error} with 'genzoo resume {quote(str(run.path))}'") from None
    return run
