"""A page that runs a system in the browser: what lies in its folder, and (in a real browser) the picture that torch makes."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from genzoo.core.errors import UserError
from genzoo.testing.case import case_of
from genzoo.use.export import export_files
from genzoo.use.exports import web
from tests.serving import FLAGS

RUNTIME = os.environ.get("GENZOO_TEST_ONNXRUNTIME_WEB", "")
"""Where the package onnxruntime-web lies for the test in a browser (`npm pack onnxruntime-web@1.30.0`): tests have no network."""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose files are words, and digests that fit them."""
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as packed:
        for name in web.FILES:
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(name)
            packed.addfile(entry, io.BytesIO(name.encode()))
    monkeypatch.setattr(web, "FILES", {n: hashlib.sha256(n.encode()).hexdigest() for n in web.FILES})
    return path


def told(page):
    text = (page / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="about">(.*?)</script>', text, re.DOTALL)[1])


def test_a_folder_has_all_that_a_page_needs(package, tmp_path):
    pytest.importorskip("onnxruntime")
    (written,) = export_files(case_of("cgan").ready(), tmp_path / "page", format="web", runtime=package)
    assert sorted(p.name for p in (tmp_path / "page").iterdir()) == sorted(["index.html", "model.onnx", *web.FILES])
    about = told(tmp_path / "page")
    assert about["part"] == written.part == "decode"
    assert about["latents"]["columns"][1] == {"from": 4, "to": 14, "law": "one-hot of 10, equally likely"}
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page, "nothing is fetched from elsewhere"


def test_a_package_is_taken_only_with_its_digests(package, tmp_path):
    folder = tmp_path / "installed" / "dist"
    folder.mkdir(parents=True)
    for name in web.FILES:
        (folder / name).write_bytes(name.encode())
    assert web.runtime_files(package) == web.runtime_files(folder.parent) == {n: n.encode() for n in web.FILES}
    (folder / "ort.wasm.min.mjs").write_text("another")
    with pytest.raises(UserError, match=r"ort.wasm.min.mjs is not that of onnxruntime-web@1.30.0"):
        web.runtime_files(folder.parent)
    (folder / "ort.wasm.min.mjs").unlink()
    with pytest.raises(UserError, match=r"has no ort.wasm.min.mjs"):
        web.runtime_files(folder.parent)
    with pytest.raises(UserError, match=r"is no package: give onnxruntime-web-1.30.0.tgz"):
        web.runtime_files(tmp_path / "none.tgz")


def test_without_npm_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        UserError, match=r"npm, which fetches it, is not installed: run 'npm pack onnxruntime-web@1.30.0'"
    ):
        web.runtime_files(None)


def test_what_was_fetched_is_checked_and_kept(package, monkeypatch, tmp_path):
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    asked = []

    def npm(command, cwd, **how):
        asked.append(command[1:])
        shutil.copy(package, cwd)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(shutil, "which", lambda name: "npm")
    monkeypatch.setattr(subprocess, "run", npm)
    assert web.runtime_files(None) == web.runtime_files(None)
    assert asked == [["pack", "onnxruntime-web@1.30.0", "--silent", "--ignore-scripts"]], (
        "the second time it is in the cache"
    )


@pytest.mark.parametrize(
    ("name", "part"), [("vae", "encode"), ("context-encoder", "complete"), ("autoencoder", "decode"), ("gan-3d", None)]
)
def test_what_a_page_cannot_show_is_refused(name, part, package, tmp_path):
    with pytest.raises(UserError, match="a page draws images, or translates a picture"):
        export_files(case_of(name).ready(), tmp_path / "page", format="web", part=part, runtime=package)
    assert not (tmp_path / "page").exists()


# ---- in a browser ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path):
    """Open a page of a folder in headless Chromium, from a server of files on this machine alone, and return its pictures."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program or not RUNTIME:
        pytest.skip("needs chromium, and GENZOO_TEST_ONNXRUNTIME_WEB: the package onnxruntime-web")
    folder = tmp_path / "page"
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *a: None})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def pictures(fragment):
        command = [
            program,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
        ]
        command += [
            "--virtual-time-budget=60000",
            "--dump-dom",
            f"http://127.0.0.1:{server.server_port}/index.html#{fragment}",
        ]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
        state = re.search(r'<p id="state">(.*?)</p>', dom)[1]
        assert state.startswith("done"), state
        found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', dom)
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(f))).convert("RGB")) for f in found]

    yield folder, pictures
    server.shutdown()
    server.server_close()


def grey_levels(images):
    """Images [N, C, H, W] in [-1, 1] as bytes [N, H, W, 3]."""
    levels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    return levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


@pytest.mark.slow
def test_a_browser_draws_what_torch_draws(browser):
    folder, pictures = browser
    system = case_of("cgan").ready()
    export_files(system, folder, format="web", runtime=RUNTIME)
    z = system.sample_prior(3, generator=torch.Generator().manual_seed(2))
    found = pictures("z=" + ",".join(f"{v:.9g}" for v in z.flatten().tolist()))
    wanted = grey_levels(system.decode(z))
    assert len(found) == 3
    assert np.abs(np.stack(found).astype(int) - wanted).max() <= 1
    assert len(pictures("")) == 16


@pytest.mark.slow
def test_a_browser_translates_what_torch_translates(browser):
    folder, pictures = browser
    system = case_of("cyclegan").ready()
    export_files(system, folder, format="web", part="b2a", runtime=RUNTIME)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "given.png")
    (found,) = pictures("image=given.png")
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    wanted = grey_levels(system.translate(x, direction="b2a"))[0]
    assert np.abs(found.astype(int) - wanted).max() <= 1
