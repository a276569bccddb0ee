#!/usr/bin/env bash
# torch 2.13.0: torchrun --nnodes=1:2, a run that has begun on one host, and a second host that comes later (elastic, c10d rendezvous).
# One would guess: "membership change: scale-up": all processes are started again with both hosts. The documents of torchrun say so.
# What happens: both launchers end with an error, and the run that was well is lost. Launchers share one store for all attempts, and
#   DynamicRendezvousHandler.next_rendezvous writes its address (MASTER_ADDR) only in the round in which it is made; the keys of a round
#   have the round in their prefix, so the host that comes waits for an address that nobody writes for this round, and the first one
#   waits for the second (torchelastic/role_info/1), until both run out of time (read_timeout, 60 s). --max-restarts does not help: it is
#   the launcher itself that ends. TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on the launchers mends it.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import os, time
world, end = os.environ["WORLD_SIZE"], time.time() + (60 if os.environ["WORLD_SIZE"] == "1" else 1)
print(f"world of {world}, rank {os.environ['RANK']}", flush=True)
while time.time() < end:                                        # alone it works for a minute
    time.sleep(0.1)
P
launcher() {
  v/bin/torchrun --nnodes=1:2 --nproc-per-node=1 --max-restarts=3 --rdzv-backend=c10d --rdzv-endpoint="127.0.0.1:$1" \
    --rdzv-conf=last_call_timeout=1,read_timeout=15 --local-addr=127.0.0.1 t.py
}
run() {
  launcher "$1" > first 2>&1 & a=$!
  for _ in $(seq 120); do grep -q "world of 1" first && break; sleep 0.5; done
  launcher "$1" > second 2>&1 & b=$!
  first=0; wait $a || first=$?; second=0; wait $b || second=$?
  grep -h "^world" first second || true
  grep -ho "wait timeout after.*" first second || true
  echo "the launchers end with $first and $second"
}
python3 --version; v/bin/python -c 'import torch; print("torch", torch.__version__)'
echo "one store for all attempts:"; run 29731
[ "$first" != 0 ] && [ "$second" != 0 ] || { echo "the second host has joined: this has changed"; exit 1; }
echo "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1:"; export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1; run 29732
[ "$first" = 0 ] && [ "$second" = 0 ] && grep -q "world of 2" second
