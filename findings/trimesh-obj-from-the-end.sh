#!/usr/bin/env bash
# trimesh counts the negative numbers of an OBJ from the end of the file, not from the line they stand on.
#
# One would guess: trimesh reads OBJ with relative (negative) vertex numbers, for a file of one object comes out right: -1 is the vertex
# that was written last before the face, as the format says, so programs can write objects one after another without counting.
# What happens: numbers are looked up when all vertices are known, so every face of every object is built from the last vertices of the
# file. Two cubes become one cube twice: half of the shape is lost without a warning.
# Versions: trimesh 5.2.0, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q trimesh==5.2.0 numpy==2.4.6
v/bin/python - <<'PY'
import io, itertools, sys
import trimesh

squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def cube(x, number):
    corners = "".join(f"v {a + x} {b} {c}\n" for a, b, c in itertools.product((0, 1), repeat=3))
    return corners + "".join("f " + " ".join(str(number(i)) for i in square) + "\n" for square in squares)


def read(text):
    mesh = trimesh.load_mesh(io.BytesIO(text.encode()), file_type="obj")
    print(f"  {len(mesh.faces)} faces, watertight {mesh.is_watertight}, x from {mesh.bounds[0][0]:g} to {mesh.bounds[1][0]:g}")
    return mesh.bounds[:, 0].tolist()


print("cubes at x = 0 and x = 5, numbered from the beginning:")
counted = read("o a\n" + cube(0, lambda i: i + 1) + "o b\n" + cube(5, lambda i: i + 9))
print("the same, numbered from the end (-8 to -1):")
relative = read("o a\n" + cube(0, lambda i: i - 8) + "o b\n" + cube(5, lambda i: i - 8))
print("one cube, numbered from the end:")
single = read("o a\n" + cube(0, lambda i: i - 8))
sys.exit(0 if counted == [0, 6] and relative == [5, 6] and single == [0, 1] else 1)
PY
