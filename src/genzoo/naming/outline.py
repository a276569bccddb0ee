"""What is known of a system from its file alone, read as text: nothing is imported and nothing run."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["exact", "bounded", "implicit", "codes"]


@dataclass(frozen=True)
class Entry:
    """What is known of a system from its file alone.

    Args:
        name: File name with dashes: "efros-leung"; of a class of one's own see `registry.name_of`.
        family: Folder: "exemplar"; of a package's its name, of a class that was given in this process "own".
        module: Import path.
        idea: First line of the module's docstring.
        paper: The class's `paper`.
        data: The class's `data` kind.
        presets: Names of its presets.
        abilities: Its capabilities, as `core.capabilities.capabilities` finds them.
        likelihood: What its `log_prob` is, in words; empty without one.
        directions: Names of its maps, where it translates: a2b, upscale.
        inner: Argument that takes another system, where there is one.
        points: Whether it also takes points in the plane.
        arguments: Names of its constructor's arguments.
    """

    name: str
    family: str
    module: str
    idea: str
    paper: str
    data: str
    presets: tuple[str, ...]
    abilities: tuple[str, ...] = ()
    likelihood: str = ""
    directions: tuple[str, ...] = ()
    inner: str = ""
    points: bool = False
    arguments: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """How it stands to the probability of the data, from what it can do.

        exact: it tells p(x); bounded: it tells a lower bound of it; implicit: it makes data without telling how probable they are;
        codes: it maps data to codes and back, and has no distribution of its own.
        """
        if "density" in self.abilities:
            return "exact" if "exact" in self.likelihood else "bounded"
        return "implicit" if {"samples", "translates", "completes"} & set(self.abilities) else "codes"


def _literal(cls: ast.ClassDef, name: str) -> Any:
    for node in cls.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            value = node.value
            if isinstance(value, ast.Dict):
                return tuple(k.value for k in value.keys if isinstance(k, ast.Constant))
            if isinstance(value, ast.Tuple):
                return ast.literal_eval(value)
            return value.value if isinstance(value, ast.Constant) else None
    return None


def _members(cls: ast.ClassDef) -> set[str]:
    """Names that a class defines or declares: methods, properties, attributes."""
    found = {n.name for n in cls.body if isinstance(n, ast.FunctionDef)}
    for node in cls.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {t.id for t in targets if isinstance(t, ast.Name)}
    return found


@functools.cache
def _protocols() -> dict[str, set[str]]:
    """Capability -> names that a system needs for it, from the file that defines them."""
    tree = ast.parse((Path(__file__).parents[1] / "core" / "capabilities.py").read_text(encoding="utf-8"))
    classes = [
        n for n in tree.body if isinstance(n, ast.ClassDef) and [ast.unparse(b) for b in n.bases] == ["Protocol"]
    ]
    return {c.name.lower(): {m for m in _members(c) if not m.startswith("_")} for c in classes}


def _likelihood(cls: ast.ClassDef) -> str:
    """Find what a class says of its likelihood: its attribute, or the first text that a property returns or a method assigns."""
    told = _literal(cls, "likelihood")
    if isinstance(told, str):
        return told
    for node in ast.walk(cls):
        if isinstance(node, ast.FunctionDef) and node.name == "likelihood":
            values = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr == "likelihood" for t in node.targets
        ):
            values = [node.value]
        else:
            continue
        for n in (n for v in values for n in ast.walk(v)):
            if isinstance(n, ast.Constant) and isinstance(n.value, str):
                return n.value
    return ""


def _arguments(cls: ast.ClassDef) -> dict[str, str]:
    """Arguments of the constructor -> their annotations, as written."""
    inits = [n.args for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    return {a.arg: ast.unparse(a.annotation) for i in inits for a in (*i.args, *i.kwonlyargs) if a.annotation}


def read(path: Path, *, name: str, family: str, module: str, of: str = "") -> Entry | None:
    """Read what a file says of its system.

    Args:
        path: The file.
        name: What the system is called.
        family: Where it is listed.
        module: What its module is called.
        of: Name of the class; the one that derives from `System` when not given.

    Returns:
        Nothing where there is no such class.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        if node.name == of if of else any(isinstance(b, ast.Name) and b.id == "System" for b in node.bases):
            members, arguments = _members(node), _arguments(node)
            abilities = tuple(c for c, needs in _protocols().items() if needs <= members)
            told = ast.get_docstring(tree) or ast.get_docstring(node) or ""
            return Entry(
                name=name,
                family=family,
                module=module,
                idea=told.split("\n", 1)[0],
                paper=_literal(node, "paper") or "",
                data=_literal(node, "data") or "image",
                presets=_literal(node, "presets") or (),
                abilities=abilities,
                likelihood=_likelihood(node) if "density" in abilities else "",
                directions=_literal(node, "directions") or (),
                inner=next((k for k, a in arguments.items() if a.split(" | ")[0].lower() in _protocols()), ""),
                points="..." in arguments.get("shape", "") or "tuple[int]" in arguments.get("shape", ""),
                arguments=tuple(arguments),
            )
    return None
