"""Training: from settings to a run folder, and from a run folder onwards."""

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

from genzoo.core import checkpoint, registry, schema
from genzoo.core.capabilities import capabilities
from genzoo.core.checkpoint import unpack
from genzoo.core.devices import pick_device
from genzoo.core.errors import DamagedFile, DiskFull, NoSuchData, UserError
from genzoo.core.foreign import kind_of
from genzoo.core.loading import as_today, fresh, load, plain, resolved, restored
from genzoo.core.pictures import write_atomic
from genzoo.core.reading import read_toml
from genzoo.core.system import System
from genzoo.data import Dataset, DataSettings, open_data, seen_from
from genzoo.runs.folder import Run, check_name, held, new_run, newest_state, open_run, same_data, tell_best, toml
from genzoo.training.loop import Trainer
from genzoo.training.measuring import Measuring
from genzoo.training.prepare import calibrate, prepared
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
    settings = complete(cls, settings or TrainSettings())
    torch.manual_seed(settings.seed)  # an inner system that is only described has weights by this seed as well
    given = resolved(cls, {**(cls.presets[preset] if preset else {}), **(system or {})})
    schema.check(cls, given, label=name)
    runtime = start(settings.device, settings.precision, deterministic=settings.deterministic)
    settings = dataclasses.replace(
        settings, precision=runtime.precision
    )  # the run keeps what was chosen, and resumes with it
    if runtime.world > 1:
        _refuse_ranks(cls, settings, runtime)
    if runtime.main:
        check_name(settings.runs, settings.name)
    dataset = _open(data, cls, settings.seed, quiet or not runtime.main)
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


def resume(
    path: str | Path,
    *,
    steps: int | None = None,
    device: str | None = None,
    data: str | None = None,
    quiet: bool = False,
) -> Run:
    """Go on with a run exactly where it stopped, however it stopped.

    Args:
        path: The run folder.
        steps: A new total, to train a finished run longer. Schedules follow the new total from here on.
        device: Another device than the run's own, from here on: exact is what goes on where it began.
        data: Where the run's data are now, if they have moved. Their content decides: other data are refused.
        quiet: Show nothing.

    Returns:
        The finished run.

    Raises:
        UserError: There is no such run, its files or its data are not what they were, or its device is not here.
        TrainingStopped: By a signal, or by losses without a finite value; saved.
    """
    run = open_run(path)
    file, config = run.path / "config.toml", _config(run)
    cls, told = as_today(registry.system_class(config["name"]), config["system"])
    about = DataSettings(**schema.check(DataSettings, config["data"], label=f"{file} [data]"))
    settings = TrainSettings(**schema.check(TrainSettings, config["training"], label=f"{file} [training]"))
    lost = [
        k
        for k in ("batch", "steps")
        if getattr(settings, k) is None and not (k == "steps" and "fits" in capabilities(cls))
    ]
    if lost:
        raise UserError(f"{file} [training] has no {lost[0]} any more; put back what was changed")
    settings = dataclasses.replace(settings, device=device or settings.device)
    if steps is not None:
        done = run.steps_done()
        if steps < done:
            raise UserError(f"steps={steps}: {run.path} has had {done} already; steps is the new total")
        settings = dataclasses.replace(settings, steps=steps)
    if data is not None:
        about = _moved(about, data)
    known = told | _nested(cls, run)
    arguments = schema.check(cls, resolved(cls, known), label=f"{file} [system] of {config['name']}")
    runtime, settings = _started(run, settings, quiet, chosen=device is not None)
    dataset = _own_data(run, about, cls, settings.seed, runtime, quiet, moved=data is not None)
    if run.states():
        size = run.states()[0].stat().st_size
        built = fresh(lambda: _seeded(cls, arguments, settings.seed), size, str(file))
    else:
        _same_shape(run, dataset, arguments)
        built = _seeded(cls, arguments, settings.seed)
    meta = _meta(config["name"], registry.find(config["name"])[0].name, arguments, about, dataset, settings, runtime)
    measuring = _measuring(built, dataset, settings)
    changed = not (steps is device is data is None)
    return _go(
        run, built, dataset, runtime, settings, meta, measuring, quiet=quiet, changed=changed, moved=data is not None
    )


def _seeded(cls: type[System], arguments: Mapping[str, Any], seed: int) -> System:
    torch.manual_seed(seed)
    return cls(**arguments)


def _started(run: Run, settings: TrainSettings, quiet: bool, *, chosen: bool) -> tuple[Runtime, TrainSettings]:
    """Where a run goes on, and its settings with the precision that is there."""
    try:
        if chosen and settings.precision == "fp16" and pick_device(settings.device).type == "cpu":
            if not quiet:
                print("note: fp16 is not for the CPU; the run goes on in fp32", file=sys.stderr)
            settings = dataclasses.replace(settings, precision="fp32")
        runtime = start(settings.device, settings.precision, deterministic=settings.deterministic)
    except UserError as error:
        if chosen:
            raise
        raise UserError(
            f"{run.path} is a run on device={settings.device} in {settings.precision}: {error}; "
            f"'genzoo resume {quote(str(run.path))} device=cpu' goes on with it elsewhere"
        ) from None
    return runtime, dataclasses.replace(settings, precision=runtime.precision)


def _moved(about: DataSettings, data: str) -> DataSettings:
    """The settings of data that are elsewhere now; a table of captions among them has moved with them."""
    captions = about.captions
    if captions and not Path(captions).expanduser().exists() and Path(captions).is_relative_to(about.data):
        captions = str(Path(data) / Path(captions).relative_to(about.data))
    return dataclasses.replace(about, data=data, captions=captions)


def _own_data(
    run: Run, about: DataSettings, cls: type[System], seed: int, runtime: Runtime, quiet: bool, *, moved: bool
) -> Dataset:
    """What a run has been trained on.

    Raises:
        UserError: It is not there any more, or something else is in its place.
    """
    try:
        dataset = _open(seen_from(about, run.path), cls, seed, quiet or not runtime.main)
    except NoSuchData as error:
        if moved:
            raise
        raise NoSuchData(
            f"the data of {run.path} are not where they were ({about.data}); if they have moved, "
            f"'genzoo resume {quote(str(run.path))} data=PATH' says where they are"
        ) from error
    if run.described().get("data_digest") not in dataset.digests:
        found = newest_state(run, runtime.world, lambda _: None)
        if found is not None:
            same_data(run, found[1][0][1], dataset, moved=moved)
    return dataset


def _same_shape(run: Run, dataset: Dataset, arguments: Mapping[str, Any]) -> None:
    """Of a run that has no checkpoint yet: data of another shape do not fit what its settings say."""
    there, known = tuple(dataset.facts()["shape"]), tuple(arguments.get("shape", ()))
    if known and there != known:
        raise UserError(
            f"{dataset.name} has examples of shape {there}, and {run.path / 'config.toml'} says {known}; "
            "give the data that the run was begun with, or start a new run"
        )


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
    tensors, meta = checkpoint.read(run.model)
    told = meta.get("hparams")
    if not isinstance(told, dict) or any(not isinstance(told.get(k), dict | None) for k in keys):
        raise DamagedFile(f"{run.model} is damaged: its settings (hparams) do not describe {' and '.join(keys)}")
    # The tensors of an inner system stand under the name of the argument, a part of the outer one.
    return {k: restored(told[k], unpack(k, tensors), f"{run.model} ({k})") for k in keys if told.get(k) is not None}


def _config(run: Run) -> dict[str, Any]:
    """What config.toml of a run says."""
    file, mend = run.path / "config.toml", "; put back what was changed"
    config = read_toml(file, mend=mend)
    for key, kind in (("name", str), ("system", dict), ("data", dict), ("training", dict)):
        if key not in config:
            raise UserError(f"{file} has no '{key}' any more{mend}")
        if not isinstance(config[key], kind):
            raise UserError(f"{file}: '{key}' is {kind_of(config[key])}, not {kind_of(kind())}{mend}")
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
    changed: bool = False,
    moved: bool = False,
) -> Run:
    system = laid_out(system.to(runtime.device))
    if not run.states():
        calibrate(system, dataset, runtime, quiet=quiet)
    runtime.same(system)
    dataset = prepared(system, dataset, runtime, quiet=quiet)
    torch.manual_seed(
        settings.seed + 1_000_003 * (runtime.rank + 1)
    )  # after the weights: each rank draws its own noise
    with held(run) if runtime.main else contextlib.nullcontext():
        runtime.barrier()  # what a killed process left is swept away before any rank begins to write
        trainer = Trainer(system, dataset, runtime, settings, run, meta, measuring, quiet=quiet)
        found = trainer.restore(say=lambda text: None if quiet else print(text, file=sys.stderr))
        if changed and runtime.main:
            _write_config(run, type(system), meta)  # a run that is stopped again goes on as it was told to
        if moved and found:
            trainer.save()  # what uses the run finds the data where they are now
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
            trainer.fit()
        except DiskFull as error:
            raise DiskFull(f"{error} with 'genzoo resume {quote(str(run.path))}'") from None
    return run
