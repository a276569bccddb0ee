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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.capabilities import capabilities
from genzoo.core.errors import DamagedFile, NotHere, UserError, nearest
from genzoo.core.schema import capability_of, settings
from genzoo.core.system import System
from genzoo.naming import registry
from genzoo.saved import checkpoint
from genzoo.saved.budget import Budget, TooLarge
from genzoo.saved.devices import pick_device
from genzoo.saved.published import folder_of, is_published

OTHERS = (
    ".safetensors",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".h5",
    ".hdf5",
    ".keras",
    ".onnx",
    ".gguf",
    ".pkl",
    ".npz",
    ".msgpack",
)
"""Endings of models of other libraries."""
DESCRIBED = {
    "name": str,
    "origin": str,
    "data": dict,
    "training": dict,
    "class_names": list,
    "best": dict,
    "step": int,
    "source": dict,
    "taken": dict,
    "imported": dict,
    "stored": str,
    "wide": list,
    "moved": dict,
}
"""Kinds of what a model's description says of it beside "system" and "hparams", where it says it."""


def model_file(path: str | os.PathLike[str]) -> Path:
    """Find the file of a model: of a run folder, a model folder, an export, hf:OWNER/NAME or zoo:NAME; or the file itself.

    Raises:
        UserError: There is none.
    """
    path = folder_of(path) if is_published(path) else Path(path).expanduser()
    for candidate in (path, path / "model.safetensors", path / "model" / "model.safetensors"):
        if candidate.is_file():
            return candidate
    if path.is_dir() and (path / "config.toml").exists():
        raise UserError(f"run '{path}' has no model yet; 'genzoo resume {path}' goes on training it")
    if path.is_dir() and (others := sorted(p for p in path.iterdir() if p.suffix in OTHERS)):
        raise UserError(
            f"'{path}' holds {others[0].name} and no model.safetensors: it is of another library; {checkpoint.EXPECTED}"
        )
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(f"there is no model at '{path}'{nearest(path.name, siblings)}")


def load(path: Any, *, device: str = "cpu", system: Any = None) -> System:
    """Load the trained system of a run (or its folder), a model folder, an export or a model file, in eval mode.

    Its `name` and `hparams` say what it is; `trained` is the rest of the file's description (data, steps, version); `origin` is `path`.

    Args:
        path: A run, or where it is; hf:OWNER/NAME or hf:OWNER/NAME@REVISION is a model of the Hugging Face hub, zoo:NAME one of the
            package genzoo-zoo.
        device: Where its networks go.
        system: Its class, or that class's file ("mine.py"), where it is none of the zoo's; no file is run that is not given here.

    Raises:
        UserError: There is no model, it is damaged or of another program, its weights are not all numbers, its class is not here,
            or there is no such device.
    """
    cls = None if system is None else registry.register(system)
    path = getattr(path, "path", path)
    file = model_file(path)
    tensors, meta = checkpoint.read(file)
    where = pick_device(device)
    for key, kind in DESCRIBED.items():
        if not isinstance(meta.get(key, kind()), kind):
            from genzoo.text.foreign import kind_of

            raise DamagedFile(f"{file} is damaged: its '{key}' is {kind_of(meta[key])}, not {kind_of(kind())}")
    with torch.random.fork_rng(devices=[]):  # the fresh weights, soon overwritten, leave the person's randomness alone
        found = restored(meta, tensors, str(file))
    if cls and not any(isinstance(part, cls) for part in found.modules()):
        raise UserError(
            f"{file} is of a {registry.name_of(type(found))}, not of the {registry.name_of(cls)} that was given"
        )
    found.trained, found.origin = meta, str(path)
    if "imported" in meta:
        from genzoo.saved.untrained import guard

        guard(found, meta, str(path))
    return found.to(where).eval()


def restored(description: Mapping[str, Any], tensors: Mapping[str, Tensor], file: str) -> System:
    """Build the system that a file describes, with the file's tensors in it.

    Args:
        description: As for `build`.
        tensors: Its state, by name.
        file: Where both come from, for messages.

    Raises:
        UserError: The description is of nothing that there is, the tensors are not those of such a system, or not numbers.
    """
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    system = fresh(lambda: build(description), size, file, tensors)
    fill(system, tensors, f"{file} describes a {system.name}")
    return system


def fresh(make: Callable[[], System], size: int, file: str, tensors: Mapping[str, Tensor] | None = None) -> System:
    """Build a system from the settings in a file, with no more memory than the tensors beside them call for.

    Args:
        make: Makes it.
        size: Bytes of its tensors.
        file: Where the settings are from, for messages.
        tensors: Its state by name, where it is known.

    Raises:
        UserError: The settings are not those of a system, or of a far larger one.
    """
    try:
        with Budget(size):
            return make()
    except TooLarge:
        if tensors is not None and _fits(make, tensors):
            return make()  # what is large is not kept in files, such as a pool of earlier pictures
        said = f"its settings are those of a far larger network than the one in {size:,} bytes of tensors"
    except NotHere:
        raise
    except (UserError, MemoryError, torch.OutOfMemoryError) as error:
        said = str(error) if isinstance(error, UserError) else "there is no memory for it"
    except Exception as error:  # whatever a constructor says to settings that nobody would write
        raise DamagedFile(
            f"{file} describes a system that cannot be built: its settings do not fit together"
        ) from error
    raise DamagedFile(f"{file} describes no system that can be built here: {said}")


def _fits(make: Callable[[], System], tensors: Mapping[str, Tensor]) -> bool:
    """Look without memory for a single weight whether the tensors are those of a system."""
    try:
        with torch.device("meta"), Budget(2**62):
            expected = make().state_dict()
    except Exception:
        return False
    return all(name in tensors and tensors[name].shape == t.shape for name, t in expected.items())


def fill(module: nn.Module, tensors: Mapping[str, Tensor], what: str, *, live: bool = False) -> None:
    """Put tensors from a file into a module.

    Args:
        module: Freshly made: a value that is not a number in it is meant, as the best of nothing yet.
        tensors: Its state, by name.
        what: Where they come from and what they ought to be, for messages: "FILE describes a dcgan".
        live: They are all its parameters and buffers, those included that a model file does not keep.

    Raises:
        DamagedFile: Others are expected, or some are NaN or infinite.
    """
    expected = dict([*module.named_parameters(), *module.named_buffers()]) if live else module.state_dict()
    usual = {name for name, t in expected.items() if bool(torch.isfinite(t).all())}
    unlike = [n for n, t in tensors.items() if n in expected and t.dtype != expected[n].dtype]
    try:
        if live and not unlike:
            unlike = _lacking(expected, tensors)
            with torch.no_grad():
                for name, t in expected.items() if not unlike else ():
                    t.copy_(tensors[name])
        elif not unlike:
            module.load_state_dict(dict(tensors))
    except (RuntimeError, AttributeError, TypeError):
        unlike = _lacking(expected, tensors) or [n for n in tensors if n not in expected] or [*expected][:1]
    if unlike:
        more = f" (and {len(unlike) - 1:,} more are not as they should be)" if len(unlike) > 1 else ""
        raise DamagedFile(
            f"{what}, whose tensor '{unlike[0]}' is {_form(expected, unlike[0])}; it holds {_form(tensors, unlike[0])}{more}"
        )
    if lost := [n for n, t in tensors.items() if n in usual and not bool(torch.isfinite(t).all())]:
        t = tensors[lost[0]]
        count = int((~torch.isfinite(t)).sum())
        raise DamagedFile(
            f"{what}, and {count:,} of {t.numel():,} values of its tensor '{lost[0]}' are not numbers (NaN or infinite)"
            + (f", nor are all of {len(lost) - 1:,} more tensors" if len(lost) > 1 else "")
            + (
                "; remove the file to go on from the one before it"
                if live
                else "; take an earlier model, or train it again"
            )
        )


def _lacking(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are missing or of another shape."""
    return [n for n, t in expected.items() if n not in tensors or tensors[n].shape != t.shape]


def _form(tensors: Mapping[str, Tensor], name: str) -> str:
    """Type and shape of a tensor, in words."""
    if name not in tensors:
        return "none"
    t = tensors[name]
    return f"{str(t.dtype).removeprefix('torch.')} {'x'.join(map(str, t.shape)) or 'scalar'}"


def build(description: Mapping[str, Any]) -> System:
    """Build a system with fresh weights from its description: "system", "hparams", and "name" and "origin" if they are known.

    Raises:
        UserError: It is no description, or not one of a system that there is.
    """
    if "system" not in description:
        said = ", ".join(map(str, list(description)[:8]))
        raise UserError(f"a system is described by 'system' and 'hparams', not by {said or 'nothing'}")
    wanted = {
        "system": (str, "the name of a system"),
        "hparams": (Mapping, "settings by name"),
        "name": (str, "text"),
        "origin": (str, "text"),
    }
    for key, (kind, what) in wanted.items():
        if key in description and not isinstance(description[key], kind):
            from genzoo.text.foreign import kind_of

            raise UserError(f"'{key}' is {kind_of(description[key])}, not {what}")
    name, arguments, source = description["system"], description.get("hparams", {}), description.get("source", {})
    if not isinstance(source, Mapping) or not all(isinstance(v, str) for v in source.values()):
        raise UserError("'source' does not say where its class comes from")
    cls, arguments = as_today(registry.described(name, source), arguments)
    system = cls(**resolved(cls, arguments))
    system.name = description.get("name", name)
    system.origin = description.get("origin", "")
    return system


ARGUMENTS = {"words": "vocabulary"}
"""Old name of an argument, up to November 2026 -> its name now."""


def as_today(cls: type[System], arguments: Mapping[str, Any]) -> tuple[type[System], dict[str, Any]]:
    """Read the arguments in a file of any version: return the class that they are of now, and those that it has now.

    Args:
        cls: The class that bears the name in the file.
        arguments: What the file says of it.

    Raises:
        UserError: They are of something that there is no more.
    """
    arguments = {ARGUMENTS.get(k, k): v for k, v in arguments.items()}
    for kin in (cls, *map(registry.system_class, cls.parted)):
        if all(value is ... or arguments.get(key, value) == value for key, value in kin.dropped.items()):
            return kin, {**kin.formerly, **{k: v for k, v in arguments.items() if k not in kin.dropped}}
    key, value = next((k, arguments[k]) for k, v in cls.dropped.items() if v is not ... and arguments.get(k, v) != v)
    raise UserError(
        f"{key}={value} was possible here in earlier versions only; open it with the version of genzoo that it was made with"
    )


def describe(system: System) -> dict[str, Any]:
    """Describe a system in plain values, from which `build` makes one like it."""
    from genzoo.naming import own  # what only draws from a system needs neither this nor words for damage

    name, source = registry.name_of(type(system)), own.source(type(system))
    said = {"system": name, "name": getattr(system, "name", name), "hparams": plain(system.hparams)}
    return {**said, **({"source": source} if source else {}), **({"origin": system.origin} if system.origin else {})}


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as JSON can hold them: a system becomes its description."""
    return {k: describe(v) if isinstance(v, System) else v for k, v in arguments.items()}


def in_words(value: Any) -> Any:
    """Shorten an argument for a table: of a nested system, what it is and where it came from; of a long list, its length and beginning."""
    if isinstance(value, (list, tuple)) and len(value) > 20:
        return f"{len(value):,} values: {', '.join(map(str, value[:8]))} …"
    if isinstance(value, Mapping) and "system" in value:
        return f"{value.get('name', value['system'])}" + (f" from {value['origin']}" if value.get("origin") else "")
    return value


def resolved(cls: Callable[..., System], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Open what stands for a system among the arguments of another one: the path of a run, a run, a description.

    Raises:
        UserError: There is none, or it cannot do what the argument is for.
    """
    known, found = settings(cls), dict(arguments)
    for key, value in arguments.items():
        capability = capability_of(known[key].annotation) if key in known else None
        if capability and not (value is None or (isinstance(value, str) and value.lower() in ("none", ""))):
            found[key] = as_argument(key, value, capability)
    return found


def as_argument(key: str, value: Any, capability: type) -> Any:
    """Open the system that a person means by `value`: a system, the path of one, or a description, which gets weights of its own from seed 0.

    Raises:
        UserError: There is none, or it cannot do what the argument is for.
    """
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        named = not is_published(value) and len(path.parts) == 1 and not path.exists()
        value = load(Path("runs") / path if named else value)
    elif isinstance(value, Mapping):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # before a training sets its seed, so that the same settings mean the same weights
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
    """Return a digest of a system's name, arguments and every tensor; systems with equal digests compute equal things."""
    said = describe(system)
    found = hashlib.blake2b(json.dumps([said["system"], said["hparams"]], sort_keys=True).encode(), digest_size=32)
    for name, tensor in sorted(system.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
