"""Write a model into a plain folder, or into a file for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import genzoo
from genzoo.cli.table import Command
from genzoo.core.errors import UserError
from genzoo.use.export import Dtype, export_files
from genzoo.use.exports.half import in_words
from genzoo.use.exports.write import Format, format_of

COMMAND = Command("the model as a folder, .onnx or .pt2", "RUN to=FOLDER|FILE.onnx [part=encode]", place=70, waits=True)


def export(
    run: str,
    to: str,
    part: str = "",
    format: Format | None = None,
    overwrite: bool = False,
    runtime: str = "",
    dtype: Dtype = "float32",
) -> None:
    """Write the model into a plain folder (model.safetensors, config.json, README.md), or into a file for other programs.

    A file holds one part of the system, and is written only if it gives what the system gives; how far it is from that is printed.

    Args:
        run: A run or an exported folder.
        to: A new or empty folder; or a file that ends in .onnx (for onnxruntime and others) or .pt2 (torch.export).
        part: Which part of the system a file holds: decode, encode, translate ...; the one that is mostly wanted when not given.
        format: folder, onnx or pt2; by the ending when not given. Of onnx and pt2 a folder gets a file for every part. web is a folder with a
            page that draws or translates in the browser: python -m http.server in it, and open the address.
        overwrite: Replace files that are there.
        runtime: For a page, the package onnxruntime-web as npm packs it (.tgz) or installs it (a folder); fetched by npm when not given.
        dtype: Of the weights in a folder: float16 takes half the bytes, and is read as float32 again; how far the outputs move is printed.
    """
    if part or format_of(Path(to).expanduser(), format) != "folder":
        if dtype != "float32":
            raise UserError(f"dtype={dtype} is of a folder, format=folder; other programs are given float32")
        files = export_files(run, to, part=part or None, format=format, overwrite=overwrite, runtime=runtime or None)
        print(*files, sep="\n")
    else:
        folder = genzoo.export(run, to, format=format, overwrite=overwrite, dtype=dtype)
        print(f"wrote {folder}")
        if moved := json.loads((folder / "config.json").read_text(encoding="utf-8")).get("moved"):
            print(f"  largest differences from float32: {in_words(moved)}")
