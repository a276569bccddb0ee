"""Fixtures that several tests of data share."""

import pytest

from tests.data.streams_help import photos, sharded


@pytest.fixture
def local(tmp_path):
    """A set in shards, in a folder of this disk."""
    return sharded(photos(tmp_path / "birds"), tmp_path / "shards")
