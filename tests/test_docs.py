"""Every link of every page leads somewhere, also to a heading, in the repository as it is read on a git host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page ends with: lower case, no punctuation, hyphens for blanks, a number for a second one."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", prose(page), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()).replace(
            " ", "-"
        )
        number = next(n for n in range(len(found) + 1) if (f"{words}-{n}" if n else words) not in found)
        found.add(f"{words}-{number}" if number else words)
    return found


def links(page: Path) -> list[tuple[str, str]]:
    """Targets and anchors of the links and pictures that stay in the repository."""
    text = re.sub(r"`[^`\n]*`|\$[^$\n]*\$", "", prose(page))
    targets = re.findall(r"\]\(([^)\s]*)\)", text)
    return [(path, anchor) for path, _, anchor in (t.partition("#") for t in targets if not re.match(r"\w+:", t))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    dead = []
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{path}#{anchor}" if anchor else path)
    assert dead == []


def test_every_room_of_the_package_is_told():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "src" / "genzoo").glob("*/__init__.py")}
    assert {*re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)} == rooms


def test_a_dead_link_is_seen(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# A `b`: c, d\n\n# A b c d\n## x\n## x\n[a](b.md#c) [d](#e) [f](https://g) `[h](i)`\n```\n[j](k)\n# l\n```\n"
    )
    assert anchors(page) == {"a-b-c-d", "a-b-c-d-1", "x", "x-1"}
    assert links(page) == [("b.md", "c"), ("", "e")]
