"""What a server counts, in the form that Prometheus reads: GET /metrics."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server.

    Args:
        name: The model's name.
        system: The system's name.
        version: genzoo's.
    """

    def __init__(self, name: str, system: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "genzoo_requests", "Requests that were answered.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "genzoo_request_seconds", "From a request to its answer.", ["path"], buckets=SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "genzoo_joined_requests", "Requests that were computed together.", buckets=SIZES, registry=self.registry
        )
        self.examples = Counter(
            "genzoo_examples", "Examples that were computed in joined requests.", registry=self.registry
        )
        self.waiting = Gauge("genzoo_waiting", "Requests that wait.", registry=self.registry)
        self.running = Gauge("genzoo_running", "Jobs that run.", registry=self.registry)
        Info("genzoo_model", "What is served.", registry=self.registry).info(
            {"name": name, "system": system, "version": version}
        )

    def joined(self, requests: int, examples: int) -> None:
        """Note that requests were computed together."""
        self.batches.observe(requests)
        self.examples.inc(examples)

    def text(self) -> bytes:
        """Write everything in the exposition format."""
        return generate_latest(self.registry)


class Counting:
    """Count every request of an application, by its path where it is one of ours.

    Args:
        app: The application.
        metrics: The counters.
        paths: Its paths; what a client makes up is counted as "other".
    """

    def __init__(self, app: Any, metrics: Metrics, paths: Collection[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request pass, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def sent(message: Any) -> None:
            nonlocal status
            status = message["status"] if message["type"] == "http.response.start" else status
            await send(message)

        try:
            await self.app(scope, receive, sent)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - begun)
