"""Shared fixtures: a private cache, tiny data of every kind, and systems built at their tiny size."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.core.system import System
from genzoo.data import DataSettings
from genzoo.naming import registry
from genzoo.testing import case_of
from genzoo.testing import data as testing_data
from tests.ranks import Ranks

torch.set_num_threads(1)
os.environ.pop(
    "COLUMNS", None
)  # workers of pytest-xdist are born with it (readline sets it in their parent), and tables would be folded to it


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory):
    """Tests neither read nor write the person's cache and data folders."""
    before = {k: os.environ.get(k) for k in ("GENZOO_CACHE", "GENZOO_DATA", "GENZOO_WEIGHTS")}
    os.environ["GENZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("GENZOO_DATA", None)
    os.environ.pop("GENZOO_WEIGHTS", None)
    yield
    for k, v in before.items():
        os.environ.pop(k, None)
        if v is not None:
            os.environ[k] = v


def build(name: str, **overrides: object) -> System:
    """A system or preset at its tiny size."""
    return case_of(name).build(**overrides)


def data_for(name: str, folder: Path, n: int = 24) -> DataSettings:
    """Write a tiny data set that a system at its tiny size trains on."""
    return testing_data.data_for(registry.system_class(name), folder, n)


@pytest.fixture(autouse=True)
def classes_of_one_test(monkeypatch: pytest.MonkeyPatch):
    """A class of one's own that a test trains is unknown to the next one."""
    monkeypatch.setattr(registry, "_given", {})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One tiny finished run for every system that is asked for."""
    made = {}
    root = tmp_path_factory.mktemp("runs")

    def get(name):
        if name not in made:
            cls = registry.system_class(name)
            data = dataclasses.asdict(data_for(name, root / f"data-{name}"))
            own = {k: v for k, v in cls.tiny.items() if k not in ("shape", "vocabulary")}
            made[name] = genzoo.train(name, **data, **own, steps=2, batch=4, runs=str(root / "runs"), quiet=True)
        return made[name]

    return get


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory):
    """Call `two_ranks(function, *args)` for what `function(rank, *args)` gives on either of two ranks."""
    pair = Ranks(tmp_path_factory.mktemp("ranks"))
    yield pair
    pair.end()


@pytest.fixture(scope="session")
def four_ranks(tmp_path_factory):
    """As `two_ranks`, on four."""
    four = Ranks(tmp_path_factory.mktemp("four"), 4)
    yield four
    four.end()


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache for one test, and no data folder of the person's."""
    monkeypatch.setenv("GENZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GENZOO_DATA", raising=False)


@pytest.fixture
def folder(tmp_path):
    """An empty folder for pictures."""
    path = tmp_path / "pictures"
    path.mkdir()
    return path
