#!/usr/bin/env bash
# torch 2.13.0 on the CPU: the same row, alone and in a batch, in eval mode, float32, one thread, deterministic algorithms on.
# One would guess: a row of a linear layer or of a convolution does not depend on how many other rows there are; and if last bits do
#   move, torch.use_deterministic_algorithms(True) and one thread hold them.
# What happens: row 0 of Linear(512, 256) alone differs in most of its outputs from row 0 of a batch (matrix-vector and matrix-matrix
#   kernels add in other orders); neither setting changes that. Among batches of several sizes there is more than one answer. What does hold
#   is one batch SIZE: with 64 rows, row 0 is the same whatever stands in the other 63. So an entropy coder that is to decode what
#   another process has encoded (integer frequencies from these floats) needs one fixed batch size, padded, on both sides.
# Versions: torch 2.13.0+cpu, x86-64 with AVX2, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu 2>/dev/null || v/bin/pip -q install torch==2.13.0
cat > t.py <<'P'
import sys
import torch
torch.manual_seed(0); torch.set_num_threads(1); torch.use_deterministic_algorithms(True)
x, found = torch.randn(64, 512), {}
linear, conv = torch.nn.Linear(512, 256).eval(), torch.nn.Conv2d(32, 32, 3).eval()
with torch.no_grad():
    for name, net, rows in (("linear", linear, x), ("conv 3x3 of 4x4", conv, x.view(64, 32, 4, 4))):
        answers = {n: net(rows[:n])[0] for n in (1, 2, 5, 16, 63, 64)}
        other = rows.clone(); other[1:] = torch.randn_like(other[1:])
        differ = [n for n, a in answers.items() if not torch.equal(a, answers[64])]
        found[name] = bool(differ), torch.equal(net(other)[0], answers[64])
        share = (answers[1] != answers[64]).float().mean().item()
        print(f"{name}: row 0 is another one than in a batch of 64 when the batch is {differ}; alone {share:.0%} of its numbers differ;"
              f" {len({tuple(a.flatten().tolist()) for a in answers.values()})} different answers;"
              f" with 63 other rows beside it in a batch of 64 the same: {found[name][1]}")
sys.exit(0 if found["linear"] == (True, True) and found["conv 3x3 of 4x4"][1] else 1)
P
v/bin/python t.py 2>/dev/null
