"""The pages of runs in a real browser: a person's way from the form of a system to the judgement of a run, and what goes wrong on it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

pytest.importorskip("fastapi", reason="the extra genzoo[studio] is not installed")

from genzoo.studio.app import studio as make
from tests.serving import live
from tests.studio.test_states import a_run

AXE = Path(__file__).parents[2] / "tools" / "page" / "node_modules" / "axe-core" / "axe.min.js"
LONG = 180_000
"""Milliseconds that a process of its own may take to begin, on a machine that has other things to do."""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<"


def test_from_the_form_to_the_judgement(studio, open_page, trained, tmp_path):
    """Start a training, watch, stop, go on, measure, compare, judge, download."""
    root = tmp_path / "runs"
    shutil.copytree(trained, root)
    base = studio(root)
    page = open_page(base, "#/runs")
    page.wait_for_selector("text=seed-1")
    page.click("text=Start a training")
    page.fill("input[type=search]", "wgan")
    page.click("role=link[name='wgan-gp']")
    page.wait_for_selector("text=1,497 train, 300 test")  # the page of the data
    page.fill("#field-steps", "none of them")
    page.wait_for_selector("text=wgan-gp: steps=none of them is not allowed; give integer, at least 1")
    page.fill("#field-steps", "100000")
    for name, value in {"width": "4", "latent": "4", "batch": "4", "name": "mine"}.items():
        page.fill(f"#field-{name}", value)
    page.click("summary:has-text('25 more')")
    page.fill("#field-sample_every", "5")
    page.fill("#field-log_every", "1")
    line = "genzoo train wgan-gp data=digits name=mine steps=100000"
    page.wait_for_selector(".go code:has-text('log_every=1')")
    words = page.inner_text(".go code").split()
    assert set(line.split()) <= {*words}
    page.click("text=Start training")
    page.wait_for_url("**/#/run/mine")
    page.wait_for_selector(".run-state.is-training", timeout=LONG)
    page.wait_for_selector(".screen img:not([hidden])", timeout=LONG)
    page.wait_for_selector("figure.chart >> nth=0")
    page.click("button:has-text('Stop')")
    page.wait_for_selector(".run-state.is-stopped", timeout=LONG)
    assert page.locator("text=/SIGTERM: saved at step/").count() == 1
    page.click("button:has-text('Resume')")
    page.wait_for_selector(".run-state.is-training", timeout=LONG)
    page.wait_for_selector(".run-film input[type=range]:not([max='0'])", timeout=LONG)  # a second picture
    page.click("button:has-text('Stop')")
    page.wait_for_selector(".run-state.is-stopped", timeout=LONG)
    pictures = page.locator(".run-film input[type=range]")
    assert int(pictures.get_attribute("max")) >= 1
    pictures.focus()
    page.keyboard.press("Home")
    assert "step 5 " in page.inner_text(".run-film output")
    with page.expect_download() as got:
        page.click("text=Download picture")
    assert got.value.suggested_filename == "mine-step-5.png"
    assert Path(got.value.path()).read_bytes() == (root / "mine/samples/step_000000005.png").read_bytes()

    page.click("nav >> text=Judge")
    page.wait_for_selector("table.comparison >> text=FLD")
    page.click("text=Side by side")
    page.wait_for_selector(".side img >> nth=1", timeout=LONG)
    with page.expect_download() as got:
        page.locator(".side >> text=Download").first.click()
    assert Path(got.value.path()).read_bytes().startswith(b"\x89PNG")
    page.click("text=Real or made?")
    page.get_by_label("Images", exact=True).fill("6")
    page.click("text=Begin")
    page.wait_for_selector("img.trial[src]", timeout=LONG)
    page.locator("h1").click()
    for i, key in enumerate("rmrmr"):
        page.keyboard.press(key)
        page.wait_for_selector(f"text=Image {i + 2} of 6")
        page.wait_for_selector("img.trial[src]")
    page.keyboard.press("Backspace")
    page.wait_for_selector("text=Image 5 of 6")
    page.wait_for_selector("img.trial[src]")
    page.click("text=End here")
    page.wait_for_selector("h2:has-text('of 4 right')")
    assert page.locator(".truth li").count() == 4
    assert "Wilson" in page.inner_text(".blind-stage")
    page.click("text=Nearest training images")
    page.wait_for_selector("ol.nearest img", timeout=LONG)
    assert page.locator("ol.nearest li").count() == 12


@pytest.fixture(scope="module")
def names(trained, tmp_path_factory):
    """A folder in which everything that can be named is called like markup."""
    root = tmp_path_factory.mktemp("hostile") / "runs"
    shutil.copytree(trained / "seed-0", root / HOSTILE.replace("/", ""))
    config = (root / HOSTILE / "config.toml").read_text()
    (root / HOSTILE / "config.toml").write_text(config.replace('data = "digits"', f"data = {json.dumps(HOSTILE)}"))
    log = (root / HOSTILE / "log.jsonl").read_text().splitlines()
    (root / HOSTILE / "log.jsonl").write_text("\n".join(json.dumps({**json.loads(line), HOSTILE: 1.0}) for line in log))
    file = root / HOSTILE / "metrics.json"
    record = {**json.loads(file.read_text())["AuthPct on digits test"], "measure": HOSTILE, "protocol": HOSTILE}
    kept = {HOSTILE: record}
    file.write_text(json.dumps(kept))
    a_run(
        root,
        "broken",
        config=f'name = "{HOSTILE}"\n[system]\n"{HOSTILE}" = "{HOSTILE}"\n[training]\nsteps = 5\n[data]\n',
    )
    return root


@pytest.mark.parametrize(
    "where",
    [
        "#/runs",
        "#/run/{}",
        "#/run/broken",
        "#/judge/compare",
        "#/judge/side",
        "#/judge/blind",
        "#/judge/nearest?run={}",
    ],
)
def test_names_are_text(studio, open_page, names, where):
    page = open_page(studio(names), where.format(quote(HOSTILE, safe="")))
    page.on("dialog", lambda d: pytest.fail("a name was run"))
    page.wait_for_selector(f"text={HOSTILE.split('>')[0]}", state="attached", timeout=LONG)
    page.wait_for_timeout(300)
    assert page.locator("main script, main img[onerror], main img[src='x']").count() == 0


def test_a_file_left_out_of_the_data_is_text(studio, open_page, tmp_path):
    from PIL import Image

    folder = tmp_path / HOSTILE.replace("/", "")
    folder.mkdir()
    for i in range(12):
        Image.new("L", (16, 16), 20 * i).save(folder / f"{i}.png")
    (folder / f"{HOSTILE}.png").write_bytes(b"no image")
    page = open_page(studio(tmp_path / "runs"), "#/train/dcgan")
    page.fill("#field-data", str(folder), timeout=LONG)
    page.keyboard.press("Tab")
    page.wait_for_selector("text=1 left out, and why", timeout=LONG)
    assert HOSTILE in page.inner_text(".left-out")
    assert page.locator("main script, main img[onerror]").count() == 0


def test_a_server_that_is_killed_and_comes_back(open_page, trained):
    open_page.expected += ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]
    with live(make(trained)) as base:
        page = open_page(base, "#/run/seed-0")
        page.wait_for_selector("figure.chart >> nth=0")
    page.wait_for_selector("text=The server does not answer.", timeout=30_000)
    assert page.locator("figure.chart").count() > 0, "what was shown stays"
    with live(make(trained), int(urlsplit(base).port or 0)):
        page.wait_for_selector(".notice", state="hidden", timeout=30_000)
        page.click("text=All runs")
        page.wait_for_selector("text=seed-1")


def test_a_run_that_is_removed_while_it_is_shown(studio, open_page, trained, tmp_path):
    open_page.expected += ["404"]
    shutil.copytree(trained, tmp_path / "runs")
    page = open_page(studio(tmp_path / "runs"), "#/run/seed-0")
    page.wait_for_selector("figure.chart >> nth=0")
    shutil.rmtree(tmp_path / "runs" / "seed-0")
    page.wait_for_selector("text=there is no run 'seed-0' here", timeout=30_000)
    page.locator(".actions >> text=All runs").click()
    page.wait_for_selector("text=seed-1")
    assert page.locator(".card").count() == 1


def test_a_full_disk_is_said(studio, open_page, tmp_path, monkeypatch):
    from genzoo.studio.runs import processes

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(processes, "open", full, raising=False)
    open_page.expected += ["422", "507"]
    page = open_page(studio(tmp_path / "runs"), "#/train/dcgan")
    page.click("text=Start training", timeout=LONG)
    page.wait_for_selector("text=/no space left/i")
    assert "#/train/dcgan" in page.url, "nothing that was filled in is lost"


def test_two_browsers_see_the_same(studio, open_page, tmp_path):
    base = studio(tmp_path / "runs")
    first, second = open_page(base, "#/runs"), open_page(base, "#/runs", width=360)
    for page in (first, second):
        page.wait_for_selector("text=No runs yet")
    a_run(tmp_path / "runs", "new")
    for page in (first, second):
        page.wait_for_selector(".card >> text=new", timeout=30_000)
        assert page.locator(".empty").is_hidden()


def test_no_style_of_one_page_reaches_another():
    """A style file stays where it is once it has been loaded: a class of two files must be one of the base."""
    import re

    folder = Path(make.__globals__["PAGE"])
    base = set(re.findall(r"\.[a-z][a-z-]+", (folder / "base.css").read_text()))
    play = {n for p in (folder / "play").glob("*.css") for n in re.findall(r"\.[a-z][a-z-]+", p.read_text())}
    runs = {
        n for p in folder.glob("*.css") if p.name != "base.css" for n in re.findall(r"\.[a-z][a-z-]+", p.read_text())
    }
    assert play, "there are no styles to look at"
    assert not (play & runs) - base


PAGES = [
    "#/runs",
    "#/run/seed-0",
    "#/train",
    "#/train/dcgan",
    "#/judge/compare",
    "#/judge/side",
    "#/judge/blind",
    "#/judge/nearest",
]


@pytest.mark.parametrize("width", [360, 1280, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_axe(studio, open_page, trained, width, scheme):
    """Contrast, names, roles, order of headings; and nothing hangs over."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: sh tools/page/check.sh does it")
    base = studio(trained)
    page = open_page(base, width=width, scheme=scheme)
    for where in PAGES:
        page.goto(f"{base}/{where}")
        page.wait_for_selector("h1", timeout=LONG)
        page.wait_for_load_state("networkidle") if where == "#/train" else page.wait_for_timeout(700)
        page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert not [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found], where
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where


def test_all_of_it_is_reached_by_the_keyboard(studio, open_page, trained):
    page = open_page(studio(trained), "#/runs")
    page.wait_for_selector(".card")
    page.locator("main").focus()
    reached = []
    for _ in range(16):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent || document.activeElement.placeholder"))
    assert {"Start a training", "All 2", "Find a run", "seed-1", "seed-0"} <= {*reached}
    page.locator(".card a", has_text="seed-0").focus()
    page.keyboard.press("Enter")
    chart = page.locator("figure.chart svg").first
    chart.focus()
    page.keyboard.press("Home")
    assert "at step 1" in page.inner_text("figure.chart figcaption >> nth=0")
    page.keyboard.press("ArrowRight")
    assert "at step 2" in page.inner_text("figure.chart figcaption >> nth=0")


def test_the_shell_is_painted_before_anything_is_asked(studio, open_page, trained):
    base = studio(trained)
    open_page.expected += ["404"]  # a page of one line names no icon, and the browser asks for one
    page = open_page(base, "health")
    page.route("**/api/**", lambda route: None)  # never answered
    page.goto(f"{base}/#/runs")
    page.wait_for_selector("header.top")
    page.wait_for_selector("h1:has-text('Runs')")
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint').length") == 1
    open_page.expected += ["ERR_"]
    page.unroute_all(behavior="ignoreErrors")
