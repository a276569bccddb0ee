"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from genzoo.core.errors import disk_full_is_said


def write_atomic(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write bytes under a temporary name in the same folder, then rename: a reader sees the old file or the new one, whole.

    Raises:
        DiskFull: There is no room; the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with disk_full_is_said(path, len(data)):
            with open(part, "wb") as f:
                f.write(data)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path
