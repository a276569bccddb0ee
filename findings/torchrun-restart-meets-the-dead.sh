#!/usr/bin/env bash
# torch 2.13.0: processes that torchrun starts again (--max-restarts) and the store in which they meet.
# One would guess: an attempt meets afresh. torch's own source says so (distributed/rendezvous.py, _create_c10d_store: "We create a
#   new TCPStore for every retry so no need to add prefix for each attempt"), and init_process_group waits for those that are late.
# What happens: the launcher keeps one store for all attempts (dynamic_rendezvous.py builds it where there is none yet, at the first
#   rendezvous), and what the first attempt wrote is read by the second. With gloo that is the addresses of processes that are
#   dead: a rank that is quicker than another by some tenths of a second connects to its predecessor, is refused, and fails; a further
#   attempt of --max-restarts is gone. It looks like a race of the network. TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on the launcher, or a
#   store of one's own with TORCHELASTIC_RESTART_COUNT in its prefix, mends it.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import os, sys, time, torch.distributed as dist
rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
if attempt == 1 and rank == 0:
    time.sleep(15)                                              # rank 0 is late; rank 1 should wait for it
begun = time.time()
try:
    dist.init_process_group("gloo")
    print(f"attempt {attempt}, rank {rank}: met after {time.time() - begun:.0f} s", flush=True)
except RuntimeError as error:
    print(f"attempt {attempt}, rank {rank}: failed after {time.time() - begun:.0f} s: {str(error)[:60]}", flush=True)
    os._exit(1)
if attempt == 0:
    dist.barrier()
    os._exit(1 if rank == 0 else 0)                             # something goes wrong once
os._exit(0)
P
run() { env "$@" v/bin/torchrun --standalone --nproc-per-node 2 --max-restarts 1 t.py 2>/dev/null | grep attempt > said || true; cat said; }
echo "one store for all attempts:"; run A=1
grep -q "attempt 1, rank 1: failed" said || { echo "it waits: this has changed"; exit 1; }
echo "a store for each attempt:"; run TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
grep -q "attempt 1, rank 1: met" said
