"""Systems with a likelihood, side by side on the same held-out digits: a question that is put to a capability, not to names."""

from __future__ import annotations

import genzoo
from genzoo.core.capabilities import capabilities
from genzoo.naming.registry import system_class

for entry in genzoo.list_systems():
    cls = system_class(entry.name)
    if "density" not in capabilities(cls) or entry.data != "image":
        continue
    # The sizes of the tests: enough for seconds, not for good figures.
    small = {k: v for k, v in cls.tiny.items() if k != "shape"}
    steps = {} if "fits" in capabilities(cls) else {"steps": 30}
    run = genzoo.train(entry.name, "digits", size=8, quiet=True, **small, **steps)
    score = genzoo.evaluate(run, n=100)["measures"]["bits/dim"]
    print(f"{entry.name:12s} {score['value']:.3f} ± {score['se']:.3f} bits/dim ({score['likelihood']})")
