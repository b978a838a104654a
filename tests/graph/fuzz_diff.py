"""Random structured programs, and their derivatives checked to second order.

    python -m tests.graph.fuzz_diff --minutes 10 --seed 1

Programs nest `for`, `while` and `if`, store elements and slices, swap arrays, keep old versions, push on lists, capture
outer values. A failure prints the seed that rebuilds the program.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.memory import Pick, Span, add_to, load, store
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ListType
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import floats, get, integer, put
from tests.graph.diff_check import check_derivatives, forward, reverse

__all__ = ["check_seed", "random_program"]

_SIZE = 4
_MOST_OPS = 90


class _Env:
    """Named variables of a program; loops carry some of them."""

    def __init__(self, scalars: list[Value], arrays: list[Value], ints: list[Value], lists: list[Value]) -> None:
        self.scalars, self.arrays, self.ints, self.lists = scalars, arrays, ints, lists

    def copy(self) -> _Env:
        return _Env(list(self.scalars), list(self.arrays), list(self.ints), list(self.lists))

    def slots(self) -> list[tuple[str, int]]:
        return [(kind, i) for kind in ("scalars", "arrays", "lists") for i in range(len(getattr(self, kind)))]

    def read(self, slot: tuple[str, int]) -> Value:
        return getattr(self, slot[0])[slot[1]]

    def write(self, slot: tuple[str, int], value: Value) -> None:
        getattr(self, slot[0])[slot[1]] = value


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("f", [FLOAT64, FLOAT64, floats(_SIZE), floats(_SIZE), INT64], ["s", "t", "a", "b", "n"])
        self.g = Builder(self.graph)
        s, t, a, b, n = self.graph.args
        self.n = n
        items = self.g.list_push(self.g.list_empty(type=ListType(FLOAT64)), s)
        env = _Env([s, t], [a, b], [integer(self.g, 1)], [items])
        self.count = 0
        for _ in range(self.rng.integers(2, 6)):
            self.statement(env, 0)
        g = self.g
        whole = g.list_to_array(env.lists[0], g.list_length(env.lists[0]))
        self.graph.yields = [*env.scalars, *env.arrays, g.reduce_sum(g.sin(whole), axes=(0,)), n]

    def pick(self, items: list[Any]) -> Any:
        return items[self.rng.integers(len(items))]

    def scalar(self, env: _Env) -> Value:
        g = self.g
        kind = self.rng.integers(7)
        if kind < 3:
            return self.pick(env.scalars)
        if kind < 5:
            return get(g, self.pick(env.arrays), self.pick(env.ints))
        if kind == 5:
            x, y = self.pick(env.arrays), self.pick(env.arrays)
            return g.reduce_sum(g.multiply(x, y), axes=(0,))
        items = self.pick(env.lists)
        return g.list_get(items, g.subtract(g.list_length(items), integer(g, 1)))

    def mix(self, x: Value, y: Value) -> Value:
        g = self.g
        kind = self.rng.integers(7)
        if kind == 0:
            return g.sin(g.multiply(x, y))
        if kind == 1:
            return g.add(g.multiply(x, 0.7), g.multiply(y, 0.3))
        if kind == 2:
            return g.multiply(x, g.cos(y))
        if kind == 3:
            return g.divide(x, g.add(2.0, g.sin(y)))
        if kind == 4:
            return g.select(g.less(x, y), g.sin(x), g.multiply(y, 0.9))
        if kind == 5:
            return g.sqrt(g.add(1.0, g.multiply(g.sin(x), g.sin(x))))
        return g.subtract(x, g.multiply(y, 0.5))

    def statement(self, env: _Env, depth: int) -> None:
        self.count += 1
        choices = ["scalar", "store", "store", "addto", "slice", "array", "swap", "push", "old", "list_set"]
        if depth < 3 and self.count < 24:
            choices += ["for", "for", "for", "if", "if", "while"]
        getattr(self, "do_" + self.pick(choices))(env, depth)

    def do_scalar(self, env: _Env, depth: int) -> None:
        env.write(("scalars", self.rng.integers(2)), self.mix(self.scalar(env), self.scalar(env)))

    def do_store(self, env: _Env, depth: int) -> None:
        k = self.rng.integers(2)
        env.arrays[k] = put(self.g, env.arrays[k], self.mix(self.scalar(env), self.scalar(env)), self.pick(env.ints))

    def do_addto(self, env: _Env, depth: int) -> None:
        k = self.rng.integers(2)
        v = self.mix(self.scalar(env), self.scalar(env))
        env.arrays[k] = add_to(self.g, env.arrays[k], v, [Pick(self.pick(env.ints))])

    def do_slice(self, env: _Env, depth: int) -> None:
        g, k = self.g, self.rng.integers(2)
        length: Any = int(self.rng.integers(0, 4)) if self.rng.random() < 0.6 else self.pick(env.ints)
        index = [Span(0, 1, length)]
        x, y = load(g, self.pick(env.arrays), index), load(g, self.pick(env.arrays), index)
        env.arrays[k] = store(g, env.arrays[k], self.mix(x, y), index)

    def do_array(self, env: _Env, depth: int) -> None:
        env.arrays[self.rng.integers(2)] = self.mix(self.pick(env.arrays), self.pick(env.arrays))

    def do_swap(self, env: _Env, depth: int) -> None:
        env.arrays.reverse()

    def do_push(self, env: _Env, depth: int) -> None:
        env.lists[0] = self.g.list_push(env.lists[0], self.scalar(env))

    def do_list_set(self, env: _Env, depth: int) -> None:
        name = "list_set" if self.rng.random() < 0.5 else "list_addto"
        v = self.mix(self.scalar(env), self.scalar(env))
        env.lists[0] = self.g.emit(name, [env.lists[0], integer(self.g, 0), v]).result

    def do_old(self, env: _Env, depth: int) -> None:
        k = self.rng.integers(2)
        old = env.arrays[k]
        self.do_store(env, depth)
        env.scalars[0] = self.mix(env.scalars[0], get(self.g, old, self.pick(env.ints)))

    def inside(self, env: _Env, depth: int) -> None:
        for _ in range(self.rng.integers(1, 4)):
            self.statement(env, depth + 1)

    def carried(self, env: _Env) -> list[tuple[str, int]]:
        slots = [s for s in env.slots() if self.rng.random() < 0.7]
        return slots or [("scalars", 0)]

    def do_for(self, env: _Env, depth: int) -> None:
        g, slots = self.g, self.carried(env)
        kind = self.rng.integers(4)
        n = self.n if kind == 0 else self.pick(env.ints) if kind == 1 else integer(g, int(self.rng.integers(0, 4)))
        inits = [env.read(s) for s in slots]
        with g.region([INT64, *(v.type for v in inits)]) as region:
            inner = env.copy()
            inner.ints.append(region.args[0])
            for s, arg in zip(slots, region.args[1:], strict=True):
                inner.write(s, arg)
            self.inside(inner, depth)
            region.yields = [inner.read(s) for s in slots]
        for s, v in zip(slots, g.emit("for", [n, *inits], regions=[region]).results, strict=True):
            env.write(s, v)

    def do_if(self, env: _Env, depth: int) -> None:
        g, slots = self.g, self.carried(env)
        cond = g.less(self.scalar(env), self.scalar(env))
        regions = []
        for _ in range(2):
            with g.region() as region:
                inner = env.copy()
                if self.rng.random() < 0.8:
                    self.inside(inner, depth)
                region.yields = [inner.read(s) for s in slots]
            regions.append(region)
        for s, v in zip(slots, g.emit("if", [cond], regions=regions).results, strict=True):
            env.write(s, v)

    def do_while(self, env: _Env, depth: int) -> None:
        g, slots = self.g, self.carried(env)
        inits = [env.read(s) for s in slots] + [integer(g, 0)]
        types = [v.type for v in inits]
        bound = float(self.rng.normal(1.0, 0.5))
        with g.region(types) as cond:
            going = g.less(cond.args[-1], integer(g, int(self.rng.integers(1, 4))))
            at = next((i for i, t in enumerate(types) if t == FLOAT64), None)
            if at is not None:
                going = g.logical_and(going, g.less(cond.args[at], bound))
            assert going.type == BOOL
            cond.yields = [going]
        with g.region(types) as body:
            inner = env.copy()
            inner.ints.append(body.args[-1])
            for s, arg in zip(slots, body.args[:-1], strict=True):
                inner.write(s, arg)
            self.inside(inner, depth)
            body.yields = [inner.read(s) for s in slots] + [g.add(body.args[-1], integer(g, 1))]
        for s, v in zip(slots, g.emit("while", inits, regions=[cond, body]).results[:-1], strict=True):
            env.write(s, v)


def random_program(seed: int) -> Graph:
    """Return the program of a seed."""
    return _Maker(seed).graph


def check_seed(seed: int, *, second: bool = True) -> float | None:
    """Return the worst relative error of a random program's derivatives, None if the program is too large.

    Finite differences fail where a comparison flips between the points, so each program has three chances with them.
    """
    graph = random_program(seed)
    if sum(1 for _ in graph.walk()) > _MOST_OPS:
        return None
    verify(graph)
    rng = np.random.default_rng(seed)
    for attempt in range(3):
        args: list[Any] = [np.float64(x) for x in rng.uniform(0.2, 1.5, 2)]
        args += [rng.uniform(0.2, 1.5, _SIZE), rng.uniform(0.2, 1.5, _SIZE), np.int64(rng.integers(-1, 4))]
        try:
            worst = check_derivatives(graph, args, rng)
            break
        except AssertionError:
            if attempt == 2:
                raise
    for step in (reverse, forward) if second else ():
        derived, its_args = step(graph, args, rng)
        verify(derived)
        worst = max(worst, check_derivatives(derived, its_args, rng, numeric=False))
    return worst


def main() -> None:
    """Check random programs until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    seed, checked, worst = options.seed, 0, 0.0
    while time.monotonic() < end:
        try:
            error = check_seed(seed)
        except Exception as failure:
            print(f"seed {seed}: {type(failure).__name__}: {str(failure)[:300]}", flush=True)
            error = None
        if error is not None:
            checked += 1
            worst = max(worst, error)
            if error > 1e-9:
                print(f"seed {seed}: error {error:.1e}", flush=True)
        seed += 1
    print(f"{checked} programs to second order, worst error {worst:.1e}")


if __name__ == "__main__":
    main()
