"""The bugs that are planted, each a change of one place of the package, and the tests that should find it first.

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
    tests : tuple of str
        What pytest runs first, below `tests/`, in order.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_DIFF = ("graph/test_adjoint.py", "graph/test_diff_programs.py")
_TANGENT = ("graph/test_tangent.py", "graph/test_diff_programs.py")
_MASKS = ("graph/test_masks.py", "graph/test_diff_programs.py")
_PASSES = ("graph/test_passes.py", "graph/test_diff_programs.py")
_BUFFERS = ("backend/test_bufferise.py", "backend/test_lower.py")
_STORES = ("programs/test_textbook.py",)
_TRACE = ("trace/test_builtins.py", "trace/test_numpy_calls.py", "test_smoke.py", "programs/test_programs.py")

MUTANTS = (
    # --- the adjoint
    Mutant(
        "a read of an array drops the cotangent that was there",
        "graph/diff/reverse_ops.py",
        "total = self.zeros_for(frame, base) if prior is None else prior.value\n",
        "total = self.zeros_for(frame, base)\n",
        _DIFF,
    ),
    Mutant(
        "the cotangent of what a store overwrote is not zeroed",
        "graph/ops/memory.py",
        "    return store(g, ct, zeros_like(g, op.operands[1]), index_of(op))",
        "    return ct",
        _DIFF,
    ),
    Mutant(
        "subtraction has a partial of the wrong sign",
        "graph/ops/arithmetic.py",
        "derivative=Partials(lambda g, out, x, y: (ONE, MINUS_ONE)),",
        "derivative=Partials(lambda g, out, x, y: (ONE, ONE)),",
        ("graph/test_conventions.py", *_DIFF),
    ),
    Mutant(
        "an arm of a branch forgets the cotangent that it was given",
        "graph/diff/reverse.py",
        "found = [arm.cots.get(key, before) for arm in arms]",
        "found = [arm.cots.get(key) for arm in arms]",
        _DIFF,
    ),
    Mutant(
        "all of repeated indices get the cotangent, not the last",
        "graph/ops/memory.py",
        "    won = g.equal(g.gather(marks, *indices), order)\n",
        "    won = g.equal(order, order)\n",
        ("graph/test_adjoint.py", "graph/test_diff_programs.py", "graph/test_registry.py"),
    ),
    Mutant(
        "the tangent of a carried value is one iteration behind",
        "graph/diff/tangent.py",
        "copy.yields += [self.tangent_of(region.yields[i]) for i in moving]",
        "copy.yields += [self.tangent_of(region.args[skip + i]) if op.name == 'for' else "
        "self.tangent_of(region.yields[i]) for i in moving]",
        _TANGENT,
    ),
    # --- masks
    Mutant(
        "a second choice forgets the mask of the first",
        "graph/diff/cotangent.py",
        "mask = partial.mask if cot.mask is None else g.logical_and(cot.mask, partial.mask)",
        "mask = partial.mask",
        ("programs/test_small.py", *_MASKS),
    ),
    Mutant(
        "a product under a mask is not masked",
        "graph/diff/cotangent.py",
        "    return Cot(_select(g, cot.mask, scale(g, ct, partial)), cot.mask)",
        "    return Cot(scale(g, ct, partial), cot.mask)",
        _MASKS,
    ),
    Mutant(
        "the mask of a sum is that of one of its terms",
        "graph/diff/cotangent.py",
        "mask = x.mask if x.mask is y.mask else g.logical_or(x.mask, y.mask)",
        "mask = x.mask",
        _MASKS,
    ),
    # --- undoing, residuals
    Mutant(
        "a store is not undone",
        "graph/diff/undo.py",
        "            frame.memo[before] = restored = self._write(op, after, old, where)",
        "            frame.memo[before] = restored = after",
        _DIFF,
    ),
    Mutant(
        "a step of a counter is undone in the wrong direction",
        "graph/diff/undo.py",
        'inverse = g.subtract if op.name == "add" else g.add',
        'inverse = g.add if op.name == "add" else g.subtract',
        _DIFF,
    ),
    Mutant(
        "an array is thought restored that is not",
        "graph/diff/undo.py",
        "closed = {i for i in kept if args[i] in hand}",
        "closed = set(kept)",
        _DIFF,
    ),
    Mutant(
        "values of the wrong iteration: off by one",
        "graph/diff/residuals.py",
        "last = self._emit_in(frame.parent, lambda g: g.subtract(frame.count, g.constant(one)))",
        "last = self._emit_in(frame.parent, lambda g: g.subtract(frame.count, g.constant(one - one)))",
        _DIFF,
    ),
    Mutant(
        "values of the wrong iteration: in the order of the reverse loop",
        "graph/diff/residuals.py",
        "picks = [Pick(self.iteration(self.frames[region])) for region in site.loops]",
        "picks = [Pick(self.frames[region].block.args[0]) for region in site.loops]",
        _DIFF,
    ),
    # --- passes
    Mutant(
        "reads of one array at different places are merged",
        "graph/passes/cse.py",
        "attrs_key(op.attrs) if FREEDOMS.isdisjoint(op.attrs) else ()",
        'None if name == "load" else attrs_key(op.attrs)',
        _STORES,
    ),
    Mutant(
        "what holds in an arm is believed after it",
        "graph/passes/cse.py",
        "                del self.known[value]\n",
        "                pass\n",
        _PASSES,
    ),
    Mutant(
        "a read at a run-time place leaves a loop that may not run",
        "graph/passes/licm.py",
        '    return count is not None and count.name == "constant" and bool(count.attrs["value"] >= 1)',
        "    return True",
        (*_PASSES, "programs/test_programs.py"),
    ),
    Mutant(
        "a check leaves its loop",
        "graph/passes/licm.py",
        "    if op.primitive.effects or name in _STORAGE:\n        return _PINNED",
        "    if name in _STORAGE:\n        return _PINNED",
        _PASSES,
    ),
    Mutant(
        "a read goes past a store to a place that may be the same",
        "graph/passes/rules/places.py",
        "    return low > 0 or high < 0\n",
        "    return low >= 0 or high < 0\n",
        ("programs/test_small.py", "graph/test_dependence.py", *_PASSES),
    ),
    Mutant(
        "parts that touch at their ends are thought apart",
        "graph/passes/rules/places.py",
        "return max(min(p), min(q)) > min(max(p), max(q))",
        "return max(min(p), min(q)) >= min(max(p), max(q))",
        _STORES,
    ),
    Mutant(
        "a store is dead though the next iteration reads it",
        "graph/passes/dependence.py",
        "moved = {index: Sum({index: 1, more: 1}, 1)}",
        "moved = {index: Sum({index: 1, more: 1}, 2)}",
        ("graph/test_dependence.py",),
    ),
    # --- buffers
    Mutant(
        "a store in place while the old array is still read",
        "backend/bufferise.py",
        "return buffer.writable and self._free_after(value, when)",
        "return buffer.writable",
        _BUFFERS,
    ),
    Mutant(
        "a loop that repeats a read is forgotten",
        "backend/lifetimes.py",
        "                last = end\n",
        "                last = last\n",
        _BUFFERS,
    ),
    Mutant(
        "two carried arrays start in one buffer",
        "backend/bufferise.py",
        "straight = buffer is not None and self._plain(buffer) and not buffer.atoms & used",
        "straight = buffer is not None and self._plain(buffer)",
        _STORES,
    ),
    # --- checks, promotion, views
    Mutant(
        "an index one past the end passes",
        "trace/keys.py",
        "inside = g.less(where, n)",
        "inside = g.less_equal(where, n)",
        ("test_smoke.py", "test_errors.py", "programs/test_programs.py"),
    ),
    Mutant(
        "a division by zero passes",
        "trace/python_arithmetic.py",
        "known_nonzero = not isinstance(y, Scalar) and y != 0",
        "known_nonzero = True",
        _TRACE,
    ),
    Mutant(
        "Python's numbers promote as NumPy's do",
        "trace/promotion.py",
        "spec = [weak.get(k) or dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]",
        "spec = [dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]",
        _TRACE,
    ),
    Mutant(
        "a view of a view forgets the stride of the first",
        "trace/keys.py",
        "    at = _plus(ctx, span.start, _times(ctx, start, span.step))",
        "    at = _plus(ctx, span.start, start)",
        _STORES,
    ),
)
