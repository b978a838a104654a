"""The abstract interpreter: walks a function's region tree with abstract values and builds the graph.

In: an abstract callable and arguments. Out: its abstract result; ops in the graph, facts in `outside`. A branch on a
known value follows one arm; a branch on a run-time value traces both and becomes an `if`. Loops are in `loops.py`.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from jitgrad.errors import TABLE, JitgradError, UnsupportedError, error
from jitgrad.graph.ir import Graph, Value
from jitgrad.location import Location
from jitgrad.pytree import attributes_of
from jitgrad.trace import constructors, patterns
from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    BoundMethod,
    Cell,
    External,
    Func,
    ListRef,
    OneOf,
    Poison,
    Record,
    Scalar,
)
from jitgrad.trace.arrays import is_array
from jitgrad.trace.attributes import attribute
from jitgrad.trace.blocks import BasicBlock
from jitgrad.trace.branches import Branches, DeadEnd, is_of_the_program, shared_variables
from jitgrad.trace.calls import CALLS, HANDLERS, Native, bind, call_known, class_of, misuse, to_func
from jitgrad.trace.context import Context, NeedStatic
from jitgrad.trace.frame import Frame, Outcome
from jitgrad.trace.generators import GENERATOR, generator, items_of
from jitgrad.trace.guards import Outside
from jitgrad.trace.identity import UNKNOWN, explained
from jitgrad.trace.inspection import reachable
from jitgrad.trace.instances import instantiate
from jitgrad.trace.instructions import bound_value, step, truth_of
from jitgrad.trace.library import by_name
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.loops import next_of, run_loop
from jitgrad.trace.objects import type_name
from jitgrad.trace.obligations import Obligations, Restart
from jitgrad.trace.pausing import Part, Paused
from jitgrad.trace.pools import needs_pools
from jitgrad.trace.raising import do_raise
from jitgrad.trace.regions import RETURN, BlockNode, Goto, structure
from jitgrad.trace.transforms import Lifted, apply_transform, make_transform
from jitgrad.trace.ways import which_hold
from jitgrad.transform import MAKERS, transform_of

__all__ = ["Evaluator"]

# The instructions of this room enter the table when it is imported.
_ROOMS = (constructors, patterns)
_DEPTH_LIMIT = 200


class Evaluator(Branches):
    """One trace.

    Attributes
    ----------
    outside : Outside
        What was read from globals, closures and attributes.
    counters : dict of Value to loop key
        Indices of the loops being traced.
    counted_loops : dict of Op to loop key
        Finished loops whose trip count is known.
    taken_apart : set of loop keys
        Loops for which lists were taken apart, which might do without if they were unrolled.
    """

    def __init__(
        self, graph: Graph, obligations: Obligations, observe_arguments: bool, unrolled: dict[Any, JitgradError | None]
    ) -> None:
        super().__init__(graph, obligations)
        self.outside = Outside(self, lambda x: transform_of(x) is not None)
        self.observe_arguments = observe_arguments
        self.unrolled = unrolled
        self.counters: dict[Value, Any] = {}
        self.counted_loops: dict[Any, Any] = {}
        self.taken_apart: set[Any] = set()
        self.closure_cells: dict[int, tuple[types.CellType, Cell]] = {}
        self.results: dict[Any, Any] = {}

    # --- calls

    def call(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Call an abstract callable."""
        kwargs = kwargs or {}
        if isinstance(function, OneOf):
            return self.by_choice(lambda f: self.call(f, args, kwargs), function)
        while isinstance(function, BoundMethod):
            args = [function.self, *args]
            function = function.function
        if isinstance(function, Native):
            try:
                if args and is_array(args[0]):
                    return self.handled(function.handler, args, kwargs)
                return function.handler(self, *args, **kwargs)
            except TypeError as wrong:
                raise misuse(self, wrong, function, function.handler, args, kwargs) from wrong.__cause__
        if isinstance(function, Func):
            return self.inline(function, args, kwargs)
        if isinstance(function, Record | External):
            return self._call_object(function, args, kwargs)
        transform = function.transform if isinstance(function, Lifted) else transform_of(function)
        if transform is not None:
            return apply_transform(self, transform, args, kwargs)
        if isinstance(function, types.FunctionType) and function in MAKERS:
            return make_transform(self, MAKERS[function], args, kwargs)
        try:
            handler = HANDLERS.get(function) or by_name(function)
        except TypeError:
            handler = None
        if handler is not None:
            try:
                return self.handled(handler, args, kwargs)
            except TypeError as wrong:
                raise misuse(self, wrong, function, handler, args, kwargs) from wrong.__cause__
        if isinstance(function, types.MethodType):
            return self.call(function.__func__, [self.argument_object(function.__self__), *args], kwargs)
        if isinstance(function, functools.partial):
            return self._call_object(External(function, ("object", function)), args, kwargs)
        if isinstance(function, types.FunctionType):
            return self.inline(to_func(self, function), args, kwargs)
        if isinstance(function, type):
            return instantiate(self, function, args, kwargs)
        if isinstance(function, Abstract) or not callable(function):
            raise TypeError(f"'{type_name(self, function)}' object is not callable")
        if attributes_of(function) is not None and _defines_call(type(function)):
            return self._call_object(self.argument_object(function), args, kwargs)
        return call_known(self, function, args, kwargs)

    def argument_object(self, value: Any) -> Any:
        """Return the abstract value of an object that came in as an argument and is no tree of numbers."""
        if isinstance(value, types.FunctionType | type | types.ModuleType | types.BuiltinFunctionType | np.ufunc):
            return value
        if transform_of(value) is not None or attributes_of(value) is None:
            return value
        return External(value, ("object", value))

    def _call_object(self, x: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if isinstance(x, External) and isinstance(x.thing, types.MethodType):
            self_ = self.outside.read(x.thing.__self__, (*x.source, ("attr", "__self__")))
            function = self.outside.read(x.thing.__func__, (*x.source, ("attr", "__func__")))
            return self.call(function, [self_, *args], kwargs)
        cls = class_of(self, x)
        if cls in CALLS:
            return CALLS[cls](self, x, *args, **kwargs)
        if not _defines_call(cls):
            if isinstance(x, External) and callable(x.thing):
                # Written in C, as what `functools.lru_cache` makes: there is nothing to inline.
                return call_known(self, x.thing, args, kwargs)
            raise TypeError(f"'{cls.__name__}' object is not callable")
        if type(getattr(x, "thing", None)).__name__ == "partial":
            inner = x.thing
            source = x.source
            given = [self.outside.read(a, (*source, ("attr", "args"), ("item", k))) for k, a in enumerate(inner.args)]
            named = {
                k: self.outside.read(v, (*source, ("attr", "keywords"), ("item", k))) for k, v in inner.keywords.items()
            }
            function = self.outside.read(inner.func, (*source, ("attr", "func")))
            return self.call(function, [*given, *args], named | kwargs)
        return self.call(attribute(self, x, "__call__"), args, kwargs)

    def _make_ints_known(self, args: Sequence[Any]) -> None:
        """Begin again with the ints known that may decide how deep a recursion goes, if the call gives them."""
        for x in args:
            if isinstance(x, Scalar) and x.kind == "int":
                with suppress(UnsupportedError):
                    self.note_static(x, "the depth of a recursion")

    def generate(self, func: Func, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
        """Return an iterator over what a generator yields."""
        return items_of(self, func, args, kwargs)

    def run_generator(self, func: Func, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run a generator to its end and return the list of what it yields."""
        return self.inline(func, args, kwargs, running=True)

    def inline(
        self, func: Func, args: Sequence[Any], kwargs: dict[str, Any], running: bool = False, part: Part | None = None
    ) -> Any:
        """Trace the body of a Python function; that of a generator only if it is `running`, or only a part of it."""
        if func.code.co_flags & 0x20 and not running:
            return generator(self, func, args, kwargs)
        if len(self.frames) >= _DEPTH_LIMIT:
            self._make_ints_known(args)
            raise self.error("JG226", name=func.name, limit=_DEPTH_LIMIT)
        code = func.code
        if code.co_flags & (0x80 | 0x200):
            raise self.error("JG203", what=f"the coroutine {func.name}")
        tree = structure(code)
        bound = bind(self, func, args, kwargs) if part is None or part.after is None else {}
        caller = self.location
        path: tuple[Any, ...] = ()
        if self.frames:
            above = self.frames[-1]
            path = (*above.path, above.place, above.calls)
            above.calls += 1
        frame = Frame(tree, func, bound, [], dict(zip(code.co_freevars, func.closure, strict=True)), caller, path=path)
        frame.scope = len(self.scopes)
        if code.co_flags & 0x20:
            frame.yielded = Cell(GENERATOR)
            frame.yielded.columns = []
            self.heap[frame.yielded] = ()
        before = self.heap
        self.frames.append(frame)
        limit = sys.getrecursionlimit()
        if len(self.frames) * 60 > limit:
            sys.setrecursionlimit(limit + 5000)
        try:
            outcome = self.walk(tree.body, frame) if part is None else part.walk(self, frame)
            if not outcome.states:
                raise DeadEnd()
            state = outcome.states[RETURN]
            self.heap = state.heap
            result = state.stack[-1]
            self.put_back(before, (*args, *kwargs.values()))
        except Exception as exception:
            if not hasattr(exception, "raised_at"):
                exception.raised_at = self.location  # type: ignore[attr-defined]
            if is_of_the_program(exception) and frame.sees_exceptions():
                # Python would run the handler, whose flow is not known here.
                name = type(exception).__name__
                raise error("JG245", exception.raised_at, name=name, text=str(exception)) from None  # type: ignore[attr-defined]
            raise
        finally:
            self.frames.pop()
            if caller is not None:
                self.location = caller
        return result if frame.yielded is None else ListRef(frame.yielded)

    # --- walking the tree

    def at(self, frame: Frame, location: Location | None) -> None:
        """Set the current line."""
        if location is not None:
            self.location = frame.caller if frame.func.is_ours else location.called_from(frame.caller)

    def walk(self, node: Any, frame: Frame) -> Outcome:
        """Evaluate a piece of the tree from the current state."""
        if isinstance(node, Goto):
            return self._arrive(node.target, frame)
        try:
            outcome = self.walk_block(node, frame) if isinstance(node, BlockNode) else run_loop(self, node, frame)
        except Paused as paused:
            paused.leave(self, node, node.joins)
            raise
        return self.go_on(outcome, node.joins, frame)

    def go_on(self, outcome: Outcome, joins: Sequence[Any], frame: Frame) -> Outcome:
        """Go on to where several ways meet."""
        for k, (target, join) in enumerate(joins):
            try:
                outcome = self.dispatch(outcome, target, frame, partial(self.walk, join, frame))
            except Paused as paused:
                paused.leave(self, None, joins[k + 1 :])
                raise
        return outcome

    def _arrive(self, target: Any, frame: Frame) -> Outcome:
        state = self.state(frame)
        live = self._live(target, frame)
        if live is not None:
            state.locals = {k: v for k, v in state.locals.items() if k in live}
        return Outcome({target: state})

    def _live(self, target: Any, frame: Frame) -> frozenset[str] | None:
        if target == RETURN:
            return frozenset()
        block = target if isinstance(target, int) else target.header
        return frame.tree.flow.live_in.get(block)

    def walk_block(self, node: BlockNode, frame: Frame, start: int = 0) -> Outcome:
        """Evaluate a block, from an instruction on, and what it leads to."""
        block = node.block
        self.run_instructions(block, frame, start)
        frame.place = (block.number, len(block.instrs))
        self.at(frame, block.location)
        if block.end == "jump":
            return self.walk(node.arms[0], frame)
        if block.end == "return":
            return self._arrive(RETURN, frame)
        if block.end == "raise":
            return do_raise(self, frame.pop_many(block.arg))
        if block.end == "for":
            return self._step_iterator(node, frame)
        flag = self.condition(block, frame)
        if isinstance(flag, bool):
            return self.walk(node.arms[0 if flag else 1], frame)
        key = (frame.path, frame.tree.code.co_name, block.number)
        return self.branch(
            flag, key, frame, lambda: self.walk(node.arms[0], frame), lambda: self.walk(node.arms[1], frame)
        )

    def run_instructions(self, block: BasicBlock, frame: Frame, start: int = 0) -> None:
        """Evaluate the straight-line instructions of a block, from one of them on."""
        for i, instr in enumerate(block.instrs[start:], start):
            frame.place = (block.number, i)
            frame.calls = 0
            self.at(frame, instr.location)
            step(self, frame, instr)

    def condition(self, block: BasicBlock, frame: Frame) -> bool | Value:
        """Return whether a branch takes its first arm: known, or a bool value."""
        x = frame.pop()
        if block.arg in ("none", "notnone"):
            flag = self.call(HANDLERS_IS_NONE, [x])
            positive = block.arg == "none"
        else:
            flag = truth_of(self, x)
            positive = block.arg == "true"
        if isinstance(flag, bool):
            return flag == positive
        value: Value = flag.value
        return value if positive else self.g.logical_not(value)

    def _step_iterator(self, node: BlockNode, frame: Frame) -> Outcome:
        """A `for` outside of its loop's head: a trip that is traced by itself, or a loop that never repeats."""
        iterator = frame.stack[-1]
        more, advance = next_of(self, iterator, ends=node.block.number not in frame.tree.flow.loops)

        def go() -> Outcome:
            frame.stack[-1], item = advance()
            frame.push(item)
            return self.walk(node.arms[0], frame)

        def stop() -> Outcome:
            frame.pop()
            return self.walk(node.arms[1], frame)

        if isinstance(more, bool):
            return go() if more else stop()
        return self.branch(more, (frame.path, frame.tree.code.co_name, node.block.number), frame, go, stop)

    # --- what other rooms ask

    def check(
        self,
        cond: Value,
        exception: type[BaseException],
        message: str,
        *operands: Value,
        arguments: tuple[Any, ...] | None = None,
    ) -> None:
        """Emit a check; where an `except` may catch what it raises, the check refuses instead."""
        if any(f.sees_exceptions() for f in self.frames):
            row = TABLE["JG245"]
            what = row.what.format(name=exception.__name__, text=message)
            exception, message, arguments = UnsupportedError, f"JG245: {what}\n{row.do}", None
        if self.least_sizes and self._fold(cond, self.sizes_now) is False:
            # It fails in this very call: known sizes give NumPy's own exception, or another course.
            self.know_sizes("one that fits is needed", cond)
        super().check(cond, exception, message, *operands, arguments=arguments)

    def conflict(self, cell: Cell) -> None:
        """Begin again, in tagged mode, if a store to a cell could be seen through a name merged by value."""
        if cell in self.outside.late:
            self.obligations.early.append(self.outside.late[cell])
            raise Restart(set(), f"a branch or loop stores to {cell.name}, an array from outside")
        near = self.obligations.near(cell)
        if not near:
            return
        alive = {cell, *reachable(self.heap, self.live_values())}
        hit = {c: keys for c, keys in near.items() if c in alive and c is not cell}
        if not hit:
            return
        keys = {k for ks in hit.values() for k in ks}
        fresh = keys - self.obligations.tagged
        if not fresh or any(k[0][0] == "loop" for k in fresh):
            if all(explained(cell, c) for c in hit):
                # `arrays.write` stores to whichever array it is.
                return
            if not fresh:
                names = " and ".join(sorted({c.name or "an array" for c in (cell, *hit)}))
                refused = self.error("JG241", names=names, where=self.obligations.lines(cell, hit))
                raise needs_pools(self, (cell, *hit)) or refused
        raise Restart(fresh, f"a store to {cell.name or 'an array'} may be seen through another name")

    def refuse(self, found: Poison, name: str) -> None:
        """Begin again with the loop unrolled that left a variable in forms that cannot be one, or raise JG240."""
        try:
            super().refuse(found, name)
        except UnsupportedError as refused:
            if found.loop is None or found.loop in self.unrolled:
                raise
            self.unrolled[found.loop] = refused
        raise Restart(set(), f"a loop is unrolled: {name} is another object in each trip")

    def share(self, a: Cell, b: Cell) -> None:
        """Note that two cells are one array in the program: a store to one while the other is alive is refused."""
        self.obligations.unite(a, b)
        a.options = (UNKNOWN,)

    def site(self) -> Any:
        """Return what names the place of the program being traced, stably over restarts."""
        if not self.frames:
            return None
        frame = self.frames[-1]
        return frame.path, frame.tree.code.co_name, frame.place, frame.calls

    def live_values(self) -> list[Any]:
        """Return the abstract values of all variables that can still be used."""
        found: list[Any] = []
        for frame in self.frames:
            block, i = frame.place
            flow = frame.tree.flow
            points = flow.live_after.get(block)
            if points is None:
                # It has only been entered.
                live = frozenset(frame.locals)
            elif i < len(points):
                live = points[i]
            else:
                live = frozenset().union(*(flow.live_in[s] for s in flow.blocks[block].successors))
            found += [v for k, v in frame.locals.items() if k in live]
            found += frame.stack
            found.append(shared_variables(frame))
        found += self.memories()
        if self.observe_arguments:
            found += self.roots
        return [*found, *(values for frames, values in self.held if frames < len(self.frames))]

    def note_static(self, value: Any, why: str) -> Any:
        """Return a number as a known Python int."""
        if not isinstance(value, Scalar):
            return value
        found = self._fold(value.value)
        if found is not None:
            return found
        todo, seen = [value.value], set()
        while todo:
            v = todo.pop()
            if v in seen:
                continue
            seen.add(v)
            if v in self.counters:
                raise NeedUnroll(self.counters[v], why)
            if v in self.argument_leaf:
                raise NeedStatic(self.argument_leaf[v], why)
            if v.op in self.counted_loops:
                # A list that grew in a loop of known length is needed item by item: unroll that loop.
                self.unrolled[self.counted_loops[v.op]] = self.error("JG228", why=why)
                raise Restart(set(), f"a loop is unrolled: {why}")
            if v.op is not None and v.op.primitive.is_pure and not v.op.regions:
                todo.extend(v.op.operands)
        raise self.error("JG228", why=why)

    def _fold(self, value: Value, known: Mapping[Value, Any] = types.MappingProxyType({})) -> Any:
        """Return the Python number that a value surely is, None if it is not known."""
        if value in known:
            return known[value]
        op = value.op
        if op is None or op.regions or op.primitive.evaluate is None or len(op.results) != 1:
            return None
        if op.name == "constant":
            return op.attrs["value"].item() if op.attrs["value"].ndim == 0 else None
        if value.array.rank or not op.primitive.is_elementwise:
            return None
        parts = [self._fold(v, known) for v in op.operands]
        if any(p is None for p in parts):
            return None
        arrays = [np.asarray(p, v.array.dtype) for p, v in zip(parts, op.operands, strict=True)]
        return np.asarray(op.primitive.evaluate(op.attrs, *arrays)).item()


def _defines_call(cls: type) -> bool:
    """Whether instances of a class can be called through Python code of theirs."""
    if issubclass(cls, functools.partial):
        return True
    return any(isinstance(vars(base).get("__call__"), types.FunctionType | property) for base in cls.__mro__)


def _is_none(ctx: Context, x: Any) -> Any:
    if isinstance(x, OneOf):
        return which_hold(ctx, x, [c is None for c in x.choices])
    return x is None if not isinstance(x, Abstract) else False


HANDLERS_IS_NONE = Native(_is_none)


__all__ += ["UNBOUND", "DeadEnd", "bound_value"]
