"""What a part of the theory returns: numbers from a formula beside the same numbers computed another way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One claim and how it came out.

    Args:
        claim: What is claimed, with the formula.
        formula: The value from the formula.
        found: The value computed another way.
        tolerance: The largest difference that still agrees, absolute; it says how exact the other way is.
        how: That other way, in words.
    """

    claim: str
    formula: float
    found: float
    tolerance: float
    how: str

    @property
    def holds(self) -> bool:
        """The two values agree within the tolerance."""
        return abs(self.formula - self.found) <= self.tolerance
