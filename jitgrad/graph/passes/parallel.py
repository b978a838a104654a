"""Loops over elements whose iterations may run side by side: what an iteration does, and whether it may.

In: a `for` of a graph. Out: its steps, in a line, and whether no iteration needs what an earlier one wrote, sums aside;
and whether rows would be faster. This room rewrites nothing: `rows.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import NamedTuple

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.index import Pick, Span, index_of
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import box_of, boxes_apart, is_element
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum, bound
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["FUNCTIONS", "PLACED", "Guards", "ParallelLoop", "Step"]

PLACED = frozenset({"addto", "load", "store"})
# What may be computed for iterations that have no use for it, besides divisions.
_QUICK = frozenset(
    {"absolute", "add", "cast", "constant", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "load",
     "logical_and", "logical_not", "logical_or", "maximum", "minimum", "multiply", "negative", "not_equal", "select",
     "sqrt", "subtract"}
)  # fmt: skip
# What rows of rows may have besides elementwise ops.
_BESIDES = frozenset({"broadcast", "constant", "iota", "reduce_marked", "reduce_sum"})
# Ops of all branches together.
_BRANCHES = 40
# Loops of fewer iterations are no longer than what goes before and after a row.
_SHORT = 8
# Ops on rows that one nest does from registers.
_WEIGHT = 40
# What is computed several times faster for many numbers at once.
FUNCTIONS = frozenset(
    {"arccos", "arcsin", "arctan", "arctan2", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "log", "log10",
     "log1p", "log2", "power", "sin", "sinh", "tan", "tanh"}
)  # fmt: skip

# Conditions under which an op runs, each with the side of the branch.
Guards = tuple[tuple[Value, bool], ...]


class Step(NamedTuple):
    """An op of an iteration; a branch or a loop comes behind what is done in it, and stands for its results."""

    op: Op
    guards: Guards


class ParallelLoop:
    """A loop of which the iterations may run side by side.

    Attributes
    ----------
    steps : list of Step
        What an iteration does, one after another.
    within : dict of Op to list of Step
        Of these, what is done in a loop within.
    sums : dict of Op to int
        Sums that add something to a number that the loop carries, and its position.
    serial, in_turn : list of Op, list of int
        What follows from numbers that the loop carries otherwise, a loop of its own behind the rows; which these are.
    position, totals : dict of Value to int
        The versions of the arrays and of the numbers that the loop carries.
    newest : dict of Op to int
        Loads from what an array is when they come, not from what it was before; and how many steps come before.
    now : list of Value
        What became of what the loop carries, up to the step at hand.
    is_within : bool
        Whether that is in a loop within.
    """

    def __init__(self, r: Context, loop: Op) -> None:
        self.r = r
        self.loop = loop
        self.body: Block = loop.regions[0]
        self.index = self.body.args[0]
        self.steps: list[Step] = []
        self.within: dict[Op, list[Step]] = {}
        self.sums: dict[Op, int] = {}
        self.serial: list[Op] = []
        self.in_turn: list[int] = []
        self._waiting: set[Value] = set()
        self.newest: dict[Op, int] = {}
        self.now = list(self.body.args[1:])
        self.inside: set[Value] = set(self.now)
        self.position = {v: k for k, v in enumerate(self.now) if v.shape}
        # How many steps come before each version of an array.
        self._before = dict.fromkeys(self.position, -1)
        self.totals = {v: k for k, v in enumerate(self.now) if not v.shape}
        self.is_within = False

    @property
    def trips(self) -> Sum:
        """How many iterations there are."""
        return as_sum(self.r, self.loop.operands[0])

    def is_possible(self) -> bool:
        """Whether the iterations may run side by side."""
        if bound(self.r, self.trips, 1) < _SHORT:
            return False
        if not self._follow(self.body, ()) or sum(bool(s.guards) for s in self.steps) > _BRANCHES:
            return False
        if self.within and self.is_of_rows:
            return False
        self.in_turn = [k for k, y in enumerate(self.body.yields) if y is not self.now[k]]
        if any(self.body.args[k + 1].shape or self.body.yields[k] in self.totals for k in self.in_turn):
            return False
        waiting = {self.totals[v] for op in self.serial for v in op.operands if v in self.totals}
        if not waiting.union(self.in_turn).isdisjoint(self.sums.values()):
            return False
        return all(self._is_plain(step) for step in self.steps) and self._commute()

    def pays(self, repeated: Set[Value]) -> bool:
        """Whether rows are faster: for stencils and functions, and where they are always as long.

        Rows of another length each time are short ones too, and their ends take longer than all before. Around loops:
        where these add in order, or divide.

        Parameters
        ----------
        repeated : set of Value
            What is computed in loops.
        """
        if any(op.name in FUNCTIONS for op, _ in self.steps):
            return True
        if self.in_turn:
            return False
        if self.within:
            slow = any(op.name in ("divide", "sqrt") for steps in self.within.values() for op, _ in steps)
            return (slow or any(map(self._is_in_order, self.within))) and all(
                self._lies_side_by_side(op) for op, _ in self.steps
            )
        if self._is_stencil():
            return True
        count = self.loop.operands[0]
        return (count not in repeated or self.r.literal(count) is not None) and len(self.steps) <= _WEIGHT

    def _is_in_order(self, loop: Op) -> bool:
        """Whether a loop within adds numbers one after another, of which each iteration has its own."""
        (body,) = loop.regions
        return any(
            y.type.is_float and y not in self.totals and y.op is not None and "any_order" not in y.op.attrs
            for y in body.yields
            if not y.shape
        )

    def _lies_side_by_side(self, op: Op) -> bool:
        """Whether what consecutive iterations touch lies in memory side by side, in loops within."""
        if op.name not in PLACED or not any(op in (s.op for s in steps) for steps in self.within.values()):
            return True
        *_, last = index_of(op)
        return self.axis(op) is None or (isinstance(last, Pick) and self.pace(last.at) in (-1, 1))

    @property
    def is_of_rows(self) -> bool:
        """Whether an iteration works on rows already."""
        return any(v.shape and v not in self.position for op, _ in self.steps for v in op.results)

    def is_lean(self) -> bool:
        """Whether no array of all rows must be made: rows are stored or added where each has a place of its own."""
        return not self.is_of_rows or all(op.name != "addto" or self.axis(op) is not None for op, _ in self.steps)

    def _is_stencil(self) -> bool:
        """Whether it adds to elements to which other iterations add as well."""
        sums = [op for op, _ in self.steps if op.name == "addto" and self.axis(op) is not None]
        return any(
            self.position[x.result] == self.position[y.result] and (self._may_meet(x, y) or self._may_meet(y, x))
            for k, x in enumerate(sums)
            for y in sums[k + 1 :]
        )

    def axis(self, op: Op) -> int | None:
        """Return the axis along which an access moves from iteration to iteration, None if it does not."""
        axes = [k for k, e in enumerate(index_of(op)) if isinstance(e, Pick) and self.pace(e.at)]
        return axes[0] if axes else None

    def pace(self, x: Dim | None) -> int | None:
        """Return by how much an integer grows from iteration to iteration, None if that is not known.

        Where integers wrap, so do positions: those of consecutive iterations lie side by side wherever they are.
        """
        if not isinstance(x, Value) or (x not in self.inside and x is not self.index):
            return 0
        if x is self.index:
            return 1
        op = x.op
        if op is None or op.regions or x.type != INT64:
            return None
        paces = [self.pace(v) for v in op.operands]
        if None in paces or op.name == "load":
            return None
        if not any(paces):
            return 0
        first, *others = paces
        assert first is not None
        if op.name == "negative":
            return -first
        if op.name in ("add", "subtract"):
            assert others[0] is not None
            return first + others[0] if op.name == "add" else first - others[0]
        if op.name != "multiply":
            return None
        (second,) = others
        assert second is not None
        left, right = (self.r.literal(v) for v in op.operands)
        if left is None and right is not None:
            return first * int(right.item())
        return second * int(left.item()) if right is None and left is not None else None

    def _follow(self, block: Block, guards: Guards) -> bool:
        """Note the steps of a block; return whether they are such as rows have."""
        for op in block.ops:
            if op.name == "if":
                if not self._follow_branch(op, guards):
                    return False
            elif op.name == "for" and not guards:
                if not self._follow_loop(op):
                    return False
            elif op.regions or op.primitive.effects:
                return False
            elif op.name in ("addto", "store"):
                array = op.operands[0]
                if array not in self.now or self._waits(op.operands):
                    return False
                self._becomes(self.position[array], op.result)
            elif self._waits(op.operands):
                if not self._is_sum(op):
                    if guards or self.is_within or not self._is_of_numbers(op):
                        return False
                    self.serial.append(op)
                    self._waiting.update(op.results)
                    self.inside.update(op.results)
                    continue
                (k,) = (self.totals[v] for v in op.operands if v in self.totals)
                self.sums[op] = self.totals[op.result] = k
                self.now[k] = op.result
            elif op.name == "load":
                if op.operands[0] in self.now:
                    self.newest[op] = len(self.steps)
            elif any(v in self.position for v in op.operands):
                return False
            self.steps.append(Step(op, guards))
            self.inside.update(op.results)
        return True

    def _follow_loop(self, loop: Op) -> bool:
        """Note what is done in a loop that is as long in all iterations."""
        (body,) = loop.regions
        trips, *inits = loop.operands
        if trips in self.inside or trips is self.index or self.is_within or not self._waiting.isdisjoint(inits):
            return False
        carried: list[int | None] = []
        for init, arg in zip(inits, body.args[1:], strict=True):
            k = self.position.get(init, self.totals.get(init))
            carried.append(k)
            if k is None:
                if arg.shape:
                    return False
                self.inside.add(arg)
                continue
            if init is not self.now[k]:
                return False
            self._becomes(k, arg)
        start = len(self.steps)
        self.is_within = True
        if not self._follow(body, ()):
            return False
        self.is_within = False
        for k, y, result in zip(carried, body.yields, loop.results, strict=True):
            if k is None:
                if self._waits([y]) or y in self.position:
                    return False
                continue
            if y is not self.now[k]:
                return False
            self._becomes(k, result)
        self.within[loop] = self.steps[start:]
        return True

    def _becomes(self, k: int, value: Value) -> None:
        """Note what became of what the loop carries at a position."""
        self.now[k] = value
        if value.shape:
            self.position[value] = k
            self._before[value] = len(self.steps)
        else:
            self.totals[value] = k

    def _waits(self, values: Iterable[Value]) -> bool:
        """Whether values are known only when the iterations before have been."""
        return any(v in self.totals or v in self._waiting for v in values)

    def _is_of_numbers(self, op: Op) -> bool:
        """Whether an op takes and gives numbers alone."""
        numbers = (*op.operands, *op.results)
        return op.primitive.is_elementwise and all(isinstance(v.type, ArrayType) and not v.shape for v in numbers)

    def _is_sum(self, op: Op) -> bool:
        """Whether an op adds to what the loop carries, in any order."""
        added = [v for v in op.operands if v in self.totals]
        if len(added) != 1 or added[0] not in self.now or op.result.shape or not self._waiting.isdisjoint(op.operands):
            return False
        if op.name == "logical_or":
            return True
        first = op.operands[0] is added[0]
        return "any_order" in op.attrs and (op.name == "add" or (op.name == "subtract" and first))

    def _follow_branch(self, op: Op, guards: Guards) -> bool:
        if self._waits(op.operands[:1]):
            return False  # what iterations before have found decides
        start, ends = list(self.now), []
        for region, side in zip(op.regions, (True, False), strict=True):
            self.now = list(start)
            if not self._follow(region, (*guards, (op.operands[0], side))):
                return False
            ends.append(self.now)
        carried = [k for k, (x, y) in enumerate(zip(*ends, strict=True)) if x is not y]
        self.now = start
        for result, *given in zip(op.results, *(region.yields for region in op.regions), strict=True):
            k = next((k for k in carried if ends[0][k] is given[0] and ends[1][k] is given[1]), None)
            if k is None:
                if self._waits(given) or any(v in self.position for v in given):
                    return False
                continue
            carried.remove(k)
            self._becomes(k, result)
        return not carried

    def _is_plain(self, step: Step) -> bool:
        """Whether an op may be one on rows."""
        op, guards = step
        if op.name in ("for", "if"):
            return True
        if guards and op.name not in _QUICK | PLACED:
            return False
        if any(v in self.inside or v is self.index for result in op.results for v in result.type.run_time):
            return False
        if op.name not in PLACED:
            return op.primitive.is_elementwise or op.name in (
                "broadcast",
                "constant",
                "iota",
                "reduce_marked",
                "reduce_sum",
            )
        entries = index_of(op)
        paces = [self.pace(e[0]) for e in entries]
        if None in paces and self.is_gathered(op):
            return not guards
        if any(self.pace(x) != 0 for e in entries for x in e[1:]):
            return False
        moving = [k for k, pace in enumerate(paces) if pace != 0]
        if not moving:
            # One element, which need not be there if the loop does not run.
            runs = bound(self.r, self.trips, -1) >= 1
            if op.name == "store" or (runs and not guards):
                return op.name != "store"
            return is_element(self.r, entries, op.operands[0].shape)
        if len(moving) > 1 or paces[moving[0]] is None or not isinstance(entries[moving[0]], Pick):
            return False
        # Rows lie along the last axis, and the axis of iterations comes first; around loops once in other ways as well.
        if isinstance(entries[-1], Pick) and moving[0] != len(entries) - 1 and not self.within:
            return False
        if any(isinstance(e, Span) for e in entries[: moving[0]]):
            return False
        return not guards or is_element(self.r, entries, op.operands[0].shape)

    def is_gathered(self, op: Op) -> bool:
        """Whether elements are loaded from places that data give, of an array that stays as it is."""
        entries = index_of(op)
        if op.name != "load" or op.operands[0] in self.inside or not all(isinstance(e, Pick) for e in entries):
            return False
        return any(self.pace(e[0]) is None for e in entries)

    # --- whether no iteration needs what an earlier one wrote

    def _commute(self) -> bool:
        accesses: dict[int, list[Op]] = {}
        for op, _ in self.steps:
            if op.name in PLACED and op.operands[0] in self.position:
                accesses.setdefault(self.position[op.operands[0]], []).append(op)
        for ops in accesses.values():
            for k, x in enumerate(ops):
                for y in ops[k + 1 :]:
                    if {x.name, y.name} in ({"load"}, {"addto"}):
                        continue
                    first, then = (x, y) if self._time(x) <= self._time(y) else (y, x)
                    if self._may_meet(first, then) or (self._are_together(x, y) and self._may_meet(then, first)):
                        return False
        return True

    def _are_together(self, *ops: Op) -> bool:
        """Whether accesses are in one loop within, where trips come before iterations."""
        return any({s.op for s in steps}.issuperset(ops) for steps in self.within.values())

    def _time(self, op: Op) -> float:
        """Return when an access comes, as the number of steps before: old versions are kept as they were."""
        if op.name != "load":
            return self._before[op.result]
        return self.newest[op] if op in self.newest else self._before[op.operands[0]] + 0.5

    def _may_meet(self, op: Op, later: Op) -> bool:
        """Whether an op may touch what a later one of an iteration touched in an earlier iteration."""
        r, index = self.r, self.index
        for e, f in zip(index_of(op), index_of(later), strict=True):
            if isinstance(e, Pick) and isinstance(f, Pick):
                x, y = self._sum(e.at), self._sum(f.at)
                factor = x.terms.get(index, 0)
                if factor and factor == y.terms.get(index, 0):
                    # So many iterations later, the one is where the other has been.
                    distance = Sum({}).plus(y.plus(x, -1), 1 if factor > 0 else -1)
                    whole = Sum({}).plus(self.trips, abs(factor))
                    if bound(r, distance, 1) <= 0 or bound(r, distance.plus(whole, -1), -1) >= 0:
                        return False
        anew = {v: another(r, v) for v in (index, *(loop.regions[0].args[0] for loop in self.within))}

        def number(x: Dim) -> Sum:
            found = self._sum(x)
            for v, other in anew.items():
                found = found.plus(Sum({v: -1, other: 1}), found.terms.get(v, 0))
            return found

        return not boxes_apart(r, box_of(op, self._sum), box_of(later, number))

    def _sum(self, x: Dim | None) -> Sum:
        """Return an integer as a sum of the index and of what is the same in all iterations, and else of unknowns."""
        found = as_sum(self.r, x)
        made = Sum({}, found.constant)
        for v, factor in found.terms.items():
            made = made.plus(Sum({Value(INT64, Block(), 0) if v in self.inside else v: 1}), factor)
        return made
