"""Small data sets in the forms in which others publish them."""

import io
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image


def encoded(level, side=8, ending="PNG", mode="L"):
    """A picture file of one level."""
    out = io.BytesIO()
    Image.new(mode, (side, side), level if mode == "L" else (level, 0, 255 - level)).save(out, ending)
    return out.getvalue()


def tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def samples(start, n, **more):
    """Members of a shard: pictures of levels start, start + 1 ..., with what `more` makes of a level by ending."""
    return [
        (f"{i:04d}.{ending}", made(start + i)) for i in range(n) for ending, made in {"png": encoded, **more}.items()
    ]


def parquet(path, levels, *, features=None, group=4, **columns):
    """A table of pictures as the hub has them."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [v if v is None or isinstance(v, dict) else {"bytes": encoded(v), "path": f"{v}.png"} for v in levels]
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"image": image, **columns})
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group, compression="none", use_dictionary=False)
    return path


def lmdb_file(folder, values):
    import lmdb

    with lmdb.open(str(folder), map_size=2**24) as env, env.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return folder


def record(**features):
    """A record of a TFRecord, framed and with both checksums."""
    import crc32c
    from tfrecord import example_pb2 as pb

    made = {}
    for name, value in features.items():
        name = name.replace("__", "/")
        if isinstance(value, bytes):
            made[name] = pb.Feature(bytes_list=pb.BytesList(value=[value]))
        else:
            made[name] = pb.Feature(int64_list=pb.Int64List(value=np.atleast_1d(value).tolist()))
    data = pb.Example(features=pb.Features(feature=made)).SerializeToString()

    def masked(x):
        c = crc32c.crc32c(x)
        return struct.pack("<I", ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def batch(levels, labels, key=b"labels", python3=False):
    """A batch of CIFAR: the pickle of a dictionary, of Python 2's strings as the published ones are."""
    rows = np.repeat(np.array(levels, np.uint8)[:, None], 3072, 1)
    return pickle.dumps(
        {b"data": rows, key: list(labels), b"filenames": [b"x.png"] * len(labels)}, 2 if not python3 else 4
    )
