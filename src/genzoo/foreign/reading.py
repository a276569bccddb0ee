"""Read the files of other programs into named pieces: each piece is the state of one network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from genzoo.core.errors import DamagedFile, UserError, nearest
from genzoo.foreign.hdf5 import HDF5, read_hdf5
from genzoo.foreign.pickles import read_pickle, state_of
from genzoo.text.foreign import what_is

ENDINGS = (".pth", ".pt", ".pkl", ".ckpt", ".bin", ".tar", ".safetensors", ".h5", ".hdf5")
"""Endings by which a folder's checkpoints are told; a file that is given by itself may have any name."""
SETTINGS = (".yaml", ".yml")
"""Endings of files of settings that lie beside checkpoints."""


@dataclass(frozen=True)
class Piece:
    """The state of one network.

    Args:
        file: Name of its file.
        key: Its name in the file; empty where the file holds nothing else.
        state: Tensors by name.
        role: What the person says that it is, such as "a2b".
        said: Settings that lay beside it, as text.
    """

    file: str
    key: str
    state: dict[str, Tensor] = field(repr=False)
    role: str = ""
    said: str = ""

    def __str__(self) -> str:
        return f"{self.file}[{self.key}]" if self.key else self.file

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor.

        Raises:
            UserError: There is none of that name.
        """
        if name not in self.state:
            raise UserError(f"{self} has no tensor '{name}', by which its size is told")
        return tuple(self.state[name].shape)

    def count(self, pattern: str) -> int:
        """Count the numbers n for which some name begins with `pattern` where {} is n: from 0 on, without a gap."""
        n = 0
        while any(k.startswith(pattern.format(n)) for k in self.state):
            n += 1
        return n


def read_pieces(files: Sequence[tuple[str, Path]]) -> list[Piece]:
    """Read the pieces of files, and of the checkpoints of folders.

    Args:
        files: What the person says that a file is (or nothing), and its path.

    Raises:
        UserError: There is no such file, it is of a form that is not read, or it holds no tensors.
    """
    found: list[Piece] = []
    for role, path in files:
        listed = list(_files(path))
        said = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in listed if p.suffix in SETTINGS)
        found += [
            Piece(p.file, p.key, p.state, role, said) for f in listed if f.suffix not in SETTINGS for p in _read(f)
        ]
    told = "\n".join(p.said for p in found if p.said) or _beside([f for _, f in files])
    return [Piece(p.file, p.key, p.state, p.role, p.said or told) for p in found]


def _beside(files: Sequence[Path]) -> str:
    """Read the files of settings among those that were given."""
    return "\n".join(f.read_text(encoding="utf-8", errors="replace") for f in files if f.suffix in SETTINGS)


def _files(path: Path) -> Iterator[Path]:
    path = path.expanduser()
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.suffix in (*ENDINGS, *SETTINGS) and p.is_file())
        if not any(p.suffix in ENDINGS for p in inside):
            raise UserError(f"'{path}' holds no checkpoint ({', '.join(ENDINGS)})")
        yield from inside
    elif path.is_file():
        yield path
    else:
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"there is no file '{path}'{nearest(path.name, siblings)}")


def _read(path: Path) -> list[Piece]:
    with open(path, "rb") as file:
        head = file.read(64)
    if path.suffix == ".safetensors":
        try:
            return [Piece(path.name, "", _bare(load_file(path)))]
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise DamagedFile(f"{path} cannot be read as safetensors: damaged, or cut short") from error
    if head.startswith(HDF5):
        return [Piece(path.name, "", read_hdf5(path))]
    if not head.startswith((b"PK\x03\x04", b"\x80", b"(", b"c", b"]", b"}")):
        kind = what_is(head) or "of a form that is not known"
        raise UserError(
            f"{path} is {kind}; checkpoints of PyTorch (torch.save), pickles, safetensors and Keras' HDF5 are read"
        )
    found = list(_pieces(path.name, "", read_pickle(path), 0))
    if not found:
        raise UserError(f"{path} holds no tensors by name")
    return found


def _pieces(file: str, key: str, value: Any, depth: int) -> Iterator[Piece]:
    """Find networks' states: a dictionary with tensors, or a module; else among the entries of a dictionary."""
    state = state_of(value)
    if state:
        yield Piece(file, key, _bare(state))
    if isinstance(value, dict) and depth < 3:
        for name, inner in value.items():
            if isinstance(inner, dict) or hasattr(inner, "entries"):
                yield from _pieces(file, f"{key}.{name}" if key else str(name), inner, depth + 1)


def _bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off the prefixes that wrappers (DataParallel, compile) put before every name."""
    while state and all(re.match(r"(module|_orig_mod)\.", k) for k in state):
        state = {k.split(".", 1)[1]: v for k, v in state.items()}
    return state
