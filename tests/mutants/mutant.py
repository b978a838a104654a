"""What a planted bug is: a change of one place of the package.

A change is of the kind that slips in while one edits: a term dropped, a sign, a condition left out, an order turned. It
leaves a program that runs.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    """One planted bug.

    Attributes
    ----------
    name : str
    file : str
        Below `jitgrad/`.
    old, new : str
        `old` stands there once.
    """

    name: str
    file: str
    old: str
    new: str
