"""Switches, read from the environment once at import, for those who develop or debug jitgrad.

`JITGRAD_VERIFY`    "each" verifies the graph after every stage; "values" also interprets it around every pass.
`JITGRAD_DUMP`      a stage's name, or "all": print the graph or code after it.
`JITGRAD_DEBUG`     show jitgrad's own frames in tracebacks.
`JITGRAD_INTERPRET` run graphs by the NumPy interpreter instead of machine code (slow; for comparisons).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["OPTIONS", "Options"]


@dataclass(slots=True)
class Options:
    """The switches; tests may set them."""

    verify: str = ""
    dump: str = ""
    debug: bool = False
    interpret: bool = False


OPTIONS = Options(
    verify=os.environ.get("JITGRAD_VERIFY", ""),
    dump=os.environ.get("JITGRAD_DUMP", ""),
    debug=bool(os.environ.get("JITGRAD_DEBUG")),
    interpret=bool(os.environ.get("JITGRAD_INTERPRET")),
)
