"""Draw images from a file that `genzoo export RUN to=FILE.onnx` wrote, with numpy and onnxruntime alone: neither genzoo nor torch is here.

    python use_onnx.py FILE.onnx [N] [CLASS] [OUT.png]

The file says itself what it takes: from which law each stretch of a latent comes, what noise is, and which classes there are.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib

import numpy as np
import onnxruntime

rng = np.random.default_rng(0)


def draw(law: str, shape: tuple[int, ...], chosen: int | None) -> np.ndarray:
    """Draw numbers from a law, as the file names it; of classes the chosen one, if there is one."""
    if law.startswith("normal"):
        return rng.standard_normal(shape)
    if law.startswith("uniform"):
        low, high = (float(end.strip("[]() ")) for end in law.removeprefix("uniform").split(","))
        return rng.uniform(low, high, shape)
    if law.startswith("logistic"):
        return rng.logistic(size=shape)
    if law.startswith("one-hot"):
        return np.eye(shape[1])[rng.integers(shape[1], size=shape[0]) if chosen is None else np.full(shape[0], chosen)]
    if law.startswith("whole number"):
        last = int(law.split(" to ")[1].split(",")[0])
        return rng.integers(last + 1, size=shape) if chosen is None else np.full(shape, min(chosen, last))
    raise SystemExit(f"latents of this system come from a law of their own ({law}); the file has examples of them")


def inputs_of(about: dict, n: int, chosen: int | None) -> dict[str, np.ndarray]:
    """Make all inputs of a file, for `n` images."""
    made = {}
    for value in about["inputs"]:
        shape = tuple(n if side == "N" else side for side in value["shape"])
        if value["name"] == "z":
            columns = about["latents"]["columns"]
            x = np.concatenate([draw(c["law"], (n, c["to"] - c["from"]), chosen) for c in columns], 1)
        elif "law" in value:
            x = draw(value["law"], shape, chosen if value["name"] == "label" else None)
        else:
            raise SystemExit(
                f"{about['part']} takes {value['name']} {value['shape']}, which cannot be drawn: {about['sentence']}"
            )
        made[value["name"]] = x.astype(value["dtype"])
    return made


def grid(images: np.ndarray) -> np.ndarray:
    """Lay images [N, C, H, W] in [-1, 1] out as one picture, uint8 [H', W', 1 or 3]."""
    n, c, h, w = images.shape
    columns = int(np.ceil(np.sqrt(n)))
    rows = -(-n // columns)
    sheet = np.zeros((rows * columns, c, h, w), np.uint8)
    sheet[:n] = np.rint((images + 1) * 127.5).clip(0, 255)
    return sheet.reshape(rows, columns, c, h, w).transpose(0, 3, 1, 4, 2).reshape(rows * h, columns * w, c)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels [H, W, 1 or 3] as a PNG file."""
    h, w, c = pixels.shape

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", w, h, 8, 0 if c == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main(file: str, n: str = "16", chosen: str = "", out: str = "drawn.png") -> None:
    """Draw `n` images, of a class where the file has classes, into one picture."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["genzoo"])
    print(about["sentence"])
    classes = about.get("classes", [])
    label = classes.index(chosen) if chosen in classes else int(chosen) if chosen else None
    images = session.run(None, inputs_of(about, int(n), label))[0]
    if images.ndim != 4:
        raise SystemExit(f"these are no images but {about['output']['name']}: {images.shape}")
    with open(out, "wb") as picture:
        picture.write(png(grid(images)))
    print(f"wrote {out}: {n} images of {images.shape[1:]} in [{images.min():.2f}, {images.max():.2f}]")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
