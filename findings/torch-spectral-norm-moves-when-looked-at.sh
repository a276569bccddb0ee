#!/usr/bin/env bash
# To look at a spectrally normalized weight in training mode is to train it: the run with a log of norms is another run.
#
# One would guess: `torch.nn.utils.parametrizations.spectral_norm` does one step of its power iteration in each forward pass, as the paper has
# it (arXiv:1802.05957, algorithm 1), and `layer.weight` is what that pass used; to print its norm, to plot it or to compare it changes nothing.
# What happens: the parametrization is computed at each reading of `weight`, and in training mode each computation moves the vectors u and v
# one step on, in place. Two readings of the same weight differ, and a discriminator whose weights are looked at once a step ends elsewhere
# than its twin of the same seed. In `eval()` nothing moves. Who logs such weights looks in `eval()`, or at
# `parametrizations.weight.original`; within `parametrize.cached()` all readings, the forward pass among them, are one.
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > try.py <<'PY'
import warnings

warnings.simplefilter("ignore")

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


def trained(look):
    torch.manual_seed(0)
    net = nn.Sequential(*(parametrizations.spectral_norm(nn.Linear(16, 16), eps=1e-12) for _ in range(2)), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(20):
        loss = torch.relu(1 - net(torch.randn(8, 16))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        look(net)
    return net


def norms(net):
    return [layer.weight.norm().item() for layer in net]


def norms_together(net):
    net.eval()
    found = norms(net)
    net.train()
    return found


blind, logged, careful = trained(lambda net: None), trained(norms), trained(norms_together)
x = torch.randn(4, 16)
blind.eval(), logged.eval(), careful.eval()
layer = blind.train()[0]
with torch.no_grad():
    first, second = layer.weight.clone(), layer.weight.clone()
    print("differ" if not torch.equal(first, second) else "equal", end=" ")
    with parametrize.cached():
        print("differ" if not torch.equal(layer.weight, layer.weight) else "equal", end=" ")
gap = max((a - b).abs().max().item() for a, b in zip(blind.parameters(), logged.parameters()))
same = all(torch.equal(a, b) for a, b in zip(blind.parameters(), careful.parameters()))
print("elsewhere" if gap > 1e-4 else "same", "same" if same else "elsewhere")
PY
v/bin/python try.py > out
echo "two readings, two readings cached, trained with a log of norms, with one in eval mode: $(cat out)"
[ "$(cat out)" = "differ equal elsewhere same" ]
