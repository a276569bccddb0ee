"""The page's shell, in a real browser and as files: nothing comes from elsewhere, nothing runs that stands inside a page, all of it is typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import genzoo.studio

PAGE = Path(genzoo.studio.__file__).parent / "page"
FILES = sorted(p for p in PAGE.rglob("*") if p.is_file() and "node_modules" not in p.parts)


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".js"], ids=lambda p: p.name)
def test_a_module_is_short_typed_and_writes_text(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert text.startswith("// @ts-check\n/**"), "it is checked, and says first what it is"
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTMLUnsafe", text
    )
    assert not re.search(r"""["'`]https?://(?!www\.w3\.org/)""", text), "nothing is asked of elsewhere"
    assert not re.search(r"@ts-ignore|@ts-nocheck", text)


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in (".html", ".css", ".svg")], ids=lambda p: p.name)
def test_a_page_holds_neither_script_nor_style(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:|@import", text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_the_shell_opens(studio, open_page, tmp_path):
    page = open_page(studio(tmp_path), "#/nothing<b>")
    assert "genzoo studio" in page.title()
    assert page.locator("header.top nav a").count() >= 3
    page.wait_for_selector("text=There is no page “nothing<b>”.")
    assert page.locator("main b").count() == 0


def test_the_keyboard_reaches_the_content_first(studio, open_page, tmp_path):
    page = open_page(studio(tmp_path), "#/nothing")
    page.wait_for_selector("main p")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0


@pytest.mark.parametrize("width", [360, 1280, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hangs_over(studio, open_page, tmp_path, width, scheme):
    page = open_page(studio(tmp_path), "#/nothing", width=width, scheme=scheme)
    page.wait_for_selector("main p")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
