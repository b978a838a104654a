"""Which values to save so that all that the reverse program asks for can be made again: a smallest cut.

The residuals of a first construction (`residuals.py`) were chosen one by one, as they were asked for. Here all that was
asked for is looked at together: from what it was computed by cheap ops, back to values that cannot be made again (what
loops carry, the results of regions and of costly functions). Of all sets of values that separate the two, the one of
the fewest bytes is saved, and what lies behind it is computed a second time. Four differences of three coordinates need
three numbers, not four; a comparison needs a byte; the distances of n bodies need n positions and not n^2 differences.

In: the regions of a primal, the values that are needed, and those that were saved. Out: a `Plan`, or None if it would
not save much. The cut is a maximal flow by Dinic's algorithm (Soviet Math. Doklady 11, 1970). This room emits nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from jitgrad.graph.diff.frames import Nest
from jitgrad.graph.diff.tapes import bytes_of
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import ArrayType, Dim

__all__ = ["CHEAP", "NO_PLAN", "Plan", "choose", "is_cheap", "is_dear"]

# Made again rather than saved, besides elementwise ops.
CHEAP = frozenset({"broadcast", "constant", "iota", "reshape", "transpose", "undef"})
# Elementwise ops that take longer than to write a number and to read it back.
_COSTLY = frozenset(
    {"arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "cos", "cosh", "digamma", "erf",
     "erfc", "erfinv", "exp", "exp2", "expm1", "gammaln", "log", "log10", "log1p", "log2", "logaddexp", "power", "sin",
     "sinh", "tan", "tanh"}
)  # fmt: skip
_VERSIONS = frozenset({"addto", "for", "if", "scatter", "scatter_add", "store", "while"})
# A plan is worth a second construction if it keeps at most this part of the bytes.
_WORTH = 0.8


def is_cheap(op: Op) -> bool:
    """Whether what an op computes may be computed again from its operands."""
    return op.name in CHEAP or (op.primitive.is_elementwise and op.name not in _COSTLY)


def is_dear(op: Op) -> bool:
    """Whether a number takes longer to compute again than to save; of arrays, vectors of them are computed at once."""
    return op.name in _COSTLY and not op.result.shape


@dataclass(frozen=True)
class Plan:
    """Values to save, and values to make again from them.

    Attributes
    ----------
    saved, again : frozenset of Value
    """

    saved: frozenset[Value] = frozenset()
    again: frozenset[Value] = frozenset()


def choose(
    nest: Nest, saved: Iterable[Value], asked: Iterable[Value], reread: set[Value], held: set[Value]
) -> Plan | None:
    """Return the cheapest way to have all of some values again.

    Parameters
    ----------
    nest : Nest
        Of the primal.
    saved : iterable of Value
        What has been saved so far.
    asked : iterable of Value
        What the reverse program needs.
    reread : set of Value
        Loads whose array is at hand in the reverse program when they are needed.
    held : set of Value
        What lies in arrays that are at hand then.
    """
    wanted = list(dict.fromkeys(asked))
    network = _Network(nest, reread, held)
    before = sum(network.cost(v) for v in set(saved))
    if math.isinf(before):
        return None
    for v in wanted:
        network.need(v)
    saved, again = network.cut(wanted)
    if sum(network.cost(v) for v in saved) > _WORTH * before:
        return None
    return Plan(frozenset(saved), frozenset(again))


# Every value is decided on its own.
NO_PLAN = Plan()


class _Network:
    """Values as nodes: each has an entry and an exit, and the edge between them costs its bytes."""

    def __init__(self, nest: Nest, reread: set[Value], held: set[Value]) -> None:
        self.nest = nest
        self.reread = reread
        self.held = held
        self.number: dict[Value, int] = {}
        # Edges as (target, capacity left); the reverse of edge k is k ^ 1.
        self.target: list[int] = []
        self.left: list[float] = []
        self.edges: list[list[int]] = [[], []]  # of the source, of the sink

    # --- building

    def need(self, value: Value) -> None:
        """Enter a value and all that it can be made from."""
        stack = [value]
        while stack:
            v = stack.pop()
            if v in self.number or self.is_free(v):
                continue
            n = self.number[v] = len(self.edges)
            self.edges += [[], []]
            self.connect(n, n + 1, self.cost(v))
            parts = self.parts(v)
            if parts is None:
                self.connect(0, n, math.inf)
                continue
            stack += parts

    def is_free(self, v: Value) -> bool:
        """Whether a value is at hand everywhere, or comes from the number of the iteration."""
        home = self.nest.home.get(v)
        if home is None or v in self.held:
            return True
        return v.owner is home and v.index == 0 and self.nest.enclosing[home][0].name == "for"

    def parts(self, v: Value) -> list[Value] | None:
        """Return what a value is made from again; None if it cannot be."""
        op = v.op
        if op is None:
            initial = self._invariant(v)
            return None if initial is None else [initial]
        dims = [d for d in v.shape if isinstance(d, Value)] if isinstance(v.type, ArrayType) else []
        if is_cheap(op):
            return [*op.operands, *dims]
        if v in self.reread:
            return [*op.operands[1:], *dims]
        if op.name == "load":
            return [*op.operands, *dims]
        return None

    def _invariant(self, v: Value) -> Value | None:
        home = self.nest.home[v]
        op = self.nest.enclosing[home][0]
        if op.name == "if" or v.owner is not home:
            return None
        position = v.index - (op.name == "for")
        return op.operands[v.index] if home.yields[position : position + 1] == [v] else None

    def cost(self, v: Value) -> float:
        """Return the bytes that saving a value takes."""
        if not isinstance(v.type, ArrayType) or (v.op is not None and v.op.name in _VERSIONS and v.shape):
            return math.inf
        trips = [_trips(op) for op, _ in self.nest.chain(self.nest.home[v]) if op.name != "if"]
        return bytes_of(v.type, trips)

    def connect(self, a: int, b: int, capacity: float) -> None:
        """Enter an edge."""
        for source, target, most in ((a, b, capacity), (b, a, 0.0)):
            self.edges[source].append(len(self.target))
            self.target.append(target)
            self.left.append(most)

    # --- cutting

    def cut(self, wanted: list[Value]) -> tuple[set[Value], set[Value]]:
        """Return the values of a smallest cut, and those between it and what is wanted."""
        for v, n in self.number.items():
            for p in self.parts(v) or ():
                if not self.is_free(p):
                    self.connect(self.number[p] + 1, n, math.inf)
        for v in wanted:
            if v in self.number:
                self.connect(self.number[v] + 1, 1, math.inf)
        while True:
            depth = self._depths()
            if depth[1] < 0:
                break
            at = [0] * len(self.edges)
            while self._augment(depth, at):
                pass
        reached = {k for k, d in enumerate(self._depths()) if d >= 0}
        saved = {v for v, n in self.number.items() if n in reached and n + 1 not in reached}
        again = {v for v, n in self.number.items() if n not in reached and self.parts(v) is not None}
        return saved, again

    def _depths(self) -> list[int]:
        depth = [-1] * len(self.edges)
        depth[0] = 0
        queue = deque([0])
        while queue:
            n = queue.popleft()
            for e in self.edges[n]:
                if self.left[e] > 0 and depth[self.target[e]] < 0:
                    depth[self.target[e]] = depth[n] + 1
                    queue.append(self.target[e])
        return depth

    def _augment(self, depth: list[int], at: list[int]) -> bool:
        """Send as much as one path takes from the source to the sink."""
        path: list[int] = []
        n = 0
        while n != 1:
            while at[n] < len(self.edges[n]):
                e = self.edges[n][at[n]]
                if self.left[e] > 0 and depth[self.target[e]] == depth[n] + 1:
                    break
                at[n] += 1
            else:
                if not path:
                    return False
                n = self.target[path.pop() ^ 1]
                at[n] += 1
                continue
            path.append(e)
            n = self.target[e]
        most = min(self.left[e] for e in path)
        for e in path:
            self.left[e] -= most
            self.left[e ^ 1] += most
        return True


def _trips(op: Op) -> Dim | None:
    """Return the trip count of a loop if it is a known number."""
    n = op.operands[0].op if op.name == "for" else None
    return max(int(n.attrs["value"]), 0) if n is not None and n.name == "constant" else None
