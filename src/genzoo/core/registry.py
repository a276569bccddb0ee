"""Names of systems and presets, found in the file names of `genzoo.models`, known without importing torch."""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genzoo.core.errors import UserError, nearest

if TYPE_CHECKING:
    from genzoo.core.system import System

Kind = Literal["exact", "bounded", "implicit", "codes"]
MODELS = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Entry:
    """What is known of a system from its file alone.

    Args:
        name: File name with dashes: "efros-leung".
        family: Folder: "exemplar".
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
    tree = ast.parse((Path(__file__).parent / "capabilities.py").read_text(encoding="utf-8"))
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    (table,) = (n for n in tree.body if isinstance(n, ast.AnnAssign) and getattr(n.target, "id", "") == "CAPABILITIES")
    assert isinstance(table.value, ast.Dict)
    pairs = [
        (ast.literal_eval(k), ast.unparse(v)) for k, v in zip(table.value.keys, table.value.values, strict=True) if k
    ]
    return {name: {m for m in _members(classes[protocol]) if not m.startswith("_")} for name, protocol in pairs}


def _likelihood(cls: ast.ClassDef) -> str:
    """What the class says of its likelihood: its attribute, or the first text that a property returns or a method assigns."""
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
    (init,) = (n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    return {a.arg: ast.unparse(a.annotation) for a in (*init.args.args, *init.args.kwonlyargs) if a.annotation}


def _read(path: Path) -> Entry | None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "System" for b in node.bases):
            members, arguments = _members(node), _arguments(node)
            abilities = tuple(c for c, needs in _protocols().items() if needs <= members)
            idea = (ast.get_docstring(tree) or "").split("\n", 1)[0]
            return Entry(
                name=path.stem.replace("_", "-"),
                family=path.parent.name,
                module=f"genzoo.models.{path.parent.name}.{path.stem}",
                idea=idea,
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


@functools.cache
def entries() -> dict[str, Entry]:
    """Every system by name, family by family."""
    found = [_read(p) for p in sorted(MODELS.glob("*/*.py")) if not p.name.startswith("_")]
    return {e.name: e for e in found if e}


@functools.cache
def families() -> dict[str, tuple[str, str]]:
    """What each family is strong at and what it fails by, from the docstrings of its folder."""
    found = {}
    for family in dict.fromkeys(e.family for e in entries().values()):
        text = ast.get_docstring(ast.parse((MODELS / family / "__init__.py").read_text(encoding="utf-8"))) or ""
        parts = dict(
            " ".join(p.split()).split(": ", 1) for p in text.split("\n\n") if p.startswith(("Strong at:", "Fails by:"))
        )
        found[family] = (parts.get("Strong at", "").rstrip("."), parts.get("Fails by", "").rstrip("."))
    return found


@functools.cache
def names() -> dict[str, tuple[str, str | None]]:
    """Every name that can be created: {name: (system, preset or None)}."""
    table: dict[str, tuple[str, str | None]] = {e.name: (e.name, None) for e in entries().values()}
    for e in entries().values():
        for preset in e.presets:
            table.setdefault(preset, (e.name, preset))
    return table


def find(name: str) -> tuple[Entry, str | None]:
    """The system (and preset) that a person means.

    Raises:
        UserError: There is no such name; the message has the nearest one.
    """
    key = name.lower().replace("_", "-")
    if key not in names():
        raise UserError(
            f"there is no system '{name}'{nearest(key, names()) or '.'} 'genzoo list' shows all {len(names())}."
        )
    system, preset = names()[key]
    return entries()[system], preset


def system_class(name: str) -> type[System]:
    """Import the class of a system or preset."""
    from genzoo.core.system import System

    entry, _ = find(name)
    module = importlib.import_module(entry.module)
    (cls,) = (
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, System) and c.__module__ == module.__name__
    )
    return cls


def create(name: str, **settings: Any) -> System:
    """Build a system by its name or a preset's, with the preset's values under the given ones.

    Raises:
        UserError: Unknown name or setting, or a value out of bounds.
    """
    _, preset = find(name)
    cls = system_class(name)
    return cls(**{**(cls.presets[preset] if preset else {}), **settings})
