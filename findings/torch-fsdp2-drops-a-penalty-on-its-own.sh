#!/usr/bin/env bash
# torch 2.13.0: FSDP2 (fully_shard) and a penalty on gradients (WGAN-GP, R1), which is differentiated twice.
# One would guess: either it works, or it says that it does not. It may be told to keep parameters whole until they are cut again
#   (reshard_after_forward=False, set_reshard_after_backward(False)), so that nothing that a second derivative needs has gone.
# What happens: by default the backward pass ends with "setStorage: ... out of bounds for storage of size 0", which names neither FSDP nor a
#   cause. With parameters kept whole, score + penalty is right, to the last bit but rounding. But the penalty by itself, sent back onto the
#   parameters of one player (backward(inputs=...), as a game of two has it; lazy R1 is such an update), is computed and then dropped: the
#   gradients of a net that is one group are None on all ranks, the optimizer skips them, and nothing is said. One group for each layer
#   has them, and so has backward() without inputs: what is missing is the hook at the net's inputs or outputs, which no gradient of the
#   second pass goes through.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import os, torch, torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(1)
rows = torch.randn(8, 4)
if rank == 0:
    print("torch", torch.__version__, flush=True)

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

def penalty(f, x):
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return ((slope.norm(dim=1) - 1) ** 2).mean()

def both(f, x):
    return f(x).mean() + penalty(f, x)

def trial(title, loss, keep=True, layers=False, inputs=True):
    plain, f, how = net(), net(), {"reshard_after_forward": False} if keep else {}
    loss(plain, rows).backward()
    for m in [f[0], f[2]] if layers else []:
        fully_shard(m, **how)
    fully_shard(f, **how)
    if keep:
        f.set_reshard_after_backward(False)
    try:
        made = loss(f, rows.chunk(2)[rank])
        # after a forward pass that keeps them, parameters() are the whole ones, which autograd knows
        torch.autograd.backward(made, inputs=list(f.parameters()) if inputs else None)
    except RuntimeError as error:
        found = str(error)[:40]
    else:
        for m in f.modules():
            if isinstance(m, FSDPModule):
                m.reshard()
        pairs = [(p, q) for p, q in zip(f.parameters(), plain.parameters()) if q.grad is not None]
        right = all(p.grad is not None and torch.allclose(p.grad.full_tensor(), q.grad, atol=1e-6) for p, q in pairs)
        found = "right" if right else "no gradient" if all(p.grad is None for p, _ in pairs) else "wrong"
    if rank == 0:
        print(f"{title}: {found}", flush=True)

trial("default, score + penalty", both, keep=False, inputs=False)
trial("kept, score + penalty", both)
trial("kept, penalty", penalty)
trial("kept, penalty, a group for each layer", penalty, layers=True)
trial("kept, penalty, backward() without inputs", penalty, inputs=False)
dist.barrier()
os._exit(0)
P
v/bin/torchrun --standalone --nproc-per-node 2 t.py 2>/dev/null | tee said
grep -q "^default, score + penalty: setStorage" said
grep -q "^kept, score + penalty: right" said
grep -q "^kept, penalty: no gradient" said || { echo "it is not dropped: this has changed"; exit 1; }
grep -q "^kept, penalty, a group for each layer: right" said
grep -q "^kept, penalty, backward() without inputs: right" said
