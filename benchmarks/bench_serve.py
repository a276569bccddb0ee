"""Throughput of `genzoo serve` on dcgan: 16 clients whose waiting requests are joined, beside the same with joining off, and beside one client.

A server in a process of its own, clients in threads of another (over the standard library's HTTP client, which costs little), every request one
sample as PNG, each with another seed. Printed: requests in a second, median and 95th percentile of the wait, how many requests went together, and
what a request costs the server in CPU time, which tells most where the machine does other work as well; and what the model takes by itself.
Also how long the server takes until it answers, from the start of its process. The order alternates, so that what else the machine does hits both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import tempfile
import threading
import time
from pathlib import Path

import torch

import genzoo
from genzoo.runs.folder import Run, write_model
from genzoo.saved.loading import describe
from genzoo.server.verbs.sample import draw
from tests.serving import Started


class Served(Started):
    """A server in a process of its own, and its clients."""

    def __init__(self, *words: str) -> None:
        begun = time.perf_counter()
        super().__init__(*words)
        self.ready = time.perf_counter() - begun

    def draw(self, connection: http.client.HTTPConnection, seed: int) -> None:
        """Draw one sample."""
        body = json.dumps({"n": 1, "seed": seed})
        connection.request("POST", "/sample", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        assert data.startswith(b"\x89PNG")

    def load(self, clients: int, seconds: float) -> tuple[float, list[float]]:
        """Let clients ask one request after the other: requests in a second, and how long each took."""
        waits: list[float] = []
        end = time.perf_counter() + seconds
        begun = time.perf_counter()

        def client(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            seed = number * 1_000_000
            while time.perf_counter() < end:
                start = time.perf_counter()
                self.draw(connection, seed)
                waits.append(time.perf_counter() - start)
                seed += 1
            connection.close()

        threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return len(waits) / (time.perf_counter() - begun), waits

    def counted(self, name: str) -> float:
        """Read a counter of its metrics."""
        _, text = self.ask("GET", "/metrics")
        found = re.search(rf"^{name} (\S+)", text.decode(), re.MULTILINE)
        assert found
        return float(found[1])

    def together(self) -> float:
        """Mean number of requests that went together so far."""
        return self.counted("genzoo_joined_requests_sum") / self.counted("genzoo_joined_requests_count")


def model(folder: Path, size: int, width: int) -> Path:
    """Write an untrained dcgan, which costs what a trained one does."""
    torch.manual_seed(0)
    system = genzoo.create("dcgan", shape=(3, size, size), width=width)
    run = Run(folder / "dcgan")
    write_model(run, system.state_dict(), describe(system))
    return run.path


def bare(run: Path, n: int, device: str) -> float:
    """Milliseconds that the model takes for each of n samples drawn together, without a server: the median of twenty rounds."""
    system, took = genzoo.load(run, device=device), []
    for i in range(25):
        begun = time.perf_counter()
        draw(system, [[(i, j)] for j in range(n)], {})
        took.append(time.perf_counter() - begun)
    return 1000 * statistics.median(took[5:]) / n


def main() -> int:
    """Print the table; 1 where joining gives less than three times the throughput."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # as the servers have
    cases = {
        f"{asked.clients} clients, joined": (asked.clients, ()),
        f"{asked.clients} clients, one by one": (asked.clients, ("together=1",)),
        "1 client": (1, ()),
    }
    with tempfile.TemporaryDirectory() as folder:
        run = model(Path(folder), asked.size, asked.width)
        servers = {
            name: Served(str(run), f"device={asked.device}", "waiting=256", *words)
            for name, (_, words) in cases.items()
        }
        rates: dict[str, list[float]] = {name: [] for name in cases}
        waits: dict[str, list[float]] = {name: [] for name in cases}
        costs: dict[str, float] = dict.fromkeys(cases, 0.0)
        try:
            for name, server in servers.items():
                server.load(cases[name][0], 1.0)  # the first requests pay for what is made once
            for _ in range(asked.rounds):
                for name, server in servers.items():
                    before = server.counted("process_cpu_seconds_total")
                    rate, took = server.load(cases[name][0], asked.seconds)
                    costs[name] += server.counted("process_cpu_seconds_total") - before
                    rates[name].append(rate)
                    waits[name] += took
            gathered = {name: server.together() for name, server in servers.items()}
        finally:
            for server in servers.values():
                server.end()
        joined_by = max(1, round(gathered[f"{asked.clients} clients, joined"]))
        alone_ms, each_ms = (bare(run, n, asked.device) for n in (1, joined_by))
    print(
        f"dcgan 3x{asked.size}x{asked.size}, width {asked.width}, {asked.device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    for name in cases:
        took = sorted(waits[name])
        print(
            f"{name:26} {statistics.median(rates[name]):8.1f} requests/s   wait {1000 * statistics.median(took):7.1f} ms, "
            f"95 % below {1000 * took[int(0.95 * len(took))]:7.1f} ms   {gathered[name]:5.1f} together   "
            f"{1000 * costs[name] / len(took):6.1f} CPU-ms each"
        )
    joined, single, alone = (statistics.median(r) for r in rates.values())
    ready = statistics.median(s.ready for s in servers.values())
    cost = {name: costs[name] / len(waits[name]) for name in cases}
    saved = cost[f"{asked.clients} clients, one by one"] / cost[f"{asked.clients} clients, joined"]
    print(
        f"joined to one by one: {joined / single:.2f}x, in CPU time {saved:.2f}x; joined to one client: {joined / alone:.2f}x"
    )
    print(
        f"without a server: {alone_ms:.1f} ms for one sample, {each_ms:.1f} ms each for {joined_by} together: "
        f"no more than {1000 / each_ms:.0f} requests/s however little a request costs besides"
    )
    print(f"ready after {ready:.1f} s (three servers were started one after the other)")
    return int(joined < 3 * single)


if __name__ == "__main__":
    raise SystemExit(main())
