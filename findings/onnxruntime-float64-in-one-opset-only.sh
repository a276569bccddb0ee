#!/usr/bin/env bash
# onnxruntime opens a float64 Softplus in a file of opset 18, and in no older and no newer one: the newer the file, the fewer models open.
#
# One would guess: a runtime has float64 of an operation or has not; where the operation has not changed between two versions of the
# standard, a file of the newer version opens if one of the older does.
# What happens: the CPU provider has no float64 kernel for Softplus, Softsign, Elu and HardSigmoid. ONNX also defines each by a body of simpler operations,
# which has float64, and onnxruntime falls back on the body only where the file's opset is the one that the body was written for: 18. With 17, 19, 20
# (torch.onnx.export's default) and 22 the session is refused with NOT_IMPLEMENTED, though the operation is the same (Softplus: version 1 until 21).
# Exp, Log, Tanh, Sigmoid have kernels of float64 and open everywhere. So a graph of float64 is written with those: -log(sigmoid(-x)) is softplus(x).
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > try.py <<'PY'
import onnx
import onnxruntime
from onnx import TensorProto, helper


def opens(op, opset):
    x, y = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [2, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        return "no" if "NOT_IMPLEMENTED" in str(error) else repr(error)
    return "yes"


for op in ("Exp", "Sigmoid", "Softplus", "Softsign", "Elu", "HardSigmoid"):
    print(op, *(opens(op, opset) for opset in (17, 18, 19, 20, 22)))
PY
v/bin/python try.py > out 2> err; echo "float64, opset 17 18 19 20 22"; cat out
printf '%s yes yes yes yes yes\n' Exp Sigmoid > wanted
printf '%s no yes no no no\n' Softplus Softsign Elu HardSigmoid >> wanted
cmp out wanted
