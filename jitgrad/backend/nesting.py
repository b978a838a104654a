"""How the loops of a nest run: dimensions merged, ordered, one of them along the lanes of vectors.

In: built expressions (`loops`) and the addresses of a nest's outputs. Out: a `NestShape`; the accesses are rewritten to
the merged dimensions, and every node learns on which of them it depends. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jitgrad.backend.loops import Access, Coord, Expressions, Node, Sizes, Sym
from jitgrad.backend.steps import EXPENSIVE

__all__ = ["NestShape", "plan_nest"]


@dataclass(eq=False, slots=True)
class NestShape:
    """How the loops of a nest run.

    Attributes
    ----------
    sizes : list of Sym
        Of the merged dimensions.
    order : list of int
        Merged dimensions from the outermost loop to the innermost: kept ones, then reduced ones.
    kept : int
        How many of them are kept.
    lanes : int or None
        The merged dimension that runs along vectors.
    width : int
    """

    sizes: list[Sym]
    order: list[int]
    kept: int
    lanes: int | None
    width: int


def plan_nest(
    sizes: Sizes,
    built: Expressions,
    outputs: Sequence[Access],
    reduced: Sequence[int],
    vector_bytes: int,
    values: Sequence[Node],
    summed: Collection[int] = (),
) -> NestShape:
    """Merge and order the dimensions of a nest, and set which of them every node depends on.

    Parameters
    ----------
    sizes : Sizes
    built : Expressions
        Its accesses are rewritten to the merged dimensions.
    outputs : sequence of Access
        Addresses that are written (also those of reductions, whose steps along reduced dimensions are 0).
    reduced : sequence of int
    vector_bytes : int
        Of one register.
    values : sequence of Node
        What the outputs need.
    summed : collection of int
        Dimensions of which no two elements may be worked on at once: they are added up in memory.
    """
    live = _live(values)
    nodes = [n for n in built.nodes if n in live]
    built.nodes = nodes
    accesses = [n.access for n in nodes if n.access is not None] + list(outputs)
    indexed = {c.dim for n in nodes if (c := _coord(n)) is not None}
    groups = _merge(sizes, built.domain, accesses, indexed, set(reduced))
    place = {d: k for k, group in enumerate(groups) for d in group}
    merged: list[Sym] = []
    for group in groups:
        size: Sym = 1
        for d in group:
            size = sizes.mul(size, built.domain[d])
        merged.append(size)
    for access in accesses:
        access.steps = [access.steps[group[-1]] for group in groups]
    for n in nodes:
        _depend(n, place)
    inner = [k for k, group in enumerate(groups) if group[0] in reduced]
    outer = [k for k in range(len(groups)) if k not in inner]
    barred = {place[d] for d in summed if d in place}
    lanes = _choose_lanes(nodes, outputs, merged, [k for k in (*outer, *inner) if k not in barred])
    outer = _by_stride(outer, outputs, [n.access for n in nodes if n.access is not None])
    for dims in (outer, inner):
        if lanes in dims:
            dims.remove(lanes)
            dims.append(lanes)
    width = 1
    if lanes is not None:
        width = _width(nodes, outputs, merged[lanes], vector_bytes, lanes, lanes in inner)
    if lanes is not None:
        bit = 1 << lanes
        for n in nodes:
            if n.dims & bit:
                for o in n.operands:
                    if not o.dims & bit:
                        o.wide = True
    return NestShape(merged, outer + inner, len(outer), lanes, width)


def _live(values: Sequence[Node]) -> set[Node]:
    stack, live = list(values), set(values)
    while stack:
        for o in stack.pop().operands:
            if o not in live:
                live.add(o)
                stack.append(o)
    return live


def _merge(
    sizes: Sizes, domain: Sequence[Sym], accesses: Sequence[Access], indexed: set[int | None], reduced: set[int]
) -> list[list[int]]:
    """Group neighbouring dimensions that every access walks as one; dimensions of one vanish."""
    groups: list[list[int]] = []
    for d, n in enumerate(domain):
        if n == 1:
            continue
        if groups:
            last = groups[-1][-1]
            one_kind = (last in reduced) == (d in reduced) and last not in indexed and d not in indexed
            if one_kind and all(_continues(sizes, a.steps[last], a.steps[d], n) for a in accesses):
                groups[-1].append(d)
                continue
        groups.append([d])
    return groups


def _continues(sizes: Sizes, outer: Sym, inner: Sym, size: Sym) -> bool:
    if inner == 0 or outer == 0:
        return inner == outer
    if isinstance(inner, int) and isinstance(size, int):
        return outer == inner * size
    return inner == 1 and outer == size


def _depend(n: Node, place: dict[int, int]) -> None:
    mask = 0
    for o in n.operands:
        mask |= o.dims
    if n.access is not None:
        for k, step in enumerate(n.access.steps):
            if step != 0:
                mask |= 1 << k
    coord = _coord(n)
    if coord is not None and coord.dim is not None:
        mask |= 1 << place[coord.dim]
    n.dims = mask


def _coord(n: Node) -> Coord | None:
    """Return the position that a node is about."""
    return n.payload if n.kind == "index" else n.payload[0] if n.kind == "inside" else None


def _choose_lanes(
    nodes: Sequence[Node], outputs: Sequence[Access], sizes: Sequence[Sym], dims: Sequence[int]
) -> int | None:
    """Return the dimension, one of some, along which most accesses are contiguous."""
    best, best_score = None, -1e9
    for k in dims:
        score = 0.0
        for access, weight in [(a, 3.0) for a in outputs] + [(n.access, 2.0) for n in nodes if n.access is not None]:
            step = access.steps[k]
            if step == 1:
                score += weight
            elif step == 0:
                score += 0.5
            else:
                score -= weight
        size = sizes[k]
        if isinstance(size, int) and size < 4:
            score -= 4.0
        if score >= best_score:
            best, best_score = k, score
    return best


def _by_stride(dims: list[int], outputs: Sequence[Access], inputs: Sequence[Access]) -> list[int]:
    """Order loops so that the longest strides run outermost; the given order where they are not known."""
    accesses = list(outputs) or list(inputs)
    if len(dims) < 2 or not all(isinstance(a.steps[k], int) for a in accesses for k in dims):
        return dims
    return sorted(dims, key=lambda k: -sum(abs(int(a.steps[k])) for a in accesses))


def _width(
    nodes: Sequence[Node], outputs: Sequence[Access], size: Sym, vector_bytes: int, lanes: int, summed: bool
) -> int:
    """Return how many lanes to work on at once.

    Where elements are gathered one by one, or a tail of any length needs masks, many lanes make long code that is no
    faster: columns of a matrix took 4 to 10 times as long to compile, and longer to run. What only moves elements that
    lie apart takes one load and one store for each at any width.
    """
    bit = 1 << lanes
    moving = [n for n in nodes if n.dims & bit]
    bytes = max((n.dtype.itemsize for n in moving), default=8)
    costly = any(n.kind == "apply" and n.payload.name in EXPENSIVE for n in moving)
    crowded = len(moving) > 12
    accesses = [n.access for n in moving if n.access is not None] + list(outputs)
    gathers = any(o.dims & bit for n in moving if n.kind == "gather" for o in n.operands)
    apart = gathers or any(a.steps[lanes] not in (-1, 0, 1) for a in accesses)
    if apart and not summed and not any(n.kind == "apply" for n in moving):
        return 1
    registers = 1 if apart else 2 if costly or crowded or not isinstance(size, int) else 4
    width = min(max(registers * vector_bytes // bytes, 1), 32)
    if isinstance(size, int):
        while width > 1 and width // 2 >= size:
            width //= 2
    return width
