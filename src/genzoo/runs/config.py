"""The settings of a run: config.toml written and read, and the systems among its arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import tomli_w

from genzoo.core import schema
from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.files import write_atomic
from genzoo.core.system import System
from genzoo.runs.folder import Run
from genzoo.saved import checkpoint
from genzoo.saved.loading import restored
from genzoo.text.documents import read_toml
from genzoo.text.foreign import kind_of
from genzoo.text.keys import in_python, spoken

MEND = "; put back what was changed"


def write_config(run: Run, meta: Mapping[str, Any], **targets: Callable[..., object]) -> None:
    """Write config.toml: all settings of a run, with a remark at each that differs from its default.

    Args:
        run: The run.
        meta: What the run's checkpoints say of it.
        targets: Of what each section holds the arguments: system, data, training.
    """
    called = meta.get("source", {}).get("file", meta["name"])
    lines = [
        f"# All settings of this run. 'genzoo train {called} config=THIS' trains another run like it.\n",
        tomli_w.dumps({k: meta[k] for k in ("name", "source", "taken") if k in meta}),
    ]
    for section, target in targets.items():
        values = {k: _plain(v) for k, v in meta["hparams" if section == "system" else section].items()}
        tables = {k: v for k, v in values.items() if isinstance(v, dict)}  # inner systems that come from no file
        lines += [f"\n[{section}]\n", *(_line(k, v, target) for k, v in values.items() if k not in tables)]
        lines += ["\n", tomli_w.dumps({section: tables})] if tables else []
    write_atomic(run.path / "config.toml", "".join(lines).encode())


def _line(key: str, value: Any, target: Callable[..., object]) -> str:
    setting, line = schema.settings(target).get(key), tomli_w.dumps({spoken(key): value})
    if isinstance(value, list) and not re.search(r"\s", "".join(map(str, value))):  # a short list is read on one line
        line = re.sub(r"\s+", " ", line).replace("[ ", "[").replace(", ]", "]").strip() + "\n"
    default = value if setting is None or setting.required else _plain(setting.default)
    return line if default == value else f"{line[:-1]}  # default {json.dumps(default)}\n"


def _plain(value: Any) -> Any:
    """Put a setting into what TOML can say: nothing is "none", an inner system is where it came from, if that was a file."""
    if isinstance(value, Mapping):
        return value.get("origin") or {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return "none" if value is None else value


def read_config(run: Run) -> dict[str, Any]:
    """Read config.toml of a run: its name, and the sections system, data, training; source of a class that is not of the zoo, and taken.

    Raises:
        UserError: It is not what was written any more, or there was no training: the model was imported.
    """
    file = run.path / "config.toml"
    if run.model.exists() and not run.states() and "imported" in checkpoint.description(run.model):
        raise UserError(f"{run.path} was imported from another program and holds no training that could go on")
    config = read_toml(file, mend=MEND)
    for key, kind in (
        ("name", str),
        ("source", dict),
        ("taken", dict),
        *((k, dict) for k in ("system", "data", "training")),
    ):
        if key not in config and key not in ("source", "taken"):
            raise UserError(f"{file} has no '{key}' any more{MEND}")
        if not isinstance(config.get(key, kind()), kind):
            raise UserError(f"{file}: '{key}' is {kind_of(config[key])}, not {kind_of(kind())}{MEND}")
    config["training"] = {in_python(k): v for k, v in config["training"].items()}
    return config


def inner_systems(run: Run, cls: Callable[..., System]) -> dict[str, System]:
    """Read those arguments of a run that are systems from its own checkpoint: where they came from need not be there any more.

    Raises:
        DamagedFile: The checkpoint does not describe them.
    """
    keys = [k for k, s in schema.settings(cls).items() if schema.capability_of(s.annotation)]
    if not keys or not run.model.exists():
        return {}
    tensors, meta = checkpoint.read(run.model)
    told = meta.get("hparams")
    if not isinstance(told, dict) or any(not isinstance(told.get(k), dict | None) for k in keys):
        raise DamagedFile(f"{run.model} is damaged: its settings (hparams) do not describe {' and '.join(keys)}")
    # The tensors of an inner system stand under the name of the argument, a part of the outer one.
    return {
        k: restored(told[k], checkpoint.unpack(k, tensors), f"{run.model} ({k})")
        for k in keys
        if told.get(k) is not None
    }
