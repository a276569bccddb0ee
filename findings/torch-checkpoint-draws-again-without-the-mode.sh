#!/usr/bin/env bash
# torch 2.13.0: a TorchFunctionMode (torch.overrides) around a step, and torch.utils.checkpoint inside of it.
# One would guess: checkpoint restores the state of the generators (preserve_rng_state), and the whole step lies within the `with`, so that
#   what the backward pass computes again draws what was drawn the first time.
# What happens: torch.autograd.backward and .grad are themselves functions that a mode sees, and while the mode's handler runs one of them the
#   mode is off. So what is computed again inside calls plain torch: a mode that changes draws (rows of a whole batch, another dtype) has one noise in the forward pass and
#   another in the backward pass. Nothing is said, since shapes agree; gradients belong to no function. Without a mode both are equal.
#   context_fn= of checkpoint, entered anew for each recomputation, mends it.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import contextlib, torch
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

class SecondHalf(TorchFunctionMode):
    """randn draws twice as many rows and keeps the second half."""
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.randn:
            return func(2 * args[0], *args[1:], **(kwargs or {}))[args[0]:]
        return func(*args, **(kwargs or {}))

drawn = []
def noisy(x):
    noise = torch.randn(2, 3)
    drawn.append(noise)
    return (x * noise).exp()

def step(mode, **how):
    drawn.clear()
    torch.manual_seed(0)
    x = torch.ones(2, 3, requires_grad=True)
    with mode:
        torch.autograd.backward(checkpoint(noisy, x, use_reentrant=False, **how).sum(), inputs=[x])
    assert len(drawn) == 2
    return torch.equal(*drawn)

again = lambda: (contextlib.nullcontext(), SecondHalf())
print(torch.__version__, "no mode:", step(contextlib.nullcontext()), "| a mode:", step(SecondHalf()), "| and context_fn:", step(SecondHalf(), context_fn=again))
P
v/bin/python t.py 2>/dev/null | tee said
grep -q "no mode: True | a mode: False | and context_fn: True" said
