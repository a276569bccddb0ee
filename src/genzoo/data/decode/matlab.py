"""MATLAB's .mat files as ModelNet's and ShapeNet's grids of voxels come in them: one array of a file, by `scipy`, which runs nothing."""

from __future__ import annotations

import io
import math
import warnings
from importlib.util import find_spec

import numpy as np

from genzoo.data.decode.forms import Rejected

NAMES = ("instance", "voxel", "samples", "data")
"""What the names of arrays of grids begin with, the likeliest first: ModelNet's `instance`, `voxels` and `voxel` of ShapeNet's and Pix3D's."""
MOST_VALUES = 2**28
"""Values of an array that are read at most."""


def array_of(data: bytes) -> np.ndarray:
    """Return the grid of a .mat file [D, H, W], or its grids [N, D, H, W], with sides in the order that MATLAB numbers them.

    Raises:
        Rejected: It is damaged, of version 7.3, or it has no grid or several.
    """
    if data.startswith(b"MATLAB 7.3"):
        raise Rejected("a MATLAB file of version 7.3 (HDF5): save it with '-v7' in MATLAB, or write it as .npy")
    if find_spec("scipy") is None:
        raise Rejected("a MATLAB file needs the extra: pip install 'genzoo[voxels]'")
    from scipy.io import loadmat, whosmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            there = {name: shape for name, shape, kind in whosmat(io.BytesIO(data)) if _is_grid(shape, kind)}
            if not there:
                raise Rejected("a MATLAB file without a grid of voxels, an array [D,H,W]")
            likely = [n for start in NAMES for n in sorted(there, key=len) if n.startswith(start)]
            if len(there) > 1 and not likely:
                raise Rejected(f"it has several arrays ({', '.join(sorted(there)[:5])}): call the grid '{NAMES[0]}'")
            name = [*likely, *there][0]
            if math.prod(there[name]) > MOST_VALUES:
                shape = "x".join(map(str, there[name]))
                raise Rejected(f"its header promises {shape} values, which are too many for a grid")
            found: np.ndarray = loadmat(io.BytesIO(data), variable_names=[name])[name]
    except Rejected:
        raise
    except Exception:  # whatever the parser throws at a hostile file
        raise Rejected("damaged: it is no whole MATLAB file; save it again") from None
    return found


def _is_grid(shape: tuple[int, ...], kind: str) -> bool:
    """Tell whether an array is a grid of voxels: [D, H, W], or several cubes."""
    if kind not in ("logical", "single", "double") and "int" not in kind:
        return False
    return len(shape) == 3 or (len(shape) in (4, 5) and len({*shape[-3:]}) == 1)
