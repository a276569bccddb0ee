"""What the writers of all formats are given beside a scan and its new values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from genzoo.data.decode.scans.volume import library
from genzoo.use.scans.study import Here


@dataclass
class Numbers:
    """New numbers (UIDs) for old ones, the same wherever the old one stands.

    Args:
        given: Those that were given so far.
    """

    given: dict[str, str] = field(default_factory=dict)

    def __call__(self, old: str) -> str:
        """Return the new number of an old one."""
        if old not in self.given:
            self.given[old] = str(library("pydicom.uid").generate_uid())
        return self.given[old]


@dataclass(frozen=True)
class Note:
    """What is written of how a scan was made.

    Args:
        model: System and direction.
        version: Of genzoo.
        digest: Of the data that the system was trained on; empty where it is not known.
    """

    model: str
    version: str
    digest: str

    @property
    def words(self) -> str:
        """Say it in one line."""
        return f"genzoo {self.version}: {self.model}" + (f", trained on data {self.digest[:12]}" if self.digest else "")


@dataclass(frozen=True)
class Writing:
    """What is the same for all scans of one call.

    Args:
        here: Where the files are that came in.
        window: The least and the largest of the new values.
        target: From the name of a file and the ending that its result needs to where that goes.
        note: How results are made.
        anonymize: Keep nothing of the patient.
        numbers: New numbers for old ones.
    """

    here: Here
    window: tuple[float, float]
    target: Callable[[str, str], Path]
    note: Note
    anonymize: bool
    numbers: Numbers = field(default_factory=Numbers)
