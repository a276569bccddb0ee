"""A part of a system as an ONNX file, which runtimes in many languages read; compared with torch before anybody sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from genzoo.core.errors import UserError
from genzoo.use.exports.graph import Value, Values, quiet

MODULES = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Say what is missing, and how to get it.

    Raises:
        UserError: A package of the extra is not installed.
    """
    from importlib.util import find_spec

    if lacking := [name for name in MODULES if find_spec(name) is None]:
        raise UserError(f"export: .onnx needs {' and '.join(lacking)}: pip install 'genzoo[onnx]'")


def graph_of(program: ExportedProgram, inputs: list[Value], output: Value) -> Any:
    """Return the ONNX model of a graph, with the names of its values and the sizes that are free, and nothing of this machine in it.

    Raises:
        UserError: An operation has no form in ONNX.
    """
    try:
        with quiet(), torch.no_grad():
            made = torch.onnx.export(
                program, (), dynamo=True, verbose=False, optimize=True,
                input_names=[v.name for v in inputs], output_names=[output.name],
            )  # fmt: skip
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UserError(
            f"export: nothing was written: torch.onnx cannot say this in ONNX ({cause}); .pt2 may do"
        ) from error
    assert made is not None
    model = made.model_proto
    for node in _nodes(model):
        del node.metadata_props[:]  # paths of files and lines of code
        node.doc_string = ""
    for kept in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del kept.metadata_props[:]
    del model.graph.metadata_props[:]
    for value, told in zip([*model.graph.input, *model.graph.output], [*inputs, output], strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, told.shape, strict=True):
            if isinstance(size, str):
                dim.dim_param = size
    return model


def _nodes(model: Any) -> Iterator[Any]:
    for body in (model.graph, *model.functions):
        yield from body.node


def content(model: Any, about: dict[str, Any]) -> bytes:
    """Return the file of a model, with what is said beside it: JSON under the key `genzoo`, and a sentence."""
    import onnx

    model.model_version = 1
    model.producer_name, model.producer_version = "genzoo", about["genzoo"]
    model.doc_string = about["sentence"]
    onnx.helper.set_model_props(model, {"genzoo": json.dumps(about)})
    found: bytes = model.SerializeToString()
    return found


def runner(file: bytes | Path) -> Callable[[Values], np.ndarray]:
    """Return what runs a model in onnxruntime: from the values of its inputs to its output.

    Raises:
        UserError: onnxruntime does not open it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    given = file if isinstance(file, bytes) else str(file)
    try:
        session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class but this
        lacks = re.search(r"implementation for (\w+)", str(error))
        why = f"it has no {lacks[1]} for these types" if lacks else type(error).__name__
        raise UserError(f"export: nothing was written: onnxruntime does not open the file: {why}") from error
    names = [value.name for value in session.get_inputs()]

    def run(values: Values) -> np.ndarray:
        given = {k: v.numpy() for k, v in zip(names, values, strict=True)}
        found: np.ndarray = session.run(None, given)[0]
        return found

    return run
