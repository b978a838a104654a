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
    Cell,
    DictRef,
    ListRef,
    Record,
    Ref,
    Scalar,
)
from jitgrad.trace.branches import DeadEnd, is_of_the_program
from jitgrad.trace.cached_calls import make_memory
from jitgrad.trace.calls import parameter_names
from jitgrad.trace.context import NeedStatic
from jitgrad.trace.evaluator import Evaluator
from jitgrad.trace.inspection import same
from jitgrad.trace.loop_signals import LoopSignal, NeedUnroll
from jitgrad.trace.obligations import Obligations, Restart
from jitgrad.trace.pools import give_pools_up, make_pools
from jitgrad.trace.results import (
    StaticResult,
)
from jitgrad.trace.returned import Returned
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
    lapack: bool = True,
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
    lapack : bool
        Whether what runs the graph has LAPACK.

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
    unrolled: dict[Any, JitgradError | None] = {}  # and what is refused where that cannot be
    notes: list[str] = []
    first: UnsupportedError | None = None
    for _ in range(200):
        try:
            attempt = _Trace(transform, obligations, statics, known, unrolled, values, notes)
            attempt.ctx.accepted, attempt.ctx.lapack = accepted, lapack
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
            needed = error("JG228", attempt.ctx.location, why=need.why)
            if need.key in unrolled:
                raise needed from None
            unrolled[need.key] = needed
            notes.append(f"traced again: a loop is unrolled: {need.why}")
        except UnsupportedError as refused:
            if give_pools_up(obligations, attempt.ctx.pools):
                obligations.forget()
                notes.append(f"traced again without pools: {refused}")
                continue
            # Where each item is known by itself, more can be done with it.
            loops = attempt.ctx.taken_apart - unrolled.keys()
            if first is not None or not loops:
                raise first or refused from None
            first = refused
            obligations.forget()
            unrolled |= dict.fromkeys(loops, refused)
            notes.append("traced again: loops in which lists grow are unrolled")
        except (JitgradError, GraphTypeError, LoopSignal, AssertionError, RecursionError):
            raise
        except Exception as exception:
            # Raised on every path of the user's program, whatever its data: theirs, at their line.
            if OPTIONS.debug:
                raise
            if not is_of_the_program(exception):
                raise error("JG900", attempt.ctx.location, what=f"there is no {exception}") from None
            raise_at(getattr(exception, "raised_at", attempt.ctx.location), exception)
    raise error("JG900", what="a trace was begun again 200 times")


class _Trace:
    def __init__(
        self,
        transform: Transform,
        obligations: Obligations,
        statics: dict[int, Any],
        known: set[Size],
        unrolled: dict[Any, JitgradError | None],
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
        self.results = Returned(self.ctx)

    def run(self, args: Sequence[Spec], kwargs: dict[str, Spec]) -> Traced:
        names = parameter_names(self.transform.function, len(args))
        given = [self.abstract(spec, name) for spec, name in zip(args, names, strict=True)]
        named = {k: self.abstract(spec, k) for k, spec in kwargs.items()}
        ctx = self.ctx
        ctx.roots = [*given, *named.values()]
        make_pools(ctx)
        make_memory(ctx)
        for array, source in ctx.obligations.early:
            ctx.outside.read(array, source)
        tree = self.outcome(given, named)
        writes = []
        if self.transform.kind == "jit":
            self.check_containers()
            committed = {k for op in self.graph.walk() if op.name == "commit" for k in op.attrs["arguments"]}
            # Arrays of the arguments, and those read from outside: what they hold in the end is written back.
            for cell, initial in [*self.cells, *ctx.outside.initial.items()]:
                content = ctx.heap.get(cell, initial)
                if content is not initial or initial.index in committed:
                    writes.append((initial.index, len(self.results.yields)))
                    self.results.yields.append(content)
        self.graph.yields = self.results.yields
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
            self.results.orders,
            self.results.rank_0,
            {ctx.visible[c].index for c in ctx.refused_stores},
            {size: place for size, (_, place) in self.sizes.items()},
        )

    def outcome(self, given: list[Any], named: dict[str, Any]) -> Any:
        """Return how to rebuild the result; a call that always raises has none, but may do things before."""
        ctx = self.ctx
        try:
            made = apply_transform(ctx, self.transform, given, named)
            self.results.look_at(made, self.transform.kind == "jit")
            return self.results.result(made)
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
