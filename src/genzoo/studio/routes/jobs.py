"""Jobs that a page waits for: what they have done so far, where they stand in the queue, and an end to them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from genzoo.web.app import TheJobs

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


@router.get("")
def every(jobs: TheJobs) -> list[dict[str, Any]]:
    """List the jobs that wait or run, in their order."""
    return [jobs.shown(job) for job in jobs.listed()]


@router.get("/{job}")
def one(job: str, jobs: TheJobs) -> dict[str, Any]:
    """Show a job: state, place in the queue, progress. A job that nobody asks for is cancelled."""
    return jobs.shown(jobs.find(job))


@router.delete("/{job}")
def cancel(job: str, jobs: TheJobs) -> dict[str, Any]:
    """Cancel a job."""
    found = jobs.find(job)
    jobs.cancel(found)
    return jobs.shown(found)
