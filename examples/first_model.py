"""From a name to pictures in a few lines: train, load, sample, walk."""

from __future__ import annotations

import genzoo
from genzoo.data.drawing.images import save_png

run = genzoo.train("gaussian", "digits", size=16)
system = genzoo.load(run.path)
save_png(run.path / "outputs" / "samples.png", genzoo.sample(system, n=64, seed=1))
print(genzoo.evaluate(run)["measures"]["bits/dim"])
