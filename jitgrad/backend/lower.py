"""A graph as LLVM text: `lower(graph, layouts, result_layouts) -> Body`.

In: an optimised graph, the memory layout of its arguments, the layout wanted for its results. Out: the text of

    define i32 @body(ptr noalias %in, ptr noalias %out, ptr noalias %arena, ptr noalias %err)

`%in`     one 8-byte word an argument: the data pointer of an array, the value of a scalar (bits of a float, float32 in
          the low four bytes; a sign-extended integer; 0 or 1 of a bool).
`%out`    one word a yield: the pointer of an array that the body fills, or the word in which it leaves a scalar. The
          body puts the pointer of an array there whose size it computes. Yields that go back into an argument have no
          word.
`%arena`  scratch of `Body.arena_bytes`, aligned to 64 bytes.
`%err`    operands of the check that failed; the return code is then 1 + its number in `Body.sites`, else 0.

The stages: `schedule` (which ops run together, in which order), `bufferise` (which buffer each value lives in), `emit`.
This room knows neither the call (`entry`) nor how text becomes machine code (`engine`).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

# These enter their ops in a table.
from jitgrad.backend import emit_control, emit_lists, emit_matmul, emit_order, emit_structured, emit_systems
from jitgrad.backend.bufferise import bufferise
from jitgrad.backend.chosen import save_chosen
from jitgrad.backend.emit import Emitter, Site
from jitgrad.backend.levels import level_of
from jitgrad.backend.products import multiply_in_place
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.structure import is_scalar
from jitgrad.backend.text import LOOP_METADATA
from jitgrad.backend.visible import visible_stores
from jitgrad.errors import error
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import ArrayType, Dim, ListType

__all__ = ["Body", "Layout", "Site", "Target", "lower"]

_THEMES = (emit_control, emit_lists, emit_matmul, emit_order, emit_structured, emit_systems)

Layout: TypeAlias = str | tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What the code may count on.

    Attributes
    ----------
    vector_bytes : int
        Size of a vector register.
    fma : bool
        Whether there is a fused multiply-add.
    estimates : bool
        Whether there are AVX-512's estimates of reciprocals, beside a fused multiply-add.
    """

    vector_bytes: int = 32
    fma: bool = True
    estimates: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """A lowered graph.

    Attributes
    ----------
    ir : str
        One module.
    arena_bytes : int
    arena_grows : bool
        Whether more of it is taken if it is there: see `CallForm`.
    sites : list of Site
        Where it can fail.
    externals : list of str
        Symbols that the engine must define.
    level : {'minimal', 'loops', 'unrolled', 'short', 'full'}
        Which passes suit, see `levels`.
    notes : str
        The schedule and every copy, for people.
    helpers : dict of str to str
        Functions in the module that any other could use, by name: see `engine.compile_module`.
    """

    ir: str
    arena_bytes: int
    arena_grows: bool
    sites: list[Site]
    externals: list[str] = field(default_factory=list)
    level: str = "minimal"
    notes: str = ""
    helpers: dict[str, str] = field(default_factory=dict)


def lower(
    graph: Graph,
    layouts: Sequence[Layout],
    result_layouts: Sequence[str],
    writes: Sequence[tuple[int, int]] = (),
    *,
    features: Target = Target(),
    early: Collection[int] = (),
) -> Body:
    """Return the body of a graph.

    Parameters
    ----------
    graph : Graph
    layouts : sequence of 'C', 'F', 'memory' or strides
        Of each argument; strides are in elements and may be 0 or negative, or int64 arguments of the graph. "memory" is
        an array of rank 0: its word is a pointer.
    result_layouts : sequence of 'C', 'F' or 'memory'
        Of each yield, likewise.
    writes : sequence of (argument, yield)
        The yield's value must end up in the memory of the argument.
    features : Target
    early : collection of int
        Yields of a run-time size whose memory is there at entry, as that of yields of a known size is.

    Raises
    ------
    UnsupportedError
        If the graph uses a dtype or an op that has no lowering.
    """
    with _deep_enough(graph):
        return _lower(graph, layouts, result_layouts, writes, features, early)


def _lower(
    graph: Graph,
    layouts: Sequence[Layout],
    result_layouts: Sequence[str],
    writes: Sequence[tuple[int, int]],
    features: Target,
    early: Collection[int],
) -> Body:
    _check_types(graph)
    explicit = {a: s for a, lie in zip(graph.args, layouts, strict=True) if (s := _strides(a, lie)) is not None}
    known = {a: _known(a, s) for a, s in explicit.items()}
    multiply_in_place(graph, known.__contains__)
    save_chosen(graph)
    schedule = Schedule(graph, known.get, visible_stores(graph, writes), {k for _, k in writes})
    plan = bufferise(schedule, result_layouts, dict(writes))
    e = Emitter(
        schedule, plan, explicit.get, result_layouts, features.vector_bytes, features.fma, features.estimates, early
    )
    for i, arg in enumerate(graph.args):
        if is_scalar(arg):
            word = e.text.address("%in", "i64", i)
            if layouts[i] == "memory":
                word = e.text.emit(f"load ptr, ptr {word}")
                e.outside[i] = word
            e.handles[arg] = e.load_word(word, arg.array.dtype)
    e.block(graph)
    _finish(e, graph, writes, result_layouts)
    level = level_of(graph)
    declarations, functions = e.library.helpers()
    helpers = functions | e.text.shareable
    body = Body(
        _module(e, level, [*declarations, *helpers.values()]),
        plan.arena_bytes,
        e.grows,
        e.sites,
        list(e.text.externals),
        level,
        "\n".join([*_describe(schedule), *plan.notes]),
        helpers,
    )
    # They know each other: only a search for garbage would find them.
    vars(e.text).clear()
    vars(e).clear()
    return body


@contextmanager
def _deep_enough(graph: Graph) -> Iterator[None]:
    """Let regions nest as deep as they do: every level takes some Python frames."""
    depth, level = 0, [graph.ops]
    while level:
        depth += 1
        level = [region.ops for ops in level for op in ops for region in op.regions]
    before = sys.getrecursionlimit()
    if depth > 20:
        sys.setrecursionlimit(max(before, 1000 + 40 * depth))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _strides(arg: Value, layout: Layout) -> Layout | None:
    """Return explicit strides, or "F" for those of run-time sizes; None where memory is in C order."""
    if is_scalar(arg) or isinstance(arg.type, ListType) or layout == "C":
        return None
    shape = [max(d, 1) for d in arg.shape if isinstance(d, int)]
    if len(shape) < len(arg.shape):
        return layout
    if layout == "F":
        layout = tuple(prod(shape[:k]) for k in range(len(shape)))
    assert not isinstance(layout, str)
    plain = tuple(prod(shape[k + 1 :]) for k in range(len(shape)))
    same = all(s == p or d == 1 for s, p, d in zip(layout, plain, shape, strict=True)) or 0 in arg.shape
    return None if same else layout


def _known(arg: Value, layout: Layout) -> tuple[int | str | None, ...]:
    """Return what is known of explicit strides: a number, "size" for a product of run-time sizes, None for nothing."""
    if layout != "F":
        return tuple(s if isinstance(s, int) else None for s in layout)
    made: list[int | str | None] = []
    stride: int | str = 1
    for d in arg.shape:
        made.append(stride)
        stride = stride * d if isinstance(stride, int) and isinstance(d, int) else "size"
    return tuple(made)


def _check_types(graph: Graph) -> None:
    """Refuse what no lowering exists for."""
    fine: set[int] = set()
    for op in graph.walk():
        for v in (*op.operands, *op.results):
            dtype = (v.type.element if isinstance(v.type, ListType) else v.type).dtype
            if id(dtype) in fine:
                continue
            if dtype.kind not in "biuf" or dtype.itemsize > 8 or (dtype.kind == "f" and dtype.itemsize < 4):
                raise error("JG250", op.location, what=f"the dtype {dtype}")
            fine.add(id(dtype))
    for arg in graph.args:
        if isinstance(arg.type, ListType):
            raise error("JG250", None, what="a list as an argument")
    for y in graph.yields:
        if isinstance(y.type, ListType):
            raise error("JG250", None, what=f"a result of type {y.type}")


def _finish(
    e: Emitter,
    graph: Graph,
    writes: Sequence[tuple[int, int]],
    result_layouts: Sequence[str],
) -> None:
    """Write scalar results and bring arguments up to date."""
    back = {k: i for i, k in writes}
    for k, y in enumerate(graph.yields):
        if is_scalar(y) and k not in back:
            word = e.text.address("%out", "i64", k)
            if result_layouts[k] == "memory":
                e.lanes.store(e.text.emit(f"load ptr, ptr {word}"), e.scalar(y), 1, 1)
            else:
                e.store_word(word, e.scalar(y))
    for k, buffer in e.plan.staged.items():
        e.provide(buffer, graph.yields[k])
        e.fill(e.view_in(buffer, graph.yields[k]), graph.yields[k])
    for k, i in back.items():
        y, arg = graph.yields[k], graph.args[i]
        if is_scalar(y):
            e.lanes.store(e.outside[i], e.scalar(y), 1, 1)
            continue
        place = e.plan.place[y]
        target = e.plan.place[arg]
        if place.kind == "argument" and place.index == i:
            continue
        view = e.view(arg)
        if k in e.plan.staged:
            e.copy(view, e.view_in(e.plan.staged[k], y), e.shape(y))
        else:
            e.fill(view, y)
        e.plan.notes.append(f"copy {y.type} back into argument {target.index}")


def _module(e: Emitter, level: str, library: Sequence[str]) -> str:
    """Put the module together."""
    lines = [*e.text.globals, *e.text.declarations]
    arguments = "ptr noalias %in, ptr noalias %out, ptr noalias %arena, ptr noalias %err"
    width = ' "prefer-vector-width"="256"' if level == "short" else ""
    lines.append(f"define i32 @body({arguments}) nounwind{width} {{")
    lines.append("entry:")
    lines += e.text.entry
    if e.failures:
        lines.append("  %code = alloca i32")
        lines.append("  store i32 0, ptr %code")
    lines.append("  br label %start")
    lines.append("start:")
    lines += e.text.lines
    lines.append("  br label %exit")
    lines += e.failures
    lines.append("exit:")
    lines += e.pace.at_exit()
    lines.append("  %result = load i32, ptr %code" if e.failures else "  %result = add i32 0, 0")
    lines.append("  %failed = icmp ne i32 %result, 0")
    for k, (key, slot) in enumerate([*e.reserves.items(), *((None, h) for h in e.headers.values())]):
        lines.append(f"  %free{k} = load ptr, ptr {slot}")
        if isinstance(key, tuple):
            # A result's memory is the caller's, unless there is no result.
            lines.append(f"  %mine{k} = select i1 %failed, ptr %free{k}, ptr null")
            lines.append(f"  call void @jg_free(ptr %mine{k})")
        elif key is None:
            lines.append(f"  call void @jg_free(ptr %free{k})")
        else:
            lines.append(f"  call void @jg_release(ptr %free{k}, ptr %arena, i64 %room)")
    if e.grows:
        lines += [
            "  %wanted.at = getelementptr i8, ptr %arena, i64 -8",
            "  %wanted = load i64, ptr %top",
            "  store i64 %wanted, ptr %wanted.at",
        ]
    lines.append("  ret i32 %result")
    lines.append("}")
    lines += e.text.helpers.values()
    lines += library
    lines += [*LOOP_METADATA, *e.text.metadata]
    return _once("\n".join(lines))


def _once(text: str) -> str:
    """Drop repeated declarations: the body and the math library may need the same intrinsic."""
    seen: set[str] = set()
    kept: list[str] = []
    for line in text.split("\n"):
        if line.startswith("declare "):
            if line in seen:
                continue
            seen.add(line)
        kept.append(line)
    return "\n".join(kept)


def _describe(schedule: Schedule) -> list[str]:
    lines: list[str] = []
    pending = [(step, "") for step in reversed(schedule.steps[schedule.graph])]
    while pending:
        step, indent = pending.pop()
        if step.ops:
            names = ", ".join(op.name for op in step.ops)
            shape = f" over {ArrayType.__str__(step.ops[0].results[0].array)}" if step.kind == "nest" else ""
            lines.append(f"{indent}{step.kind}: {names}{shape}")
            inner = [s for region in step.ops[0].regions for s in schedule.steps[region]]
            pending += [(s, indent + "  ") for s in reversed(inner)]
    return lines
