"""Statistics that stand for images: mean and covariance of their features, as genzoo, pytorch-fid, TTUR, clean-fid and StyleGAN keep them.

| file | what it says of itself |
|---|---|
| `.npz` of genzoo | `mu`, `sigma`, and `genzoo`: network, digest of its weights, resizer, how many images of which data and split |
| `.npz` of clean-fid | `mu`, `sigma`; whose resizer stands in the name: SET_clean_SPLIT_SIDE, SET_legacy_pytorch_..., SET_legacy_tensorflow_... |
| `.pkl` of StyleGAN's `FeatureStats` | number of images, sums and sums of products (or all features); the network stands in the name |
| `.npz` of pytorch-fid or TTUR | `mu`, `sigma`, and nothing else |

A covariance is divided by N - 1 in all of them but StyleGAN's, which divides by N and is brought to N - 1 here.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.files import write_atomic
from genzoo.data.decode.pickled import read_numbers
from genzoo.metrics.features.extractors import Extractor
from genzoo.metrics.features.networks import INCEPTION, INCEPTION_NAME, INCEPTIONS, KNOWN, extractor
from genzoo.metrics.maths.moments import Moments
from genzoo.metrics.records import content_digest

KEYS = {"mu", "sigma"}
OURS = "genzoo"
"""The key of what a file of ours says of itself, as JSON."""
SUMS = {"raw_mean", "raw_cov", "num_items", "num_features"}
"""What StyleGAN keeps of features."""
ENDINGS = (".npz", ".pkl")
MOST = 65_536
"""Features at most: a covariance of more is tens of gigabytes."""
_CLEAN = re.compile(r".+?_(clean|legacy_pytorch|legacy_tensorflow)(_clip_\w+?)?_([^_]+)_(na|\d+)")
_MODES = {"clean": "inception-clean", "legacy_pytorch": "inception-pytorch", "legacy_tensorflow": INCEPTION}


@dataclass(frozen=True)
class Reference:
    """Mean and covariance of the features of images.

    Args:
        moments: With these; where nobody says of how many images, as if of two.
        name: Name of the file.
        digest: SHA-256 over both.
        by: Whose file it is, in words; empty where it does not say.
        network: The extractor whose features these are, as `extractor=` has it; empty where the file does not say.
        count: Images; None where the file does not say.
        told: What a file of genzoo says of itself.
    """

    moments: Moments
    name: str
    digest: str
    by: str = ""
    network: str = ""
    count: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> int:
        """Number of features."""
        return len(self.moments.mean)

    @property
    def of(self) -> str:
        """What they are of, in words: how many images, of which data, whose file."""
        many = "whose number of images is not known" if self.count is None else f"of {self.count:,} images"
        data = " ".join(str(self.told[k]) for k in ("data", "split") if self.told.get(k))
        if self.told.get("samples"):
            many, data = f"of {self.count:,} samples", f"{self.told.get('data', '')} seed {self.told.get('seed', 0)}"
        return f"{many}{f' of {data}' if data else ''}{f' ({self.by})' if self.by else ''}"

    @property
    def described(self) -> tuple[str, str, str] | None:
        """Name, digest of the weights and resizer of the network that they are of; None where the file does not say."""
        if self.told:
            return str(self.told["extractor"]), str(self.told["digest"]), str(self.told["resize"])
        return published(self.network) if self.network else None


def published(network: str) -> tuple[str, str, str] | None:
    """Return name, digest and resizer of Inception behind a published resizer, without its weights; None for another network."""
    if network not in INCEPTIONS:
        return None
    return INCEPTION_NAME, next(d for d, n in KNOWN.items() if n == INCEPTION), INCEPTIONS[network].resize


def unlike(reference: Reference, net: Extractor, asked: str = "") -> str:
    """Say in a sentence why statistics and a network do not go together; empty where they do, or where the file does not say.

    Args:
        reference: The statistics.
        net: The network that images are described by.
        asked: How a person asked for it.
    """
    if reference.dims != net.dims:
        return (
            f"{reference.name} has the statistics of {reference.dims:,} features, and {net.name} gives {net.dims:,}; give extractor= the network "
            "that they were made with"
        )
    said = reference.described
    if said is None or said == (net.name, net.digest, net.resize):
        return ""
    return (
        f"{reference.name} is of {_words(said)}, and {f'extractor={asked}' if asked else 'this network'} is "
        f"{_words((net.name, net.digest, net.resize))}: a distance between the two would measure networks, not images. "
        + (f"Give extractor={reference.network}, or write" if reference.network else "Write")
        + f" statistics anew: genzoo statistics DATA{f' extractor={asked}' if asked else ''}"
    )


def _words(said: tuple[str, str, str] | None) -> str:
    assert said is not None
    return f"{said[0]} (weights {said[1][:12]}; {said[2]})"


def shared(a: Reference, b: Reference, wanted: str | Extractor | None) -> tuple[str, str, str, str] | None:
    """Return name, digest, resizer and measure of the network that two files of statistics are of; None where neither says and nobody asks.

    Args:
        a: The ones.
        b: The others.
        wanted: What a person says of files that do not say it themselves.

    Raises:
        UserError: They are of different networks or resizers, or one of them does not say and nobody does.
    """
    say: tuple[str, str, str] | None = None
    measure = name = ""
    if isinstance(wanted, str) and wanted in INCEPTIONS:
        say, measure, name = published(wanted), INCEPTIONS[wanted].measure, wanted
    elif wanted:
        net = wanted if isinstance(wanted, Extractor) else extractor(wanted)
        say, measure, name = (net.name, net.digest, net.resize), net.measure, getattr(wanted, "name", str(wanted))
    for r in (a, b):
        if say and r.described not in (None, say):
            raise UserError(
                f"{r.name} is of {_words(r.described)}, and extractor={name} is {_words(say)}; leave extractor= out"
            )
    if a.described and b.described and a.described != b.described:
        raise UserError(
            f"{a.name} is of {_words(a.described)} and {b.name} of {_words(b.described)}: a distance between the two would measure networks, "
            f"not images. Write one of them anew: genzoo statistics DATA extractor={a.network or b.network or 'NAME'}"
        )
    for one, other in ((a, b), (b, a)):
        if one.described and not other.described and not say:
            ways = f"extractor={one.network}" if one.network else "extractor="
            raise UserError(
                f"{other.name} does not say whose network and resizer it is of, and {one.name} is of {_words(one.described)}; "
                f"if that is so of both, say it: {ways}"
            )
    said = say or a.described
    if said is None:
        return None
    return *said, measure or str(a.told.get("measure") or INCEPTIONS[a.network].measure)


# ---- reading -----------------------------------------------------------------------------------------------------------------------


def is_reference(path: str | Path) -> bool:
    """Tell whether a path is a file of statistics: an .npz with `mu` and `sigma`, or a .pkl, which no data are."""
    file = Path(path).expanduser()
    if not file.is_file():
        return False
    if file.suffix.lower() == ".pkl":
        return True
    if file.suffix.lower() != ".npz" or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return {f"{key}.npy" for key in KEYS} <= set(archive.namelist())


def read_reference(path: str | Path) -> Reference:
    """Read FID statistics; nothing in a file is run.

    Args:
        path: An .npz file with `mu` [D] and `sigma` [D, D], or a .pkl of StyleGAN's `FeatureStats`.

    Raises:
        UserError: There is no such file, or it holds no statistics: shapes that do not fit, values that are no finite numbers, or a covariance
            that is not symmetric or has a negative variance.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f"there is no file of statistics '{path}'; 'genzoo statistics DATA out={file.name or 'stats.npz'}' writes one"
        )
    if file.suffix.lower() == ".pkl":
        return _of_sums(file)
    if not zipfile.is_zipfile(file):
        raise UserError(
            f"'{path}' is no whole file of statistics: an .npz with mu and sigma, or a .pkl of StyleGAN; write it anew"
        )
    return _of_arrays(file)


def _of_arrays(file: Path) -> Reference:
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {i.filename: i.file_size for i in archive.infolist()}
    except (zipfile.BadZipFile, OSError):
        sizes = {}
    if not {f"{key}.npy" for key in KEYS} <= set(sizes):
        held = ", ".join(sorted(Path(n).stem for n in sizes)[:5]) or "nothing"
        raise UserError(f"'{file}' holds {held}; FID statistics are mu [D] and sigma [D, D] in an .npz file")
    if max(sizes.values()) > 8 * MOST**2:
        raise UserError(f"'{file}' holds more than {MOST:,} features; write FID statistics anew")
    try:
        with np.load(file, allow_pickle=False) as kept:
            mu, sigma = (np.asarray(kept[key], np.float64) for key in ("mu", "sigma"))
            told = json.loads(str(kept[OURS])) if OURS in kept else None
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, TypeError, MemoryError, NotImplementedError):
        raise UserError(
            f"'{file}' holds mu and sigma that are no arrays of numbers, or is cut off; write FID statistics anew"
        ) from None
    _check(file, mu, sigma)
    digest = content_digest(mu, sigma)
    if told is not None:
        return _told(file, mu, sigma, digest, told)
    named = _CLEAN.fullmatch(file.stem)
    by = network = ""
    if named and named[2]:
        raise UserError(
            f"'{file}' is named as clean-fid's statistics of CLIP, a network that genzoo does not have; take its file of Inception"
        )
    if named:
        by, network = f"named as clean-fid's, mode {named[1]}", _MODES[named[1]]
    return Reference(_moments(mu, (sigma + sigma.T) / 2), file.name, digest, by, network)


def _told(file: Path, mu: np.ndarray, sigma: np.ndarray, digest: str, told: Any) -> Reference:
    texts = ("version", "extractor", "network", "digest", "resize", "measure")
    if (
        not isinstance(told, dict)
        or not all(isinstance(told.get(k), str) for k in texts)
        or type(told.get("n")) is not int
        or told["n"] < 2
    ):
        raise UserError(f"'{file}' says of itself what genzoo does not write; write it anew: genzoo statistics DATA")
    count = told["n"]
    moments = _moments(mu, sigma)
    return Reference(moments, file.name, digest, f"written by genzoo {told['version']}", told["network"], count, told)


def _of_sums(file: Path) -> Reference:
    """Read StyleGAN's `FeatureStats`: where `capture_mean_cov` is not set the sums are there, and are all zero."""
    try:
        kept = read_numbers(file)
    except DamagedFile as error:
        raise UserError(f"{error}; statistics of StyleGAN are a .pkl in the folder gan-metrics of its cache") from None
    if not isinstance(kept, dict) or not set(kept) >= SUMS:
        raise UserError(
            f"'{file}' holds no statistics of StyleGAN (num_items, raw_mean, raw_cov); they are .pkl files in the folder gan-metrics of its cache"
        )
    count, every = kept["num_items"], kept.get("all_features")
    if type(count) is not int or count < 2:
        raise UserError(f"'{file}' is of {count} images; a covariance needs at least two")
    if isinstance(every, list) and every and not kept.get("capture_mean_cov"):
        if not all(isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[1] == every[0].shape[-1] for x in every):
            raise UserError(f"'{file}' holds features of several shapes; write the statistics anew")
        moments = Moments.of(torch.from_numpy(np.concatenate(every).astype(np.float64)))
        count = moments.n
    else:
        mean, raw = (np.asarray(kept[k], np.float64) for k in ("raw_mean", "raw_cov"))
        if not kept.get("capture_mean_cov") or mean.ndim != 1 or raw.shape != (len(mean), len(mean)) or len(mean) == 0:
            raise UserError(
                f"'{file}' keeps neither mean and covariance nor features; write the statistics with capture_mean_cov=True"
            )
        mean = mean / count
        scatter = raw - count * np.outer(mean, mean)
        moments = _moments(mean, scatter / (count - 1))
    mu, sigma = moments.mean.numpy(), moments.covariance.numpy()
    _check(file, mu, sigma)
    digest = content_digest(mu, sigma)
    told = kept.get(OURS)
    if isinstance(told, str):
        try:
            return _told(file, mu, sigma, digest, json.loads(told))
        except json.JSONDecodeError:
            raise UserError(
                f"'{file}' says of itself what genzoo does not write; write it anew: genzoo statistics DATA"
            ) from None
    network = INCEPTION if "inception" in file.name.lower() and len(mu) == 2048 else ""
    return Reference(
        moments, file.name, digest, "statistics of StyleGAN" + "'s Inception" * bool(network), network, count
    )


def _check(file: Path, mu: np.ndarray, sigma: np.ndarray) -> None:
    if mu.ndim != 1 or sigma.shape != (len(mu), len(mu)) or len(mu) == 0:
        raise UserError(
            f"'{file}': FID statistics are mu [D] and sigma [D, D], not {list(mu.shape)} and {list(sigma.shape)}"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise UserError(f"'{file}': mu and sigma hold NaN or infinite values; write FID statistics anew")
    if not np.allclose(sigma, sigma.T, rtol=1e-4, atol=1e-6 * np.abs(sigma).max()) or (np.diag(sigma) < 0).any():
        raise UserError(f"'{file}': sigma is no covariance: it is not symmetric, or has a negative variance")


def _moments(mu: np.ndarray, sigma: np.ndarray) -> Moments:
    moments = Moments(len(mu))
    moments.n, moments.mean = 2, torch.from_numpy(np.ascontiguousarray(mu))
    moments.scatter = torch.from_numpy(
        np.ascontiguousarray(sigma)
    )  # of two: the covariance is the scatter, to the last bit
    return moments


# ---- writing -----------------------------------------------------------------------------------------------------------------------


def write_reference(path: Path, features: Tensor, net: Extractor, network: str, **told: Any) -> Path:
    """Write the statistics of features: an .npz that says what they are of, which pytorch-fid, TTUR and clean-fid read too; or StyleGAN's .pkl.

    Args:
        path: The file.
        features: Of at least two images, [N, D].
        net: The network that they are of.
        network: How a person asks for it.
        told: What they are of: data, split, data_digest; samples and seed where they are a system's.

    Raises:
        UserError: Fewer than two images, another ending, or a .pkl of a network that StyleGAN would take for its own.
    """
    moments = Moments.of(features)
    if moments.n < 2:
        raise UserError(f"there is {moments.n} image; a covariance needs at least two")
    from genzoo import __version__

    own = {
        "version": __version__, "extractor": net.name, "network": network, "digest": net.digest, "resize": net.resize, "measure": net.measure,
        "n": moments.n, **told,
    }  # fmt: skip
    words, buffer = json.dumps(own, ensure_ascii=False), io.BytesIO()
    mu, sigma = moments.mean.numpy(), moments.covariance.numpy()
    if path.suffix.lower() == ".npz":
        np.savez_compressed(buffer, mu=mu, sigma=sigma, genzoo=np.array(words))
    elif path.suffix.lower() == ".pkl":
        writable_as(path, net, network)
        n = moments.n
        sums = {
            "capture_all": False, "capture_mean_cov": True, "max_items": n, "num_items": n, "num_features": len(mu), "all_features": [],
            "raw_mean": mu * n, "raw_cov": moments.scatter.numpy() + n * np.outer(mu, mu), OURS: words,
        }  # fmt: skip
        _Arrays(buffer, protocol=4).dump(sums)
    else:
        raise UserError(f"out={path} cannot be written; give a name that ends in {' or '.join(ENDINGS)}")
    return write_atomic(path, buffer.getvalue())


def writable_as(path: Path, net: Extractor, network: str) -> None:
    """Refuse a .pkl of another network than StyleGAN's own.

    Raises:
        UserError: It is of another.
    """
    if path.suffix.lower() == ".pkl" and network != INCEPTION:
        raise UserError(
            f"out={path}: StyleGAN takes every .pkl for one of its own Inception, and this is of {net.name} ({net.resize}); "
            f"write .npz, or give extractor={INCEPTION}"
        )


class _Arrays(pickle.Pickler):
    """Writes arrays by `numpy.ndarray(shape, type, bytes)`: NumPy 2 names a module that NumPy 1 does not have, and so would not be read there."""

    def reducer_override(self, value: Any) -> Any:
        """Say how an array is made again."""
        if isinstance(value, np.ndarray):
            return np.ndarray, (value.shape, value.dtype.str, value.tobytes())
        return NotImplemented
