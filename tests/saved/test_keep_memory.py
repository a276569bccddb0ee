"""Freed memory that a process keeps for its next step."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from genzoo.saved import devices

STEPS = """
import resource, torch
from genzoo.saved.devices import keep_memory
torch.set_num_threads(1)
if {kept}:
    keep_memory()
def step():
    return sum(float(x.sum()) for x in [torch.ones(2**20) for _ in range(40)])  # 160 MB at once, then freed
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    devices.keep_memory.cache_clear()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted as Linux counts them")
def test_a_step_meets_the_pages_of_the_last_one() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", STEPS.format(kept=kept)], capture_output=True, text=True, check=True
            ).stdout
        )
        for kept in (True, False)
    ]
    if faults[1] < 1000:
        pytest.skip("this C library keeps memory by itself")
    assert faults[0] < faults[1] / 10


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_environment_says_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    library = types.SimpleNamespace(mallopt=lambda key, value: told.append((key, value)))
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda _: library)
    monkeypatch.setenv(name, "1")
    devices.keep_memory()
    assert not told
    monkeypatch.delenv(name)
    devices.keep_memory.cache_clear()
    devices.keep_memory()
    assert [key for key, _ in told] == [-3, -1]


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_another_c_library_is_left_alone(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def absent(name: object) -> None:
        asked.append(name)
        raise error

    monkeypatch.setattr(devices.ctypes, "CDLL", absent)
    devices.keep_memory()
    assert asked == [None]
