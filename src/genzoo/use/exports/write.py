"""Files for other programs: made, compared, and only then written, all of them or none."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.export import ExportedProgram

from genzoo.core.capabilities import Decodes
from genzoo.core.errors import UserError
from genzoo.core.files import write_atomic
from genzoo.core.system import System
from genzoo.use.exports import onnx as onnx_files
from genzoo.use.exports.graph import Agreement, Cases, Value, Values, quiet, traced
from genzoo.use.exports.law import law_of_latents
from genzoo.use.exports.parts import Part, part_of, parts

Format = Literal["folder", "onnx", "pt2", "web"]
"""A folder that `genzoo.load` reads; ONNX; a program of torch.export; a page that runs ONNX in a browser."""
ENDINGS: dict[str, Format] = {".onnx": "onnx", ".pt2": "pt2"}


@dataclass(frozen=True)
class Written:
    """One part in one file.

    Args:
        path: The file.
        part: The part's name.
        inputs: What it takes.
        output: What it gives.
        agreed: How far it is from what the system gives.
        size: Bytes.
    """

    path: Path
    part: str
    inputs: tuple[Value, ...]
    output: Value
    agreed: Agreement
    size: int

    def __str__(self) -> str:
        size = f"{self.size / 1e6:.1f} MB" if self.size >= 100_000 else f"{self.size:,} bytes"
        return (
            f"wrote {self.path} ({size}): {self.part}, {' and '.join(map(str, self.inputs))} to {self.output}\n"
            f"  largest difference from the system's own: {self.agreed}"
        )


def write_part(system: System, to: Path, form: Format, wanted: str | None, about: dict[str, Any]) -> list[Written]:
    """Write one part of a system into a file.

    Args:
        system: The system.
        to: The file.
        form: onnx or pt2.
        wanted: Name of the part; the first when not given.
        about: What is known of the system: its description.

    Raises:
        UserError: There is no such part, torch cannot follow it, or what the file gives is not what the system gives.
    """
    check(form)
    part = part_of(system, wanted)
    return _write(system, [(part, to)], form, about)


def write_parts(system: System, folder: Path, form: Format, about: dict[str, Any]) -> list[Written]:
    """Write every part of a system into a file of its own in a folder: decode.onnx, encode.onnx ...

    Raises:
        UserError: As in `write_part`; then no file is written.
    """
    check(form)
    part_of(system, None)
    return _write(system, [(p, folder / f"{p.name}.{form}") for p in parts(system).values()], form, about)


def check(form: Format) -> None:
    """Refuse a format whose packages are not installed, before there is any work."""
    if form in ("onnx", "web"):
        onnx_files.check_installed()


@dataclass(frozen=True)
class Made:
    """A file that agrees with its system, before it is written.

    Args:
        written: Where it is to be, and what is said of it.
        content: Its bytes.
        told: What stands in it for strangers.
    """

    written: Written
    content: bytes
    told: dict[str, Any]


def made_parts(system: System, asked: list[tuple[Part, Path]], form: Format, about: dict[str, Any]) -> list[Made]:
    """Make and compare files of parts; nothing is written yet.

    Raises:
        UserError: torch cannot follow a part, or a file differs by more than is taken.
    """
    system = system if system.device.type == "cpu" else copy.deepcopy(system).cpu()
    make = _onnx if form == "onnx" else _pt2
    latents = law_of_latents(system) if isinstance(system, Decodes) else {}
    made = []
    for part, path in asked:
        cases = Cases(system, part)
        inputs, output = cases.described()
        say = functools.partial(_told, system, part, inputs, output, latents, about, form)
        content, agreed = make(traced(cases), cases, inputs, output, say)
        written = Written(path, part.name, tuple(inputs), output, agreed, len(content))
        made.append(Made(written, content, say(agreed)))
    return made


def _write(system: System, asked: list[tuple[Part, Path]], form: Format, about: dict[str, Any]) -> list[Written]:
    made = made_parts(system, asked, form, about)
    for one in made:
        write_atomic(one.written.path, one.content)
    return [one.written for one in made]


Told = Callable[[Agreement], dict[str, Any]]


def _onnx(
    program: ExportedProgram, cases: Cases, inputs: list[Value], output: Value, told: Told
) -> tuple[bytes, Agreement]:
    model = onnx_files.graph_of(program, inputs, output)
    agreed = cases.compare(onnx_files.runner(model.SerializeToString()))
    return onnx_files.content(model, told(agreed)), agreed


def _pt2(
    program: ExportedProgram, cases: Cases, inputs: list[Value], output: Value, told: Told
) -> tuple[bytes, Agreement]:
    import io

    def saved(extra: dict[str, str]) -> bytes:
        file = io.BytesIO()
        with quiet():
            torch.export.save(program, file, extra_files=extra)
        return file.getvalue()

    with quiet():
        again = torch.export.load(io.BytesIO(saved({}))).module()

    @torch.no_grad()
    def run(values: Values) -> np.ndarray:
        found: np.ndarray = again(*values).numpy()
        return found

    agreed = cases.compare(run)
    return saved({"genzoo.json": json.dumps(told(agreed))}), agreed


def _told(
    system: System,
    part: Part,
    inputs: list[Value],
    output: Value,
    latents: dict[str, Any],
    about: dict[str, Any],
    form: Format,
    agreed: Agreement,
) -> dict[str, Any]:
    """Return what a stranger needs to know of a file."""
    from importlib.metadata import version

    takes_latent, classes = any(v.name == "z" for v in inputs), about.get("class_names")
    told_class = classes and getattr(system, "labels", 0) == len(classes)
    sentence = f"{about['name']}: {part.says}. Inputs {', '.join(map(str, inputs))}; output {output}. Written by genzoo {about['version']}."
    sides = dict.fromkeys("HW", f"pixels, a multiple of {part.multiple}") if part.multiple else {}
    return {
        "genzoo": about["version"],
        "system": about["name"],
        "arguments": about["hparams"],
        "part": part.name,
        "sentence": sentence,
        "inputs": [_value(v) for v in inputs],
        "output": _value(output),
        "free": {"N": "examples", **sides},
        **({"latents": latents} if takes_latent and latents else {}),
        **({"classes": classes} if told_class else {}),
        "compared": {
            **asdict(agreed),
            "with": {"torch": torch.__version__, **({"onnxruntime": version("onnxruntime")} if form == "onnx" else {})},
        },
    }


def _value(value: Value) -> dict[str, Any]:
    """Describe an input or output: name, shape, type, and the range of its values or the law of what is drawn."""
    told = {"name": value.name, "shape": list(value.shape), "dtype": value.dtype}
    more = {"range": list(value.range)} if value.range else {"law": value.law} if value.law else {}
    return told | more


def format_of(to: Path, form: Format | None) -> Format:
    """Return the format that is meant: the one that is asked for, or by the ending; a name without one is a folder.

    Raises:
        UserError: The ending is none that is written, or not that of the format.
    """
    ending = to.suffix.lower()
    known = ", ".join(ENDINGS)
    if form is None and ending and not ending[1:].isdigit() and ending not in ENDINGS:
        raise UserError(
            f"to={to}: {ending} is not written; give a name that ends in {known.replace(', ', ' or ')}, or one without an ending for a folder "
            "(format=folder makes a folder of any name)"
        )
    meant = form or ENDINGS.get(ending, "folder")
    if ending in ENDINGS and meant not in ("folder", ENDINGS[ending]):
        raise UserError(
            f"to={to} ends in {ending}, and format={meant} is another one; leave format= out, or give a folder"
        )
    return meant
