"""Which sizes of arguments become run-time sizes: calls that differ in nothing else, and the pattern that they share.

In: the specs of the calls that were compiled for. Out: a spec with a `Size` in some places, for which one compile may
serve all of them. An axis that is seen with a third size varies; axes that had equal sizes in every call share one
`Size`, so that a program need not compare them. Sizes 0 and 1 stay known, for what broadcasting and emptiness mean
hangs on them. The strides of an array that is contiguous in neither order become a `Step` in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from jitgrad.pytree import ArraySpec, Size, Step, leaves_of, with_arrays

__all__ = ["Family", "family_of"]

# Calls with fewer different sizes than this compile for each of them.
_VARIES = 3

# Sizes below the least that was seen are compiled for anew, up to this: what is known to be large has fewer checks.
_LEAST = 8

_REMEMBERED = 64

Sizes: TypeAlias = tuple[int, ...]
Pattern: TypeAlias = tuple["int | Size | Step", ...]


def family_of(spec: Any) -> tuple[Any, Sizes]:
    """Return what a spec has in common with those that differ from it in sizes only, and its sizes in order.

    After the sizes of an array that is contiguous in neither order come its strides.
    """
    arrays = _arrays(spec)
    kinds = tuple(len(leaf.shape) for leaf in arrays)
    bare = with_arrays(
        spec, iter([((), leaf.layout if isinstance(leaf.layout, str) else "strided") for leaf in arrays])
    )
    sizes = [d for leaf in arrays for d in (*leaf.shape, *(() if isinstance(leaf.layout, str) else leaf.layout))]
    return (bare, kinds), tuple(sizes)


def _arrays(spec: Any) -> list[ArraySpec]:
    return [leaf for leaf in leaves_of(spec) if isinstance(leaf, ArraySpec)]


def _strides_in(spec: Any) -> set[int]:
    """Return which of the sizes that `family_of` gives are strides."""
    found: set[int] = set()
    at = 0
    for leaf in _arrays(spec):
        at += len(leaf.shape)
        if not isinstance(leaf.layout, str):
            found.update(range(at, at + len(leaf.shape)))
            at += len(leaf.shape)
    return found


def _with_sizes(spec: Any, sizes: Pattern) -> Any:
    """Return a spec with other sizes, those that `family_of` gives."""
    rest = iter(sizes)

    def arrays() -> Iterator[tuple[tuple[Any, ...], Any]]:
        for leaf in _arrays(spec):
            shape = tuple(next(rest) for _ in leaf.shape)
            yield shape, leaf.layout if isinstance(leaf.layout, str) else tuple(next(rest) for _ in leaf.shape)

    return with_arrays(spec, arrays())


class Family:
    """Calls of one callable that differ in the sizes of arrays only.

    Attributes
    ----------
    patterns : list of (sizes, spec)
        What was compiled with run-time sizes, newest first.
    refusals : set
        How calls may be refused at run time by what was compiled for known sizes.
    """

    def __init__(self) -> None:
        self.patterns: list[tuple[Pattern, Any]] = []
        self.refusals: set[Any] = set()
        self._seen: list[Sizes] = []
        self._raised: list[Sizes] = []
        self._needed: set[int] = set()  # axes whose size a program has to know
        self._large: set[int] = set()  # axes whose size it has to know unless it is large

    def fitting(self, sizes: Sizes) -> list[Any]:
        """Return the specs with run-time sizes that a call of these sizes is of."""
        return [spec for pattern, spec in self.patterns if _fits(pattern, sizes)]

    def see(self, spec: Any, sizes: Sizes) -> Any:
        """Note a call that nothing serves yet; return the spec to compile for, its own or one with run-time sizes."""
        if sizes in self._raised:
            return spec
        if sizes not in self._seen:
            self._seen = [*self._seen[-_REMEMBERED:], sizes]
        strides = _strides_in(spec)
        groups: list[list[int]] = []
        made: list[int | Size | Step] = list(sizes)
        for axis, size in enumerate(sizes):
            column = {seen[axis] for seen in self._seen if _is_free(seen[axis])}
            if not _is_free(size) or axis in self._needed or len(column) < _VARIES:
                continue
            if axis in strides:
                made[axis] = Step(axis)
                continue
            group = next((g for g in groups if self._are_one(g[0], axis)), None)
            if group is None:
                groups.append([axis])
            else:
                group.append(axis)
        for number, axes in enumerate(groups):
            least = min(_LEAST, *(seen[k] for seen in self._seen for k in axes if seen[k] >= 2))
            if not self._large.isdisjoint(axes):
                least = _LEAST
            if sizes[axes[0]] >= least:
                for axis in axes:
                    made[axis] = Size(number, least)
        return _with_sizes(spec, tuple(made)) if made != list(sizes) else spec

    def _are_one(self, j: int, k: int) -> bool:
        """Whether two axes had equal sizes in every call, but for the sizes that are always known."""
        return all(seen[j] == seen[k] or min(seen[j], seen[k]) < 2 for seen in self._seen)

    def forget(self, sizes: Sizes) -> None:
        """Note that a call raised: its sizes may be a mistake, and say nothing of others."""
        self._seen = [seen for seen in self._seen if seen != sizes]
        self._raised = [*self._raised[-_REMEMBERED:], sizes]

    def compiled(self, asked: Any, got: Any, refusals: set[Any]) -> None:
        """Note what a compile for `asked` came to: in `got`, sizes that the program has to know are known."""
        before, after = family_of(asked)[1], family_of(got)[1]
        for k, (x, y) in enumerate(zip(before, after, strict=True)):
            if isinstance(x, Size | Step) and x != y:
                small = isinstance(x, Size) and x.least < _LEAST
                (self._large if small else self._needed).add(k)
        if any(isinstance(n, Size | Step) for n in after):
            self.patterns = [(after, got), *((p, s) for p, s in self.patterns if s != got)]
        else:
            self.refusals |= refusals


def _is_free(size: int) -> bool:
    """Whether a size or a stride may be one of many: what 0 and 1 do is another thing."""
    return abs(size) >= 2


def _fits(pattern: Pattern, sizes: Sizes) -> bool:
    found: dict[int, int] = {}
    for wanted, size in zip(pattern, sizes, strict=True):
        if isinstance(wanted, int):
            if wanted != size:
                return False
        elif isinstance(wanted, Step):
            if not _is_free(size):
                return False
        elif size < wanted.least or found.setdefault(wanted.number, size) != size:
            return False
    return True
