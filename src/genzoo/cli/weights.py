"""Fetch the weights of a published feature network."""

from __future__ import annotations

from genzoo.cli.table import Command
from genzoo.metrics.features.fetch import fetch_weights

COMMAND = Command("fetch the weights of a published feature network, once, with a digest check", "inception", place=52)


def weights(name: str = "inception") -> None:
    """Fetch the weights of a published feature network into $GENZOO_WEIGHTS, or the cache folder where that is not set.

    Args:
        name: inception, which FID stands on.
    """
    print(f"wrote {fetch_weights(name)}")
