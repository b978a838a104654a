"""Reciprocals of a nest that nobody rounds but us: shared, and made of others that are there as well.

A division takes as long as many products, and a root longer. In: built expressions whose quotients are products with
reciprocals, and what the nest's outputs need. Out: the same nodes with fewer divisions and roots. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgrad.backend.loops import MULTIPLY, RECIPROCAL, Expressions, Node
from jitgrad.graph.ir import Op
from jitgrad.graph.primitive import PRIMITIVES

__all__ = ["share_reciprocals"]

_EQUAL, _OR, _CHOOSE = (Op(PRIMITIVES[name], [], {}, [], [], None) for name in ("equal", "logical_or", "select"))
_RECIPROCAL_ROOT = Op(PRIMITIVES["reciprocal"], [], {**RECIPROCAL.attrs, "of_root": True}, [], [], None)
_BOOL = np.dtype(np.bool_)


def share_reciprocals(built: Expressions, goals: Sequence[Node], estimates: bool) -> None:
    """Make reciprocals of others.

    1 / (x * y) is that of x by that of y. 1 / sqrt(x) is one number where the root is asked for by nothing else and the
    processor has an estimate of it; otherwise it is sqrt(x) by 1 / x, if that is there, where the root is no 0 and not
    infinite; for both of these it is 1 / x.

    Parameters
    ----------
    built : Expressions
    goals : sequence of Node
        What the outputs are.
    estimates : bool
        Whether the processor estimates reciprocals of roots.
    """
    known = built.reciprocals
    if not known:
        return
    for product, made in known.items():
        if _is(product, "multiply"):
            parts = [known[x] for x in product.operands if x in known]
            if len(parts) == 2:
                _become(built, made, MULTIPLY, parts)
    users = _users(goals)
    for root, made in list(known.items()):
        if not _is(root, "sqrt"):
            continue
        (x,) = root.operands
        if estimates and users.get(root) == [made]:
            _become(built, made, _RECIPROCAL_ROOT, [x])
        elif x in known:
            _choose(built, root, made, known[x])
    if estimates:
        for product, made in list(known.items()):
            if _is(product, "multiply") and users.get(product) == [made]:
                _take_roots_out(built, product, made, users)


def _is(node: Node, name: str) -> bool:
    return node.kind == "apply" and node.payload.name == name


def _become(built: Expressions, node: Node, op: Op, operands: list[Node]) -> None:
    node.payload, node.operands = op, operands
    _precede(built, node, operands)


def _choose(built: Expressions, root: Node, made: Node, inverse: Node) -> None:
    """Make the reciprocal of a root by that of what it is the root of."""
    dtype = root.dtype
    zero, infinite = (Node("constant", dtype, payload=number) for number in (0.0, np.inf))
    ends = [Node("apply", _BOOL, [root, end], payload=_EQUAL) for end in (zero, infinite)]
    either = Node("apply", _BOOL, ends, payload=_OR)
    product = Node("apply", dtype, [root, inverse], payload=MULTIPLY)
    made.payload, made.operands = _CHOOSE, [either, inverse, product]
    _precede(built, made, [inverse, zero, infinite, *ends, either, product])


def _take_roots_out(built: Expressions, product: Node, made: Node, users: dict[Node, list[Node]]) -> None:
    """Make 1 / (x * sqrt(y)) of the reciprocals of both."""
    for root, other in (product.operands, product.operands[::-1]):
        if _is(root, "sqrt") and root is not other and users[root] == [product]:
            inverse = Node("apply", root.dtype, list(root.operands), payload=_RECIPROCAL_ROOT)
            rest = built.reciprocal(other, other.dtype)
            made.payload, made.operands = MULTIPLY, [inverse, rest]
            _precede(built, made, [inverse, rest])
            return


def _users(goals: Sequence[Node]) -> dict[Node, list[Node]]:
    """Return what uses each node; an output is one of its own users."""
    found: dict[Node, list[Node]] = {}
    for goal in goals:
        found.setdefault(goal, []).append(goal)
    stack, seen = list(goals), set(goals)
    while stack:
        user = stack.pop()
        for x in user.operands:
            users = found.setdefault(x, [])
            if user not in users:
                users.append(user)
            if x not in seen:
                seen.add(x)
                stack.append(x)
    return found


def _precede(built: Expressions, node: Node, others: Sequence[Node]) -> None:
    """Let some nodes, that are new or made of what comes before a node, come before it too."""
    nodes = built.nodes
    for x in dict.fromkeys(others):
        if x not in nodes:
            nodes.insert(nodes.index(node), x)
        elif nodes.index(x) > nodes.index(node):
            nodes.remove(x)
            nodes.insert(nodes.index(node), x)
