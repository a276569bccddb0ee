#!/usr/bin/env bash
# uvicorn 0.54.0 on a listening socket of one's own: socket.socket(AF_INET, SOCK_STREAM), bound and listening, passed as
#   Server.run(sockets=[...]) (to take port 0, or to hold a port before a model is loaded).
# One would guess: an answer takes as long as where uvicorn makes the socket itself (host=, port=); asyncio's documentation says that
#   TCP_NODELAY is set by default on all TCP connections.
# What happens: on a kept-alive connection every answer comes about 40 ms late (Linux). asyncio turns Nagle's algorithm off only where
#   the socket's `proto` is IPPROTO_TCP, and an accepted socket inherits the `proto` that the listening one was made with, here 0,
#   which is the same TCP to the kernel. uvicorn (h11) writes head and body of an answer in two, so the body waits for the client's
#   delayed acknowledgement. socket.socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) mends it.
# Versions: uvicorn 0.54.0, h11 0.16.0, Python 3.11, Linux.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q install uvicorn==0.54.0 h11==0.16.0
cat > t.py <<'P'
import http.client
import socket
import statistics
import sys
import threading
import time

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def wait(protocol):
    """Median milliseconds of a request on one connection to a server whose listening socket was made with a protocol."""
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    own.bind(("127.0.0.1", 0))
    own.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", http="h11", loop="asyncio"))
    thread = threading.Thread(target=server.run, args=([own],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    client, took = http.client.HTTPConnection(*own.getsockname()), []
    for _ in range(40):
        begun = time.perf_counter()
        client.request("GET", "/")
        client.getresponse().read()
        took.append(1000 * (time.perf_counter() - begun))
    client.close()
    server.should_exit = True
    thread.join()
    return statistics.median(took)


plain, said = wait(0), wait(socket.IPPROTO_TCP)
print(f"median wait: protocol 0 {plain:.1f} ms, IPPROTO_TCP {said:.1f} ms")
sys.exit(0 if plain > 30 and plain > 5 * said else 1)
P
v/bin/python t.py
