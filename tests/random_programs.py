"""Random programs over numbers, vectors and a matrix, as source text: `write(seed)`.

A program draws a few features (masks, helper functions, lists, exceptions, ...) and is made of what the grammar has for
them: so each program mixes few things thoroughly, and all of them meet over many seeds. Every loop ends. A vector has
four elements and the matrix two rows, so that most statements are valid; some are not, and raise. What NumPy leaves
open is not written: a store at repeated indices of the array's own elements.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

__all__ = ["write"]

LENGTH = 4
_MOST_DEPTH = 5

FEATURES = (
    "closures", "comprehensions", "dicts", "exceptions", "float32", "functions", "helpers", "ints", "lists", "masks",
    "matrix", "permutations", "rows", "ternaries", "views",
)  # fmt: skip

# (weight, feature that it needs, text); a slot in braces is filled by the rules of that name, or by the writer.
Rules = tuple[tuple[float, str, str], ...]
GRAMMAR: dict[str, Rules] = {
    "number": (
        (6, "", "{num}"),
        (2, "", "{constant}"),
        (8, "", "({number} {op} {number})"),
        (3, "", "{function}({number})"),
        (8, "", "{vec}[{place}]"),
        (1, "", "m[{row}, {place}]"),
        (2, "", "{vec}.{reduction}()"),
        (1, "", "{largest}({number}, {number})"),
        (1, "", "({number} / (2.0 + abs({number})))"),
        (1, "", "({vec} @ {vec})"),
        (2, "closures", "inner({number})"),
        (2, "comprehensions", "sum([e {op} {num} for e in {vec}])"),
        (1, "comprehensions", "max(abs(e) for e in {vec})"),
        (3, "dicts", 'd["p"]'),
        (1, "dicts", 'd["q"][{place}]'),
        (1, "exceptions", "({number} / {number})"),
        (1, "exceptions", "math.sqrt({number})"),
        (1, "exceptions", "math.log({number})"),
        (2, "float32", "float(h[{place}])"),
        (1, "float32", "float((h * {num}).sum())"),
        (1, "functions", "np.linalg.norm({vector})"),
        (1, "functions", "np.sqrt({number} ** 2 + 1.0)"),
        (1, "functions", "np.prod({vec})"),
        (1, "functions", "np.std({vec})"),
        (1, "functions", "(0.5 * {number}) ** {power}"),
        (1, "functions", "np.arctan2({number}, {number})"),
        (3, "helpers", "helper_number({vec}, {vec}, {number})"),
        (3, "ints", "{int}"),
        (1, "ints", "float({int})"),
        (2, "lists", "sum(xs)"),
        (2, "lists", "xs[-1]"),
        (1, "lists", "len(xs)"),
        (2, "masks", "{vec}[{mask}].sum()"),
        (1, "masks", "np.sum({mask})"),
        (2, "matrix", "m[:, {place}].sum()"),
        (1, "matrix", "np.sum(m * {number})"),
        (1, "matrix", "np.trace(m @ m.T)"),
        (2, "permutations", "{vec}[idx[{place}]]"),
        (1, "permutations", "{vec}[np.argmax({vec})]"),
        (2, "ternaries", "({number} if {condition} else {number})"),
        (1, "views", "{vec}[1:][::-1][{row}]"),
    ),
    "vector": (
        (8, "", "{vec}"),
        (6, "", "({vector} {op} {vector})"),
        (4, "", "({vector} {op} {number})"),
        (2, "", "{ufunc}({vector})"),
        (2, "", "np.where({vector} {compare} {number}, {vector}, {vec})"),
        (1, "", "m[{row}]"),
        (2, "", "{vec}[::-1]"),
        (1, "", "np.maximum({vec}, {vector})"),
        (1, "", "{vec}.copy()"),
        (1, "", "np.zeros(4)"),
        (1, "", "m.sum(axis=0)"),
        (1, "", "np.cumsum({vec})"),
        (1, "", "m.T @ m[:, 0]"),
        (1, "closures", "outer_vector()"),
        (2, "comprehensions", "np.array([e * {num} for e in {vec}])"),
        (1, "comprehensions", "np.array([{vec}[j] {op} {vec}[3 - j] for j in range(4)])"),
        (2, "dicts", 'd["q"]'),
        (2, "float32", "h"),
        (1, "functions", "np.sort({vector})"),
        (1, "functions", "np.clip({vector}, -1.0, {number})"),
        (1, "functions", "np.sqrt({vector} ** 2 + 1.0)"),
        (1, "functions", "np.roll({vec}, {row})"),
        (1, "functions", "np.cumprod({vec})"),
        (1, "functions", "np.diff({vec}, append={number})"),
        (1, "functions", "np.interp({vec}, np.sort({vec}), {vector})"),
        (3, "helpers", "helper_vector({vec}, {vec}, {number})"),
        (2, "masks", "{vector} * {mask}"),
        (1, "masks", "np.where({mask}, {number}, {vector})"),
        (1, "matrix", "m[0] * m[1]"),
        (1, "matrix", "{vec} @ (m.T @ m)"),
        (1, "matrix", "m.reshape(4, 2) @ m[:, {place}]"),
        (2, "permutations", "{vec}[idx]"),
        (1, "permutations", "{vec}[np.argsort({vec})]"),
        (2, "ternaries", "({vec} if {condition} else {vec})"),
        (1, "ternaries", "({vector} if {condition} else {vector})"),
        (1, "views", "m.reshape(-1)[2:6]"),
        (1, "views", "m.ravel()[::2]"),
        (1, "views", "m.reshape(4, 2)[:, {row}]"),
        (1, "views", "m[::-1, ::-1][{row}]"),
        (1, "views", "np.concatenate([{vec}[2:], {vec}[:2]])"),
        (1, "views", "m.T[:, {row}][::-1]"),
    ),
    "condition": (
        (12, "", "{number} {compare} {number}"),
        (1, "", "k > 1"),
        (1, "", "n % 2 == 0"),
        (1, "", "k == n"),
        (1, "", "flag"),
        (2, "", "{num} > 0 and {condition}"),
        (2, "", "{num} > 0 or {condition}"),
        (1, "", "not {condition}"),
        (1, "lists", "len(xs) > 2"),
        (1, "lists", "xs"),
        (2, "masks", "np.any({mask})"),
        (1, "masks", "np.all({mask})"),
        (1, "ints", "{int} < {int}"),
    ),
    "mask": (
        (3, "", "({vec} {compare} {num})"),
        (1, "", "(({vec} {compare} {vec}) & ({vec} > -1.0))"),
        (1, "", "~({vec} > {num})"),
    ),
    "int": (
        (3, "", "k"),
        (1, "", "n"),
        (1, "", "({int} + 1)"),
        (1, "", "({int} - {int})"),
        (1, "", "{int} % 3"),
        (1, "", "{int} // 2"),
        (1, "", "int({number})"),
    ),
    "statement": (
        (8, "", "{numtarget} = {number}"),
        (5, "", "{numtarget} {update} {number}"),
        (8, "", "{vectarget} = {vector}"),
        (4, "", "{vectarget} = {vec}{view}"),
        (3, "", "{pair} = {exchanged}"),
        (5, "", "{vec}[{place}] = {number}"),
        (5, "", "{vec}[{place}] {update} {number}"),
        (3, "", "{vec}[{part}] = {number}"),
        (4, "", "{vec}[{part}] = {vec}[:{size}]"),
        (3, "", "{vec}[{part}] {update} {vec}[:{size}]"),
        (2, "", "m[{row}] = {vector}"),
        (2, "", "m[{row}] {update} {vector}"),
        (2, "", "{vec} {update} {number}"),
        (2, "", "{vec} {update} {vec}"),
        (2, "", "k = k + {step}"),
        (1, "", "{vec}[1:] = {vec}[:-1]"),
        (1, "", "{vec}[1:-1] = 0.5 * ({vec}[2:] + {vec}[:-2])"),
        (2, "dicts", 'd["p"] {update} {number}'),
        (2, "dicts", 'd["q"][{place}] {update} {number}'),
        (1, "dicts", 'd["q"] = {vector}'),
        (1, "dicts", 'd["r"] = {number}'),
        (1, "exceptions", 'assert {condition}, "a condition"'),
        (2, "float32", "h[{place}] = {number}"),
        (1, "float32", "h {update} {vector}"),
        (1, "float32", "h = ({vector}).astype(np.float32)"),
        (1, "float32", "h = h * 0.5 + h[::-1]"),
        (4, "helpers", "helper({vec}, {vec}, {number})"),
        (1, "ints", "k = {int}"),
        (4, "lists", "xs.append({number})"),
        (1, "lists", "xs[-1] {update} {number}"),
        (1, "lists", "{numtarget} = xs.pop()"),
        (3, "masks", "{vec}[{mask}] = {number}"),
        (3, "masks", "{vec}[{mask}] {update} {number}"),
        (1, "masks", "np.copyto({vec}, {vector}, where={mask})"),
        (1, "matrix", "m[:, {place}] = {number}"),
        (2, "matrix", "m[:, 1:3] {update} {vec}[:2]"),
        (2, "matrix", "m[0], m[1] = m[1], m[0]"),
        (1, "matrix", "m[:] = m[::-1]"),
        (1, "matrix", "m {update} {number}"),
        (1, "matrix", "m[{row}, {place}] {update} {number}"),
        (1, "matrix", "m[0] {update} m[1]"),
        (3, "permutations", "np.add.at({vec}, idx, 1.0 * {vector})"),
        (2, "permutations", "{vec}[idx] = 1.0 * {vector}"),
        (2, "permutations", "{vec}[idx] {update} {vector}"),
        (1, "permutations", "idx[{place}] = {row}"),
        (1, "permutations", "idx = np.argsort({vec})"),
        (1, "views", "m.T[{place}] {update} {number}"),
        (1, "views", "m.reshape(-1)[3:6] {update} {number}"),
        (1, "views", "{vec}[1:][::2] {update} {vec}[:2]"),
        (1, "views", "{vec}[::2][1] = {number}"),
        (1, "views", "{vec}[::-1][:3] = {vec}[1:]"),
        (1, "views", "m[::-1, ::2] {update} {number}"),
        (1, "views", "np.multiply({vec}, {number}, out={vec})"),
    ),
}

_WORDS: dict[str, tuple[str, ...]] = {
    "compare": ("<", ">", "<="),
    "constant": ("0.5", "1.0", "-1.5", "2"),
    "function": ("np.sin", "math.tanh", "abs", "np.cos", "float", "np.abs"),
    "largest": ("max", "min"),
    "op": ("+", "-", "*"),
    "power": ("2", "3", "2.0"),
    "reduction": ("sum", "max", "mean", "min"),
    "row": ("0", "1", "-1"),
    "step": ("1", "n", "-1"),
    "ufunc": ("np.sin", "np.tanh", "np.abs", "-"),
    "update": ("+=", "-=", "*="),
    "view": ("", "", "[:]", "[::-1]"),
}
_SLOT = re.compile(r"\{(\w+)\}")
# What holds no other expression may end one.
_DEEP = re.compile(r"\{(number|vector|condition|int|mask)\}")


@dataclass
class _Writer:
    """Writes the body of one function."""

    rng: random.Random
    features: frozenset[str]
    numbers: tuple[str, ...] = ("s", "t", "x")
    assigned_numbers: tuple[str, ...] = ("s", "t")
    vectors: tuple[str, ...] = ("u", "v", "w", "a")
    assigned_vectors: tuple[str, ...] = ("u", "v", "w")
    result: str = ""
    budget: int = 12
    depth: int = 1
    loops: int = 0
    counters: int = 0
    index: list[str] = field(default_factory=list)
    exchanged: str = ""
    lines: list[str] = field(default_factory=list)

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def odds(self, chance: float) -> bool:
        return self.rng.random() < chance

    # --- text from rules

    def text(self, kind: str, deep: int) -> str:
        """Return a text of a kind, in which expressions lie in each other at most so deep."""
        rules = [(w, t) for w, need, t in GRAMMAR[kind] if not need or need in self.features]
        if deep <= 0:
            rules = [(w, t) for w, t in rules if not _DEEP.search(t)] or rules
        weights, texts = zip(*rules, strict=True)
        low = self.rng.randrange(3)
        high = self.rng.randrange(low + 1, LENGTH + 1)
        known = {"part": f"{low}:{high}", "size": str(high - low)}
        (template,) = self.rng.choices(texts, weights)
        return _SLOT.sub(lambda found: known.get(found[1]) or self.fill(found[1], deep - 1), template)

    def fill(self, slot: str, deep: int) -> str:
        """Return what stands in a slot."""
        if slot in GRAMMAR:
            return self.text(slot, deep)
        if slot in _WORDS:
            return self.rng.choice(_WORDS[slot])
        if slot == "place":
            return self.place()
        if slot == "pair":
            names = self.rng.sample(self.assigned_vectors, self.rng.choice((2, 2, len(self.assigned_vectors))))
            self.exchanged = ", ".join((*names[1:], names[0]))
            return ", ".join(names)
        if slot == "exchanged":
            return self.exchanged
        names_of = {
            "num": self.numbers,
            "numtarget": self.assigned_numbers,
            "vec": self.vectors,
            "vectarget": self.assigned_vectors,
        }
        return self.rng.choice(names_of[slot])

    def place(self) -> str:
        """Return an index of a vector, seldom one out of range."""
        if self.odds(0.03):
            return "k"
        if self.index and self.odds(0.5):
            i = self.rng.choice(self.index)
            return self.rng.choice((i, f"{i} - 1", f"-1 - {i}"))
        return self.rng.choice(("0", "1", "2", "3", "-1"))

    def condition(self) -> str:
        if self.index and self.odds(0.2):
            return f"{self.index[-1]} {self.rng.choice(('==', '>', '!='))} {self.rng.randrange(3)}"
        return self.text("condition", 2)

    # --- statements

    def block(self, count: int) -> None:
        before = len(self.lines)
        for _ in range(count):
            if self.budget <= 0:
                break
            self.statement()
        if len(self.lines) == before:
            self.put("pass")

    def nested(self, most: int) -> None:
        self.depth += 1
        self.block(self.rng.randrange(1, most + 1))
        self.depth -= 1

    def statement(self) -> None:
        self.budget -= 1
        kind = self.rng.random()
        if kind < 0.14 and self.depth < _MOST_DEPTH:
            self.choice()
        elif kind < 0.28 and self.depth < _MOST_DEPTH - 1:
            self.loop()
        elif kind < 0.32 and (self.loops or self.odds(0.3)):
            self.leave()
        elif kind < 0.36 and "exceptions" in self.features:
            self.put(f"if {self.condition()}:")
            self.put(f'    raise {self.rng.choice(("ValueError", "RuntimeError", "KeyError"))}("decided by data")')
        else:
            self.put(self.text("statement", 3))

    def choice(self) -> None:
        self.put(f"if {self.condition()}:")
        self.nested(3)
        if self.odds(0.15):
            self.put(f"elif {self.condition()}:")
            self.nested(2)
        if self.odds(0.5):
            self.put("else:")
            self.nested(2)

    @contextmanager
    def inside(self, numbers: str = "", vectors: str = "", index: str = "") -> Iterator[None]:
        """Let the body of a loop read other names."""
        kept = self.numbers, self.vectors, list(self.index)
        self.numbers += tuple(numbers.split())
        self.vectors += tuple(vectors.split())
        self.index += index.split()
        self.loops += 1
        yield
        self.loops -= 1
        self.numbers, self.vectors, self.index = kept

    def loop(self) -> None:
        kind = self.rng.random()
        if "rows" in self.features and kind < 0.5:
            self.loop_over_items()
        elif kind < 0.75:
            name = "ijl"[self.loops] if self.loops < 3 else "z"
            bound = self.rng.choice(("n", "3", "4", "len(a)", "n + 1", "0", "2"))
            start = self.rng.choice(("", "1, ")) if bound != "0" else ""
            self.put(f"for {name} in {self.rng.choice(('', '', '', 'reversed'))}(range({start}{bound})):")
            with self.inside(index=name):
                self.nested(4)
        else:
            # A counter of its own ends it whatever the body does.
            counter = f"c{self.counters}"
            self.counters += 1
            self.put(f"{counter} = 0")
            if self.odds(0.3):
                self.put("while True:")
                self.put(f"    {counter} += 1")
                self.put(f"    if {counter} > {self.rng.choice(('n', '3'))} or {self.condition()}:")
                self.put("        break")
            else:
                self.put(f"while {counter} < {self.rng.choice(('n', '3'))} and ({self.condition()}):")
                self.put(f"    {counter} += 1")
            with self.inside():
                self.nested(3)
        if self.odds(0.15):
            self.put("else:")
            self.nested(2)

    def loop_over_items(self) -> None:
        level = self.loops
        row, item, i = f"row{level}", f"e{level}", f"i{level}"
        head, names = self.rng.choice(
            (
                (f"{row} in m", {"vectors": row}),
                (f"{i}, {row} in enumerate(m)", {"vectors": row, "index": i}),
                (f"{item} in {self.fill('vec', 0)}", {"numbers": item}),
                (f"{i}, {item} in enumerate({self.fill('vec', 0)})", {"numbers": item, "index": i}),
                (f"{item}, {item}_ in zip(u, v)", {"numbers": f"{item} {item}_"}),
                (f"{row}, {item} in zip(m, {self.fill('vec', 0)})", {"numbers": item, "vectors": row}),
            )
        )
        self.put(f"for {head}:")
        with self.inside(**names):
            self.nested(3)

    def leave(self) -> None:
        self.put(f"if {self.condition()}:")
        if self.loops and self.odds(0.75):
            self.put(f"    {self.rng.choice(('break', 'continue'))}")
        else:
            self.put(f"    return {self.result}")


_HELPERS = {"helper": "", "helper_number": "c", "helper_vector": "y"}
_LOCAL = frozenset({"comprehensions", "exceptions", "functions", "masks", "ternaries"})


def _helpers(rng: random.Random, features: frozenset[str]) -> list[str]:
    """Return functions that store into what they are given: one returns nothing, one a number, one an array."""
    lines: list[str] = []
    for name, result in _HELPERS.items():
        w = _Writer(rng, features & _LOCAL, ("c", "b"), ("c", "b"), ("y", "z"), ("y", "z"), result)
        w.budget = rng.randrange(1, 5)
        w.lines.append(f"def {name}(y, z, c, k=1, n=2, flag=True):")
        w.put("m = np.ones((2, 4))")
        w.put("b = y[0]" if result != "c" else "b = 0.5")
        w.put("a = z")
        w.block(4)
        w.put(f"return {result}" if result != "c" else "return float(c)")
        lines += [*w.lines, "", ""]
    return lines


def write(seed: int) -> str:
    """Return the source of a random function `f(a, m, x, n, flag)`, and of those that it calls."""
    rng = random.Random(seed)
    chance = rng.choice((0.0, 0.1, 0.25, 0.25, 0.4))
    features = frozenset(f for f in FEATURES if rng.random() < chance)
    result = "s, t, k, u.copy(), v.copy(), w.copy()"
    result += ", sum(xs), len(xs)" * ("lists" in features)
    result += ', d["p"], d["q"].copy()' * ("dicts" in features)
    result += ", h.copy()" * ("float32" in features)
    w = _Writer(rng, features, result=result)
    if "helpers" in features:
        w.lines += _helpers(rng, features)
    w.lines.append("def f(a, m, x, n, flag):")
    w.put(f"s = {rng.choice(('x', '0.5', 'x * 2.0', 'a[0]'))}")
    w.put("t = 1.0")
    w.put("k = 0")
    w.put(f"u = {rng.choice(('a', 'a.copy()', 'a * 2.0', 'm[0]'))}")
    w.put(f"v = {rng.choice(('u', 'a[::-1]', 'np.zeros(4)', 'm[1] * 1.0'))}")
    w.put(f"w = {rng.choice(('np.ones(4)', 'a + 1.0', 'v'))}")
    if "lists" in features:
        w.put(f"xs = {rng.choice(('[]', '[x]', '[1.0, x]'))}")
    if "dicts" in features:
        w.put(f'd = {{"p": {rng.choice(("x", "0.5"))}, "q": {rng.choice(("a.copy()", "u", "np.ones(4)"))}}}')
    if "float32" in features:
        w.put(f"h = {rng.choice(('a.astype(np.float32)', 'np.ones(4, np.float32)'))}")
    if "permutations" in features:
        w.put(f"idx = np.array({rng.choice(('[0, 2, 2, 1]', '[3, 1, 0, 2]', '[1, 1, 1, 1]'))})")
    if "closures" in features:
        plain = replace(w, features=features - {"closures"})
        w.put("def inner(z):")
        w.put(f"    return z * {plain.text('number', 1)} + {plain.text('number', 1)}")
        w.put("def outer_vector():")
        w.put(f"    return {plain.text('vector', 1)}")
    w.budget = rng.randrange(3, 16)
    while w.budget > 0:
        w.block(3)
    w.put(f"return {result}")
    return "\n".join(w.lines) + "\n"
