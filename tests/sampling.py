"""How much of the tests each Python runs: all on the newest supported one, parts of some on the others.

Of long walks that is a seeded part; of tests of what does not hang on CPython, a third, another one on each of two
Pythons.
"""

from __future__ import annotations

import os
import random
import sys
import zlib
from collections.abc import Sequence
from typing import Any

__all__ = ["runs_here", "sampled"]

ALL = "JITGRAD_FULL_WALK" in os.environ
FULL = sys.version_info[:2] == (3, 13) or ALL


# Rooms that do not know CPython, rules of derivatives, sizes and layouts of arrays, and what NumPy's functions mean.
_ALIKE = (
    "tests/backend/",
    "tests/graph/",
    "tests/test_argument_sizes",
    "tests/test_finite_slopes",
    "tests/test_general_sizes",
    "tests/test_memory_layouts",
    "tests/test_minima",
    "tests/test_mutants",
    "tests/test_stencils",
    "tests/test_untaken_paths",
    "tests/test_zero_factors",
    "tests/trace/test_least_squares",
    "tests/trace/test_math_calls",
    "tests/trace/test_numpy_",
    "tests/trace/test_scipy_calls",
    "tests/trace/test_systems",
)


def runs_here(test: str) -> bool:
    """Whether this Python runs a test, given its path and name."""
    if FULL or not test.startswith(_ALIKE):
        return True
    return zlib.crc32(test.encode()) % 3 == sys.version_info.minor % 3


def sampled(items: Sequence[Any], one_in: int = 10, newest: int = 1) -> list[Any]:
    """Return the part of some items that this Python runs: one in so many, on the newest Python one in `newest`."""
    if FULL:
        return list(items if ALL else items[::newest])
    return random.Random(str(sys.version_info[:2])).sample(list(items), max(1, len(items) // one_in))
