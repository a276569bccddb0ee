#!/usr/bin/env bash
# An MP3 that is read in blocks by soundfile is another sound than the same MP3 read at once.
#
# One would guess: soundfile.blocks(f), or sound.read(4096) in a loop, gives the samples of soundfile.read(f) in pieces; it does for
# WAV, FLAC and Vorbis. So a loader that streams long files to save memory is safe.
# What happens: after every call soundfile sets the place anew (SoundFile._cdata_io seeks to where it is), libsndfile passes the seek to
# mpg123, which begins again at a frame without the bits that MP3 keeps in the frames before. Most samples differ, by up to more than
# half of full scale; length, rate and absence of an error look right. Read an MP3 in one call.
# Versions: soundfile 0.14.0 (libsndfile 1.2.2), numpy 2.4.6, Python 3.11; x86-64 Linux.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q soundfile==0.14.0 numpy==2.4.6
v/bin/python - 2>/dev/null <<'PY'
import io, sys
import numpy as np, soundfile as sf

rate, changed, same = 44100, 0.0, True
sound = 0.5 * np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate)
for kind, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")):
    buffer = io.BytesIO()
    sf.write(buffer, sound, rate, format=kind, subtype=subtype)
    at_once = sf.read(io.BytesIO(buffer.getvalue()))[0]
    blocks = np.concatenate(list(sf.blocks(io.BytesIO(buffer.getvalue()), blocksize=4096)))
    apart = np.abs(at_once - blocks)
    share = float((apart > 1e-3).mean())
    print(f"{kind:4} {len(at_once)} and {len(blocks)} samples; {share:6.1%} differ, by up to {apart.max():.3f}; "
          f"from the sine: at once {np.abs(at_once - sound)[4000:-4000].max():.3f}, in blocks {np.abs(blocks - sound)[4000:-4000].max():.3f}")
    if kind == "MP3":
        changed = share
    else:
        same = same and share == 0
sys.exit(0 if same and changed > 0.1 else 1)
PY
