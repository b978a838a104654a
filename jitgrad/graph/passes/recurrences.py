"""What an iteration of a derivative needs of the one before reaches the next by one product and one sum.

    c = ((c + a) * u) * r - (c + a) * w          c = c * (u * r - w) + a * (u * r - w)

Both are one number; but on the left four operations wait for each other, and each iteration for the last one, while on
the right all but one product and one sum are ready before. A processor does these two as one, rounded once (the product
gets `any_rounding`), and the others meanwhile. Likewise a sum of several terms becomes that of the carried number and
all the others, and a product of several factors that of the carried number and all the others.

In: a graph in its final form but for this. Out: the same graph, up to the rounding of what loops carry. Only for loops
of derivatives (`diff/roundings.py` has marked them: no user wrote these sums and products), for floats that reach the
next iteration by sums and differences, products with numbers that do not depend on them and quotients by such. Not
where a choice hangs on them: a cotangent that is not used stays an exact zero whatever it would be multiplied by.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.types import ArrayType

__all__ = ["shorten_recurrences"]

# Cycles that a sum, a difference or a product takes, both as one, and how many start in one cycle.
_WAIT, _FUSED_WAIT, _AT_ONCE = 3, 4, 2
# How many ops a short form may take that take nothing away.
_PLAIN = 3
_SMOOTH = frozenset({"add", "addto", "divide", "multiply", "negative", "select", "store", "subtract"})


def shorten_recurrences(graph: Graph) -> bool:
    """Regroup what the loops of derivatives carry; their marks are taken off."""
    loops = [op for op in graph.walk() if op.name == "for" and "any_rounding" in op.attrs]
    for op in loops:
        op.attrs = {k: v for k, v in op.attrs.items() if k != "any_rounding"}
    changed = False
    for op in loops:
        changed |= _shorten(op.regions[0])
    return changed


def _shorten(body: Block) -> bool:
    needs = _needs(body)
    changed = False
    for k, (arg, end) in enumerate(zip(body.args[1:], body.yields, strict=True)):
        if not isinstance(arg.type, ArrayType) or arg.shape or not arg.type.is_float or end.type != arg.type:
            continue
        if end is not arg and not _waits_for_others(body, needs, k) and not _decides(body, needs, k):
            changed |= _Recurrence(body, arg, end, {v for v, bits in needs.items() if bits >> k & 1}).rewrite()
    return changed


def _needs(body: Block) -> dict[Value, int]:
    """Return on which carried values each value of a body depends other than by way of memory, one bit each."""
    needs = {arg: 1 << k for k, arg in enumerate(body.args[1:])}
    for op in body.ops:
        bits = 0
        for v in op.operands[op.name == "load" :]:
            bits |= needs.get(v, 0)
        for region in op.regions:
            for block in blocks_within(region):
                for v in (*(v for inner in block.ops for v in inner.operands), *block.yields):
                    bits |= needs.get(v, 0)
        if bits:
            needs.update(dict.fromkeys(op.results, bits))
    return needs


def _waits_for_others(body: Block, needs: dict[Value, int], k: int) -> bool:
    """Whether a carried value depends on another one that depends on it: then its own way is not all it waits for."""
    before = [needs.get(y, 0) for y in body.yields]
    reached, more = 0, before[k] & ~(1 << k)
    while more != reached:
        reached = more
        for other, bits in enumerate(before):
            if reached >> other & 1:
                more |= bits
    return bool(reached >> k & 1)


def _decides(body: Block, needs: dict[Value, int], k: int) -> bool:
    """Whether anything but sums, products and stores of numbers hangs on a carried value."""
    for op in body.ops:
        if any(needs.get(r, 0) >> k & 1 for r in op.results):
            mine = [v for v in op.operands if needs.get(v, 0) >> k & 1]
            if op.regions or op.name not in _SMOOTH or not all(v.type.is_float for v in mine):
                return True
    return False


@dataclass
class _Form:
    """`factor * w + rest` of a number w; a factor None is 1, a rest None is 0; `wait` is how long it takes after w."""

    factor: Value | None
    rest: Value | None
    wait: int


class _Recurrence:
    """A carried number, its way to the next iteration, and what that is made from.

    Parameters
    ----------
    body : Block
    arg, end : Value
        What an iteration gets, and what it hands on.
    cone : set of Value
        All that depends on `arg`.
    """

    def __init__(self, body: Block, arg: Value, end: Value, cone: set[Value]) -> None:
        self.body = body
        self.arg = arg
        self.end = end
        self.cone = cone
        self.g = Builder(Block(), end.op.location if end.op is not None else None)
        self.forms: dict[Value, _Form] = {}

    def rewrite(self) -> bool:
        """Hand on the number in its short form if that is worth it."""
        here = [op for op in self.body.ops if not op.regions]
        start, ahead, wait = self._start()
        self.forms[start] = _Form(None, None, wait)
        for op in self._way(here):
            form = self._form(op)
            if form is not None:
                self.forms[op.result] = form
        form, last = self.forms.get(self.end), self.end.op
        if form is None or last is None or self.end is start:
            return False
        factor, rest = form.factor, form.rest
        if ahead is not None:
            rest = self._sum(rest, ahead if factor is None else self.g.multiply(ahead, factor))
        if factor is None and (rest is None or last.attrs.get("any_order")):
            return False
        total = self.arg if factor is None else self.g.multiply(self.arg, factor, any_rounding=True)
        if rest is not None:
            total = self.g.add(total, rest)
        gain = form.wait - (_WAIT if factor is None or rest is None else _FUSED_WAIT)
        flops = sum(op.primitive.is_elementwise for op in here)
        if gain <= 0 or _AT_ONCE * form.wait < flops or len(self.g.block.ops) > _AT_ONCE * gain + _PLAIN:
            return False
        self._put(total)
        return True

    def _way(self, ops: list[Op]) -> list[Op]:
        """Return the ops between the start and the end, in order."""
        way: list[Op] = []
        wanted = {self.end}
        for op in reversed(ops):
            if not wanted.isdisjoint(op.results) and op.results[0] not in self.forms:
                way.append(op)
                wanted.update(v for v in op.operands if v in self.cone)
        return way[::-1]

    def _start(self) -> tuple[Value, Value | None, int]:
        """Return what all that depends on the number is made from: it, or its sum with one that is ready before."""
        users = [op for op in self.body.ops for v in op.operands if v is self.arg]
        if len(users) == 1 and users[0].name == "add" and self.arg not in self.body.yields:
            (other,) = (v for v in users[0].operands if v is not self.arg)
            if other not in self.cone:
                return users[0].result, other, _WAIT
        return self.arg, None, 0

    def _form(self, op: Op) -> _Form | None:
        """Return the result of an op as a sum of a multiple of the start and something else."""
        if any(v in self.cone and v not in self.forms for v in op.operands):
            return None
        given = [self.forms.get(v) for v in op.operands]
        g = self.g
        match op.name, given:
            case "negative", [_Form() as x]:
                return _Form(self._negative(x.factor, op), None if x.rest is None else g.negative(x.rest), x.wait + 1)
            case ("add", [_Form() as x, _Form() as y]):
                wait = max(x.wait, y.wait) + _WAIT
                return _Form(g.add(self._number(x, op), self._number(y, op)), self._both(x.rest, y.rest), wait)
            case ("subtract", [_Form() as x, _Form() as y]):
                wait = max(x.wait, y.wait) + _WAIT
                rest = x.rest if y.rest is None else self._both(x.rest, g.negative(y.rest))
                return _Form(g.subtract(self._number(x, op), self._number(y, op)), rest, wait)
            case ("add", [_Form() as x, None]):
                return _Form(x.factor, self._sum(x.rest, op.operands[1]), x.wait + _WAIT)
            case ("add", [None, _Form() as x]):
                return _Form(x.factor, self._sum(x.rest, op.operands[0]), x.wait + _WAIT)
            case ("subtract", [_Form() as x, None]):
                second = op.operands[1]
                rest = g.negative(second) if x.rest is None else g.subtract(x.rest, second)
                return _Form(x.factor, rest, x.wait + _WAIT)
            case ("subtract", [None, _Form() as x]):
                first = op.operands[0]
                rest = first if x.rest is None else g.subtract(first, x.rest)
                return _Form(self._negative(x.factor, op), rest, x.wait + _WAIT)
            case ("multiply", [_Form() as x, None]):
                return self._times(x, op.operands[1])
            case ("multiply", [None, _Form() as x]):
                return self._times(x, op.operands[0])
            case ("divide", [_Form() as x, None]) if "any_rounding" in op.attrs:
                return self._over(x, op)
        return None

    def _times(self, x: _Form, y: Value) -> _Form:
        factor = y if x.factor is None else self.g.multiply(x.factor, y)
        return _Form(factor, None if x.rest is None else self.g.multiply(x.rest, y), x.wait + _WAIT)

    def _over(self, x: _Form, op: Op) -> _Form:
        """Return a quotient, which is a product with a reciprocal: that needs no waiting for the number."""
        below = op.operands[1]
        factor = self.g.emit("divide", [self._number(x, op), below], op.attrs).result
        rest = None if x.rest is None else self.g.emit("divide", [x.rest, below], op.attrs).result
        return _Form(factor, rest, x.wait + _WAIT)

    def _number(self, x: _Form, op: Op) -> Value:
        return self.g.constant(1.0, op.result.array.dtype) if x.factor is None else x.factor

    def _negative(self, factor: Value | None, op: Op) -> Value:
        return self.g.constant(-1.0, op.result.array.dtype) if factor is None else self.g.negative(factor)

    def _both(self, x: Value | None, y: Value | None) -> Value | None:
        return x if y is None else self._sum(x, y)

    def _sum(self, x: Value | None, y: Value) -> Value:
        return y if x is None else self.g.add(x, y)

    def _put(self, total: Value) -> None:
        """Put the new ops where the last one stood, and let all that follows use their result."""
        ops, last = self.body.ops, self.end.op
        assert last is not None
        at = ops.index(last)
        del ops[at]
        replaced = Replacements()
        replaced.add(self.end, total)
        for block in (inner for op in ops[at:] for region in op.regions for inner in blocks_within(region)):
            replaced.in_block(block)
            for op in block.ops:
                replaced.in_op(op)
            block.yields = replaced.in_values(block.yields)
        for op in ops[at:]:
            replaced.in_op(op)
        self.body.yields = replaced.in_values(self.body.yields)
        ops[at:at] = self.g.block.ops
