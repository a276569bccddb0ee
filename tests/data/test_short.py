"""Tasks that are soon done are done here; those that wait or take long by a pool; the order stays."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from genzoo.data.short import in_order


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as made:
        yield made


def work_by(seconds):
    threads = set()

    def work(item):
        threads.add(threading.get_ident())
        time.sleep(seconds)
        return -item

    return work, threads


def test_what_is_soon_done_is_done_here(pool, monkeypatch):
    monkeypatch.setattr("genzoo.data.short._SOON", 60.0)  # whatever else the machine does
    monkeypatch.setattr("genzoo.data.short.time.thread_time", time.perf_counter)
    work, threads = work_by(0)
    assert list(in_order(pool, work, range(200))) == [-i for i in range(200)]
    assert threads == {threading.get_ident()}


def test_what_waits_is_done_by_the_pool_after_the_first_few(pool):
    work, threads = work_by(2e-3)
    assert list(in_order(pool, work, range(70))) == [-i for i in range(70)]
    assert len(threads) > 1


def test_nothing_is_done_before_it_is_asked_for(pool):
    work, threads = work_by(0)
    found = in_order(pool, work, range(3))
    assert threads == set()
    assert list(found) == [0, -1, -2]
