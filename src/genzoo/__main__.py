"""`genzoo` and `python -m genzoo` (which is what torchrun starts)."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from genzoo.cli.main import main as run

    code = run()
    if "WORLD_SIZE" in os.environ and "torch" in sys.modules:
        from genzoo.ranks.launch import leave

        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
