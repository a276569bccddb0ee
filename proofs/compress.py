"""Proof that a likelihood is a file size: images compressed with a model, beside the formats that everybody has."""

from __future__ import annotations

import bz2
import io
import lzma
import math
import time

import torch
from PIL import Image
from torch import Tensor

import genzoo
from genzoo.data import Batches, DataSettings, open_data, to_float
from genzoo.data.drawing.images import to_uint8
from genzoo.metrics.nll import evaluate_density
from genzoo.use.common import codec
from proofs.proof import Proof, proof

N = 100


def saved(images: list[Image.Image], kind: str, **options: object) -> int:
    """Bytes of all images in a format, one file each."""
    total = 0
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        total += buffer.tell()
    return total


def others(x: Tensor) -> dict[str, float]:
    """Bits per dimension of other lossless formats: one file an image, all images in one picture, all bytes in one stream."""
    grey = to_uint8(x)
    single = [Image.fromarray(g[0].numpy()) for g in grey]
    tall = [Image.fromarray(grey[:, 0].reshape(-1, grey.shape[3]).numpy())]
    raw = grey.numpy().tobytes()
    webp = {"lossless": True, "quality": 100, "method": 6}
    found = {
        "PNG": saved(single, "PNG", optimize=True), "WebP": saved(single, "WEBP", **webp),
        "PNG, one picture of all": saved(tall, "PNG", optimize=True), "WebP, one picture of all": saved(tall, "WEBP", **webp),
        "bzip2 of all": len(bz2.compress(raw, 9)), "xz of all": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
    }  # fmt: skip
    return {k: 8 * v / grey.numel() for k, v in found.items()}


@proof("compress-mnist", system="pixelcnn", family="autoregressive", minutes=8)
def compress_mnist(p: Proof) -> None:
    """A hundred test digits in one file: within one percent of the reported bits, back bit for bit, smaller than PNG and WebP."""
    run = p.train("pixelcnn", "mnist", steps=2_000, batch=16, blocks=5, ema=0.99, precision="bf16", seed=0)
    system = genzoo.load(run.path)
    test = open_data(DataSettings("mnist"), split="test", quiet=True)
    x = to_float(Batches(test, N, 0).in_order(0), "cpu")["image"]
    dims = x[0].numel()
    with torch.no_grad():
        reported = float(-system.log_prob(x).double().sum()) / math.log(2)
    file = p.work / "digits.gzoo"
    start = time.time()
    done = genzoo.compress(run, x, file)
    packing, start = time.time() - start, time.time()
    back = genzoo.decompress(file, run)
    unpacking = time.time() - start
    protocol = f"bits of the file, header included, over the {N} first test images in stored order x {dims} pixels"
    p.measure(
        "bits/dim of the file", done.bits_per_dim, unit="bits/dim", n=N, split="test", protocol=protocol, better="lower",
        baseline={"by log_prob": reported / N / dims, **others(x)}, goal=1.01 * reported / N / dims,
    )  # fmt: skip
    p.measure(
        "file over reported bits", 100 * (8 * done.size / reported - 1), unit="%", n=N, split="test", better="lower", goal=1.0,
        protocol=f"{done.size} bytes against {reported / 8:.1f} by log_prob of the same images in one parallel pass",
    )  # fmt: skip
    exact = float((to_uint8(back) == to_uint8(x)).all((1, 2, 3)).float().mean())
    p.measure("images given back bit for bit", exact, unit="of all", n=N, split="test", better="higher", goal=1.0)
    _, words = codec.unpack(file.read_bytes(), file.name)
    p.measure("header", done.size - len(words), unit="bytes", protocol="all of the file but the range coder's words")
    p.measure("compress", N / packing, unit="images/s", protocol="one thread, model loading included")
    p.measure("decompress", N / unpacking, unit="images/s", protocol="one thread, model loading included")
    whole = evaluate_density(system, test, n=2_000)
    p.measure(
        "bits/dim by log_prob", whole["bits_per_dim"], unit="bits/dim", se=whole["bits_per_dim_se"], n=whole["n"], split="test",
        protocol=whole["protocol"], better="lower",
    )  # fmt: skip
    p.note("WebP: lossless, quality 100, method 6; PNG: optimize. The model itself is not counted: both sides have it.")
