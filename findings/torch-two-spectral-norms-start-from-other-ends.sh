#!/usr/bin/env bash
# torch's two spectral norms, given the same weight and the same singular vectors, are two different layers while they train.
#
# One would guess: torch.nn.utils.parametrizations.spectral_norm is the old torch.nn.utils.spectral_norm in another form; copy weight, u and v
# of a published discriminator over, and training goes on as it did there (in eval mode the outputs are equal to the last bit).
# What happens: at each use in training the old one renews v from u and then u from v, the new one u from v and then v from u. As long as
# the power iteration has not ended (in a GAN it never quite does) they divide by different numbers: by 16 % at the first use here, and with
# the weights held still they agree again after some ten uses. So a comparison of two programs has to be made in eval mode, or later.
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip install -q torch==2.13.0 numpy==2.4.6
cat > try.py <<'PY'
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(0)
old = nn.utils.spectral_norm(nn.Conv2d(8, 8, 3))
new = nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 3))
layer = new.parametrizations.weight
with torch.no_grad():
    layer.original.copy_(old.weight_orig), new.bias.copy_(old.bias)
    layer[0]._u.copy_(old.weight_u), layer[0]._v.copy_(old.weight_v)
    x = torch.randn(2, 8, 6, 6)


def apart(mode):
    with torch.no_grad():
        a, b = old.train(mode)(x), new.train(mode)(x)
    return ((a - b).abs().max() / a.abs().max()).item()


still = apart(False)
first, *_, last = (apart(True) for _ in range(60))
print(f"eval {still:.1e}, first use in training {first:.1e}, sixtieth {last:.1e}")
assert still == 0
assert first > 0.05
assert last < 1e-4
PY
v/bin/python try.py
