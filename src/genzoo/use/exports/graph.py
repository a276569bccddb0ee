"""A part of a system as a graph, with the batch free and every branch decided, and what it gives against the system itself."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from genzoo.core.errors import UserError
from genzoo.core.system import System
from genzoo.use.common.source import name_of
from genzoo.use.exports.noise import Drawn
from genzoo.use.exports.parts import Part, range_of

BATCHES = (1, 2, 5)
"""Batches that a file is compared on."""
TOLERANCE = 1e-4
"""Largest difference that is taken, relative to the largest value (or to 1, where that is less)."""
STRAYS = 2e-3
"""Share of values that may differ by more where values lie on steps (codes, grey levels): rounding may put one on the next step."""

Values = tuple[Tensor, ...]


class Graph(nn.Module):
    """A part of a system as a module whose inputs are the part's own and then what it draws.

    Args:
        system: A copy that nobody else uses.
        part: The part.
    """

    def __init__(self, system: System, part: Part) -> None:
        super().__init__()
        self.system, self.part = system, part

    def forward(self, *values: Tensor) -> Tensor:
        """Return what the part makes of its inputs."""
        own = len(self.part.inputs)
        with Drawn(values[own:]):
            return self.part(self.system, values[:own], values[0].shape[0]) + 0  # never an input itself


@dataclass(frozen=True)
class Value:
    """An input or the output of a graph, as it was seen.

    Args:
        name: Its name.
        shape: Sizes; N is the batch, H and W are the height and width of images whose size is free, with a factor where they are larger.
        dtype: float32, int64 or bool.
        range: Least and largest value that are possible; none where any is, and of what is drawn.
        law: Of what is drawn, from which law.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    range: tuple[float, float] | None = None
    law: str = ""

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Agreement:
    """How far a file's outputs are from the system's.

    Args:
        largest: Largest absolute difference, relative to the largest value or to 1.
        strays: Share of values that lie on another step (codes, grey levels), which `largest` leaves out.
        batches: Batches that were compared.
        sizes: Heights and widths that were compared, where they are free.
    """

    largest: float
    strays: float
    batches: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        more = f", {self.strays:.1e} of the values on another step" if self.strays else ""
        at = f", at {' and '.join('x'.join(map(str, s)) for s in self.sizes)} pixels" if self.sizes else ""
        *most, last = map(str, self.batches)
        return f"{self.largest:.1e} (batches of {', '.join(most)} and {last}{at}){more}"


class Cases:
    """Inputs to compare on, and what the system itself makes of them.

    Args:
        system: The system, in eval mode on the CPU.
        part: What of it.
        seed: Of the inputs.
    """

    def __init__(self, system: System, part: Part, seed: int = 0) -> None:
        self.system, self.part, self.seed = system, part, seed
        self.counts: list[int] = []

    def inputs(self, n: int, size: tuple[int, ...]) -> tuple[Values, list[str]]:
        """Return all inputs for `n` examples, those that are drawn last, and the laws of these."""
        g = Generator().manual_seed(self.seed + n)
        own = self.part.examples(self.system, n, size, g)
        with Drawn(source=g) as drawn:
            self.part(self.system, own, n)
        self.counts = drawn.counts
        return (*own, *drawn.kept), drawn.laws

    @torch.no_grad()
    def wanted(self, values: Values) -> Tensor:
        """Return what the system itself gives."""
        own = len(self.part.inputs)
        with Drawn(values[own:]):
            return self.part(self.system, values[:own], values[0].shape[0])

    def described(self) -> tuple[list[Value], Value]:
        """Return the inputs and the output, with the sizes that follow the batch and the image."""
        first, *others = self.part.sizes
        seen = []
        for n, size in [(2, first), (3, first), *((2, s) for s in others)]:
            values, laws = self.inputs(n, size)
            seen.append((*values, self.wanted(values)))
        own = len(self.part.inputs)
        noises = _names(self.counts, getattr(self.system, "labels", 0))
        names = [*self.part.inputs, *noises, self.part.output]
        told = ["" for _ in range(own)] + laws + [""]
        found = []
        for i, (name, law) in enumerate(zip(names, told, strict=True)):
            x = seen[0][i]
            shape = _shape([v[i].shape for v in seen], self.part.sizes)
            found.append(
                Value(name, shape, str(x.dtype).split(".")[1], None if law else range_of(self.system, name), law)
            )
        return found[:-1], found[-1]

    def compare(self, run: Callable[[Values], np.ndarray]) -> Agreement:
        """Compare what a file gives with the system's own, on every batch and size.

        Raises:
            UserError: They differ by more than is taken; the message has the figures.
        """
        largest = strays = 0.0
        for size in self.part.sizes:
            for n in BATCHES:
                values, _ = self.inputs(n, size)
                wanted = self.wanted(values).numpy()
                found = run(values)
                if found.shape != wanted.shape or found.dtype != wanted.dtype:
                    raise UserError(
                        f"export: nothing was written: {self.part.name} of {name_of(self.system)} gives {wanted.dtype} {wanted.shape}, "
                        f"the file {found.dtype} {found.shape}, on a batch of {n}"
                    )
                far, off = _difference(found, wanted, self.part.steps)
                largest, strays = max(largest, far), max(strays, off)
        agreed = Agreement(largest, strays, BATCHES, self.part.sizes if self.part.multiple else ())
        if not largest <= TOLERANCE or strays > STRAYS:
            raise UserError(
                f"export: nothing was written: what the file gives differs from {self.part.name} of {name_of(self.system)} by {agreed}; "
                f"{TOLERANCE:g} is taken (and {STRAYS:g} of the values on another step)"
            )
        return agreed


def traced(cases: Cases) -> ExportedProgram:
    """Return the graph of a part, with the batch free, and height and width where the part's are.

    Raises:
        UserError: torch cannot follow it; the message has what torch says.
    """
    part = cases.part
    inputs, _ = cases.described()
    with torch.no_grad():
        values, _ = cases.inputs(3, part.sizes[-1])
        graph = Graph(settled(cases.system), part).eval()
        graph(*values)  # what is computed once and kept is there before it is traced
    named = {"N": Dim("N", min=1)} | {s: Dim(s, min=1) for s in ("H", "W")}
    free = [
        {
            i: named[s] if s == "N" or part.multiple == 1 else part.multiple * named[s]
            for i, s in enumerate(v.shape)
            if isinstance(s, str)
        }
        for v in inputs
    ]
    try:
        with quiet(), torch.no_grad():
            return bare(torch.export.export(graph, values, dynamic_shapes=(tuple(free),), strict=False))
    except Exception as error:
        raise UserError(
            f"export: torch.export does not follow {part.name} of {name_of(cases.system)} ({type(error).__name__}): its methods may not branch on "
            "the values of tensors, and ask sizes as x.shape[0] instead of len(x); from Python, genzoo.export shows where"
        ) from error


def bare(program: ExportedProgram) -> ExportedProgram:
    """Take out of a graph what it does not use (weights of a discriminator), the examples, and where the code lay that it was made from."""
    signature, nodes = program.graph_signature, {n.name: n for n in program.graph.nodes}
    for node in program.graph.nodes:
        for key in ("stack_trace", "source_fn_stack", "from_node"):
            node.meta.pop(key, None)
    for spec in [*signature.input_specs]:
        node = nodes[spec.arg.name]
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and not node.users:
            program.graph.erase_node(node)
            signature.input_specs.remove(spec)
            for kept in (program.state_dict, program.constants):
                kept.pop(spec.target, None)
    program.graph_module.recompile()
    program.example_inputs = None
    return program


def settled(system: System) -> Any:
    """Return a copy on the CPU in which all is decided that training may change: single numbers are constants, and modules have settled.

    A branch on a buffer of one number (has the second stage begun?) has then one side only. A module with a method `settle` computes what its weights
    alone decide: an inverse.
    """
    made = copy.deepcopy(system).cpu().eval().requires_grad_(False)
    for module in made.modules():
        for name, buffer in [*module.named_buffers(recurse=False)]:
            if buffer.ndim == 0:
                delattr(module, name)
                setattr(module, name, buffer.clone() if buffer.is_floating_point() else buffer.item())
        if callable(settle := getattr(module, "settle", None)):
            settle()
    return made


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to oneself what exporters tell their own makers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _names(counts: list[int], labels: int) -> list[str]:
    """Name what is drawn: a class is the label, all else is noise."""
    classes = [bool(labels) and count == labels for count in counts]
    many = len(counts) - sum(classes) > 1
    found, k = [], 0
    for is_class in classes:
        k += not is_class
        found.append("label" if is_class else f"noise_{k}" if many else "noise")
    return found


def _shape(seen: list[torch.Size], sizes: tuple[tuple[int, ...], ...]) -> tuple[int | str, ...]:
    """Name the sizes of a tensor that was seen at batches of 2 and 3, and at batches of 2 at each further size of images."""
    found: list[int | str] = []
    for i, size in enumerate(seen[0]):
        if seen[1][i] != size:
            found.append("N" if (size, seen[1][i]) == (2, 3) else f"{size // 2}N")
        elif len(seen) > 2 and seen[2][i] != size:
            side = i - len(seen[0])  # -2 is the height
            factor = size // sizes[0][side]
            found.append(("" if factor == 1 else str(factor)) + "HW"[side])
        else:
            found.append(size)
    return tuple(found)


def _difference(found: np.ndarray, wanted: np.ndarray, steps: bool) -> tuple[float, float]:
    """Return the largest relative difference, and the share of values on another step where values lie on steps."""
    if not wanted.size:
        return 0.0, 0.0
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if not (np.isfinite(a) | same).all() or not (np.isfinite(b) | same).all():
        return math.inf, 0.0
    away = np.where(same, 0.0, np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)))
    scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
    if not (steps or _on_steps(wanted)):
        return float(away.max()) / scale, 0.0
    other = away > TOLERANCE * scale
    return float(away[~other].max(initial=0.0)) / scale, float(other.mean())


def _on_steps(x: np.ndarray) -> bool:
    """Tell whether values can only lie on steps: whole numbers, and grey levels of [-1, 1]."""
    if not np.issubdtype(x.dtype, np.floating):
        return True
    grey = (x + 1) * 127.5
    return bool(
        np.abs(x).max() <= 1 and len(np.unique(np.round(grey))) > 1 and np.abs(grey - np.round(grey)).max() < 1e-3
    )
