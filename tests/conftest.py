"""Every graph is verified after every stage while tests run; goldens cannot be rewritten in CI."""

from __future__ import annotations

import os

from jitgrad.options import OPTIONS

OPTIONS.verify = os.environ.get("JITGRAD_VERIFY", "each")

if os.environ.get("CI") and os.environ.get("JITGRAD_BLESS"):
    raise SystemExit("JITGRAD_BLESS rewrites goldens; it is refused in CI")
