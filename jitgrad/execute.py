"""Making a traced call run: the native executable, and the interpreted one as its oracle.

In: a `Traced` and the spec of its call. Out: an `Executable` that turns inputs into the object which the user's
function returns. The native one lowers the graph, and describes to the backend what the entry checks, unboxes and
boxes; the interpreted one runs the graph in NumPy and rebuilds the result here.
"""

from __future__ import annotations

import struct
import time
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from jitgrad.backend import blas, emit_systems, form, kernels
from jitgrad.backend.engine import host
from jitgrad.backend.lower import Body, Site, Target, lower
from jitgrad.backend.specialisation import Specialisation as NativeCode
from jitgrad.backend.specialisation import link
from jitgrad.errors import JitgradError, error, located, raise_at
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph
from jitgrad.graph.ops.control import exception_arguments
from jitgrad.graph.ops.memory import Pick
from jitgrad.options import OPTIONS
from jitgrad.pytree import (
    ArraySpec,
    DictSpec,
    ListSpec,
    NumberSpec,
    ObjectSpec,
    Size,
    StaticSpec,
    TupleSpec,
    rebuild_object,
)
from jitgrad.trace.abstract import Reshape
from jitgrad.trace.context import PACKED
from jitgrad.trace.guards import look_up
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
from jitgrad.trace.traced import Traced

__all__ = [
    "Executable",
    "Interpreted",
    "Native",
    "build_result",
    "check_overlap",
    "has_lapack",
    "make_executable",
    "view_of",
]

_PYTHON = {"bool": bool, "int": int, "float": float, "complex": complex}


class Executable:
    """Something that runs a traced call."""

    native: NativeCode | None = None
    llvm_text = ""
    asm_text = ""
    notes = ""

    def run(self, inputs: Sequence[Any], leaves: Sequence[Any]) -> Any:
        """Return the result of the call; write the argument arrays that it stores into.

        Parameters
        ----------
        inputs : sequence
            The leaves that are graph arguments, then the hidden inputs.
        leaves : sequence
            All leaves of the call's arguments, for results that are arguments.
        """
        raise NotImplementedError


class Interpreted(Executable):
    """Runs the graph by the NumPy interpreter."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    def run(self, inputs: Sequence[Any], leaves: Sequence[Any]) -> Any:
        """Return the result of the call."""
        check_overlap(self.traced, inputs)
        shown = {a for a, _ in self.traced.writes}
        memory = [x if k in shown else None for k, x in enumerate(inputs)]
        copies = [x.copy() if k in shown else x for k, x in enumerate(inputs)]
        memory += [None] * len(self.traced.sizes)
        values = [np.array(v) for v in interpret(self.traced.graph, self.traced.with_sizes(copies), memory)]
        for argument, position in self.traced.writes:
            inputs[argument][...] = values[position]
        return build_result(self.traced.result, values, leaves)


class Native(Executable):
    """Machine code with its native entry."""

    def __init__(self, traced: Traced, body: Body, native: NativeCode) -> None:
        self.traced = traced
        self.body = body
        self.native = native
        self.notes = body.notes
        self._layouts = [leaf.layout if isinstance(leaf, form.ArrayLeaf) else None for leaf in native.form.leaves]

    def run(self, inputs: Sequence[Any], leaves: Sequence[Any]) -> Any:
        """Return the result of the call; arrays that are unaligned or byte-swapped are copied in and back."""
        check_overlap(self.traced, inputs)
        assert self.native is not None
        given = [_plain(x) if layout is not None else x for x, layout in zip(inputs, self._layouts, strict=True)]
        made = self.native.run(tuple(given))
        for argument, _ in self.traced.writes:
            if given[argument] is not inputs[argument]:
                inputs[argument][...] = given[argument]
        return made

    @property
    def llvm_text(self) -> str:  # type: ignore[override]
        """LLVM IR as it was emitted."""
        assert self.native is not None
        return self.native.code.ir()

    @property
    def asm_text(self) -> str:  # type: ignore[override]
        """Assembly."""
        assert self.native is not None
        return self.native.code.assembly()


def check_overlap(traced: Traced, inputs: Sequence[Any]) -> None:
    """Refuse a call in which an array that is stored into shares memory with another argument."""
    for argument, _ in traced.writes:
        for k, other in enumerate(inputs):
            if k != argument and isinstance(other, np.ndarray) and np.may_share_memory(inputs[argument], other):
                names = [traced.graph.args[i].name for i in (argument, k)]
                raise error("JG108", first=names[0], second=names[1])


def _plain(x: np.ndarray) -> np.ndarray:
    """Return an array that machine code can read: native byte order, aligned, strides of whole elements."""
    whole = all(s % x.itemsize == 0 for s in x.strides)
    if x.dtype.isnative and x.flags.aligned and whole and type(x) is np.ndarray:
        return x
    return np.array(x, x.dtype.newbyteorder("="), order="C", subok=False)


def has_lapack() -> bool:
    """Whether what runs a graph can factorise matrices."""
    return OPTIONS.interpret or emit_systems.is_to_be_had()


def make_executable(traced: Traced, spec: Any, times: dict[str, float]) -> Executable:
    """Return what runs a traced call: machine code, or the interpreter if the options ask for it.

    Parameters
    ----------
    traced : Traced
    spec : TupleSpec
        Of `(args, kwargs)`.
    times : dict
        Gets the milliseconds of the stages "lower" and "compile".
    """
    if OPTIONS.interpret:
        return Interpreted(traced)
    start = time.perf_counter()
    call = _call_form(traced, spec)
    inputs = call.leaves
    layouts = [_layout(leaf, traced) for leaf in inputs]
    features = host().features
    wide, fma = "+avx512f" in features, "+fma" in features
    target = Target(vector_bytes=64 if wide else 32, fma=fma, estimates=wide and fma)
    orders = _orders(traced, inputs)
    body = lower(
        traced.graph,
        layouts + ["C"] * len(traced.sizes),
        orders,
        traced.writes,
        features=target,
        early=_early_results(traced.graph, traced.result),
    )
    times["lower"] = (time.perf_counter() - start) * 1e3
    start = time.perf_counter()
    call = _call_form(traced, spec, body, orders)
    raiser, symbols = _raiser(body.sites), blas.symbols() | kernels.symbols()
    native = link(call, body.ir, on_error=raiser, level=body.level, externals=symbols, helpers=body.helpers)
    times["compile"] = (time.perf_counter() - start) * 1e3
    return Native(traced, body, native)


def _layout(leaf: Any, traced: Traced) -> Any:
    """Return how a graph argument lies in memory, as the lowering wants it."""
    if not isinstance(leaf, form.ArrayLeaf):
        return "C"
    if isinstance(leaf.layout, str):
        return leaf.layout if leaf.shape else "memory"
    args = traced.graph.args
    sizes = args[len(args) - len(traced.sizes) :]
    return tuple(sizes[s.number] if isinstance(s, form.SharedSize) else s for s in leaf.layout)


def _raiser(sites: Sequence[Site]) -> Any:
    """Return what raises the exception of an error site, at the user's line."""

    def raise_site(number: int, words: tuple[int, ...], pending: BaseException | None = None) -> Any:
        site = sites[number]
        if pending is not None:
            raise_at(site.location, pending, as_it_is=True)
        operands = [_decode(w, d) for w, d in zip(words, site.dtypes, strict=False)]
        given = exception_arguments(site.message, site.arguments, operands)
        if not issubclass(site.exception, JitgradError):
            raise_at(site.location, site.exception(*given))
        code, _, rest = given[0].partition(": ")
        what, _, do = rest.partition("\n")
        raise located(code, site.location, what, do)

    return raise_site


def _decode(word: int, dtype: np.dtype) -> Any:
    """Return the number that a word of an error site holds."""
    raw = struct.pack("q", word)
    size = 1 if dtype.kind == "b" else dtype.itemsize
    return np.frombuffer(raw[:size], dtype)[0]


# --- describing the call to the native entry


def _call_form(traced: Traced, spec: Any, body: Body | None = None, orders: Sequence[str] = ()) -> form.CallForm:
    args, kwargs = spec.children
    position = [0]
    written = {traced.leaves[i] for i, _ in traced.writes if i < len(traced.leaves)}
    arguments = [_argument(c, traced, position, written) for c in (*args.children, *kwargs.children)]
    stored = {i - len(traced.leaves) for i, _ in traced.writes}
    hidden = tuple(form.HiddenInput(h.source, _hidden_leaf(h, k in stored)) for k, h in enumerate(traced.hidden))
    arrays = [i for i, a in enumerate(traced.graph.args) if a.array.rank]
    disjoint = tuple((i, j) for i, _ in traced.writes for j in arrays if i != j)
    words = max([8, *(len(s.dtypes) for s in body.sites)]) if body is not None else 8
    assert len(traced.graph.args) == len(traced.leaves) + len(hidden) + len(traced.sizes)
    return form.CallForm(
        tuple(arguments),
        form.ConstantResult(None) if body is None else _Results(traced, orders).result(traced.result),
        keywords=tuple(kwargs.keys),
        facts=tuple(traced.guards),
        hidden=hidden,
        disjoint=disjoint,
        arena_bytes=0 if body is None else body.arena_bytes,
        arena_grows=body is not None and body.arena_grows,
        error_words=words,
    )


def _argument(spec: Any, traced: Traced, position: list[int], written: set[int]) -> Any:
    if isinstance(spec, ArraySpec | NumberSpec):
        leaf = position[0]
        position[0] += 1
        if leaf in traced.statics:
            return form.StaticLeaf(traced.statics[leaf], "equal")
        if isinstance(spec, NumberSpec):
            return form.ScalarLeaf(spec.kind, spec.dtype)
        layout = spec.layout if isinstance(spec.layout, str) else _sizes(spec.layout, traced)
        layout = "C" if layout == "copied" else layout
        return form.ArrayLeaf(spec.dtype, _sizes(spec.shape, traced), layout, writeable=leaf in written)
    if isinstance(spec, StaticSpec):
        return form.StaticLeaf(spec.value, "equal")
    if isinstance(spec, TupleSpec | ListSpec | DictSpec | ObjectSpec):
        children = tuple(_argument(c, traced, position, written) for c in spec.children)
        if isinstance(spec, TupleSpec):
            return form.TupleTree(children, spec.cls)
        if isinstance(spec, ListSpec):
            return form.ListTree(children)
        if isinstance(spec, DictSpec):
            return form.DictTree(spec.keys, children)
        return form.ObjectTree(spec.cls, spec.names, children)
    return form.StaticLeaf(spec.value, "is")


def _sizes(given: Sequence[Any], traced: Traced) -> tuple[Any, ...]:
    """Return a shape, or strides, for the entry."""
    numbers = list(traced.sizes)
    least = {d: d.least if isinstance(d, Size) else None for d in numbers}
    return tuple(d if isinstance(d, int) else form.SharedSize(numbers.index(d), least[d]) for d in given)


def _hidden_leaf(hidden: Any, stored: bool) -> form.Leaf:
    if hidden.kind != "array":
        return form.ScalarLeaf(hidden.kind, hidden.type.dtype)
    array = look_up(hidden.source)
    layout = "C" if array.flags.c_contiguous else "F" if array.flags.f_contiguous else _strides(array)
    return form.ArrayLeaf(array.dtype, array.shape, layout, writeable=stored)


def _strides(array: np.ndarray) -> Any:
    return tuple(s // array.itemsize for s in array.strides)


def _orders(traced: Traced, inputs: Sequence[Any]) -> list[str]:
    """Return the memory order of each yield: a gradient has that of the argument it belongs to."""
    orders = ["C"] * len(traced.graph.yields)
    for index, leaf in traced.orders.items():
        if leaf in traced.leaves:
            spec = inputs[traced.leaves.index(leaf)]
            if isinstance(spec, form.ArrayLeaf) and spec.layout == "F":
                orders[index] = "F"
    for index in traced.arrays_of_rank_0:
        orders[index] = "memory"
    return orders


class _Results:
    """Turns a result tree into the backend's, with the types of the graph's yields."""

    def __init__(self, traced: Traced, orders: Sequence[str]) -> None:
        self.traced = traced
        self.orders = orders
        self.seen: dict[int, int] = {}
        self.count = 0

    def _next(self) -> int:
        self.count += 1
        return self.count - 1

    def result(self, tree: Any) -> Any:
        """Return the backend's description of a result."""
        if isinstance(tree, LeafResult):
            return self._leaf(tree)
        if isinstance(tree, StaticResult):
            self._next()
            return form.ConstantResult(tree.value)
        if isinstance(tree, ArgumentResult):
            self._next()
            return form.SameResult(self.traced.leaves.index(tree.leaf))
        if isinstance(tree, ViewResult):
            if isinstance(tree.base, LeafResult):
                same = self.result(tree.base)
            else:
                self._next()
                same = form.SameResult(self.traced.leaves.index(tree.base))
            numbers = tuple(self.result(n) for n in tree.numbers)
            return form.CallResult(lambda array, *given: view_of(array, tree, given), (same, *numbers))
        if isinstance(tree, ChoiceResult):
            if tree.index in self.seen:
                self._next()
                return form.RepeatResult(self.seen[tree.index])
            self.seen[tree.index] = self._next()
            # What another choice gives up must not be what a repeat refers to.
            seen, self.seen = self.seen, {}
            children = tuple(self.result(c) for c in tree.children)
            self.seen = seen
            return form.ChoiceResult(children)
        children = tuple(self.result(c) for c in tree.children)
        if isinstance(tree, TupleResult):
            return form.TupleResult(children) if tree.cls is tuple else form.CallResult(tree.cls, children)
        if isinstance(tree, ListResult):
            return form.ListResult(children)
        if isinstance(tree, GrownResult):
            return form.CallResult(partial(_items_of, tree), children)
        if isinstance(tree, DictResult):
            return form.DictResult(tree.keys, children)
        assert isinstance(tree, ObjectResult)
        return form.ObjectResult(tree.cls, tree.names, children)

    def _leaf(self, tree: LeafResult) -> Any:
        t = self.traced.graph.yields[tree.index].array
        if tree.index in self.seen:
            self._next()
            return form.RepeatResult(self.seen[tree.index])
        place = self._next()
        if tree.kind == "array":
            self.seen[tree.index] = place
            order = self.orders[tree.index] if t.rank else "C"
            if tree.late and not t.is_static:
                return form.LateArrayResult(t.dtype, t.rank, order, owned=True)
            args, numbers = self.traced.graph.args, list(self.traced.sizes)
            sizes = dict(zip(args[len(args) - len(numbers) :], numbers, strict=True))
            shape = [d if isinstance(d, int) else sizes[d] for d in t.shape]
            return form.ArrayResult(t.dtype, _sizes(shape, self.traced), order)
        return form.NumberResult(tree.kind, t.dtype)


# --- results in Python


def _early_results(graph: Graph, tree: Any) -> set[int]:
    """Return the yields that are arrays whose run-time size the arguments have, so that the entry can make them."""
    if isinstance(tree, LeafResult):
        early = tree.kind == "array" and not tree.late and not graph.yields[tree.index].array.is_static
        return {tree.index} if early else set()
    if isinstance(tree, ViewResult):
        return _early_results(graph, tree.base) if isinstance(tree.base, LeafResult) else set()
    return {k for child in getattr(tree, "children", ()) for k in _early_results(graph, child)}


def view_of(array: np.ndarray, tree: ViewResult, numbers: Sequence[int]) -> np.ndarray:
    """Return the view of an argument that a result is, given its numbers that are known only now."""
    for part in tree.view:
        known: Any = with_numbers(part, lambda n: numbers[n.k] if isinstance(n, Nth) else n)
        if isinstance(part, Reshape):
            array = array.reshape(known.to)
            continue
        index: list[Any] = [e.at if isinstance(e, Pick) else _slice(*e) for e in known.entries]
        array = array[(*index, ...)].transpose([k for k in known.order if k is not None])
        array = array[(*(None if k is None else slice(None) for k in known.order), ...)]
    return array


def _slice(start: int, step: int, length: int) -> slice:
    stop = start + step * length
    return slice(start, None if stop < 0 else stop, step) if length else slice(0, 0)


def _items_of(tree: GrownResult, *parts: Any) -> Any:
    """Return a list whose length is known only now, given its rows, or the items of the lists of its parts."""
    if isinstance(tree.of, type):
        tuples = zip(*parts, strict=True)
        return list(tuples) if tree.of is tuple else [tree.of(*values) for values in tuples]
    if tree.of in ("pooled", "pool item"):
        rows, places = parts
        made = [_row_of(rows, k) for k in ([places] if tree.of == "pool item" else places.tolist())]
        return made[0] if tree.of == "pool item" else made
    (rows,) = parts
    if isinstance(tree.of, tuple):
        return [tree.of[k] for (k,) in rows.tolist()]
    if tree.of in PACKED:
        make = [{"float": float, "numpy": np.float64, "int": int}[name] for name in PACKED[tree.of]]
        return [make[int(code)](value) for value, code in rows.tolist()]
    if tree.of == "array":
        return [np.array(row) for row in rows]
    return list(rows) if tree.of == "numpy" else rows.tolist()


# The arrays that rows of others have become in a result: of each row, one.
_ROWS: dict[int, tuple[weakref.ref[np.ndarray], dict[int, np.ndarray]]] = {}


def _row_of(rows: np.ndarray, k: int) -> np.ndarray:
    key = id(rows)
    if key not in _ROWS:
        _ROWS[key] = weakref.ref(rows, lambda _: _ROWS.pop(key, None)), {}
    own = _ROWS[key][1]
    return own.setdefault(k, own[k] if k in own else np.array(rows[k]))


def build_result(tree: Any, values: Sequence[Any], leaves: Sequence[Any]) -> Any:
    """Return the object that a result tree describes."""
    if isinstance(tree, LeafResult):
        value = values[tree.index]
        if tree.kind == "array":
            return value
        return value[()] if tree.kind == "numpy" else _PYTHON[tree.kind](value)
    if isinstance(tree, ChoiceResult):
        return build_result(tree.children[int(values[tree.index])], values, leaves)
    if isinstance(tree, StaticResult):
        return tree.value
    if isinstance(tree, ArgumentResult):
        return leaves[tree.leaf]
    if isinstance(tree, ViewResult):
        base = values[tree.base.index] if isinstance(tree.base, LeafResult) else leaves[tree.base]
        return view_of(base, tree, [int(values[n.index]) for n in tree.numbers])
    children = [build_result(c, values, leaves) for c in tree.children]
    if isinstance(tree, TupleResult):
        return tuple(children) if tree.cls is tuple else tree.cls(*children)
    if isinstance(tree, ListResult):
        return children
    if isinstance(tree, GrownResult):
        return _items_of(tree, *children)
    if isinstance(tree, DictResult):
        return dict(zip(tree.keys, children, strict=True))
    assert isinstance(tree, ObjectResult)
    return rebuild_object(tree.cls, tree.names, children)
