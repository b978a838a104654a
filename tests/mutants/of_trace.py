"""Bugs of the front end, and of what keeps compiled calls: `trace`, `families.py`, `cache.py`."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["TRACE"]

TRACE = (
    Mutant(
        "an index one past the end passes",
        "trace/keys.py",
        "inside = g.less(where, n)",
        "inside = g.less_equal(where, n)",
    ),
    Mutant(
        "a name that may be a new array is taken to be one of the caller's",
        "trace/fitting.py",
        "if head.cell.sure and any(map(may_be_new, choices)):",
        "if False and any(map(may_be_new, choices)):",
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
        "the lists of a list all begin with its first item",
        "trace/columns.py",
        "g.list_get(items, g.add(first, k))",
        "g.list_get(items, k)",
    ),
    Mutant(
        "what is taken of a list of objects may be stored to",
        "trace/columns.py",
        "    ctx.take(cell, made.cell)\n    return made\n",
        "    return made\n",
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
    Mutant(
        "a loop goes over the items that a list had before it",
        "trace/loops.py",
        "        iterator = up_to_date(ev, iterator)\n",
        "",
    ),
    Mutant(
        "a list that grew may grow on while a loop goes over it",
        "trace/loops.py",
        "(isinstance(now, Value) and keeps_length(now, before))",
        "isinstance(now, Value)",
    ),
    Mutant(
        "an iterator has its items again after a loop",
        "trace/iteration.py",
        '        ctx.heap[x.cell] = (("rest", None),)\n',
        "",
    ),
    Mutant(
        "what a branch stores is left out where each way out of it raises",
        "trace/branches.py",
        "        if not alive:\n            self.commit()\n",
        "",
    ),
    Mutant(
        "a loop over a generator sees what it does at once",
        "trace/generators.py",
        "acts = not changed.isdisjoint(seen)",
        "acts = False",
    ),
    Mutant(
        "keys of run-time numbers are told apart as objects",
        "trace/subscripts.py",
        "parts = [dict_key(ctx, part) for part in key]",
        "parts = list(key)",
    ),
    Mutant(
        "a generator is not seen to read attributes",
        "trace/generators.py",
        "                if x.cls is not Once:\n",
        "                if False:\n",
    ),
    Mutant(
        "items of rows that were taken at once are not watched",
        "trace/watching.py",
        "*(Watched(Read(c), ctx.heap[c]) for c in cells if c in ctx.heap)",
        "*()",
    ),
    Mutant(
        "a loop drops what a handler holds that called its function",
        "trace/branches.py",
        "        return [*self.memories(), *self.roots, *(values for _, values in self.held)]",
        "        return [*self.memories(), *self.roots]",
    ),
    Mutant(
        "what an operator holds is not put back behind a loop that its method ran",
        "trace/branches.py",
        "        if self.heap.keys() >= before.keys():\n",
        "        if True:\n",
    ),
    Mutant(
        "a store in a loop to an array from outside is not seen behind it",
        "trace/evaluator.py",
        "        if cell in self.outside.late:",
        "        if False:",
    ),
    Mutant(
        "what buffers are exchanged for is found out in one more trace",
        "trace/carried_lists.py",
        "given = tuple(Ref(c) for c in cells_of(found) if c in self.entry.heap)",
        "given = ()",
    ),
)
