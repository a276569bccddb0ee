"""Train the bundled MNIST-like classifiers whose features give the FLD: about half a minute each.

    GENZOO_DATA=... python -m tools.train_lenet mnist fashion-mnist

Fitted on the first 50,000 training images only, so that its accuracy is known on 10,000 images of either split that are new to it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from genzoo.metrics.features.lenet import WEIGHTS, LeNet

NAMES = {"mnist": "lenet-mnist-v1", "fashion-mnist": "lenet-fashion-v1"}
FITTED, EPOCHS, BATCH, RATE, SEED = 50_000, 6, 128, 4e-3, 0


def idx(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Read official IDX files: uint8 [N, 1, 28, 28] and int64 [N]."""
    images = np.fromfile(folder / f"{split}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)
    labels = np.fromfile(folder / f"{split}-labels-idx1-ubyte", np.uint8)[8:]
    return torch.from_numpy(images), torch.from_numpy(labels).long()


@torch.no_grad()
def accuracy(net: LeNet, images: Tensor, labels: Tensor) -> float:
    net.eval()
    right = sum(int((net(x).argmax(1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000), strict=True))
    return right / len(labels)


def main(data: str) -> None:
    torch.manual_seed(SEED)
    folder = Path(os.environ["GENZOO_DATA"]) / data
    images, labels = (t[:FITTED] for t in idx(folder, "train"))
    net = LeNet()
    steps = EPOCHS * (FITTED // BATCH)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    start = time.process_time()
    step = 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(FITTED)[: steps // EPOCHS * BATCH].split(BATCH):
            net.train()
            loss = F.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                print(f"{data}: step {step}/{steps}, loss {loss.item():.3f}", flush=True)
    # Stored in half precision: both classifiers together stay under a megabyte; accuracy is that of the stored weights.
    state = {k: v.half() for k, v in net.state_dict().items()}
    net.load_state_dict({k: v.float() for k, v in state.items()})
    held = tuple(t[FITTED:] for t in idx(folder, "train"))
    card = {
        "name": NAMES[data],
        "data": data,
        "fitted_on": f"the first {FITTED} images of the training split",
        "fitted": FITTED,
        "accuracy": {"test 10000": accuracy(net, *idx(folder, "t10k")), "last 10000 of train": accuracy(net, *held)},
        "recipe": "conv5x5 1-16 s2, conv5x5 16-32 s2, fc 1568-128, dropout 0.3, fc 128-10, ReLU; Adam, OneCycle to 4e-3, "
        f"batch {BATCH}, {EPOCHS} epochs; no augmentation",
        "seed": SEED,
        "precision": "float16 stored, float32 computed",
        "torch": torch.__version__,
        "cpu_seconds": round(time.process_time() - start, 1),
        "command": f"python -m tools.train_lenet {data}",
    }
    path = WEIGHTS / f"{NAMES[data]}.safetensors"
    save_file(state, path, metadata={"card": json.dumps(card)})
    print(json.dumps(card, indent=2))
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or NAMES:
        main(name)
