#!/usr/bin/env bash
# imageio gives another film of one phone recording by its plugin FFMPEG than by its plugin pyav: more frames, turned, with a rate that is of neither.
#
# One would guess: a plugin is a choice of backend. imread(film) gives the frames that stand in the file, and immeta(film)["fps"] the rate at
# which these frames are to be shown, so that frames / fps is its length; it does for a film of even frames.
# What happens: phones and screen recorders write a frame when there is one (a variable rate), and turn the picture by a mark. pyav gives the 8
# frames of such a file as they are stored, lying on their side. FFMPEG gives 22, upright: ffmpeg repeats frames until they are even at 25 in a
# second, while the fps beside them is the file's mean of 9.09, so that the frames come to 2.4 s of a film of 0.88 s (pyav's, with its fps of
# 25, to 0.32 s), and the index of a frame, or of a label that was made for it, is another. Neither says so. For learning from clips: take times and the mark from the file (av: frame.pts,
# frame.time_base, side data DISPLAYMATRIX) and bring the frames to a rate that is stated.
# Versions: imageio 2.38.1, imageio-ffmpeg 0.8.1 (its own ffmpeg), av 18.1.0, numpy 2.4.6, Python 3.11; x86-64 Linux.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q imageio==2.38.1 imageio-ffmpeg==0.8.1 av==18.1.0 numpy==2.4.6
v/bin/python - 2>/dev/null <<'PY'
import struct, sys
from fractions import Fraction
import av, imageio.v3 as iio, numpy as np


def film(path, times, turned):
    """Frames of one gray each, lighter and lighter, at these twenty-fifths of a second; a mark turns them by 90 degrees."""
    with av.open(path, "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 32, "yuv420p", 10**7
        for i, at in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), 20 + 25 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    if turned:
        data = bytearray(open(path, "rb").read())
        place = data.index(b"tkhd") + 44
        data[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
        open(path, "wb").write(data)


found = {}
for name, times, turned in (("even", range(8), False), ("of a phone", [0, 1, 2, 3, 9, 10, 20, 21], True)):
    film("film.mov", times, turned)
    for plugin in ("pyav", "FFMPEG"):
        frames, fps = iio.imread("film.mov", plugin=plugin), iio.immeta("film.mov", plugin=plugin)["fps"]
        found[name, plugin] = len(frames), frames.shape[1:3], float(fps)
        print(f"{name:11} {plugin:7} {len(frames):2} frames of {frames.shape[1]}x{frames.shape[2]}, fps {float(fps):.2f}: "
              f"{len(frames) / float(fps):.2f} s of {(times[-1] + 1) / 25:.2f} s; levels {[int(f.mean()) // 5 * 5 for f in frames]}")
same = found["even", "pyav"][:2] == found["even", "FFMPEG"][:2]
other = found["of a phone", "pyav"][:2] == (8, (32, 64)) and found["of a phone", "FFMPEG"][:2] == (22, (64, 32))
sys.exit(0 if same and other and abs(found["of a phone", "FFMPEG"][2] - 9.09) < 0.01 else 1)
PY
