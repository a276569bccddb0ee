"""Read the weights that Keras keeps in HDF5, as data: names and numbers, in the order of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import DamagedFile, UserError

HDF5 = b"\x89HDF\r\n\x1a\n"
"""What such a file begins with."""


def read_hdf5(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of weights, or of a whole model, in the order that Keras lists its layers in.

    A name is what Keras calls it, without the ":0" at the end and the layer's name before it: "conv2d_3/kernel".

    Raises:
        UserError: h5py is not installed, it is no file of Keras, or a part of it lies in another file.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path} is HDF5, which needs the extra: pip install 'genzoo[keras]'") from None
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if not _listed(root, "layer_names"):
                raise UserError(
                    f"{path} is HDF5, but lists no layers as Keras 2 does (layer_names); save it by model.save_weights of Keras 2"
                )
            found = dict(_tensors(root, str(path)))
    except (OSError, KeyError, RuntimeError) as error:
        raise DamagedFile(f"{path} cannot be read as HDF5: damaged, or cut short") from error
    if not found:
        raise UserError(f"{path} holds no tensors by name")
    return found


def _tensors(root: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    import h5py

    for layer in _listed(root, "layer_names"):
        for name in _listed(root[layer], "weight_names"):
            for at in (layer, *(f"{layer}/{part}" for part in _stems(name))):
                if not isinstance(root.get(at, getlink=True), h5py.HardLink):
                    raise UserError(f"{path}: '{at}' lies somewhere else (a link), which is not followed")
            values = root[layer][name]
            if values.external or values.is_virtual:
                raise UserError(f"{path}: '{name}' lies in another file, which is not opened")
            yield name.removesuffix(":0"), torch.from_numpy(np.array(values))


def _stems(name: str) -> Iterator[str]:
    """Return a name and what stands above it: "a/b:0" gives "a" and "a/b:0"."""
    parts = name.split("/")
    return ("/".join(parts[: i + 1]) for i in range(len(parts)))


def _listed(group: Any, kind: str) -> list[str]:
    """Return a list of names; a long one is in parts, layer_names0, layer_names1 and so on, since HDF5 keeps 64 kB of them together."""
    parts = [kind] if kind in group.attrs else []
    while parts[:1] != [kind] and f"{kind}{len(parts)}" in group.attrs:
        parts.append(f"{kind}{len(parts)}")
    names = (name for part in parts for name in group.attrs[part])
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
