#!/usr/bin/env bash
# constriction 0.5.0 and a table of probabilities that lies in memory by columns (a transposed view, numpy's order="F").
# One would guess: row i of the array that is passed is the distribution of symbol i, whatever the strides, as for any numpy
#   function; or a non-contiguous array is refused.
# What happens: no error. The numbers are read in memory order, as if the table were C-contiguous: symbol i is coded with a "row"
#   made of values of one column. A decoder that is given the same kind of array makes the same mistake, so the round trip is exact
#   and every test of it passes; only the size tells: the file is several times as large as the entropy. A decoder that is given the
#   same probabilities C-contiguous gets wrong symbols or an AssertionError. np.ascontiguousarray mends it.
# Versions: constriction 0.5.0, numpy 2.4.6, Python 3.11.
set -eu
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT; cd "$T"
python3 -m venv v; v/bin/pip -q install constriction==0.5.0 numpy==2.4.6
cat > t.py <<'P'
import sys
import numpy as np
from constriction import stream
r = np.random.default_rng(0)
p = r.dirichlet(np.full(256, 0.05), 4000)                       # [symbols, levels], C-contiguous
s = np.array([r.choice(256, p=row) for row in p], dtype=np.int32)
family = stream.model.Categorical(perfect=False)
def size(table):
    e = stream.queue.RangeEncoder(); e.encode(s, family, table); return e.get_compressed()
rows, columns = size(p), size(np.asfortranarray(p))
entropy = -np.log2(p[np.arange(len(s)), s]).sum() / 8
assert np.array_equal(p, np.asfortranarray(p))                  # equal arrays to numpy
as_read = np.asfortranarray(p).ravel(order="K").reshape(p.shape)  # memory order taken for rows
same = np.array_equal(size(np.ascontiguousarray(as_read)), columns)
trip = (stream.queue.RangeDecoder(columns).decode(family, np.asfortranarray(p)) == s).all()
try:
    crossed = f"{(stream.queue.RangeDecoder(columns).decode(family, p) == s).mean():.1%} of the symbols"
except AssertionError:
    crossed = "AssertionError"
print(f"the symbols need {entropy:.0f} bytes; C-contiguous {4 * len(rows)}, column-major {4 * len(columns)}; no error")
print(f"equal to the file of the memory order taken for rows: {same}; round trip with column-major on both sides exact: {trip}")
print(f"column-major encoded, C-contiguous decoded: {crossed}")
sys.exit(0 if 4 * len(rows) < 1.01 * entropy and len(columns) > 1.5 * len(rows) and same and trip else 1)
P
v/bin/python t.py
