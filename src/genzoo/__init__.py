"""genzoo, the generative model zoo: every classic deep generative model, one readable file each, on your own data with one command.

>>> import genzoo
>>> system = genzoo.create("gaussian", shape=(1, 8, 8))
>>> system.hparams["shape"]
(1, 8, 8)

The names below are imported on first use, so that `import genzoo` and `genzoo --help` cost no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.api import (
        animate,
        arithmetic,
        compare,
        complete,
        compress,
        create,
        decompress,
        evaluate,
        export,
        figures,
        list_systems,
        load,
        reconstruct,
        register,
        resume,
        sample,
        theory,
        train,
        translate,
        walk,
    )
    from genzoo.core.errors import UserError
    from genzoo.core.system import System
    from genzoo.studies import study

__all__ = [
    "list_systems",
    "create",
    "train",
    "resume",
    "load",
    "register",
    "System",
    "sample",
    "walk",
    "reconstruct",
    "arithmetic",
    "translate",
    "complete",
    "animate",
    "compress",
    "decompress",
    "evaluate",
    "compare",
    "export",
    "figures",
    "study",
    "theory",
    "UserError",
    "__version__",
]

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'genzoo' has no attribute '{name}'")
    home = {"UserError": "genzoo.core.errors", "System": "genzoo.core.system", "study": "genzoo.studies"}.get(
        name, "genzoo.api"
    )
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
