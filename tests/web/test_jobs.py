"""Jobs: their order, their bounds, how they end, and that nothing of them stays."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch

import genzoo
from genzoo.core.errors import UserError
from genzoo.testing import case_of
from genzoo.web import jobs as module
from genzoo.web.errors import NotFound, Refused
from genzoo.web.jobs import Jobs, stoppable
from tests.serving import wait_for


@pytest.fixture
def jobs():
    made = Jobs(workers=2, waiting=3)
    yield made
    made.close(0.0)


class Gate:
    """Work that waits until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, job):
        self.begun.set()
        while not self.go.wait(0.005):
            job.check()
        return "done"


def test_one_job_at_a_time_for_a_model(jobs):
    first, second, other = Gate(), Gate(), Gate()
    a, b = jobs.submit("m", first), jobs.submit("m", second)
    c = jobs.submit("other", other)
    assert first.begun.wait(5)
    assert other.begun.wait(5), "another model's does not wait for it"
    assert not second.begun.wait(0.05)
    assert (jobs.position(a), jobs.position(b), jobs.shown(b)["position"]) == (0, 1, 1)
    assert jobs.counts() == (1, 2)
    first.go.set()
    assert second.begun.wait(5)
    assert jobs.position(b) == 0
    second.go.set()
    other.go.set()
    assert all(j.wait(5) for j in (a, b, c))
    assert [j.outcome() for j in (a, b, c)] == ["done"] * 3


def test_a_full_queue_says_when_to_come_again(jobs):
    gate = Gate()
    jobs.submit("m", gate)
    assert gate.begun.wait(5)
    for _ in range(3):
        jobs.submit("m", gate)
    with pytest.raises(Refused, match="3 requests are waiting") as refused:
        jobs.submit("m", gate)
    assert refused.value.status == 503
    assert int(refused.value.headers["Retry-After"]) >= 1
    gate.go.set()


def test_cancel_stops_what_waits_and_what_runs(jobs):
    gate = Gate()
    running, waiting = jobs.submit("m", gate), jobs.submit("m", gate)
    assert gate.begun.wait(5)
    jobs.cancel(waiting)
    assert waiting.over
    assert waiting.state == "cancelled"
    jobs.cancel(running)
    assert running.wait(5)
    with pytest.raises(Refused, match="cancelled") as refused:
        running.outcome()
    assert refused.value.status == 409
    assert jobs.submit("m", lambda job: 7).wait(5), "the place is free again"


@pytest.mark.parametrize("name", ["gated-pixelcnn", "dcgan", "vae", "realnvp", "token-prior", "wavenet"])
def test_cancel_stops_a_system_inside_of_its_work(jobs, name):
    """No system knows of jobs: its modules ask, and drawing tells."""
    system = stoppable(case_of(name).ready())
    passed = []

    def work(job):
        def halt(module, inputs):
            passed.append(1)
            job.cancel()  # while the first module is at work

        system.get_submodule("").apply(lambda m: m.register_forward_pre_hook(halt))
        return genzoo.sample(system, n=300, batch=2)

    job = jobs.submit("m", work)
    assert job.wait(60)
    assert job.state == "cancelled"
    assert len(passed) <= 1


def test_a_stoppable_system_gives_what_it_gave():
    plain, asked = case_of("vae").ready(), stoppable(case_of("vae").ready())
    assert torch.equal(genzoo.sample(plain, n=3), genzoo.sample(asked, n=3))


def test_progress_is_told_by_what_draws(jobs, monkeypatch):
    seen = []
    system = case_of("dcgan").ready()
    tell = module.Job.tell
    monkeypatch.setattr(module.Job, "tell", lambda job, *told: (seen.append(told), tell(job, *told)))
    job = jobs.submit("m", lambda job: genzoo.sample(system, n=5, batch=2))
    assert job.wait(60)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert (job.done, job.total) == (5, 5)


def test_a_closed_tab_frees_the_place(jobs, monkeypatch):
    monkeypatch.setattr(module, "FORGOTTEN", 0.2)
    gate = Gate()
    seen = jobs.submit("m", gate, watched=True)
    left = jobs.submit("m", Gate(), watched=True)
    assert gate.begun.wait(5)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert jobs.find(seen.id) is seen
        time.sleep(0.02)
    assert left.state == "cancelled", "nobody has asked for it"
    assert seen.state == "running"
    wait_for(lambda: seen.over or not jobs.counts()[1], 5)
    assert seen.state == "cancelled", "and the other one now as well"


def test_what_is_over_is_forgotten(jobs, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 0.1)
    job = jobs.submit("m", lambda job: 1, watched=True)
    assert job.wait(5)
    assert jobs.shown(jobs.find(job.id))["state"] == "done"
    time.sleep(0.2)
    with pytest.raises(NotFound, match="no such job"):
        jobs.find(job.id)
    with pytest.raises(NotFound):
        jobs.find("../../etc/passwd")


def test_mistakes_are_the_jobs_own(jobs):
    def wrong(job):
        raise UserError("give n=")

    job = jobs.submit("m", wrong, watched=True)
    assert job.wait(5)
    assert {k: jobs.shown(job)[k] for k in ("state", "status", "error")} == {
        "state": "failed",
        "status": 422,
        "error": "give n=",
    }
    with pytest.raises(UserError, match="give n="):
        job.outcome()
    assert jobs.submit("m", lambda job: 2).wait(5)


def test_nothing_of_a_job_stays(jobs):
    class Large:
        pass

    held = Large()
    seen = weakref.ref(held)

    def work(job, held=held):
        raise UserError("no") if held is None else UserError("with a frame that holds it")

    job = jobs.submit("m", work)
    del held, work
    assert job.wait(5)
    time.sleep(0.05)
    gc.collect()
    assert seen() is None


def test_closing_ends_everything():
    jobs = Jobs(workers=1)
    gate = Gate()
    running, waiting = jobs.submit("m", gate), jobs.submit("m", gate)
    assert gate.begun.wait(5)
    threading.Timer(0.1, gate.go.set).start()
    jobs.close(5.0)
    assert (running.state, waiting.state) == ("done", "cancelled"), "what runs is finished"
    with pytest.raises(Refused, match="shutting down"):
        jobs.submit("m", gate)
    assert not any(t.is_alive() for t in jobs._threads)
