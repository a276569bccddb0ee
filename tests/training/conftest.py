"""Data that the tests of the trainer are run on."""

from __future__ import annotations

import pytest

from tests.conftest import data_for


@pytest.fixture
def data(tmp_path):
    return data_for("dcgan", tmp_path / "data")
