"""From the address of the studio to the first paint in a browser, beside a page of one line of text from the same server.

    python -m benchmarks.bench_paint [paints=15]

A folder with one run is served; Chromium opens the wall of runs and the one-line page in turns, each in a context of its own (no
cache), and says itself when it first painted. The promise is a median under 300 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

import genzoo
from genzoo.studio.app import studio
from tests.serving import FLAGS, live, program

PROMISED = 300.0
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def painted(browser: Browser, address: str) -> float:
    """Milliseconds from the navigation to the first paint of content."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(address)
    for _ in range(200):
        if at := page.evaluate(PAINTED):
            context.close()
            return float(at)
        page.wait_for_timeout(25)
    raise RuntimeError(f"{address}: nothing was painted in five seconds")


def main(paints: int = 15) -> None:
    """Measure, print medians and quartiles in milliseconds, and whether the promise holds."""
    with tempfile.TemporaryDirectory() as folder:
        genzoo.train("dcgan", "digits", width=8, steps=2, batch=4, runs=folder, name="dcgan", quiet=True)
        with live(studio(Path(folder))) as base, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program(), args=FLAGS)
            wall, line = [], []
            for _ in range(paints + 2):
                wall.append(painted(browser, f"{base}/#/runs"))
                line.append(painted(browser, f"{base}/health"))
            browser.close()
    for name, times in (("a line of text", line[2:]), ("wall of runs", wall[2:])):
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"{name:16} first paint: median {middle:6.1f} ms, quartiles {low:.1f} and {high:.1f}, of {len(times)}")
    kept = statistics.median(wall[2:]) < PROMISED
    print(f"promised: under {PROMISED:.0f} ms: {'kept' if kept else 'NOT KEPT'}")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main(**{k: int(v) for k, v in (word.split("=") for word in sys.argv[1:])})
