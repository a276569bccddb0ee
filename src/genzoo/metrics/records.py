"""What a measure returns: the value with everything that another value needs to be compared with it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo import __version__
from genzoo.core.errors import DamagedFile
from genzoo.text.documents import is_number, read_json

QUANTIZATION = "samples to grey levels by round((x + 1) · 127.5), clamped"
NORMAL_95 = 1.96


def library() -> str:
    """Name the versions of the libraries that computed a number."""
    return f"genzoo {__version__}, torch {torch.__version__}"


@dataclass(frozen=True)
class Record:
    """One measured value with its protocol.

    Args:
        measure: What was measured: FLD, KID, precision, NLL.
        value: The number.
        protocol: How, in words.
        unit: nats, bits/dim, dB ...; empty for a pure number.
        better: lower or higher; empty where neither end is good.
        se: Standard error, where there is an honest one: the spread over draws of the samples with the real images given, or, where a system
            itself is scored, over draws of the examples.
        interval: Interval of 95 per cent, where it is not value ± 1.96 se.
        floor: The same measure of real against real images, at the same numbers.
        n: Examples that the value is of.
        n_real: Real images.
        n_fake: Samples.
        n_floor: Training images of the floor.
        data: Name of the data set.
        split: Its split.
        data_digest: SHA-256 of the very examples that were compared with or scored.
        extractor: Name of the feature network.
        digest: SHA-256 of its weights.
        resize: Its resizer.
        quantization: How samples became grey levels.
        seed: Seed of samples, choices and estimates.
        library: Versions.
        seconds: Time it took.
        more: What else this measure says (k, likelihood, levels ...).
    """

    measure: str
    value: float
    protocol: str
    unit: str = ""
    better: str = ""
    se: float | None = None
    interval: tuple[float, float] | None = None
    floor: float | None = None
    n: int = 0
    n_real: int | None = None
    n_fake: int | None = None
    n_floor: int | None = None
    data: str | None = None
    split: str | None = None
    data_digest: str | None = None
    extractor: str | None = None
    digest: str | None = None
    resize: str | None = None
    quantization: str | None = None
    seed: int | None = None
    library: str = field(default_factory=library)
    seconds: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values, `more` among them; numbers that are not finite are None."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "more"}
        return {k: plain(v) for k, v in {**named, **self.more}.items()}


NUMBERS = ("value", "se", "floor", "seconds")
COUNTS = ("n", "n_real", "n_fake", "n_floor", "seed")
TEXTS = tuple(f.name for f in fields(Record) if f.name not in (*NUMBERS, *COUNTS, "interval", "more"))


FORMERLY = {"quantisation": "quantization"}
"""Fields of records that earlier versions wrote, and what they are called now."""


def read_records(path: Path, *, under: str = "") -> dict[str, dict[str, Any]]:
    """Read the records of a metrics.json by their keys; none where there is no such file.

    Args:
        path: The file.
        under: The key that has them; they are the whole file when not given.

    Raises:
        DamagedFile: It is no JSON, or holds something else than records.
    """
    mend = "; remove it, and evaluate again"
    kept: Any = read_json(path, mend=mend) if path.exists() else {}
    if under and path.exists():
        kept = kept.get(under)
    if not isinstance(kept, dict):
        raise DamagedFile(f"{path} is damaged: it has no records under '{under}'{mend}")
    for key, record in kept.items():
        if isinstance(record, dict):
            kept[key] = record = {FORMERLY.get(name, name): value for name, value in record.items()}
        if wrong := _wrong(record):
            raise DamagedFile(f"{path} is damaged: {wrong} of '{key[:60]}' is not what an evaluation writes{mend}")
    return kept


def _wrong(record: Any) -> str:
    """Say what part of a record is not what `Record` writes; empty where all is well."""
    if not isinstance(record, dict):
        return "the record"
    for name in (*NUMBERS, *COUNTS):
        value = record.get(name)
        if value is not None and not (is_number(value) and (name in NUMBERS or isinstance(value, int))):
            return f"'{name}'"
    for name in TEXTS:
        if not isinstance(record.get(name, ""), str | None):
            return f"'{name}'"
    ends = record.get("interval")
    if ends is not None and not (isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends))):
        return "'interval'"
    return "'value' or 'protocol'" if "value" not in record or not isinstance(record.get("protocol"), str) else ""


def plain(value: Any) -> Any:
    """Turn a value into one that JSON knows: tensors and arrays as lists, NaN and infinities as None."""
    if isinstance(value, (Tensor, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def span(record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the interval of 95 per cent of a record's value; None where neither an interval nor a standard error is known."""
    if record.get("interval"):
        low, high = record["interval"]
        return float(low), float(high)
    if record.get("se") is None or record.get("value") is None:
        return None
    return record["value"] - NORMAL_95 * record["se"], record["value"] + NORMAL_95 * record["se"]


def share_interval(share: float, se: float, n: float) -> tuple[float, float]:
    """Compute Wilson's interval of a share whose standard error is known: of as many independent examples as would have that error.

    Args:
        share: From 0 to 1.
        se: Its standard error.
        n: Samples; they are taken to be independent where the error is 0, which a share of 0 or 1 has.

    >>> [round(v, 3) for v in share_interval(0.5, 0.05, 1000)], [round(v, 3) for v in share_interval(1.0, 0.0, 100)]
    ([0.404, 0.596], [0.963, 1.0])
    """
    return wilson(share, share * (1 - share) / se**2 if se > 0 else n)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Compute Wilson's interval of 95 per cent of a share of `n`: not empty where the share is 0 or 1.

    >>> [round(v, 3) for v in wilson(0.0, 100)], [round(v, 3) for v in wilson(0.5, 100)]
    ([0.0, 0.037], [0.404, 0.596])
    """
    z = NORMAL_95
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def content_digest(*arrays: np.ndarray | Tensor) -> str:
    """Compute SHA-256 over shape and bytes: the same images have the same digest wherever they lie."""
    digest = hashlib.sha256()
    for array in arrays:
        a = np.ascontiguousarray(array.numpy() if isinstance(array, Tensor) else array)
        digest.update(f"{a.dtype} {a.shape};".encode())
        digest.update(a.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
