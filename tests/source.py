"""Functions made from text, as generators of random programs make them."""

from __future__ import annotations

import linecache
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["function_of"]


def function_of(source: str | Sequence[str], name: str, **known: Any) -> Any:
    """Return the function `f` that a text or its lines define; its lines are known to tracebacks.

    Parameters
    ----------
    source : str or sequence of str
    name : str
        Stands for the file; each text needs one of its own.
    **known
        Globals of the function beside `np`.
    """
    text = source if isinstance(source, str) else "\n".join(source) + "\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"np": np, **known}
    exec(compile(text, name, "exec"), space)
    return space["f"]
