"""From a transform and the specs of a call's arguments to a graph: the front door of the tracer.

Out: a `Traced`. A trace is begun again when it finds out that an int must be known or that a merge must be a tagged
choice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from jitgrad.errors import JitgradError, UnsupportedError, error, raise_at
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import INT64, ArrayType, Dim, GraphTypeError
from jitgrad.options import OPTIONS
from jitgrad.pytree import (
    ArraySpec,
    DictSpec,
    ListSpec,
    NumberSpec,
    ObjectSpec,
    OpaqueSpec,
    Size,
    Spec,
    StaticSpec,
    Step,
    TupleSpec,
)
from jitgrad.trace.abstract import (
    Abstract,
    AnyOf,
    BoundMethod,
    Cell,
    DictRef,
    External,
    ListRef,
    Maybe,
    OneOf,
    Poison,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.algorithms.containers import STANDS_FOR
from jitgrad.trace.alternatives import single_choices
from jitgrad.trace.arrays import as_array, read
from jitgrad.trace.branches import DeadEnd, is_of_the_program
from jitgrad.trace.calls import parameter_names
from jitgrad.trace.columns import content_of, grown_length
from jitgrad.trace.context import NeedStatic
from jitgrad.trace.evaluator import Evaluator
from jitgrad.trace.identity import UNKNOWN, known_option, option_of, options_of
from jitgrad.trace.inspection import same
from jitgrad.trace.instructions import bound_value, refuse_poison
from jitgrad.trace.loop_signals import LoopSignal, NeedUnroll
from jitgrad.trace.obligations import Obligations, Restart
from jitgrad.trace.results import (
    ArgumentResult,
    ChoiceResult,
    DictResult,
    LeafResult,
    ListResult,
    Nth,
    ObjectResult,
    StaticResult,
    TupleResult,
    ViewResult,
    with_numbers,
)
from jitgrad.trace.texts import Text
from jitgrad.trace.traced import Traced
from jitgrad.trace.transforms import apply_transform
from jitgrad.transform import Transform

__all__ = ["trace"]


def trace(
    transform: Transform,
    args: Sequence[Spec],
    kwargs: dict[str, Spec],
    values: Sequence[Any],
    accepted: Collection[tuple[str, str]] = (),
) -> Traced:
    """Trace a call.

    Parameters
    ----------
    transform : Transform
    args, kwargs
        Specs of the arguments. A `Size` in them stays one if the program can do without the number.
    values : sequence
        The leaves' values in this call, for those that must become static.
    accepted : collection of (str, str)
        Checks that may refuse a call at run time, see `Context`.

    Raises
    ------
    UnsupportedError, DifferentiationError, ArgumentError
        With the user's line.
    Exception
        What the user's function itself raises, whatever its data.
    """
    obligations = Obligations()
    statics: dict[int, Any] = {}
    known: set[Size] = set()
    unrolled: set[Any] = set()
    notes: list[str] = []
    first: UnsupportedError | None = None
    for _ in range(200):
        try:
            attempt = _Trace(transform, obligations, statics, known, unrolled, values, notes)
            attempt.ctx.accepted = accepted
            return attempt.run(args, kwargs)
        except Restart as restart:
            obligations.forget()
            obligations.tagged |= restart.keys
            notes.append(f"traced again: {restart.why}")
        except NeedStatic as need:
            obligations.forget()
            if isinstance(need.leaf, Size):
                known.add(need.leaf)
                notes.append(f"the size {need.leaf} is static: {need.why}")
            else:
                statics[need.leaf] = values[need.leaf]
                notes.append(f"argument {need.leaf} is static: {need.why}")
        except NeedUnroll as need:
            # What a finished loop counted is needed behind it.
            obligations.forget()
            if need.key in unrolled:
                raise error("JG228", attempt.ctx.location, why=need.why) from None
            unrolled.add(need.key)
            notes.append(f"traced again: a loop is unrolled: {need.why}")
        except UnsupportedError as refused:
            # Where each item is known by itself, more can be done with it.
            loops = attempt.ctx.taken_apart - unrolled
            if first is not None or not loops:
                raise first or refused from None
            first = refused
            obligations.forget()
            unrolled |= loops
            notes.append("traced again: loops in which lists grow are unrolled")
        except (JitgradError, GraphTypeError, LoopSignal, AssertionError, RecursionError):
            raise
        except Exception as exception:
            # Raised on every path of the user's program, whatever its data: theirs, at their line.
            if OPTIONS.debug:
                raise
            raise_at(getattr(exception, "raised_at", attempt.ctx.location), exception)
    raise error("JG900", what="a trace was begun again 200 times")


class _Trace:
    def __init__(
        self,
        transform: Transform,
        obligations: Obligations,
        statics: dict[int, Any],
        known: set[Size],
        unrolled: set[Any],
        values: Sequence[Any],
        notes: list[str],
    ) -> None:
        name = getattr(transform.function, "__name__", type(transform.function).__name__)
        self.transform = transform
        self.graph = Graph("".join(c if c.isalnum() or c == "_" else "_" for c in name))
        self.ctx = Evaluator(self.graph, obligations, observe_arguments=transform.kind == "jit", unrolled=unrolled)
        self.statics = statics
        self.known = known
        self.sizes: dict[Size | Step, tuple[Value, tuple[int, int]]] = {}
        self.values = values
        self.notes = notes
        self.count = 0
        self.leaves: list[int] = []
        self.cells: list[tuple[Cell, Value]] = []
        self.containers: list[tuple[Cell, Any]] = []
        self.yields: list[Value] = []
        self.orders: dict[int, int] = {}
        self.rank_0: set[int] = set()
        self.shared: set[Cell] = set()
        self.choices: dict[int, ChoiceResult] = {}  # by identity of the abstract values, which the trace keeps

    def run(self, args: Sequence[Spec], kwargs: dict[str, Spec]) -> Traced:
        names = parameter_names(self.transform.function, len(args))
        given = [self.abstract(spec, name) for spec, name in zip(args, names, strict=True)]
        named = {k: self.abstract(spec, k) for k, spec in kwargs.items()}
        ctx = self.ctx
        ctx.roots = [*given, *named.values()]
        tree = self.outcome(given, named)
        writes = []
        if self.transform.kind == "jit":
            self.check_containers()
            committed = {k for op in self.graph.walk() if op.name == "commit" for k in op.attrs["arguments"]}
            # Arrays of the arguments, and those read from outside: what they hold in the end is written back.
            for cell, initial in [*self.cells, *ctx.outside.initial.items()]:
                content = ctx.heap.get(cell, initial)
                if content is not initial or initial.index in committed:
                    writes.append((initial.index, len(self.yields)))
                    self.yields.append(content)
        self.graph.yields = self.yields
        for value, _ in self.sizes.values():
            value.index = len(self.graph.args)
            self.graph.args.append(value)
        hidden = [h for h, _ in ctx.outside.hidden]
        return Traced(
            self.graph,
            self.leaves,
            dict(self.statics),
            hidden,
            ctx.outside.guards,
            tree,
            writes,
            list(self.notes),
            self.orders,
            self.rank_0,
            {ctx.visible[c].index for c in ctx.refused_stores},
            {size: place for size, (_, place) in self.sizes.items()},
        )

    def outcome(self, given: list[Any], named: dict[str, Any]) -> Any:
        """Return how to rebuild the result; a call that always raises has none, but may do things before."""
        ctx = self.ctx
        try:
            made = apply_transform(ctx, self.transform, given, named)
            if self.transform.kind == "jit":
                self.find_shared(made)
            return self.result(made)
        except DeadEnd:
            return StaticResult(None)
        except Exception as exception:
            acts = any(op.primitive.effects for op in self.graph.walk()) or any(
                ctx.heap.get(c, v) is not v for c, v in ctx.visible.items()
            )
            if not is_of_the_program(exception) or not acts or self.transform.kind != "jit":
                raise
            ctx.fail_with(exception)
            return StaticResult(None)

    def check_containers(self) -> None:
        """Refuse a call that changes a list, dict or object among its arguments: that would be lost."""
        for cell, initial in self.containers:
            now = self.ctx.heap.get(cell, initial)
            if not same(now, initial):
                changed = f"`{cell.name}`"
                if isinstance(now, tuple) and all(isinstance(p, tuple) and len(p) == 2 for p in now):
                    before = dict(initial)
                    names = [str(k) for k, v in now if k not in before or not same(v, before[k])]
                    changed = f"{', '.join(names)} of `{cell.name}`" if names else changed
                raise self.ctx.error("JG222", what=f"a store into {changed}, an argument")

    # --- arguments

    def abstract(self, spec: Any, name: str) -> Any:
        """Return the abstract value of an argument; its leaves become arguments of the graph."""
        ctx = self.ctx
        if isinstance(spec, ArraySpec | NumberSpec):
            leaf = self.count
            self.count += 1
            if leaf in self.statics:
                return self.statics[leaf]
            shape = self.shape(spec, leaf) if isinstance(spec, ArraySpec) else ()
            value = self.graph.add_arg(ArrayType(spec.dtype, shape), name)
            self.leaves.append(leaf)
            if isinstance(spec, NumberSpec):
                ctx.argument_leaf[value] = leaf
                return Scalar(value, spec.kind)
            cell = Cell(name, argument=leaf)
            ctx.heap[cell] = value
            ctx.layouts[cell] = ctx.layouts[value] = self.layout(spec, leaf)
            self.cells.append((cell, value))
            array = self.values[leaf]
            ctx.show(cell, value, array)
            if isinstance(array, np.ndarray):
                ctx.outside.bind_array(array, cell)
            return Ref(cell)
        if isinstance(spec, StaticSpec):
            return spec.value
        if isinstance(spec, OpaqueSpec):
            return ctx.argument_object(spec.value)
        if isinstance(spec, TupleSpec):
            items = [self.abstract(c, f"{name}{k}") for k, c in enumerate(spec.children)]
            return tuple(items) if spec.cls is tuple else spec.cls(*items)
        if isinstance(spec, ListSpec):
            made = ListRef(Cell(name))
            made.cell.columns = []
            ctx.heap[made.cell] = tuple(self.abstract(c, f"{name}{k}") for k, c in enumerate(spec.children))
            self.containers.append((made.cell, ctx.heap[made.cell]))
            return made
        if isinstance(spec, DictSpec):
            items = [(k, self.abstract(c, str(k))) for k, c in zip(spec.keys, spec.children, strict=True)]
            made_dict = DictRef(Cell(name))
            ctx.heap[made_dict.cell] = tuple(items)
            self.containers.append((made_dict.cell, ctx.heap[made_dict.cell]))
            return made_dict
        assert isinstance(spec, ObjectSpec)
        record = Record(Cell(name), spec.cls)
        ctx.heap[record.cell] = tuple((n, self.abstract(c, n)) for n, c in zip(spec.names, spec.children, strict=True))
        self.containers.append((record.cell, ctx.heap[record.cell]))
        return record

    def shape(self, spec: ArraySpec, leaf: int) -> tuple[Dim, ...]:
        """Return the shape of an array argument, in which a run-time size is an argument of the graph of its own."""
        made: list[Dim] = []
        for axis, d in enumerate(spec.shape):
            if isinstance(d, Size) and d in self.known:
                made.append(int(self.values[leaf].shape[axis]))
            elif isinstance(d, Size):
                if d not in self.sizes:
                    value = self.add_size(d, len(self.leaves), axis)
                    self.ctx.argument_leaf[value] = d
                    self.ctx.least_sizes[value] = d.least
                    self.ctx.sizes_now[value] = int(self.values[leaf].shape[axis])
                made.append(self.sizes[d][0])
            else:
                made.append(d)
        return tuple(made)

    def layout(self, spec: ArraySpec, leaf: int) -> Any:
        """Return how an array argument lies in memory, None if that is not known."""
        steps = [] if isinstance(spec.layout, str) else [k for k, s in enumerate(spec.layout) if isinstance(s, Step)]
        for axis in steps:
            self.add_size(spec.layout[axis], self.leaves.index(leaf), axis)
        return None if steps or spec.layout == "copied" else spec.layout

    def add_size(self, size: Size | Step, argument: int, axis: int) -> Value:
        """Return a new value for a size or a stride of an argument.

        It joins the graph's arguments in the end, after the hidden inputs that the trace finds.
        """
        value = Value(INT64, self.graph, -1, str(size))
        self.sizes[size] = value, (argument, axis)
        return value

    # --- results

    def find_shared(self, x: Any) -> None:
        """Note the new arrays of which several views are returned: those share memory."""
        seen: dict[Cell, set[Ref]] = {}
        todo = [x]
        visited: set[Cell] = set()
        while todo:
            x = todo.pop()
            if isinstance(x, Ref):
                seen.setdefault(x.cell, set()).add(x)
            elif isinstance(x, tuple):
                todo.extend(x)
            elif isinstance(x, ListRef | DictRef | Record) and x.cell not in visited:
                visited.add(x.cell)
                todo.append(self.ctx.heap[x.cell])
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
            if not isinstance(items, tuple):
                # Its length must be known; a loop of known length unrolls.
                try:
                    ctx.note_static(Scalar(grown_length(ctx, x), "int"), "the length of a list that is returned")
                except UnsupportedError:
                    raise ctx.error("JG225", what="a list that grew in a loop") from None
            return ListResult(tuple(self.result(v) for v in items))
        if isinstance(x, DictRef):
            pairs = ctx.heap[x.cell]
            return DictResult(tuple(k for k, _ in pairs), tuple(self.result(v) for _, v in pairs))
        if isinstance(x, Record):
            if x.cls in STANDS_FOR:
                raise ctx.error("JG225", what=f"a {STANDS_FOR[x.cls].__name__}")
            pairs = ctx.heap[x.cell]
            return ObjectResult(x.cls, tuple(k for k, _ in pairs), tuple(self.result(v) for _, v in pairs))
        if isinstance(x, External):
            return StaticResult(x.thing)
        if isinstance(x, np.ndarray):
            return self._leaf(as_array(ctx, x), "array")
        if isinstance(x, Abstract):
            names = {BoundMethod: "a function made inside", Text: "a text with parts known only at run time"}
            raise ctx.error("JG225", what=names.get(type(x), "a " + type(x).__name__))
        return StaticResult(x)

    def _one_of(self, x: OneOf) -> ChoiceResult:
        """Return how to rebuild one of several values: what one of them holds is no other result's."""
        if id(x) not in self.choices:
            tag = self._tag(x.flags)
            children = []
            for choice in x.choices:
                results, self.ctx.results = self.ctx.results, {}
                choices, self.choices = self.choices, {}
                children.append(self.result(choice))
                self.ctx.results, self.choices = results, choices
            self.choices[id(x)] = ChoiceResult(tag.index, tuple(children))
        return self.choices[id(x)]

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
