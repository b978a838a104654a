"""Bugs of the passes over graphs: `graph/passes`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["PASSES"]

PASSES = (
    Mutant(
        "reads of one array at different places are merged",
        "graph/passes/cse.py",
        "attrs_key(op.attrs) if FREEDOMS.isdisjoint(op.attrs) else ()",
        'None if name == "load" else attrs_key(op.attrs)',
    ),
    Mutant(
        "what holds in an arm is believed after it",
        "graph/passes/cse.py",
        "                del self.known[value]\n",
        "                pass\n",
    ),
    Mutant(
        "a read at a run-time place leaves a loop that may not run",
        "graph/passes/licm.py",
        '    return count is not None and count.name == "constant" and bool(count.attrs["value"] >= 1)',
        "    return True",
    ),
    Mutant(
        "a check leaves its loop",
        "graph/passes/licm.py",
        "    if op.primitive.effects or name in _STORAGE:\n        return _PINNED",
        "    if name in _STORAGE:\n        return _PINNED",
    ),
    Mutant(
        "a read goes past a store to a place that may be the same",
        "graph/passes/rules/places.py",
        "or bound(r, other[0].plus(one[1], -1), -1) >= 0",
        "or bound(r, other[0].plus(one[1], -1), -1) >= -1",
    ),
    Mutant(
        "parts that touch at their ends are thought apart",
        "graph/passes/rules/places.py",
        "return max(min(p), min(q)) > min(max(p), max(q))",
        "return max(min(p), min(q)) >= min(max(p), max(q))",
    ),
    Mutant(
        "iterations that read what the next one stores are said to keep to themselves",
        "graph/passes/rules/places.py",
        "gap = x.plus(y.plus(Sum({index: -factor, other: factor}), 1), -1)",
        "gap = x.plus(y, -1)",
    ),
    Mutant(
        "loops become rows though iterations read what others store",
        "graph/passes/parallel.py",
        "                    if self._may_meet(first, then):\n",
        "                    if self._may_meet(first, then) and first is then:\n",
    ),
    Mutant(
        "what the other side of a branch loads is thought to come before this one stores",
        "graph/passes/parallel.py",
        "return self.newest[op] if op in self.newest else self._before[op.operands[0]] + 0.5",
        "return self._before[op.operands[0]] + 0.5",
    ),
    Mutant(
        "a store is dead though the next iteration reads it",
        "graph/passes/dependence.py",
        "moved = {index: Sum({index: 1, more: 1}, 1)}",
        "moved = {index: Sum({index: 1, more: 1}, 2)}",
    ),
    Mutant(
        "an element is carried though others of its row are read",
        "graph/passes/promote.py",
        "(other == place and len(access.path) == 1) or apart(self.context(), place, other)",
        "len(access.path) == 1 or apart(self.context(), place, other)",
    ),
    Mutant(
        "shifted parts that are added stand at a wrong place",
        "graph/passes/gather.py",
        "start: list[int] = [e.start for e in index]",
        "start: list[int] = [max(e.start - 1, 0) for e in index]",
    ),
    Mutant(
        "a step is exchanged though its boundary is read before it is stored",
        "graph/passes/exchange.py",
        'if user is not after[k] and not (user.name == "load" and self._is_apart(user, after[k:])):',
        'if user is not after[k] and user.name != "load":',
    ),
    Mutant(
        "parts that touch are taken to lie apart",
        "graph/passes/rules/places.py",
        "return bound(r, one[0].plus(other[1], -1), -1) >= 0 or",
        "return bound(r, one[0].plus(other[1], -1), -1) >= -1 or",
    ),
    Mutant(
        "what is added to an element of a small array replaces it",
        "graph/passes/scalars.py",
        "changed[k] = g.add(changed[k], e)",
        "changed[k] = e",
    ),
    Mutant(
        "a bound of a loop's index is taken from the wrong end",
        "graph/passes/rules/ranges.py",
        "        if factor * side > 0:\n            last = last_of",
        "        if factor > 0:\n            last = last_of",
    ),
    Mutant(
        "what a carried number is subtracted from keeps its sign where it is regrouped",
        "graph/passes/recurrences.py",
        "rest = first if x.rest is None else g.subtract(first, x.rest)",
        "rest = first if x.rest is None else g.add(first, x.rest)",
    ),
    Mutant(
        "what is added before a product is left out of it where a number is regrouped",
        "graph/passes/recurrences.py",
        "return _Form(factor, None if x.rest is None else self.g.multiply(x.rest, y), x.wait + _WAIT)",
        "return _Form(factor, x.rest, x.wait + _WAIT)",
    ),
    Mutant(
        "a turned array is read at the places of the array as it was",
        "graph/passes/layout.py",
        "attr, ints = split_index(self._rotated(index))",
        "attr, ints = split_index(index)",
    ),
    Mutant(
        "points are put together from one component",
        "graph/passes/components.py",
        "total = store(g, total, part, [*rest, Pick(c)])",
        "total = store(g, total, part, [*rest, Pick(0)])",
    ),
    Mutant(
        "the iteration at which a loop is split runs twice",
        "graph/passes/split.py",
        "behind = g.add(at, g.constant(1, INT64.dtype))",
        "behind = at",
    ),
    Mutant(
        "the second sum into a place becomes a store too",
        "graph/passes/fresh.py",
        "return not any(dependence.may_reach(x, y) for x in sums for y in sums)",
        "return True",
    ),
    Mutant(
        "what the pieces of a row leave is not filled",
        "graph/passes/fresh.py",
        "for k, (low, high) in hole.items():",
        "for k, (low, high) in list(hole.items())[1:]:",
    ),
    Mutant(
        "an element is carried past other stores",
        "graph/passes/rotate.py",
        "if within is not None and _is_next(r, carried, write, read):",
        "if within is not None:",
    ),
    Mutant(
        "the record of states lacks the last one",
        "graph/passes/states.py",
        "full = store(g, record, loop.results[state], [Pick(rows), *whole])",
        "full = store(g, record, loop.operands[state + 1], [Pick(rows), *whole])",
    ),
    Mutant(
        "what was stored is read forwards although it is read backwards",
        "graph/passes/rules/memory.py",
        "        v = flip(r.g, v, axis)\n",
        "        v = flip(r.g, flip(r.g, v, axis), axis)\n",
    ),
    Mutant(
        "a store under a condition is made though its place may be out of range",
        "graph/passes/rules/selects.py",
        "base.op not in region.ops and is_element(r, index_of(op), base.shape)",
        "base.op not in region.ops",
    ),
    Mutant(
        "a loop whose iterations meet in an array is turned round",
        "graph/passes/upward.py",
        "return all(move_alike(index, places[store], place) for store in stores for place in places.values())",
        "return bool(stores)",
    ),
    Mutant(
        "the number of an iteration stays that of the other end when a loop is turned round",
        "graph/passes/upward.py",
        "    replaced.add(index, turned)\n",
        "    replaced.add(index, body.args[0])\n",
    ),
    Mutant(
        "a loop's cotangents are unmarked if those that it begins with are",
        "graph/passes/unmarked.py",
        "found = _all(*ends, self._of(op.operands[k + skip]))",
        "found = self._of(op.operands[k + skip])",
    ),
    Mutant(
        "a choice is used if either side is",
        "graph/passes/unmarked.py",
        "        _either(_both(a, b), ",
        "        _either(_either(a, b), ",
    ),
    Mutant(
        "the rows of a product behind a loop begin where the loop begins",
        "graph/passes/batch.py",
        "first if step == 1 else first.plus(last_of(self.r, k), -1), step)",
        "first, step)",
    ),
    Mutant(
        "a sum that a loop reads is taken out of it",
        "graph/passes/batch.py",
        "for v in (arg, value, total.result)):",
        "for v in (value, total.result)):",
    ),
    Mutant(
        "a product whose sum is asked for a mark is rounded with it",
        "graph/passes/asked.py",
        'op.name in ("multiply", "for")',
        'op.name == "for"',
    ),
    Mutant(
        "the bits of a byte are read in another order than they were written",
        "graph/passes/packing.py",
        "g.constant(1 << k, _BYTE), zero)",
        "g.constant(1 << (len(group) - 1 - k), _BYTE), zero)",
    ),
    Mutant(
        "a bool of a byte is stored before it is computed",
        "graph/passes/packing.py",
        "last = max(group,",
        "last = min(group,",
    ),
    Mutant(
        "rows that meet a row of all are taken with others at once",
        "graph/passes/jam.py",
        "for m in group.meetings:",
        "for m in group.meetings[:0]:",
    ),
    Mutant(
        "what a row has written is read by the next one before it is there",
        "graph/passes/groups.py",
        "return self._are_apart(one, other, range(1, ROWS))",
        "return True",
    ),
    Mutant(
        "a row is not as far behind the one before as it must be",
        "graph/passes/groups.py",
        "trips = distance * self.behind * abs(factor)",
        "trips = distance * (self.behind + 1) * abs(factor)",
    ),
    Mutant(
        "a row behind the one before makes a trip too many",
        "graph/passes/jam.py",
        "g.less(at, trips))",
        "g.less_equal(at, trips))",
    ),
    Mutant(
        "an op is passed over although what it uses has changed",
        "graph/passes/simplify.py",
        "settled is None or not stable.issuperset(op.operands) or settled[0]",
        "settled is None or settled[0]",
    ),
    Mutant(
        "a pass is given a survey of what the graph was before",
        "graph/passes/survey.py",
        "kept.ready = None if changed else kept.given or kept.ready",
        "kept.ready = kept.given or kept.ready",
    ),
)
