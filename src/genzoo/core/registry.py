"""Names of systems and presets, found in the file names of `genzoo.models`, known without importing torch."""

from __future__ import annotations

import ast
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import UserError, nearest

if TYPE_CHECKING:
    from genzoo.core.system import System

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
    """

    name: str
    family: str
    module: str
    idea: str
    paper: str
    data: str
    presets: tuple[str, ...]


def _literal(cls: ast.ClassDef, name: str) -> Any:
    for node in cls.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            value = node.value
            if isinstance(value, ast.Dict):
                return tuple(k.value for k in value.keys if isinstance(k, ast.Constant))
            return value.value if isinstance(value, ast.Constant) else None
    return None


def _read(path: Path) -> Entry | None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "System" for b in node.bases):
            idea = (ast.get_docstring(tree) or "").split("\n", 1)[0]
            return Entry(
                name=path.stem.replace("_", "-"),
                family=path.parent.name,
                module=f"genzoo.models.{path.parent.name}.{path.stem}",
                idea=idea,
                paper=_literal(node, "paper") or "",
                data=_literal(node, "data") or "image",
                presets=_literal(node, "presets") or (),
            )
    return None


@functools.cache
def entries() -> dict[str, Entry]:
    """Every system by name, family by family."""
    found = [_read(p) for p in sorted(MODELS.glob("*/*.py")) if not p.name.startswith("_")]
    return {e.name: e for e in found if e}


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
