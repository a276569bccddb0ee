"""What the documentation site has beyond docs/: pages of the root, a reference made of the docstrings, formulas as MathML.

MkDocs calls these functions while it builds (`hooks` in mkdocs.yml). Nothing is imported of what is documented: sources are read, not run.
"""

from __future__ import annotations

import ast
import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "genzoo"
BROUGHT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "examples/README.md": "examples/index.md",
    "examples/augment_scans.py": "examples/augment_scans.py",
}
"""Files of the repository that are not in docs/, and where the site has them."""
KNOWN = {"lVert": r"\Vert ", "rVert": r"\Vert ", "arg": r"\operatorname{arg}"}
"""Commands of formulas that the converter lacks, in those that it has."""
ROOMS = [p.name for p in sorted(SOURCE.iterdir()) if (p / "__init__.py").exists() and p.name not in ("cli", "models")]
"""Parts of the package whose docstrings stand in the reference, beside the public functions and the systems."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root and the reference to those of docs/."""
    made = {site: (ROOT / path).read_text(encoding="utf-8") for path, site in BROUGHT.items()}
    for name, text in {**made, **reference()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links between docs/ and the rest of the repository lead to where the site has their pages."""
    at = next((path for path, site in BROUGHT.items() if site == page.file.src_uri), f"docs/{page.file.src_uri}")
    if page.file.src_uri.startswith("reference/"):
        return markdown

    def moved(match: re.Match[str]) -> str:
        target, anchor = match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(at), target))
        site = BROUGHT.get(path, path.removeprefix("docs/"))
        return f"{match[1]}({posixpath.relpath(site, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"

    return re.sub(r"(\[[^]\n]*\])\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, which browsers draw themselves: no script, no font and no network are needed."""

    def drawn(match: re.Match[str]) -> str:
        block, formula = match[1] == "div", match[2].strip().removeprefix("\\(").removesuffix("\\)")
        formula = unescape(formula.removeprefix("\\[").removesuffix("\\]").strip())
        formula = re.sub(r"\\(lVert|rVert|arg)(?![A-Za-z])", lambda m: KNOWN[m[1]], formula)
        made = latex2mathml.converter.convert(formula, display="block" if block else "inline")
        if "\\" in made:
            raise PluginError(f"{page.file.src_uri}: a command in the formula {formula} is not known")
        return re.sub(r"(<mi>(?:log|ln)</mi>)(?=<m[in])", r'\1<mspace width="0.17em"/>', made)  # log 2, and not log2

    return re.sub(r'<(div|span) class="arithmatex">(.*?)</\1>', drawn, html, flags=re.DOTALL)


def reference() -> dict[str, str]:
    """Return the pages of the reference: what `import genzoo` offers, the systems of each family, and the parts below."""
    pages = {"reference/index.md": _page("Python", [f"genzoo.{name}" for name in _public()], "genzoo")}
    for family in sorted(path for path in (SOURCE / "models").iterdir() if (path / "__init__.py").exists()):
        pages[f"reference/models/{family.name}.md"] = _page(f"Systems: {family.name}", _modules(family), "")
    for room in ROOMS:
        pages[f"reference/{room}.md"] = _page(room, _modules(SOURCE / room), f"genzoo.{room}")
    return pages


def _public() -> list[str]:
    """The names in `genzoo.__all__` that are functions or classes."""
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    listed = next(n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
    return [name for name in ast.literal_eval(listed) if not name.startswith("_")]


def _modules(folder: Path) -> list[str]:
    files = sorted(folder.rglob("*.py"))
    return [
        ".".join(("genzoo", *f.relative_to(SOURCE).with_suffix("").parts)) for f in files if not f.name.startswith("_")
    ]


def _page(title: str, names: list[str], module: str) -> str:
    first = _sentence(module) if module else ""
    return "\n\n".join([f"# {title}", *([first] if first else []), *(f"::: {name}" for name in names)]) + "\n"


def _sentence(module: str) -> str:
    path = SOURCE.joinpath(*module.split(".")[1:])
    return (ast.get_docstring(ast.parse((path / "__init__.py").read_text(encoding="utf-8"))) or "").split("\n\n")[0]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in the part of the navigation that follows from the folders."""
    families = sorted(p.name for p in (SOURCE / "models").iterdir() if (p / "__init__.py").exists())
    systems: list[Any] = [{family: f"reference/models/{family}.md"} for family in families]
    parts: list[Any] = [{room: f"reference/{room}.md"} for room in ROOMS]
    config.nav = [*(config.nav or []), {"Reference": ["reference/index.md", {"Systems": systems}, *parts]}]
    return config
