"""Which of LLVM's passes a body needs.

In: an optimised graph. Out: a level of `engine`. The vectorisers cost half as much again as everything before them, and
are worth it only where LLVM may find vectors that `nesting` has not made: in a loop of a user over scalars whose
iterations LLVM can prove to be independent. A wrong answer costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.backend.structure import is_scalar
from jitgrad.graph.ir import Block, Graph, Op, Value

__all__ = ["is_of_elements", "level_of", "vectorises"]

_STORES = frozenset({"store", "addto", "scatter", "scatter_add"})
_OF_ONE = frozenset({"store", "addto"})
# The vectorisers go through the whole body: loops that are a smaller part of its ops are left as they are.
_SHARE = 1 / 40


def level_of(graph: Graph) -> str:
    """Return what suits a graph.

    'minimal' for explicit vectors alone, 'loops' around loops, 'unrolled' where one of them hands an element of an
    array to its next iteration (`rotate.py`); where LLVM may find vectors 'full', or 'short' for those of half a
    register, one at a time, unless that is a small part of the whole. Loops of programs are short more often than
    long, and what is left over runs element by element; long vectors are for what is expensive.
    """
    ops = list(graph.walk())
    loops = [op for op in ops if op.name in ("for", "while")]
    if not loops:
        return "minimal"
    found = [op for op in loops if vectorises(op)]
    if sum(len(op.regions[0].ops) for op in found) <= _SHARE * len(ops):
        handing = [op for op in loops if _hands_on(op)]
        # All loops would be unrolled: those that wait for quotients as well, and they are no faster.
        return "unrolled" if handing and not any(_is_costly(op.regions[-1]) for op in handing) else "loops"
    return "full" if any(_is_costly(op.regions[-1]) for op in found) else "short"


def vectorises(loop: Op) -> bool:
    """Whether a loop only computes scalars and stores them, at places and from numbers that LLVM can follow."""
    (*_, body) = loop.regions
    if loop.name != "for" or not is_of_elements(body):
        return False
    # It stores something, or adds up what is expensive.
    if not _is_costly(body) and not any(op.name in _STORES for op in body.walk()):
        return False
    # What one iteration needs of the last, but for sums, keeps them one after another.
    for arg, given in zip(body.args[1:], body.yields, strict=True):
        if is_scalar(arg) and arg.type.is_float and not _is_sum(body, arg, given) and given in _derived(body, [arg]):
            return False
    # Places that are data may be the same in two iterations.
    data = _derived(body, [r for op in body.walk() if op.name == "load" for r in op.results if not r.type.is_float])
    return not any(v in data for op in body.walk() if op.name in _OF_ONE for v in op.operands[2:])


def _hands_on(loop: Op) -> bool:
    """Whether a loop over scalars carries an element of an array that it stores into."""
    if loop.name != "for" or not is_of_elements(loop.regions[-1]):
        return False
    for init in loop.operands[1:]:
        first = init.op.regions[0].yields[init.index] if init.op is not None and init.op.name == "if" else init
        if first.op is not None and first.op.name == "load" and first.op.operands[0] in loop.operands:
            return True
    return False


def _is_sum(body: Block, arg: Value, given: Value) -> bool:
    """Whether an iteration adds to a float, in any order or what is expensive to compute."""
    op = given.op
    if op is not None and op.attrs.get("any_order"):
        return True
    if op is None or op.name != "add":
        return False
    (*others,) = (v for v in op.operands if v is not arg)
    uses = sum(u.operands.count(arg) for u in body.walk())
    return len(others) == 1 and uses == 1 and _is_costly(body)


def _is_costly(body: Block) -> bool:
    return any(op.name in ("divide", "sqrt") for op in body.walk())


def is_of_elements(body: Block) -> bool:
    """Whether a body holds no loop and no array but those that it stores into."""
    for op in body.walk():
        if op.name in ("for", "while"):
            return False
        if op.name not in _OF_ONE and not all(map(is_scalar, op.results)):
            return False
    return True


def _derived(body: Block, seeds: Iterable[Value]) -> set[Value]:
    """Return what is computed from some values in a body, themselves among it."""
    found = set(seeds)
    for op in body.walk():
        given = [*op.operands, *(y for region in op.regions for y in region.yields)]
        if any(v in found for v in given):
            found.update(op.results)
    return found
