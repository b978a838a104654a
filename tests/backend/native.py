"""Running a lowered graph in tests: a small harness of its own, so that `lower` is tested without engine and entry."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from jitgrad.backend import blas, kernels
from jitgrad.backend.engine import resolve
from jitgrad.backend.lower import Body, Target, lower
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph
from jitgrad.graph.types import ListType

__all__ = ["Native", "check", "layout_of"]

_ready = False
GUARD = 64  # bytes around every result that must stay as they are


def _start() -> None:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True


def layout_of(a: np.ndarray) -> str | tuple[int, ...]:
    """Return the layout of an array as `lower` takes it."""
    if a.flags.c_contiguous:
        return "C"
    if a.flags.f_contiguous:
        return "F"
    return tuple(s // a.itemsize for s in a.strides)


class Native:
    """A compiled body."""

    def __init__(
        self,
        graph: Graph,
        layouts: Sequence[Any],
        result_layouts: Sequence[str] | None = None,
        writes: Sequence[tuple[int, int]] = (),
        optimise: bool = True,
        features: Target | None = None,
    ) -> None:
        _start()
        self.graph = graph
        self.orders = list(result_layouts or ["C"] * len(graph.yields))
        self.writes = list(writes)
        self.body: Body = lower(graph, layouts, self.orders, writes, features=features or Target(32, True))
        module = llvm.parse_assembly(self.body.ir)
        module.verify()
        target = llvm.Target.from_default_triple()
        host = llvm.get_host_cpu_features().flatten()
        machine = target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=host, opt=2)
        if optimise:
            options = llvm.create_pipeline_tuning_options(speed_level=2)
            builder = llvm.create_pass_builder(machine, options)
            manager = builder.getModulePassManager()
            manager.run(module, builder)
        self.module = module
        for name, address in (blas.symbols() | kernels.symbols()).items():
            llvm.add_symbol(name, address)
        resolve(module)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        self.address = self.engine.get_function_address("body")
        self.function = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)(self.address)

    def __call__(self, *args: Any, shapes: Sequence[tuple[int, ...]] | None = None) -> list[np.ndarray]:
        """Run the body and return its results; raises what the failed check names.

        `shapes` tells the sizes of results where they are known at run time only.
        """
        words = np.zeros(len(args) + 1, np.int64)
        kept = []
        for i, (arg, value) in enumerate(zip(self.graph.args, args, strict=True)):
            array = np.asarray(value)
            if arg.shape == ():
                _put(words[i : i + 1], array)
            else:
                kept.append(array)
                words[i] = array.ctypes.data
        outs = np.zeros(len(self.graph.yields) + 1, np.int64)
        back = {k: i for i, k in self.writes}
        results: list[Any] = []
        raws: list[np.ndarray] = []
        for k, y in enumerate(self.graph.yields):
            assert not isinstance(y.type, ListType)
            if y.shape == () or k in back:
                results.append(None)
                continue
            if not y.array.is_static:
                results.append(None)
                continue
            shape = shapes[k] if shapes else y.shape
            size = int(np.prod(shape)) * y.array.dtype.itemsize
            raw = np.full(size + 2 * GUARD, 0xAB, np.uint8)
            raws.append(raw)
            made = raw[GUARD : GUARD + size].view(y.array.dtype).reshape(shape, order=self.orders[k])
            outs[k] = raw.ctypes.data + GUARD
            results.append(made)
        arena = np.full(self.body.arena_bytes + 192, 0xCD, np.uint8)
        start = -(-arena.ctypes.data // 64) * 64 + 64
        ctypes.c_int64.from_address(start - 16).value = self.body.arena_bytes
        err = np.zeros(16, np.int64)
        code = self.function(words.ctypes.data, outs.ctypes.data, start, err.ctypes.data)
        for raw in raws:
            assert (raw[:GUARD] == 0xAB).all() and (raw[-GUARD:] == 0xAB).all(), "wrote outside a result"
        offset = start - arena.ctypes.data + self.body.arena_bytes
        assert (arena[offset:] == 0xCD).all(), "wrote beyond the arena"
        if code:
            site = self.body.sites[code - 1]
            operands = [_get(err[k : k + 1], d).item() for k, d in enumerate(site.dtypes)]
            raise site.exception(site.message.format(*operands))
        for k, y in enumerate(self.graph.yields):
            if k in back:
                results[k] = args[back[k]]
            elif not y.array.is_static:
                assert shapes is not None
                results[k] = _taken(int(outs[k]), shapes[k], y.array.dtype, self.orders[k])
            elif results[k] is None:
                results[k] = _get(outs[k : k + 1], y.array.dtype)
        return results


def _put(word: np.ndarray, value: np.ndarray) -> None:
    if value.dtype.kind == "f":
        word.view(np.uint8)[: value.dtype.itemsize] = np.frombuffer(value.tobytes(), np.uint8)
    else:
        word[0] = value.astype(np.int64)


def _get(word: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return np.frombuffer(word.tobytes()[: dtype.itemsize], dtype)[0]
    return word[0].astype(dtype)


_free = ctypes.pythonapi.PyMem_RawFree
_free.argtypes = [ctypes.c_void_p]


def _taken(place: int, shape: tuple[int, ...], dtype: np.dtype, order: str) -> np.ndarray:
    """Return the array that a body made itself, and free its memory."""
    size = int(np.prod(shape)) * dtype.itemsize
    made = np.frombuffer(ctypes.string_at(place, size), dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    _free(place)
    return made


def check(
    graph: Graph,
    *args: Any,
    exact: bool = False,
    rtol: float | None = None,
    orders: Sequence[str] | None = None,
    optimise: bool = True,
) -> Native:
    """Assert that the compiled graph gives what the interpreter gives and leaves its arguments alone."""
    arrays = [np.asarray(a, dtype=v.array.dtype) for a, v in zip(args, graph.args, strict=True)]
    copies = [a.copy() for a in arrays]
    layouts = [layout_of(a) if a.ndim else "C" for a in arrays]
    try:
        # Before lowering, which may rewrite the graph.
        expected = interpret(graph, arrays)
    except Exception as wanted:
        native = Native(graph, layouts, orders, optimise=optimise)
        try:
            native(*arrays, shapes=[tuple(d if isinstance(d, int) else 99 for d in y.shape) for y in graph.yields])
        except type(wanted) as got:
            assert str(got) == str(wanted)
            return native
        raise AssertionError(f"no {wanted!r}") from wanted
    native = Native(graph, layouts, orders, optimise=optimise)
    found = native(*arrays, shapes=[np.shape(x) for x in expected])
    for a, c in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, c, err_msg="an argument was changed")
    for k, (x, y) in enumerate(zip(found, expected, strict=True)):
        assert x.dtype == y.dtype and np.shape(x) == np.shape(y), k
        if exact or x.dtype.kind in "biu":
            np.testing.assert_array_equal(x, y, err_msg=f"result {k}")
        else:
            tolerance = rtol or (1e-12 if x.dtype.itemsize == 8 else 2e-5)
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=f"result {k}")
    return native
