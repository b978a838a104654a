"""What one transform has compiled: signatures to specialisations, and why each was made.

In: the arguments of a call. Out: the result, through the specialisation that fits. This is the slow path: the native
entry answers the calls it knows before they come here.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

from jitgrad.errors import RecompileWarning
from jitgrad.pipeline import Specialisation, specialise
from jitgrad.pytree import flatten
from jitgrad.transform import Transform

__all__ = ["Cache"]

_KEPT = 16


class Cache:
    """Specialisations of one transform, newest first for each signature."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.made: dict[Any, list[Specialisation]] = {}
        self.history: list[dict[str, Any]] = []
        self.lock = threading.RLock()

    def find_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Any]]:
        """Return the specialisation that a call uses, and the call's leaves."""
        spec, leaves = flatten((args, kwargs))
        return self._find(spec, leaves), leaves

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Specialisation:
        """Return the specialisation that a call uses, compiling it if there is none."""
        return self._find(*flatten((args, kwargs)))

    def _find(self, spec: Any, leaves: list[Any]) -> Specialisation:
        for found in self.made.get(spec, ()):
            if found.fits(leaves):
                return found
        with self.lock:
            known = self.made.setdefault(spec, [])
            for found in known:
                if found.fits(leaves):
                    return found
            reason = self._reason(known, leaves)
            made = specialise(self.transform, spec, leaves)
            known.insert(0, made)
            self.history.append(
                {"signature": made.signature, "reason": reason, "ms": made.stage_ms, "notes": made.notes}
            )
            if len(known) > _KEPT:
                known.pop()
                name = getattr(self.transform.function, "__name__", "function")
                warnings.warn(
                    f"{name} was compiled {len(self.history)} times; the last because {reason}", RecompileWarning, 4
                )
            return made

    def _reason(self, known: list[Specialisation], leaves: list[Any]) -> str:
        if known:
            return known[0].misfit(leaves)
        return "first call" if not self.history else "a call with other types, shapes or structure"

    def stats(self) -> dict[str, Any]:
        """Return how often, why and how fast things were compiled."""
        return {"compiled": len(self.history), "signatures": list(self.history)}
