#!/usr/bin/env bash
# The first operation under a TorchDispatchMode of one's own imports torch's compiler: over 800 modules, and more than a second.
#
# One would guess: a dispatch mode is a hook of eager PyTorch; to count allocations of a block with one costs what its Python costs, and
# nothing of torch.compile is touched as long as nothing is compiled.
# What happens: torch wraps the method that the class body defines so that the compiler leaves it alone, and that wrapper imports
# torch._dynamo when it is first called. A method that is assigned once the class is made is not wrapped, does the same, and imports nothing;
# so a program that only loads a small model starts in little more than the time of torch.
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > try.py <<'PY'
import sys
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def count(self, func, types, args=(), kwargs=None):
    self.calls += 1
    return func(*args, **(kwargs or {}))


if sys.argv[1] == "body":

    class Count(TorchDispatchMode):
        __torch_dispatch__ = count

else:

    class Count(TorchDispatchMode):
        pass

    Count.__torch_dispatch__ = count

mode = Count()
mode.calls = 0
modules, start = len(sys.modules), time.process_time()
with mode:
    torch.ones(3) * 2
print(mode.calls, len(sys.modules) - modules, "torch._dynamo" in sys.modules, f"{time.process_time() - start:.2f}")
PY
for where in body after; do v/bin/python try.py $where > $where; echo "method given $where: calls, modules imported, compiler imported, CPU seconds: $(cat $where)"; done
read -r calls modules compiler _ < body
[ "$calls" = 2 ] && [ "$modules" -gt 500 ] && [ "$compiler" = True ]
read -r calls modules compiler _ < after
[ "$calls" = 2 ] && [ "$modules" -lt 10 ] && [ "$compiler" = False ]
