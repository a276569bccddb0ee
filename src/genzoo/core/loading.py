"""Systems from files and descriptions, and systems as arguments of other systems.

A constructor argument whose annotation is a capability (`tokenizer: Tokenizes`) takes a system. In Python that is an object; on the
command line it is the path of a run, which `config.toml` keeps. The checkpoint of the outer system needs neither: its tensors hold the
inner one's, because the inner one is a part of it under the argument's name, and its arguments hold a description from which an equal one
is built.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core import checkpoint, registry
from genzoo.core.devices import pick_device
from genzoo.core.errors import UserError, nearest
from genzoo.core.system import System, capabilities


def read_model(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a model from a run folder, a model folder, an export, or a file.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = Path(path).expanduser()
    for candidate in (path, path / "model.safetensors", path / "model" / "model.safetensors"):
        if candidate.is_file():
            return checkpoint.read(candidate)
    if path.is_dir() and (path / "config.toml").exists():
        raise UserError(f"run '{path}' has no model yet; 'genzoo resume {path}' goes on training it")
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"there is no model at '{path}'{nearest(path.name, siblings)}")


def load(path: Any, *, device: str = "cpu") -> System:
    """The trained system of a run (or its folder), a model folder, an export or a model file, in eval mode.

    Its `name` and `hparams` say what it is; `trained` is the rest of the file's description (data, steps, version); `origin` is `path`.

    Raises:
        UserError: There is no model, it is damaged, or there is no such device.
    """
    path = getattr(path, "path", path)
    tensors, meta = read_model(path)
    where = pick_device(device)
    with torch.random.fork_rng(devices=[]):  # the fresh weights, soon overwritten, leave the person's randomness alone
        system = build(meta)
    system.load_state_dict(tensors)
    system.trained, system.origin = meta, str(path)
    return system.to(where).eval()


def build(description: Mapping[str, Any]) -> System:
    """A system with fresh weights from its description: "system", "hparams", and "name" and "origin" if they are known.

    Raises:
        UserError: It is no description, or not one of a system that there is.
    """
    if "system" not in description:
        raise UserError(
            f"a system is described by 'system' and 'hparams', not by {', '.join(description) or 'nothing'}"
        )
    cls = registry.system_class(description["system"])
    system = cls(**{**cls.before, **description.get("hparams", {})})
    system.name = description.get("name", description["system"])
    system.origin = description.get("origin", "")
    return system


def describe(system: System) -> dict[str, Any]:
    """What `build` needs, in plain values."""
    module = type(system).__module__.rsplit(".", 1)[-1].replace("_", "-")
    said = {"system": module, "name": getattr(system, "name", module), "hparams": plain(system.hparams)}
    return {**said, "origin": system.origin} if system.origin else said


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON can hold them: a system becomes its description."""
    return {k: describe(v) if isinstance(v, System) else v for k, v in arguments.items()}


def in_words(value: Any) -> Any:
    """A plain argument for a table: of a nested system, what it is and where it came from; of a long list, its length and beginning."""
    if isinstance(value, (list, tuple)) and len(value) > 20:
        return f"{len(value):,} values: {', '.join(map(str, value[:8]))} …"
    if isinstance(value, Mapping) and "system" in value:
        return f"{value.get('name', value['system'])}" + (f" from {value['origin']}" if value.get("origin") else "")
    return value


def as_argument(key: str, value: Any, capability: type) -> Any:
    """The system that a person means by `value`: a system, the path of one, or a description.

    Raises:
        UserError: There is none, or it cannot do what the argument is for.
    """
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        value = load(Path("runs") / path if len(path.parts) == 1 and not path.exists() else path)
    elif isinstance(value, Mapping):
        value = build(value)
    elif not isinstance(value, System) and isinstance(getattr(value, "path", None), Path):  # a run
        value = load(value.path)
    if not isinstance(value, capability):
        verb = capability.__name__.lower()
        given = describe(value)["name"] if isinstance(value, System) else type(value).__name__
        able = [n for n in registry.entries() if verb in capabilities(registry.system_class(n))]
        raise UserError(f"{key}: {given} is not a system that {verb}; train one of {', '.join(able)} and give its run")
    return value


def digest(system: System) -> str:
    """A digest of a system's name, arguments and every tensor: equal systems compute equal things."""
    said = describe(system)
    found = hashlib.blake2b(json.dumps([said["system"], said["hparams"]], sort_keys=True).encode(), digest_size=32)
    for name, tensor in sorted(system.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
