"""The play page in a browser: sliders, pins, walks, painting, translating, downloads; by mouse and by keys, in two browsers at once."""

from __future__ import annotations

import re

import pytest

import genzoo
from tests.studio.play_help import photo
from tests.studio.test_journey import AXE

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect
PATIENCE = 90_000
"""Milliseconds that a page has on a machine that does other things as well."""


@pytest.fixture
def open_page(open_page):
    """Open pages that are waited for with more patience."""

    def opened(*where, **how):
        page = open_page(*where, **how)
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        return page

    yield opened
    expect.set_options(timeout=5_000)


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory):
    """One run of each thing that can be played with."""
    for name in ("dcgan", "stylegan2", "pixelcnn", "context-encoder", "cyclegan", "wavenet", "gan-3d", "video-gan"):
        place = runs(name).path.parent
    genzoo.train("realnvp", "moons", steps=2, batch=8, runs=str(place), name="moons", quiet=True)
    return place


def shown(page) -> str:
    return page.locator(".stage img").first.get_attribute("src")


def open_explore(open_page, base, name="dcgan", **how):
    page = open_page(base, f"#/play/{name}", **how)
    page.locator(".stage img").first.wait_for()
    page.locator(".move small:not(:empty)").first.wait_for()
    return page


def expect_seed(page, seed):
    """Wait until the page shows a seed's place; as a word, for a folder's name may end in s1."""
    expect(page.locator(".explore .command code")).to_contain_text(re.compile(rf"at=\W?s{seed}\b"))


def pin(page, seed):
    page.get_by_label("seed").fill(str(seed))
    expect_seed(page, seed)
    page.get_by_role("button", name="Pin this").first.click()


def test_slider_pin_walk_sum_and_download(studio, folder, open_page, tmp_path):
    page = open_explore(open_page, studio(folder))
    before = shown(page)
    page.get_by_label(re.compile(r"^1")).first.fill("2")
    expect(page.locator(".explore .command code")).to_contain_text("s0 + 2d1")
    assert shown(page) != before, "a slider's move shows another image"
    page.get_by_role("button", name="Back to the middle").click()
    expect(page.locator(".explore .command code")).not_to_contain_text("d1")
    assert shown(page) == before
    for seed in (1, 2, 3):
        pin(page, seed)
    expect(page.locator(".pins li")).to_have_count(3)
    page.get_by_role("button", name="Walk").click()
    film = page.locator(".combine .film")
    film.wait_for()
    with page.expect_download() as got:
        page.get_by_role("link", name="walk.gif").click()
    assert got.value.path().read_bytes()[:6] == b"GIF89a"
    page.get_by_role("button", name="Add up").click()
    expect(page.locator(".sum .command code")).to_contain_text("at=s1 - s2 + s3")
    page.get_by_role("button", name="Remove pin 1").click()
    expect(page.locator(".pins li")).to_have_count(2)


def test_styles_are_mixed_by_dragging_and_by_keys(studio, folder, open_page):
    page = open_explore(open_page, studio(folder), "stylegan2")
    pin(page, 1)
    pin(page, 2)
    page.locator(".pins li").nth(1).drag_to(page.locator(".pins li").nth(0))
    code = page.locator(".combine .command code")
    expect(code).to_contain_text(re.compile(r"at=s1/\d/s2"))
    page.get_by_label("Pin of the coarse styles").select_option(label="pin 2")
    page.get_by_label("Pin of the fine styles").select_option(label="pin 1")
    page.get_by_role("button", name="Mix", exact=True).press("Enter")
    expect(code).to_contain_text(re.compile(r"at=s2/\d/s1"))


def test_paint_by_mouse_undo_keys_and_fill_in(studio, folder, open_page):
    page = open_page(studio(folder), "#/play/pixelcnn?panel=complete")
    page.set_input_files("input[type=file]", {"name": "mine.png", "mimeType": "image/png", "buffer": photo(channels=1)})
    canvas = page.locator(".paint canvas")
    canvas.wait_for()
    count = page.get_by_text("pixels are drawn anew")
    expect(count).to_contain_text(re.compile(r"^0 of"))
    expect(page.get_by_role("button", name="Fill in")).to_be_disabled()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 3 / 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(count).not_to_contain_text(re.compile(r"^0 of"))
    page.get_by_role("button", name="Undo").click()
    expect(count).to_contain_text(re.compile(r"^0 of"))
    canvas.focus()
    canvas.press("Space")
    canvas.press("Shift+ArrowRight")
    expect(count).not_to_contain_text(re.compile(r"^0 of"))
    page.get_by_role("button", name="Lower half").click()
    page.get_by_role("button", name="Fill in").click()
    page.locator(".shots li").nth(4).wait_for()
    expect(page.locator(".kept code")).to_contain_text("complete")
    with page.expect_download() as got:
        page.get_by_role("link", name="mask.png").click()
    assert got.value.path().read_bytes()[:4] == b"\x89PNG"


def test_paint_with_a_finger(studio, folder, open_page):
    page = open_page(studio(folder), "#/play/context-encoder?panel=complete", width=360, touch=True)
    page.get_by_role("button", name="Take an example").tap()
    canvas = page.locator(".paint canvas")
    canvas.wait_for()
    canvas.tap()
    expect(page.get_by_text("pixels are drawn anew")).not_to_contain_text(re.compile(r"^0 of"))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the page"


def test_a_dropped_photograph_is_translated_beside_itself(studio, folder, open_page):
    page = open_page(studio(folder), "#/play/cyclegan?panel=translate")
    page.locator(".drop").wait_for()
    data = [*photo(48, 64)]
    page.evaluate(
        """data => {
          const moved = new DataTransfer();
          moved.items.add(new File([new Uint8Array(data)], "<img src=x onerror=alert(1)>.png", {type: "image/png"}));
          document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: moved, bubbles: true, cancelable: true}));
        }""",
        data,
    )
    slider = page.get_by_label(re.compile("Divider between"))
    slider.wait_for()
    assert page.locator("article h2").first.text_content() == "<img src=x onerror=alert(1)>.png", "a name is text"
    slider.focus()
    slider.press("Home")
    assert page.locator(".compare").evaluate("e => e.style.getPropertyValue('--at')") == "0%"
    with page.expect_download() as got:
        page.get_by_role("link", name="translate.png").click()
    assert got.value.path().read_bytes()[:4] == b"\x89PNG"


def test_what_moves_sounds_and_turns(studio, folder, open_page):
    base = studio(folder)
    for name, what in (("wavenet", "audio"), ("gan-3d", "img.turned"), ("video-gan", ".film input")):
        page = open_page(base, f"#/play/{name}?panel=sample")
        page.get_by_role("button", name="Draw").click()
        page.locator(what).first.wait_for()
    player = open_page(base, "#/play/wavenet?panel=sample")
    player.get_by_role("button", name="Draw").click()
    player.locator("audio").first.wait_for()
    player.wait_for_function("document.querySelector('audio').duration > 0")
    shape = open_page(base, "#/play/gan-3d?panel=sample")
    shape.get_by_role("button", name="Draw").click()
    turned = shape.locator("img.turned").first
    turned.wait_for()
    before, box = turned.get_attribute("src"), turned.bounding_box()
    shape.mouse.move(box["x"] + 20, box["y"] + 20)
    shape.mouse.down()
    shape.mouse.move(box["x"] + 20 + box["width"] / 3, box["y"] + 20, steps=4)
    shape.mouse.up()
    assert turned.get_attribute("src") != before, "a shape turns under the hand"


def test_a_density_is_drawn_again_as_it_trains(studio, folder, open_page):
    page = open_page(studio(folder), "#/play/moons")
    expect(page.get_by_text("after 2 steps")).to_be_visible()
    genzoo.resume(folder / "moons", steps=12, quiet=True)
    expect(page.get_by_text("after 12 steps")).to_be_visible()


def test_names_are_text_wherever_they_stand(studio, folder, open_page):
    import shutil

    name = "<script>alert(1)<_script>"
    if not (folder / name).exists():
        shutil.copytree(folder / "dcgan", folder / name)
    base = studio(folder)
    page = open_page(base, "#/play")
    page.get_by_role("link", name=name).click()
    page.locator(".stage img").first.wait_for()
    assert page.locator("h1").text_content() == name
    expect(page.locator(".explore .command code")).to_contain_text(name)


def test_two_browsers_at_once(studio, folder, open_page):
    base = studio(folder)
    first, second = (open_explore(open_page, base) for _ in range(2))
    pin(first, 11)
    pin(second, 12)
    expect(first.locator(".pins li")).to_have_count(1)
    expect_seed(first, 11)
    expect_seed(second, 12)
    assert shown(first) != shown(second)


def test_tabs_and_sliders_by_keys(studio, folder, open_page):
    page = open_explore(open_page, studio(folder))
    page.get_by_role("tab", name="Explore").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Sample")).to_be_focused()
    expect(page.get_by_role("tab", name="Sample")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("button", name="Draw")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    slider = page.get_by_label(re.compile(r"^1")).first
    slider.focus()
    slider.press("ArrowRight")
    expect(page.locator(".explore .command code")).to_contain_text("0.1d1")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light"), (3840, "dark")])
def test_no_panel_breaks_a_rule_of_axe(studio, folder, open_page, width, scheme):
    """Contrast, names, roles, order of headings; and nothing hangs over."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: sh tools/page/check.sh does it")
    base = studio(folder)
    page = open_explore(open_page, base, width=width, scheme=scheme)
    pin(page, 1)
    pin(page, 2)
    page.get_by_role("button", name="Walk").click()
    page.locator(".combine .film").wait_for()
    hold(page)
    for name, panel in (
        ("dcgan", "picture"),
        ("pixelcnn", "complete"),
        ("pixelcnn", "bits"),
        ("cyclegan", "translate"),
    ):
        page.goto(f"{base}/#/play/{name}?panel={panel}")
        page.get_by_role("button", name="Take an example").click()
        page.locator(
            {"picture": ".controls [role=status]", "complete": ".paint", "bits": ".scale", "translate": ".compare"}[
                panel
            ]
        ).first.wait_for()
        hold(page)
    page.goto(f"{base}/#/play/moons")
    page.locator(".kept").wait_for()
    hold(page)


def hold(page):
    """Hold the page as it is against the rules."""
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    page.wait_for_timeout(200)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert not [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
