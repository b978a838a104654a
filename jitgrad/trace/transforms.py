"""Derivative transforms applied inside a trace: at the top of a call, and wherever a transformed function is called.

In: a `Transform` and abstract arguments. The function is traced into a block of its own whose arguments are the leaves
that are differentiated; everything else it uses is captured. `graph/diff` turns the block into its adjoint or tangent
graph, which is copied into the graph under construction. Derivatives are by leaves, not by storage, and whatever the
function stores into stays inside: the heap is put back afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jitgrad.errors import ArgumentError, JitgradError
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.ir import Block, Value, clone_block, substitute_type, take_apart
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.types import ArrayType, Type
from jitgrad.trace.abstract import (
    Abstract,
    AnyOf,
    Cell,
    ListRef,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.alternatives import is_any_number
from jitgrad.trace.arrays import as_array, cast, describe, dtype_of, is_array, kind, read, scalar_value, shape_of
from jitgrad.trace.branches import DeadEnd, is_of_the_program
from jitgrad.trace.calls import Native
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.grown_lists import copied_list
from jitgrad.trace.inspection import cells_of, values_in
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.leaves import AUX, all_leaves, float_leaves, map_leaves, settled, with_floats_as, with_leaves
from jitgrad.trace.places import has_places
from jitgrad.trace.views import laid_as
from jitgrad.transform import Transform, argument_positions

__all__ = [
    "Lifted",
    "apply_transform",
    "make_transform",
    "make_vjp",
    "pulled",
    "pushed",
]


def apply_transform(ctx: Context, t: Transform, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what calling a transformed function gives."""
    if t.kind == "jit":
        return ctx.call(t.function, args, kwargs)
    if t.kind in ("grad", "value_and_grad"):
        return _gradient(ctx, t, list(args), dict(kwargs))
    if t.kind == "pull":
        primals, ct = args
        return pulled(ctx, t, primals, ct)
    assert t.kind == "push", t.kind
    primals, tangents = args
    return pushed(ctx, t, primals, tangents)


class Lifted(Abstract):
    """A transform of a callable that the trace itself made."""

    __slots__ = ("transform",)

    def __init__(self, transform: Transform) -> None:
        self.transform = transform


def make_transform(ctx: Context, kind_: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Do `jitgrad.grad(f, ...)`, or another maker of transforms, inside a trace."""
    if kind_ == "vjp":
        return make_vjp(ctx, args[0], tuple(args[1:]), bool(kwargs.get("has_aux", False)))
    if kind_ == "jvp":
        return _jvp(ctx, *args, **kwargs)

    def make(_: Context, function: Any = None, argnums: Any = 0, has_aux: bool = False) -> Any:
        if function is None:
            return Native(lambda c, f: make(c, f, argnums, has_aux))
        return Lifted(Transform(kind_, function, argnums, has_aux))

    return make(ctx, *args, **kwargs)


def _jvp(ctx: Context, function: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    t = Transform("push", function, has_aux=has_aux)
    return pushed(ctx, t, sequence_of(ctx, primals), sequence_of(ctx, tangents))


def _put_through(x: Any, mapping: dict[Value, Value]) -> Any:
    """Return a number with its values replaced."""
    if isinstance(x, AnyOf):
        return AnyOf(tuple(mapping[f] for f in x.flags), tuple(_put_through(c, mapping) for c in x.choices))
    if not isinstance(x, Scalar):
        return x
    return Scalar(mapping[x.value], x.kind, is_numpy=None if x.is_numpy is None else mapping[x.is_numpy])


def _copied(ctx: Context, x: Any) -> Any:
    """Return x with storage of its own, so that stores into it stay inside the transform."""

    def copy(leaf: Any) -> Any:
        if isinstance(leaf, ListRef):
            return copied_list(ctx, leaf.cell)
        return laid_as(ctx, ctx.fresh(read(ctx, leaf)), leaf) if is_array(leaf) else leaf

    return map_leaves(ctx, x, copy)


def _value(ctx: Context, leaf: Any) -> Value:
    """Return a leaf as a value: a list that grew as an array of its items."""
    return as_array(ctx, leaf) if isinstance(leaf, ListRef) else scalar_value(ctx, leaf)


# --- tracing a function into a block


class _Traced:
    """A function traced into a block: the leaves that it was given, what it returned, what the block yields."""

    def __init__(
        self, ctx: Context, function: Any, args: Sequence[Any], kwargs: dict[str, Any], wrt: Sequence[Any], like: Any
    ) -> None:
        self.ctx = ctx
        self.leaves = [_value(ctx, leaf) for index in wrt for leaf in float_leaves(ctx, _at(args, kwargs, index))]
        self.block = Block([v.type for v in self.leaves], [v.name for v in self.leaves])
        before = ctx.heap
        ctx.heap = dict(before)
        try:
            with ctx.scope(self.block):
                supply = iter(self.block.args)
                given = {
                    i: with_leaves(ctx, _at(args, kwargs, i), supply)
                    if i in wrt
                    else _copied(ctx, _at(args, kwargs, i))
                    for i in [*wrt, *(i for i in [*range(len(args)), *kwargs] if i not in wrt)]
                }
                result = ctx.call(function, [given[i] for i in range(len(args))], {k: given[k] for k in kwargs})
                self.result = settled(ctx, result, like)
                self.heap = ctx.heap
        except Exception as exception:
            # Every path raises: the checks that do so are all that the call does.
            if not isinstance(exception, DeadEnd):
                if not is_of_the_program(exception) or not any(op.primitive.effects for op in self.block.walk()):
                    raise
                with ctx.scope(self.block):
                    ctx.fail_with(exception)  # type: ignore[attr-defined]
            clone_block(self.block, ctx.g.block, dict(zip(self.block.args, self.leaves, strict=True)))
            raise DeadEnd() from None
        finally:
            ctx.heap = before

    def read(self, leaf: Any) -> Value:
        """Return a leaf of the result as a value of the block."""
        ctx = self.ctx
        heap, ctx.heap = ctx.heap, self.heap
        try:
            with ctx.scope(self.block):
                return as_array(ctx, leaf)
        finally:
            ctx.heap = heap

    def leaves_of(self, x: Any) -> list[Any]:
        """Return the float leaves of a part of the result."""
        return self._inside(float_leaves, x)

    def all_leaves_of(self, x: Any) -> list[Any]:
        """Return all leaves of a part of the result."""
        return self._inside(all_leaves, x)

    def _inside(self, find: Callable[[Context, Any], list[Any]], x: Any) -> list[Any]:
        ctx = self.ctx
        heap, ctx.heap = ctx.heap, self.heap
        try:
            with ctx.scope(self.block):
                return find(ctx, x)
        finally:
            ctx.heap = heap


def _at(args: Sequence[Any], kwargs: dict[str, Any], index: int | str) -> Any:
    return args[index] if isinstance(index, int) else kwargs[index]


def _exported(ctx: Context, traced: _Traced, x: Any, yields: list[Value]) -> Callable[[dict[Value, Value]], Any]:
    """Make the block yield every value in a part of the result; return how to rebuild that part outside."""
    inner: list[Value] = []

    def collect(leaf: Any) -> Any:
        if isinstance(leaf, Ref | TaggedRef):
            inner.append(traced.read(leaf))
            yields.append(inner[-1])
        if isinstance(leaf, ListRef):
            inner.append(ctx.heap[leaf.cell])
            yields.append(inner[-1])
        yields.extend(values_in(leaf) if isinstance(leaf, Scalar | AnyOf) else ())
        return leaf

    heap = ctx.heap
    ctx.heap = dict(traced.heap)
    map_leaves(ctx, x, collect, ways=True)
    ctx.heap = heap

    def rebuild(mapping: dict[Value, Value]) -> Any:
        supply = iter(inner)

        def put(leaf: Any) -> Any:
            if isinstance(leaf, Ref | TaggedRef):
                return ctx.fresh(mapping[next(supply)])
            if isinstance(leaf, ListRef):
                return _put_list(ctx, leaf, mapping[next(supply)])
            return _put_through(leaf, mapping)

        keep = ctx.heap
        ctx.heap = traced.heap | keep
        made = map_leaves(ctx, x, put, ways=True)
        added = ctx.heap
        ctx.heap = keep
        todo = cells_of(made)
        while todo:
            cell = todo.pop()
            if cell not in ctx.heap:
                ctx.heap[cell] = added[cell]
                todo.extend(cells_of(added[cell]))
        return made

    return rebuild


def _put_list(ctx: Context, x: ListRef, items: Value) -> ListRef:
    """Return a list that grew inside with its value outside; its arrays are at home in it if they were."""
    made = ListRef(Cell(x.cell.name))
    made.cell.site = x.cell.site
    ctx.heap[made.cell], ctx.list_kinds[made.cell] = items, ctx.list_kinds.get(x.cell, "array")
    if has_places(x.cell):
        made.cell.arrays = made.cell
    elif x.cell.arrays is not None:
        ctx.hold(made.cell, ListRef(x.cell.arrays))
    return made


# --- reverse mode


def _gradient(ctx: Context, t: Transform, args: list[Any], kwargs: dict[str, Any]) -> Any:
    try:
        wrt, single = argument_positions(t, len(args), tuple(kwargs))
    except ArgumentError:
        # A call that Python would not make raises what it raises there.
        with suppress(JitgradError):
            ctx.call(t.function, args, kwargs)
        raise
    for index in wrt:
        _check_argument(ctx, t, index, _at(args, kwargs, index))
    traced = _Traced(ctx, t.function, args, kwargs, wrt, (0.0, AUX) if t.has_aux else 0.0)
    value, aux = traced.result, None
    if t.has_aux:
        if not isinstance(value, tuple) or len(value) != 2:
            raise ctx.error("JG105", name=_name(t), what=describe(value))
        value, aux = value
    loss = _scalar_output(ctx, t, traced, value)
    yields = [loss, *(values_in(value) if isinstance(value, Scalar | AnyOf) else ())]
    rebuild_aux = _exported(ctx, traced, aux, yields)
    traced.block.yields = yields
    graph = adjoint(traced.block, list(range(len(traced.leaves))), seeded=[0])
    seed = ctx.constant(1, loss.array.dtype)
    made = _inline(ctx, graph, [*traced.leaves, seed])
    mapping = dict(zip(yields, made, strict=False))
    cts = iter(made[len(yields) :])
    grads = [with_leaves(ctx, _at(args, kwargs, i), cts) for i in wrt]
    gradient = grads[0] if single else tuple(grads)
    if t.kind == "grad":
        return (gradient, rebuild_aux(mapping)) if t.has_aux else gradient
    out: Any = _put_through(value, mapping)
    if kind_of_python(value) is not None:
        out = Scalar(made[0], kind(value))
    elif is_array(value):
        out = ctx.fresh(made[0])
    return ((out, rebuild_aux(mapping)), gradient) if t.has_aux else (out, gradient)


def _inline(ctx: Context, graph: Block, args: Sequence[Value]) -> list[Value]:
    """Move a graph into the one under construction and return what it yields there."""
    made = clone_block(graph, ctx.g.block, dict(zip(graph.args, args, strict=True)))
    take_apart(graph)
    return made


def _name(t: Transform) -> str:
    return getattr(t.function, "__name__", type(t.function).__name__)


def _check_argument(ctx: Context, t: Transform, index: int | str, x: Any) -> None:
    if is_array(x) or is_any_number(x):
        dtype = dtype_of(ctx, x)
        if dtype.kind not in "fc":
            raise ctx.error("JG111", index=index, name=_name(t), what=_typed(ctx, x))
        if dtype.kind == "c":
            raise ctx.error("JG115", index=index, name=_name(t))
    elif not float_leaves(ctx, x):
        raise ctx.error("JG112", index=index, name=_name(t), what=describe(x))


def _typed(ctx: Context, x: Any) -> str:
    name = kind(x)
    if name in ("int", "bool"):
        return f"a Python {name}"
    return f"{dtype_of(ctx, x)}{list(shape_of(ctx, x))}"


def _scalar_output(ctx: Context, t: Transform, traced: _Traced, value: Any) -> Value:
    if not is_array(value) and not is_any_number(value):
        raise ctx.error("JG114", name=_name(t), what=describe(value))
    if isinstance(value, AnyOf):
        value = next(iter(traced.leaves_of(value)), value.choices[0])
    loss = traced.read(value)
    if loss.array.rank or loss.array.dtype.kind != "f":
        what = f"a result of {loss.type}" if loss.array.rank or loss.array.dtype.kind == "c" else describe(value)
        raise ctx.error("JG114", name=_name(t), what=what)
    return loss


def pulled(ctx: Context, t: Transform, primals: tuple[Any, ...], ct: Any) -> Any:
    """Return the cotangents of all primals, given the cotangent of the result."""
    wrt = [k for k, p in enumerate(primals) if float_leaves(ctx, p)]
    traced = _Traced(ctx, t.function, primals, {}, wrt, (ct, AUX) if t.has_aux else ct)
    result = _primal_result(ctx, t, traced)
    outputs = [traced.read(leaf) for leaf in traced.leaves_of(result)]
    traced.block.yields = list(outputs)
    graph = adjoint(traced.block, list(range(len(traced.leaves))))
    seeds = _seeds(ctx, t, with_floats_as(ctx, ct, traced.all_leaves_of(result)), graph.args[len(traced.leaves) :])
    cts = iter(_inline(ctx, graph, [*traced.leaves, *seeds])[len(outputs) :])
    return tuple(with_leaves(ctx, p, cts) if k in wrt else p for k, p in enumerate(primals))


def _seeds(ctx: Context, t: Transform, ct: Any, args: Sequence[Value]) -> list[Value]:
    """Return the last arguments of an adjoint: cotangents, and the sizes of those whose sizes the primal computes."""
    wanted = [a for a in args if a.type.is_float]
    sizes: dict[Value, Value] = {}
    for leaf, arg in zip(float_leaves(ctx, ct), wanted, strict=False):
        if isinstance(arg.type, ArrayType):
            for own, d in zip(shape_of(ctx, leaf), arg.shape, strict=False):
                if isinstance(d, Value) and d in args:
                    sizes[d] = ctx.dim(own)
    given = iter(_matched(ctx, t, ct, [substitute_type(a.type, sizes) for a in wanted], "cotangent"))
    return [next(given) if a.type.is_float else sizes[a] for a in args]


def _primal_result(ctx: Context, t: Transform, traced: _Traced) -> Any:
    if not t.has_aux:
        return traced.result
    if not isinstance(traced.result, tuple) or len(traced.result) != 2:
        raise ctx.error("JG105", name=_name(t), what=describe(traced.result))
    return traced.result[0]


def _matched(ctx: Context, t: Transform, x: Any, wanted: Sequence[Type], what: str) -> list[Value]:
    """Return the float leaves of a cotangent or tangent, which must have the types of what they belong to."""
    leaves = [_value(ctx, leaf) for leaf in float_leaves(ctx, x)]
    if len(leaves) != len(wanted):
        raise ctx.error("JG106", name=_name(t), what=what, why=f"it has {len(leaves)} float leaves, not {len(wanted)}")
    made = []
    for leaf, t_wanted in zip(leaves, wanted, strict=True):
        value = cast(ctx, leaf, t_wanted.dtype) if leaf.array.rank == 0 else leaf  # type: ignore[union-attr]
        if value.type != t_wanted and value.array.dtype == t_wanted.dtype and value.array.rank == t_wanted.rank:  # type: ignore[union-attr]
            value = _resized(ctx, value, t_wanted.shape)  # type: ignore[union-attr]
        if value.type != t_wanted:
            raise ctx.error("JG106", name=_name(t), what=what, why=f"a leaf is {leaf.type} where {t_wanted} is needed")
        made.append(value)
    return made


def _resized(ctx: Context, value: Value, shape: Sequence[Any]) -> Value:
    """Return a value as one of a shape that must equal its own at run time; as it is where a known size differs."""
    for own, wanted in zip(value.shape, shape, strict=True):
        if own is wanted or own == wanted:
            continue
        if isinstance(own, int) and isinstance(wanted, int):
            return value
        a, b = ctx.dim(own), ctx.dim(wanted)
        ctx.check(ctx.g.equal(a, b), ValueError, "a size is {0} where {1} is needed", a, b)
    return reshape_to(ctx.g, value, shape)


# --- forward mode


def pushed(ctx: Context, t: Transform, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Return the result, its tangent, and aux if there is one."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple) or len(primals) != len(tangents):
        raise ctx.error("JG106", name=_name(t), what="tangent", why="primals and tangents are not tuples of one length")
    wrt = [k for k, p in enumerate(primals) if float_leaves(ctx, p)]
    traced = _Traced(ctx, t.function, primals, {}, wrt, (None, AUX) if t.has_aux else None)
    result = _primal_result(ctx, t, traced)
    yields: list[Value] = []
    rebuild = _exported(ctx, traced, traced.result, yields)
    outputs = [traced.read(leaf) for leaf in traced.leaves_of(result)]
    traced.block.yields = [*yields, *outputs]
    wanted = [v.type for v in traced.leaves]
    given = [_matched(ctx, t, tangents[k], _types_of(ctx, primals[k]), "tangent") for k in wrt]
    seeds = [v for part in given for v in part]
    assert len(seeds) == len(wanted)
    graph = tangent(traced.block, list(range(len(traced.leaves))))
    made = _inline(ctx, graph, [*traced.leaves, *seeds])
    total = len(traced.block.yields)
    floats = [v for v in traced.block.yields if v.type.is_float]
    ts = iter(made[total + len(floats) - len(outputs) :])
    value = rebuild(dict(zip(yields, made, strict=False)))
    main = value[0] if t.has_aux else value
    out_t = with_leaves(ctx, main, ts)
    return (main, out_t, value[1]) if t.has_aux else (main, out_t)


def _types_of(ctx: Context, x: Any) -> list[Type]:
    return [_value(ctx, leaf).type for leaf in float_leaves(ctx, x)]


def make_vjp(ctx: Context, function: Any, primals: tuple[Any, ...], has_aux: bool) -> Any:
    """Do `jitgrad.vjp(function, *primals)` inside a trace: the result and a callable that pulls back cotangents."""
    t = Transform("pull", function, has_aux=has_aux)
    held = tuple(_copied(ctx, p) for p in primals)
    out = ctx.call(function, [_copied(ctx, p) for p in primals])
    pull = Native(lambda c, ct: pulled(c, t, held, ct))
    return (out[0], pull, out[1]) if has_aux else (out, pull)
