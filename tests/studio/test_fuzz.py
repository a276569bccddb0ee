"""Every route of the studio under a fuzzer, over real names: no error that nobody foresaw, and every refusal a sentence."""

from __future__ import annotations

import contextlib
import random
import shutil

import pytest

from genzoo.studio.app import studio
from tests.serving import live

NEW_WORK = ("/api/train", "/api/runs/{name}/resume", "/api/runs/{name}/evaluate")
"""POSTs that begin a process: their own tests start some; a fuzzer would start hundreds."""


def test_a_fuzzer_finds_no_error_in_the_studio(runs, tmp_path):
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode

    names = ["vae", "<script>alert(1)<∕script>", "empty"]
    shutil.copytree(runs("vae").path, tmp_path / names[0])
    shutil.copytree(runs("dcgan").path, tmp_path / names[1])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.toml").write_text("")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.safetensors"))
    how = settings(
        max_examples=2,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    app, rng = studio(tmp_path), random.Random(0)
    described = schemathesis.openapi.from_dict(app.openapi())
    seen = set()
    with live(app) as base:
        for found in described.get_all_operations():
            operation = found.ok()
            if operation.method.upper() == "POST" and operation.path in NEW_WORK:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @how
                @given(case=operation.as_strategy(generation_mode=mode))
                def go(case):
                    if "name" in (case.path_parameters or {}) and rng.random() < 0.8:
                        case.path_parameters["name"] = rng.choice(names)
                    answer = case.call(base_url=base)
                    seen.add((case.method, case.path))
                    assert answer.status_code < 500, (case.method, case.path, answer.content)
                    assert b"Traceback" not in answer.content
                    if answer.status_code >= 400:
                        assert answer.json()["error"]

                with contextlib.suppress(Unsatisfiable):
                    go()
    told = {(m.upper(), p) for p, methods in app.openapi()["paths"].items() for m in methods}
    assert seen == told - {("POST", p) for p in NEW_WORK}
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.safetensors")) == before, "no model came or went"
