"""Every graph is verified after every stage while tests run; goldens cannot be rewritten in CI.

What the collection of tests leaves behind is kept out of the sight of the garbage collector: looking through it takes
longer than most tests.
"""

from __future__ import annotations

import gc
import os

from jitgrad.options import OPTIONS

OPTIONS.verify = os.environ.get("JITGRAD_VERIFY", "each")

if os.environ.get("CI") and os.environ.get("JITGRAD_BLESS"):
    raise SystemExit("JITGRAD_BLESS rewrites goldens; it is refused in CI")


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
