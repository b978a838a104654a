"""Which sizes of arguments become run-time sizes: calls that differ in nothing else, and the pattern that they share.

In: the specs of the calls that were compiled for. Out: a spec with a `Size` in some places, for which one compile may
serve all of them. An axis that is seen with a third size varies; axes that had equal sizes in every call share one
`Size`, so that a program need not compare them. Sizes 0 and 1 stay known, for what broadcasting and emptiness mean
hangs on them, and so do the shapes of arrays that are not contiguous in C order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from jitgrad.pytree import ArraySpec, Size, leaves_of, with_shapes

__all__ = ["Family", "family_of"]

# Calls with fewer different sizes than this compile for each of them.
_VARIES = 3

# Sizes below the least that was seen are compiled for anew, up to this: what is known to be large has fewer checks.
_LEAST = 8

_REMEMBERED = 64

Sizes: TypeAlias = tuple[int, ...]
Pattern: TypeAlias = tuple["int | Size", ...]


def family_of(spec: Any) -> tuple[Any, Sizes]:
    """Return what a spec has in common with those that differ from it in sizes only, and its sizes in order."""
    arrays = [leaf for leaf in leaves_of(spec) if isinstance(leaf, ArraySpec)]
    free = [leaf.layout == "C" for leaf in arrays]
    shapes = [() if is_free else leaf.shape for leaf, is_free in zip(arrays, free, strict=True)]
    ranks = tuple(len(leaf.shape) for leaf in arrays)
    sizes = tuple(d for leaf, is_free in zip(arrays, free, strict=True) if is_free for d in leaf.shape)
    return (with_shapes(spec, iter(shapes)), ranks), sizes  # type: ignore[return-value]


def _with_sizes(spec: Any, sizes: Pattern) -> Any:
    """Return a spec with other sizes, those that `family_of` gives."""
    rest = iter(sizes)

    def shapes() -> Iterator[tuple[int | Size, ...]]:
        for leaf in leaves_of(spec):
            if isinstance(leaf, ArraySpec):
                yield tuple(next(rest) for _ in leaf.shape) if leaf.layout == "C" else leaf.shape

    return with_shapes(spec, shapes())


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

    def fitting(self, sizes: Sizes) -> list[Any]:
        """Return the specs with run-time sizes that a call of these sizes is of."""
        return [spec for pattern, spec in self.patterns if _fits(pattern, sizes)]

    def see(self, spec: Any, sizes: Sizes) -> Any:
        """Note a call that nothing serves yet; return the spec to compile for, its own or one with run-time sizes."""
        if sizes in self._raised:
            return spec
        if sizes not in self._seen:
            self._seen = [*self._seen[-_REMEMBERED:], sizes]
        groups: list[list[int]] = []
        for axis, size in enumerate(sizes):
            column = {seen[axis] for seen in self._seen if seen[axis] >= 2}
            if size >= 2 and axis not in self._needed and len(column) >= _VARIES:
                group = next((g for g in groups if self._are_one(g[0], axis)), None)
                if group is None:
                    groups.append([axis])
                else:
                    group.append(axis)
        made: list[int | Size] = list(sizes)
        for number, axes in enumerate(groups):
            least = min(_LEAST, *(seen[k] for seen in self._seen for k in axes if seen[k] >= 2))
            for axis in axes:
                made[axis] = Size(number, least)
        return _with_sizes(spec, tuple(made)) if groups else spec

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
        self._needed |= {
            k for k, (x, y) in enumerate(zip(before, after, strict=True)) if isinstance(x, Size) and x != y
        }
        if any(isinstance(n, Size) for n in after):
            self.patterns = [(after, got), *((p, s) for p, s in self.patterns if s != got)]
        else:
            self.refusals |= refusals


def _fits(pattern: Pattern, sizes: Sizes) -> bool:
    found: dict[int, int] = {}
    for wanted, size in zip(pattern, sizes, strict=True):
        if isinstance(wanted, int):
            if wanted != size:
                return False
        elif size < wanted.least or found.setdefault(wanted.number, size) != size:
            return False
    return True
