"""A study's file: what is compared, on what, under which budget, and how each trial's settings are drawn."""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from genzoo.api import sort_keys
from genzoo.core.errors import UserError, nearest
from genzoo.core.schema import build, check, settings
from genzoo.data.settings import DataSettings
from genzoo.metrics.measure import usual, values
from genzoo.naming import registry
from genzoo.text.documents import is_number, read_text, read_toml
from genzoo.training.settings import TrainSettings

RESERVED = ("data", "name", "runs", "seed", "loggers", "tensorboard")
MOST = 100_000
"""Trials of a study."""


@dataclass(frozen=True)
class Trial:
    """One run of a study.

    Args:
        number: Its place in the study, from 0.
        system: System or preset.
        data: Data set.
        draw: Which draw of the searched settings, from 0.
        seed: Seed of the run.
        settings: All keys of the training beside data, seed, name and folder.
    """

    number: int
    system: str
    data: str
    draw: int
    seed: int
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of its run folder."""
        data = "".join(c if c.isalnum() else "-" for c in Path(self.data).stem)
        system = "".join(c if c.isalnum() else "-" for c in self.system)  # a file's name among them
        return f"{self.number:04d}-{system}-{data}-draw{self.draw}-seed{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What a study's file says.

    Args:
        name: Name of the study, and of its folder.
        systems: Systems and presets to compare; files of one's own (mine.py) among them.
        data: Data sets.
        seeds: Seeds of every draw: a number of them, or the seeds themselves.
        draws: Draws from the ranges of `search` for each system and data set; 1 without a search.
        sampler: How settings are drawn: independently at random, or quasi-random (Sobol).
        measure: Name of the measure that is compared, as `genzoo evaluate` names it.
        also: Further measures that are taken of every trial and told beside it.
        better: Whether lower or higher values of it are better; known for the usual ones.
        samples: Samples (or test examples) that a measure takes.
        settings: Keys of every training: steps, batch, lr ...
        settings_on: Data set -> keys that hold on it alone; they win over those of every training.
        settings_for: System -> keys that hold for it alone; they win over both.
        search: Key -> range: {low, high, log, step} or {choices}; used by the systems that have the key.
        search_for: System -> ranges that hold for it alone; they win.
        draw_seed: Seed of the draws.
    """

    name: str
    systems: tuple[str, ...]
    data: tuple[str, ...]
    seeds: Annotated[int, Field(ge=1, le=1000)] | tuple[int, ...] = 1
    draws: Annotated[int, Field(ge=1, le=10_000)] = 1
    sampler: Literal["random", "sobol"] = "random"
    measure: str = usual()
    also: tuple[str, ...] = ()
    better: Literal["lower", "higher"] | None = None
    samples: Annotated[int, Field(ge=2)] = 1000
    settings: dict[str, Any] = field(default_factory=dict)
    settings_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings_for: dict[str, dict[str, Any]] = field(default_factory=dict)
    search: dict[str, dict[str, Any]] = field(default_factory=dict)
    search_for: dict[str, dict[str, Any]] = field(default_factory=dict)
    draw_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def direction(self) -> str:
        """Lower or higher."""
        return self.better or values()[self.measure].better

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds themselves."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def digest(self) -> str:
        """Digest of everything in it."""
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True, default=list).encode()).hexdigest()

    def ranges(self, system: str) -> dict[str, Any]:
        """Return the Optuna distribution of each setting that is searched for a system, by key."""
        cls = registry.system_class(system)
        has = {*settings(cls), *settings(DataSettings), *settings(TrainSettings)}
        chosen = {k: v for k, v in self.search.items() if k in has} | self.search_for.get(system, {})
        return {k: _distribution(k, v) for k, v in chosen.items()}

    def fixed(self, system: str, data: str) -> dict[str, Any]:
        """Return the settings of every training of a system on a data set that are not searched."""
        return {**self.settings, **self.settings_on.get(data, {}), **self.settings_for.get(system, {})}

    def trials(self) -> list[Trial]:
        """List all runs, in order; the same list in every process."""
        found: list[Trial] = []
        for system in self.systems:
            ranges = self.ranges(system)
            for data in self.data:
                fixed = self.fixed(system, data)
                for draw, drawn in enumerate(self._draw(f"{system} {data}", ranges)):
                    found += [
                        Trial(len(found) + i, system, data, draw, seed, {**fixed, **drawn})
                        for i, seed in enumerate(self.seed_list)
                    ]
        return found

    def _draw(self, label: str, ranges: dict[str, Any]) -> list[dict[str, Any]]:
        if not ranges:
            return [{}]
        optuna = import_optuna()
        seed = int.from_bytes(hashlib.sha256(f"{self.draw_seed} {label}".encode()).digest()[:4], "big") % 2**31
        if self.sampler == "sobol":
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", optuna.exceptions.ExperimentalWarning
                )  # since 3.0; pinned by what is drawn
                sampler = optuna.samplers.QMCSampler(
                    qmc_type="sobol", scramble=True, seed=seed, warn_independent_sampling=False
                )
        else:
            sampler = optuna.samplers.RandomSampler(seed=seed)
        scratch = optuna.create_study(sampler=sampler)
        found = []
        for _ in range(self.draws):
            trial = scratch.ask(ranges)
            found.append(dict(trial.params))
            scratch.tell(trial, 0.0)
        return found


def import_optuna() -> Any:
    """Import optuna and silence its log.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("a study needs Optuna, which is not installed: pip install 'genzoo[study]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def read_plan(file: str | Path, out: str | Path | None = None) -> tuple[Path, Plan]:
    """Read a study's file (or the copy in a study's folder), check every key of it, and return its folder and plan.

    Raises:
        UserError: Whatever is wrong in it.
    """
    path = Path(file).expanduser()
    begun = path.is_dir()
    source = path / "study.toml" if begun else path
    if not source.is_file():
        beside = [p.name for p in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(
            f"there is no study at '{path}'{nearest(source.name, beside)}; give a TOML file, or a study's folder"
        )
    text, given = read_text(source), read_toml(source)
    named = "name" in given
    given.setdefault("name", path.stem)
    plan = build(Plan, given, label=str(source))
    _check(plan, source)
    folder = Path(out).expanduser() if out else path if begun else Path("studies") / plan.name
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "study.toml"
    if not copy.exists():
        copy.write_text(text if named else f"name = {json.dumps(plan.name)}\n{text}", encoding="utf-8")
    else:
        kept = build(Plan, read_toml(copy), label=str(copy))
        if kept.digest != plan.digest:
            differ = [name for name, value in vars(plan).items() if value != vars(kept)[name]]
            raise UserError(
                f"{folder} holds another study, or this one with other settings ({', '.join(differ)}); "
                f"give out= to begin a new one, or 'genzoo study {folder}' to go on with the old one"
            )
    return folder, plan


def _check(plan: Plan, source: Path) -> None:
    if Path(plan.name).name != plan.name or plan.name in ("", ".", "..") or not plan.name.isprintable():
        raise UserError(f"{source}: name={plan.name!r} is not a plain folder name")
    if len(plan.name.encode()) > 200:
        raise UserError(f"{source}: name= has {len(plan.name)} characters, too many for a folder")
    for name, given in (("systems", plan.systems), ("data", plan.data), ("seeds", plan.seed_list)):
        if not given or len(set(given)) != len(given):
            raise UserError(f"{source}: {name} is empty or has something twice")
    for seed in plan.seed_list:
        check(TrainSettings, {"seed": seed}, label=str(source))
    searched = any(plan.search_for.get(system, plan.search) for system in plan.systems)
    count = len(plan.systems) * len(plan.data) * len(plan.seed_list) * (plan.draws if searched else 1)
    if count > MOST:
        raise UserError(
            f"{source}: up to {count:,} trials are too many; at most {MOST:,} make a study: fewer draws or seeds"
        )
    for name in (plan.measure, *plan.also):
        if name not in values():
            raise UserError(
                f"{source}: there is no measure '{name}'{nearest(name, values()) or '.'} Measures: {', '.join(values())}."
            )
    if plan.better is None and not values()[plan.measure].better:
        raise UserError(f'{source}: say better = "lower" or "higher" for measure = "{plan.measure}"')
    for table, kind, known in (
        (plan.settings_for, "systems", plan.systems),
        (plan.search_for, "systems", plan.systems),
        (plan.settings_on, "data", plan.data),
    ):
        for name in table:
            if name not in known:
                raise UserError(f"{source}: settings for '{name}', which is not in {kind}{nearest(name, known)}")
    for system, data in itertools.product(plan.systems, plan.data):
        fixed = plan.fixed(system, data)
        for key in (*fixed, *plan.ranges(system)):
            if key in RESERVED:
                raise UserError(f"{source}: '{key}' is the study's to set; leave it out of the settings")
        sort_keys(system, {"data": data, **fixed})
        for key, range_ in plan.ranges(system).items():
            for value in range_.choices if hasattr(range_, "choices") else (range_.low, range_.high):
                sort_keys(system, {"data": data, key: value})
    for key in plan.search:
        if not any(key in plan.ranges(system) for system in plan.systems):
            raise UserError(f"{source}: no system of the study has the searched setting '{key}'")
    if plan.draws > 1 and not any(plan.ranges(system) for system in plan.systems):
        raise UserError(f"{source}: draws={plan.draws} without a [search]: every draw would be the same; raise seeds")


def _distribution(key: str, given: dict[str, Any]) -> Any:
    distributions = import_optuna().distributions
    wrong = UserError(
        f"search: {key} = {str(given)[:200]} is not a range; give {{low, high, log, step}} or {{choices}}"
    )
    if set(given) == {"choices"}:
        choices = given["choices"]
        if (
            not isinstance(choices, list)
            or not choices
            or not all(isinstance(c, str | bool) or is_number(c) for c in choices)
        ):
            raise UserError(f"search: {key} = {str(given)[:200]}: choices is a list of one or more texts or numbers")
        return distributions.CategoricalDistribution(choices)
    if not {"low", "high"} <= set(given) <= {"low", "high", "log", "step"}:
        raise wrong
    low, high, log, step = given["low"], given["high"], given.get("log", False), given.get("step")
    if not (is_number(low) and is_number(high) and isinstance(log, bool) and (step is None or is_number(step))):
        raise wrong
    if low > high or (log and (low <= 0 or step is not None)) or (step is not None and step <= 0):
        raise UserError(
            f"search: {key} = {str(given)[:200]}: low is at most high, more than 0 with log=true, which takes no step; a step is more than 0"
        )
    whole = isinstance(low, int) and isinstance(high, int) and not isinstance(step, float)
    kind = distributions.IntDistribution if whole else distributions.FloatDistribution
    try:
        return kind(**given)
    except (ValueError, TypeError, OverflowError):
        raise wrong from None
