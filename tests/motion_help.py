"""What the tests of clips and shapes share."""

import numpy as np
from PIL import Image

from genzoo.data import DataSettings, open_data


def film(t=6, seed=0, size=(10, 12), gray=False):
    """Frames [T, H, W, 3] of few colours, which a GIF keeps exactly."""
    levels = np.random.default_rng(seed).integers(0, 3, (t, *size, 1 if gray else 3)) * 100
    return levels.repeat(3 if gray else 1, -1).astype(np.uint8)


def animated(path, frames, **more):
    images = [Image.fromarray(f) for f in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, loop=0, **more)
    return path


def numbered(folder, frames, prefix="frame-", first=0, step=1):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{prefix}{first + step * i}.png")
    return folder


def clips(path, kind="video", **keys):
    split = keys.pop("split", "train")
    return open_data(DataSettings(str(path), **keys), kind=kind, split=split, quiet=True)


def all_of(path, kind="video", **keys):
    """Every example, both parts together."""
    parts = [clips(path, kind, split=s, **keys) for s in ("train", "test")]
    return np.concatenate([np.array(p.fields[kind]) for p in parts])


def ball(side=16, radius=0.4):
    at = (np.arange(side) + 0.5) / side - 0.5
    return sum(a**2 for a in np.meshgrid(at, at, at, indexing="ij")) < radius**2
