"""Give the package its long description: README.md as it can be read on a package index. All else stands in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

SHIPPED = "The pages and folders that this text names (docs/, examples/, CONTRIBUTING.md ...) are part of the source distribution."


def long_description(readme: str) -> str:
    """Return the README without what only a checkout has: pictures of the repository go, links into it become their text."""
    text = re.sub(r"^!\[[^]]*\]\((?!https?:)[^)]*\)\n\n?", "", readme, flags=re.MULTILINE)
    text = re.sub(r"\[([^]]*)\]\((?!https?:|#)[^)]*\)", r"\1", text)
    return f"{text.rstrip()}\n\n{SHIPPED}\n"


if __name__ == "__main__":
    setup(
        long_description=long_description((Path(__file__).parent / "README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
