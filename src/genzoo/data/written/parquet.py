"""Parquet in the layout of the Hugging Face hub: data/train-00000-of-00001.parquet, whose schema says what is an image and what a class."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from genzoo.core.errors import UserError
from genzoo.data.written import Part

WHAT = "a folder with data/train-00000-of-00001.parquet ..., as the Hugging Face hub has sets of images"
SUFFIX = ""
PARTS = 2
ENDING = ".parquet"
GROUP = 100
"""Rows of a row group: what a reader of one image has to unpack."""
SHARD = 400 * 2**20
"""Bytes of pixels of a file, before they are packed."""


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError("to=parquet needs the extra: pip install 'genzoo[tables]'") from None
    return pyarrow


def check(parts: Sequence[Part]) -> list[str]:
    """See that the writer is installed.

    Raises:
        UserError: It is not.
    """
    _pyarrow()
    return []


def write(path: Path, parts: Sequence[Part], advance: Callable[[int], None]) -> None:
    """Write every part in files of its own.

    Args:
        path: The folder.
        parts: The training part, and the test part where there is one.
        advance: Is told how many images are done.
    """
    (path / "data").mkdir(parents=True)
    for part in parts:
        images = part.encoded(advance)
        files = -(-part.images[0].size * len(part) // SHARD)
        counts = part.shards(-(-len(part) // files))
        for k, count in enumerate(counts):
            name = path / "data" / f"{part.name}-{k:05d}-of-{len(counts):05d}{ENDING}"
            shard(name, part, images, count, parts)


def shard(path: Path, part: Part, images: Iterator[tuple[int, bytes]], count: int, parts: Sequence[Part] = ()) -> None:
    """Write the next images of a part into one table.

    Args:
        path: The file.
        part: The part.
        images: Numbers and files, from where the table before ended.
        count: How many.
        parts: All parts, whose tables have one schema; the part alone where not given.
    """
    pa = _pyarrow()
    schema = _schema(pa, parts or (part,))
    several = pa.types.is_list(schema.field("caption").type) if "caption" in schema.names else False
    rows = _rows(part, schema.names, several, images)
    with pa.parquet.ParquetWriter(path, schema) as writer:
        while count > 0:
            group = [next(rows) for _ in range(min(GROUP, count))]
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=GROUP)
            count -= len(group)


def _schema(pa: Any, parts: Sequence[Part]) -> Any:
    """Say what the columns are, in Arrow's words and in those of the package `datasets`."""
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    fields = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if all(p.labels is not None for p in parts):
        features["label"] = {"names": list(parts[0].class_names), "_type": "ClassLabel"}
        fields.append(pa.field("label", pa.int64()))
    if any(p.texts for p in parts):
        several = any(len(t) > 1 for p in parts for t in p.texts)
        text = {"dtype": "string", "_type": "Value"}
        features["caption"] = {"feature": text, "_type": "List"} if several else text
        fields.append(pa.field("caption", pa.list_(pa.string()) if several else pa.string()))
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _rows(
    part: Part, columns: Sequence[str], several: bool, images: Iterator[tuple[int, bytes]]
) -> Iterator[dict[str, Any]]:
    for i, data in images:
        row: dict[str, Any] = {"image": {"bytes": data, "path": part.file(i)}}
        if "label" in columns and part.labels is not None:
            row["label"] = int(part.labels[i])
        if "caption" in columns and part.texts:
            row["caption"] = list(part.texts[i]) if several else next(iter(part.texts[i]), None)
        yield row
