#!/usr/bin/env bash
# A program that torch.export saves holds more than the graph: weights that it does not use, the example inputs, and where the code lay.
#
# One would guess: what is exported of a generator inside a larger module (its `forward` calls the generator alone) is the graph and the
# weights that it reads; the examples serve tracing and are gone afterwards; and nothing of the machine is in a file made to be given away.
# What happens: torch.export.save writes every parameter of the module, a discriminator's too; the example inputs, whole; and for each node
# the path of the source file and the line of code. torch.onnx.export of the same program leaves unused weights and examples out, and keeps
# paths and lines, in the metadata of each node. Whoever gives such files away takes them out before: in the graph, spec by spec, and `example_inputs`.
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, onnx 1.23.2, onnxscript 0.7.2, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2
mkdir somebody
cat > somebody/try.py <<'PY'
import logging
import warnings
import zipfile

import torch
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.G, self.D = nn.Linear(4, 8), nn.Linear(1000, 1000)

    def forward(self, z):
        return torch.tanh(self.G(z))


examples = torch.arange(8.0).view(2, 4) + 12345
program = torch.export.export(Both().eval(), (examples,))
torch.export.save(program, "both.pt2")
entries = {i.filename: zipfile.ZipFile("both.pt2").read(i) for i in zipfile.ZipFile("both.pt2").infolist()}
again = torch.export.load("both.pt2")
print("D" if "D.weight" in again.state_dict else "-", end=" ")
print("examples" if torch.equal(again.example_inputs[0][0], examples) else "-", end=" ")
print("path" if any(b"somebody/try.py" in e for e in entries.values()) else "-", end=" ")
file = torch.onnx.export(program, dynamo=True, verbose=False).model_proto.SerializeToString()
print("D" if len(file) > 1_000_000 else "-", end=" ")
print("path" if b"somebody/try.py" in file else "-")
PY
v/bin/python somebody/try.py > out
echo ".pt2 (unused weights, examples, path) and .onnx (unused weights, path): $(cat out)"
[ "$(cat out)" = "D examples path - path" ]
