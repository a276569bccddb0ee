"""A page that runs a system in the browser: the ONNX file, onnxruntime-web and the page in one folder, for any server of files."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.core.files import cache_folder, write_atomic
from genzoo.core.system import System
from genzoo.data import kinds
from genzoo.use.common.source import name_of
from genzoo.use.exports.law import columns_of, known
from genzoo.use.exports.parts import Part, part_of
from genzoo.use.exports.write import Written, made_parts
from genzoo.use.pages.page import write_page

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""What a page needs of the package's folder `dist`, and the SHA-256 of each."""
MODEL = "model.onnx"


def write_web(
    system: System, folder: Path, wanted: str | None, about: dict[str, Any], runtime: str | Path | None
) -> list[Written]:
    """Write a folder with a page, the file of one part of a system and what runs it.

    Args:
        system: The system.
        folder: The folder; files of these names in it are replaced.
        wanted: The part; the first that a page can show when not given.
        about: What is known of the system.
        runtime: The package onnxruntime-web, as npm packs it (.tgz) or installs it (a folder); fetched by npm when not given.

    Raises:
        UserError: No part can be shown on a page, the package cannot be had, or what the file gives is not what the system gives.
    """
    part = _shown(system, wanted)
    library = runtime_files(runtime)
    made = made_parts(system, [(part, folder / MODEL)], "onnx", about)[0]
    for name, content in library.items():
        write_atomic(folder / name, content)
    write_atomic(made.written.path, made.content)
    write_page(
        folder / "index.html", Path(__file__).with_name("web.html.j2"), title=f"{about['name']}: {part.name}", about=made.told,
        model=MODEL, runtime=VERSION, compared=f"largest difference from the system's own {made.written.agreed}",
    )  # fmt: skip
    return [made.written]


def _shown(system: System, wanted: str | None) -> Part:
    """Return the part for a page: of images, from what can be drawn, or from a picture.

    Raises:
        UserError: It is of something else.
    """
    part = part_of(system, wanted)
    drawn = part.inputs == () or (part.inputs == ("z",) and known(columns_of(system)))
    if (
        kinds.of(system).dims != 3
        or part.output not in ("image", "translated")
        or not (drawn or part.inputs == ("image",))
    ):
        raise UserError(
            f"format=web: a page draws images, or translates a picture; {part.name} of {name_of(system)} takes "
            f"{' and '.join(part.inputs) or 'nothing'} and gives {part.output}. Give to=FILE.onnx"
        )
    return part


def runtime_files(given: str | Path | None) -> dict[str, bytes]:
    """Return the files of onnxruntime-web, each with the digest that it was tested with.

    Args:
        given: The package's .tgz or folder; when not given what is in the cache, else npm fetches it.

    Raises:
        UserError: There is no such package, or one of another version.
    """
    if given is not None:
        return _checked(_read(Path(given).expanduser()), str(given))
    kept = cache_folder("web", quiet=True) / f"onnxruntime-web-{VERSION}"
    if all((kept / name).is_file() for name in FILES):
        return _checked({name: (kept / name).read_bytes() for name in FILES}, str(kept))
    found = _checked(_fetched(), PACKAGE)
    for name, content in found.items():
        write_atomic(kept / name, content)
    return found


def _fetched() -> dict[str, bytes]:
    npm, how = (
        shutil.which("npm"),
        f"run 'npm pack {PACKAGE}' where there is a network, and give runtime=onnxruntime-web-{VERSION}.tgz",
    )
    if npm is None:
        raise UserError(f"format=web needs the package {PACKAGE}, and npm, which fetches it, is not installed: {how}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--silent", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        packed = next(Path(folder).glob("*.tgz"), None)
        if done.returncode or packed is None:
            raise UserError(f"format=web needs the package {PACKAGE}, and npm could not fetch it: {how}")
        return _read(packed)


def _read(place: Path) -> dict[str, bytes]:
    """Read the files from a package, without unpacking it."""
    if place.is_dir():
        home = place / "dist" if (place / "dist").is_dir() else place
        return {name: (home / name).read_bytes() for name in FILES if (home / name).is_file()}
    try:
        with tarfile.open(place) as packed:
            members = ((name, packed.extractfile(f"package/dist/{name}")) for name in FILES)
            return {name: member.read() for name, member in members if member is not None}
    except (OSError, tarfile.TarError, KeyError):
        raise UserError(
            f"runtime={place} is no package: give onnxruntime-web-{VERSION}.tgz, or the folder that npm installs"
        ) from None


def _checked(found: dict[str, bytes], place: str) -> dict[str, bytes]:
    for name, digest in FILES.items():
        if name not in found:
            raise UserError(f"{place} has no {name}; give the package {PACKAGE}, as npm packs or installs it")
        if hashlib.sha256(found[name]).hexdigest() != digest:
            raise UserError(
                f"{place}: {name} is not that of {PACKAGE}, with which pages are tested; give runtime= that package"
            )
    return found
