#!/usr/bin/env bash
# trimesh measures the cells of a .binvox file from the first one's middle to the last one's, so every length is too large.
#
# One would guess: in a .binvox file of n cells on a side `scale` is the length of the whole grid and `translate` its corner: the program's
# own formula (patrickmin.com/binvox) takes cell (i, j, k) to translate + scale * (i + 1/2) / n. A grid of scale 1 that is full has the volume 1 at any resolution,
# and the volume of a ball does not depend on how finely it was cut into cells.
# What happens: trimesh puts the middle of cell i at translate + scale * i / (n - 1), and makes the cells that large. The volume of everything
# is too large by (n / (n - 1))³: by 10 % at 32 cells, 20 % at 16, eightfold at 2; a mesh and its own grid do not lie on one another, and it
# writes `scale` by the same rule, so its files are too small for everybody else and look right to itself.
# Versions: trimesh 5.2.0, numpy 2.4.6, scipy 1.17.1, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q trimesh==5.2.0 numpy==2.4.6 scipy==1.17.1
v/bin/python - <<'PY'
import io
import sys

import numpy as np
import trimesh


def binvox(grid):
    """A grid in the unit cube: runs of one cell."""
    n = len(grid)
    runs = np.stack([grid.transpose(0, 2, 1).ravel(), np.ones(n**3)], 1).astype(np.uint8)
    return f"#binvox 1\ndim {n} {n} {n}\ntranslate 0 0 0\nscale 1\ndata\n".encode() + runs.tobytes()


def full(n):
    found = trimesh.load(io.BytesIO(binvox(np.ones((n, n, n), bool))), file_type="binvox")
    middles = found.points
    print(f"  {n:3} cells on a side: volume {found.volume:.4f}, (n / (n - 1))^3 = {(n / (n - 1)) ** 3:.4f}, "
          f"middles from {middles.min():g} to {middles.max():g}, and not from {0.5 / n:g} to {1 - 0.5 / n:g}")
    return found.volume


print("a full grid of scale 1:")
volumes = {n: full(n) for n in (2, 16, 32, 128)}
print("a ball of radius 0.4, whose volume is", round(4 / 3 * np.pi * 0.4**3, 4), "by its cells and by trimesh:")
for n in (16, 32, 128):
    at = (np.arange(n) + 0.5) / n - 0.5
    grid = sum(a**2 for a in np.meshgrid(at, at, at, indexing="ij")) < 0.4**2
    found = trimesh.load(io.BytesIO(binvox(grid)), file_type="binvox")
    print(f"  {n:3}: {grid.mean():.4f} {found.volume:.4f}")
cells = np.ones((4, 4, 4), bool)
written = trimesh.voxel.VoxelGrid(cells, trimesh.transformations.scale_matrix(0.25)).export(file_type="binvox")
scale = float(next(line for line in written.splitlines() if line.startswith(b"scale")).split()[1])
print(f"four cells of 0.25 are written with scale {scale:g}")
sys.exit(0 if all(abs(v - (n / (n - 1)) ** 3) < 1e-9 for n, v in volumes.items()) and scale == 0.75 else 1)
PY
