"""The same as the native entry's inner half, in Python: for builds of CPython that emitted code must not touch.

In: a `CallForm`, compiled code and the leaves of a call. Out: the result, through `ctypes`. Slow (tens of
microseconds), used for free-threaded and debug builds and, forced, as the oracle of `entry` and `box` in tests. Every
call has its own arena. This room guards nothing but what would be unsafe: Python code has found the specialisation.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.backend.capi import address
from jitgrad.backend.engine import Code
from jitgrad.backend.form import (
    MISFIT,
    ArrayLeaf,
    ArrayResult,
    CallForm,
    CallResult,
    ChoiceResult,
    ConstantResult,
    DictResult,
    LateArrayResult,
    ListResult,
    NumberResult,
    ObjectResult,
    RepeatResult,
    SameResult,
    ScalarLeaf,
    SharedSize,
    TupleResult,
    ViewResult,
    result_leaves,
)

__all__ = ["run_in_python"]

# A body is entered and left with the GIL, and may leave an exception.
_BODY = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 4)
_PLAN = ctypes.PYFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 3)
_PYTHON = {"bool": bool, "int": int, "float": float, "complex": complex}


def run_in_python(form: CallForm, code: Code, on_error: Callable[..., Any], leaves: Sequence[Any]) -> Any:
    """Return the result of a call; see `Specialisation.run`."""
    if type(leaves) is not tuple or len(leaves) != len(form.leaves):
        raise TypeError(MISFIT)
    inputs = np.zeros(max(form.input_offsets[-1] + form.sizes, 1), np.int64)
    sizes: dict[int, int] = {}
    for leaf, value, at in zip(form.leaves, leaves, form.input_offsets, strict=False):
        _unbox(leaf, value, inputs[at : at + leaf.words], sizes)
    for number, size in sizes.items():
        inputs[form.input_offsets[-1] + number] = size
    errors = np.zeros(max(form.error_words, 1), np.int64)
    planned = np.zeros(max(form.plan_words, 1), np.int64)
    if form.plan_words:
        status = _PLAN(code.address("plan"))(inputs.ctypes.data, planned.ctypes.data, errors.ctypes.data)
        if status:
            return on_error(status - 1, tuple(errors[: form.error_words].tolist()))
    rest = iter(planned[form.arena_bytes is None :].tolist())
    results = result_leaves(form.result)
    outputs = np.zeros(max(form.output_offsets[-1], 1), np.int64)
    arrays: dict[int, np.ndarray] = {}
    for k, result in enumerate(results):
        if isinstance(result, ArrayResult):
            shape = tuple(
                next(rest) if n is None else sizes[n.number] if isinstance(n, SharedSize) else n for n in result.shape
            )
            arrays[k] = np.empty(shape, result.dtype, result.order)  # type: ignore[call-overload]
            outputs[form.output_offsets[k]] = arrays[k].ctypes.data
    size = int(planned[0]) if form.arena_bytes is None else form.arena_bytes
    arena = np.empty(size + 128, np.uint8)
    place = (arena.ctypes.data + 127) & -64
    if form.arena_grows:
        ctypes.c_int64.from_address(place - 16).value = size
    body = _BODY(code.address("body"))
    try:
        status = body(inputs.ctypes.data, outputs.ctypes.data, place, errors.ctypes.data)
    except BaseException as stopped:  # by the handler of a signal, at the site that the first word says
        return on_error(int(errors[0]), (), stopped)
    if status:
        return on_error(status - 1, tuple(errors[: form.error_words].tolist()))
    try:
        return _Boxing(form, outputs, arrays, leaves).box(form.result)
    finally:
        for k, result in enumerate(results):
            if isinstance(result, LateArrayResult) and result.owned:
                ctypes.pythonapi.PyMem_RawFree(ctypes.c_void_p(int(outputs[form.output_offsets[k]])))


def _unbox(leaf: ArrayLeaf | ScalarLeaf, value: Any, words: np.ndarray, shared: dict[int, int]) -> None:
    """Write the words of one leaf; note the sizes that several share."""
    fits = _array_fits(leaf, value, shared) if isinstance(leaf, ArrayLeaf) else _scalar_fits(leaf, value)
    if not fits:
        raise TypeError(MISFIT)
    if isinstance(leaf, ArrayLeaf):
        sizes = [n for n, expected in zip(value.shape, leaf.shape, strict=True) if expected is None]
        steps = [s // value.itemsize for s in value.strides] if leaf.layout == "strided" else []
        words[:] = [value.ctypes.data, *sizes, *steps]
    elif leaf.dtype.kind in "ib":
        words[0] = int(value)
    else:
        words.view(np.uint8)[: leaf.dtype.itemsize] = np.array([value], leaf.dtype).view(np.uint8)


def _scalar_fits(leaf: ScalarLeaf, value: Any) -> bool:
    if leaf.kind == "int":
        return type(value) is int and -(2**63) <= value < 2**63
    return type(value) is (leaf.dtype.type if leaf.kind == "numpy" else _PYTHON[leaf.kind])


def _array_fits(leaf: ArrayLeaf, value: Any, shared: dict[int, int]) -> bool:
    if type(value) is not np.ndarray or value.dtype != leaf.dtype or value.ndim != len(leaf.shape):
        return False
    flags, size = value.flags, value.itemsize
    layout = {
        "C": flags.c_contiguous,
        "F": flags.f_contiguous,
        "strided": all(s % size == 0 for s in value.strides),
    }
    fits = layout[leaf.layout if isinstance(leaf.layout, str) else "strided"]
    found = [*zip(leaf.shape, value.shape, strict=True)]
    if isinstance(leaf.layout, tuple):
        found += zip(leaf.layout, (s // size for s in value.strides), strict=True)
    return bool(
        fits
        and flags.aligned
        and (flags.writeable or not leaf.writeable)
        and all(
            (n.least is None or m >= n.least) and shared.setdefault(n.number, m) == m
            if isinstance(n, SharedSize)
            else n in (None, m)
            for n, m in found
        )
    )


class _Boxing:
    """Result words to the object that they stand for."""

    def __init__(
        self, form: CallForm, outputs: np.ndarray, arrays: dict[int, np.ndarray], leaves: Sequence[Any]
    ) -> None:
        self.form, self.outputs, self.arrays, self.leaves = form, outputs, arrays, leaves
        self.leaf = 0
        self.chosen: dict[int, Any] = {}

    def box(self, tree: Any) -> Any:
        """Return the object of a tree, whose leaves come next."""
        if isinstance(tree, ChoiceResult):
            at = self.leaf
            tag = self.outputs[self.form.output_offsets[at]]
            self.leaf += 1
            made = None
            for k, child in enumerate(tree.children):
                if k == tag:
                    made = self.box(child)
                else:
                    self.leaf += len(result_leaves(child))
            self.chosen[at] = made
            return made
        if isinstance(tree, TupleResult | ListResult | DictResult | ObjectResult | CallResult):
            return self._container(tree, [self.box(child) for child in tree.children])
        k = self.leaf
        self.leaf += 1
        return self._leaf(tree, k, self.outputs[self.form.output_offsets[k] : self.form.output_offsets[k + 1]])

    @staticmethod
    def _container(tree: Any, children: list[Any]) -> Any:
        if isinstance(tree, TupleResult):
            return tuple(children)
        if isinstance(tree, ListResult):
            return children
        if isinstance(tree, DictResult):
            return dict(zip(tree.keys, children, strict=True))
        if isinstance(tree, CallResult):
            return tree.function(*children)
        made = tree.cls.__new__(tree.cls)
        for name, child in zip(tree.names, children, strict=True):
            object.__setattr__(made, name, child)
        return made

    def _leaf(self, tree: Any, k: int, words: np.ndarray) -> Any:
        if isinstance(tree, ArrayResult):
            return self.arrays[k]
        if isinstance(tree, RepeatResult):
            return self.chosen[tree.leaf] if tree.leaf in self.chosen else self.arrays[tree.leaf]
        if isinstance(tree, SameResult):
            return self.leaves[tree.leaf]
        if isinstance(tree, ConstantResult):
            return tree.value
        if isinstance(tree, NumberResult):
            value = words.view(np.uint8)[: tree.dtype.itemsize].view(tree.dtype)[0]
            return value if tree.kind == "numpy" else _PYTHON[tree.kind](value)
        shape = tuple(words[1 : 1 + tree.rank].tolist())
        if isinstance(tree, LateArrayResult):
            made = np.empty(shape, tree.dtype, tree.order)  # type: ignore[call-overload]
            ctypes.memmove(made.ctypes.data, int(words[0]), math.prod(shape) * tree.dtype.itemsize)
            self.arrays[k] = made
            return made
        assert isinstance(tree, ViewResult)
        base = self.leaves[tree.leaf]
        strides = tuple(int(s) * tree.dtype.itemsize for s in words[1 + tree.rank :])
        return _view(base, tree.dtype, shape, strides, int(words[0]))


def _view(base: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...], place: int) -> Any:
    """Return an array over memory that belongs to another, at any place: only the C interface can make one."""
    integers = ctypes.c_int64 * max(len(shape), 1)
    taken = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))
    new = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int,
        ctypes.c_void_p,
    )(address("PyArray_NewFromDescr"))  # fmt: skip
    set_base = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.py_object)(address("PyArray_SetBaseObject"))
    taken(dtype)  # both functions take a reference over
    writeable = 0x400 if base.flags.writeable else 0
    dims, steps = integers(*shape), integers(*strides)
    view = new(np.ndarray, dtype, len(shape), ctypes.addressof(dims), ctypes.addressof(steps), place, writeable, None)
    taken(base)
    set_base(view, base)
    return view
