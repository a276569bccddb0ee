#!/usr/bin/env bash
# torch 2.13.0: torch.utils.flop_counter.FlopCounterMode on a convolution in groups (by depth: as many groups as channels).
# One would guess: the gradient of the maps and that of the filters have the operations of the forward pass each, so that a whole step counts
#   three times the forward pass, as everybody reckons and as it is without groups.
# What happens: the forward pass and the gradient of the maps are counted so. The gradient of the filters is counted as that of a convolution
#   without groups: with 32 groups 32 times the forward pass, and a step 34 times. Shares of a processor's limit that are taken from it come out
#   too high wherever such filters learn. The number of operations is reckoned by hand below.
# Versions: torch 2.13.0 (CPU), Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > t.py <<'P'
import torch
from torch.utils.flop_counter import FlopCounterMode
print("torch", torch.__version__)
batch, channels, side, taps = 2, 32, 16, 9


def counted(work):
    with FlopCounterMode(display=False) as counter:
        found = work()
    return counter.get_total_flops(), found


for groups in (1, 4, 32):
    x = torch.randn(batch, channels, side, side, requires_grad=True)
    conv = torch.nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
    by_hand = 2 * batch * channels * side * side * taps * channels // groups
    forward, y = counted(lambda: conv(x))
    total = y.sum()
    maps, _ = counted(lambda: torch.autograd.grad(total, x, retain_graph=True))
    filters, _ = counted(lambda: torch.autograd.grad(total, conv.weight, retain_graph=True))
    print(f"groups {groups}: of {by_hand} operations forward {forward / by_hand:g}, maps {maps / by_hand:g}, filters {filters / by_hand:g}")
P
v/bin/python t.py 2>/dev/null | tee said
grep -q "groups 1: .* forward 1, maps 1, filters 1$" said
grep -q "groups 4: .* forward 1, maps 1, filters 4$" said
grep -q "groups 32: .* forward 1, maps 1, filters 32$" said || { echo "it counts groups now: this has changed"; exit 1; }
