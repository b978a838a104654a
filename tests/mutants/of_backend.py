"""Bugs of the backend."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["BACKEND"]

BACKEND = (
    Mutant(
        "rows of a small product are written beyond its last",
        "backend/emit_small.py",
        "together = min(most, 1 << (len(rows) - i).bit_length() - 1)",
        "together = most",
    ),
    Mutant(
        "a small matrix that lies across memory is read as if by rows",
        "backend/emit_small.py",
        "[j * count + i for j in range(lanes)]",
        "[i * lanes + j for j in range(lanes)]",
    ),
    Mutant(
        "the product of transposed small matrices is taken in the order of the others",
        "backend/emit_small.py",
        "x, y, out, (m, n) = flipped(y), flipped(x), flipped(out), (n, m)",
        "x, y, out, (m, n) = flipped(x), flipped(y), flipped(out), (n, m)",
    ),
    Mutant(
        "a vector at the end of a row does not ask whether it is inside",
        "backend/margins.py",
        "before[size, coord.offset] = None",
        "before[size, 0] = None",
    ),
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
    Mutant(
        "dimensions that do not continue each other are walked as one",
        "backend/nesting.py",
        "return outer == inner * size",
        "return abs(outer) == abs(inner) * size",
    ),
    Mutant(
        "rows are thought in step at other columns",
        "backend/structure.py",
        "return all(x == y or (isinstance(x, Pick) and isinstance(y, Pick)) for x, y in zip(one, other, strict=True))",
        "return len(one) == len(other)",
    ),
    Mutant(
        "an edge against the order of steps leaves their places as they are",
        "backend/precedence.py",
        "            if before.place > after.place:\n                self._reorder(before, after)\n",
        "",
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
        "backend/reciprocals.py",
        "_become(built, made, MULTIPLY, parts)",
        "_become(built, made, MULTIPLY, [parts[0], parts[0]])",
    ),
    Mutant(
        "the reciprocal of a root is made without regard to 0",
        "backend/reciprocals.py",
        "_CHOOSE, [either, inverse, product]",
        "_CHOOSE, [either, product, product]",
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
        "what a loop hands on as a multiple of what it was waits for the product and for the sum",
        "backend/emit_scalar.py",
        "any(_handed_on(x) is op.results[0] for x in v.op.operands)",
        "any(_handed_on(x) is v for x in v.op.operands)",
    ),
    Mutant(
        "a nest writes over what it reads at other places",
        "backend/bufferise.py",
        "return [v for v, own in straight.items() if own]",
        "return list(straight)",
    ),
    Mutant(
        "a nest runs before stores that read what it writes over",
        "backend/joint_stores.py",
        "if written & self._written or any(written & of for of, _ in self._read):",
        "if written & self._written:",
    ),
    Mutant(
        "a row that is exchanged with itself turns the sign of a determinant",
        "backend/emit_systems.py",
        'f"icmp ne i64 {pivot}, {e.text.add(k, 1)}"',
        'f"icmp ne i64 {pivot}, {e.text.add(k, 0)}"',
    ),
    Mutant(
        "where LLVM looks for vectors, it does not see into functions",
        "backend/engine.py",
        'if helpers and level not in ("short", "full") else',
        "if helpers else",
    ),
    Mutant(
        "the one entry takes any object of a name for what it was",
        "backend/plain.py",
        '        t.unless(same, "no")\n',
        "",
    ),
    Mutant(
        "the one entry takes a list of one result for that result",
        "backend/plain.py",
        "    return form.result.children if isinstance(form.result, TupleResult) else (form.result,)",
        "    return getattr(form.result, 'children', (form.result,))",
    ),
    Mutant(
        "arrays made for a body that fails are kept",
        "backend/plain.py",
        '    t.start("bad")\n    t.do(f"call void @jg_drop(ptr {made}, i64 {count})")\n',
        '    t.start("bad")\n',
    ),
)
