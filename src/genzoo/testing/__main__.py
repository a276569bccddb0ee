"""`python -m genzoo.testing mine.py`: which promises of the zoo a class keeps."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from genzoo.core.errors import UserError
from genzoo.testing import check_system


def main(words: Sequence[str]) -> int:
    """Print the table of a class and return the exit code: 0 every promise is kept, 1 one is broken, 2 there is no such class."""
    if len(words) != 1 or words[0].startswith("-"):
        print("usage: python -m genzoo.testing mine.py | mine.py:MyModel | NAME", file=sys.stderr)
        return 2
    try:
        check_system(words[0])
    except AssertionError as broken:
        print(broken, file=sys.stderr)
        return 1
    except UserError as error:
        print(f"genzoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
