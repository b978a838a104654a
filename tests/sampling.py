"""How much of the long walks each Python does: all on the newest supported one, a seeded part on the others."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["sampled"]

FULL = sys.version_info[:2] == (3, 13) or "JITGRAD_FULL_WALK" in os.environ


def sampled(items: Sequence[Any], one_in: int = 10) -> list[Any]:
    """Return all items, or the part of them that this Python runs."""
    if FULL:
        return list(items)
    return random.Random(str(sys.version_info[:2])).sample(list(items), max(1, len(items) // one_in))
