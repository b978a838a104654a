"""Bugs of derivatives and the declarations of operations: `graph/diff`, `graph/ops`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["DERIVATIVES"]

DERIVATIVES = (
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
    Mutant(
        "a second choice forgets the mask of the first",
        "graph/diff/cotangent.py",
        "for m in (cot.mask, partial.mask, partial.matters):",
        "for m in (partial.mask, partial.matters):",
    ),
    Mutant(
        "a product under a mask is not masked",
        "graph/diff/cotangent.py",
        "    return Cot(_select(g, cot.mask, scale(g, ct, partial), moving), cot.mask)",
        "    return Cot(scale(g, ct, partial), cot.mask)",
    ),
    Mutant(
        "a zero that is the product with a factor of 0 does not move",
        "graph/ops/choice.py",
        "Masked(g.logical_or(mask, g.isfinite(x)))",
        "Masked(mask)",
    ),
    Mutant(
        "what was not chosen moves as a product with a factor of 0 does",
        "graph/diff/cotangent.py",
        "ct = _select(g, partial.mask, ct)  # what",
        "ct = _select(g, partial.mask, ct, moving)  # what",
    ),
    Mutant(
        "the mask of a sum is that of one of its terms",
        "graph/diff/cotangent.py",
        "mask = x.mask if x.mask is y.mask else g.logical_or(x.mask, y.mask)",
        "mask = x.mask",
    ),
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
    Mutant(
        "a loop of a derivative whose results decide something may be rounded otherwise",
        "graph/diff/roundings.py",
        "        if exact.isdisjoint((*op.results, *op.regions[0].yields)):",
        "        if op.results:",
    ),
    Mutant(
        "a load is repeated from a later version although its element has changed",
        "graph/diff/later.py",
        "return write.result if apart(r, place_of(r, write), place_of(r, place)) else None",
        "return write.result",
    ),
    Mutant(
        "the cut begins at what others are made from",
        "graph/diff/adjoint.py",
        "if inner not in repeated:",
        "if inner in repeated:",
    ),
    Mutant(
        "what was stored is read again behind a loop that overwrites it",
        "graph/diff/later.py",
        "if any(dependence.may_touch(store, place) for store in carried.stores):",
        "if not carried.stores:",
    ),
    Mutant(
        "an iteration's place is taken for the same in all of them",
        "graph/diff/later.py",
        "if any(v in dependence.inside or v in dependence.indices for x",
        "if any(v in dependence.inside for x",
    ),
    Mutant(
        "a quotient that decides a branch is rounded otherwise",
        "graph/diff/roundings.py",
        "if result in exact:",
        "if False:",
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
        "a product of factors below 1 is said to be no less than the least of them",
        "graph/diff/bounds.py",
        "low, high = 1.0 if x.low >= 1 else 0.0, 1.0",
        "low, high = x.low, 1.0",
    ),
    Mutant(
        "the larger operand has a bound though it may be no number",
        "graph/diff/bounds.py",
        "    if not any(constants):\n        return _joined(x, y)\n",
        "    if not any(constants):\n        return _larger(x, y)\n",
    ),
    Mutant(
        "the cotangent of a system is solved for with the matrix as it is",
        "graph/ops/systems.py",
        "down = g.lu_solve(a, factors, pivots, cot.value, transposed=not turned)",
        "down = g.lu_solve(a, factors, pivots, cot.value, transposed=turned)",
    ),
    Mutant(
        "a singular matrix of which nothing is used has a slope",
        "graph/ops/systems.py",
        "slope = g.select(nothing, zero, g.multiply(cot.value, inverse))",
        "slope = g.multiply(cot.value, inverse)",
    ),
    Mutant(
        "a cotangent of a determinant that is 0 does not move",
        "graph/ops/systems.py",
        "nothing = g.logical_and(g.equal(cot.value, zero), g.logical_not(g.isfinite(inverse)))",
        "nothing = g.equal(cot.value, zero)",
    ),
    Mutant(
        "what is known of factors is lost in the copy that is differentiated",
        "graph/diff/factors.py",
        "            {copy_of(op, mapping): at for op, at in self.unused.items()},",
        "            {},",
    ),
)
