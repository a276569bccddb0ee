"""Count what the house promises about itself: `python tools/house.py [SRC/genzoo]` prints a line for each figure.

Run it on two trees to see what a redesign did. The tests hold the figures that are laws; these are the ones that one looks at.
"""

from __future__ import annotations

import argparse
import ast
import collections
import re
import sys
from collections.abc import Iterator
from pathlib import Path

KINDS = re.compile(r"[\"'](audio|video|voxels|points)[\"']")


def modules(source: Path) -> dict[str, Path]:
    """Find every module below a package folder, by its dotted name without the package's own."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name or "__init__"] = path
    return found


def lines(path: Path) -> int:
    """Count the lines of a file, or of all Python files below a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files)


def imports(source: Path) -> dict[str, set[str]]:
    """Read who imports whom, wherever in the file it stands but under `if TYPE_CHECKING`."""
    known = modules(source)
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[name] = {m for m in _imported(tree, known) if m != name}
    return graph


def _imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "genzoo":
            room = node.module.partition(".")[2]
            for alias in node.names:
                full = f"{room}.{alias.name}".strip(".")
                yield full if full in known else room or "__init__"
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name.startswith("genzoo."))
        else:
            yield from _imported(node, known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Find the strongly connected parts of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(v: str) -> None:
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in sorted(graph[v] & graph.keys()):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in stack:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            at = stack.index(v)
            part = stack[at:]
            del stack[at:]
            if len(part) > 1:
                found.append(sorted(part))

    sys.setrecursionlimit(10_000)
    for v in sorted(graph):
        if v not in index:
            visit(v)
    return found


def bodies(source: Path) -> list[tuple[int, list[str]]]:
    """Find function bodies in models that stand more than once: how many lines each has, and where it stands."""
    seen: dict[str, list[tuple[str, int]]] = collections.defaultdict(list)
    for path in sorted((source / "models").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if not body or (len(body) == 1 and isinstance(body[0], (ast.Pass, ast.Raise))):
                continue
            size = body[-1].end_lineno - body[0].lineno + 1  # type: ignore[operator]
            seen["\n".join(ast.dump(s) for s in body)].append((f"{path.stem}.{node.name}", size))
    return sorted(((v[0][1], [n for n, _ in v]) for v in seen.values() if len(v) > 1), reverse=True)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="src/genzoo", type=Path, help="the package's folder")
    parser.add_argument("--all", action="store_true", help="name what is counted")
    args = parser.parse_args()
    source: Path = args.source
    rooms = sorted(p for p in source.iterdir() if p.is_dir() and p.name != "__pycache__")
    print("lines:", ", ".join(f"{p.name} {lines(p):,}" for p in rooms), f"all {lines(source):,}")
    systems = [p for p in (source / "models").rglob("*.py") if not p.name.startswith("_")]
    beside = [p for p in (source / "models").rglob("_*.py") if p.name != "__init__.py"]
    print(
        f"models: {len(systems)} systems, {sum(map(lines, systems)):,} lines; beside them {sum(map(lines, beside)):,}"
    )
    longest = max(modules(source).values(), key=lines)
    print(f"longest file: {longest.relative_to(source)} {lines(longest)}")
    for folder in ("metrics", "nn", "data", "cli", "core"):
        print(f"flat files in {folder}: {len(list((source / folder).glob('*.py')))}")
    found = circles(imports(source))
    print(f"circles of imports: {len(found)}")
    for part in found:
        print("  " + ", ".join(part))
    hits = [
        (path, i)
        for name, path in modules(source).items()
        if not name.startswith(("models", "data.kinds"))
        for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if KINDS.search(line)
    ]
    print(f"lines that name a kind outside models and data/kinds: {len(hits)} in {len({p for p, _ in hits})} files")
    if args.all:
        print("\n".join(f"  {p.relative_to(source)}:{i}" for p, i in hits))
    twice = bodies(source)
    print(
        f"bodies in models that stand more than once: {len(twice)}, {sum(n * (len(w) - 1) for n, w in twice)} lines too many; "
        f"three times or more: {sum(len(w) > 2 for _, w in twice)}"
    )
    if args.all:
        print("\n".join(f"  {n} lines: {', '.join(w)}" for n, w in twice))


if __name__ == "__main__":
    main()
