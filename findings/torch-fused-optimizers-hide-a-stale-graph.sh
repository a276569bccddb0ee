#!/usr/bin/env bash
# torch 2.13.0: a backward pass through weights that an optimizer has stepped since the forward pass.
# One would guess: "one of the variables needed for gradient computation has been modified by an inplace operation", as ever: it is how the
#   classical mistake of a game is found (the discriminator is stepped, then the generator's loss of before is sent back through it).
# What happens: so it is with Adam and SGD as they come. With fused=True (the fast kernels, here on the CPU) the step does not count in the
#   weights' versions: the backward pass goes through, with the new weights in the place of the old ones, and its gradients are those of no
#   function. The check that everybody relies upon is off, and nothing says so.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import torch
from torch import nn
print("torch", torch.__version__)
for kind in (torch.optim.Adam, torch.optim.SGD):
    for fused in (False, True):
        torch.manual_seed(0)
        judge, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(5, 3, requires_grad=True)
        optimizer = kind(judge.parameters(), lr=0.1, fused=fused)
        early = judge(x).mean()
        (true,) = torch.autograd.grad(early, x, retain_graph=True)
        judge(x.detach()).square().mean().backward()
        version = judge[0].weight._version
        optimizer.step()
        try:
            (found,) = torch.autograd.grad(early, x)
            said = f"no error, gradient off by {float((found - true).norm() / true.norm()):.2f} of its size"
        except RuntimeError as error:
            said = "refused: " + str(error)[:60]
        print(f"{kind.__name__} fused={fused}: version {version} -> {judge[0].weight._version}, {said}")
P
v/bin/python t.py 2>/dev/null | tee said
[ "$(grep -c 'fused=False.*refused' said)" = 2 ]
[ "$(grep -c 'fused=True.*no error' said)" = 2 ] || { echo "it is refused: this has changed"; exit 1; }
! grep -q "off by 0.00" said
