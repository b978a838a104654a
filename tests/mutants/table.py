"""The bugs that are planted, each a change of one place of the package.

A change is of the kind that slips in while one edits: a term dropped, a sign, a condition left out, an order turned. It
leaves a program that runs. A mutant whose text is no longer found in its file is an error: the table must follow the
package.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True)
class Mutant:
    """One planted bug.

    Attributes
    ----------
    name : str
    file : str
        Below `jitgrad/`.
    old, new : str
        `old` stands there once.
    """

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    # --- the adjoint
    Mutant(
        "a read of an array drops the cotangent that was there",
        "graph/diff/reverse_ops.py",
        "total = self.zeros_for(frame, base) if prior is None else prior.value\n",
        "total = self.zeros_for(frame, base)\n",
    ),
    Mutant(
        "the cotangent of what a store overwrote is not zeroed",
        "graph/ops/memory.py",
        "    return store(g, ct, zeros_like(g, op.operands[1]), index_of(op))",
        "    return ct",
    ),
    Mutant(
        "subtraction has a partial of the wrong sign",
        "graph/ops/arithmetic.py",
        "derivative=Partials(lambda g, out, x, y: (ONE, MINUS_ONE)),",
        "derivative=Partials(lambda g, out, x, y: (ONE, ONE)),",
    ),
    Mutant(
        "an arm of a branch forgets the cotangent that it was given",
        "graph/diff/reverse.py",
        "found = [arm.cots.get(key, before) for arm in arms]",
        "found = [arm.cots.get(key) for arm in arms]",
    ),
    Mutant(
        "all of repeated indices get the cotangent, not the last",
        "graph/ops/memory.py",
        "    won = g.equal(g.gather(marks, *indices), order)\n",
        "    won = g.equal(order, order)\n",
    ),
    Mutant(
        "the tangent of a carried value is one iteration behind",
        "graph/diff/tangent.py",
        "copy.yields += [self.tangent_of(region.yields[i]) for i in moving]",
        "copy.yields += [self.tangent_of(region.args[skip + i]) if op.name == 'for' else "
        "self.tangent_of(region.yields[i]) for i in moving]",
    ),
    # --- masks
    Mutant(
        "a second choice forgets the mask of the first",
        "graph/diff/cotangent.py",
        "mask = partial.mask if cot.mask is None else g.logical_and(cot.mask, partial.mask)",
        "mask = partial.mask",
    ),
    Mutant(
        "a product under a mask is not masked",
        "graph/diff/cotangent.py",
        "    return Cot(_select(g, cot.mask, scale(g, ct, partial)), cot.mask)",
        "    return Cot(scale(g, ct, partial), cot.mask)",
    ),
    Mutant(
        "the mask of a sum is that of one of its terms",
        "graph/diff/cotangent.py",
        "mask = x.mask if x.mask is y.mask else g.logical_or(x.mask, y.mask)",
        "mask = x.mask",
    ),
    # --- undoing, residuals
    Mutant(
        "a store is not undone",
        "graph/diff/undo.py",
        "            frame.memo[before] = restored = self._write(op, after, old, where)",
        "            frame.memo[before] = restored = after",
    ),
    Mutant(
        "a step of a counter is undone in the wrong direction",
        "graph/diff/undo.py",
        'inverse = g.subtract if op.name == "add" else g.add',
        'inverse = g.add if op.name == "add" else g.subtract',
    ),
    Mutant(
        "an array is thought restored that is not",
        "graph/diff/undo.py",
        "closed = {i for i in kept if args[i] in hand}",
        "closed = set(kept)",
    ),
    Mutant(
        "values of the wrong iteration: off by one",
        "graph/diff/residuals.py",
        "last = self._emit_in(frame.parent, lambda g: g.subtract(frame.count, g.constant(one)))",
        "last = self._emit_in(frame.parent, lambda g: g.subtract(frame.count, g.constant(one - one)))",
    ),
    Mutant(
        "values of the wrong iteration: in the order of the reverse loop",
        "graph/diff/residuals.py",
        "picks = [Pick(self.iteration(self.frames[region])) for region in site.loops]",
        "picks = [Pick(self.frames[region].block.args[0]) for region in site.loops]",
    ),
    # --- passes
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
        "a store is dead though the next iteration reads it",
        "graph/passes/dependence.py",
        "moved = {index: Sum({index: 1, more: 1}, 1)}",
        "moved = {index: Sum({index: 1, more: 1}, 2)}",
    ),
    # --- slopes that are infinite, kinks, factors that cancel
    Mutant(
        "a steep value that flows to a part is not parted",
        "graph/diff/steep.py",
        "used = reach(before, parts_or_factors) & steep",
        "used = set(parts) & steep",
    ),
    Mutant(
        "a factor that vanishes as fast as a root does is taken for a plain zero",
        "graph/diff/factors.py",
        "(x in steep and w not in rough)",
        "x in steep",
    ),
    Mutant(
        "arguments that move together are taken for apart",
        "graph/diff/factors.py",
        "[] if joint or len(inputs) < 2 else inputs",
        "inputs",
    ),
    Mutant(
        "a cotangent of -0.0 is taken for none",
        "graph/diff/marks.py",
        "    made: Value = g.add(value, 0.0)\n",
        "    made: Value = value\n",
    ),
    Mutant(
        "the root of the square of a root is taken for a kink",
        "graph/diff/minima.py",
        "if op.operands[0] in ended:",
        "if not op.operands:",
    ),
    Mutant(
        "a cusp that a jump turns round is taken for a minimum",
        "graph/diff/minima.py",
        "if cusps and not _meets_jumps(",
        "if cusps or not _meets_jumps(",
    ),
    Mutant(
        "the bounds on one way are taken for those on all",
        "graph/diff/bounds.py",
        "low, high = min(x.low, y.low), max(x.high, y.high)",
        "low, high = max(x.low, y.low), max(x.high, y.high)",
    ),
    Mutant(
        "the root of a square is taken for what was squared",
        "graph/diff/cancellation.py",
        "if exponent == 1.0 or exponent % 1.0 or not (exponent * outer) % 2.0:",
        "if exponent:",
    ),
    # --- what is saved, sums
    Mutant(
        "what is saved in every iteration counts as once",
        "graph/diff/cut.py",
        "return bytes_of(v.type, trips)",
        "return bytes_of(v.type, [])",
    ),
    Mutant(
        "a sum that is read on its way is regrouped",
        "graph/diff/sums.py",
        'arg.type.dtype.kind != "f" or uses.get(arg) != 1:',
        'arg.type.dtype.kind != "f":',
    ),
    # --- passes that move elements
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
        "a vector at the end of a row does not ask whether it is inside",
        "backend/margins.py",
        "before[size, coord.offset] = None",
        "before[size, 0] = None",
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
    # --- buffers
    Mutant(
        "a store in place while the old array is still read",
        "backend/bufferise.py",
        "return buffer.writable and self._free_after(value, when)",
        "return buffer.writable",
    ),
    Mutant(
        "a loop that repeats a read is forgotten",
        "backend/lifetimes.py",
        "                last = end\n",
        "                last = last\n",
    ),
    Mutant(
        "two carried arrays start in one buffer",
        "backend/bufferise.py",
        "straight = found is not None and not found.atoms & used",
        "straight = found is not None",
    ),
    # --- checks, promotion, views
    Mutant(
        "an index one past the end passes",
        "trace/keys.py",
        "inside = g.less(where, n)",
        "inside = g.less_equal(where, n)",
    ),
    Mutant(
        "a division by zero passes",
        "trace/python_arithmetic.py",
        "known_nonzero = not isinstance(y, Scalar) and y != 0",
        "known_nonzero = True",
    ),
    Mutant(
        "Python's numbers promote as NumPy's do",
        "trace/promotion.py",
        "spec = [weak.get(k) or dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]",
        "spec = [dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]",
    ),
    Mutant(
        "a view of a view forgets the stride of the first",
        "trace/keys.py",
        "    at = _plus(ctx, span.start, _times(ctx, start, span.step))",
        "    at = _plus(ctx, span.start, start)",
    ),
    Mutant(
        "dimensions that do not continue each other are walked as one",
        "backend/nesting.py",
        "return outer == inner * size",
        "return abs(outer) == abs(inner) * size",
    ),
    Mutant(
        "iterations that read what the next one stores are said to keep to themselves",
        "backend/independence.py",
        "gap = x.plus(y.plus(Sum({index: -factor, other_index: factor}), 1), -1)",
        "gap = x.plus(y, -1)",
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
        "a loop of a derivative whose results decide something may be rounded otherwise",
        "graph/diff/roundings.py",
        "        if exact.isdisjoint((*op.results, *op.regions[0].yields)):",
        "        if op.results:",
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
        "a load is repeated from a later version although its element has changed",
        "graph/diff/later.py",
        "return write.result if apart(r, known(r, index_of(write)), known(r, index_of(read))) else None",
        "return write.result",
    ),
    Mutant(
        "a quotient that decides a branch is rounded otherwise",
        "graph/diff/roundings.py",
        "if result in exact or op in alone:",
        "if op in alone:",
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
        "a product that is computed a second time is rounded otherwise than the first time",
        "graph/diff/roundings.py",
        'not (is_own or (name == "multiply" and op in repeated))',
        "not is_own",
    ),
    Mutant(
        "the room of a triangular tape is that of its first row",
        "graph/diff/totals.py",
        "body.yields = [g.minimum(g.add(so_far, more), g.constant(np.int64(_MOST)))]",
        "body.yields = [g.minimum(g.maximum(so_far, more), g.constant(np.int64(_MOST)))]",
    ),
    Mutant(
        "sums down the columns are worked on side by side in memory",
        "backend/nesting.py",
        "[k for k in (*outer, *inner) if k not in barred]",
        "[*inner, *outer]",
    ),
    Mutant(
        "a sum of marked cotangents begins at zero",
        "backend/emit_reduce.py",
        "return -0.0",
        "return 0.0",
    ),
    Mutant(
        "a joint nest reads what it has just written",
        "backend/joint_stores.py",
        "if any(of & self._written for of, *_ in read):",
        "if False and any(of & self._written for of, *_ in read):",
    ),
    Mutant(
        "the reciprocal of a product is that of a square",
        "backend/loops.py",
        "[x for x in parts if x is not None]",
        "[parts[0] or made, parts[0] or made]",
    ),
    Mutant(
        "a product is computed where what it reads is overwritten",
        "backend/products.py",
        "        between = self.block.ops[self.place[product] + 1 : self.place[goal]]\n",
        "        between: list[Op] = []\n",
    ),
    Mutant(
        "a product in its place is added to what was there before",
        "backend/emit_matmul.py",
        '1 if op.attrs["onto"] else 0)',
        "1)",
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
    # --- merges, sizes
    Mutant(
        "a chosen array forgets which arrays it may be",
        "trace/joining.py",
        "            for old in cells_of(v):\n",
        "            for old in ():\n",
    ),
    Mutant(
        "which of two types a number has is not told apart",
        "trace/alternatives.py",
        "            # Two alternatives, one each: that of x comes first.\n            made.append(cond)\n",
        "            made.append(g.logical_not(cond))\n",
    ),
    Mutant(
        "a reshape forgets how the caller's array lies in memory",
        "trace/views.py",
        "    if not x.view:\n        return _layout(ctx, x.cell)\n",
        '    if not x.view:\n        return "C"\n',
    ),
    Mutant(
        "sizes that were equal in the calls seen are taken to be so in all",
        "families.py",
        "elif size < wanted.least or found.setdefault(wanted.number, size) != size:",
        "elif size < wanted.least:",
    ),
    Mutant(
        "a compile for all sizes is kept though it may refuse calls",
        "cache.py",
        "if made.refusals <= family.refusals:",
        "if made.refusals is not family.refusals:",
    ),
)
