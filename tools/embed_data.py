"""Make the two embedded sets: `python -m tools.embed_data` (needs scikit-learn, and Fashion-MNIST for garments).

Run once; the result is part of the repository. digits: scikit-learn's copy of the UCI test set, 17 grey levels in 8x8;
30 of each class are the test part. garments: the first 500 of each class of Fashion-MNIST's training part and the first
100 of each class of its test part.
"""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from genzoo.data.sources import embedded, standard

COLUMNS = 100


def sheet(images: np.ndarray) -> bytes:
    n, side, _ = images.shape
    rows = -(-n // COLUMNS)
    full = np.zeros((rows * COLUMNS, side, side), np.uint8)
    full[:n] = images
    tall = full.reshape(rows, COLUMNS, side, side).transpose(0, 2, 1, 3).reshape(rows * side, COLUMNS * side)
    buffer = io.BytesIO()
    Image.fromarray(tall).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def by_class(images: np.ndarray, labels: np.ndarray, take: slice) -> tuple[np.ndarray, list[int]]:
    chosen = [images[labels == c][take] for c in range(10)]
    return np.concatenate(chosen), [len(c) for c in chosen]


def main() -> None:
    embedded.FOLDER.mkdir(exist_ok=True)
    uci = load_digits()
    grey = np.rint(uci.images * 255 / 16).astype(np.uint8)
    fashion = standard.Standard("fashion-mnist").contents("image")
    sources = {
        "digits": (
            8,
            32,
            (grey, uci.target, slice(30, None)),
            (grey, uci.target, slice(0, 30)),
            standard.CLASSES["mnist"],
        ),
        "garments": (
            28,
            28,
            (fashion.pictures["image", "train"].array[:, 0], fashion.labels["train"], slice(0, 500)),
            (fashion.pictures["image", "test"].array[:, 0], fashion.labels["test"], slice(0, 100)),
            standard.CLASSES["fashion-mnist"],
        ),
    }
    index = {}
    for name, (side, enlarge, train, test, classes) in sources.items():
        (a, train_counts), (b, test_counts) = by_class(*train), by_class(*test)
        png = sheet(np.concatenate([a, b]))
        (embedded.FOLDER / f"{name}.png").write_bytes(png)
        index[name] = {
            "side": side,
            "enlarge": enlarge,
            "train": train_counts,
            "test": test_counts,
            "classes": list(classes),
            "sha256": hashlib.sha256(png).hexdigest(),
        }
        print(name, len(png), "bytes", sum(train_counts), "+", sum(test_counts))
    (embedded.FOLDER / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
