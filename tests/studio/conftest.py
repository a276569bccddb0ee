"""The studio over two small runs, asked over HTTP or in a real browser.

What a page logs as an error, or asks of anything but its own server, fails the test.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tests.serving import FLAGS, live, program


@pytest.fixture(scope="package")
def browser():
    """One browser for the tests of this folder; each test has pages of its own."""
    path = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens a page of a server: `open_page(base, "#/runs", width=360)`; mistakes that it expects go into `expected`."""
    contexts, wrong, expected = [], [], []

    def opened(base, hash="", *, width=1280, height=800, scheme="light", touch=False):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, accept_downloads=True
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: wrong.append(f"uncaught: {e}"))
        page.on(
            "request",
            lambda r: (
                None
                if urlsplit(r.url).scheme in ("blob", "data") or r.url.startswith(base)
                else wrong.append(f"a request to elsewhere: {r.url}")
            ),
        )
        page.goto(f"{base}/{hash}")
        return page

    opened.expected = expected
    yield opened
    for context in contexts:
        context.close()
    unforeseen = [w for w in wrong if not any(e in w for e in expected)]
    assert not unforeseen, unforeseen


@pytest.fixture
def studio():
    """Return a function that serves the studio over a folder of runs, and returns its address."""
    from contextlib import ExitStack

    from genzoo.studio.app import studio as make

    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(live(make(folder)))


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """A folder with two finished runs of different seeds, both measured; tests that change it take a copy."""
    import genzoo

    root = tmp_path_factory.mktemp("studio") / "runs"
    for seed in (0, 1):
        genzoo.train(
            "dcgan", "digits", steps=40, batch=8, width=4, latent=4, ema=0, limit=120, sample_every=10, seed=seed, name=f"seed-{seed}",
            runs=str(root), quiet=True,
        )  # fmt: skip
        genzoo.evaluate(root / f"seed-{seed}", measures="frechet,memorization", n=40)
    return root


@pytest.fixture
def client(trained):
    """Ask the studio over `trained`, without a browser."""
    from fastapi.testclient import TestClient

    from genzoo.studio.app import studio as make

    with TestClient(make(trained), base_url="http://127.0.0.1") as found:
        yield found
