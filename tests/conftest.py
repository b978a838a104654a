"""Every graph is verified after every stage while tests run; goldens cannot be rewritten in CI.

What the collection of tests leaves behind is kept out of the sight of the garbage collector: looking through it takes
longer than most tests. `JITGRAD_KEPT_CODE` names a directory for machine code that several Pythons can share.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from jitgrad.options import OPTIONS
from tests.kept_code import keep_code
from tests.sampling import runs_here

OPTIONS.verify = os.environ.get("JITGRAD_VERIFY", "each")

if "JITGRAD_KEPT_CODE" in os.environ:
    keep_code(Path(os.environ["JITGRAD_KEPT_CODE"]))

if os.environ.get("CI") and os.environ.get("JITGRAD_BLESS"):
    raise SystemExit("JITGRAD_BLESS rewrites goldens; it is refused in CI")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only other Pythons run."""
    others = [item for item in items if not runs_here(item.nodeid)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if runs_here(item.nodeid)]


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    # Nor is it worth looking often at what tests make.
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
