"""Collections of garbage, made rare while something is compiled.

A compile makes tens of thousands of objects that live until its end. The collector looks for garbage among them again
and again, and at times among all objects of the process: in one that has loaded a few libraries, one such look takes as
long as a small compile. This room knows nothing of what is compiled; `pipeline` calls it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["RARE", "rare_collections"]

# New objects before the collector looks, instead of Python's 700 or 2000: large compiles must not fill the memory.
RARE = 200_000

_lock = threading.Lock()
# How many compiles are running, and the thresholds to be put back after the last.
_running = 0
_before = (0, 0, 0)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let the collector look less often until the block ends, unless it is off, or told otherwise meanwhile."""
    global _running, _before
    with _lock:
        if not _running:
            _before = gc.get_threshold()
            if 0 < _before[0] < RARE:
                gc.set_threshold(RARE, *_before[1:])
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running and gc.get_threshold() == (RARE, *_before[1:]):
                gc.set_threshold(*_before)
