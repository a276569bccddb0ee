#!/usr/bin/env bash
# x264, as PyAV's wheels have it, writes another film of the same frames when memory held something else before: its macroblock tree is the cause.
#
# One would guess: an encoder is a function of frames and options, unless many threads share a bit rate, which x264 keeps in order by default;
# so the same frames give the same file, as with a GIF or a PNG, and one thread gives it for certain.
# What happens: with the default preset, where a side is no multiple of 16, how bits are given to blocks depends on bytes that nobody wrote
# (glibc fills new memory with MALLOC_PERTURB_ here; in a long process it is whatever was freed). Frames handed over are equal after the conversion to
# yuv420p, one thread changes nothing, a constant quality (crf) neither. Sides of 16 and 32 are not touched. mbtree=0 ends it for every
# side tried; so do aq-mode=0 and rc-lookahead=0, which the tree needs. Digests of films are no proof that frames differ.
# Versions: av 18.1.0 (libavcodec 62.28.102, its own libx264), numpy 2.4.6, Python 3.11; x86-64 Linux with AVX2, glibc.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q av==18.1.0 numpy==2.4.6
cat > film.py <<'PY'
import hashlib, io, sys
import av, numpy as np

for side in (16, 20, 32, 34):
    frames = np.random.default_rng(0).integers(0, 256, (14, side, side, 3), dtype=np.uint8)
    for options in ({}, {"threads": "1"}, {"crf": "23"}, {"x264-params": "mbtree=0"}):
        file, given = io.BytesIO(), hashlib.md5()
        with av.open(file, "w", format="mp4") as film:
            stream = film.add_stream("libx264", rate=8, options=options)
            stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
            if "crf" not in options:
                stream.bit_rate = 500_000
            for frame in frames:
                frame = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
                given.update(frame.to_ndarray().tobytes())
                film.mux(stream.encode(frame))
            film.mux(stream.encode())
        print(side, "".join(f"{k}={v}" for k, v in options.items()) or "default", given.hexdigest()[:8], hashlib.md5(file.getvalue()).hexdigest()[:8])
PY
for fill in 85 200; do MALLOC_PERTURB_=$fill v/bin/python film.py > $fill.txt 2>/dev/null; done
paste -d ' ' 85.txt 200.txt | awk '
    { same = $4 == $8 ? "equal files" : "unequal files"; print $1 " pixels, " $2 ": frames " ($3 == $7 ? "equal" : "unequal") ", " same
      if ($3 != $7) bad = 1
      uneven = $1 % 16 && $2 !~ /mbtree/
      if (uneven == ($4 == $8)) bad = 1 }
    END { exit bad }'
