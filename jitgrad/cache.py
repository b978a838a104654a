"""What one transform has compiled: signatures to specialisations, and why each was made.

In: the arguments of a call. Out: the result, through the specialisation that fits. This is the slow path: the native
entry answers the calls it knows before they come here. A size that keeps changing becomes a run-time size, where the
program can do without the number (`families`).
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

from jitgrad.errors import InternalError, RecompileWarning
from jitgrad.families import Family, family_of
from jitgrad.options import OPTIONS
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
        self.families: dict[Any, Family] = {}
        self.history: list[dict[str, Any]] = []
        self.lock = threading.RLock()

    def find_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Specialisation, list[Any]]:
        """Return the specialisation that a call uses, and the call's leaves."""
        spec, leaves = flatten((args, kwargs))
        return self._find(spec, leaves), leaves

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Specialisation:
        """Return the specialisation that a call uses, compiling it if there is none."""
        return self._find(*flatten((args, kwargs)))

    def raised(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note that a call raised an exception when it ran."""
        key, sizes = family_of(flatten((args, kwargs))[0])
        family = self.families.get(key)
        if family is not None:
            with self.lock:
                family.forget(sizes)

    def _find(self, spec: Any, leaves: list[Any]) -> Specialisation:
        found = self._made_for(spec, leaves)
        if found is not None:
            return found
        with self.lock:
            found = self._made_for(spec, leaves)
            return self._make(spec, leaves) if found is None else found

    def _made_for(self, spec: Any, leaves: list[Any]) -> Specialisation | None:
        """Return what is there for a call."""
        for found in self.made.get(spec, ()):
            if found.fits(leaves):
                return found
        key, sizes = family_of(spec)
        family = self.families.get(key)
        for general in family.fitting(sizes) if family is not None else ():
            for found in self.made.get(general, ()):
                if found.fits(leaves):
                    return found
        return None

    def _make(self, spec: Any, leaves: list[Any]) -> Specialisation:
        """Compile for a call that nothing serves."""
        key, sizes = family_of(spec)
        family = self.families.setdefault(key, Family())
        wanted = family.see(spec, sizes)
        reason = self._reason(spec, wanted, leaves)
        try:
            made = self._general(family, wanted, spec, leaves)
        except BaseException:
            family.forget(sizes)
            raise
        family.compiled(wanted, made.spec, made.refusals)
        known = self.made.setdefault(made.spec, [])
        known.insert(0, made)
        self.history.append({"signature": made.signature, "reason": reason, "ms": made.stage_ms, "notes": made.notes})
        if len(known) > _KEPT:
            known.pop()
            name = getattr(self.transform.function, "__name__", "function")
            warnings.warn(
                f"{name} was compiled {len(self.history)} times; the last because {reason}", RecompileWarning, 5
            )
        return made

    def _general(self, family: Family, wanted: Any, spec: Any, leaves: list[Any]) -> Specialisation:
        """Compile with the run-time sizes that are wanted, or without if that is refused."""
        if wanted == spec:
            return specialise(self.transform, spec, leaves)
        why = "calls might be refused that are not if the size is known"
        try:
            made = specialise(self.transform, wanted, leaves, family.refusals)
            if made.refusals <= family.refusals:
                return made
        except Exception as refused:
            # Also what the program itself raises: it is to come from the compile that knows the sizes.
            if isinstance(refused, InternalError) and (OPTIONS.debug or OPTIONS.verify):
                raise
            why = str(refused).partition("\n")[0]
        made = specialise(self.transform, spec, leaves)
        made.notes.append(f"compiled for this size alone: {why}")
        return made

    def _reason(self, spec: Any, wanted: Any, leaves: list[Any]) -> str:
        known = self.made.get(wanted) or self.made.get(spec)
        if known:
            return known[0].misfit(leaves)
        if wanted != spec:
            return "a size of an argument that keeps changing"
        return "first call" if not self.history else "a call with other types, shapes or structure"

    def stats(self) -> dict[str, Any]:
        """Return how often, why and how fast things were compiled."""
        return {"compiled": len(self.history), "signatures": list(self.history)}
