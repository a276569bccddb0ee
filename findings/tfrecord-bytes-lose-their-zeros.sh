#!/usr/bin/env bash
# A feature of several byte strings in a TFRecord comes out of the reader `tfrecord` without the zero bytes at the ends.
#
# One would guess: tfrecord_loader gives a bytes feature as it was written, for one byte string it does, bit for bit; so the frames of a
# clip, or the planes of a picture, that are kept as a list of byte strings of raw pixels can be given to np.frombuffer.
# What happens: several strings become one NumPy array of type S, in which a zero byte at the end of an element is padding and is not given
# back. A frame whose last pixels are black is shorter by so many bytes; an all-black frame is empty. No error is raised, and where only some
# frames end in black the feature even has the right number of strings. Read the protocol buffer itself (example_pb2.Example.FromString).
# Versions: tfrecord 1.14.6, protobuf 7.36.2, crc32c 2.9.post0, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q tfrecord==1.14.6 protobuf==7.36.2 crc32c==2.9.post0 numpy==2.4.6 setuptools
v/bin/python - <<'PY'
import sys
import numpy as np, tfrecord
from tfrecord import example_pb2
from tfrecord.reader import tfrecord_iterator

frames = [np.full((4, 4), v, np.uint8) for v in (9, 8, 0)]
frames[1][2:] = 0  # the lower half of the second frame is black, and the whole of the third
written = [f.tobytes() for f in frames]
writer = tfrecord.TFRecordWriter("clip.tfrecord")
writer.write({"clip": (written, "byte"), "frame": (written[1], "byte")})
writer.close()

(found,) = tfrecord.tfrecord_loader("clip.tfrecord", None, {"clip": "byte", "frame": "byte"})
(record,) = [example_pb2.Example.FromString(bytes(r)) for r in tfrecord_iterator("clip.tfrecord")]
kept = list(record.features.feature["clip"].bytes_list.value)
lengths = [len(f) for f in found["clip"]]
print("bytes of each frame as written:", [len(f) for f in written])
print("  in the file:", [len(f) for f in kept])
print("  as the reader gives the list:", lengths)
print("  the second frame alone, as a feature of its own:", len(found["frame"]))
sys.exit(0 if kept == written and found["frame"] == written[1] and lengths == [16, 8, 0] else 1)
PY
