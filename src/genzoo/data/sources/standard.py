"""The standard sets in their official file formats, from $GENZOO_DATA or fetched once; every file is checked by digest."""

from __future__ import annotations

import gzip
import hashlib
import sys
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np

from genzoo.core.errors import DamagedFile, UserError
from genzoo.core.files import cache_folder, cache_folders, folder_named, replacing
from genzoo.data.sources.contents import ArrayPictures, Contents, Pictures
from genzoo.data.sources.layout import HOW
from genzoo.data.sources.names import BINS, FILES, IDX, STANDARD

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES = {"mnist": _DIGITS, "fashion-mnist": _CLOTHES, "cifar10": _THINGS}

TARBALL = "cifar-10-binary.tar.gz"
ADDRESS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/",
}
SIZES = {IDX[0]: 47040016, IDX[1]: 60008, IDX[2]: 7840016, IDX[3]: 10008, **dict.fromkeys(BINS, 30730000)}
"""Bytes of the expanded files."""
SHA256 = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "cifar10": (
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    ),
}
"""Digests of the expanded files, in the order of `FILES`."""


class Standard:
    """mnist, fashion-mnist or cifar10.

    Args:
        name: Which.
        quiet: Do not say on stderr what is being fetched.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        assert name in STANDARD
        self.name, self.quiet = name, quiet
        self._found: dict[str, Path] = {}

    def identity(self) -> list[object]:
        """Return the digests of the official files: once in the cache, the files themselves are not needed."""
        return [self.name, SHA256[self.name]]

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def contents(self, structure: str) -> Contents:
        """Read and check the files."""
        if structure != "image":
            raise UserError(f"{self.name} is a set of labelled images, not {structure} data; {HOW[structure]}")
        raw = self._read()
        if self.name == "cifar10":
            parts = {"train": np.concatenate([_records(raw[f]) for f in BINS[:5]]), "test": _records(raw[BINS[5]])}
            images = {s: p[:, 1:].reshape(-1, 3, 32, 32) for s, p in parts.items()}
            labels = {s: p[:, 0].astype(np.int64) for s, p in parts.items()}
        else:
            images = {"train": _idx(raw[IDX[0]])[:, None], "test": _idx(raw[IDX[2]])[:, None]}
            labels = {"train": _idx(raw[IDX[1]]).astype(np.int64), "test": _idx(raw[IDX[3]]).astype(np.int64)}
        pictures: dict[tuple[str, str], Pictures] = {
            ("image", s): ArrayPictures(a, f"{self.name} {s}") for s, a in images.items()
        }
        return Contents(pictures, labels=labels, class_names=list(CLASSES[self.name]))

    def _locate(self) -> dict[str, Path]:
        """Find every file (or the archive that holds it): given by the person, fetched before, or fetched now."""
        if self._found:
            return self._found
        home = folder_named("GENZOO_DATA")
        fetched = [place / self.name for place in cache_folders("fetched")]
        for folder in (*([home / self.name] if home else []), *fetched):
            found = _search(folder, FILES[self.name])
            if len(found) == len(FILES[self.name]):
                self._found = found
                return found
        self._found = _search(self._fetch(), FILES[self.name])
        return self._found

    def _read(self) -> dict[str, bytes]:
        """Read and expand every file of the set, checked against its digest."""
        raw = {}
        for (file, path), digest in zip(self._locate().items(), SHA256[self.name], strict=True):
            try:
                data = _expand(path, file)
            except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError):
                raise DamagedFile(f"{path} cannot be read; remove it, or put the official file there") from None
            if hashlib.sha256(data).hexdigest() != digest:
                raise DamagedFile(
                    f"{path} is not the official file of {self.name} (its digest differs); replace or remove it"
                )
            raw[file] = data
        return raw

    def _fetch(self) -> Path:
        remote = [TARBALL] if self.name == "cifar10" else [f"{f}.gz" for f in IDX]
        where = f"put {', '.join(FILES[self.name])} (or their official compressed files) into $GENZOO_DATA/{self.name}/"
        folder = cache_folder("fetched", quiet=self.quiet) / self.name
        folder.mkdir(exist_ok=True)
        for file in remote:
            if (folder / file).exists():
                continue
            if not self.quiet:
                print(f"data: fetching {ADDRESS[self.name]}{file}", file=sys.stderr, flush=True)
            try:
                with replacing(folder / file) as part:
                    with (
                        urllib.request.urlopen(ADDRESS[self.name] + file, timeout=20) as reply,
                        open(part, "wb") as out,
                    ):
                        room = sum(SIZES[f] for f in FILES[self.name])
                        while block := reply.read(2**20):
                            room -= len(block)
                            if room < 0:
                                raise OSError("the answer is longer than the set")
                            out.write(block)
                    self._accept(part, file)
            except (OSError, ValueError) as error:
                if isinstance(error, UserError):
                    raise
                reason = getattr(error, "reason", None) or error
                raise UserError(
                    f"{self.name} is not on this machine and cannot be fetched ({reason}); {where}"
                ) from None
        return folder

    def _accept(self, part: Path, file: str) -> None:
        """Check a fetched file before it gets its name."""
        digests = dict(zip(FILES[self.name], SHA256[self.name], strict=True))
        for inner in BINS if file == TARBALL else (file.removesuffix(".gz"),):
            try:
                good = hashlib.sha256(_expand(part, inner, packed=True)).hexdigest() == digests[inner]
            except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError):
                good = False
            if not good:
                raise DamagedFile(
                    f"{ADDRESS[self.name]}{file} did not send the official file (its digest differs); try again later"
                )


def _search(folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
    """Find each file, at any depth: raw, with .gz, or in the official tar."""
    if not folder.is_dir():
        return {}
    everything = {p.name: p for p in sorted(folder.rglob("*"), reverse=True) if p.is_file()}
    found = {}
    for file in files:
        for name in (file, f"{file}.gz", *([TARBALL] if file in BINS else [])):
            if name in everything:
                found[file] = everything[name]
                break
    return found


def _expand(path: Path, file: str, *, packed: bool = False) -> bytes:
    """Expand one file, to at most one byte more than it should have."""
    limit = SIZES[file] + 1
    if path.name == TARBALL or (packed and file in BINS):
        with tarfile.open(path, "r:gz") as tar:
            found = next((m for m in tar if m.name.rsplit("/", 1)[-1] == file and m.isreg()), None)
            member = tar.extractfile(found) if found else None
            if member is None:
                raise KeyError(f"{file} is not in it")
            return member.read(limit)
    with gzip.open(path) if packed or path.suffix == ".gz" else open(path, "rb") as f:
        return f.read(limit)


def _idx(data: bytes) -> np.ndarray:
    """Parse the IDX format: two zero bytes, type 8 (uint8), rank, big-endian sides, then the values."""
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _records(data: bytes) -> np.ndarray:
    """Split CIFAR-10's binary records: one label byte, then 3 x 32 x 32 pixel bytes."""
    return np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
