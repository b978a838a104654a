"""What a call returns: how to rebuild it, and the yields of the graph that its leaves are.

In: the abstract value that the traced function gave. Out: a result tree (`results.py`), and the values that the graph
yields for it. What is one array in the program is one in the result, or the call is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import (
    Abstract,
    AnyOf,
    BoundMethod,
    Cell,
    Columns,
    DictRef,
    External,
    Func,
    ListRef,
    Maybe,
    OneOf,
    Poison,
    Record,
    Ref,
    Scalar,
    TaggedRef,
    Text,
)
from jitgrad.trace.algorithms.containers import STANDS_FOR
from jitgrad.trace.algorithms.tuples import LongTuple, as_tuple
from jitgrad.trace.alternatives import single_choices
from jitgrad.trace.arrays import as_array, read
from jitgrad.trace.columns import content_of, grown_length, pool_item, pool_position
from jitgrad.trace.identity import UNKNOWN, known_option, option_of, options_of
from jitgrad.trace.inspection import cells_of, pool_of, undefined
from jitgrad.trace.instructions import bound_value, refuse_poison
from jitgrad.trace.iteration import Held, Once
from jitgrad.trace.obligations import Restart
from jitgrad.trace.places import has_places
from jitgrad.trace.pools import needs_pools
from jitgrad.trace.results import (
    ArgumentResult,
    ChoiceResult,
    DictResult,
    GrownResult,
    LeafResult,
    ListResult,
    Nth,
    ObjectResult,
    StaticResult,
    TupleResult,
    ViewResult,
    with_numbers,
)
from jitgrad.trace.storage import all_items
from jitgrad.trace.ways import flag_of

__all__ = ["Returned"]


class Returned:
    """The results of one trace.

    Attributes
    ----------
    yields : list of Value
    orders : dict of int to int
        Yields that lie in memory as leaves of the call do, by which they are derivatives.
    rank_0 : set of int
        Yields that are arrays of rank 0.
    """

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.yields: list[Value] = []
        self.orders: dict[int, int] = {}
        self.rank_0: set[int] = set()
        self.shared: set[Cell] = set()
        self.returned: set[Cell] = set()  # the arrays among the results
        self.pools: set[Cell] = set()  # those of which several arrays are results, or lists of such
        self.parts: set[Cell] = set()  # those of which views of arrays are results
        self.rows: dict[Cell, LeafResult] = {}
        self.choices: dict[int, ChoiceResult] = {}  # by identity of the abstract values, which the trace keeps

    def look_at(self, x: Any, sharing: bool) -> None:
        """Note which arrays are returned, and if it matters those of which several views are, which share memory."""
        seen: dict[Cell, set[Ref]] = {}
        todo = [x]
        visited: set[Cell] = set()
        while todo:
            x = todo.pop()
            if isinstance(x, Ref):
                seen.setdefault(x.cell, set()).add(x)
            elif isinstance(x, tuple):
                todo.extend(x)
            elif isinstance(x, OneOf | TaggedRef):
                self.returned |= set(cells_of(x))
                self.parts |= {c for c in cells_of(x) if c.pool is not None}
            elif isinstance(x, ListRef | DictRef | Record) and x.cell not in visited:
                visited.add(x.cell)
                todo.append(self.ctx.heap[x.cell])
            elif isinstance(x, Columns):
                self.pools |= {c for c in (pool_of(x),) if c is not None}
                todo.extend(part for part in x.lists if isinstance(self.ctx.heap[part.cell], Columns))
        self.returned |= set(seen)
        self.pools |= {c for c, refs in seen.items() if len(refs) > 1 and all(map(pool_item, refs))}
        self.parts |= {c for c, refs in seen.items() if c.pool is not None and not all(map(pool_item, refs))}
        if sharing:
            self.shared = {cell for cell, refs in seen.items() if len(refs) > 1 and cell.arrays is None}

    def result(self, x: Any) -> Any:
        """Return how to rebuild a result; its leaves become yields of the graph."""
        ctx = self.ctx
        x = bound_value(ctx, "the result", x) if isinstance(x, Maybe | Poison) else x
        refuse_poison(ctx, x, "the result")
        if isinstance(x, Scalar | AnyOf):
            return self._number(x)
        if isinstance(x, OneOf):
            return self._one_of(x)
        if isinstance(x, Ref | TaggedRef):
            return self._array(x)
        if isinstance(x, tuple) and not _plain(x):
            return TupleResult(type(x), tuple(self.result(v) for v in x))
        if isinstance(x, ListRef):
            items = content_of(ctx, x.cell)
            if isinstance(items, tuple):
                return ListResult(tuple(self.result(v) for v in items))
            return self._grown(x)
        if isinstance(x, DictRef):
            pairs = ctx.heap[x.cell]
            return DictResult(tuple(k for k, _ in pairs), tuple(self.result(v) for _, v in pairs))
        if isinstance(x, Record):
            if x.cls is LongTuple:
                ((_, items),) = ctx.heap[x.cell]
                return TupleResult(as_tuple, (self.result(items),))
            if x.cls in STANDS_FOR:
                raise ctx.error("JG225", what=f"a {STANDS_FOR[x.cls].__name__}")
            if x.cls in (Held, Once):
                raise ctx.error("JG225", what="an iterator")
            pairs = ctx.heap[x.cell]
            return ObjectResult(x.cls, tuple(k for k, _ in pairs), tuple(self.result(v) for _, v in pairs))
        if isinstance(x, External):
            return StaticResult(x.thing)
        if isinstance(x, np.ndarray):
            return self._leaf(as_array(ctx, x), "array")
        if isinstance(x, Abstract):
            inside = "a function made inside"
            names = {BoundMethod: inside, Func: inside, Text: "a text with parts known only at run time"}
            raise ctx.error("JG225", what=names.get(type(x), "a " + type(x).__name__))
        return StaticResult(x)

    def _grown(self, x: ListRef) -> GrownResult:
        """Return how to rebuild a list whose length is known only at run time."""
        ctx = self.ctx
        if not self._apart(x):
            # Which of the items are one thing is known where the loop unrolls.
            try:
                ctx.note_static(Scalar(grown_length(ctx, x), "int"), "the length of a list that is returned")
            except UnsupportedError:
                again = needs_pools(ctx, {x.cell.arrays})
                if again is not None:
                    raise again from None
                raise ctx.error("JG225", what="a list that grew in a loop, of things that may be one") from None
        held = ctx.heap[x.cell]
        if isinstance(held, Columns) and (pool := pool_of(held)) is not None:
            return GrownResult("pooled", (self._rows(pool), self._leaf(as_array(ctx, held.lists[0]), "array")))
        if isinstance(held, Columns):
            return GrownResult(held.cls, tuple(map(self._grown, held.lists)))
        rows = self._leaf(all_items(ctx, held), "array")
        name = ctx.list_kinds.get(x.cell, "array")
        return GrownResult(tuple(ctx.objects) if name == "object" else name, (rows,))

    def _rows(self, pool: Cell) -> LeafResult:
        """Return the arrays of a pool as rows of one array."""
        if pool not in self.rows:
            self.rows[pool] = self._leaf(all_items(self.ctx, self.ctx.heap[pool]), "array")
        return self.rows[pool]

    def _apart(self, x: ListRef) -> bool:
        """Whether the items of a list that grew are surely things of their own, which nothing else returned is."""
        ctx = self.ctx
        held = ctx.heap[x.cell]
        if (pool := pool_of(held)) is not None:
            return pool not in self.parts
        if isinstance(held, Columns):
            return issubclass(held.cls, tuple) and all(map(self._apart, held.lists))
        kind = ctx.list_kinds.get(x.cell, "array")
        if kind != "array" or has_places(x.cell):
            return kind != "mixed" and x.cell not in self.returned
        wanted = {(("places",), x.cell.site)} - ctx.obligations.tagged
        if wanted and x.cell.site is not None:
            raise Restart(wanted, "a list of arrays is returned")
        return False

    def _one_of(self, x: OneOf) -> ChoiceResult:
        """Return how to rebuild one of several values: what one of them holds is no other result's."""
        if id(x) not in self.choices:
            tag = self._tag(x.flags)
            children = []
            for k, choice in enumerate(x.choices):
                choice = self._guarded(choice, flag_of(self.ctx, x, k))
                results, self.ctx.results = self.ctx.results, {}
                choices, self.choices = self.choices, {}
                children.append(self.result(choice))
                self.ctx.results, self.choices = results, choices
            self.choices[id(x)] = ChoiceResult(tag.index, tuple(children))
        return self.choices[id(x)]

    def _guarded(self, x: Any, flag: Value) -> Any:
        """Return a choice, part of a new array as such only where it is made: elsewhere there may be no such part."""
        ctx = self.ctx
        if not isinstance(x, Ref) or not x.view or x.cell in self.shared or options_of(ctx, x):
            return x
        with ctx.g.region() as then:
            then.yields = [read(ctx, x)]
        with ctx.g.region() as other:
            other.yields = [undefined(ctx, then.yields[0].type)]
        return ctx.fresh(ctx.g.emit("if", [flag], {}, [then, other]).result)

    def _number(self, x: Scalar | AnyOf) -> Any:
        flags, kinds, values = zip(*single_choices(self.ctx, x), strict=True)
        if len(kinds) == 1:
            return self._leaf(values[0], kinds[0])
        tag = self._tag(flags[:-1])
        return ChoiceResult(tag.index, tuple(self._leaf(v, k) for v, k in zip(values, kinds, strict=True)))

    def _tag(self, flags: Sequence[Value]) -> LeafResult:
        """Return which of some choices is made, the last having no flag."""
        which = self.ctx.constant(len(flags), np.int64)
        for k, flag in reversed(list(enumerate(flags))):
            which = self.ctx.g.select(flag, self.ctx.constant(k, np.int64), which)
        return self._leaf(which, "int")

    def _leaf(self, value: Value, kind: str) -> LeafResult:
        index = len(self.yields)
        self.yields.append(value)
        if kind == "array" and not value.shape:
            self.rank_0.add(index)
        late = any(isinstance(d, Value) and d not in self.ctx.least_sizes for d in value.shape)
        if late:
            # The entry learns the size from the body.
            self.yields += [self.ctx.dim(d) for d in value.shape]
        return LeafResult(index, kind, late)

    def _array(self, x: Any) -> Any:
        ctx = self.ctx
        seen = ctx.results.get(x)
        if seen is None and pool_item(x) in self.pools:
            return GrownResult("pool item", (self._rows(x.cell), self.result(pool_position(x))))
        if seen is None:
            options = options_of(ctx, x)
            known = known_option(ctx, x, options)
            if known is not None:
                seen = self._new_array(x) if known == len(options) else self._of_argument(options[known])
            else:
                if UNKNOWN in options:
                    raise ctx.error("JG225", what="an array that is a view of an argument or not, as data decide,")
                tag = self._leaf(option_of(ctx, x, options), "int")
                children = (*(self._of_argument(o) for o in options), self._new_array(x))
                seen = ChoiceResult(tag.index, children)
            ctx.results[x] = seen
        return seen

    def _new_array(self, x: Any) -> Any:
        if isinstance(x, Ref) and x.view and x.cell in self.shared:
            whole = self._array(Ref(x.cell))
            if isinstance(whole, LeafResult):
                return self._view(whole, x)
        made = self._leaf(read(self.ctx, x), "array")
        if isinstance(x, Ref) and x.cell.like is not None:
            self.orders[made.index] = x.cell.like
        return made

    def _of_argument(self, x: Ref) -> Any:
        """Return how to get an argument, or a view of it."""
        leaf = x.cell.argument
        assert leaf is not None
        return self._view(leaf, x) if x.view else ArgumentResult(leaf)

    def _view(self, base: int | LeafResult, x: Ref) -> ViewResult:
        if x in self.ctx.unsure:
            raise self.ctx.error("JG225", what="an array or a view of it, as data decide,")
        numbers: list[LeafResult] = []

        def fixed(number: Any) -> Any:
            if not isinstance(number, Value):
                return number
            numbers.append(self._leaf(number, "int"))
            return Nth(len(numbers) - 1)

        return ViewResult(base, tuple(with_numbers(link, fixed) for link in x.view), tuple(numbers))


def _plain(x: tuple[Any, ...]) -> bool:
    return all(not isinstance(v, Abstract | np.ndarray) and (not isinstance(v, tuple) or _plain(v)) for v in x)
