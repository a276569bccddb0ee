"""Write the generated tables: the systems into README.md, their settings into docs/settings.md, and those of make_taxonomy. `make docs` runs it.

The README has the marks `<!-- systems ... -->` and `<!-- /systems -->`; what stands between them is replaced. With `--check` nothing is
written, and the exit code is 1 where a file is not up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from make_taxonomy import lucic, reached, taxonomy

from genzoo.cli.table import commands
from genzoo.core.capabilities import capabilities
from genzoo.core.schema import table
from genzoo.metrics.measure import markdown as measures
from genzoo.naming import registry

ROOT = Path(__file__).parents[1]
VERBS = [c for c in commands().values() if c.needs]


def link(paper: str) -> str:
    """A paper's reference, as a link where it is on arXiv."""
    return re.sub(r"arXiv:(\S+?)(?=[,;\s]|$)", r"[\1](https://arxiv.org/abs/\1)", paper)


def systems() -> str:
    """The table of systems: idea, paper, presets, and the commands that work on it."""
    rows = ["| system | idea | paper | presets | commands |", "|---|---|---|---|---|"]
    for family in dict.fromkeys(e.family for e in registry.entries().values()):
        rows.append(f"| **{family}/** | | | | |")
        for e in (e for e in registry.entries().values() if e.family == family):
            able = set(capabilities(registry.system_class(e.name)))
            verbs = [c.name for c in VERBS if set(c.needs) <= able] + ["likelihood"] * ("density" in able)
            presets = ", ".join(f"`{p}`" for p in e.presets)
            rows.append(
                f"| [`{e.name}`](docs/{family}.md) | {e.idea} | {link(e.paper)} | {presets} | {', '.join(verbs)} |"
            )
    return "\n".join(rows)


def settings() -> str:
    """Every system's settings, as its signature has them."""
    parts = [
        "# Settings of every system",
        "",
        "Generated from the signatures by `make docs`; `genzoo show NAME` prints the same.",
    ]
    for e in registry.entries().values():
        cls = registry.system_class(e.name)
        parts += ["", f"## {e.name}", e.idea, "", "| setting | default | allowed | what it does |", "|---|---|---|---|"]
        parts += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table(cls)]
        for preset, values in cls.presets.items():
            parts.append(f"\nPreset `{preset}`: " + " ".join(f"`{k}={v}`" for k, v in values.items()))
    return "\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """What the generated files should hold."""
    found = {
        ROOT / "docs" / "settings.md": settings(),
        ROOT / "docs" / "taxonomy.md": taxonomy(),
        ROOT / "src" / "genzoo" / "use" / "reached.json": reached(),
    }
    for page, word, rows in (
        (ROOT / "README.md", "systems", systems()),
        (ROOT / "docs" / "studies.md", "lucic", lucic()),
        (ROOT / "docs" / "measures.md", "measures", measures()),
    ):
        if page.exists():
            found[page] = between(page.read_text(encoding="utf-8"), word, rows)
    return found


def between(text: str, word: str, rows: str) -> str:
    """The text with what stands between the marks of that word replaced."""
    mark = re.compile(rf"(<!-- {word}\b[^>]*-->\n).*?(<!-- /{word} -->)", re.DOTALL)
    return mark.sub(lambda m: m[1] + rows + "\n" + m[2], text)


def main(check: bool) -> int:
    """Write the pages, or only compare them."""
    stale = [p for p, text in pages().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path in stale:
        print(("stale: " if check else "wrote ") + str(path.relative_to(ROOT)))
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
