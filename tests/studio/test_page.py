"""The page's shell, in a real browser and as files: nothing comes from elsewhere, nothing runs that stands inside a page, all of it is typed."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

import genzoo.studio
from genzoo.cli.main import main
from genzoo.studio.app import studio as make
from tests.serving import live, wait_for

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


def test_a_tab_that_is_closed_frees_the_model(open_page, tmp_path):
    """A job that only ends when it is cancelled: its state is shown while the tab is open, and it is over right after."""
    app, jobs = make(tmp_path), []

    def work(job):
        for i in range(100_000):
            job.tell(i, 100_000)
            time.sleep(0.01)

    @app.post("/api/test")
    def begin():
        jobs.append(app.state.jobs.submit("m", work, "a long one", watched=True))
        return app.state.jobs.shown(jobs[0])

    with live(app) as base:
        page = open_page(base, "#/nothing")
        page.evaluate(
            "import('/page/api.js').then(async (a) => { a.follow(await a.send('/api/test'), (j) => { document.title = a.inWords(j); }); })"
        )
        # (the page's policy forbids what wait_for_function does)
        wait_for(lambda: re.match(r"[1-9]\d* of 100000, about", page.evaluate("document.title")))
        wait_for(
            lambda: page.evaluate("document.getElementById('queue').textContent").startswith("1 at work — a long one: ")
        )
        assert jobs[0].state == "running"
        page.close(run_before_unload=True)
        wait_for(lambda: jobs[0].over, 10)
        assert jobs[0].state == "cancelled"


def test_a_studio_that_cannot_begin_says_why(tmp_path, capsys):
    assert main(["studio", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main(["studio", str(tmp_path), "host=0.0.0.0", "token=x"]) == 2
    assert "at least 16" in capsys.readouterr().err
