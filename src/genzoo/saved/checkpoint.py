"""Checkpoints: named tensors and JSON in one safetensors file, with a digest over every byte of it.

A file is written under a temporary name, flushed to the disk, and renamed, so at any moment there is the old file or the new one,
whole. The digest is part of the header: a flipped byte anywhere is noticed when the file is read. Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save_file
from torch import Tensor

from genzoo.core.errors import DamagedFile, DiskFull, disk_full_is_said
from genzoo.core.files import replacing

__all__ = [
    "DiskFull",
    "description",
    "halved",
    "optimizer_tensors",
    "pack",
    "read",
    "restore_optimizer",
    "unpack",
    "widened",
    "write",
]

EXPECTED = (
    "a model or state of genzoo is a .safetensors file that 'genzoo train' or 'genzoo export' wrote; "
    "'genzoo import' makes a run of what some other programs wrote"
)
_BLANK = "0" * 64
_CHUNK = 1 << 22
_MAX_HEADER = 100_000_000
HALVES = {torch.float32: torch.float16, torch.float64: torch.float32}
"""In which type values of a type take half the bytes."""


def write(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> str:
    """Write a checkpoint whole or not at all, and return its digest.

    Args:
        path: Where to. An existing file is replaced only when the new one is safely on the disk.
        tensors: By name. Layout and device are not kept, values and dtypes are.
        meta: Anything that JSON can hold.

    Raises:
        DiskFull: Names the path, the need and the free space; the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = _plain(tensors)
    need = sum(t.numel() * t.element_size() for t in flat.values()) + (1 << 16)
    with disk_full_is_said(path, need):
        if shutil.disk_usage(path.parent).free < need:
            raise OSError(errno.ENOSPC, "No space left on device")
        with replacing(path, durable=True) as part:
            save_file(flat, str(part), metadata={"genzoo": json.dumps(dict(meta)), "digest": _BLANK})
            digest = _seal(part)
            os.chmod(part, 0o666 & ~_umask())  # safetensors makes files that only their owner can read
    return digest


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint and check every byte of it.

    Returns:
        The tensors by name, on the CPU, and the JSON part.

    Raises:
        DamagedFile: Names the file and what is wrong with it.
        FileNotFoundError: There is no such file.
    """
    data = Path(path).read_bytes()
    start, length = _digest_span(data, Path(path))
    expected = data[start : start + length].decode("ascii", "replace")
    actual = hashlib.blake2b(digest_size=32)
    actual.update(data[:start])
    actual.update(_BLANK.encode())
    actual.update(memoryview(data)[start + length :])
    if actual.hexdigest() != expected:
        raise DamagedFile(f"{path} is damaged: its digest is {actual.hexdigest()[:12]}…, not {expected[:12]}…")
    meta = _description(data, Path(path))
    try:
        return widened(load_bytes(data), meta), meta
    except (SafetensorError, KeyError, ValueError, RuntimeError):
        raise DamagedFile(f"{path} is damaged: its tensors are not where its header says") from None


def halved(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors in half the bytes, and what the JSON part of their checkpoint has to say for `read` to widen them again.

    float32 becomes float16, but where that would lose more than rounding does: a value is beyond float16's range, or the largest one so small
    that fewer than 11 bits of it are left. float64 becomes float32.
    """
    found = dict(tensors)
    for name, t in tensors.items():
        if t.dtype in HALVES and t.numel():
            half = t.to(HALVES[t.dtype])
            lost = float((half.to(t.dtype) - t).abs().max())
            if lost <= 2.0**-11 * float(t.abs().max()):  # false where a value is not finite
                found[name] = half
    wide = sorted(name for name, t in found.items() if t.dtype != tensors[name].dtype and t.dtype == torch.float32)
    return found, {"stored": "float16", "wide": wide}


def widened(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> dict[str, Tensor]:
    """Undo `halved`, but for the rounding.

    Args:
        tensors: By name.
        meta: The JSON part of their checkpoint; without the mark of `halved` nothing is changed.
    """
    if meta.get("stored") != "float16":
        return dict(tensors)
    wide = meta.get("wide", ())
    return {
        name: t.double() if name in wide else t.float() if t.dtype == torch.float16 else t
        for name, t in tensors.items()
    }


def description(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON part of a checkpoint alone; nothing else is read or checked.

    Raises:
        DamagedFile: Names the file and what is wrong with it.
        FileNotFoundError: There is no such file.
    """
    with open(path, "rb") as f:
        head = f.read(8)
        size = int.from_bytes(head, "little")
        data = head + f.read(min(size, _MAX_HEADER))
    _digest_span(data, Path(path))
    return _description(data, Path(path))


def _description(data: bytes, path: Path) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    try:
        meta = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["genzoo"])
    except (KeyError, RecursionError, TypeError, ValueError):
        raise DamagedFile(f"{path} is damaged: its header holds no description of a model or a state") from None
    if not isinstance(meta, dict):
        from genzoo.text.foreign import kind_of

        raise DamagedFile(f"{path} holds {kind_of(meta)} where the description of a model or a state is expected")
    return meta


def pack(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before the names of a state dictionary."""
    return {f"{prefix}.{k}": v for k, v in state.items()}


def unpack(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the entries whose names start with a prefix, named without it."""
    return {k[len(prefix) + 1 :]: v for k, v in tensors.items() if k.startswith(prefix + ".")}


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors takes them: in the order of their values, and none of the storage of another (a view, a tied parameter)."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        t = tensor.detach().cpu()
        storage = t.untyped_storage()
        if not t.is_contiguous() or storage.nbytes() != t.nbytes or storage.data_ptr() in taken:
            t = t.clone(memory_format=torch.contiguous_format)
        taken.add(t.untyped_storage().data_ptr())
        found[name] = t
    return found


def _digest_span(data: bytes | memoryview, path: Path) -> tuple[int, int]:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 16 or size > min(len(data) - 8, _MAX_HEADER):
        from genzoo.text.foreign import what_is

        kind = what_is(bytes(data[:64])) if data[8:9] != b"{" else ""
        raise DamagedFile(
            f"{path} is {kind}; {EXPECTED}"
            if kind
            else f"{path} is damaged: {len(data):,} bytes are not a whole checkpoint"
        )
    mark = b'"digest":"'
    head = bytes(data[8 : 8 + size])
    at = head.find(mark)
    if at < 0 or at + len(mark) + 64 > size:
        raise DamagedFile(f"{path} {_other(head)}; {EXPECTED}")
    return 8 + at + len(mark), 64


def _other(head: bytes) -> str:
    """Say what a file of safetensors is that was not written here."""
    try:
        names = [name for name in json.loads(head) if name != "__metadata__"]
    except (RecursionError, TypeError, ValueError):
        return "is damaged: its header is no JSON"
    such = f" (such as {', '.join(map(repr, names[:2]))})" if names else ""
    return f"was written by another program: {len(names)} tensors{such} and no description of a model"


def _seal(part: Path) -> str:
    """Compute the digest of a file with a blank digest, and write it in."""
    digest = hashlib.blake2b(digest_size=32)
    with open(part, "r+b") as f:
        head = f.read(8)
        head += f.read(int.from_bytes(head, "little"))
        start, _ = _digest_span(memoryview(head), part)
        digest.update(head)
        while chunk := f.read(_CHUNK):
            digest.update(chunk)
        f.seek(start)
        f.write(digest.hexdigest().encode())
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def optimizer_tensors(name: str, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors by name and a JSON part."""
    state = optimizer.state_dict()
    tensors, scalars = {}, {}
    for index, entry in state["state"].items():
        for key, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{name}.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    groups = [{k: v for k, v in g.items() if not isinstance(v, Tensor)} for g in state["param_groups"]]
    return tensors, {"groups": groups, "scalars": scalars}


def restore_optimizer(
    name: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]
) -> None:
    """Give an optimizer its saved state back, every tensor in the memory layout of its parameter.

    Fused kernels walk parameter and moments in memory order, so a moment restored in another layout would be wrong.

    Raises:
        ValueError: The state is not that of such an optimizer: a moment is missing, of another shape, or not all numbers.
    """
    params = [p for g in optimizer.param_groups for p in g["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in unpack(f"optim.{name}", tensors).items():
        index, field = key.split(".", 1)
        p = params[int(index)]
        if value.numel() != 1 and value.shape != p.shape:
            raise ValueError("a moment of another shape")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError("a moment that is not a number")
        laid_out = torch.empty_like(p, dtype=value.dtype).copy_(value) if value.shape == p.shape else value.clone()
        state.setdefault(int(index), {})[field] = laid_out
    for key, value in meta["scalars"].items():
        index, field = key.split(".", 1)
        state.setdefault(int(index), {})[field] = value
    if len({frozenset(entry) for entry in state.values()}) > 1:
        raise ValueError("a moment is missing")
    old_groups = optimizer.state_dict()["param_groups"]
    groups = [{**old, **g, "params": old["params"]} for g, old in zip(meta["groups"], old_groups, strict=True)]
    for g, old in zip(groups, old_groups, strict=True):
        if not all(_alike(g[key], value) for key, value in old.items() if key in g):
            raise ValueError("options that this optimizer does not have")
        if isinstance(g.get("betas"), list):
            g["betas"] = tuple(g["betas"])
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _alike(a: Any, b: Any) -> bool:
    """Tell whether one option of an optimizer can stand for another: both are switches, numbers, or pairs of numbers."""
    if isinstance(b, (list, tuple)):
        return isinstance(a, (list, tuple)) and len(a) == len(b) and all(map(_alike, a, b))
    if b is None or isinstance(b, bool):
        return a is None or isinstance(a, bool)
    return isinstance(a, (int, float)) and not isinstance(a, bool) if isinstance(b, (int, float)) else True
